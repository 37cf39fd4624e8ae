/* SPDX-License-Identifier: MIT */
/*
 * The nursery: the process that forks, watches, reaps and replaces the workers of one pool.
 *
 *     program ──fork──► nursery ──fork──► workers
 *
 * It is a fork of the program as it was at tine_pool_open(), or a clean process
 * (pool/nursery_launch.c), with one thread, and does nothing but wait: so workers are always forked
 * from a quiet process, the program's own wait() never meets them, and replacing one costs the
 * program nothing. It watches the program through a pidfd that was opened before the fork (a
 * parent-death signal would follow the forking thread) and kills all workers when the program ends.
 * Workers arm the parent-death signal on the nursery, whose only thread lives as long as it does,
 * so nothing of the pool outlives it either.
 *
 * The program gets a pidfd of every worker over the socket, so it can end the pool without the
 * nursery's help. A worker fetches descriptors that it lacks through a control socket of its own
 * (pool/descriptor.c). When a worker dies, its account is settled (pool/settle.c) before another
 * process takes its place.
 */
#include "pool/nursery.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <tine/error.h>
#include <tine/process.h>
#include <tine/time.h>

#include "lib/at_fork.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "lib/sig.h"
#include "lib/sys.h"
#include "pool/account.h"
#include "pool/budget.h"
#include "pool/descriptor.h"
#include "pool/exit.h"
#include "pool/failure.h"
#include "pool/initialize.h"
#include "pool/limit.h"
#include "pool/orphans.h"
#include "pool/polled.h"
#include "pool/recycle.h"
#include "pool/remains.h"
#include "pool/resize.h"
#include "pool/restart.h"
#include "pool/settle.h"
#include "pool/start.h"
#include "pool/sticky.h"
#include "pool/worker.h"
#include "shm/heap.h"

#define MUTE_LOOK_NS TINE_MS(50)
#define BURIAL_NS    TINE_SEC(10) /* for what has been killed; usually milliseconds */
#define ORPHANS_NS   TINE_MS(100) /* nurseries of nested pools take a millisecond */

struct ward {
    pid_t pid; /* 0: not running */
    int pidfd;
    int control;       /* socket, to it; -1: it has closed its end */
    bool untold;       /* the program does not know it yet */
    bool settled;      /* its account is, although it has not exited yet */
    uint64_t finished; /* units done in this place when it started */
    int64_t born_ns;
    size_t polled; /* the entry of its pidfd, and that of its control socket, if any, comes next */
};

/* The nursery's own state, private to its process. */
struct keeper {
    struct tine__pool_shm *pool;
    int program; /* pidfd */
    int socket;
    pid_t self;
    sigset_t worker_mask, waiting;
    uint32_t alive, untold;
    struct tine__restart restart;
    struct tine__backoff backoff;
    struct rlimit files; /* the program's, for workers */
    struct tine__kept *kept;
    struct tine__polled polled; /* program, socket, and what there is of each worker */
    struct ward *wards;
};

/* ---- a worker's first steps ------------------------------------------------------------------ */

/* exit() in a task: the program's atexit handlers are not the worker's to run. */
static void leave_at_exit(int status, void *unused)
{
    (void)unused;
    fflush(stdout);
    fflush(stderr);
    _exit(status);
}

static void close_ward(const struct ward *ward)
{
    close(ward->pidfd);
    if (ward->control >= 0)
        close(ward->control);
}

static void close_siblings(const struct keeper *keeper)
{
    for (uint32_t i = 0; i < keeper->pool->workers; i++)
        if (keeper->wards[i].pid != 0)
            close_ward(&keeper->wards[i]);
    close(keeper->program);
    close(keeper->socket);
    tine__kept_close(keeper->kept);
}

static void end_with_nursery(const struct keeper *keeper)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != keeper->self) /* it died before the line above */
        _exit(0);
}

