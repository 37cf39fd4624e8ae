/* SPDX-License-Identifier: MIT */
/*
 * A worker: takes what the dead left, then tickets, the most urgent first; runs units; spins a little, then sleeps.
 *
 * What a worker has in hand is always written down before it has it (pool/claim.h, pool/redo.h),
 * and `at` says how far it is, so the nursery can settle its account exactly whenever it dies. The
 * order at the end of a unit is: results, then done, then at = 0, so that a unit is never finished
 * twice.
 *
 * A process, or a thread of the program: the loop has one thread, and all that it has is its own.
 */
#include "pool/worker.h"

#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <tine/error.h>
#include <tine/heap.h>
#include <tine/pool.h>

#include "lib/clock.h"
#include "lib/fork.h"
#include "lib/sys.h"
#include "pool/account.h"
#include "pool/budget.h"
#include "pool/claim.h"
#include "pool/environment.h"
#include "pool/initialize.h"
#include "pool/job.h"
#include "pool/limit.h"
#include "pool/outcome.h"
#include "pool/place.h"
#include "pool/recycle.h"
#include "pool/redo.h"
#include "pool/resize.h"
#include "pool/sticky.h"
#include "pool/stream.h"
#include "pool/task.h"
#include "pool/tuples.h"

#define SPIN_LOOKS_A_CLOCK 16
#define FULL_SPIN_EVERY    64 /* sleeps: now and then see whether spinning pays again */

struct self {
    struct tine__pool_shm *pool;
    struct tine__worker_shm *shared;
    uint32_t index;
    uint32_t redo_seen;
    int64_t spin_ns; /* the present budget */
    uint32_t sleeps;
    bool idles;     /* and has said so */
    bool was_keyed; /* it looked for a call with a key first, the last time */
    struct tine__tasks_seen tasks;
    uint64_t generation;               /* of this process, and */
    const _Atomic uint64_t *fork_word; /* where it stands, unless this is valgrind */
    uint64_t items;                    /* indices done of the present loop, as in its slot */
    const struct tine__job_shm *loop;  /* worked on */
    struct tine__token token;
    bool limited; /* its environment says how many threads it may start */
    struct tine__wear wear;
    struct tine_call call;
};

/* ---- where we are ---------------------------------------------------------------------------- */

static void at_item(struct self *self, uint64_t index, bool running)
{
    atomic_store_explicit(&self->shared->at, index << 2 | 2 | running, memory_order_release);
}

static void at_nothing(struct self *self)
{
    atomic_store_explicit(&self->shared->at, 0, memory_order_release);
}

static void count_finished(struct self *self)
{
    uint64_t finished = atomic_load_explicit(&self->shared->finished, memory_order_relaxed);

    atomic_store_explicit(&self->shared->finished, finished + 1, memory_order_relaxed);
}

/* A task that forked, and whose child has returned from it: there is one worker, and this is not
 * it. */
static inline void leave_if_forked(const struct self *self)
{
    if (atomic_load_explicit(self->fork_word, memory_order_relaxed) == self->generation)
        return; /* once an item, so it has to be one load */
    if (tine__fork_generation() != self->generation)
        _exit(0);
}

/* User code has the item from here on. */
static inline void begin_item(struct self *self, const struct tine__job_shm *job, uint64_t index)
{
    if ((job->limited & TINE__LIMITED_ALARM) != 0) {
        at_item(self, index, false); /* whose time begins: it is not the one before that is late */
        tine__limit_begin(self->pool, self->shared, job, self->call.fetched.control);
    }
    at_item(self, index, true);
}

static void end_limited(struct self *self, const struct tine__job_shm *job)
{
    if ((job->limited & TINE__LIMITED_ALARM) != 0)
        tine__limit_end(self->pool, self->shared);
    if ((job->limited & TINE__LIMITED_WEAR) != 0)
        tine__recycle_count(&self->wear, self->shared);
}

/* It has returned from it. True: the worker leaves its place to another, out of the middle of a unit too. */
static inline bool end_item(struct self *self, const struct tine__job_shm *job)
{
    leave_if_forked(self);
    if (job->limited == 0)
        return false;
    end_limited(self, job);
    return tine__recycle_leaves(self->shared);
}

