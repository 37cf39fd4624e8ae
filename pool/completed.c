/* SPDX-License-Identifier: MIT */
/*
 * Waiting for one of many futures: tine_wait_futures, tine_as_completed.
 *
 * The futures of each pool stand in a list in the order of their tickets, so that a look goes no
 * further than the first ticket that nobody has claimed: what lies behind it is not over. (All are
 * looked at at first, when something was cancelled, and when the pool has ended.) What is found to
 * be over goes to another list, and is not looked at again. So n futures cost a sort, if they are
 * not given in order anyway, and then as much as are running at a time.
 *
 * Their jobs' states say TOLD, so their ends wake those at pool.told: one pool is waited for there,
 * several by tine_wait(). Callbacks that are due are run meanwhile. All is private to the program,
 * and nothing of a future is changed but that bit.
 */
#include "pool/pool_impl.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>

#include <tine/error.h>

#include "lib/fork.h"
#include "lib/waitable.h"
#include "shm/waiters.h"

#define NONE SIZE_MAX

struct node {
    tine_future *future;
    const tine_pool *pool; /* and the ticket, of the future: to be sorted by */
    uint64_t ticket;
    size_t next;
};

/* Those of one pool that were not over when they were looked at last. */
struct group {
    struct tine_as_completed *set;
    tine_future *any; /* one of them; NULL: there is none */
    uint64_t cancels; /* of the pool, then */
    size_t first;
};

struct tine_as_completed {
    uint64_t generation;
    struct node *nodes;
    size_t count; /* of different futures */
    size_t left;  /* of these, not found to be over */
    struct group *groups;
    size_t group_count;
    size_t first, last; /* over, and not yet handed out */
};

/* ---- the lists ------------------------------------------------------------------------------- */

static void push_over(struct tine_as_completed *set, size_t i)
{
    set->nodes[i].next = NONE;
    if (set->first == NONE)
        set->first = i;
    else
        set->nodes[set->last].next = i;
    set->last = i;
    set->left--;
}

static size_t pop_over(struct tine_as_completed *set)
{
    size_t i = set->first;

    if (i != NONE)
        set->first = set->nodes[i].next;
    return i;
}

/* Must all be looked at, whatever has been claimed? */
static bool is_unordered(struct group *group)
{
    const tine_pool *pool = group->any->pool;
    uint64_t cancels;

    if (tine__future_status(group->any) >= TINE__ENDED)
        return true;
    cancels = atomic_load_explicit(&pool->cancels, memory_order_seq_cst);
    if (cancels == group->cancels)
        return false;
    group->cancels = cancels;
    return true;
}

/* Of the future's pool, unless that has ended. */
static void call_back(const tine_future *future)
{
    if (future->job != NULL && tine__future_status(future) < TINE__ENDED)
        (void)tine__callbacks_run(future->pool);
}

/* All of them are over. What is to be called then is called now: nobody here looks at the pool
   again. */
static void end_group(struct group *group)
{
    const tine_future *any = group->any;

    group->any = NULL;
    call_back(any);
}

/* Takes out what is over. */
static void look_through(struct group *group)
{
    struct tine_as_completed *set = group->set;
    size_t *link = &group->first;
    uint64_t claimed;

    if (group->any == NULL)
        return;
    claimed = is_unordered(group) ? UINT64_MAX : tine__stream_claimed(group->any->pool->shared);
    while (*link != NONE) {
        size_t i = *link;

        if (tine__future_over(set->nodes[i].future)) {
            *link = set->nodes[i].next;
            push_over(set, i);
        } else if (set->nodes[i].ticket >= claimed) {
            break;
        } else {
            link = &set->nodes[i].next;
        }
    }
    if (group->first == NONE)
        end_group(group);
    else
        group->any = set->nodes[group->first].future;
}

static void look_through_all(struct tine_as_completed *set)
{
    for (size_t g = 0; g < set->group_count; g++)
        look_through(&set->groups[g]);
}

/* ---- making ---------------------------------------------------------------------------------- */

static int compare(const void *a, const void *b)
{
    const struct node *one = a, *other = b;

    if (one->pool != other->pool)
        return one->pool < other->pool ? -1 : 1;
    if (one->ticket != other->ticket)
        return one->ticket < other->ticket ? -1 : 1;
    return one->future == other->future ? 0 : one->future < other->future ? -1 : 1;
}

static void sort(struct node *nodes, size_t n)
{
    for (size_t i = 1; i < n; i++)
        if (compare(&nodes[i - 1], &nodes[i]) > 0) {
            qsort(nodes, n, sizeof *nodes, compare);
            return;
        }
}

