/* SPDX-License-Identifier: MIT */
/*
 * Runs units of loops, and calls: user code's only door into a worker.
 *
 * `at` says in shared memory how far the worker is, so the nursery knows exactly what is done,
 * what user code had in hand and what was not yet begun, whenever the worker dies. An item's result
 * and its failure are written before `at` moves on to the next.
 */
#include "pool/runner.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <tine/error.h>

#include "lib/fork.h"
#include "pool/account.h"
#include "pool/limit.h"
#include "pool/outcome.h"
#include "pool/resize.h"
#include "pool/tuples.h"

void tine__runner_init(struct tine__runner *runner, struct tine__pool_shm *pool,
                       struct tine__worker_shm *shared, uint32_t index, int control)
{
    *runner = (struct tine__runner){
        .pool = pool, .shared = shared, .index = index, .generation = tine__fork_generation()};
    tine__call_init(&runner->call, control);
    runner->call.by_guest = pool->untrusted != 0;
    runner->fork_word = atomic_load_explicit(&tine__fork_word, memory_order_acquire);
    tine__recycle_begin(&runner->wear, pool);
}

/* ---- where we are ---------------------------------------------------------------------------- */

static void at_item(struct tine__runner *runner, uint64_t index, bool running)
{
    atomic_store_explicit(&runner->shared->at, index << 2 | 2 | running, memory_order_release);
}

static void count_finished(struct tine__runner *runner)
{
    uint64_t finished = atomic_load_explicit(&runner->shared->finished, memory_order_relaxed);

    atomic_store_explicit(&runner->shared->finished, finished + 1, memory_order_relaxed);
}

/* A task that forked, and whose child has returned from it: there is one worker, and this is not
 * it. */
static inline void leave_if_forked(const struct tine__runner *runner)
{
    if (atomic_load_explicit(runner->fork_word, memory_order_relaxed) == runner->generation)
        return; /* once an item, so it has to be one load */
    if (tine__fork_generation() != runner->generation)
        _exit(0);
}

/* User code has the item from here on. */
static inline void begin_item(struct tine__runner *runner, const struct tine__job_shm *job,
                              uint64_t index)
{
    if ((job->limited & TINE__LIMITED_ALARM) != 0) {
        at_item(runner, index,
                false); /* whose time begins: it is not the one before that is late */
        tine__limit_begin(runner->pool, runner->shared, job, runner->call.fetched.control);
    }
    at_item(runner, index, true);
}

static void end_limited(struct tine__runner *runner, const struct tine__job_shm *job)
{
    if ((job->limited & TINE__LIMITED_ALARM) != 0)
        tine__limit_end(runner->pool, runner->shared);
    if ((job->limited & TINE__LIMITED_WEAR) != 0)
        tine__recycle_count(&runner->wear, runner->shared);
}

/* It has returned from it. True: the worker leaves its place to another, out of the middle of a
   unit too. */
static inline bool end_item(struct tine__runner *runner, const struct tine__job_shm *job)
{
    leave_if_forked(runner);
    if (job->limited == 0)
        return false;
    end_limited(runner, job);
    return tine__recycle_leaves(runner->shared);
}

/* ---- failures -------------------------------------------------------------------------------- */

/* What the caller gets for a task that returned rc. */
static int public_code(int rc)
{
    return rc == TINE_ELIMIT || rc == TINE_EFORMAT ? rc : TINE_EREMOTE;
}

static void fail(struct tine__runner *runner, struct tine__job_shm *job, int rc,
                 const struct tine__rest *range, const char *message)
{
    tine_failure failure =
        tine__job_failure(job, public_code(rc), range->begin, range->end - range->begin);

    failure.error = failure.code == TINE_EREMOTE ? rc : 0;
    failure.pid = getpid();
    failure.worker = (int32_t)runner->index;
    tine__call_tell(failure.message, sizeof failure.message, rc, message);
    tine__job_fail(runner->pool, job, &failure);
}

static inline bool has_task(struct tine__runner *runner, const struct tine__job_shm *job)
{
    runner->call.function =
        tine__task_look_up(&runner->tasks, TINE__AT(const struct tine__task_shm, job->task));
    return runner->call.function != 0;
}

static const char not_loaded[] = "the function's object file is not loaded in the worker";

/* ---- units of the four kinds of loop --------------------------------------------------------- */

static void run_range(struct tine__runner *runner, struct tine__job_shm *job,
                      const struct tine__rest *range)
{
    int rc;

    if (range->begin == range->end || tine__job_stopped(job))
        return;
    begin_item(runner, job, range->begin);
    rc = tine__job_run_range(job, runner->call.function, range);
    (void)end_item(runner, job);
    if (rc < 0) /* while it is still running: a death in between may not lose the failure */
        fail(runner, job, rc, range, "");
}

