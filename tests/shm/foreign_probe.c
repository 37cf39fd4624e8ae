/* SPDX-License-Identifier: MIT */
/*
 * A fresh program that knows only the name of a segment: test_primitives_foreign.c executes it
 * twice, as side 0 and side 1. It maps the segment at two addresses and uses them in turns. Exit
 * status 0, or 1 with a reason; or it kills itself, holding what it can.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/shm/foreign.h"

#define WANT(condition)                                                                            \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "foreign_probe %u:%d: %s\n", side, __LINE__, #condition);              \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

static tine_shm *segments[2];
static struct foreign *views[2];
static unsigned side;

static void attach_twice(const char *name)
{
    for (int i = 0; i < 2; i++) {
        WANT(tine_shm_attach(&segments[i], name, NULL) == 0);
        views[i] = tine_shm_data(segments[i]);
    }
    WANT(views[0] != views[1]);
}

static void detach_both(void)
{
    for (int i = 0; i < 2; i++)
        WANT(tine_shm_detach(segments[i]) == 0);
}

static void count_under_locks(struct foreign *f)
{
    WANT(tine_lock_acquire(&f->lock, TINE_FOREVER) == 0);
    f->under_lock++;
    WANT(tine_lock_release(&f->lock) == 0);
    WANT(tine_lock_acquire(&f->handover, TINE_FOREVER) == 0);
    f->under_handover++;
    WANT(tine_lock_release(&f->handover) == 0);
    WANT(tine_rlock_acquire(&f->rlock, TINE_FOREVER) == 0);
    WANT(tine_rlock_acquire(&f->rlock, 0) == 0);
    f->under_rlock++;
    WANT(tine_rlock_release(&f->rlock) == 0);
    WANT(tine_rlock_release(&f->rlock) == 0);
    WANT(tine_semaphore_acquire(&f->semaphore, TINE_FOREVER) == 0);
    f->under_semaphore++;
    WANT(tine_semaphore_release(&f->semaphore) == 0);
}

static void read_and_write(struct foreign *f)
{
    WANT(tine_rwlock_acquire_read(&f->rwlock, TINE_FOREVER) == 0);
    WANT(f->under_rwlock[0] == f->under_rwlock[1]);
    WANT(tine_rwlock_release_read(&f->rwlock) == 0);
    WANT(tine_rwlock_acquire_write(&f->rwlock, TINE_FOREVER) == 0);
    f->under_rwlock[0]++;
    f->under_rwlock[1]++;
    WANT(tine_rwlock_release_write(&f->rwlock) == 0);
}

static void take_turn(struct foreign *f)
{
    WANT(tine_lock_acquire(&f->lock, TINE_FOREVER) == 0);
    while (f->turn % 2 != side)
        WANT(tine_condition_wait(&f->condition, TINE_FOREVER) == 0);
    f->turn++;
    WANT(tine_condition_notify(&f->condition, 1) >= 0);
    WANT(tine_lock_release(&f->lock) == 0);
}

static void pass_event(struct foreign *f)
{
    if (side == 0)
        WANT(tine_event_set(&f->events[1]) == 0);
    WANT(tine_event_wait(&f->events[side], TINE_FOREVER) == 0);
    WANT(tine_event_clear(&f->events[side]) == 0);
    if (side == 1)
        WANT(tine_event_set(&f->events[0]) == 0);
}

static int count_once(void *context)
{
    struct foreign *f = context;

    f->once_calls++;
    return 0;
}

static void meet(struct foreign *f)
{
    int index = tine_barrier_wait(&f->barrier, TINE_FOREVER);

    WANT(index == 0 || index == 1);
}

static void play_all(void)
{
    for (unsigned i = 0; i < FOREIGN_TURNS; i++) {
        struct foreign *f = views[(i + side) % 2];

        meet(f);
        count_under_locks(f);
        read_and_write(f);
        take_turn(f);
        pass_event(f);
        WANT(tine_once_run(&f->once, count_once, f, TINE_FOREVER) == 0);
    }
}

/* ---- death ----------------------------------------------------------------------------------- */

static void die_with_all(void)
{
    struct foreign *f = views[1];

    WANT(tine_lock_acquire(&f->lock, TINE_FOREVER) == 0);
    WANT(tine_lock_acquire(&f->handover, TINE_FOREVER) == 0);
    WANT(tine_rlock_acquire(&f->rlock, TINE_FOREVER) == 0);
    WANT(tine_semaphore_acquire(&f->semaphore, TINE_FOREVER) == 0);
    WANT(tine_rwlock_acquire_write(&f->rwlock, TINE_FOREVER) == 0);
    meet(f);
    raise(SIGKILL);
}

static void survive(void)
{
    struct foreign *f = views[0];

    meet(f);
    WANT(tine_barrier_wait(&f->barrier, TINE_FOREVER) == TINE_EBROKEN);
    WANT(tine_barrier_reset(&f->barrier) == 0);
    WANT(tine_lock_acquire(&f->lock, TINE_FOREVER) == -EOWNERDEAD);
    WANT(tine_lock_recover(&f->lock) == 0);
    WANT(tine_lock_release(&f->lock) == 0);
    WANT(tine_lock_acquire(&f->handover, TINE_FOREVER) == -EOWNERDEAD);
    WANT(tine_lock_recover(&f->handover) == 0);
    WANT(tine_lock_release(&f->handover) == 0);
    WANT(tine_rlock_acquire(&f->rlock, TINE_FOREVER) == -EOWNERDEAD);
    WANT(tine_rlock_recover(&f->rlock) == 0);
    WANT(tine_rlock_release(&f->rlock) == 0);
    WANT(tine_semaphore_acquire(&f->semaphore, TINE_FOREVER) == 0);
    WANT(tine_semaphore_release(&f->semaphore) == 0);
    WANT(tine_rwlock_acquire_write(&f->rwlock, TINE_FOREVER) == -EOWNERDEAD);
    WANT(tine_rwlock_recover(&f->rwlock) == 0);
    WANT(tine_rwlock_release_write(&f->rwlock) == 0);
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: foreign_probe NAME SIDE all|death\n");
        return 2;
    }
    side = (unsigned)atoi(argv[2]);
    attach_twice(argv[1]);
    if (strcmp(argv[3], "all") == 0)
        play_all();
    else if (side == 0)
        survive();
    else
        die_with_all();
    detach_both();
    return 0;
}