/* Each once, in order; how many groups they are. */
static size_t fill(struct tine_as_completed *set, tine_future *const *futures, size_t n)
{
    size_t groups = 0;

    for (size_t i = 0; i < n; i++)
        set->nodes[i] = (struct node){
            .future = futures[i], .pool = futures[i]->pool, .ticket = futures[i]->first_ticket};
    sort(set->nodes, n);
    for (size_t i = 0; i < n; i++) {
        struct node *last = set->count == 0 ? NULL : &set->nodes[set->count - 1];

        if (last != NULL && last->future == set->nodes[i].future)
            continue;
        groups += last == NULL || last->pool != set->nodes[i].pool;
        set->nodes[set->count++] = set->nodes[i];
    }
    set->left = set->count;
    return groups;
}

/* Those of one pool become a group, but for what is over. */
static void link_groups(struct tine_as_completed *set)
{
    struct group *group = set->groups;
    size_t previous = NONE;

    for (size_t i = 0; i < set->count; i++) {
        struct node *node = &set->nodes[i];

        if (node->future->job == NULL || !tine__future_tell(node->future)) {
            push_over(set, i);
            continue;
        }
        if (previous != NONE && set->nodes[previous].pool == node->pool) {
            set->nodes[previous].next = i;
        } else { /* cancels: unlike any number of the pool's, so that the first look is at all */
            *group++ =
                (struct group){.set = set, .any = node->future, .cancels = UINT64_MAX, .first = i};
        }
        node->next = NONE;
        previous = i;
    }
    set->group_count = (size_t)(group - set->groups);
}

/* For those that were over from the start, whose pools may have no group that looks after them. */
static void call_back_all(const struct tine_as_completed *set)
{
    const tine_pool *called = NULL;

    for (size_t i = 0; i < set->count; i++) {
        const tine_future *future = set->nodes[i].future;

        if (future->pool != called && future->job != NULL) {
            called = future->pool;
            call_back(future);
        }
    }
}

static void set_fini(struct tine_as_completed *set)
{
    free(set->nodes);
    free(set->groups);
}

static int check(tine_future *const *futures, size_t n)
{
    int rc = n > INT_MAX || (n > 0 && futures == NULL) ? -EINVAL : 0;

    for (size_t i = 0; i < n && rc == 0; i++)
        rc = tine__future_check(futures[i]);
    return rc;
}

/* all: they need not be found as they end, but for the sake of several pools' callbacks. */
static int set_init(struct tine_as_completed *set, tine_future *const *futures, size_t n, bool all)
{
    size_t groups;
    int rc = check(futures, n);

    *set = (struct tine_as_completed){
        .generation = tine__fork_generation(), .first = NONE, .last = NONE};
    if (rc < 0 || n == 0)
        return rc;
    set->nodes = calloc(n, sizeof *set->nodes);
    if (set->nodes == NULL)
        return -ENOMEM;
    groups = fill(set, futures, n);
    if (all && groups == 1)
        return 0;
    set->groups = calloc(groups, sizeof *set->groups);
    if (set->groups == NULL) {
        set_fini(set);
        return -ENOMEM;
    }
    link_groups(set);
    call_back_all(set);
    return 0;
}

/* ---- waiting --------------------------------------------------------------------------------- */

static bool has_over(void *context)
{
    struct tine_as_completed *set = context;

    look_through_all(set);
    return set->first != NONE;
}

static int ready(const tine_waitable *waitable, bool look)
{
    struct group *group = waitable->object;

    if (group->any != NULL && tine__future_status(group->any) < TINE__ENDED) {
        tine_pool *pool = group->any->pool;

        (void)tine__callbacks_run(pool);
        if (look) {
            tine__pool_look_after(pool);
            tine__pool_listen(pool);
        }
    }
    look_through(group);
    return group->set->first != NONE ? TINE_READABLE : 0;
}

static int points(const tine_waitable *waitable, const void *points_out[TINE__POINTS_MAX])
{
    const struct group *group = waitable->object;

    if (group->any == NULL || tine__future_is_orphan(group->any))
        return 0;
    points_out[0] = &group->any->pool->shared->told;
    return 1;
}

static void arm(const tine_waitable *waitable)
{
    const struct group *group = waitable->object;

    if (group->any != NULL && !tine__future_is_orphan(group->any))
        tine__waiters_watch(&group->any->pool->shared->told);
}

