/* SPDX-License-Identifier: MIT */
/* What is said where the system lacks what the library stands on. No heap is made beforehand. */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <tine/heap.h>
#include <tine/pipe.h>
#include <tine/pool.h>
#include <tine/queue.h>

#include "tests/support/children.h"
#include "tests/support/files.h"
#include "tests/support/suite.h"

static void assert_no_pipes_and_queues(int code)
{
    static const int32_t transports[] = {TINE_SOCKET, TINE_RING};

    tine_connection *a = NULL, *b = NULL;
    tine_queue *queue = NULL;

    for (int i = 0; i < 2; i++)
        ck_assert_rc(tine_pipe(&a, &b, &(tine_pipe_options){.transport = transports[i]}), code);
    ck_assert_rc(tine_queue_open(&queue, NULL), code);
    ck_assert(a == NULL && b == NULL && queue == NULL);
}

/* ---- no /proc -------------------------------------------------------------------------------- */

static int answer(tine_call *call)
{
    return tine_return(call, "i", 42);
}

static void live_without_proc(void *directory)
{
    tine_pool *pool;
    tine_results *results;

    if (chroot(directory) < 0)
        return; /* not here */
    assert_no_pipes_and_queues(-ENOTSUP);
    ck_assert_rc(tine_pool_open(&pool, &(tine_pool_options){.workers = 1}), 0);
    ck_assert_rc(tine_pool_apply(&results, pool, answer, NULL, ""), 0);
    tine_results_close(results);
    tine_pool_close(pool);
}

TEST(without_proc_there_are_pools_of_forks_but_no_pipes_and_queues)
{
    struct files files;
    struct child child;

    files_begin(&files);
    child = child_start(live_without_proc, files.directory);
    child_join(&child);
    files_end(&files);
}

/* ---- no memfd -------------------------------------------------------------------------------- */

static void forbid_memfd(void)
{
    struct sock_filter steps[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_memfd_create, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = sizeof steps / sizeof steps[0], .filter = steps};

    ck_assert_int_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0)
        _exit(0); /* not here */
}

static void live_without_memfd(void *unused)
{
    tine_pool *pool = NULL;

    (void)unused;
    forbid_memfd();
    assert_no_pipes_and_queues(-EPERM);
    ck_assert_rc(tine_pool_open(&pool, &(tine_pool_options){.workers = 1}), -EPERM);
    ck_assert_ptr_null(pool);
    ck_assert_ptr_null(tine_alloc(1));
}

TEST(all_say_alike_that_memory_to_share_is_forbidden)
{
    struct child child = child_start(live_without_memfd, NULL);

    child_join(&child);
}

SUITE("pool/lacking")
