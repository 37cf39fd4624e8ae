/* SPDX-License-Identifier: MIT */
/* Events: who waits when one is set is released, whatever comes after. */
#include <tine/event.h>

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <tine/time.h>

#include "lib/clock.h"
#include "lib/sys.h"
#include "shm/event.h"
#include "tests/support/children.h"
#include "tests/support/proc.h"
#include "tests/support/suite.h"
#include "tests/support/wait.h"

#define WAITERS 4

struct field {
    tine_event event;
    struct gate *begun;
    struct gate *released;
    _Atomic pid_t tid;
};

static struct field *field_new(void)
{
    struct field *field = shared_memory(sizeof *field);

    ck_assert_rc(tine_event_init(&field->event, NULL), 0);
    field->begun = gate_new();
    field->released = gate_new();
    return field;
}

static struct tine__event_shm *inside(struct field *field)
{
    return (struct tine__event_shm *)&field->event;
}

static void wait_once(void *context)
{
    struct field *field = context;

    field->tid = tine__sys_gettid();
    gate_raise(field->begun);
    ck_assert_rc(tine_event_wait(&field->event, TINE_FOREVER), 0);
    gate_raise(field->released);
}

static void *wait_in_thread(void *context)
{
    wait_once(context);
    return NULL;
}

static void start_sleepers(struct field *field, struct child *children, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        children[i] = child_start(wait_once, field);
        ck_assert_eventually(proc_asleep(children[i].pid) && field->begun->raised > i &&
                             inside(field)->waiters.waiting != 0);
    }
}

static void join_all(struct child *children, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        child_join(&children[i]);
}

TEST(is_set_between_set_and_clear)
{
    struct field *field = field_new();

    ck_assert_rc(tine_event_is_set(&field->event), 0);
    ck_assert_rc(tine_event_clear(&field->event), 0);
    ck_assert_rc(tine_event_is_set(&field->event), 0);
    ck_assert_rc(tine_event_set(&field->event), 0);
    ck_assert_rc(tine_event_set(&field->event), 0);
    ck_assert_rc(tine_event_is_set(&field->event), 1);
    ck_assert_rc(tine_event_clear(&field->event), 0);
    ck_assert_rc(tine_event_is_set(&field->event), 0);
}

TEST(wait_returns_at_once_when_set)
{
    struct field *field = field_new();

    ck_assert_rc(tine_event_set(&field->event), 0);
    ck_assert_rc(tine_event_wait(&field->event, 0), 0);
    ck_assert_rc(tine_event_wait(&field->event, 1), 0);
    ck_assert_rc(tine_event_wait(&field->event, TINE_FOREVER), 0);
}

TEST(wait_ends_with_its_timeout)
{
    struct field *field = field_new();
    int64_t begin = tine__now_ns();

    ck_assert_rc(tine_event_wait(&field->event, 0), -EAGAIN);
    ck_assert_rc(tine_event_wait(&field->event, TINE_MS(70)), -ETIMEDOUT);
    ck_assert_int_ge(tine__now_ns() - begin, TINE_MS(70));
}

TEST(what_is_no_event_is_refused)
{
    struct field *field = field_new();
    tine_event_options newer = {.reserved = {[7] = 1}};
    tine_event none;

    memset(&none, 0, sizeof none);
    for (int i = 0; i < 2; i++) {
        tine_event *event = i == 0 ? NULL : &none;

        ck_assert_rc(tine_event_set(event), -EINVAL);
        ck_assert_rc(tine_event_clear(event), -EINVAL);
        ck_assert_rc(tine_event_is_set(event), -EINVAL);
        ck_assert_rc(tine_event_wait(event, 0), -EINVAL);
        tine_event_fini(event);
    }
    ck_assert_rc(tine_event_init(NULL, NULL), -EINVAL);
    ck_assert_rc(tine_event_init(&none, &newer), -E2BIG);
    ck_assert_rc(tine_event_set(&none), -EINVAL);
    tine_event_fini(&field->event);
    ck_assert_rc(tine_event_set(&field->event), -EINVAL);
    ck_assert_rc(tine_event_init(&field->event, &(tine_event_options){{0}}), 0);
    ck_assert_rc(tine_event_set(&field->event), 0);
}

