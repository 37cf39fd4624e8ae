/* SPDX-License-Identifier: MIT */
/*
 * Callbacks of futures: run by whichever thread is inside a waiting call on the pool.
 *
 * Futures with callbacks stand in a list of the pool, in the order of their tickets. Tickets are
 * claimed in that order, so nothing behind the first unclaimed one can be over, and looking for
 * what is costs as much as there are begun jobs. What becomes over out of turn, by cancelling, is
 * moved to the front.
 *
 * A job that somebody is to be told of has TOLD in its state: its end wakes those who sleep at
 * pool.told, which are the waiting threads of a pool with callbacks.
 *
 * A pool may have a thread of its own that runs them all (pool/caller.c).
 *
 * One thread at a time runs the callbacks of a future, in the order of adding, without any lock;
 * one that is added meanwhile is run by that thread, too. A handle that is closed before that stays
 * until the last one has returned. A thread in a callback runs no others, whatever it waits for.
 * All private to the program; a forked child has copies that it never looks at.
 */
#include "pool/pool_impl.h"

#include <errno.h>
#include <stdlib.h>

#include <tine/error.h>

#include "lib/sys.h"
#include "lib/waitable.h"
#include "shm/pollable.h"
#include "shm/waiters.h"
#include "shm/watch.h"

#define LOOKS_A_CLOCK 4

_Thread_local bool tine__in_callback __attribute__((tls_model("initial-exec")));

/* ---- the list, under the mutex --------------------------------------------------------------- */

/* Behind `previous`, NULL: in front. */
static void insert(struct tine_pool *pool, struct tine_future *future, struct tine_future *previous)
{
    struct tine_future *next = previous == NULL ? pool->called_first : previous->called_next;

    future->called_previous = previous;
    future->called_next = next;
    if (previous == NULL)
        pool->called_first = future;
    else
        previous->called_next = future;
    if (next == NULL)
        pool->called_last = future;
    else
        next->called_previous = future;
    atomic_fetch_add_explicit(&pool->called, 1, memory_order_relaxed);
}

static void take_out(struct tine_pool *pool, struct tine_future *future)
{
    if (future->called_previous == NULL)
        pool->called_first = future->called_next;
    else
        future->called_previous->called_next = future->called_next;
    if (future->called_next == NULL)
        pool->called_last = future->called_previous;
    else
        future->called_next->called_previous = future->called_previous;
    atomic_fetch_sub_explicit(&pool->called, 1, memory_order_relaxed);
}

/* Usually the newest job of all. */
static void insert_in_order(struct tine_pool *pool, struct tine_future *future)
{
    struct tine_future *previous = pool->called_last;

    if (pool->called_first != NULL && pool->called_first->first_ticket > future->first_ticket)
        previous = NULL;
    while (previous != NULL && previous->first_ticket > future->first_ticket)
        previous = previous->called_previous;
    insert(pool, future, previous);
}

void tine__callbacks_prefer(struct tine_future *future)
{
    if (future->notices == NULL || future->calling)
        return;
    take_out(future->pool, future);
    insert(future->pool, future, NULL);
}

/* One whose callbacks are to be run now, or NULL. */
static struct tine_future *find_due(struct tine_pool *pool)
{
    uint64_t claimed = tine__stream_claimed(pool->shared);

    for (struct tine_future *future = pool->called_first; future != NULL;
         future = future->called_next) {
        if (tine__future_over(future))
            return future;
        if (future->first_ticket >= claimed)
            break;
    }
    return NULL;
}

/* ---- running --------------------------------------------------------------------------------- */

bool tine__callbacks_left(tine_pool *pool)
{
    return find_due(pool) != NULL || tine__exits_due(pool);
}

bool tine__callbacks_due(tine_pool *pool)
{
    bool due = false;

    if (!tine__callbacks_pending(pool))
        return false;
    pthread_mutex_lock(&pool->mutex);
    due = tine__callbacks_left(pool);
    pthread_mutex_unlock(&pool->mutex);
    return due;
}