static _Noreturn void become_worker(const struct keeper *keeper, uint32_t index, int control)
{
    char name[32]; /* the kernel keeps 15 characters */

    end_with_nursery(keeper);
    snprintf(name, sizeof name, "tine-worker-%u", index);
    prctl(PR_SET_NAME, name);
    close_siblings(keeper);
    setrlimit(RLIMIT_NOFILE, &keeper->files);
    tine__orphans_forget();
    if (on_exit(leave_at_exit, NULL) != 0)
        _exit(EXIT_FAILURE);
    tine__sig_restore(&keeper->worker_mask);
    tine__at_fork_in_child(TINE_FORKED_WORKER);
    tine__recycle_prepare(keeper->pool);
    tine__worker_begin(keeper->pool, index);
    end_with_nursery(keeper); /* the kernel forgets it where the initializer changes the user */
    tine__worker_loop(keeper->pool, index, control);
    if (tine__worker_has_end(keeper->pool)) /* which may take long */
        tine__resize_hand_over(tine__worker_at(keeper->pool, index), control);
    tine__worker_end(keeper->pool);
    fflush(stdout);
    fflush(stderr);
    _exit(0);
}

/* Units done in this place, ever. */
static uint64_t finished_in(const struct keeper *keeper, uint32_t index)
{
    return atomic_load_explicit(&tine__worker_at(keeper->pool, index)->finished,
                                memory_order_relaxed);
}

/* ---- starting -------------------------------------------------------------------------------- */

static void tell(struct keeper *keeper, uint32_t index)
{
    struct ward *ward = &keeper->wards[index];
    struct tine__nursery_note note = {.worker = index, .pid = ward->pid};

    if (tine__sys_send_fds(keeper->socket, &note, sizeof note, &ward->pidfd, 1, MSG_DONTWAIT) ==
        -EAGAIN)
        return; /* the program has not listened for long: later */
    /* Or it cannot be told, for too many descriptors are under way: known by the nursery only. */
    ward->untold = false;
    keeper->untold--;
}

static int start_worker(struct keeper *keeper, uint32_t index)
{
    struct ward *ward = &keeper->wards[index];
    struct tine__worker_shm *shared = tine__worker_at(keeper->pool, index);
    int pidfd, sockets[2], rc = tine__exit_prepare(keeper->pool, index);
    pid_t pid;

    if (rc == 0)
        rc = tine__sys_socketpair(sockets);
    if (rc < 0)
        return rc;
    atomic_store_explicit(&shared->stage, TINE__STAGE_BORN, memory_order_relaxed);
    tine__resize_birth(keeper->pool, index);
    pid = tine__hooked_fork(TINE_FORKED_WORKER, &pidfd);
    if (pid == 0) {
        close(sockets[0]);
        become_worker(keeper, index, sockets[1]);
    }
    close(sockets[1]);
    if (pid < 0) {
        close(sockets[0]);
        return pid;
    }
    *ward = (struct ward){.pid = pid,
                          .pidfd = pidfd,
                          .control = sockets[0],
                          .untold = true,
                          .finished = finished_in(keeper, index),
                          .born_ns = tine__now_ns()};
    atomic_store_explicit(&shared->pid, (uint32_t)pid, memory_order_relaxed);
    atomic_fetch_add_explicit(&keeper->pool->started, 1, memory_order_relaxed);
    keeper->alive++;
    keeper->untold++;
    tell(keeper, index);
    return 0;
}

static bool is_in(const struct keeper *keeper, uint32_t state)
{
    return atomic_load_explicit(&keeper->pool->state, memory_order_acquire) == state;
}

static void kill_all(const struct keeper *keeper)
{
    for (uint32_t i = 0; i < keeper->pool->workers; i++)
        if (keeper->wards[i].pid != 0)
            tine__sys_pidfd_kill(keeper->wards[i].pidfd, SIGKILL);
}

/* The pool is broken. */
static void give_up(struct keeper *keeper, tine_failure *failure)
{
    tine__log_error("pool: %s", failure->message);
    tine__pool_break(keeper->pool, failure);
    kill_all(keeper);
}

static void give_up_starting(struct keeper *keeper, uint32_t index, int rc)
{
    tine_failure failure = {.worker = (int32_t)index, .error = rc, .exit_status = -1};

    snprintf(failure.message, sizeof failure.message, "no worker can be started: %s",
             tine_strerror(rc));
    give_up(keeper, &failure);
}

