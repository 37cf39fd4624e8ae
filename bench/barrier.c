/* SPDX-License-Identifier: MIT */
/*
 * barrier.round.sleep, .spin, barrier.python: two processes meet at a barrier, n times. In .sleep
 * nobody spins: the first to come sleeps in the kernel. The peer of .spin is a barrier of two
 * words, without timeout, parties or breaks.
 */
#include "bench/bench.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define SPIN_SECONDS       20e-6
#define SPIN_LOOKS_A_CLOCK 16

/* Count and round of the bare barrier. */
struct bare {
    _Atomic unsigned arrived, round, sleepers;
};

/* Shared by both processes. */
struct place {
    union {
        tine_barrier barrier;
        pthread_barrier_t pthread;
        struct bare bare;
    };
};

struct kind {
    int (*init)(struct place *place);
    int (*meet)(struct place *place); /* negative: failed */
};

struct rounds {
    struct place *place;
    const struct kind *kind;
    size_t n;
};

/* ---- the kinds ------------------------------------------------------------------------------- */

static int init_sleeping(struct place *place)
{
    return tine_barrier_init(&place->barrier, BENCH_WORKERS,
                             &(tine_barrier_options){.spin_ns = -1});
}

static int init_default(struct place *place)
{
    return tine_barrier_init(&place->barrier, BENCH_WORKERS, NULL);
}

static int meet(struct place *place)
{
    return tine_barrier_wait(&place->barrier, TINE_FOREVER);
}

static int init_pthread(struct place *place)
{
    pthread_barrierattr_t attributes;

    if (pthread_barrierattr_init(&attributes) != 0 ||
        pthread_barrierattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED) != 0)
        return -EIO;
    return -pthread_barrier_init(&place->pthread, &attributes, BENCH_WORKERS);
}

static int meet_pthread(struct place *place)
{
    int rc = pthread_barrier_wait(&place->pthread);

    return rc == PTHREAD_BARRIER_SERIAL_THREAD ? 0 : -rc;
}

static int init_bare(struct place *place)
{
    place->bare = (struct bare){.arrived = 0};
    return 0;
}

static void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

static bool spin_bare(struct bare *bare, unsigned round)
{
    double end = bench_now() + SPIN_SECONDS;

    do
        for (int i = 0; i < SPIN_LOOKS_A_CLOCK; i++) {
            relax();
            if (bare->round != round)
                return true;
        }
    while (bench_now() < end);
    return false;
}

static int meet_bare(struct place *place)
{
    struct bare *bare = &place->bare;
    unsigned round = bare->round;

    if (++bare->arrived == BENCH_WORKERS) {
        bare->arrived = 0;
        bare->round++;
        if (bare->sleepers != 0)
            syscall(SYS_futex, &bare->round, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
        return 0;
    }
    if (spin_bare(bare, round))
        return 0;
    bare->sleepers++;
    while (bare->round == round)
        syscall(SYS_futex, &bare->round, FUTEX_WAIT, round, NULL, NULL, 0);
    bare->sleepers--;
    return 0;
}

static const struct kind sleeping = {init_sleeping, meet}, spinning = {init_default, meet};
static const struct kind pthread = {init_pthread, meet_pthread}, bare = {init_bare, meet_bare};

/* ---- rounds ---------------------------------------------------------------------------------- */

static int run(void *arg)
{
    const struct rounds *rounds = arg;
    int rc = 0;

    for (size_t i = rounds->n; i > 0 && rc >= 0; i--)
        rc = rounds->kind->meet(rounds->place);
    return rc < 0 ? rc : 0;
}

/* As many rounds as bench_seconds() makes of run(). */
static void be_other(const struct bench_pass *pass, struct rounds *rounds)
{
    int rc = 0;

    for (int i = 0; i <= pass->repetitions && rc == 0; i++)
        rc = run(rounds);
    _exit(rc == 0 ? EXIT_SUCCESS : EXIT_FAILURE);
}

static int with_other(const struct bench_pass *pass, struct rounds *rounds, double *seconds)
{
    pid_t other = fork();
    int rc, status;

    if (other < 0)
        return -errno;
    if (other == 0)
        be_other(pass, rounds);
    rc = bench_seconds(pass, &(struct bench_work){.run = run, .arg = rounds}, seconds);
    if (rc < 0)
        kill(other, SIGKILL);
    if (waitpid(other, &status, 0) != other)
        return -errno;
    return rc != 0 ? rc : status != 0 ? BENCH_WRONG : 0;
}

static int us_per_round(const struct bench_pass *pass, const struct kind *kind, double *value)
{
    struct rounds rounds = {.kind = kind, .n = pass->n};
    double seconds = 0;
    int rc;

    rounds.place =
        mmap(NULL, sizeof *rounds.place, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (rounds.place == MAP_FAILED)
        return -ENOMEM;
    rc = kind->init(rounds.place);
    if (rc == 0)
        rc = with_other(pass, &rounds, &seconds);
    *value = seconds / (double)pass->n * 1e6;
    munmap(rounds.place, sizeof *rounds.place);
    return rc;
}

static int sleeping_side(const struct bench_pass *pass, double *value)
{
    return us_per_round(pass, &sleeping, value);
}

static int spinning_side(const struct bench_pass *pass, double *value)
{
    return us_per_round(pass, &spinning, value);
}

static int pthread_side(const struct bench_pass *pass, double *value)
{
    return us_per_round(pass, &pthread, value);
}

static int bare_side(const struct bench_pass *pass, double *value)
{
    return us_per_round(pass, &bare, value);
}

static const struct bench_case cases[] = {
    {
        .name = "barrier.round.sleep",
        .unit = "us/round",
        .peer = "pthread_barrier, process-shared",
        .tine_side = sleeping_side,
        .peer_side = pthread_side,
        .n = 20000,
        .n_quick = 10,
        .repetitions = 5,
    },
    {
        .name = "barrier.round.spin",
        .unit = "us/round",
        .peer = "bare spinning futex barrier",
        .tine_side = spinning_side,
        .peer_side = bare_side,
        .n = 100000,
        .n_quick = 10,
        .repetitions = 5,
    },
    {
        .name = "barrier.python",
        .unit = "us/round",
        .peer = "multiprocessing.Barrier",
        .tine_side = spinning_side,
        .peer_side = bench_python,
        .n = 5000,
        .n_quick = 10,
        .repetitions = 5,
    },
};

const struct bench_group bench_barrier = BENCH_GROUP(cases);
