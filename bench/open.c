/* SPDX-License-Identifier: MIT */
/*
 * pool.open_close*: what a pool costs that is opened, used once and closed. Before that the process
 * has n bytes of private memory, all touched; with those, forking costs.
 *
 * tine starts the second worker a moment after the first, so for so small a job it mostly does not
 * come; Python starts both. What a pool of this size cannot go below: a fork for the nursery and
 * one for a worker, each a copy of the page tables, and the ends of both, one after the other, for
 * close leaves nothing behind. That is about four times a bare fork where memory is large.
 *
 * Against Python: the same three steps with its Pool (an interpreter has its 10 MB anyway). Against
 * a bare fork: fork, the child's first byte through a pipe, kill. Neither side waits in the counted
 * time until the killed are gone unless its own API does; what is left over is awaited before the
 * next repetition.
 */
#include "bench/bench.h"
#include "bench/work.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static int body(size_t begin, size_t end, void *context)
{
    (void)context;
    for (size_t i = begin; i < end; i++)
        work_nothing(i);
    return 0;
}

static int open_use_close(void *arg)
{
    tine_pool *pool;
    int rc = tine_pool_open(&pool, &(tine_pool_options){.workers = BENCH_WORKERS});

    (void)arg;
    if (rc < 0)
        return rc;
    rc = tine_pool_for(pool, BENCH_WORKERS, body, &(tine_job_options){.chunk = 1});
    tine_pool_close(pool);
    return rc;
}

/* The child's part of a bare fork: says a byte and stays. */
static void say_hello(int output)
{
    if (write(output, "", 1) == 1)
        pause();
    _exit(EXIT_FAILURE);
}

static int fork_hear_kill(void *arg)
{
    int ends[2];
    char byte;
    ssize_t got = -1;
    pid_t child;

    (void)arg;
    if (pipe2(ends, O_CLOEXEC) != 0)
        return -errno;
    child = fork();
    if (child == 0)
        say_hello(ends[1]);
    if (child > 0) {
        got = read(ends[0], &byte, 1);
        kill(child, SIGKILL);
    }
    close(ends[0]);
    close(ends[1]);
    return got == 1 ? 0 : -EIO;
}

/* Whatever the last repetition left is our child, as this process is a subreaper. */
static int await_gone(void *arg)
{
    (void)arg;
    while (waitpid(-1, NULL, 0) > 0)
        ;
    return 0;
}

static int milliseconds(const struct bench_pass *pass, int (*run)(void *), double *value)
{
    void *ballast = bench_ballast(pass->n);
    double seconds = 0;
    int rc;

    if (!ballast)
        return BENCH_MISSING;
    if (prctl(PR_SET_CHILD_SUBREAPER, 1) != 0)
        return -errno;
    rc = bench_seconds(pass, &(struct bench_work){.prepare = await_gone, .run = run}, &seconds);
    *value = seconds * 1e3;
    munmap(ballast, pass->n);
    return rc;
}

static int tine_side(const struct bench_pass *pass, double *value)
{
    return milliseconds(pass, open_use_close, value);
}

static int bare_fork(const struct bench_pass *pass, double *value)
{
    return milliseconds(pass, fork_hear_kill, value);
}

static const struct bench_case cases[] = {
    {
        .name = "pool.open_close",
        .unit = "ms",
        .peer = "Python Pool",
        .tine_side = tine_side,
        .peer_side = bench_python,
        .n = 10 << 20,
        .n_quick = 1 << 20,
        .repetitions = 30,
    },
    {
        .name = "pool.open_close.1GB",
        .unit = "ms",
        .peer = "bare fork",
        .tine_side = tine_side,
        .peer_side = bare_fork,
        .n = 1 << 30,
        .n_quick = 1 << 20,
        .repetitions = 7,
    },
};

const struct bench_group bench_open = BENCH_GROUP(cases);