static void start_missing(struct keeper *keeper)
{
    int64_t now = tine__now_ns();
    uint32_t missing, places;

    if (!is_in(keeper, TINE__POOL_RUNNING))
        return;
    tine__resize_settle(keeper->pool);
    missing = tine__resize_missing(keeper->pool);
    places = tine__resize_places(keeper->pool);
    for (uint32_t i = 0; i < places && missing > 0 && now >= keeper->restart.next; i++) {
        int rc;

        if (keeper->wards[i].pid != 0)
            continue;
        missing--;
        rc = start_worker(keeper, i);
        if (rc < 0) {
            tine__log_warning("pool: cannot start worker %u: error %d", i, -rc);
            if (tine__restart_failed(&keeper->restart, keeper->alive))
                give_up_starting(keeper, i, rc);
        } else {
            tine__restart_done(&keeper->restart, now);
        }
    }
}

/* ---- ends ------------------------------------------------------------------------------------ */

static struct tine__death read_death(const siginfo_t *info)
{
    bool exited = info->si_code == CLD_EXITED;

    return (struct tine__death){.pid = info->si_pid,
                                .signal = exited ? 0 : info->si_status,
                                .exit_status = exited ? info->si_status : -1};
}

/* Because it was asked to, not killed. */
static bool left_in_order(const struct keeper *keeper, uint32_t index,
                          const struct tine__death *death)
{
    return death->signal == 0 &&
           (is_in(keeper, TINE__POOL_LEAVING) || tine__resize_left(keeper->pool, index));
}

static void tell_exit(const struct keeper *keeper, uint32_t index, const struct tine__death *death,
                      const struct rusage *usage)
{
    tine__exit_tell(keeper->pool,
                    &(tine_worker_exit){.worker = (int32_t)index,
                                        .pid = death->pid,
                                        .signal = death->signal,
                                        .exit_status = death->exit_status,
                                        .asked = left_in_order(keeper, index, death),
                                        .cpu_ns = tine__account_cpu_ns(usage),
                                        .peak_rss_bytes = (uint64_t)usage->ru_maxrss * 1024});
}

static uint64_t finished_by_all(const struct keeper *keeper)
{
    uint64_t finished = 0;

    for (uint32_t i = 0; i < keeper->pool->workers; i++)
        finished += finished_in(keeper, i);
    return finished;
}

/* Its account is settled: what has failed for good counts as finished. */
static void judge_death(struct keeper *keeper, uint32_t index, const struct tine__death *death)
{
    const struct ward *ward = &keeper->wards[index];
    struct tine__victim victim = {.finished = finished_in(keeper, index) != ward->finished,
                                  .done = finished_by_all(keeper),
                                  .born_ns = ward->born_ns};
    tine_failure failure = {.pid = death->pid,
                            .worker = (int32_t)index,
                            .signal = death->signal,
                            .exit_status = death->exit_status};

    if (!tine__restart_died(&keeper->restart, &victim))
        return;
    snprintf(failure.message, sizeof failure.message,
             "workers die one after the other with nothing done; the last one, %d, by signal %d, "
             "with exit status %d",
             death->pid, death->signal, death->exit_status);
    give_up(keeper, &failure);
}

static void reap(struct keeper *keeper, uint32_t index)
{
    struct ward *ward = &keeper->wards[index];
    struct tine__death death;
    struct rusage usage;
    siginfo_t info;
    bool unasked;

    if (tine__sys_reap(ward->pidfd, &info, &usage) <= 0)
        return;
    death = read_death(&info);
    if (ward->untold)
        keeper->untold--;
    close_ward(ward);
    ward->pid = 0;
    keeper->alive--;
    atomic_store_explicit(&tine__worker_at(keeper->pool, index)->pid, 0, memory_order_relaxed);
    tine__heap_sweep_process(death.pid);
    tine__budget_forget(keeper->pool, death.pid);
    tine__account_worker(keeper->pool, &usage);
    tell_exit(keeper, index, &death, &usage);
    /* Of a pool that is being ended the jobs are cancelled, not failed; the program sees to
       them. */
    if (is_in(keeper, TINE__POOL_ENDING))
        return;
    unasked = !left_in_order(keeper, index, &death);
    if (unasked) /* before its job ends: whoever sees the failure finds the death counted */
        /* release: who reads the count finds the dead no longer alive (tine_pool_stats) */
        atomic_fetch_add_explicit(&keeper->pool->died, 1, memory_order_release);
    if (tine__initialize_failed(keeper->pool, index, &death)) {
        kill_all(keeper);
        return;
    }
    if (!ward->settled)
        tine__settle(keeper->pool, &keeper->backoff, index, &death);
    if (!unasked) {
        tine__restart_left(&keeper->restart);
        return;
    }
    tine__log_info("pool: worker %u (pid %d) ended: signal %d, status %d", index, death.pid,
                   death.signal, death.exit_status);
    judge_death(keeper, index, &death);
}