static const struct tine__waitable_kind waitable_kind = {
    .ready = ready, .points = points, .arm = arm};

static int await_pools(struct tine_as_completed *set, tine__deadline deadline)
{
    tine_waitable *on = calloc(set->group_count, sizeof *on);
    int64_t left = tine__deadline_left(deadline);
    int rc;

    if (on == NULL)
        return -ENOMEM;
    for (size_t g = 0; g < set->group_count; g++)
        if (set->groups[g].any != NULL)
            on[g] = (tine_waitable){
                .kind = &waitable_kind, .object = &set->groups[g], .events = TINE_READABLE};
    rc = tine_wait(on, set->group_count, left == INT64_MAX ? TINE_FOREVER : left);
    free(on);
    return rc == 0 ? -ETIMEDOUT : rc < 0 ? rc : 0;
}

/* Until there is one to be handed out. */
static int await_one(struct tine_as_completed *set, tine__deadline deadline)
{
    if (has_over(set))
        return 0;
    if (set->group_count == 1)
        return tine__pool_await(set->groups[0].any->pool, has_over, set, deadline);
    return await_pools(set, deadline);
}

/* ---- public ---------------------------------------------------------------------------------- */

static bool has_failed(tine_future *future)
{
    (void)tine__future_await(future, TINE__NEVER); /* it is over */
    return future->code < 0 && future->code != -ECANCELED;
}

/* Hands out what is over; is that what is waited for? */
static bool is_enough(struct tine_as_completed *set, int32_t return_when)
{
    bool enough = set->left == 0;
    size_t i;

    while ((i = pop_over(set)) != NONE)
        if (return_when == TINE_FIRST_COMPLETED ||
            (return_when == TINE_FIRST_EXCEPTION && has_failed(set->nodes[i].future)))
            enough = true;
    return enough;
}

/* The last one first: when it is done, so are nearly all. */
static int await_all(const struct tine_as_completed *set, tine__deadline deadline)
{
    int done = 0;

    for (size_t i = set->count; i > 0; i--)
        if (tine__future_await(set->nodes[i - 1].future, deadline) < 0)
            break;
    for (size_t i = 0; i < set->count; i++)
        done += tine__future_over(set->nodes[i].future);
    return done;
}

static int await_first(struct tine_as_completed *set, int32_t return_when, tine__deadline deadline)
{
    int rc = 0;

    while (!is_enough(set, return_when) && rc == 0)
        rc = await_one(set, deadline);
    return rc == 0 || rc == -ETIMEDOUT ? (int)(set->count - set->left) : rc;
}

int tine_wait_futures(tine_future *const *futures, size_t n, int32_t return_when,
                      int64_t timeout_ns)
{
    tine__deadline deadline = tine__deadline_after(timeout_ns);
    struct tine_as_completed set;
    int rc;

    if (return_when < TINE_ALL_COMPLETED || return_when > TINE_FIRST_EXCEPTION)
        return -EINVAL;
    rc = set_init(&set, futures, n, return_when == TINE_ALL_COMPLETED);
    if (rc < 0)
        return rc;
    rc = set.groups == NULL ? await_all(&set, deadline) : await_first(&set, return_when, deadline);
    set_fini(&set);
    return rc;
}

int tine_as_completed_open(tine_as_completed **iterator, tine_future *const *futures, size_t n)
{
    struct tine_as_completed *made;
    int rc;

    if (iterator == NULL)
        return -EINVAL;
    made = calloc(1, sizeof *made);
    if (made == NULL)
        return -ENOMEM;
    rc = set_init(made, futures, n, false);
    if (rc < 0)
        free(made);
    else
        *iterator = made;
    return rc;
}

int tine_as_completed_next(tine_as_completed *iterator, int64_t timeout_ns, tine_future **future)
{
    tine__deadline deadline = tine__deadline_after(timeout_ns);
    int rc;

    if (iterator == NULL || future == NULL)
        return -EINVAL;
    if (iterator->generation != tine__fork_generation())
        return TINE_EFORKED;
    if (iterator->first == NONE && iterator->left > 0) {
        rc = await_one(iterator, deadline);
        if (rc < 0)
            return rc == -ETIMEDOUT && timeout_ns == 0 ? -EAGAIN : rc;
    }
    if (iterator->first == NONE)
        return 0;
    *future = iterator->nodes[pop_over(iterator)].future;
    return 1;
}

void tine_as_completed_close(tine_as_completed *iterator)
{
    if (iterator == NULL)
        return;
    set_fini(iterator);
    free(iterator);
}
