/* SPDX-License-Identifier: MIT */
/*
 * process.*: start a process that does nothing, and join it, by each way; also while this process
 * has n bytes of private memory, all touched, which a fork copies the page tables of, and nothing
 * else does.
 *
 * Against a bare fork and wait; against a bare posix_spawn of this same program, which then leaves
 * main at once; against the goal of 300 us for the forkserver, whatever the size; and against
 * Python's three ways.
 */
#include "bench/bench.h"

#include <errno.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define GOAL_US 300.0

static int do_nothing(tine_call *call)
{
    (void)call;
    return 0;
}

static int start_and_join(void *arg)
{
    tine_process *process;
    int exitcode = -1, rc;

    rc = tine_process_start(&process, do_nothing, arg, "");
    if (rc < 0)
        return rc;
    rc = tine_process_join(process, TINE_FOREVER);
    if (rc == 0)
        rc = tine_process_exitcode(process, &exitcode);
    tine_process_close(process);
    return rc < 0 ? rc : exitcode == 0 ? 0 : BENCH_WRONG;
}

static int await_child(pid_t child)
{
    int status;

    if (waitpid(child, &status, 0) != child)
        return -errno;
    return status == 0 ? 0 : BENCH_WRONG;
}

static int fork_and_wait(void *arg)
{
    pid_t child = fork();

    (void)arg;
    if (child == 0)
        _exit(0);
    return child < 0 ? -errno : await_child(child);
}

static int spawn_and_wait(void *arg)
{
    char *const argv[] = {"tine-bench", BENCH_NOTHING, NULL};
    pid_t child;
    int rc = posix_spawn(&child, "/proc/self/exe", NULL, NULL, argv, environ);

    (void)arg;
    return rc != 0 ? -rc : await_child(child);
}

static int microseconds(const struct bench_pass *pass, const struct bench_work *work, double *value)
{
    void *ballast = pass->n > 0 ? bench_ballast(pass->n) : NULL;
    double seconds = 0;
    int rc;

    if (pass->n > 0 && !ballast)
        return BENCH_MISSING;
    rc = bench_seconds(pass, work, &seconds);
    *value = seconds * 1e6;
    if (ballast)
        munmap(ballast, pass->n);
    return rc;
}

static int by(int32_t start, const struct bench_pass *pass, double *value)
{
    tine_process_options options = {.start = start};

    return microseconds(pass, &(struct bench_work){.run = start_and_join, .arg = &options}, value);
}

static int by_fork(const struct bench_pass *pass, double *value)
{
    return by(TINE_FORK, pass, value);
}

static int by_spawn(const struct bench_pass *pass, double *value)
{
    return by(TINE_SPAWN, pass, value);
}

static int by_forkserver(const struct bench_pass *pass, double *value)
{
    return by(TINE_FORKSERVER, pass, value);
}

static int bare_fork(const struct bench_pass *pass, double *value)
{
    return microseconds(pass, &(struct bench_work){.run = fork_and_wait}, value);
}

static int bare_spawn(const struct bench_pass *pass, double *value)
{
    return microseconds(pass, &(struct bench_work){.run = spawn_and_wait}, value);
}

static int goal(const struct bench_pass *pass, double *value)
{
    (void)pass;
    *value = GOAL_US;
    return 0;
}

#define MB ((size_t)1 << 20)
#define GB ((size_t)1 << 30)

#define CASE(title, by_tine, peer_title, by_peer, bytes, times)                                    \
    {                                                                                              \
        .name = title, .unit = "us", .peer = peer_title, .tine_side = by_tine,                     \
        .peer_side = by_peer, .n = bytes, .n_quick = (bytes) > 0 ? MB : 0, .repetitions = times    \
    }

static const struct bench_case cases[] = {
    CASE("process.fork", by_fork, "bare fork", bare_fork, 0, 200),
    CASE("process.fork.1GB", by_fork, "bare fork", bare_fork, GB, 20),
    CASE("process.fork.8GB", by_fork, "bare fork", bare_fork, 8 * GB, 5),
    CASE("process.spawn", by_spawn, "bare posix_spawn", bare_spawn, 0, 200),
    CASE("process.spawn.1GB", by_spawn, "bare posix_spawn", bare_spawn, GB, 100),
    CASE("process.spawn.8GB", by_spawn, "bare posix_spawn", bare_spawn, 8 * GB, 50),
    CASE("process.forkserver", by_forkserver, "goal", goal, 0, 200),
    CASE("process.forkserver.1GB", by_forkserver, "goal", goal, GB, 100),
    CASE("process.forkserver.8GB", by_forkserver, "goal", goal, 8 * GB, 50),
    CASE("process.fork.python", by_fork, "Python fork", bench_python, 0, 50),
    CASE("process.spawn.python", by_spawn, "Python spawn", bench_python, 0, 10),
    CASE("process.forkserver.python", by_forkserver, "Python forkserver", bench_python, 0, 30),
};

const struct bench_group bench_process = BENCH_GROUP(cases);
