/* SPDX-License-Identifier: MIT */
/* The lock between threads: nobody is inside with another, and nobody sleeps beside a free one. */
#include "lib/futex_lock.h"

#include <pthread.h>
#include <sched.h>

#include "tests/support/suite.h"

#define THREADS 4
#define ROUNDS  20000

static struct {
    struct tine__futex_lock lock;
    int64_t rounds; /* guarded by it */
    _Atomic int inside;
} shared;

static void *use(void *unused)
{
    for (int i = 0; i < ROUNDS; i++) {
        tine__futex_lock(&shared.lock);
        ck_assert_int_eq(shared.inside++, 0);
        shared.rounds++;
        shared.inside--;
        tine__futex_unlock(&shared.lock);
    }
    return unused;
}

TEST(one_at_a_time)
{
    pthread_t threads[THREADS];

    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, use, NULL), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    ck_assert_int_eq(shared.rounds, THREADS * ROUNDS);
    ck_assert_uint_eq(shared.lock.word, 0);
}

TEST(who_waits_too_long_goes_without)
{
    tine__futex_lock(&shared.lock);
    ck_assert_rc(tine__futex_lock_until(&shared.lock, 0), -ETIMEDOUT);
    ck_assert_rc(tine__futex_lock_until(&shared.lock, tine__deadline_after(1000000)), -ETIMEDOUT);
    tine__futex_unlock(&shared.lock);
    ck_assert_rc(tine__futex_lock_until(&shared.lock, 0), 0);
    tine__futex_unlock(&shared.lock);
}

static void *hold_next(void *unused)
{
    tine__futex_lock(&shared.lock);
    shared.rounds++;
    tine__futex_unlock(&shared.lock);
    return unused;
}

/* One that it took when there was no other thread. */
TEST(who_was_alone_gives_the_lock_to_a_thread_that_came_since)
{
    pthread_t thread;

    tine__futex_lock(&shared.lock);
    ck_assert(!tine__futex_trylock(&shared.lock));
    ck_assert_int_eq(pthread_create(&thread, NULL, hold_next, NULL), 0);
    while (atomic_load(&shared.lock.word) != 2)
        sched_yield();
    ck_assert_int_eq(shared.rounds, 0);
    tine__futex_unlock(&shared.lock);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert_int_eq(shared.rounds, 1);
    ck_assert(tine__futex_trylock(&shared.lock));
    tine__futex_unlock(&shared.lock);
}

SUITE("lib/futex_lock")
