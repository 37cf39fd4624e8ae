/* SPDX-License-Identifier: MIT */
#include "lib/fork.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/support/children.h"
#include "tests/support/suite.h"
#include "tests/support/wait.h"

#define THREADS 8

TEST(it_stays_the_same_within_a_process)
{
    uint64_t generation = tine__fork_generation();

    ck_assert_uint_ne(generation, 0);
    ck_assert_uint_eq(tine__fork_generation(), generation);
}

static void check_other(void *parents)
{
    uint64_t own = tine__fork_generation();

    ck_assert_uint_ne(own, 0);
    ck_assert_uint_ne(own, *(uint64_t *)parents);
    ck_assert_uint_eq(tine__fork_generation(), own);
}

TEST(a_child_has_another)
{
    uint64_t generation = tine__fork_generation();
    struct child child = child_start(check_other, &generation);

    child_join(&child);
    ck_assert_uint_eq(tine__fork_generation(), generation);
}

static void check_grandchild(void *parents)
{
    uint64_t ancestors[] = {*(uint64_t *)parents, tine__fork_generation()};
    struct child child;

    child = child_start(check_other, &ancestors[0]);
    child_join(&child);
    child = child_start(check_other, &ancestors[1]);
    child_join(&child);
}

TEST(a_grandchild_differs_from_both_its_ancestors)
{
    uint64_t generation = tine__fork_generation();
    struct child child = child_start(check_grandchild, &generation);

    child_join(&child);
}

/* The child in between never asks, so its number must not fall to the grandchild unseen. */
static void fork_without_asking(void *parents)
{
    struct child child = child_start(check_other, parents);

    child_join(&child);
}

TEST(a_grandchild_of_a_child_that_never_asked_differs_too)
{
    uint64_t generation = tine__fork_generation();
    struct child child = child_start(fork_without_asking, &generation);

    child_join(&child);
}

TEST(a_child_forked_before_the_first_question_has_its_own)
{
    struct child child = child_start(check_other, &(uint64_t){0});

    child_join(&child);
    ck_assert_uint_ne(tine__fork_generation(), 0);
}

struct threads {
    pthread_barrier_t start;
    _Atomic uint64_t seen[THREADS];
};

struct thread_arguments {
    struct threads *threads;
    int index;
};

static void *ask_in_thread(void *context)
{
    struct thread_arguments *arguments = context;
    uint64_t generation;

    pthread_barrier_wait(&arguments->threads->start);
    generation = tine__fork_generation();
    atomic_store(&arguments->threads->seen[arguments->index], generation);
    return NULL;
}

static void in_threads(struct threads *threads, void *(*body)(void *))
{
    struct thread_arguments arguments[THREADS];
    pthread_t ids[THREADS];

    pthread_barrier_init(&threads->start, NULL, THREADS);
    for (int i = 0; i < THREADS; i++) {
        arguments[i] = (struct thread_arguments){threads, i};
        ck_assert_int_eq(pthread_create(&ids[i], NULL, body, &arguments[i]), 0);
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(ids[i], NULL);
    pthread_barrier_destroy(&threads->start);
}

static void ask_in_threads(void *unused)
{
    struct threads threads;

    (void)unused;
    in_threads(&threads, ask_in_thread);
    for (int i = 0; i < THREADS; i++)
        ck_assert_uint_eq(threads.seen[i], tine__fork_generation());
}

TEST(threads_that_ask_at_once_agree, .loop_end = 20)
{
    ask_in_threads(NULL);
}

TEST(threads_of_a_child_that_ask_at_once_agree, .loop_end = 20)
{
    uint64_t generation = tine__fork_generation();
    struct child child = child_start(ask_in_threads, NULL);

    child_join(&child);
    ck_assert_uint_eq(tine__fork_generation(), generation);
}

/* A clone that passes by glibc's fork and its handlers. */
TEST(a_raw_clone_has_another)
{
    uint64_t generation = tine__fork_generation();
    struct child child = {.pid = (pid_t)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL)};

    ck_assert_int_ge(child.pid, 0);
    if (child.pid == 0)
        _exit(tine__fork_generation() != generation ? 0 : 1);
    child_join(&child);
}

/* ---- what a process has of its own ----------------------------------------------------------- */

struct counter {
    struct tine__fork_own made;
    int at, zero;
};

static struct tine__fork_own *_Atomic counters;

static void count_on(void *made, const void *of_parent)
{
    struct counter *own = made;

    own->at = of_parent != NULL ? ((const struct counter *)of_parent)->at + 10 : 1;
}

static struct counter *own_counter(void)
{
    return tine__fork_own(&counters, sizeof(struct counter), count_on);
}

static void check_counter(void *parents)
{
    struct counter *own = own_counter();

    ck_assert_ptr_nonnull(own);
    ck_assert_ptr_ne(own, parents);
    ck_assert_ptr_eq(own->made.of_parent, parents);
    ck_assert_uint_eq(own->made.generation, tine__fork_generation());
    ck_assert_int_eq(own->at, 11);
    ck_assert_int_eq(own->zero, 0);
    own->at = 100;
    ck_assert_ptr_eq(own_counter(), own);
}

TEST(a_child_makes_its_own_from_what_its_parent_has)
{
    struct counter *own = own_counter();
    struct child child;

    ck_assert_ptr_nonnull(own);
    ck_assert_ptr_null(own->made.of_parent);
    ck_assert_int_eq(own->at, 1);
    child = child_start(check_counter, own);
    child_join(&child);
    ck_assert_ptr_eq(own_counter(), own);
    ck_assert_int_eq(own->at, 1);
}

TEST(what_is_its_own_may_be_zeros)
{
    static struct tine__fork_own *_Atomic place;
    struct counter *own = tine__fork_own(&place, sizeof *own, NULL);

    ck_assert_ptr_nonnull(own);
    ck_assert_int_eq(own->at, 0);
}

static void *find_in_thread(void *context)
{
    struct thread_arguments *arguments = context;

    pthread_barrier_wait(&arguments->threads->start);
    atomic_store(&arguments->threads->seen[arguments->index], (uintptr_t)own_counter());
    return NULL;
}

TEST(threads_have_the_same_of_their_process, .loop_end = 20)
{
    struct threads threads;

    in_threads(&threads, find_in_thread);
    for (int i = 0; i < THREADS; i++)
        ck_assert_uint_eq(threads.seen[i], (uintptr_t)own_counter());
}

SUITE("lib/fork")
