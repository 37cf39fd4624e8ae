/* SPDX-License-Identifier: MIT */
/* The record of a thread: its own in every thread and process, and what it holds. */
#include "shm/held.h"

#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "lib/sys.h"
#include "shm/owner.h"
#include "tests/support/children.h"
#include "tests/support/proc.h"
#include "tests/support/suite.h"
#include "tests/support/wait.h"

static char memory[64];

static struct tine__self *must_self(void)
{
    struct tine__self *self = tine__self();

    ck_assert_ptr_nonnull(self);
    return self;
}

TEST(a_thread_finds_itself_again)
{
    struct tine__self *self = must_self();

    ck_assert_ptr_eq(tine__self(), self);
    ck_assert_uint_ne(self->thread, 0);
    ck_assert_uint_eq(self->process, tine__owner_word());
    ck_assert_int_eq(self->tid, getpid());
}

TEST(what_is_held_is_found_until_it_is_dropped)
{
    struct tine__self *self = must_self();

    ck_assert(!tine__held_within(memory, sizeof memory));
    tine__held_push(self, memory);
    tine__held_push(self, memory + 10);
    tine__held_push(self, memory + 63);
    ck_assert(tine__held_within(memory, 1));
    ck_assert(tine__held_within(memory + 63, 1));
    ck_assert(!tine__held_within(memory + 11, 52));
    tine__held_drop(self, memory + 10);
    ck_assert(!tine__held_within(memory + 1, 62));
    tine__held_drop(self, memory);
    ck_assert(tine__held_within(memory, sizeof memory));
    tine__held_drop(self, memory + 63);
    ck_assert(!tine__held_within(memory, sizeof memory));
    tine__held_drop(self, memory);
    ck_assert_uint_eq(self->count, 0);
}

static void *hold_in_thread(void *context)
{
    struct tine__self *self = must_self();

    tine__held_push(self, memory);
    *(uint64_t *)context = self->thread;
    return self;
}

TEST(an_ended_thread_holds_nothing_and_its_record_is_used_again)
{
    uint64_t threads[2];
    void *records[2];

    for (int i = 0; i < 2; i++) {
        pthread_t thread;

        ck_assert_int_eq(pthread_create(&thread, NULL, hold_in_thread, &threads[i]), 0);
        ck_assert_int_eq(pthread_join(thread, &records[i]), 0);
        ck_assert(!tine__held_within(memory, sizeof memory));
    }
    ck_assert_ptr_eq(records[0], records[1]);
    ck_assert_uint_ne(threads[0], threads[1]);
}

struct twin {
    uint64_t parent;
    struct tine__self *record;
};

static void be_another(void *context)
{
    struct twin *twin = context;
    struct tine__self *self = must_self();

    ck_assert(!tine__held_within(memory, sizeof memory));
    ck_assert_uint_ne(self->thread, twin->parent);
    ck_assert_uint_eq(self->count, 0);
    ck_assert_int_eq(self->tid, getpid());
}

TEST(a_forked_child_is_another_and_holds_nothing)
{
    struct tine__self *self = must_self();
    struct twin twin = {.parent = self->thread};
    struct child child;

    tine__held_push(self, memory);
    child = child_start(be_another, &twin);
    child_join(&child);
    ck_assert(tine__held_within(memory, sizeof memory));
    tine__held_drop(self, memory);
}

struct bell {
    _Atomic uint32_t word;
    struct gate *woken;
};

static void sleep_on_bell(void *context)
{
    struct bell *bell = context;

    ck_assert_rc(tine__sys_futex_wait(&bell->word, 0, -1), 0);
    gate_raise(bell->woken);
}

TEST(wake_ups_put_off_come_with_the_release)
{
    struct bell *bell = shared_memory(sizeof *bell);
    struct tine__self *self = must_self();
    _Atomic uint32_t nobody = 0;
    struct child children[2];

    bell->woken = gate_new();
    for (int i = 0; i < 2; i++)
        children[i] = child_start(sleep_on_bell, bell);
    for (int i = 0; i < 2; i++)
        ck_assert_eventually(proc_asleep(children[i].pid));
    tine__held_push(self, memory);
    tine__held_wake_later(self, &bell->word);
    ck_assert_uint_eq(self->wake_count, 1);
    ck_assert_uint_eq(bell->woken->raised, 0);
    tine__held_drop(self, memory);
    ck_assert_uint_eq(self->wake_count, 0);
    gate_await(bell->woken, 1);
    tine__held_wake_later(self, &bell->word);
    for (int i = 0; i < TINE__WAKES_MAX; i++) /* what does not fit any more is done at once */
        tine__held_wake_later(self, &nobody);
    gate_await(bell->woken, 2);
    for (int i = 0; i < 2; i++)
        child_join(&children[i]);
    tine__held_wake(self);
}

SUITE("shm/held")
