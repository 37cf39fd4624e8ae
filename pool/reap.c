/* SPDX-License-Identifier: MIT */
/*
 * Ends of processes: waiting for them, reaping, and what is known of how they ended.
 *
 * A child is waited for by its pidfd, which any number of threads may poll, and reaped through it
 * by the first that comes, under the handle's lock; the others find what that has written. The
 * program may have been faster with a waitpid(-1), or ignore SIGCHLD: then the kernel is asked what
 * the pidfd still knows (Linux 6.15), then the word that the process has left before it exited by
 * itself.
 *
 * A process of the forkserver's is waited for by its pidfd as well; its status comes from the
 * server.
 */
#include "pool/process_impl.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include <tine/error.h>

#include "lib/clock.h"
#include "lib/sys.h"
#include "shm/heap.h"
#include "shm/owner.h"

#define UNKNOWN   255  /* exit code, as Python has it */
#define ASKED_MAX 1000 /* times; who reaps makes the status known a moment later */
#define PAUSE_NS  TINE_MS(1)
#define LOOK_NS   TINE_MS(50)
#define TOLD_NS   TINE_MS(2) /* a server that lives has told by then, or is about to */

static int exitcode_of(int status)
{
    return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

/* Of one that somebody else has reaped, or is reaping. */
static int recover_exitcode(const struct tine_process *process)
{
    uint32_t left = atomic_load_explicit(&process->shared->left, memory_order_acquire);
    int status, rc = -EAGAIN;

    for (int i = 0; i < ASKED_MAX && rc == -EAGAIN; i++) {
        rc = tine__sys_pidfd_status(process->pidfd, &status);
        if (rc == 0)
            return exitcode_of(status);
        sched_yield();
    }
    return left != 0 ? (int)(left & 0xff) : UNKNOWN;
}

static bool has_ended(const struct tine_process *process)
{
    return tine__sys_poll_in(process->pidfd, 0) > 0;
}

static bool find_end(struct tine_process *process)
{
    siginfo_t info = {.si_pid = 0};

    if (waitid(P_PIDFD, (id_t)process->pidfd, &info, WEXITED | WNOHANG) == 0) {
        if (info.si_pid == 0)
            return false;
        process->exitcode = info.si_code == CLD_EXITED ? info.si_status : -info.si_status;
    } else {
        if (errno != ECHILD || !has_ended(process))
            return false;
        process->exitcode = recover_exitcode(process);
    }
    return true;
}

/* The forkserver reaps it and tells; where it is dead, nobody ever will. */
static bool find_end_told(struct tine_process *process)
{
    const _Atomic uint32_t *word = &process->shared->told;
    uint32_t told = atomic_load_explicit(word, memory_order_acquire);

    if (told == 0 && (!has_ended(process) || tine__owner_word_lives(process->server)))
        return false;
    if (told == 0) /* it may have told before it died */
        told = atomic_load_explicit(word, memory_order_acquire);
    process->exitcode = told == 0 ? UNKNOWN : exitcode_of((int)(told & 0xffff));
    return true;
}

bool tine__process_reap(struct tine_process *process)
{
    bool ended;

    tine__futex_lock(&process->lock);
    if (!process->ended && (process->server != 0 ? find_end_told(process) : find_end(process))) {
        process->ended = true;
        tine__heap_sweep_process(process->pid);
    }
    ended = process->ended;
    tine__futex_unlock(&process->lock);
    return ended;
}

static void await_told(const struct tine_process *process, tine__deadline deadline, int64_t slice)
{
    int64_t left = tine__deadline_left(deadline);

    (void)tine__sys_futex_wait(&process->shared->told, 0, left < slice ? left : slice);
}

/*
 * It is dead, but may not have been reaped yet: by the forkserver, or because a debugger has it.
 * Whether the server lives takes longer to find out than it takes to tell.
 */
static bool is_reaped_soon(struct tine_process *process, tine__deadline deadline)
{
    if (process->server != 0)
        await_told(process, deadline, TOLD_NS);
    if (tine__process_reap(process))
        return true;
    await_told(process, deadline, process->server != 0 ? LOOK_NS : PAUSE_NS);
    return false;
}

int tine_process_join(tine_process *process, int64_t timeout_ns)
{
    tine__deadline deadline = tine__deadline_after(timeout_ns);
    int rc = tine__process_check(process, 1 << TINE__CHILD | 1 << TINE__SELF | 1 << TINE__PARENT);

    if (rc < 0 || process->role == TINE__SELF)
        return rc < 0 ? rc : -EDEADLK;
    for (;;) {
        int64_t left = tine__deadline_left(deadline);

        if (process->role == TINE__PARENT ? has_ended(process) : tine__process_reap(process))
            return 0;
        if (left == 0)
            return timeout_ns == 0 ? -EAGAIN : -ETIMEDOUT;
        if (tine__sys_poll_in(process->pidfd, deadline == TINE__NEVER ? -1 : left) > 0 &&
            process->role == TINE__CHILD && is_reaped_soon(process, deadline))
            return 0;
    }
}

int tine_process_is_alive(tine_process *process)
{
    int rc = tine__process_check(process, 1 << TINE__CHILD | 1 << TINE__SELF | 1 << TINE__PARENT);

    if (rc < 0 || process->role == TINE__SELF)
        return rc < 0 ? rc : 1;
    return (process->role == TINE__PARENT || !tine__process_reap(process)) && !has_ended(process);
}

int tine_process_exitcode(tine_process *process, int *exitcode)
{
    int rc = exitcode == NULL ? -EINVAL : tine__process_check(process, 1 << TINE__CHILD);

    if (rc < 0)
        return rc;
    if (!tine__process_reap(process))
        return -EAGAIN;
    *exitcode = process->exitcode; /* written once, before */
    return 0;
}

/* One that has said nothing. */
static void describe_end(const struct tine_process *process, tine_failure *failure)
{
    int exitcode = process->exitcode;

    *failure = (tine_failure){.code = TINE_EWORKER,
                              .signal = exitcode < 0 ? -exitcode : 0,
                              .exit_status = exitcode < 0 ? -1 : exitcode};
    if (exitcode < 0)
        snprintf(failure->message, sizeof failure->message, "%s was ended by signal %d",
                 process->name, -exitcode);
    else
        snprintf(failure->message, sizeof failure->message, "%s has exited with status %d",
                 process->name, exitcode);
}

int tine_process_failure(tine_process *process, tine_failure *failure)
{
    int exitcode, rc = failure == NULL ? -EINVAL : tine_process_exitcode(process, &exitcode);

    if (rc < 0 || exitcode == 0)
        return rc;
    /* pairs with the release of who failed */
    if (exitcode == 1 && atomic_load_explicit(&process->shared->failed, memory_order_acquire) != 0)
        *failure = process->shared->failure;
    else
        describe_end(process, failure);
    failure->pid = (int32_t)process->pid;
    failure->worker = -1;
    failure->count = 1;
    return 1;
}