/* ---- failures -------------------------------------------------------------------------------- */

/* What the caller gets for a task that returned rc. */
static int public_code(int rc)
{
    return rc == TINE_ELIMIT || rc == TINE_EFORMAT ? rc : TINE_EREMOTE;
}

static void fail(struct self *self, struct tine__job_shm *job, int rc,
                 const struct tine__rest *range, const char *message)
{
    tine_failure failure =
        tine__job_failure(job, public_code(rc), range->begin, range->end - range->begin);

    failure.error = failure.code == TINE_EREMOTE ? rc : 0;
    failure.pid = getpid();
    failure.worker = (int32_t)self->index;
    snprintf(failure.message, sizeof failure.message, "%s",
             message[0] != '\0' ? message : tine_strerror(rc));
    tine__job_fail(self->pool, job, &failure);
}

static inline bool has_task(struct self *self, const struct tine__job_shm *job)
{
    self->call.function =
        tine__task_look_up(&self->tasks, TINE__AT(const struct tine__task_shm, job->task));
    return self->call.function != 0;
}

static const char not_loaded[] = "the function's object file is not loaded in the worker";

/* ---- units of the four kinds of loop --------------------------------------------------------- */

static void run_range(struct self *self, struct tine__job_shm *job, const struct tine__rest *range)
{
    int rc;

    if (range->begin == range->end || tine__job_stopped(job))
        return;
    begin_item(self, job, range->begin);
    rc = tine__job_run_range(job, self->call.function, range);
    (void)end_item(self, job);
    if (rc < 0) /* while it is still running: a death in between may not lose the failure */
        fail(self, job, rc, range, "");
}

/* The index behind the last one that is done with. */
static uint64_t run_map_items(struct self *self, struct tine__job_shm *job,
                              const struct tine__rest *range)
{
    tine_item *item = TINE__AT(tine_item, self->call.function);
    /* numbers, for either array may be missing, and nothing may be added to a null pointer */
    uint64_t in = job->in + range->begin * job->in_size;
    uint64_t out = job->out + range->begin * job->out_size;
    void *context = TINE__AT(void, job->context);

    for (uint64_t i = range->begin; i < range->end && !tine__job_stopped(job); i++) {
        bool leaves;
        int rc;

        begin_item(self, job, i);
        rc = item(TINE__AT(const void, in), TINE__AT(void, out), context);
        leaves = end_item(self, job);
        if (rc < 0)
            fail(self, job, rc, &(struct tine__rest){.begin = i, .end = i + 1}, "");
        if (leaves)
            return i + 1;
        in += job->in_size;
        out += job->out_size;
    }
    return range->end;
}

/* Runs the task on one tuple, and sees to it that there is an outcome. True: this worker leaves. */
static bool run_tuple(struct self *self, struct tine__job_shm *job, const struct tine__rest *item,
                      const void *args, size_t args_size)
{
    struct tine_call *call = &self->call;
    int rc = tine__call_run(call, job, item->begin, args, args_size);
    bool leaves = end_item(self, job);

    if (rc >= 0) {
        rc = tine__outcome_put(job, item->unit, item->begin, &call->result);
        if (rc == 0)
            return leaves;
        snprintf(call->message, sizeof call->message, "no memory for the result");
    }
    /* before the outcome: once that is there, the item is not looked at again */
    fail(self, job, rc, item, call->message);
    tine__outcome_fail(job, item->begin, public_code(rc));
    return leaves;
}

/* The index behind the last one that is done with. */
static uint64_t run_tuples(struct self *self, struct tine__job_shm *job,
                           const struct tine__rest *range)
{
    struct tine__rest item = *range;
    struct tine__tuples tuples;
    const void *args = NULL;
    size_t size = 0;

    tine__tuples_seek(&tuples, job, range->begin);
    for (; item.begin < range->end && !tine__job_stopped(job); item.begin++) {
        if (tine__tuples_next(&tuples, &args, &size) < 0) {
            fail(self, job, TINE_EFORMAT, &item, "a task has written over the arguments");
            break;
        }
        begin_item(self, job, item.begin);
        item.end = item.begin + 1;
        if (run_tuple(self, job, &item, args, size))
            return item.begin + 1;
        item.end = range->end;
    }
    return range->end;
}