/* Workers that are in their finalizers: what they left is others' to do meanwhile. */
static void settle_leavers(struct keeper *keeper)
{
    for (uint32_t i = 0; i < keeper->pool->workers; i++) {
        struct ward *ward = &keeper->wards[i];
        struct tine__death end = {.pid = ward->pid};

        if (ward->pid == 0 || ward->settled || !tine__resize_has_left(keeper->pool, i))
            continue;
        tine__settle(keeper->pool, &keeper->backoff, i, &end);
        ward->settled = true;
    }
}

/* ---- the loop -------------------------------------------------------------------------------- */

/* Only what is open, for there are more places than workers: see pool/polled.c. */
static void fill_polled(struct keeper *keeper)
{
    struct tine__polled *polled = &keeper->polled;

    polled->count = 0;
    tine__polled_add(polled, keeper->program, POLLIN);
    tine__polled_add(polled, keeper->socket, keeper->untold > 0 ? POLLIN | POLLOUT : POLLIN);
    for (uint32_t i = 0; i < keeper->pool->workers; i++) {
        struct ward *ward = &keeper->wards[i];

        if (ward->pid == 0)
            continue;
        ward->polled = polled->count;
        tine__polled_add(polled, ward->pidfd, POLLIN);
        if (ward->control >= 0)
            tine__polled_add(polled, ward->control, POLLIN);
    }
}

static void signal_worker(void *context, uint32_t index, int signal)
{
    const struct keeper *keeper = context;

    if (keeper->wards[index].pid != 0)
        tine__sys_pidfd_kill(keeper->wards[index].pidfd, signal);
}

static tine__deadline earlier(tine__deadline a, tine__deadline b)
{
    return a < b ? a : b;
}

/* A worker that has closed what it was not to close cannot say when it is to be looked after. */
static bool has_mute(const struct keeper *keeper)
{
    for (uint32_t i = 0; i < keeper->pool->workers; i++)
        if (keeper->wards[i].pid != 0 && keeper->wards[i].control < 0)
            return true;
    return false;
}

/* The nursery's timer: until when nothing has to be done unasked. */
static tine__deadline next_due(struct keeper *keeper)
{
    tine__deadline due = tine__limit_enforce(keeper->pool, signal_worker, keeper);

    if (has_mute(keeper))
        due = earlier(due, tine__deadline_after(MUTE_LOOK_NS));

    if (!is_in(keeper, TINE__POOL_RUNNING))
        return due;
    due = earlier(due, tine__resize_due(keeper->pool, keeper->restart.next));
    return earlier(due, tine__backoff_look(&keeper->backoff, keeper->pool));
}

static void wait_for_events(struct keeper *keeper)
{
    tine__deadline due = next_due(keeper);

    tine__kept_sweep(keeper->kept, keeper->pool);
    fill_polled(keeper);
    tine__polled_wait(&keeper->polled, due, &keeper->waiting);
}

/* Nudges, and descriptors to keep, each with its number. */
static void listen_to_program(struct keeper *keeper)
{
    for (;;) {
        uint64_t number = 0;
        int fd = -1, count = 1;
        ssize_t size =
            tine__sys_recv_fds(keeper->socket, &number, sizeof number, &fd, &count, MSG_DONTWAIT);

        if (size == -EPROTO) /* no descriptor was free for it */
            tine__kept_add(keeper->kept, keeper->pool, number, -EMFILE);
        else if (size <= 0)
            return;
        else if (size == (ssize_t)sizeof number && count == 1)
            tine__kept_add(keeper->kept, keeper->pool, number, fd);
    }
}

