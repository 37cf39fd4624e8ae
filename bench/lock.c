/* SPDX-License-Identifier: MIT */
/*
 * lock.free, rlock.free, lock.free.python: one process takes a free lock and releases it, n times.
 *
 * lock.contended, lock.contended.200ns: two processes do so for n milliseconds, back to back or
 * with 200 ns of work between; lock.share is what the slower one gets of that, in percent.
 */
#include "bench/bench.h"
#include "bench/work.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define WORK_NS 200

/* Shared by both processes of a contended pass. */
struct arena {
    union {
        tine_lock lock;
        tine_rlock rlock;
        pthread_mutex_t mutex;
    };
    _Alignas(64) atomic_int ready; /* processes that have come up */
    atomic_int stop;
    unsigned turns_of_work; /* of a loop that takes WORK_NS */
    _Alignas(64) struct {
        _Alignas(64) size_t pairs;
    } party[2];
};

struct kind {
    int (*init)(struct arena *arena);
    int (*pairs)(struct arena *arena, size_t n);
    int (*pair)(struct arena *arena);
};

static struct arena *arena_new(const struct kind *kind)
{
    struct arena *arena =
        mmap(NULL, sizeof *arena, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (arena == MAP_FAILED)
        return NULL;
    return kind->init(arena) == 0 ? arena : NULL;
}

/* ---- the two sides --------------------------------------------------------------------------- */

static int init_lock(struct arena *arena)
{
    return tine_lock_init(&arena->lock, NULL);
}

static int init_rlock(struct arena *arena)
{
    return tine_rlock_init(&arena->rlock, NULL);
}

static int init_mutex(struct arena *arena)
{
    pthread_mutexattr_t attributes;

    if (pthread_mutexattr_init(&attributes) != 0 ||
        pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED) != 0 ||
        pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST) != 0)
        return -EIO;
    return -pthread_mutex_init(&arena->mutex, &attributes);
}

static inline int lock_pair(struct arena *arena)
{
    int rc = tine_lock_acquire(&arena->lock, TINE_FOREVER);

    return rc < 0 ? rc : tine_lock_release(&arena->lock);
}

static inline int rlock_pair(struct arena *arena)
{
    int rc = tine_rlock_acquire(&arena->rlock, TINE_FOREVER);

    return rc < 0 ? rc : tine_rlock_release(&arena->rlock);
}

static inline int mutex_pair(struct arena *arena)
{
    int rc = pthread_mutex_lock(&arena->mutex);

    return rc != 0 ? -rc : -pthread_mutex_unlock(&arena->mutex);
}

#define PAIRS(name, pair)                                                                          \
    static int name(struct arena *arena, size_t n)                                                 \
    {                                                                                              \
        int rc = 0;                                                                                \
                                                                                                   \
        while (n-- > 0 && rc == 0)                                                                 \
            rc = pair(arena);                                                                      \
        return rc;                                                                                 \
    }

PAIRS(lock_pairs, lock_pair)
PAIRS(rlock_pairs, rlock_pair)
PAIRS(mutex_pairs, mutex_pair)

static const struct kind lock_kind = {init_lock, lock_pairs, lock_pair};
static const struct kind rlock_kind = {init_rlock, rlock_pairs, rlock_pair};
static const struct kind mutex_kind = {init_mutex, mutex_pairs, mutex_pair};

/* ---- one process ----------------------------------------------------------------------------- */

struct alone {
    struct arena *arena;
    const struct kind *kind;
    size_t n;
};

static int run_alone(void *arg)
{
    struct alone *alone = arg;

    return alone->kind->pairs(alone->arena, alone->n);
}

static int free_side(const struct bench_pass *pass, const struct kind *kind, double *value)
{
    struct alone alone = {.arena = arena_new(kind), .kind = kind, .n = pass->n};
    double seconds = 0;
    int rc;

    if (!alone.arena)
        return -ENOMEM;
    rc = bench_seconds(pass, &(struct bench_work){.run = run_alone, .arg = &alone}, &seconds);
    *value = seconds / (double)pass->n * 1e9;
    return rc;
}

static int lock_free_side(const struct bench_pass *pass, double *value)
{
    return free_side(pass, &lock_kind, value);
}

static int rlock_free_side(const struct bench_pass *pass, double *value)
{
    return free_side(pass, &rlock_kind, value);
}

static int mutex_free_side(const struct bench_pass *pass, double *value)
{
    return free_side(pass, &mutex_kind, value);
}

/* ---- two processes --------------------------------------------------------------------------- */

static void work(unsigned turns)
{
    for (unsigned i = 0; i < turns; i++)
        work_nothing(i);
}

static unsigned turns_for(double ns)
{
    double start = bench_now();

    work(1u << 24);
    return (unsigned)(ns * (1u << 24) / ((bench_now() - start) * 1e9)) + 1;
}