/*
 * Runs a unit or a rest of one. `at` stays valid: the caller marks the range done, then calls
 * at_nothing. False: this worker leaves, and something of the range is left.
 */
static bool run_unit(struct self *self, struct tine__job_shm *job, const struct tine__rest *range)
{
    struct tine__slot_shm *slot = &tine__job_claims(job)->slots[self->index];
    int64_t cpu_ns = 0;
    uint64_t next = range->end;

    if (job->accounted)
        tine__account_begin(job, self->call.fetched.threads != NULL, &cpu_ns);
    at_item(self, range->begin, false);
    if (!has_task(self, job))
        fail(self, job, -ENOENT, range, not_loaded);
    else if (job->kind == TINE__JOB_MAP)
        next = run_map_items(self, job, range);
    else if (job->kind == TINE__JOB_STARMAP)
        next = run_tuples(self, job, range);
    else
        run_range(self, job, range);
    if (job->accounted)
        tine__account_end(job, self->call.fetched.threads != NULL, cpu_ns);
    at_item(self, next, false);
    self->items += next - range->begin;
    atomic_store_explicit(&slot->items, self->items, memory_order_relaxed);
    count_finished(self);
    return next == range->end;
}

/* Goes on counting where this worker, or a dead one in its place, has left off. Read once a job: the
   slot's line moves from worker to worker with every claim. */
static void count_on(struct self *self, const struct tine__job_shm *job)
{
    const struct tine__slot_shm *slot = &tine__job_claims(job)->slots[self->index];

    self->items = atomic_load_explicit(&slot->items, memory_order_relaxed);
}

static bool is_dismissed(const struct self *self)
{
    return atomic_load_explicit(&self->shared->leave, memory_order_relaxed) >= TINE__DISMISSED;
}

static bool wants_unit(void *context)
{
    const struct self *self = context;

    return !tine__job_stopped(self->loop) && !is_dismissed(self) &&
           !tine__claims_exhausted(tine__job_claims(self->loop), self->loop->units);
}

/* Before a claim. */
static inline void await_token(struct self *self, bool (*wanted)(void *context))
{
    if (tine__budget_in_force(self->token.root))
        tine__token_await(&self->token, wanted, self);
}

/* Of the loop that is worked on. */
static bool claim_unit(struct self *self, uint64_t *unit)
{
    const struct tine__job_shm *job = self->loop;

    await_token(self, wants_unit);
    return !tine__job_stopped(job) && !tine__resize_leaves(self->shared) &&
           tine__claim(tine__job_claims(job), self->index, job->units, unit);
}

/* What led to a loop, and leads back to it. */
struct held {
    const struct tine__lane_shm *lane;
    uint64_t ticket;
};

static bool work_on_lanes(struct self *self, uint32_t lanes);
/*
 * Between two units: leaves the loop for what is more urgent, with its ticket in hand. The loop may be over, and freed,
 * when that is done: false then. It is false, too, when this worker leaves.
 */
static bool give_way(struct self *self, struct tine__job_shm *job, const struct held *held,
                     uint32_t lanes)
{
    if (!tine__stream_has_any(self->pool, lanes))
        return true;
    tine__job_check(self->pool, job); /* it may be complete, and this worker be away for long */
    tine__stream_leave(self->shared);
    while (!tine__resize_leaves(self->shared) && work_on_lanes(self, lanes))
        continue;
    if (tine__resize_leaves(self->shared) ||
        tine__stream_enter(self->pool, held->lane, self->shared, held->ticket) == NULL)
        return false;
    count_on(self, job);
    self->loop = job;
    return true;
}

/*
 * Claims and runs units until none is left, then says so if it was the last to notice. True: this worker leaves, and
 * units are left. Then it keeps what led it here, so that the nursery, settling its account, finds the job.
 * held is NULL where that was no ticket: then nothing is more urgent.
 */
