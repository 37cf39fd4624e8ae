/* SPDX-License-Identifier: MIT */
/* Semaphores: what each call returns, between threads and processes, wherever the memory is. */
#include <tine/heap.h>
#include <tine/semaphore.h>

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/sys.h"
#include "shm/heap.h"
#include "shm/semaphore.h"
#include "tests/shm/heap_help.h"
#include "tests/support/children.h"
#include "tests/support/wait.h"

HEAP_BEFORE_TESTS

struct stage {
    tine_semaphore semaphore;
    tine_semaphore *sized;
    struct gate *gate;
    struct gate *end;
};

static struct stage *stage_new(int64_t value, const tine_semaphore_options *options)
{
    struct stage *stage = shared_memory(sizeof *stage);

    stage->gate = gate_new();
    stage->end = gate_new();
    ck_assert_ok(tine_semaphore_init(&stage->semaphore, value, options));
    return stage;
}

static const tine_semaphore_options bounded = {.bounded = 1}, signalling = {.signalling = 1};

TEST(permits_are_taken_and_given_back)
{
    struct stage *stage = stage_new(2, NULL);

    ck_assert_rc(tine_semaphore_value(&stage->semaphore), 2);
    ck_assert_ok(tine_semaphore_acquire(&stage->semaphore, TINE_FOREVER));
    ck_assert_ok(tine_semaphore_acquire(&stage->semaphore, 0));
    ck_assert_rc(tine_semaphore_value(&stage->semaphore), 0);
    ck_assert_rc(tine_semaphore_acquire(&stage->semaphore, 0), -EAGAIN);
    ck_assert_ok(tine_semaphore_release(&stage->semaphore));
    ck_assert_ok(tine_semaphore_acquire(&stage->semaphore, TINE_SEC(1)));
}

TEST(a_timeout_is_kept)
{
    struct stage *stage = stage_new(0, NULL);
    int64_t start = tine__now_ns();

    ck_assert_rc(tine_semaphore_acquire(&stage->semaphore, TINE_MS(70)), -ETIMEDOUT);
    ck_assert_int_ge(tine__now_ns() - start, TINE_MS(70));
}

TEST(a_bounded_one_refuses_more_than_it_began_with)
{
    struct stage *stage = stage_new(1, &bounded);

    ck_assert_rc(tine_semaphore_release(&stage->semaphore), -EOVERFLOW);
    ck_assert_ok(tine_semaphore_acquire(&stage->semaphore, 0));
    ck_assert_ok(tine_semaphore_release(&stage->semaphore));
    ck_assert_rc(tine_semaphore_release(&stage->semaphore), -EOVERFLOW);
    ck_assert_rc(tine_semaphore_value(&stage->semaphore), 1);
}

TEST(another_one_grows_up_to_the_limit)
{
    struct stage *stage = stage_new(TINE_SEMAPHORE_MAX - 1, NULL);

    ck_assert_ok(tine_semaphore_release(&stage->semaphore));
    ck_assert_rc(tine_semaphore_value(&stage->semaphore), TINE_SEMAPHORE_MAX);
    ck_assert_rc(tine_semaphore_release(&stage->semaphore), -EOVERFLOW);
    ck_assert_rc(tine_semaphore_value(&stage->semaphore), TINE_SEMAPHORE_MAX);
}

TEST(a_signalling_one_counts_without_owners)
{
    struct stage *stage = stage_new(0, &signalling);
    tine_semaphore_options both = {.bounded = 1, .signalling = 1};

    ck_assert_rc(tine_semaphore_acquire(&stage->semaphore, 0), -EAGAIN);
    for (int i = 1; i <= 100; i++) {
        ck_assert_ok(tine_semaphore_release(&stage->semaphore));
        ck_assert_rc(tine_semaphore_value(&stage->semaphore), i);
    }
    ck_assert_ok(tine_semaphore_acquire(&stage->semaphore, 0));
    ck_assert_rc(tine_semaphore_value(&stage->semaphore), 99);
    ck_assert_rc(tine_semaphore_acquire(&stage_new(0, &signalling)->semaphore, TINE_MS(1)),
                 -ETIMEDOUT);
    ck_assert_rc(tine_semaphore_release(&stage_new(3, &both)->semaphore), -EOVERFLOW);
    stage = stage_new(TINE_SEMAPHORE_MAX_PLAIN, &signalling);
    ck_assert_rc(tine_semaphore_release(&stage->semaphore), -EOVERFLOW);
    ck_assert_rc(tine_semaphore_value(&stage->semaphore), TINE_SEMAPHORE_MAX_PLAIN);
}

