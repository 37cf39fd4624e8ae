/* SPDX-License-Identifier: MIT */
/*
 * Workers that are threads of the program (TINE_THREADS), or nobody at all (TINE_INLINE).
 *
 * A thread runs the same loop as a worker process, over the same words; nothing watches it, for it
 * dies with the program only, or by its own hand: where a task calls pthread_exit() the thread, on
 * its way out, settles its own account (pool/settle.c) and starts another in its place, which joins
 * it. So it cannot be killed either: what cannot be waited for is abandoned (pool/cancel.c), and
 * the job's memory stays until the thread is through with it. Threads have all signals blocked that
 * the program may want for itself.
 *
 * The descriptors that calls have for arguments are kept here, under a mutex, not in a nursery. The
 * mutex is the last to be taken: the pool's may be held. Threads that end so have it one at a time.
 * A fork of the program has none of the threads, and leaves all of this alone.
 */
#include "pool/threads.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include <tine/error.h>
#include <tine/time.h>
#include <tine/worker.h>

#include "lib/log.h"
#include "lib/sig.h"
#include "lib/sys.h"
#include "pool/descriptor.h"
#include "pool/exit.h"
#include "pool/failure.h"
#include "pool/initialize.h"
#include "pool/place.h"
#include "pool/resize.h"
#include "pool/settle.h"
#include "pool/stream.h"
#include "pool/worker.h"

/* One worker. */
struct seat {
    struct tine__threads *threads;
    pthread_t thread; /* guarded by the mutex once all have been started */
    pthread_t before; /* whose place it took, to be joined first */
    uint32_t index;
    bool has_before;
    bool ends; /* it has left the loop: no other takes its place */
};

struct tine__threads {
    struct tine__pool_shm *pool;
    int ended;               /* eventfd: the nursery's pidfd, for who waits for the pool's end */
    _Atomic uint32_t living; /* threads that have not left; written down before they are started */
    uint32_t count;
    pthread_mutex_t mutex; /* guards kept, left and seats; held by who breaks the pool or settles */
    struct tine__kept kept;
    void *state; /* inline: what the initializer left */
    bool ready;  /* inline: it succeeded */
    bool left;   /* inline: the end is told */
    struct seat seats[];
};

static void say_ended(const struct tine__threads *threads)
{
    uint64_t one = 1;

    (void)!write(threads->ended, &one, sizeof one);
}

static bool is_in(const struct tine__threads *threads, uint32_t state)
{
    return atomic_load_explicit(&threads->pool->state, memory_order_acquire) == state;
}

/* False: the initializer failed, and the pool is broken. */
static bool get_ready(struct tine__threads *threads, uint32_t index)
{
    if (tine__thread_begin(threads->pool, index) == 0)
        return true;
    pthread_mutex_lock(&threads->mutex);
    tine__thread_failed(threads->pool, index);
    pthread_mutex_unlock(&threads->mutex);
    tine__stream_wake_all(threads->pool);
    return false;
}

static int64_t clock_ns(clockid_t clock)
{
    struct timespec used;

    return clock_gettime(clock, &used) < 0 ? 0 : TINE_SEC((int64_t)used.tv_sec) + used.tv_nsec;
}

uint64_t tine__threads_cpu_ns(struct tine__threads *threads, uint32_t index)
{
    clockid_t clock;
    uint64_t used = 0;

    if (index >= threads->count)
        return 0;
    pthread_mutex_lock(&threads->mutex);
    if (pthread_getcpuclockid(threads->seats[index].thread, &clock) == 0)
        used = (uint64_t)clock_ns(clock);
    pthread_mutex_unlock(&threads->mutex);
    return used;
}

static void tell_exit(const struct tine__threads *threads, uint32_t index, bool asked, int status)
{
    int64_t used = clock_ns(CLOCK_THREAD_CPUTIME_ID);

    atomic_store_explicit(&tine__worker_at(threads->pool, index)->pid, 0, memory_order_relaxed);
    /* release: after the pid, for who counts those that run (pool/account.c) */
    atomic_fetch_add_explicit(&threads->pool->cpu_ns, (uint64_t)used, memory_order_release);
    tine__exit_tell(threads->pool, &(tine_worker_exit){.worker = (int32_t)index,
                                                       .pid = getpid(),
                                                       .exit_status = status,
                                                       .asked = asked,
                                                       .cpu_ns = used});
}

