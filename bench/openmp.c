/* SPDX-License-Identifier: MIT */
/*
 * The peer OpenMP: parallel loops over threads, compiled with the compiler's OpenMP flag (gcc's
 * libgomp, clang's libomp). Without that flag every side is missing.
 */
#include "bench/bench.h"

#ifdef _OPENMP

#include "bench/work.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

/* What a repetition needs and gives back. */
struct job {
    size_t n;
    int threads;
    const double *values;
    double sum;
    size_t count;
    pid_t tid[BENCH_WORKERS];
};

static int chunk64(void *arg)
{
    const struct job *job = arg;

#pragma omp parallel for num_threads(BENCH_WORKERS) schedule(dynamic, 64)
    for (size_t i = 0; i < job->n; i++)
        work_nothing(i);
    return 0;
}

static int guided(void *arg)
{
    const struct job *job = arg;

#pragma omp parallel for num_threads(BENCH_WORKERS) schedule(guided)
    for (size_t i = 0; i < job->n; i++)
        work_nothing(i);
    return 0;
}

static int ns_per_index(const struct bench_pass *pass, int (*run)(void *), double *value)
{
    struct job job = {.n = pass->n};
    struct bench_work work = {.run = run, .arg = &job};
    double seconds = 0;
    int rc = bench_seconds(pass, &work, &seconds);

    *value = seconds / (double)pass->n * 1e9;
    return rc;
}

int bench_openmp_chunk64(const struct bench_pass *pass, double *value)
{
    return ns_per_index(pass, chunk64, value);
}

int bench_openmp_guided(const struct bench_pass *pass, double *value)
{
    return ns_per_index(pass, guided, value);
}

static int sum(void *arg)
{
    struct job *job = arg;
    double total = 0;

#pragma omp parallel for num_threads(BENCH_WORKERS) reduction(+ : total)
    for (size_t i = 0; i < job->n; i++)
        total += job->values[i];
    job->sum = total;
    return 0;
}

int bench_openmp_sum(const struct bench_pass *pass, double *value)
{
    double *values = malloc(pass->n * sizeof *values), seconds = 0;
    struct job job = {.n = pass->n, .values = values};
    struct bench_work work = {.run = sum, .arg = &job};
    int rc;

    if (!values)
        return -ENOMEM;
    for (size_t i = 0; i < pass->n; i++)
        values[i] = 1;
    rc = bench_seconds(pass, &work, &seconds);
    *value = seconds * 1e3;
    free(values);
    return rc == 0 && job.sum != (double)pass->n ? BENCH_WRONG : rc;
}

/* ---- jobs of two chunks ---------------------------------------------------------------------- */

static int two_chunks(void *arg)
{
    const struct job *job = arg;

#pragma omp parallel for num_threads(BENCH_WORKERS) schedule(static, 1)
    for (size_t i = 0; i < job->n; i++)
        work_nothing(i);
    return 0;
}

static void note_threads(struct job *job)
{
#pragma omp parallel for num_threads(BENCH_WORKERS) schedule(static, 1)
    for (int i = 0; i < BENCH_WORKERS; i++)
        job->tid[i] = gettid();
}

/* All but the first thread, which is the caller itself. */
static int await_sleep(void *arg)
{
    const struct job *job = arg;
    int rc = 0;

    for (int i = 1; i < BENCH_WORKERS && rc == 0; i++)
        rc = bench_await_sleep(job->tid[i]);
    return rc;
}

int bench_openmp_job_sleep(const struct bench_pass *pass, double *value)
{
    struct job job = {.n = BENCH_WORKERS};
    struct bench_work work = {.prepare = await_sleep, .run = two_chunks, .arg = &job};
    double seconds = 0;
    int rc;

    note_threads(&job);
    rc = bench_seconds(pass, &work, &seconds);
    *value = seconds * 1e6;
    return rc;
}

static int many_jobs(void *arg)
{
    struct job *job = arg;
    struct job two = {.n = BENCH_WORKERS};

    for (size_t i = 0; i < job->n; i++)
        two_chunks(&two);
    return 0;
}

int bench_openmp_job_spin(const struct bench_pass *pass, double *value)
{
    int rc = ns_per_index(pass, many_jobs, value);

    *value /= 1e3;
    return rc;
}

/* ---- primes ---------------------------------------------------------------------------------- */

static int primes(void *arg)
{
    struct job *job = arg;
    size_t count = 0;

#pragma omp parallel for num_threads(job->threads) schedule(dynamic, 1000) reduction(+ : count)
    for (size_t i = 0; i < job->n; i++)
        count += work_is_prime(i);
    job->count = count;
    return work_primes_right(job->n, count) ? 0 : BENCH_WRONG;
}

int bench_openmp_primes(const struct bench_pass *pass, double *value)
{
    struct job alone = {.n = pass->n, .threads = 1};
    struct job together = {.n = pass->n, .threads = BENCH_WORKERS};

    return bench_speedup(pass, &(struct bench_work){.run = primes, .arg = &alone},
                         &(struct bench_work){.run = primes, .arg = &together}, value);
}

#else

static int missing(const struct bench_pass *pass, double *value)
{
    (void)pass;
    (void)value;
    return BENCH_MISSING;
}

#define MISSING(side)                                                                              \
    int side(const struct bench_pass *pass, double *value)                                         \
    {                                                                                              \
        return missing(pass, value);                                                               \
    }

MISSING(bench_openmp_chunk64)
MISSING(bench_openmp_guided)
MISSING(bench_openmp_sum)
MISSING(bench_openmp_job_sleep)
MISSING(bench_openmp_job_spin)
MISSING(bench_openmp_primes)

#endif
