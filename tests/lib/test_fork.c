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

static void ask_in_threads(void *unused)
{
    struct threads threads;
    struct thread_arguments arguments[THREADS];
    pthread_t ids[THREADS];

    (void)unused;
    pthread_barrier_init(&threads.start, NULL, THREADS);
    for (int i = 0; i < THREADS; i++) {
        arguments[i] = (struct thread_arguments){&threads, i};
        ck_assert_int_eq(pthread_create(&ids[i], NULL, ask_in_thread, &arguments[i]), 0);
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(ids[i], NULL);
    for (int i = 0; i < THREADS; i++)
        ck_assert_uint_eq(threads.seen[i], tine__fork_generation());
    pthread_barrier_destroy(&threads.start);
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

SUITE("lib/fork")
