/* SPDX-License-Identifier: MIT */
/*
 * Two programs that have nothing in common but the name of a segment use all primitives in it, each
 * at two addresses of its own: foreign_probe.c.
 */
#include <libgen.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/shm/foreign.h"
#include "tests/support/children.h"
#include "tests/support/leaks.h"
#include "tests/support/suite.h"

struct run {
    const char *name, *scenario;
    int side;
};

static void execute(void *context)
{
    struct run *run = context;
    char self[256], probe[300], side[12];
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);

    ck_assert_int_gt(length, 0);
    self[length] = '\0';
    snprintf(probe, sizeof probe, "%s/foreign_probe", dirname(self));
    snprintf(side, sizeof side, "%d", run->side);
    execl(probe, probe, run->name, side, run->scenario, NULL);
    ck_abort_msg("cannot execute %s", probe);
}

static int prepare(void *data, size_t size, void *context)
{
    struct foreign *f = data;

    (void)context;
    ck_assert_uint_ge(size, sizeof *f);
    ck_assert_rc(tine_barrier_init(&f->barrier, 2, NULL), 0);
    ck_assert_rc(tine_lock_init(&f->lock, NULL), 0);
    ck_assert_rc(tine_lock_init(&f->handover, &(tine_lock_options){.flags = TINE_LOCK_HANDOVER}),
                 0);
    ck_assert_rc(tine_rlock_init(&f->rlock, NULL), 0);
    ck_assert_rc(tine_semaphore_init(&f->semaphore, 1, NULL), 0);
    ck_assert_rc(tine_rwlock_init(&f->rwlock, NULL), 0);
    ck_assert_rc(tine_condition_init(&f->condition, &f->lock, NULL), 0);
    for (int i = 0; i < 2; i++)
        ck_assert_rc(tine_event_init(&f->events[i], NULL), 0);
    return 0;
}

static void start(struct child probes[2], tine_shm **shm, const char *scenario)
{
    const char *name = leaks_shm_name("foreign");

    ck_assert_rc(
        tine_shm_create(shm, name, sizeof(struct foreign), &(tine_shm_options){.init = prepare}),
        0);
    for (int i = 0; i < 2; i++)
        probes[i] = child_start(execute, &(struct run){name, scenario, i});
}

static void end(tine_shm *shm)
{
    ck_assert_rc(tine_shm_unlink(shm), 0);
    ck_assert_rc(tine_shm_detach(shm), 0);
}

TEST(strangers_use_every_primitive_in_a_named_segment)
{
    struct child probes[2];
    struct foreign *f;
    tine_shm *shm;

    start(probes, &shm, "all");
    for (int i = 0; i < 2; i++)
        child_join(&probes[i]);
    f = tine_shm_data(shm);
    ck_assert_uint_eq(f->under_lock, 2 * FOREIGN_TURNS);
    ck_assert_uint_eq(f->under_handover, 2 * FOREIGN_TURNS);
    ck_assert_uint_eq(f->under_rlock, 2 * FOREIGN_TURNS);
    ck_assert_uint_eq(f->under_semaphore, 2 * FOREIGN_TURNS);
    ck_assert_uint_eq(f->under_rwlock[0], 2 * FOREIGN_TURNS);
    ck_assert_uint_eq(f->turn, 2 * FOREIGN_TURNS);
    ck_assert_uint_eq(f->once_calls, 1);
    end(shm);
}

TEST(a_stranger_that_dies_leaves_nothing_locked)
{
    struct child probes[2];
    tine_shm *shm;
    int status;

    start(probes, &shm, "death");
    status = child_wait(&probes[1]);
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    child_join(&probes[0]);
    end(shm);
}

SUITE("shm/primitives_foreign")
