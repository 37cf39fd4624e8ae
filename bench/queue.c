/* SPDX-License-Identifier: MIT */
/*
 * queue.*: records of 64 bytes through a queue, from one or two producing processes to one or two
 * consuming ones; how many million a second. tine's queue is joinable: each get is a lease, and
 * each record is said done for. With one of each, both have a CPU of their own; .1core: both the
 * same.
 *
 * Python's JoinableQueue does the same with bytes objects. LIFO and PRIORITY have no peer across
 * processes but Boost's, whose queue has priorities.
 */
#include "bench/queue.h"
#include "bench/bench.h"

#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define SIDES_MAX 2

struct flow {
    const struct bench_queue_side *side;
    void *queue;
    size_t n; /* records, a multiple of the number of consumers and of producers */
    int producers, consumers;
    bool one_core;
};

/* ---- tine ------------------------------------------------------------------------------------ */

static int32_t order; /* of the queue that the next open makes */

static int tine_open(void **queue)
{
    return tine_queue_open(
        (tine_queue **)queue,
        &(tine_queue_options){.order = order, .maxsize = BENCH_QUEUE_ROOM, .joinable = 1});
}

static int tine_put(void *queue, const void *record)
{
    return tine_queue_put_bytes(queue, record, BENCH_QUEUE_RECORD, 0, TINE_FOREVER);
}

static int tine_get(void *queue, void *record)
{
    size_t size;
    int rc = tine_queue_get_bytes(queue, record, BENCH_QUEUE_RECORD, TINE_FOREVER, &size);

    return rc < 0 ? rc : tine_queue_task_done(queue);
}

static void tine_close(void *queue)
{
    tine_queue_close(queue);
}

static const struct bench_queue_side tine_side = {tine_open, tine_put, tine_get, tine_close};

/* ---- processes ------------------------------------------------------------------------------- */

/* To the k-th of the CPUs that this process may use. */
static void pin(int k)
{
    cpu_set_t usable, chosen;

    if (sched_getaffinity(0, sizeof usable, &usable) != 0)
        return;
    CPU_ZERO(&chosen);
    for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, &usable) && k-- == 0)
            CPU_SET(cpu, &chosen);
    if (CPU_COUNT(&chosen) != 0)
        sched_setaffinity(0, sizeof chosen, &chosen);
}

static int produce(const struct flow *flow)
{
    unsigned char record[BENCH_QUEUE_RECORD] = {1};
    int rc = 0;

    for (size_t i = flow->n / (size_t)flow->producers; i > 0 && rc == 0; i--) {
        memcpy(record + 8, &i, sizeof i);
        rc = flow->side->put(flow->queue, record);
    }
    return rc;
}

static int consume(const struct flow *flow)
{
    unsigned char record[BENCH_QUEUE_RECORD] = {0};
    int rc = 0;

    for (size_t i = flow->n / (size_t)flow->consumers; i > 0 && rc == 0; i--) {
        rc = flow->side->get(flow->queue, record);
        if (rc == 0 && record[0] != 1)
            rc = BENCH_WRONG;
    }
    return rc;
}

static int start(const struct flow *flow, int (*work)(const struct flow *), int cpu)
{
    pid_t pid = fork();

    if (pid == 0) {
        if (flow->one_core || (flow->producers == 1 && flow->consumers == 1))
            pin(flow->one_core ? 0 : cpu);
        _exit(work(flow) == 0 ? 0 : 1);
    }
    return pid < 0 ? -errno : 0;
}

static int run(void *arg)
{
    const struct flow *flow = arg;
    int rc = 0, status;

    for (int i = 0; i < flow->consumers && rc == 0; i++)
        rc = start(flow, consume, 1);
    for (int i = 0; i < flow->producers && rc == 0; i++)
        rc = start(flow, produce, 0);
    while (wait(&status) > 0)
        if (status != 0 && rc == 0)
            rc = BENCH_WRONG;
    return rc;
}

/* ---- cases ----------------------------------------------------------------------------------- */

/* "queue.ring.2x1" and the like. */
static void read_name(const char *name, struct flow *flow)
{
    order = strstr(name, ".priority") ? TINE_PRIORITY : strstr(name, ".lifo") ? TINE_LIFO : 0;
    flow->producers = strstr(name, ".2x") ? 2 : 1;
    flow->consumers = strstr(name, "x2") ? 2 : 1;
    flow->one_core = strstr(name, ".1core") != NULL;
}

static int million_a_second(const struct bench_pass *pass, const struct bench_queue_side *side,
                            double *value)
{
    struct flow flow = {.side = side, .n = pass->n};
    double seconds = 0;
    int rc;

    if (!side->open)
        return BENCH_MISSING;
    read_name(pass->name, &flow);
    rc = side->open(&flow.queue);
    if (rc < 0)
        return rc;
    rc = bench_seconds(pass, &(struct bench_work){.run = run, .arg = &flow}, &seconds);
    side->close(flow.queue);
    *value = (double)pass->n / seconds / 1e6;
    return rc;
}

static int tine_rate(const struct bench_pass *pass, double *value)
{
    return million_a_second(pass, &tine_side, value);
}

static int boost_rate(const struct bench_pass *pass, double *value)
{
    return million_a_second(pass, &bench_queue_boost, value);
}

#define FLOW(title, who, side, count)                                                              \
    {                                                                                              \
        .name = title, .unit = "M/s", .peer = who, .tine_side = tine_rate, .peer_side = side,      \
        .n = count, .n_quick = 1000, .repetitions = 5, .more_is_better = true                      \
    }
#define BOOST "Boost message_queue"

static const struct bench_case cases[] = {
    FLOW("queue.ring.1x1", BOOST, boost_rate, 1000000),
    FLOW("queue.ring.1x2", BOOST, boost_rate, 1000000),
    FLOW("queue.ring.2x1", BOOST, boost_rate, 1000000),
    FLOW("queue.ring.2x2", BOOST, boost_rate, 1000000),
    FLOW("queue.ring.1x1.1core", BOOST, boost_rate, 1000000),
    FLOW("queue.ring.python", "Python JoinableQueue", bench_python, 50000),
    FLOW("queue.priority", BOOST, boost_rate, 500000),
    FLOW("queue.lifo", BOOST, boost_rate, 500000),
};

const struct bench_group bench_queue = BENCH_GROUP(cases);
