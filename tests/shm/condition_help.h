/* SPDX-License-Identifier: MIT */
/* A condition, its lock, and what waits there: shared by the tests of conditions. */
#ifndef TINE_TESTS_SHM_CONDITION_HELP_H
#define TINE_TESTS_SHM_CONDITION_HELP_H

#include <errno.h>

#include "shm/condition.h"
#include "shm/owner.h"
#include "tests/support/children.h"
#include "tests/support/wait.h"

struct scene {
    tine_lock lock;
    tine_condition condition;
    int64_t timeout_ns; /* of those that wait */
    uint32_t items;     /* under the lock */
    _Atomic uint32_t returned, recovered;
    _Atomic uint32_t order[8]; /* who returned first, second … */
    _Atomic uint32_t number;   /* of the next one to come */
    struct gate *woken, *go;
};

static inline struct scene *scene_init(struct scene *scene, uint32_t slots)
{
    ck_assert_rc(tine_lock_init(&scene->lock, NULL), 0);
    ck_assert_rc(tine_condition_init(&scene->condition, &scene->lock,
                                     &(tine_condition_options){.slots = slots}),
                 0);
    scene->timeout_ns = TINE_FOREVER;
    scene->woken = gate_new();
    scene->go = gate_new();
    return scene;
}

static inline struct scene *scene_new(void)
{
    return scene_init(shared_memory(sizeof(struct scene)), 0);
}

static inline struct tine__condition_shm *inside(struct scene *scene)
{
    return (struct tine__condition_shm *)(void *)&scene->condition;
}

static inline void take(struct scene *scene)
{
    ck_assert_rc(tine_lock_acquire(&scene->lock, TINE_FOREVER), 0);
}

static inline void give(struct scene *scene)
{
    ck_assert_rc(tine_lock_release(&scene->lock), 0);
}

/* How many slots are in that state; WAITING: awake or asleep. */
static inline uint32_t slots(struct scene *scene, uint32_t state)
{
    uint32_t mask = state == TINE__SLOT_WAITING ? TINE__SLOT_WAITS : TINE__SLOT_STATES, count = 0;

    for (uint32_t i = 0; i < inside(scene)->slot_count; i++)
        count += (inside(scene)->slots[i].word & mask) == state;
    return count;
}

/* Until so many wait; they have released the lock or are about to. */
static inline void await_waiting(struct scene *scene, uint32_t count)
{
    ck_assert_eventually(slots(scene, TINE__SLOT_WAITING) == count);
    take(scene);
    give(scene);
}

static inline void notify(struct scene *scene, uint32_t n, int expected)
{
    take(scene);
    ck_assert_rc(tine_condition_notify(&scene->condition, n), expected);
    give(scene);
}

/* A participant: waits once; deaths in the lock are repaired. */
static inline void wait_once(void *context)
{
    struct scene *scene = context;
    uint32_t number = atomic_fetch_add(&scene->number, 1);
    int rc;

    take(scene);
    rc = tine_condition_wait(&scene->condition, scene->timeout_ns);
    if (rc == -EOWNERDEAD) {
        scene->recovered++;
        rc = tine_lock_recover(&scene->lock);
    }
    ck_assert_rc(rc, 0);
    scene->order[scene->returned++ % 8] = number;
    give(scene);
}

/* A participant: returns from its wait and stays, holding the lock. */
static inline void wait_and_stay(void *context)
{
    struct scene *scene = context;

    take(scene);
    ck_assert_rc(tine_condition_wait(&scene->condition, TINE_FOREVER), 0);
    gate_raise(scene->woken);
    gate_await(scene->go, UINT32_MAX);
}

/* A participant: takes the lock and stays. */
static inline void take_and_stay(void *context)
{
    struct scene *scene = context;

    take(scene);
    gate_raise(scene->woken);
    gate_await(scene->go, UINT32_MAX);
}

#endif