TEST(wrong_arguments_are_refused)
{
    tine_semaphore s, zero = {{0}};
    tine_semaphore_options reserved = {.reserved = {1}};

    ck_assert_rc(tine_semaphore_init(NULL, 1, NULL), -EINVAL);
    ck_assert_rc(tine_semaphore_init(&s, -1, NULL), -EINVAL);
    ck_assert_rc(tine_semaphore_init(&s, TINE_SEMAPHORE_MAX + 1, NULL), -EOVERFLOW);
    ck_assert_rc(tine_semaphore_init(&s, TINE_SEMAPHORE_MAX_PLAIN + INT64_C(1), &signalling),
                 -EOVERFLOW);
    ck_assert_rc(tine_semaphore_init(&s, 1, &reserved), -E2BIG);
    ck_assert_rc(tine_semaphore_init(&s, 1, &(tine_semaphore_options){.flags = 1}), -EINVAL);
    ck_assert_rc(tine_semaphore_init(&s, 1, &(tine_semaphore_options){.bounded = 2}), -EINVAL);
    ck_assert_rc(tine_semaphore_init(&s, 1, &(tine_semaphore_options){.signalling = -1}), -EINVAL);
    ck_assert_rc(tine_semaphore_init(&s, 1, &(tine_semaphore_options){.processes = 61}), -EINVAL);
    ck_assert_rc(tine_semaphore_init(&s, 1, &(tine_semaphore_options){.processes = 1023}), -EINVAL);
    ck_assert_rc(tine_semaphore_acquire(NULL, 0), -EINVAL);
    ck_assert_rc(tine_semaphore_release(NULL), -EINVAL);
    ck_assert_rc(tine_semaphore_value(NULL), -EINVAL);
    ck_assert_rc(tine_semaphore_acquire(&zero, 0), -EINVAL);
    ck_assert_rc(tine_semaphore_release(&zero), -EINVAL);
    ck_assert_rc(tine_semaphore_value(&zero), -EINVAL);
    tine_semaphore_fini(NULL);
    tine_semaphore_fini(&zero);
}

TEST(after_fini_it_is_none)
{
    struct stage *stage = stage_new(1, NULL);

    tine_semaphore_fini(&stage->semaphore);
    ck_assert_rc(tine_semaphore_acquire(&stage->semaphore, 0), -EINVAL);
    ck_assert_ok(tine_semaphore_init(&stage->semaphore, 2, NULL));
    ck_assert_rc(tine_semaphore_value(&stage->semaphore), 2);
}

/* ---- others ---------------------------------------------------------------------------------- */

static void acquire_one(void *context)
{
    struct stage *stage = context;

    gate_raise(stage->gate);
    ck_assert_ok(tine_semaphore_acquire(&stage->semaphore, TINE_FOREVER));
    gate_raise(stage->end);
}

static void *acquire_in_thread(void *context)
{
    acquire_one(context);
    return NULL;
}

TEST(threads_and_processes_wait_for_the_same_permits)
{
    struct stage *stage = stage_new(0, &signalling);
    struct child children[3];
    pthread_t threads[3];

    for (int i = 0; i < 3; i++) {
        children[i] = child_start(acquire_one, stage);
        ck_assert_int_eq(pthread_create(&threads[i], NULL, acquire_in_thread, stage), 0);
    }
    gate_await(stage->gate, 6);
    for (uint32_t i = 1; i <= 6; i++) {
        ck_assert_ok(tine_semaphore_release(&stage->semaphore));
        gate_await(stage->end, i);
        ck_assert_uint_eq(stage->end->raised, i);
    }
    for (int i = 0; i < 3; i++) {
        child_join(&children[i]);
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    }
    ck_assert_rc(tine_semaphore_value(&stage->semaphore), 0);
}

