/* SPDX-License-Identifier: MIT */
/*
 * Settling a dead worker's account: exactly what it had in hand, once.
 *
 * The dead worker writes nothing any more, so its words are final. It may have held
 *
 *     a track   and the call in front of it (pool/sticky.c), or
 *     a rest    an entry of the redo table, or
 *     a ticket  and through it a call, or a unit of a loop, or nothing yet; and tickets of loops that it
 *               had interrupted for that, each less urgent than the one before,
 *
 * and `at` says how far it was: 0, not begun; not running, between items; running, user code had
 * the item, which then fails or is tried again. A rest is always put up before the claim that it
 * came from is marked done, so a loop never looks complete in between. When the nursery dies in the
 * middle of this, the pool is broken and every running job fails, so a half-settled account is
 * never seen.
 */
#include "pool/settle.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <tine/error.h>
#include <tine/pool.h>

#include "pool/account.h"
#include "pool/claim.h"
#include "pool/descriptor.h"
#include "pool/job.h"
#include "pool/limit.h"
#include "pool/outcome.h"
#include "pool/redo.h"
#include "pool/sticky.h"
#include "pool/stream.h"

struct account {
    struct tine__pool_shm *pool;
    struct tine__backoff *backoff;
    uint32_t worker;
    uint64_t at;
    enum tine__limit limit; /* that ended it */
    const struct tine__death *death;
    struct tine__track_shm *track; /* whose first call was in hand, or NULL */
};

/* Has the item at `at` been begun? At a limit what ends the worker is that item's time, begun or
   not. */
static bool was_running(const struct account *account)
{
    return (account->at & 1) != 0 || account->limit != TINE__LIMIT_NONE;
}

/* What failed for good is over with: a worker that died of it is not one that gets nothing done. */
static void count_as_finished(struct tine__worker_shm *dead)
{
    uint64_t finished = atomic_load_explicit(&dead->finished, memory_order_relaxed);

    atomic_store_explicit(&dead->finished, finished + 1, memory_order_relaxed);
}

/* A worker that was killed because its job was stopped is none that gets nothing done. */
static void excuse(const struct account *account, const struct tine__job_shm *job)
{
    if (tine__job_stopped(job) || tine__job_cancelled(job))
        count_as_finished(tine__worker_at(account->pool, account->worker));
}

/* Of what is failed for this death. */
static int code_of(const struct account *account)
{
    return account->limit == TINE__LIMIT_NONE ? TINE_EWORKER : TINE_ELIMIT;
}

static void describe(const struct account *account, const struct tine__job_shm *job, char *text,
                     size_t size)
{
    const struct tine__death *death = account->death;

    if (account->limit != TINE__LIMIT_NONE)
        tine__limit_describe(account->pool, tine__worker_at(account->pool, account->worker), job,
                             text, size);
    else if (death->is_thread)
        snprintf(text, size, "has ended its thread");
    else if (death->signal != 0)
        snprintf(text, size, "was killed by signal %d (%s)", death->signal,
                 strsignal(death->signal));
    else
        snprintf(text, size, "exited with status %d", death->exit_status);
}

static void blame(const struct account *account, struct tine__job_shm *job, uint64_t index,
                  uint64_t count)
{
    const struct tine__death *death = account->death;
    tine_failure failure = tine__job_failure(job, code_of(account), index, count);
    char what[sizeof failure.message - 32];

    failure.pid = death->pid;
    failure.worker = (int32_t)account->worker;
    failure.signal = death->signal;
    failure.exit_status = death->exit_status;
    describe(account, job, what, sizeof what);
    snprintf(failure.message, sizeof failure.message, "worker %u (pid %d) %s", account->worker,
             death->pid, what);
    tine__job_fail(account->pool, job, &failure);
    count_as_finished(tine__worker_at(account->pool, account->worker));
}

/* An item took its worker down: may it run again? */
static bool may_retry(const struct account *account, struct tine__job_shm *job,
                      struct tine__rest *rest)
{
    if (job->retries >= 0 && rest->attempts >= (uint64_t)job->retries)
        return false;
    if (account->limit != TINE__LIMIT_NONE &&
        TINE__AT(const struct tine__limits_shm, job->limits)->retry_limited == 0)
        return false;
    rest->attempts++;
    rest->wait_ns = tine__backoff_ns(job, rest->attempts);
    atomic_fetch_add_explicit(&job->retried, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&account->pool->retried, 1, memory_order_relaxed);
    return true;
}

/* The first item of the range that is not finished. */
static uint64_t next_item(const struct account *account, const struct tine__job_shm *job)
{
    uint64_t at = account->at >> 2;

    /* the outcome is the truth: it may be one ahead of `at` */
    if (job->kind == TINE__JOB_STARMAP && (account->at & 1) != 0 && tine__outcome_is_there(job, at))
        return at + 1;
    return at;
}

/* Cuts what is finished, and an item that failed for good, off the front of the range. */
static void cut_finished(const struct account *account, struct tine__job_shm *job,
                         struct tine__rest *rest)
{
    uint64_t next, count;