static int contend(struct arena *arena, const struct kind *kind, int party)
{
    int (*pair)(struct arena * arena) = kind->pair;
    size_t pairs = 0;
    int rc = 0;

    atomic_fetch_add(&arena->ready, 1);
    while (atomic_load(&arena->ready) < 2)
        ;
    do {
        rc = pair(arena);
        pairs++;
        work(arena->turns_of_work);
    } while (!atomic_load_explicit(&arena->stop, memory_order_relaxed) && rc == 0);
    arena->party[party].pairs = pairs;
    return rc;
}

/* Two children contend for n milliseconds. */
static int run_contended(struct arena *arena, const struct kind *kind, size_t n)
{
    struct timespec window = {.tv_sec = (time_t)(n / 1000), .tv_nsec = (long)(n % 1000) * 1000000};
    int rc = 0;

    atomic_store(&arena->ready, 0);
    atomic_store(&arena->stop, 0);
    for (int party = 0; party < 2; party++) {
        pid_t pid = fork();

        if (pid < 0)
            return -errno;
        if (pid == 0)
            _exit(contend(arena, kind, party) == 0 ? 0 : 1);
    }
    while (atomic_load(&arena->ready) < 2)
        sched_yield(); /* the window begins when both are there */
    nanosleep(&window, NULL);
    atomic_store(&arena->stop, 1);
    for (int party = 0; party < 2; party++) {
        int status;

        if (wait(&status) < 0 || status != 0)
            rc = -EIO;
    }
    return rc;
}

struct outcome {
    double ns_per_pair, share;
};

static int contended(const struct bench_pass *pass, const struct kind *kind, double work_ns,
                     struct outcome *outcome)
{
    struct arena *arena = arena_new(kind);
    double ns[16], share[16];
    int count = pass->repetitions < 16 ? pass->repetitions : 16;

    if (!arena)
        return -ENOMEM;
    arena->turns_of_work = work_ns > 0 ? turns_for(work_ns) : 0;
    for (int i = 0; i < count; i++) {
        int rc = run_contended(arena, kind, pass->n);
        double a = (double)arena->party[0].pairs, b = (double)arena->party[1].pairs;

        if (rc < 0)
            return rc;
        ns[i] = (double)pass->n * 1e6 / (a + b);
        share[i] = (a < b ? a : b) / (a + b) * 100;
    }
    outcome->ns_per_pair = bench_median(ns, (size_t)count);
    outcome->share = bench_median(share, (size_t)count);
    return 0;
}

static int contended_side(const struct bench_pass *pass, const struct kind *kind, double work_ns,
                          double *value)
{
    struct outcome outcome = {0};
    int rc = contended(pass, kind, work_ns, &outcome);

    *value = outcome.ns_per_pair;
    return rc;
}

static int lock_contended(const struct bench_pass *pass, double *value)
{
    return contended_side(pass, &lock_kind, 0, value);
}

static int mutex_contended(const struct bench_pass *pass, double *value)
{
    return contended_side(pass, &mutex_kind, 0, value);
}

static int lock_contended_work(const struct bench_pass *pass, double *value)
{
    return contended_side(pass, &lock_kind, WORK_NS, value);
}

static int mutex_contended_work(const struct bench_pass *pass, double *value)
{
    return contended_side(pass, &mutex_kind, WORK_NS, value);
}

static int share_side(const struct bench_pass *pass, const struct kind *kind, double *value)
{
    struct outcome outcome = {0};
    int rc = contended(pass, kind, 0, &outcome);

    *value = outcome.share;
    return rc;
}

static int lock_share(const struct bench_pass *pass, double *value)
{
    return share_side(pass, &lock_kind, value);
}

static int mutex_share(const struct bench_pass *pass, double *value)
{
    return share_side(pass, &mutex_kind, value);
}

#define FREE(title, side, other, who, repeat, pairs)                                               \
    {                                                                                              \
        .name = title, .unit = "ns/pair", .peer = who, .tine_side = side, .peer_side = other,      \
        .n = pairs, .n_quick = 1000, .repetitions = repeat                                         \
    }
#define CONTENDED(title, what, side, other, better)                                                \
    {                                                                                              \
        .name = title, .unit = what, .peer = "robust mutex", .tine_side = side,                    \
        .peer_side = other, .n = 1000, .n_quick = 5, .repetitions = 3, .more_is_better = better    \
    }

static const struct bench_case cases[] = {
    FREE("lock.free", lock_free_side, mutex_free_side, "robust mutex", 9, 2000000),
    FREE("rlock.free", rlock_free_side, mutex_free_side, "robust mutex", 9, 2000000),
    FREE("lock.free.python", lock_free_side, bench_python, "Python Lock", 5, 500000),
    CONTENDED("lock.contended", "ns/pair", lock_contended, mutex_contended, false),
    CONTENDED("lock.contended.200ns", "ns/pair", lock_contended_work, mutex_contended_work, false),
    CONTENDED("lock.share", "% of the slower", lock_share, mutex_share, true),
};

const struct bench_group bench_lock = BENCH_GROUP(cases);