static void answer_workers(struct keeper *keeper)
{
    bool listened = false;

    for (uint32_t i = 0; i < keeper->pool->workers; i++) {
        struct ward *ward = &keeper->wards[i];

        if (ward->pid == 0 || ward->control < 0 ||
            keeper->polled.entries[ward->polled + 1].revents == 0)
            continue;
        if (!listened) /* what a worker asks for was sent before, but seen perhaps only now */
            listen_to_program(keeper);
        listened = true;
        if (tine__kept_answer(keeper->kept, ward->control))
            continue;
        close(ward->control);
        ward->control = -1;
    }
}

/* Those that have ended. */
static void reap_all(struct keeper *keeper)
{
    for (uint32_t i = 0; i < keeper->pool->workers; i++)
        if (keeper->wards[i].pid != 0 &&
            keeper->polled.entries[keeper->wards[i].polled].revents != 0)
            reap(keeper, i);
}

static void handle_socket(struct keeper *keeper)
{
    if ((keeper->polled.entries[1].revents & POLLIN) != 0)
        listen_to_program(keeper);
    if ((keeper->polled.entries[1].revents & POLLOUT) != 0)
        for (uint32_t i = 0; i < keeper->pool->workers; i++)
            if (keeper->wards[i].pid != 0 && keeper->wards[i].untold)
                tell(keeper, i);
}

static bool is_worker(void *context, pid_t pid)
{
    const struct keeper *keeper = context;

    for (uint32_t i = 0; i < keeper->pool->workers; i++)
        if (keeper->wards[i].pid == pid)
            return true;
    return false;
}

/* It may have been the nursery of a worker's pool. */
static void forget_orphan(void *context, pid_t pid)
{
    const struct keeper *keeper = context;

    tine__budget_forget(keeper->pool, pid);
}

/* All of them, who have been killed. False: one has not ended. */
static bool bury_workers(const struct keeper *keeper)
{
    tine__deadline deadline = tine__deadline_after(BURIAL_NS);

    for (uint32_t i = 0; i < keeper->pool->workers; i++) {
        const struct ward *ward = &keeper->wards[i];
        struct rusage usage;
        siginfo_t info;

        if (ward->pid == 0)
            continue;
        if (tine__sys_poll_in(ward->pidfd, tine__deadline_left(deadline)) <= 0 ||
            tine__sys_reap(ward->pidfd, &info, &usage) <= 0)
            return false;
        tine__heap_sweep_process(ward->pid);
        tine__budget_forget(keeper->pool, ward->pid);
    }
    return true;
}

static _Noreturn void keep(struct keeper *keeper)
{
    static const struct tine__orphans_calls orphans = {.is_own = is_worker,
                                                       .reaped = forget_orphan};

    tine__orphans_adopt(&keeper->waiting);
    for (;;) {
        start_missing(keeper);
        tine__sticky_assign(keeper->pool, keeper->restart.failed == 0);
        if (!is_in(keeper, TINE__POOL_RUNNING) && keeper->alive == 0) {
            tine__orphans_await(ORPHANS_NS);
            _exit(0);
        }
        wait_for_events(keeper);
        /* The program has ended, or executes another, or has closed what it needs for the pool. */
        if (keeper->polled.entries[0].revents != 0 ||
            (keeper->polled.entries[1].revents & POLLHUP) != 0) {
            kill_all(keeper);
            if (tine__remains_begin(keeper->pool, keeper->program) && bury_workers(keeper))
                tine__remains_free(keeper->pool);
            _exit(0);
        }
        handle_socket(keeper);
        answer_workers(keeper);
        if (is_in(keeper, TINE__POOL_ENDING))
            kill_all(keeper);
        else
            settle_leavers(keeper);
        reap_all(keeper);
        tine__orphans_reap(&orphans, keeper);
    }
}

/* ---- the program's side ---------------------------------------------------------------------- */