    if (account->at == 0 || rest->begin == rest->end)
        return;
    next = next_item(account, job);
    if (next != rest->begin)
        rest->attempts = 0;
    rest->begin = next;
    if (!was_running(account) || account->at >> 2 != next)
        return;
    atomic_fetch_add_explicit(&job->deaths, 1, memory_order_relaxed);
    if (may_retry(account, job, rest))
        return;
    count = job->kind == TINE__JOB_FOR || job->kind == TINE__JOB_REDUCE ? rest->end - next : 1;
    blame(account, job, next, count);
    if (job->kind == TINE__JOB_STARMAP)
        tine__outcome_fail(job, next, code_of(account));
    rest->begin = next + count;
    rest->attempts = 0;
}

static bool has_unclaimed(const struct tine__job_shm *job)
{
    return job->kind != TINE__JOB_CALL &&
           !tine__claims_exhausted(tine__job_claims(job), job->units);
}

/* Should a worker come and look at this loop, for the rest or for units that nobody has claimed? */
static bool needs_help(const struct tine__job_shm *job, const struct tine__rest *rest)
{
    return !tine__job_stopped(job) && (rest->begin < rest->end || has_unclaimed(job));
}

/* Its wait is what keeps it from taking down one worker after the other. */
static void excuse_wait(const struct account *account)
{
    count_as_finished(tine__worker_at(account->pool, account->worker));
}

static void put_up(const struct account *account, struct tine__job_shm *job,
                   const struct tine__rest *rest)
{
    static const struct tine__rest help = {0};

    /* before the entry: whoever completes the job then looks into the table (tine__job_check) */
    atomic_store_explicit(&job->had_death, 1, memory_order_release);
    if (rest->wait_ns > 0 && account->backoff != NULL &&
        tine__backoff_add(account->backoff, job, rest)) {
        excuse_wait(account);
        if (!has_unclaimed(job))
            return;
        rest = &help;
    }
    if (tine__redo_put(account->pool, job, rest) < 0)
        blame(account, job, rest->begin, rest->end - rest->begin);
}

/* The same for one that was an entry of the table. */
static void put_up_again(const struct account *account, struct tine__job_shm *job,
                         struct tine__redo_shm *redo, const struct tine__rest *rest)
{
    if (rest->wait_ns == 0) {
        tine__redo_again(account->pool, redo, rest);
        return;
    }
    put_up(account, job, rest);
    tine__redo_free(redo);
}

/* A loop, entered by a ticket or a rest that is done: settles the unit in hand. */
static void settle_loop(const struct account *account, struct tine__job_shm *job)
{
    struct tine__claims_shm *claims = tine__job_claims(job);
    struct tine__rest rest = {0};
    uint64_t unit;
    bool held = tine__claim_held(claims, account->worker, &unit);

    excuse(account, job);
    tine__account_settle(job);
    if (held) {
        rest = (struct tine__rest){
            .begin = tine__unit_begin(job, unit), .end = tine__unit_end(job, unit), .unit = unit};
        cut_finished(account, job, &rest);
    }
    if (needs_help(job, &rest))
        put_up(account, job, &rest);
    if (held)
        tine__claim_done(claims, account->worker, unit);
    tine__job_check(account->pool, job);
}

static void settle_rest(const struct account *account, struct tine__redo_shm *redo)
{
    struct tine__job_shm *job = tine__redo_job(redo);
    struct tine__rest rest = {
        .begin = redo->begin, .end = redo->end, .unit = redo->unit, .attempts = redo->attempts};

    excuse(account, job);
    tine__account_settle(job);
    cut_finished(account, job, &rest);
    if (needs_help(job, &rest))
        put_up_again(account, job, redo, &rest);
    else
        tine__redo_free(redo);
    tine__job_check(account->pool, job);
}

/* A call that is not run again. */
static void end_call(const struct account *account, struct tine__job_shm *job)
{
    excuse(account, job);
    if (!tine__job_done(job))
        tine__job_complete(account->pool, job);
}

static uint64_t attempts_of(const struct account *account, const struct tine__redo_shm *redo)
{
    if (account->track != NULL)
        return tine__sticky_attempts(account->track);
    return redo == NULL ? 0 : redo->attempts;
}

static void put_up_call(const struct account *account, struct tine__job_shm *job,
                        struct tine__redo_shm *redo, const struct tine__rest *rest)
{
    if (account->track != NULL) { /* it stays in front */
        tine__sticky_again(account->track, rest->attempts, rest->wait_ns);
        if (rest->wait_ns > 0)
            excuse_wait(account);
    } else if (redo == NULL) {
        put_up(account, job, rest);
    } else {
        put_up_again(account, job, redo, rest);
    }
}

/* A call that did not end: redo is its entry when it was a second try, else NULL. */
static void settle_call(const struct account *account, struct tine__job_shm *job,
                        struct tine__redo_shm *redo)
{
    struct tine__rest rest = {.begin = 0, .end = 1, .attempts = attempts_of(account, redo)};
    bool running = was_running(account), again = !tine__job_stopped(job);
    struct tine__numbers numbers;