static bool work_on_loop(struct self *self, struct tine__job_shm *job, const struct held *held)
{
    struct tine__claims_shm *claims = tine__job_claims(job);
    uint64_t unit;

    count_on(self, job);
    self->loop = job;
    while (claim_unit(self, &unit)) {
        uint32_t urgent;

        if (!run_unit(self, job,
                      &(struct tine__rest){.begin = tine__unit_begin(job, unit),
                                           .end = tine__unit_end(job, unit),
                                           .unit = unit}))
            return true;
        tine__claim_done(claims, self->index, unit);
        at_nothing(self);
        urgent = held == NULL ? 0 : tine__stream_more_urgent(self->pool, job->lane);
        if (urgent != 0 && !give_way(self, job, held, urgent))
            return tine__resize_leaves(self->shared);
    }
    tine__job_check(self->pool, job);
    return tine__resize_leaves(self->shared) && !tine__claims_exhausted(claims, job->units);
}

/* ---- calls ----------------------------------------------------------------------------------- */

static void run_call(struct self *self, struct tine__job_shm *job)
{
    static const struct tine__rest whole = {.begin = 0, .end = 1};
    int64_t cpu_ns = 0;
    int rc;

    if (!tine__job_begin(job) || tine__job_stopped(job)) {
        tine__job_end_call(self->pool, job, &self->call.fetched);
        return;
    }
    if (job->accounted)
        tine__account_begin(job, self->call.fetched.threads != NULL, &cpu_ns);
    at_item(self, 0, false);
    if (!has_task(self, job)) {
        fail(self, job, -ENOENT, &whole, not_loaded);
    } else {
        begin_item(self, job, 0);
        rc = tine__call_run(&self->call, job, 0, TINE__AT(const void, job->args), job->args_size);
        (void)end_item(self, job);
        if (rc >= 0) {
            rc = tine__job_keep_result(job, &self->call.result);
            if (rc < 0)
                snprintf(self->call.message, sizeof self->call.message, "no memory for the result");
        }
        if (rc < 0)
            fail(self, job, rc, &whole, self->call.message);
    }
    if (job->accounted)
        tine__account_end(job, self->call.fetched.threads != NULL, cpu_ns);
    tine__job_end_call(self->pool, job, &self->call.fetched);
    count_finished(self);
}

/* ---- taking work ----------------------------------------------------------------------------- */

/* Before it is run: the nursery lets those go who idle. */
static inline void be_busy(struct self *self)
{
    if (!self->idles)
        return;
    self->idles = false;
    (void)tine__resize_change(self->shared, TINE__IDLES, TINE__STAYS);
}

/* At the first ticket, for the program counts its CPUs while its workers are born. */
static void limit_threads(struct self *self)
{
    self->limited = true;
    tine__environment_share(self->pool);
}

static bool work_on_rest(struct self *self)
{
    struct tine__redo_shm *redo = tine__redo_take(self->pool, self->index, &self->redo_seen);
    struct tine__job_shm *job;

    if (redo == NULL)
        return false;
    be_busy(self);
    job = tine__redo_job(redo); /* not complete while the entry is taken */
    tine__stream_announce(self->shared, job);
    if (job->kind == TINE__JOB_CALL) {
        run_call(self, job);
        tine__redo_free(redo);
        at_nothing(self);
    } else {
        count_on(self, job);
        if (!run_unit(
                self, job,
                &(struct tine__rest){.begin = redo->begin, .end = redo->end, .unit = redo->unit}))
            return true;
        tine__redo_free(redo);
        at_nothing(self);
        if (work_on_loop(self, job, NULL))
            return true;
    }
    tine__stream_leave(self->shared);
    return true;
}

static bool work_on_lane(struct self *self, uint32_t index)
{
    struct tine__pool_shm *pool = self->pool;
    const struct tine__lane_shm *lane = tine__lane_at(pool, index);
    struct tine__claims_shm *stream = tine__stream_claims(lane);
    /* seq_cst: not before this worker's spinning bit was cleared; a publisher that still saw the bit
       wakes nobody, so its ticket is to be seen here */
    uint64_t tail = atomic_load_explicit(&lane->tail, memory_order_seq_cst), ticket;
    struct tine__job_shm *job;

    if (!tine__claim(stream, self->index, tail, &ticket))
        return false;
    be_busy(self);
    if (!self->limited)
        limit_threads(self);
    if (tine__stream_wants_help(lane, ticket, tail)) /* wake-ups spread from worker to worker */
        tine__stream_wake(pool, 1);
    job = tine__stream_enter(pool, lane, self->shared, ticket);
    if (job != NULL) {
        if (job->kind == TINE__JOB_CALL) {
            run_call(self, job);
            at_nothing(self);
        } else if (work_on_loop(self, job, &(struct held){.lane = lane, .ticket = ticket})) {
            return true;
        }
        tine__stream_leave(self->shared);
    }
    tine__claim_done(stream, self->index, ticket);
    return true;
}