/* The index behind the last one that is done with. */
static uint64_t run_map_items(struct tine__runner *runner, struct tine__job_shm *job,
                              const struct tine__rest *range)
{
    tine_item *item = TINE__AT(tine_item, runner->call.function);
    /* numbers, for either array may be missing, and nothing may be added to a null pointer */
    uint64_t in = job->in + range->begin * job->in_size;
    uint64_t out = job->out + range->begin * job->out_size;
    void *context = TINE__AT(void, job->context);

    for (uint64_t i = range->begin; i < range->end && !tine__job_stopped(job); i++) {
        bool leaves;
        int rc;

        begin_item(runner, job, i);
        rc = item(TINE__AT(const void, in), TINE__AT(void, out), context);
        leaves = end_item(runner, job);
        if (rc < 0)
            fail(runner, job, rc, &(struct tine__rest){.begin = i, .end = i + 1}, "");
        if (leaves)
            return i + 1;
        in += job->in_size;
        out += job->out_size;
    }
    return range->end;
}

/* Runs the task on one tuple, and sees to it that there is an outcome. True: this worker leaves. */
static bool run_tuple(struct tine__runner *runner, struct tine__job_shm *job,
                      const struct tine__rest *item, const void *args, size_t args_size)
{
    struct tine_call *call = &runner->call;
    int rc = tine__call_run(call, job, item->begin, args, args_size);
    bool leaves = end_item(runner, job);

    if (rc >= 0) {
        rc = tine__outcome_put(job, item->unit, item->begin, &call->result);
        if (rc == 0)
            return leaves;
        snprintf(call->message, sizeof call->message, "no memory for the result");
    }
    /* before the outcome: once that is there, the item is not looked at again */
    fail(runner, job, rc, item, call->message);
    tine__outcome_fail(job, item->begin, public_code(rc));
    return leaves;
}

/* The index behind the last one that is done with. */
static uint64_t run_tuples(struct tine__runner *runner, struct tine__job_shm *job,
                           const struct tine__rest *range)
{
    struct tine__rest item = *range;
    struct tine__tuples tuples;
    const void *args = NULL;
    size_t size = 0;

    tine__tuples_seek(&tuples, job, range->begin);
    for (; item.begin < range->end && !tine__job_stopped(job); item.begin++) {
        if (tine__tuples_next(&tuples, &args, &size) < 0) {
            fail(runner, job, TINE_EFORMAT, &item, "a task has written over the arguments");
            break;
        }
        begin_item(runner, job, item.begin);
        item.end = item.begin + 1;
        if (run_tuple(runner, job, &item, args, size))
            return item.begin + 1;
        item.end = range->end;
    }
    return range->end;
}

bool tine__runner_unit(struct tine__runner *runner, struct tine__job_shm *job,
                       const struct tine__rest *range)
{
    struct tine__slot_shm *slot = &tine__job_claims(job)->slots[runner->index];
    int64_t cpu_ns = 0;
    uint64_t next = range->end;

    if (job->accounted)
        tine__account_begin(job, runner->call.fetched.threads != NULL, &cpu_ns);
    at_item(runner, range->begin, false);
    if (!has_task(runner, job))
        fail(runner, job, -ENOENT, range, not_loaded);
    else if (job->kind == TINE__JOB_MAP)
        next = run_map_items(runner, job, range);
    else if (job->kind == TINE__JOB_STARMAP)
        next = run_tuples(runner, job, range);
    else
        run_range(runner, job, range);
    if (job->accounted)
        tine__account_end(job, runner->call.fetched.threads != NULL, cpu_ns);
    at_item(runner, next, false);
    runner->items += next - range->begin;
    atomic_store_explicit(&slot->items, runner->items, memory_order_relaxed);
    count_finished(runner);
    return next == range->end;
}

void tine__runner_count_on(struct tine__runner *runner, const struct tine__job_shm *job)
{
    const struct tine__slot_shm *slot = &tine__job_claims(job)->slots[runner->index];

    runner->items = atomic_load_explicit(&slot->items, memory_order_relaxed);
}

/* ---- calls ----------------------------------------------------------------------------------- */

void tine__runner_call(struct tine__runner *runner, struct tine__job_shm *job)
{
    static const struct tine__rest whole = {.begin = 0, .end = 1};
    int64_t cpu_ns = 0;
    int rc;

    if (!tine__job_begin(job)) {
        tine__job_end_call(runner->pool, job, &runner->call.fetched);
        return;
    }
    if (job->accounted)
        tine__account_begin(job, runner->call.fetched.threads != NULL, &cpu_ns);
    at_item(runner, 0, false);
    if (!has_task(runner, job)) {
        fail(runner, job, -ENOENT, &whole, not_loaded);
    } else {
        begin_item(runner, job, 0);
        rc = tine__call_run(&runner->call, job, 0, TINE__AT(const void, job->args), job->args_size);
        (void)end_item(runner, job);
        if (rc >= 0) {
            rc = tine__job_keep_result(job, &runner->call.result);
            if (rc < 0)
                snprintf(runner->call.message, sizeof runner->call.message,
                         "no memory for the result");
        }
        if (rc < 0)
            fail(runner, job, rc, &whole, runner->call.message);
    }
    if (job->accounted)
        tine__account_end(job, runner->call.fetched.threads != NULL, cpu_ns);
    tine__job_end_call(runner->pool, job, &runner->call.fetched);
    count_finished(runner);
}
