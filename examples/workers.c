/* SPDX-License-Identifier: MIT */
/*
 * workers [--kind=process|thread|inline]: seven jobs on four workers, which tell what they do:
 * their names, the processes they are, when each is ready, begins, ends and leaves; and what it
 * took in all.
 */
#include <tine.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define JOBS    7
#define WORKERS 4

static const struct kind {
    const char *name;
    int32_t kind;
} kinds[] = {{"process", TINE_PROCESSES}, {"thread", TINE_THREADS}, {"inline", TINE_INLINE}};

static double now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

/* One line at once, whoever else writes at the time. */
static void say(const char *what)
{
    dprintf(STDOUT_FILENO, "worker-%d (pid %d): %s\n", tine_worker_index(), (int)getpid(), what);
}

static int begin(void *context, void **state)
{
    (void)context, (void)state;
    say("init");
    return 0;
}

static void leave(void *context, void *state)
{
    (void)context, (void)state;
    say("leaves");
}

static int work(tine_call *call)
{
    char line[32];
    int job, rc = tine_args(call, "i", &job);

    if (rc < 0)
        return rc;
    snprintf(line, sizeof line, "job %d begins", job);
    say(line);
    nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
    snprintf(line, sizeof line, "job %d ends", job);
    say(line);
    return tine_return(call, "i", job * job);
}

static int run(const struct kind *kind, int *sum)
{
    tine_pool_options options = {
        .workers = WORKERS, .kind = kind->kind, .initializer = begin, .finalizer = leave};
    tine_future *futures[JOBS];
    tine_pool *pool;
    int square, rc = tine_pool_open(&pool, &options), submitted = 0;

    if (rc < 0)
        return rc;
    while (rc == 0 && submitted < JOBS) {
        rc = tine_pool_submit(&futures[submitted], pool, work, NULL, "i", submitted);
        submitted += rc == 0;
    }
    for (int i = 0; i < submitted; i++) {
        if (rc == 0)
            rc = tine_future_result(futures[i], TINE_FOREVER, "i", &square);
        *sum += rc == 0 ? square : 0;
        tine_future_close(futures[i]);
    }
    if (rc == 0)
        rc = tine_pool_join(pool, TINE_FOREVER);
    tine_pool_close(pool);
    return rc;
}

static const struct kind *find_kind(int argc, char **argv)
{
    const char *name = argc == 1 ? "--kind=process" : argv[1];

    for (size_t i = 0; argc <= 2 && i < sizeof kinds / sizeof kinds[0]; i++)
        if (strncmp(name, "--kind=", 7) == 0 && strcmp(name + 7, kinds[i].name) == 0)
            return &kinds[i];
    return NULL;
}

int main(int argc, char **argv)
{
    const struct kind *kind = find_kind(argc, argv);
    double start = now();
    int sum = 0, rc;

    if (kind == NULL) {
        fputs("usage: workers [--kind=process|thread|inline]\n", stderr);
        return 2;
    }
    rc = run(kind, &sum);
    if (rc < 0) {
        fprintf(stderr, "workers: %s\n", tine_strerror(rc));
        return EXIT_FAILURE;
    }
    printf("main (pid %d): %d jobs, sum of squares %d, cost %.3f s\n", (int)getpid(), JOBS, sum,
           now() - start);
    return EXIT_SUCCESS;
}
