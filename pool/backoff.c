/* SPDX-License-Identifier: MIT */
/*
 * Rests that wait before they run again (.backoff_ns).
 *
 * The nursery keeps them, and puts each into the redo table when its time has come, where a worker
 * takes it as any other. job.waiting counts them: a job is not complete while it has some, and so
 * is not freed. It is raised before the claim that the rest comes from is marked done, and lowered
 * after the rest is in the table; whoever looks, looks here first. So who finishes the rest before
 * that leaves the end of the job to the nursery, which looks as well once it has lowered it.
 *
 * A job that was stopped meanwhile is seen within 50 ms. While the nursery hands on or drops a rest
 * the settlements are odd, so the job stays until it has looked at it for the last time.
 *
 * At most half of the redo table is filled from here: the other half is enough for those that do
 * not wait (pool/redo.c).
 */
#include "pool/backoff.h"

#include <stdatomic.h>
#include <stdlib.h>

#include <tine/time.h>

#include "pool/descriptor.h"
#include "pool/job.h"
#include "pool/stream.h"

#define LOOK_NS   TINE_MS(50)
#define FULL_NS   TINE_MS(1) /* until there may be room in the table */
#define SHIFT_MAX 40

struct tine__waiting {
    struct tine__job_shm *job;
    struct tine__rest rest;
    tine__deadline due;
};

int64_t tine__backoff_ns(const struct tine__job_shm *job, uint64_t attempts)
{
    const struct tine__limits_shm *limits = TINE__AT(const struct tine__limits_shm, job->limits);
    uint64_t doublings = attempts > SHIFT_MAX ? SHIFT_MAX : attempts - 1;

    if ((job->limited & TINE__LIMITED_RETRY) == 0)
        return 0;
    return limits->backoff_ns > INT64_MAX >> doublings ? INT64_MAX
                                                       : limits->backoff_ns << doublings;
}

static bool make_room(struct tine__backoff *backoff)
{
    size_t room = backoff->room == 0 ? 16 : backoff->room * 2;
    struct tine__waiting *items;

    if (backoff->count < backoff->room)
        return true;
    items = realloc(backoff->items, room * sizeof *items);
    if (items == NULL)
        return false;
    backoff->items = items;
    backoff->room = room;
    return true;
}

bool tine__backoff_add(struct tine__backoff *backoff, struct tine__job_shm *job,
                       const struct tine__rest *rest)
{
    if (!make_room(backoff))
        return false;
    atomic_fetch_add_explicit(&job->waiting, 1, memory_order_relaxed);
    backoff->items[backoff->count++] = (struct tine__waiting){
        .job = job, .rest = *rest, .due = tine__deadline_after(rest->wait_ns)};
    return true;
}

/* release: what has become of the rest is seen by who finds it waiting no more
   (tine__backoff_has) */
static void wait_no_more(struct tine__job_shm *job)
{
    atomic_fetch_sub_explicit(&job->waiting, 1, memory_order_release);
}

static void drop(struct tine__pool_shm *pool, struct tine__job_shm *job)
{
    struct tine__numbers numbers;

    wait_no_more(job);
    if (job->kind != TINE__JOB_CALL) {
        tine__job_check(pool, job);
        return;
    }
    tine__numbers_of(job, &numbers);
    tine__job_complete(pool, job);
    (void)tine__numbers_release(pool, &numbers); /* this process looks for it before it sleeps */
}

/* False: it goes on waiting. */
static bool settle(struct tine__pool_shm *pool, const struct tine__waiting *waiting)
{
    if (tine__job_stopped(waiting->job)) {
        drop(pool, waiting->job);
        return true;
    }
    if (!tine__deadline_passed(waiting->due) || !tine__redo_is_half_empty(pool) ||
        tine__redo_put(pool, waiting->job, &waiting->rest) < 0)
        return false;
    wait_no_more(waiting->job);
    /* A worker may be through with it by now: it saw a rest that waits, so it did not call the job
       complete. */
    if (waiting->job->kind != TINE__JOB_CALL)
        tine__job_check(pool, waiting->job);
    return true;
}

static tine__deadline earlier(tine__deadline a, tine__deadline b)
{
    return a < b ? a : b;
}

tine__deadline tine__backoff_look(struct tine__backoff *backoff, struct tine__pool_shm *pool)
{
    tine__deadline next = backoff->count == 0 ? TINE__NEVER : tine__deadline_after(LOOK_NS);
    size_t left = 0;

    if (backoff->count == 0)
        return next;
    atomic_fetch_add_explicit(&pool->settlements, 1, memory_order_relaxed);
    for (size_t i = 0; i < backoff->count; i++) {
        struct tine__waiting *waiting = &backoff->items[i];

        if (settle(pool, waiting))
            continue;
        if (tine__deadline_passed(waiting->due))
            waiting->due = tine__deadline_after(FULL_NS);
        next = earlier(next, waiting->due);
        backoff->items[left++] = *waiting;
    }
    atomic_fetch_add_explicit(&pool->settlements, 1, memory_order_release);
    if (left < backoff->count)
        tine__stream_wake_all(pool);
    backoff->count = left;
    return next;
}