static void hold_until_end(void *context)
{
    struct stage *stage = context;

    ck_assert_ok(tine_semaphore_acquire(&stage->semaphore, TINE_FOREVER));
    gate_raise(stage->gate);
    gate_await(stage->end, 1);
}

TEST(one_may_release_what_another_has_acquired)
{
    struct stage *stage = stage_new(1, &bounded);
    struct child child = child_start(hold_until_end, stage);

    gate_await(stage->gate, 1);
    ck_assert_rc(tine_semaphore_value(&stage->semaphore), 0);
    ck_assert_ok(tine_semaphore_release(&stage->semaphore));
    ck_assert_ok(tine_semaphore_acquire(&stage->semaphore, 0));
    child_kill(&child); /* what it held was released: nothing comes back */
    ck_assert_rc(tine_semaphore_acquire(&stage->semaphore, TINE_MS(60)), -ETIMEDOUT);
    ck_assert_ok(tine_semaphore_release(&stage->semaphore));
    ck_assert_rc(tine_semaphore_release(&stage->semaphore), -EOVERFLOW);
}

TEST(the_permits_of_the_dead_come_back_to_who_waits)
{
    struct stage *stage = stage_new(2, &bounded);
    struct child children[2] = {child_start(hold_until_end, stage),
                                child_start(hold_until_end, stage)};

    gate_await(stage->gate, 2);
    for (int i = 0; i < 2; i++)
        child_kill(&children[i]);
    for (int i = 0; i < 2; i++)
        ck_assert_ok(tine_semaphore_acquire(&stage->semaphore, TINE_FOREVER));
    ck_assert_rc(tine_semaphore_acquire(&stage->semaphore, 0), -EAGAIN);
}

TEST(the_permits_of_the_dead_come_back_to_who_only_tries)
{
    struct stage *stage = stage_new(1, NULL);
    struct child child = child_start(hold_until_end, stage);

    gate_await(stage->gate, 1);
    ck_assert_rc(tine_semaphore_acquire(&stage->semaphore, 0), -EAGAIN);
    child_kill(&child);
    ck_assert_eventually(tine_semaphore_acquire(&stage->semaphore, 0) == 0);
}

TEST(the_permits_of_the_dead_come_back_before_a_short_timeout_ends)
{
    struct stage *stage = stage_new(1, NULL);
    struct child child = child_start(hold_until_end, stage);

    gate_await(stage->gate, 1);
    child_kill(&child);
    ck_assert_ok(tine_semaphore_acquire(&stage->semaphore, TINE_MS(1)));
}

TEST(who_stands_still_is_not_dead)
{
    struct stage *stage = stage_new(1, NULL);
    struct child child = child_start(hold_until_end, stage);

    gate_await(stage->gate, 1);
    child_stop(&child);
    ck_assert_rc(tine_semaphore_acquire(&stage->semaphore, TINE_MS(60)), -ETIMEDOUT);
    child_kill(&child);
    ck_assert_ok(tine_semaphore_acquire(&stage->semaphore, TINE_FOREVER));
}

TEST(signals_of_the_dead_do_not_come_back)
{
    struct stage *stage = stage_new(1, &signalling);
    struct child child = child_start(hold_until_end, stage);

    gate_await(stage->gate, 1);
    child_kill(&child);
    ck_assert_rc(tine_semaphore_acquire(&stage->semaphore, TINE_MS(60)), -ETIMEDOUT);
}

static void release_twice_and_acquire(void *context)
{
    struct stage *stage = context;

    ck_assert_ok(tine_semaphore_release(&stage->semaphore)); /* the parent's */
    ck_assert_ok(tine_semaphore_acquire(&stage->semaphore, 0));
    ck_assert_rc(tine_semaphore_acquire(&stage->semaphore, 0), -EAGAIN);
}

TEST(a_forked_child_holds_nothing_of_its_own)
{
    struct stage *stage = stage_new(1, &bounded);
    struct child child;

    ck_assert_ok(tine_semaphore_acquire(&stage->semaphore, 0));
    child = child_start(release_twice_and_acquire, stage);
    child_join(&child);
    /* the child has exited with the permit */
    ck_assert_ok(tine_semaphore_acquire(&stage->semaphore, TINE_FOREVER));
}