TEST(set_releases_all_processes_and_threads)
{
    struct field *field = field_new();
    struct child children[WAITERS];
    pthread_t thread;

    start_sleepers(field, children, WAITERS);
    ck_assert_int_eq(pthread_create(&thread, NULL, wait_in_thread, field), 0);
    ck_assert_eventually(field->begun->raised == WAITERS + 1 && proc_asleep(field->tid));
    ck_assert_uint_eq(field->released->raised, 0);
    ck_assert_rc(tine_event_set(&field->event), 0);
    join_all(children, WAITERS);
    pthread_join(thread, NULL);
}

TEST(a_clear_at_once_hides_no_set, .loop_end = 20)
{
    struct field *field = field_new();
    struct child children[WAITERS];

    start_sleepers(field, children, WAITERS);
    ck_assert_rc(tine_event_set(&field->event), 0);
    ck_assert_rc(tine_event_clear(&field->event), 0);
    join_all(children, WAITERS);
    ck_assert_rc(tine_event_wait(&field->event, 0), -EAGAIN);
}

TEST(a_stopped_waiter_misses_no_set)
{
    struct field *field = field_new();
    struct child child;

    start_sleepers(field, &child, 1);
    child_stop(&child);
    for (int i = 0; i < 1000; i++) {
        ck_assert_rc(tine_event_set(&field->event), 0);
        ck_assert_rc(tine_event_clear(&field->event), 0);
    }
    child_continue(&child);
    child_join(&child);
}

TEST(a_setter_that_woke_nobody_is_made_good)
{
    struct field *field = field_new();
    struct child child;

    start_sleepers(field, &child, 1);
    atomic_fetch_add(&inside(field)->changes, 1); /* as if killed before the wake-up */
    child_join(&child);
}

TEST(a_killed_waiter_takes_nothing_along)
{
    struct field *field = field_new();
    struct child children[WAITERS];

    start_sleepers(field, children, WAITERS);
    child_stop(&children[0]);
    ck_assert_rc(tine_event_set(&field->event), 0);
    child_kill(&children[0]);
    join_all(children + 1, WAITERS - 1);
}

TEST(without_sleepers_set_wakes_nobody)
{
    struct field *field = field_new();

    ck_assert_rc(tine_event_set(&field->event), 0);
    ck_assert_uint_eq(inside(field)->waiters.turn, 0);
}

TEST(the_count_of_changes_may_come_round)
{
    struct field *field = field_new();
    struct child child;

    inside(field)->changes = UINT64_MAX - 1;
    start_sleepers(field, &child, 1);
    for (int i = 0; i < 3; i++) {
        ck_assert_rc(tine_event_set(&field->event), 0);
        ck_assert_rc(tine_event_is_set(&field->event), 1);
        ck_assert_rc(tine_event_clear(&field->event), 0);
        ck_assert_rc(tine_event_is_set(&field->event), 0);
    }
    child_join(&child);
}

/* ---- signals --------------------------------------------------------------------------------- */

static tine_event *handled;

static void set_in_handler(int signal)
{
    (void)signal;
    if (tine_event_set(handled) != 0)
        abort();
}

static void wait_for_handler(void *context)
{
    struct field *field = context;

    handled = &field->event;
    ck_assert(signal(SIGUSR1, set_in_handler) != SIG_ERR);
    wait_once(context);
}

TEST(a_signal_handler_may_set)
{
    struct field *field = field_new();
    struct child child = child_start(wait_for_handler, field);

    ck_assert_eventually(field->begun->raised == 1 && proc_asleep(child.pid));
    ck_assert_int_eq(kill(child.pid, SIGUSR1), 0);
    child_join(&child);
}

/* ---- places ---------------------------------------------------------------------------------- */

static void set_by_address(void *context)
{
    ck_assert_rc(tine_event_set(context), 0);
}

TEST(it_may_lie_at_two_addresses)
{
    tine_event *views[2];
    struct child child;
    int fd = tine__sys_memfd("event");

    ck_assert_int_ge(fd, 0);
    ck_assert_rc(tine__sys_resize(fd, 4096), 0);
    for (int i = 0; i < 2; i++) {
        views[i] = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        ck_assert_ptr_ne(views[i], MAP_FAILED);
    }
    close(fd);
    ck_assert_rc(tine_event_init(views[0], NULL), 0);
    child = child_start(set_by_address, views[1]);
    ck_assert_rc(tine_event_wait(views[0], TINE_FOREVER), 0);
    child_join(&child);
}

SUITE("shm/event")
