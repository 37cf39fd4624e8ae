/* SPDX-License-Identifier: MIT */
/*
 * The frame of every test program.
 *
 *     #include "tests/support/suite.h"
 *
 *     TEST(get_times_out_when_empty)
 *     {
 *         ck_assert_rc(tine_queue_get(queue, TINE_MS(1), &item), -ETIMEDOUT);
 *     }
 *
 *     TEST(every_size_class_is_reused, .timeout_s = 60, .loop_end = 32)
 *     {
 *         use(loop_index);
 *     }
 *
 *     SUITE("shm/heap")
 *
 * Each TEST is a libcheck TCase of its own, in a process of its own, with a timeout. When its body
 * has returned, the test process itself must be as it was: no child (not even a zombie), the same
 * descriptors, threads, signal mask and dispositions, no name of its own in /dev/shm, and after a
 * grace no process left in its process group. libcheck checks none of that: it kills the group
 * silently.
 *
 * All ck_assert macros may be used in any process or thread that descends from the test by fork: a
 * failure there ends that process with status 99, and fails the test with the message.
 *
 * A watchdog prints what every thread of the test is doing before libcheck kills it. Seeds are
 * printed; TINE_SEED=N repeats one. `program NAME…` runs only the tests so called, `program --list`
 * lists them. CK_TIMEOUT_MULTIPLIER stretches all limits, for sanitizers and valgrind.
 */
#ifndef TINE_TESTS_SUITE_H
#define TINE_TESTS_SUITE_H

#include <check.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <tine/error.h>

struct test {
    const char *name;
    void (*body)(int loop_index);
    unsigned timeout_s; /* 0: 20 seconds; a hang is told after three times that */
    unsigned kills;     /* of a death test: how many are usual; its time grows with TINE_KILLS */
    int loop_end;       /* runs with loop_index 0 … loop_end - 1; 0: once */
    bool own_signals;   /* the test itself changes signal dispositions or the mask */
    bool may_orphan;    /* processes may outlive the test's end in its process group */
    const char *exempt; /* why it is not run: suite_exempt() */
    struct test *next;
    const TTest *check;
};

#define TEST(id, ...)                                                                              \
    static void id(int loop_index);                                                                \
    static struct test id##_test = {.name = #id, .body = id, ##__VA_ARGS__};                       \
                                                                                                   \
    static void id##_run(int loop_index)                                                           \
    {                                                                                              \
        suite_run(&id##_test, loop_index);                                                         \
    }                                                                                              \
                                                                                                   \
    __attribute__((constructor)) static void id##_add(void)                                        \
    {                                                                                              \
        static const TTest check = {#id, id##_run, __FILE__, __LINE__};                            \
                                                                                                   \
        id##_test.check = &check;                                                                  \
        suite_add(&id##_test);                                                                     \
    }                                                                                              \
    static void id(int loop_index CK_ATTRIBUTE_UNUSED)

/* The main function: exit status 0 all passed, 1 some failed, 77 all were skipped. */
#define SUITE(title)                                                                               \
    int main(int argc, char **argv)                                                                \
    {                                                                                              \
        return suite_main(title, argc, argv);                                                      \
    }

/*
 * The same of a program that is executed anew for its processes (tine/process.h). Family and heap
 * are there before the tests, so that their descriptors are no leaks of a test's.
 */
#define SUITE_WITH_INIT(title)                                                                     \
    int main(int argc, char **argv)                                                                \
    {                                                                                              \
        if (tine_init(&argc, &argv) < 0)                                                           \
            return 99;                                                                             \
        tine_free(tine_alloc(1));                                                                  \
        return suite_main(title, argc, argv);                                                      \
    }

/* Ends the test: it can't run here. The reason is printed. */
#define SKIP(...)                                                                                  \
    do {                                                                                           \
        suite_skip(__VA_ARGS__);                                                                   \
        return;                                                                                    \
    } while (0)

/* A result code is what it should be; the message names both. */
#define ck_assert_rc(call, expected)                                                               \
    do {                                                                                           \
        int64_t rc_ = (call), expected_ = (expected);                                              \
                                                                                                   \
        ck_assert_msg(rc_ == expected_, "%s is %jd (%s), not %jd (%s)", #call, (intmax_t)rc_,      \
                      tine_errname((int)rc_), (intmax_t)expected_, tine_errname((int)expected_));  \
    } while (0)

/* A result code is no error. */
#define ck_assert_ok(call)                                                                         \
    do {                                                                                           \
        int64_t rc_ = (call);                                                                      \
                                                                                                   \
        ck_assert_msg(rc_ >= 0, "%s is %jd (%s)", #call, (intmax_t)rc_, tine_errname((int)rc_));   \
    } while (0)

void suite_add(struct test *test);
void suite_run(const struct test *test, int loop_index);
/* Before suite_main(): the test is skipped, for this reason. There has to be one of that name. */
void suite_exempt(const char *name, const char *reason);
/* Before suite_main(): what each test's process does first and last, and is no leak of the
   test's. */
void suite_around(void (*before)(void), void (*after)(void));
int suite_main(const char *title, int argc, char **argv);
void suite_skip(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The test that is running, in any of its processes; NULL outside of one. */
const struct test *suite_current(void);
/* How much longer than usual everything may take here: CK_TIMEOUT_MULTIPLIER, at least 1. */
double suite_slowness(void);
/* Each of its processes has a thread more than it knows; a thread holds 64 locks at most. */
bool suite_under_tsan(void);
/* Limits of descriptors are valgrind's own there, and the kernel's are not what was set. */
bool suite_under_valgrind(void);

/*
 * What libcheck's macros call. They record their place and their failures in a pipe that belongs to
 * the test process alone, so in its descendants both must go elsewhere.
 */
#define _ck_assert_failed suite_failed
#define _mark_point       suite_mark
void suite_failed(const char *file, int line, const char *expression, const char *format, ...)
    __attribute__((noreturn, format(printf, 4, 5)));
void suite_mark(const char *file, int line);

#endif