static void hold_sized_until_end(void *context)
{
    struct stage *stage = context;

    ck_assert_ok(tine_semaphore_acquire(stage->sized, TINE_FOREVER));
    gate_raise(stage->gate);
    gate_await(stage->end, 1);
}

TEST(there_is_room_for_62_living_processes, .timeout_s = 60)
{
    struct stage *stage = stage_new(100, NULL);
    struct child children[TINE_SEMAPHORE_PROCESSES];

    for (uint32_t i = 0; i < TINE_SEMAPHORE_PROCESSES; i++)
        children[i] = child_start(hold_until_end, stage);
    gate_await(stage->gate, TINE_SEMAPHORE_PROCESSES);
    ck_assert_rc(tine_semaphore_acquire(&stage->semaphore, TINE_FOREVER), -ENOLCK);
    child_kill(&children[0]);
    ck_assert_ok(tine_semaphore_acquire(&stage->semaphore, 0));
    gate_raise(stage->end);
    for (uint32_t i = 1; i < TINE_SEMAPHORE_PROCESSES; i++)
        child_join(&children[i]);
    ck_assert_rc(tine_semaphore_acquire(&stage->semaphore, 0), 0);
}

TEST(a_sized_one_has_room_for_more, .timeout_s = 60)
{
    enum { PROCESSES = 70 };
    tine_semaphore_options options = {.processes = PROCESSES};
    struct stage *stage = shared_memory(sizeof *stage + TINE_SEMAPHORE_SIZE(PROCESSES));
    struct child children[PROCESSES];

    stage->gate = gate_new();
    stage->end = gate_new();
    stage->sized = (tine_semaphore *)(stage + 1);
    ck_assert_ok(tine_semaphore_init(stage->sized, 100, &options));
    for (uint32_t i = 0; i < PROCESSES; i++)
        children[i] = child_start(hold_sized_until_end, stage);
    gate_await(stage->gate, PROCESSES);
    ck_assert_rc(tine_semaphore_value(stage->sized), 100 - PROCESSES);
    ck_assert_rc(tine_semaphore_acquire(stage->sized, 0), -ENOLCK);
    gate_raise(stage->end);
    for (uint32_t i = 0; i < PROCESSES; i++)
        child_join(&children[i]);
    ck_assert_ok(tine_semaphore_acquire(stage->sized, 0));
    ck_assert_rc(tine_semaphore_value(stage->sized), 99);
}

/* ---- places ---------------------------------------------------------------------------------- */

TEST(it_works_in_the_family_heap)
{
    tine_semaphore *semaphore = tine_calloc(1, sizeof *semaphore);

    ck_assert_ptr_nonnull(semaphore);
    ck_assert_ok(tine_semaphore_init(semaphore, 1, NULL));
    ck_assert_ok(tine_semaphore_acquire(semaphore, 0));
    ck_assert_rc(tine_semaphore_acquire(semaphore, 0), -EAGAIN);
    tine_semaphore_fini(semaphore);
    tine_free(semaphore);
}

struct views {
    tine_semaphore *here, *there;
};

static void *acquire_there(void *context)
{
    struct views *views = context;

    ck_assert_ok(tine_semaphore_acquire(views->there, TINE_FOREVER));
    return NULL;
}

TEST(it_works_at_two_addresses)
{
    int fd = tine__sys_memfd("test");
    struct views views;
    pthread_t thread;

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(ftruncate(fd, 4096), 0);
    views.here = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    views.there = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    ck_assert(views.here != MAP_FAILED && views.there != MAP_FAILED);
    ck_assert_ok(tine_semaphore_init(views.here, 1, &bounded));
    ck_assert_ok(tine_semaphore_acquire(views.here, 0));
    ck_assert_int_eq(pthread_create(&thread, NULL, acquire_there, &views), 0);
    ck_assert_ok(tine_semaphore_release(views.here));
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert_rc(tine_semaphore_value(views.here), 0);
    munmap(views.here, 4096);
    munmap(views.there, 4096);
}

SUITE("shm/semaphore")