static bool work_on_lanes(struct self *self, uint32_t lanes)
{
    for (; lanes != 0; lanes &= lanes - 1)
        if (work_on_lane(self, (uint32_t)__builtin_ctz(lanes)))
            return true;
    return false;
}

static bool work_on_track(struct self *self)
{
    struct tine__job_shm *job = tine__sticky_take(self->pool, self->shared);

    if (job == NULL)
        return false;
    be_busy(self);
    if (!self->limited)
        limit_threads(self);
    run_call(self, job);
    at_nothing(self);
    tine__stream_leave(self->shared);
    tine__sticky_pass(self->pool, self->shared);
    return true;
}

/* Calls with keys and all else take turns, where there are both. */
static bool work_on_next(struct self *self)
{
    uint32_t lanes = tine__stream_lanes(self->pool);

    if (!tine__sticky_is_used(self->shared))
        return work_on_lanes(self, lanes);
    self->was_keyed = !self->was_keyed;
    if (self->was_keyed)
        return work_on_track(self) || work_on_lanes(self, lanes);
    return work_on_lanes(self, lanes) || work_on_track(self);
}

/* ---- waiting for work ------------------------------------------------------------------------ */

static bool has_work(const struct self *self)
{
    return tine__stream_has_unclaimed(self->pool) ||
           atomic_load_explicit(&self->pool->redo_sequence, memory_order_seq_cst) !=
               self->redo_seen ||
           (tine__sticky_is_used(self->shared) &&
            tine__sticky_has_work(self->pool, self->shared));
}

static bool wants_ticket(void *context)
{
    const struct self *self = context;

    return has_work(self) && !is_dismissed(self);
}

/* Work, or a reason to leave. */
static bool sees_work(const struct self *self)
{
    const struct tine__pool_shm *pool = self->pool;

    return has_work(self) || is_dismissed(self) ||
           atomic_load_explicit(&pool->state, memory_order_seq_cst) != TINE__POOL_RUNNING;
}

static bool spin(struct self *self)
{
    _Atomic uint64_t *word = &self->pool->spinning[self->index / 64];
    uint64_t bit = UINT64_C(1) << self->index % 64;
    int64_t end;
    bool seen = false;

    if (self->spin_ns == 0)
        return false;
    atomic_fetch_or_explicit(word, bit, memory_order_seq_cst);
    end = tine__now_ns() + self->spin_ns;
    do
        for (int i = 0; i < SPIN_LOOKS_A_CLOCK && !seen; i++) {
            seen = sees_work(self);
            tine__cpu_relax();
        }
    while (!seen && tine__now_ns() < end);
    /* seq_cst: no longer counted on before the last look, in sleep_once, at what there is */
    atomic_fetch_and_explicit(word, ~bit, memory_order_seq_cst);
    return seen;
}

/* How long to sleep before the nursery is told: again, when it has dismissed this worker and taken that back. */
static int64_t patience(const struct self *self)
{
    bool told = atomic_load_explicit(&self->shared->leave, memory_order_relaxed) == TINE__IDLES;

    return self->pool->idle_ns == 0 || told ? -1 : self->pool->idle_ns;
}