/* Takes a future whose callbacks are then the caller's to run. */
static struct tine_future *take_due(struct tine_pool *pool)
{
    struct tine_future *future;

    pthread_mutex_lock(&pool->mutex);
    future = find_due(pool);
    if (future != NULL) {
        take_out(pool, future);
        future->calling = true;
    }
    pthread_mutex_unlock(&pool->mutex);
    return future;
}

static struct tine__notice *take_notice(struct tine_future *future, bool *dropped)
{
    struct tine_pool *pool = future->pool;
    struct tine__notice *notice;

    pthread_mutex_lock(&pool->mutex);
    notice = future->notices;
    if (notice != NULL) {
        future->notices = notice->next;
    } else {
        future->calling = false;
        *dropped = future->dropped;
    }
    pthread_mutex_unlock(&pool->mutex);
    return notice;
}

/* Of a future that the caller has marked `calling`. It may be gone afterwards. */
static int64_t run_notices(struct tine_future *future)
{
    bool dropped = false, nested = tine__in_callback;
    struct tine__notice *notice;
    int64_t count = 0;

    (void)tine__future_await(future, TINE__NEVER); /* it is over: at most another thread's work */
    tine__in_callback = true;
    for (; (notice = take_notice(future, &dropped)) != NULL; count++) {
        notice->callback(future, notice->user);
        free(notice);
    }
    tine__in_callback = nested;
    if (dropped)
        tine__future_let_go(future);
    return count;
}

int64_t tine__callbacks_run(tine_pool *pool)
{
    int64_t count = tine__callbacks_pending(pool) ? tine__exits_run(pool) : 0;

    while (tine__callbacks_pending(pool)) {
        struct tine_future *future = take_due(pool);

        if (future == NULL)
            break;
        count += run_notices(future);
    }
    return count;
}

/* ---- adding ---------------------------------------------------------------------------------- */

/*
 * Under the mutex. Is the calling thread to run the callbacks, this one and those before it? Where
 * the pool has a thread for them, that one is to find them first.
 */
static bool add(struct tine_future *future, struct tine__notice *notice)
{
    struct tine_pool *pool = future->pool;
    bool first = future->notices == NULL, over;

    if (first)
        future->notices = notice;
    else
        future->last_notice->next = notice;
    future->last_notice = notice;
    if (future->calling)
        return false;
    over = first ? !tine__future_tell(future) : tine__future_over(future);
    if (over && pool->has_caller &&
        atomic_load_explicit(&pool->caller_ended, memory_order_relaxed) == 0) {
        if (!first)
            take_out(pool, future);
        insert(pool, future, NULL);
        return false;
    }
    if (over && !first)
        take_out(pool, future);
    else if (!over && first)
        insert_in_order(pool, future);
    future->calling = over;
    return over;
}

int tine_future_add_done_callback(tine_future *future, tine_done_cb *callback, void *user)
{
    struct tine__notice *notice;
    struct tine_pool *pool;
    int rc = tine__future_check(future);
    bool run;

    if (rc < 0 || callback == NULL)
        return rc < 0 ? rc : -EINVAL;
    if (future->job == NULL || tine__future_is_orphan(future)) {
        callback(future, user);
        return 0;
    }
    notice = calloc(1, sizeof *notice);
    if (notice == NULL)
        return -ENOMEM;
    *notice = (struct tine__notice){.callback = callback, .user = user};
    pool = future->pool; /* the future may be closed in the callback */
    pthread_mutex_lock(&pool->mutex);
    run = add(future, notice);
    pthread_mutex_unlock(&pool->mutex);
    if (run)
        (void)run_notices(future);
    else if (pool->has_caller)
        tine__waiters_wake_all(&pool->shared->told);
    return 0;
}

/* ---- waiting for them ------------------------------------------------------------------------ */

static bool has_ended(tine_pool *pool)
{
    return atomic_load_explicit(&pool->status, memory_order_seq_cst) >= TINE__ENDED;
}

