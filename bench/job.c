/* SPDX-License-Identifier: MIT */
/*
 * for.job2.*: a whole job of two empty chunks, from call to return.
 *
 * sleep: before each job every worker sleeps in the kernel, as /proc says; OpenMP waits passively,
 * and its second thread is asleep as well. spin: jobs back to back, so that workers are still
 * spinning when the next one comes; OpenMP waits actively.
 */
#include "bench/bench.h"
#include "bench/work.h"

#include <errno.h>
#include <unistd.h>

struct job {
    tine_pool *pool;
    size_t count;        /* jobs a repetition */
    volatile pid_t *pid; /* in the heap: of each worker, once it has run a chunk */
};

static int body(size_t begin, size_t end, void *context)
{
    (void)context;
    for (size_t i = begin; i < end; i++)
        work_nothing(i);
    return 0;
}

static int run(void *arg)
{
    const struct job *job = arg;
    int rc = 0;

    for (size_t i = 0; i < job->count && rc == 0; i++)
        rc = tine_pool_for(job->pool, BENCH_WORKERS, body, &(tine_job_options){.chunk = 1});
    return rc;
}

static int note_pid(size_t begin, size_t end, void *context)
{
    volatile pid_t *pid = *(volatile pid_t **)context;

    (void)begin;
    (void)end;
    pid[tine_worker_index()] = getpid();
    return 0;
}

/* One worker may be so quick as to run both chunks, so this takes as many jobs as it takes. */
static int note_workers(const struct job *job)
{
    const tine_job_options options = {
        .context = &job->pid,
        .context_size = sizeof job->pid,
        .chunk = 1,
    };
    int rc = 0;

    for (int i = 0; i < BENCH_WORKERS; i++)
        while (job->pid[i] == 0 && rc == 0)
            rc = tine_pool_for(job->pool, BENCH_WORKERS, note_pid, &options);
    return rc;
}

static int await_sleep(void *arg)
{
    const struct job *job = arg;
    int rc = 0;

    for (int i = 0; i < BENCH_WORKERS && rc == 0; i++)
        rc = bench_await_sleep(job->pid[i]);
    return rc;
}

static int us_per_job(const struct bench_pass *pass, struct job *job, bool asleep, double *value)
{
    struct bench_work work = {.prepare = asleep ? await_sleep : NULL, .run = run, .arg = job};
    double seconds = 0;
    int rc = tine_pool_open(&job->pool, &(tine_pool_options){.workers = BENCH_WORKERS});

    if (rc < 0)
        return rc;
    rc = asleep ? note_workers(job) : 0;
    if (rc == 0)
        rc = bench_seconds(pass, &work, &seconds);
    *value = seconds / (double)job->count * 1e6;
    tine_pool_close(job->pool);
    return rc;
}

static int sleeping(const struct bench_pass *pass, double *value)
{
    struct job job = {.count = 1, .pid = tine_calloc(BENCH_WORKERS, sizeof *job.pid)};
    int rc = job.pid ? us_per_job(pass, &job, true, value) : -ENOMEM;

    tine_free((void *)job.pid);
    return rc;
}

static int spinning(const struct bench_pass *pass, double *value)
{
    struct job job = {.count = pass->n};

    return us_per_job(pass, &job, false, value);
}

static const struct bench_case cases[] = {
    {
        .name = "for.job2.sleep",
        .unit = "us/job",
        .peer = "OpenMP passive",
        .tine_side = sleeping,
        .peer_side = bench_openmp_job_sleep,
        .peer_environment = "OMP_WAIT_POLICY=passive",
        .n = 1,
        .n_quick = 1,
        .repetitions = 2000,
    },
    {
        .name = "for.job2.spin",
        .unit = "us/job",
        .peer = "OpenMP active",
        .tine_side = spinning,
        .peer_side = bench_openmp_job_spin,
        .peer_environment = "OMP_WAIT_POLICY=active",
        .n = 20000,
        .n_quick = 10,
        .repetitions = 7,
    },
};

const struct bench_group bench_job = BENCH_GROUP(cases);