    tine__numbers_of(job, &numbers);
    if (!tine__job_done(job))
        tine__account_settle(job);
    if (tine__job_done(job)) {
        again = false;
    } else if (running) {
        atomic_fetch_add_explicit(&job->deaths, 1, memory_order_relaxed);
        again = again && may_retry(account, job, &rest);
        if (!again)
            blame(account, job, 0, 1);
    }
    again = again && tine__job_unbegin(job);
    if (again)
        put_up_call(account, job, redo, &rest);
    else
        end_call(account, job);
    if (!again) /* the nursery, this process, looks for it before it sleeps */
        (void)tine__numbers_release(account->pool, &numbers);
    if (!again && redo != NULL)
        tine__redo_free(redo);
}

static void settle_job(const struct account *account, struct tine__job_shm *job)
{
    if (job->kind == TINE__JOB_CALL)
        settle_call(account, job, NULL);
    else
        settle_loop(account, job);
}

/*
 * The tickets that were in hand: of more than one, by whatever order, only that of the most urgent
 * lane has led to a unit or a call; the loops of the others had been interrupted for it. False:
 * there was none.
 */
static bool settle_tickets(const struct account *account, struct tine__worker_shm *nursery)
{
    const struct tine__pool_shm *pool = account->pool;
    bool any = false;

    for (uint32_t lanes = tine__stream_lanes(pool); lanes != 0; lanes &= lanes - 1) {
        const struct tine__lane_shm *lane = tine__lane_at(pool, (uint32_t)__builtin_ctz(lanes));
        struct tine__job_shm *job;
        uint64_t ticket;

        if (!tine__claim_held(tine__stream_claims(lane), account->worker, &ticket))
            continue;
        any = true;
        job = tine__stream_enter(pool, lane, nursery, ticket);
        if (job != NULL)
            settle_job(account, job);
        tine__claim_done(tine__stream_claims(lane), account->worker, ticket);
    }
    return any;
}

/* The first call of a track, begun or not. One that is retired the next worker passes over. */
static void settle_track(const struct account *account, struct tine__worker_shm *nursery)
{
    struct tine__job_shm *job = tine__sticky_enter(account->track, nursery);

    if (job == NULL)
        return;
    settle_call(account, job, NULL);
    if (tine__job_done(job))
        tine__sticky_drop(account->track);
}

/* Finds what was in hand. `nursery` announces the job meanwhile, so that it is not freed. */
static void settle_hands(const struct account *account, struct tine__worker_shm *nursery)
{
    struct tine__pool_shm *pool = account->pool;
    struct tine__redo_shm *redo = tine__redo_held(pool, account->worker);
    uint64_t left_in = atomic_load(&tine__worker_at(pool, account->worker)->job) & ~UINT64_C(1);
    struct tine__job_shm *job;

    if (account->track != NULL) {
        settle_track(account, nursery);
    } else if (redo != NULL) {
        job = tine__redo_job(redo); /* alive: the entry is taken */
        tine__stream_announce(nursery, job);
        if (job->kind == TINE__JOB_CALL)
            settle_call(account, job, redo);
        else
            settle_rest(account, redo);
    } else if (!settle_tickets(account, nursery) && left_in != 0) {
        /* it had come by a rest and worked on: the dead worker's own announcement keeps the job */
        job = TINE__AT(struct tine__job_shm, left_in);
        tine__stream_announce(nursery, job);
        if (job->kind != TINE__JOB_CALL) /* a call is over once its entry is free */
            settle_loop(account, job);
    }
    tine__stream_leave(nursery);
}

void tine__settle(struct tine__pool_shm *pool, struct tine__backoff *backoff, uint32_t worker,
                  const struct tine__death *death)
{
    struct tine__worker_shm *dead = tine__worker_at(pool, worker);
    struct account account = {.pool = pool,
                              .backoff = backoff,
                              .worker = worker,
                              .at = atomic_load_explicit(&dead->at, memory_order_acquire),
                              .limit = tine__limit_hit(pool, dead, death->signal),
                              .death = death,
                              .track = tine__sticky_held(pool, dead)};
    uint64_t bit = UINT64_C(1) << worker % 64;

    /* All that follows is written with release, so whoever reads any of it sees this, too
       (in_use). */
    atomic_fetch_add_explicit(&pool->settlements, 1, memory_order_relaxed);
    settle_hands(&account, tine__worker_at(pool, pool->workers));
    if (death->is_thread)
        tine__sticky_put_down(dead);
    else
        tine__sticky_disown(pool, dead);
    tine__limit_clear(dead);
    atomic_store_explicit(&dead->at, 0, memory_order_relaxed);
    atomic_store_explicit(&dead->job, 0, memory_order_release);
    atomic_fetch_add_explicit(&pool->settlements, 1, memory_order_release);
    atomic_fetch_and_explicit(&pool->spinning[worker / 64], ~bit, memory_order_relaxed);
    atomic_fetch_and_explicit(&pool->sleeping[worker / 64], ~bit, memory_order_relaxed);
    /* A wake-up that the dead worker had been given, or was about to give, is given again. */
    tine__stream_wake_all(pool);
}