static int make_keeper(struct keeper *keeper, struct tine__pool_shm *pool, int program)
{
    *keeper =
        (struct keeper){.pool = pool,
                        .program = program,
                        .kept = calloc(1, sizeof *keeper->kept),
                        .polled.entries = calloc(TINE__POLLED_FIRST + 2 * (size_t)pool->workers,
                                                 sizeof *keeper->polled.entries),
                        .wards = calloc(pool->workers, sizeof *keeper->wards)};
    if (keeper->kept == NULL || keeper->polled.entries == NULL || keeper->wards == NULL)
        return -ENOMEM;
    return keeper->program < 0 ? keeper->program : 0;
}

/* What the program need not keep once the nursery has its copy. */
static void drop_keeper(struct keeper *keeper)
{
    if (keeper->program >= 0)
        close(keeper->program);
    free(keeper->kept);
    free(keeper->polled.entries);
    free(keeper->wards);
}

/* Each worker needs two descriptors here, and none in itself. */
static void allow_many_files(struct keeper *keeper)
{
    struct rlimit most;

    getrlimit(RLIMIT_NOFILE, &keeper->files);
    most = (struct rlimit){.rlim_cur = keeper->files.rlim_max, .rlim_max = keeper->files.rlim_max};
    setrlimit(RLIMIT_NOFILE, &most);
}

/* In the new process, with signals blocked. */
static _Noreturn void live(struct keeper *keeper, int socket)
{
    prctl(PR_SET_NAME, "tine-nursery");
    /* Also wakes one that is stopped, whose program has ended; of a thread that ends alone nothing
       comes. */
    prctl(PR_SET_PDEATHSIG, SIGCONT);
    signal(SIGINT, SIG_IGN); /* in workers as well: Ctrl-C is the program's to handle */
    allow_many_files(keeper);
    keeper->socket = socket;
    keeper->self = getpid();
    keep(keeper);
}

int tine__nursery_live(struct tine__pool_shm *pool, int program, int socket, uint64_t blocked)
{
    struct keeper keeper;
    int rc = make_keeper(&keeper, pool, program);

    if (rc < 0)
        return rc;
    tine__sig_block(&keeper.worker_mask);
    tine__sig_unpack(blocked, &keeper.worker_mask);
    live(&keeper, socket);
}

static pid_t fork_keeper(struct keeper *keeper, const int sockets[2], int *pidfd)
{
    pid_t pid;

    tine__start_warn_of_threads("pool");
    tine__start_flush();
    tine__sig_block(&keeper->worker_mask); /* no handler of the program's runs in the child */
    pid = tine__hooked_fork(TINE_FORKED_NURSERY, pidfd);
    if (pid == 0) {
        tine__sig_default(tine__sig_handled());
        close(sockets[0]);
        tine__start_without_stdin();
        tine__at_fork_in_child(TINE_FORKED_NURSERY);
        live(keeper, sockets[1]);
    }
    tine__sig_restore(&keeper->worker_mask);
    return pid;
}

static int start_forked(struct tine__nursery *nursery, struct tine__pool_shm *pool,
                        const int sockets[2])
{
    struct keeper keeper;
    int rc = make_keeper(&keeper, pool, tine__sys_pidfd_open(getpid()));

    if (rc == 0)
        rc = fork_keeper(&keeper, sockets, &nursery->pidfd);
    drop_keeper(&keeper);
    if (rc > 0)
        nursery->pid = rc;
    return rc;
}

int tine__nursery_start(struct tine__nursery *nursery, struct tine__pool_shm *pool, int32_t method)
{
    int sockets[2], rc;

    *nursery = (struct tine__nursery){.pidfd = -1, .socket = -1, .workers = pool->workers};
    nursery->children = calloc(pool->workers, sizeof *nursery->children);
    rc = nursery->children == NULL ? -ENOMEM : tine__sys_socketpair(sockets);
    if (rc == 0) {
        rc = method == TINE_FORK ? start_forked(nursery, pool, sockets)
                                 : tine__nursery_launch(nursery, pool, method, sockets[1]);
        close(sockets[1]);
        nursery->socket = sockets[0];
    }
    for (uint32_t i = 0; nursery->children != NULL && i < pool->workers; i++)
        nursery->children[i].pidfd = -1;
    if (rc < 0)
        tine__nursery_fini(nursery);
    return rc < 0 ? rc : 0;
}
