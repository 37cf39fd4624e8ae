/* SPDX-License-Identifier: MIT */
/*
 * tine-bench: what a case is, and what the cases share.
 *
 * A case measures the same work twice, with tine and with the peer that its users would else take.
 * One measurement of one side is a pass. Each pass is a process of its own (this program executed
 * again as `tine-bench --pass=SIDE CASE`), so that neither side meets the other's threads, pages or
 * environment; the harness alternates the two sides and compares the passes pair by pair.
 *
 *     main.c     arguments, the list of cases, medians, the table
 *     pass.c     one pass: the process, its number, what it must leave behind (nothing)
 *     load.c     how much CPU others used meanwhile
 *     measure.c  inside a pass: repeat and take the median
 *     python.c, peer.py, openmp.c, lmdb.c, zmq.c   the peers
 *     for.c, reduce.c, …               the cases, one concept a file
 */
#ifndef BENCH_BENCH_H
#define BENCH_BENCH_H

#include <tine.h>

#include <sys/types.h>

/* An argument that makes the program leave main at once: what a bare spawn costs. */
#define BENCH_NOTHING "--nothing"

#define BENCH_WORKERS 2 /* on both sides of every case, as in the reference figures */

/* What a side returns besides 0 and negative codes. */
enum {
    BENCH_MISSING = 1, /* the peer is not there: Python not installed, compiler without OpenMP */
    BENCH_WRONG = 2,   /* it ran, but computed something wrong */
};

/* What one pass is to do. */
struct bench_pass {
    const char *name; /* of the case */
    size_t n;         /* size of the work: indices, tasks, bytes … as the case says */
    int repetitions;  /* how often it is timed, after one that is not */
};

/* One side of a case: 0 and *value in the case's unit, BENCH_MISSING, BENCH_WRONG or a negative
 * code. */
typedef int bench_side(const struct bench_pass *pass, double *value);

struct bench_case {
    const char *name;
    const char *unit;
    const char *peer;
    bench_side *tine_side;
    bench_side *peer_side;
    const char *peer_environment; /* NAME=value, set before the peer's process starts; or NULL */
    size_t n, n_quick;            /* bench_pass.n, and the same with --quick */
    int repetitions;
    bool more_is_better; /* of the value; a time is not */
};

struct bench_group {
    const struct bench_case *cases;
    size_t count;
};

#define BENCH_GROUP(array)                                                                         \
    {                                                                                              \
        (array), sizeof(array) / sizeof((array)[0])                                                \
    }

extern const struct bench_group bench_barrier, bench_condition, bench_dict, bench_for,
    bench_futures, bench_heap, bench_job, bench_limit, bench_listener, bench_lock, bench_map,
    bench_nested, bench_open, bench_pack, bench_pipe, bench_primes, bench_process, bench_queue, bench_reduce,
    bench_replace, bench_ring, bench_rpc, bench_rwlock, bench_semaphore, bench_starmap, bench_submit, bench_value,
    bench_wait;

/* pass.c: run one side in a process of its own. 0, BENCH_MISSING, or -1 (said on stderr). */
int bench_pass_run(const struct bench_case *c, bool peer, bool quick, double *value);
/* pass.c: the main program of that process. */
int bench_pass_main(const struct bench_case *c, bool peer, bool quick);

/* load.c: CPU seconds used on our CPUs since boot, and those of them that were ours. */
struct bench_load {
    double wall_s, busy_s, own_s;
};
void bench_load_read(struct bench_load *load);
/* Did others use our CPUs between two readings, more than a measurement can bear? */
bool bench_load_foreign(const struct bench_load *from, const struct bench_load *to);
/* Confine this process and its children to BENCH_WORKERS CPUs. */
void bench_load_confine(void);

/* measure.c */
struct bench_work {
    int (*prepare)(void *arg); /* before each repetition, not timed; may be NULL */
    int (*run)(void *arg);     /* one repetition */
    void *arg;
};
double bench_now(void);
double bench_median(double *values, size_t count);
double bench_percentile(double *values, size_t count, size_t percent);
/* Runs the work once, then pass->repetitions times; the median of these in seconds. */
int bench_seconds(const struct bench_pass *pass, const struct bench_work *work, double *seconds);
/* What one of the pass's n costs, in units of which a second has `per_second` (1e9:
   nanoseconds). */
int bench_each(const struct bench_pass *pass, const struct bench_work *work, double per_second,
               double *value);
/* The same work by one worker and by two, in turns; the median of the ratios of their times. */
int bench_speedup(const struct bench_pass *pass, const struct bench_work *one,
                  const struct bench_work *two, double *speedup);
/* Waits until a thread or process sleeps in the kernel. */
int bench_await_sleep(pid_t tid);
/* Private memory of 4 KiB pages, all touched. NULL when there is none. */
void *bench_ballast(size_t bytes);

/* Peers. */
bench_side bench_python;   /* python.c: the function of peer.py for this case */
bench_side bench_lmdb_get; /* lmdb.c */
bench_side bench_openmp_chunk64, bench_openmp_guided, bench_openmp_sum, bench_openmp_job_sleep,
    bench_openmp_job_spin, bench_openmp_primes; /* openmp.c */

#endif
