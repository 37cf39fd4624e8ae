/* SPDX-License-Identifier: MIT */
#include "tests/kill/methods.h"

#include <tine.h>

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/hunt.h"
#include "tests/support/proc.h"
#include "tests/support/suite.h"
#include "tests/support/wait.h"

#define GATES_BYTES ((size_t)1 << 20)

/* ---- a forkserver for each test -------------------------------------------------------------- */

static int tell_server(tine_call *call)
{
    _Atomic pid_t *server;
    int rc = tine_args(call, "p", &server);

    if (rc == 0)
        atomic_store(server, getppid());
    return rc;
}

/* The one that makes the next process; where there is none, a new one. */
static pid_t find_server(void)
{
    _Atomic pid_t *told = tine_calloc(1, sizeof *told);
    tine_process *process;
    pid_t server;

    ck_assert_ptr_nonnull(told);
    ck_assert_ok(tine_process_start(&process, tell_server, NULL, "p", told));
    ck_assert_ok(tine_process_join(process, TINE_FOREVER));
    server = atomic_load(told);
    tine_process_close(process);
    tine_free((void *)told);
    return server;
}

static bool is_mine(pid_t pid)
{
    struct proc proc;

    return proc_read(pid, &proc) && proc.parent == getpid();
}

static bool is_gone(pid_t pid)
{
    struct proc proc;

    return !proc_read(pid, &proc) || proc.state == 'Z';
}

static pid_t server;

/* The first test ends that of the runner, which all would share. */
static void begin_server(void)
{
    orphans_adopt();
    server = find_server();
    if (!is_mine(server)) {
        ck_assert_int_eq(kill(server, SIGKILL), 0);
        ck_assert_eventually(is_gone(server));
        server = find_server();
    }
    ck_assert(is_mine(server));
    hunt_below(server);
}

static void end_server(void)
{
    ck_assert_int_eq(kill(server, SIGKILL), 0);
    ck_assert_int_eq(waitpid(server, NULL, 0), server);
}

/* ---- the way --------------------------------------------------------------------------------- */

static const struct way {
    const char *name;
    int32_t method;
} ways[] = {{"fork", TINE_FORK}, {"spawn", TINE_SPAWN}, {"forkserver", TINE_FORKSERVER}};

#define WAYS (sizeof ways / sizeof ways[0])

static int32_t wanted_method(void)
{
    const char *wanted = getenv("TINE_TEST_POOL");

    for (size_t i = 0; wanted != NULL && i < WAYS; i++)
        if (strcmp(wanted, ways[i].name) == 0)
            return ways[i].method;
    return TINE_FORK;
}

/* Where the gates of the tests are, one after the other: forks of the runner, they all begin
   anew. */
static int place_gates(void)
{
    void *gates = tine_alloc(GATES_BYTES);

    if (gates == NULL)
        return -ENOMEM;
    shared_memory_in(gates, GATES_BYTES);
    return 0;
}

static int prepare(int32_t method, bool with_heap, int argc, char **argv)
{
    int rc;

    if (method == TINE_FORK) {
        if (with_heap)
            tine_free(tine_alloc(1));
        return 0;
    }
    rc = tine_init(&argc, &argv);
    if (rc == 0)
        rc = tine_set_start_method(method, true);
    if (rc == 0)
        rc = place_gates();
    if (method == TINE_FORKSERVER)
        suite_around(begin_server, end_server);
    return rc;
}

int methods_main(const char *title, bool with_heap, int argc, char **argv)
{
    if (prepare(wanted_method(), with_heap, argc, argv) < 0)
        return 99;
    return suite_main(title, argc, argv);
}
