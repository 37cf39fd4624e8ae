/* SPDX-License-Identifier: MIT */
/*
 * condition.pingpong: two processes under one lock take turns, n times each; whose turn it is not
 * waits on a condition, and is notified when the other has had its own. Counted is a turn of each.
 */
#include "bench/bench.h"

#include <errno.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

/* Shared by the two. Each waits on its own condition. */
struct table {
    size_t n;
    unsigned turn;
    struct {
        tine_lock lock;
        tine_condition conditions[2];
    } tine;
    struct {
        pthread_mutex_t lock;
        pthread_cond_t conditions[2];
    } posix;
};

static int tine_turns(struct table *table, unsigned me)
{
    tine_condition *mine = &table->tine.conditions[me], *other = &table->tine.conditions[!me];
    int rc = tine_lock_acquire(&table->tine.lock, TINE_FOREVER);

    for (size_t i = table->n; i > 0 && rc == 0; i--) {
        while (rc == 0 && table->turn != me)
            rc = tine_condition_wait(mine, TINE_FOREVER);
        table->turn = !me;
        if (rc == 0 && tine_condition_notify(other, 1) < 0)
            rc = -EINVAL;
    }
    return rc < 0 ? rc : tine_lock_release(&table->tine.lock);
}

static int posix_turns(struct table *table, unsigned me)
{
    int rc = pthread_mutex_lock(&table->posix.lock);

    for (size_t i = table->n; i > 0 && rc == 0; i--) {
        while (rc == 0 && table->turn != me)
            rc = pthread_cond_wait(&table->posix.conditions[me], &table->posix.lock);
        table->turn = !me;
        if (rc == 0)
            rc = pthread_cond_signal(&table->posix.conditions[!me]);
    }
    return rc != 0 ? -rc : -pthread_mutex_unlock(&table->posix.lock);
}

static int play(struct table *table, int (*turns)(struct table *, unsigned))
{
    pid_t pid = fork();
    int status = 0, rc;

    if (pid < 0)
        return -errno;
    if (pid == 0)
        _exit(turns(table, 1) == 0 ? 0 : 1);
    rc = turns(table, 0);
    if (waitpid(pid, &status, 0) < 0)
        return -errno;
    return status != 0 ? -ECHILD : rc;
}

static int tine_play(void *arg)
{
    return play(arg, tine_turns);
}

static int posix_play(void *arg)
{
    return play(arg, posix_turns);
}

static int us_per_turn(const struct bench_pass *pass, struct table *table, int (*run)(void *),
                       double *value)
{
    double seconds = 0;
    int rc;

    table->n = pass->n;
    rc = bench_seconds(pass, &(struct bench_work){.run = run, .arg = table}, &seconds);
    *value = seconds / (double)pass->n * 1e6;
    munmap(table, sizeof *table);
    return rc;
}

static struct table *new_table(void)
{
    struct table *table =
        mmap(NULL, sizeof *table, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    return table == MAP_FAILED ? NULL : table;
}

static int tine_side(const struct bench_pass *pass, double *value)
{
    struct table *table = new_table();
    int rc = table == NULL ? -ENOMEM : tine_lock_init(&table->tine.lock, NULL);

    for (int i = 0; i < 2 && rc == 0; i++)
        rc = tine_condition_init(&table->tine.conditions[i], &table->tine.lock, NULL);
    return rc < 0 ? rc : us_per_turn(pass, table, tine_play, value);
}

static int init_posix(struct table *table)
{
    pthread_mutexattr_t lock;
    pthread_condattr_t condition;
    int rc = pthread_mutexattr_init(&lock);

    if (rc == 0)
        rc = pthread_mutexattr_setpshared(&lock, PTHREAD_PROCESS_SHARED);
    if (rc == 0)
        rc = pthread_mutex_init(&table->posix.lock, &lock);
    if (rc == 0)
        rc = pthread_condattr_init(&condition);
    if (rc == 0)
        rc = pthread_condattr_setpshared(&condition, PTHREAD_PROCESS_SHARED);
    for (int i = 0; i < 2 && rc == 0; i++)
        rc = pthread_cond_init(&table->posix.conditions[i], &condition);
    return -rc;
}

static int posix_side(const struct bench_pass *pass, double *value)
{
    struct table *table = new_table();
    int rc = table == NULL ? -ENOMEM : init_posix(table);

    return rc < 0 ? rc : us_per_turn(pass, table, posix_play, value);
}

static const struct bench_case cases[] = {
    {
        .name = "condition.pingpong",
        .unit = "us/turns",
        .peer = "pthread_cond pshared",
        .tine_side = tine_side,
        .peer_side = posix_side,
        .n = 20000,
        .n_quick = 100,
        .repetitions = 5,
    },
    {
        .name = "condition.pingpong.python",
        .unit = "us/turns",
        .peer = "Python Condition",
        .tine_side = tine_side,
        .peer_side = bench_python,
        .n = 10000,
        .n_quick = 100,
        .repetitions = 3,
    },
};

const struct bench_group bench_condition = BENCH_GROUP(cases);
