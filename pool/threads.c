/* SPDX-License-Identifier: MIT */
/*
 * Workers that are threads of the program (TINE_THREADS), or nobody at all (TINE_INLINE).
 *
 * A thread runs the same loop as a worker process, over the same words; nothing watches it, for it
 * dies with the program only. So it cannot be killed either: what cannot be waited for is abandoned
 * (pool/cancel.c), and the job's memory stays until the thread is through with it. Threads have all signals blocked that the
 * program may want for itself.
 *
 * The descriptors that calls have for arguments are kept here, under a mutex, not in a nursery. The mutex
 * is the last to be taken: the pool's may be held. A fork of the program has none of the threads, and
 * leaves all of this alone.
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

#include <tine/time.h>
#include <tine/worker.h>

#include "lib/sig.h"
#include "lib/sys.h"
#include "pool/descriptor.h"
#include "pool/exit.h"
#include "pool/initialize.h"
#include "pool/place.h"
#include "pool/resize.h"
#include "pool/stream.h"
#include "pool/worker.h"

/* One worker. */
struct seat {
    struct tine__threads *threads;
    pthread_t thread;
    uint32_t index;
};

struct tine__threads {
    struct tine__pool_shm *pool;
    int ended;               /* eventfd: the nursery's pidfd, for who waits for the pool's end */
    _Atomic uint32_t living; /* threads that have not left; written down before they are started */
    uint32_t count;
    pthread_mutex_t mutex; /* guards kept and left; held by who breaks the pool */
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

uint64_t tine__threads_cpu_ns(const struct tine__threads *threads, uint32_t index)
{
    clockid_t clock;

    return index >= threads->count ||
                   pthread_getcpuclockid(threads->seats[index].thread, &clock) != 0
               ? 0
               : (uint64_t)clock_ns(clock);
}

static void tell_exit(const struct tine__threads *threads, uint32_t index, bool failed)
{
    int64_t used = clock_ns(CLOCK_THREAD_CPUTIME_ID);

    atomic_store_explicit(&tine__worker_at(threads->pool, index)->pid, 0, memory_order_relaxed);
    /* release: after the pid, for who counts those that run (pool/account.c) */
    atomic_fetch_add_explicit(&threads->pool->cpu_ns, (uint64_t)used, memory_order_release);
    tine__exit_tell(threads->pool, &(tine_worker_exit){.worker = (int32_t)index,
                                                       .pid = getpid(),
                                                       .exit_status = failed ? EXIT_FAILURE : 0,
                                                       .asked = !failed,
                                                       .cpu_ns = used});
}

static void *work(void *argument)
{
    const struct seat *seat = argument;
    struct tine__threads *threads = seat->threads;
    char name[32]; /* the kernel keeps 15 characters */
    bool ready;

    snprintf(name, sizeof name, "tine-worker-%u", seat->index);
    prctl(PR_SET_NAME, name);
    ready = get_ready(threads, seat->index);
    if (ready)
        tine__worker_thread(threads->pool, seat->index, threads);
    if (ready && is_in(threads, TINE__POOL_LEAVING))
        tine__worker_end(threads->pool);
    tell_exit(threads, seat->index, !ready);
    /* acq_rel: all that they have done has happened when the end is told */
    if (atomic_fetch_sub_explicit(&threads->living, 1, memory_order_acq_rel) == 1)
        say_ended(threads);
    return NULL;
}

/* How many could be started. */
static uint32_t start_all(struct tine__threads *threads)
{
    uint32_t started = 0;
    sigset_t saved;

    tine__sig_block(&saved); /* inherited by the threads */
    for (; started < threads->count; started++) {
        struct seat *seat = &threads->seats[started];

        *seat = (struct seat){.threads = threads, .index = started};
        tine__resize_birth(threads->pool, started);
        if (tine__exit_prepare(threads->pool, started) < 0 ||
            pthread_create(&seat->thread, NULL, work, seat) != 0)
            break;
        atomic_fetch_add_explicit(&threads->pool->started, 1, memory_order_relaxed);
    }
    tine__sig_restore(&saved);
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
    for (uint32_t i = 0; i < threads->count; i++)
        pthread_join(threads->seats[i].thread, NULL);
    tine__kept_close(&threads->kept);
    pthread_mutex_destroy(&threads->mutex);
    free(threads);
}
