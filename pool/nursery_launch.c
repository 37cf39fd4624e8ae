/* SPDX-License-Identifier: MIT */
/*
 * Nurseries that are no forks of the program: .start of a pool is TINE_SPAWN or TINE_FORKSERVER.
 *
 * Such a nursery is a process like those of tine_process_start(), but for the list of children, in
 * which it does not stand: it is launched with the pool's address, its end of the socket and a
 * signal mask for arguments, and forks the workers from itself, clean and small as it is. What it
 * shares with the program is freed with the pool. Of a forkserver's nursery that only goes when the
 * server has said how it ended; where the server is stopped, so that it may say so later, the block
 * is left alone.
 */
#include "pool/nursery.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <tine/error.h>
#include <tine/fork.h>
#include <tine/heap.h>

#include "lib/function.h"
#include "lib/log.h"
#include "lib/sig.h"
#include "lib/sys.h"
#include "pool/init.h"
#include "pool/start.h"
#include "pool/surroundings.h"
#include "shm/owner.h"

#define START_TIMEOUT_NS TINE_SEC(30)
#define TOLD_NS          TINE_SEC(1)
#define LOOK_NS          TINE_MS(10)

/* ---- in the new process ---------------------------------------------------------------------- */

static int become_nursery(tine_call *call)
{
    struct tine__pool_shm *pool;
    uint64_t blocked;
    int socket, rc = tine_args(call, "pFQ", &pool, &socket, &blocked);

    if (rc < 0)
        return rc;
    return tine__nursery_live(pool, tine_process_sentinel(tine_process_parent()), socket, blocked);
}

/* ---- the program's side ---------------------------------------------------------------------- */

static int pack(tine_buffer *packed, struct tine__carried *carried, const char *format, ...)
{
    struct tine__arguments args = {.descriptors = &carried->hooks};
    int rc;

    va_start(args.list, format);
    rc = tine__pack(packed, format, true, &args);
    va_end(args.list);
    return rc;
}

/* Its workers are called as those of a forked nursery are: as the program is. */
static void introduce(struct tine__process_shm *shared)
{
    const struct tine_process *self = tine_process_current();

    shared->flags = TINE_PROCESS_NO_STDIN;
    shared->what = TINE_FORKED_NURSERY;
    shared->parent_daemon = self->daemon;
    shared->parent_pid = self->pid;
    shared->parent = tine__owner_word();
    memcpy(shared->name, self->name, sizeof shared->name);
    memcpy(shared->parent_name, self->name, sizeof shared->parent_name);
    strcpy(shared->identity, tine__current_identity());
}

static int make_shared(struct tine_process *process, const tine_buffer *packed,
                       const tine_buffer *environment, const struct tine__carried *carried)
{
    struct tine__process_shm sizes = {.args_size = packed->size,
                                      .environment_size = environment->size};

    process->shared = tine_calloc(1, tine__process_bytes(&sizes));
    if (process->shared == NULL)
        return -ENOMEM;
    process->shared->args_size = packed->size;
    process->shared->environment_size = environment->size;
    process->shared->carried_count = carried->count;
    tine__launch_tell_log(process->shared);
    process->shared->start_method = tine__start_method_chosen();
    memcpy(process->shared->args, packed->data, packed->size);
    if (environment->size > 0)
        memcpy(tine__process_environment(process->shared), environment->data, environment->size);
    introduce(process->shared);
    return tine__function_describe((tine_any_function *)become_nursery, &process->shared->function);
}

static int start(struct tine_process *process, int32_t method, struct tine__carried *carried)
{
    struct tine__birth birth = {
        .shared = process->shared, .carried = carried, .parent = tine__sys_pidfd_open(getpid())};
    tine__deadline deadline = tine__deadline_after(START_TIMEOUT_NS);
    int rc = birth.parent;

    if (rc < 0)
        return rc;
    rc = (method == TINE_SPAWN ? tine__start_spawn : tine__start_forkserver)(process, &birth, NULL,
                                                                             deadline);
    process->shared = birth.shared;
    close(birth.parent);
    return rc;
}

/* Workers have the signal mask of the thread that opens the pool. */
static int launch(struct tine_process *process, struct tine__pool_shm *pool, int32_t method,
                  int socket)
{
    struct tine__carried carried;
    tine_buffer packed = {0}, environment = {0};
    int rc;

    tine__carried_init(&carried);
    rc = pack(&packed, &carried, "pFQ", pool, socket, tine__sig_blocked());
    if (rc == 0 && method == TINE_FORKSERVER)
        rc = tine__environment_pack(&environment);
    if (rc == 0)
        rc = make_shared(process, &packed, &environment, &carried);
    if (rc == 0)
        rc = start(process, method, &carried);
    tine__carried_close(&carried);
    tine_buffer_free(&packed);
    tine_buffer_free(&environment);
    return rc;
}

int tine__nursery_launch(struct tine__nursery *nursery, struct tine__pool_shm *pool, int32_t method,
                         int socket)
{
    struct tine_process *process = calloc(1, sizeof *process);
    int rc;

    if (process == NULL)
        return -ENOMEM;
    process->pidfd = -1;
    rc = launch(process, pool, method, socket);
    if (rc < 0) {
        tine_free(process->shared);
        free(process);
        return rc;
    }
    nursery->pid = process->pid;
    nursery->pidfd = process->pidfd;
    nursery->launched = process;
    return 0;
}

void tine__nursery_bury(struct tine_process *launched)
{
    tine__deadline deadline = tine__deadline_after(TOLD_NS);
    bool reaped = tine__process_reap(launched);

    while (!reaped && !tine__deadline_passed(deadline)) {
        if (tine__sys_poll_in(launched->pidfd, LOOK_NS) > 0)
            (void)tine__sys_futex_wait(&launched->shared->told, 0, LOOK_NS);
        reaped = tine__process_reap(launched);
    }
    if (reaped)
        tine_free(launched->shared);
    close(launched->pidfd);
    free(launched);
}
