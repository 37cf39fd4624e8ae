/* SPDX-License-Identifier: MIT */
/*
 * Hooks around forks; see tine/fork.h.
 *
 * A list that only grows, newest first: a CAS adds to it, so a fork at any instant copies it whole.
 * What a thread found in it before a fork is what it goes through afterwards, on both sides: a
 * registration by another thread meanwhile has no `before` that it could answer to. That is noted
 * for each thread, and the fork hands it to the child. Forks within a hook have no hooks, else one
 * that starts something would never come to an end.
 */
#include "lib/at_fork.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

#include "lib/reserved.h"
#include "lib/sys.h"

struct node {
    tine_fork_hooks hooks;
    struct node *older;
};

static struct node *_Atomic newest;

static _Thread_local struct {
    const struct node *newest; /* of those whose `before` has run */
    bool between;              /* before and after */
    bool inside;               /* a hook */
} state;

int tine_register_at_fork(const tine_fork_hooks *hooks)
{
    struct node *node;

    if (hooks == NULL)
        return -EINVAL;
    if (TINE__RESERVED_SET(hooks->reserved))
        return -E2BIG;
    node = malloc(sizeof *node);
    if (node == NULL)
        return -ENOMEM;
    node->hooks = *hooks;
    node->older = atomic_load_explicit(&newest, memory_order_acquire);
    /* release: pairs with the acquires below */
    while (!atomic_compare_exchange_weak_explicit(&newest, &node->older, node, memory_order_acq_rel,
                                                  memory_order_acquire))
        continue;
    return 0;
}

/* Earliest first, without `end` and those before it. */
static void run_after(const struct node *node, const struct node *end, int32_t what, bool in_child)
{
    void (*hook)(void *context, int32_t what);

    if (node == end)
        return;
    run_after(node->older, end, what, in_child);
    hook = in_child ? node->hooks.after_in_child : node->hooks.after_in_parent;
    if (hook != NULL)
        hook(node->hooks.context, what);
}

int tine__at_fork_before(int32_t what)
{
    const struct node *all = atomic_load_explicit(&newest, memory_order_acquire), *node;
    int rc = 0;

    if (state.inside || all == NULL)
        return 0;
    state.inside = true;
    for (node = all; node != NULL; node = node->older) {
        rc = node->hooks.before != NULL ? node->hooks.before(node->hooks.context, what) : 0;
        if (rc < 0)
            break;
    }
    if (rc < 0)
        run_after(all, node, what, false);
    state.inside = false;
    if (rc < 0)
        return rc;
    state.newest = all;
    state.between = true;
    return 0;
}

void tine__at_fork_in_parent(int32_t what)
{
    if (state.inside || !state.between)
        return;
    state.between = false;
    state.inside = true;
    run_after(state.newest, NULL, what, false);
    state.inside = false;
}

pid_t tine__hooked_fork(int32_t what, int *pidfd)
{
    pid_t pid = tine__at_fork_before(what);

    if (pid < 0)
        return pid;
    pid = tine__sys_fork(pidfd);
    if (pid != 0)
        tine__at_fork_in_parent(what);
    return pid;
}

void tine__at_fork_in_child(int32_t what)
{
    const struct node *all = atomic_load_explicit(&newest, memory_order_acquire);
    bool started_by_hook = state.inside;

    if (all == NULL)
        return;
    if (state.between)
        all = state.newest;
    state.between = false;
    state.inside = true;
    if (!started_by_hook)
        run_after(all, NULL, what, true);
    state.inside = false;
}