/* The last thing that a thread does. */
static void leave(struct tine__threads *threads, uint32_t count)
{
    /* acq_rel: all that they have done has happened when the end is told */
    if (atomic_fetch_sub_explicit(&threads->living, count, memory_order_acq_rel) == count)
        say_ended(threads);
}

/* ---- threads that end themselves ------------------------------------------------------------- */

static void *work(void *argument);

static int start_seat(struct seat *seat)
{
    struct tine__pool_shm *pool = seat->threads->pool;
    pthread_t thread;
    sigset_t saved;
    int rc = tine__exit_prepare(pool, seat->index);

    if (rc < 0)
        return rc;
    tine__resize_birth(pool, seat->index);
    tine__sig_block(&saved); /* inherited by the thread */
    rc = pthread_create(&thread, NULL, work, seat);
    tine__sig_restore(&saved);
    if (rc != 0)
        return -rc;
    seat->thread = thread;
    atomic_fetch_add_explicit(&pool->started, 1, memory_order_relaxed);
    return 0;
}

/* Under the mutex. False: there is no other, and a pool that has none left is broken. */
static bool replace(struct seat *seat)
{
    struct tine__threads *threads = seat->threads;
    tine_failure failure = {.worker = (int32_t)seat->index, .exit_status = -1};

    seat->before = pthread_self();
    seat->has_before = true;
    failure.error = start_seat(seat);
    if (failure.error == 0)
        return true;
    tine__log_warning("pool: cannot start thread %u: error %d", seat->index, -failure.error);
    if (atomic_load_explicit(&threads->living, memory_order_acquire) == 1) {
        snprintf(failure.message, sizeof failure.message, "no thread can be started: %s",
                 tine_strerror(failure.error));
        tine__pool_break(threads->pool, &failure);
    }
    return false;
}

/* Under the mutex. What it had in hand fails or runs again. Has it been replaced? */
static bool bury(struct seat *seat)
{
    struct tine__threads *threads = seat->threads;
    struct tine__death death = {.pid = getpid(), .is_thread = true};

    tell_exit(threads, seat->index, false, 0);
    if (seat->ends || is_in(threads, TINE__POOL_ENDING))
        return false;
    /* release: who reads the count finds the dead no longer alive (tine_pool_stats) */
    atomic_fetch_add_explicit(&threads->pool->died, 1, memory_order_release);
    if (tine__initialize_failed(threads->pool, seat->index, &death)) {
        tine__stream_wake_all(threads->pool);
        return false;
    }
    tine__settle(threads->pool, NULL, seat->index, &death);
    tine__kept_sweep(&threads->kept, threads->pool);
    return replace(seat);
}

/* pthread_exit() in a task, an initializer or a finalizer: its stack is gone. */
static void end_early(void *argument)
{
    struct seat *seat = argument;
    struct tine__threads *threads = seat->threads;
    bool replaced;

    pthread_mutex_lock(&threads->mutex);
    replaced = bury(seat);
    pthread_mutex_unlock(&threads->mutex);
    if (!replaced)
        leave(threads, 1);
}

static void work_in(struct seat *seat)
{
    struct tine__threads *threads = seat->threads;
    bool ready = get_ready(threads, seat->index);

    if (ready)
        tine__worker_thread(threads->pool, seat->index, threads);
    seat->ends = true;
    if (ready && is_in(threads, TINE__POOL_LEAVING))
        tine__worker_end(threads->pool);
    tell_exit(threads, seat->index, ready, ready ? 0 : EXIT_FAILURE);
}

static void *work(void *argument)
{
    struct seat *seat = argument;
    struct tine__threads *threads = seat->threads;
    char name[32]; /* the kernel keeps 15 characters */

    if (seat->has_before)
        pthread_join(seat->before, NULL);
    snprintf(name, sizeof name, "tine-worker-%u", seat->index);
    prctl(PR_SET_NAME, name);
    pthread_cleanup_push(end_early, seat);
    work_in(seat);
    pthread_cleanup_pop(0);
    leave(threads, 1);
    return NULL;
}