static void say_idle(struct self *self)
{
    self->idles = true;
    if (tine__resize_change(self->shared, TINE__STAYS, TINE__IDLES))
        send(self->call.fetched.control, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void sleep_once(struct self *self)
{
    _Atomic uint64_t *word = &self->pool->sleeping[self->index / 64];
    uint64_t bit = UINT64_C(1) << self->index % 64;
    uint32_t bell = atomic_load_explicit(&self->shared->doorbell, memory_order_acquire);
    int64_t delay = tine__sticky_delay(self->pool, self->shared);

    /* seq_cst: the bit is set before the last look; a publisher publishes before reading it */
    atomic_fetch_or_explicit(word, bit, memory_order_seq_cst);
    tine__token_release(&self->token);
    if (!sees_work(self) &&
        tine__sys_futex_wait(&self->shared->doorbell, bell,
                             delay > 0 ? delay : patience(self)) == -ETIMEDOUT &&
        delay <= 0)
        say_idle(self);
    atomic_fetch_and_explicit(word, ~bit, memory_order_relaxed);
}

/* Spins while that has paid lately; every 64th time tries again whether it does. */
static void wait_for_work(struct self *self)
{
    uint32_t full = atomic_load_explicit(&self->pool->spin_ns, memory_order_relaxed);

    if (self->sleeps % FULL_SPIN_EVERY == 0)
        self->spin_ns = full;
    if (spin(self)) {
        self->spin_ns = full;
        return;
    }
    self->spin_ns = self->spin_ns < 200 ? 0 : self->spin_ns * 3 / 4;
    self->sleeps++;
    sleep_once(self);
}

static void begin(struct self *self, struct tine__pool_shm *pool, struct tine__worker_shm *shared,
                  uint32_t index, int control)
{
    *self = (struct self){.pool = pool,
                          .shared = shared,
                          .index = index,
                          .limited = pool->unbudgeted != 0,
                          .generation = tine__fork_generation()};
    tine__call_init(&self->call, control);
    self->call.by_guest = pool->untrusted != 0;
    self->fork_word = atomic_load_explicit(&tine__fork_word, memory_order_acquire);
    /* before anything is announced: see tine__pool_kill_job */
    atomic_store_explicit(&shared->pid, (uint32_t)getpid(), memory_order_release);
    tine__token_none(&self->token);
    tine__recycle_begin(&self->wear, pool);
}

/* A process is killed then. */
static bool is_to_drop_all(const struct self *self)
{
    return self->call.fetched.threads != NULL &&
           atomic_load_explicit(&self->pool->state, memory_order_acquire) == TINE__POOL_ENDING;
}

static void work(struct self *self)
{
    while (!tine__resize_leaves(self->shared)) {
        await_token(self, wants_ticket);
        if (!is_to_drop_all(self) &&
            (work_on_rest(self) || work_on_next(self)))
            continue;
        if (atomic_load_explicit(&self->pool->state, memory_order_acquire) != TINE__POOL_RUNNING)
            break;
        wait_for_work(self);
    }
    tine__call_fini(&self->call);
}

void tine__worker_loop(struct tine__pool_shm *pool, uint32_t index, int control)
{
    struct self self;

    begin(&self, pool, tine__worker_at(pool, index), index, control);
    tine__token_init(&self.token, pool, self.shared, pool->unbudgeted == 0);
    work(&self);
    tine__token_fini(&self.token);
}

void tine__worker_thread(struct tine__pool_shm *pool, uint32_t index, struct tine__threads *threads)
{
    struct self self;

    begin(&self, pool, tine__worker_at(pool, index), index, -1);
    self.call.fetched.threads = threads;
    (void)tine__place_of_thread((struct tine__place){.index = (int)index, .pool = pool});
    (void)tine__limit_thread(self.shared);
    work(&self);
}

/* Jobs may run in several callers at once, and in jobs: what a worker has for itself is on the stack. */
void tine__worker_run_here(struct tine__pool_shm *pool, struct tine__threads *threads,
                           struct tine__job_shm *job)
{
    const struct tine__worker_shm *limited;
    struct tine__place outer;
    void *state = tine__worker_change_state(tine__threads_state(threads));
    struct tine__worker_shm place = {.job = 0};
    struct self self;

    begin(&self, pool, &place, 0, -1);
    self.call.fetched.threads = threads;
    outer = tine__place_of_thread((struct tine__place){.index = 0, .pool = pool});
    limited = tine__limit_thread(&place);
    if (job->kind == TINE__JOB_CALL)
        run_call(&self, job);
    else
        (void)work_on_loop(&self, job, NULL);
    (void)tine__limit_thread(limited);
    (void)tine__place_of_thread(outer);
    (void)tine__worker_change_state(state);
    tine__call_fini(&self.call);
}