/* Until one may be due, or a while is over. */
static void sleep_at_pool(tine_pool *pool, tine__deadline deadline)
{
    uint32_t turn = tine__waiters_join(&pool->shared->told);

    if (!tine__callbacks_due(pool) && !has_ended(pool))
        (void)tine__waiters_sleep(&pool->shared->told, turn, deadline);
}

/* Most jobs that somebody waits for end soon. */
static bool spin(const tine_pool *pool, tine__test *test, void *context)
{
    int64_t budget = atomic_load_explicit(&pool->shared->spin_ns, memory_order_relaxed), end;

    if (budget == 0)
        return false;
    end = tine__now_ns() + budget;
    do
        for (int i = 0; i < LOOKS_A_CLOCK; i++) {
            if (test(context))
                return true;
            tine__cpu_relax();
        }
    while (tine__now_ns() < end);
    return false;
}

int tine__pool_await(tine_pool *pool, tine__test *test, void *context, tine__deadline deadline)
{
    if (test(context) || (!tine__deadline_passed(deadline) && spin(pool, test, context)))
        return 0;
    for (;;) {
        uint32_t turn;

        (void)tine__callbacks_run(pool);
        tine__pool_look_after(pool);
        if (test(context) || has_ended(pool))
            return 0;
        if (tine__deadline_passed(deadline))
            return -ETIMEDOUT;
        tine__pool_listen(pool);
        turn = tine__waiters_join(&pool->shared->told);
        if (!test(context) && !tine__callbacks_due(pool) && !has_ended(pool))
            (void)tine__waiters_sleep(&pool->shared->told, turn, deadline);
    }
}

int64_t tine__callbacks_serve(tine_pool *pool, tine__deadline deadline)
{
    for (;;) {
        int64_t count = tine__callbacks_run(pool);

        if (count > 0)
            return count;
        if (atomic_load_explicit(&pool->status, memory_order_acquire) >= TINE__ENDED)
            return -ESHUTDOWN;
        tine__pool_look_after(pool);
        if (tine__deadline_passed(deadline))
            return 0;
        tine__pool_listen(pool);
        sleep_at_pool(pool, deadline);
    }
}

int tine_pool_run(tine_pool *pool, int64_t timeout_ns)
{
    tine__deadline deadline = tine__deadline_after(timeout_ns);
    int rc = tine__pool_check_handle(pool);
    int64_t count;

    if (rc < 0 || tine__in_callback)
        return rc < 0 ? rc : -EDEADLK;
    if (pool->has_caller)
        return -EBUSY;
    count = tine__callbacks_serve(pool, deadline);
    if (count == 0 && tine__pollable_missed(&pool->shared->told) && tine__callbacks_due(pool)) {
        count = tine__callbacks_run(pool);
        tine__watch_ring(&pool->shared->told); /* there may be more */
    }
    return count > INT32_MAX ? INT32_MAX : (int)count;
}

/* ---- waiting for many things ----------------------------------------------------------------- */

static int ready(const tine_waitable *waitable, bool look)
{
    struct tine_pool *pool = waitable->object;
    int rc = tine__pool_check_handle(pool);

    if (rc < 0)
        return rc;
    if (waitable->events != TINE_READABLE)
        return -EINVAL;
    if (look)
        tine__pool_look_after(pool);
    return tine__callbacks_due(pool) ? TINE_READABLE : 0;
}

static int points(const tine_waitable *waitable, const void *points_out[TINE__POINTS_MAX])
{
    struct tine_pool *pool = waitable->object;

    if (tine__pool_check_handle(pool) < 0)
        return 0;
    points_out[0] = &pool->shared->told;
    return 1;
}

static void arm(const tine_waitable *waitable)
{
    tine__waiters_watch(&((struct tine_pool *)waitable->object)->shared->told);
}

static const struct tine__waitable_kind waitable_kind = {
    .ready = ready, .points = points, .arm = arm};

tine_waitable tine_pool_waitable(tine_pool *pool)
{
    return (tine_waitable){.kind = &waitable_kind, .object = pool, .events = TINE_READABLE};
}