/* How many could be started. */
static uint32_t start_all(struct tine__threads *threads)
{
    uint32_t started = 0;

    pthread_mutex_lock(&threads->mutex); /* whoever ends already waits */
    for (; started < threads->count; started++) {
        struct seat *seat = &threads->seats[started];

        *seat = (struct seat){.threads = threads, .index = started};
        if (start_seat(seat) < 0)
            break;
    }
    pthread_mutex_unlock(&threads->mutex);
    return started;
}

int tine__threads_start(struct tine__threads **threads, struct tine__pool_shm *pool, uint32_t count,
                        int *ended)
{
    struct tine__threads *made = calloc(1, sizeof *made + count * sizeof made->seats[0]);
    int fd = tine__sys_eventfd();
    uint32_t started;

    if (made == NULL || fd < 0) {
        free(made);
        if (fd >= 0)
            close(fd);
        return fd < 0 ? fd : -ENOMEM;
    }
    made->pool = pool;
    made->ended = fd;
    made->count = count;
    atomic_init(&made->living, count);
    pthread_mutex_init(&made->mutex, NULL);
    if (count == 0) {
        void *before = tine__worker_change_state(NULL);

        tine__resize_birth(pool, 0);
        made->ready = get_ready(made, 0);
        made->state = tine__worker_change_state(before);
    }
    started = start_all(made);
    if (started < count) {
        made->count = started;
        leave(made, count - started);
        atomic_store_explicit(&pool->state, TINE__POOL_LEAVING, memory_order_seq_cst);
        tine__stream_wake_all(pool);
        tine__threads_join(made);
        close(fd);
        return -EAGAIN;
    }
    *threads = made;
    *ended = fd;
    return 0;
}

bool tine__threads_left(const struct tine__threads *threads)
{
    /* pairs with the last thing that each does */
    return atomic_load_explicit(&threads->living, memory_order_acquire) == 0;
}

void *tine__threads_state(const struct tine__threads *threads)
{
    return threads->state;
}

void tine__threads_leave(struct tine__threads *threads)
{
    bool last;

    if (threads->count > 0)
        return;
    pthread_mutex_lock(&threads->mutex);
    last = !threads->left;
    threads->left = true;
    pthread_mutex_unlock(&threads->mutex);
    if (!last)
        return;
    if (threads->ready && is_in(threads, TINE__POOL_LEAVING)) {
        struct tine__place outer =
            tine__place_of_thread((struct tine__place){.pool = threads->pool});
        void *before = tine__worker_change_state(threads->state);

        tine__worker_end(threads->pool);
        (void)tine__worker_change_state(before);
        (void)tine__place_of_thread(outer);
    }
    say_ended(threads);
}

void tine__threads_sweep(struct tine__threads *threads)
{
    pthread_mutex_lock(&threads->mutex);
    tine__kept_sweep(&threads->kept, threads->pool);
    pthread_mutex_unlock(&threads->mutex);
}

int tine__threads_keep(struct tine__threads *threads, uint64_t number, int fd)
{
    int copy = tine__sys_dup(fd);

    if (copy < 0)
        return copy;
    pthread_mutex_lock(&threads->mutex);
    tine__kept_add(&threads->kept, threads->pool, number, copy);
    pthread_mutex_unlock(&threads->mutex);
    return 0;
}

int tine__threads_fetch(struct tine__threads *threads, uint64_t number, int *fd)
{
    int copy;

    pthread_mutex_lock(&threads->mutex);
    copy = tine__kept_find(&threads->kept, number);
    if (copy >= 0)
        copy = tine__sys_dup(copy);
    pthread_mutex_unlock(&threads->mutex);
    if (copy < 0)
        return copy;
    *fd = copy;
    return 0;
}

void tine__threads_join(struct tine__threads *threads)
{
    pthread_t last;

    if (threads->count > 0) /* before that, others may still take the places of some */
        (void)tine__sys_poll_in(threads->ended, -1);
    for (uint32_t i = 0; i < threads->count; i++) {
        pthread_mutex_lock(&threads->mutex);
        last = threads->seats[i].thread;
        pthread_mutex_unlock(&threads->mutex);
        pthread_join(last, NULL);
    }
    tine__kept_close(&threads->kept);
    pthread_mutex_destroy(&threads->mutex);
    free(threads);
}
