/* SPDX-License-Identifier: MIT */
/* Who lives: zombies, pids that were used before, main threads that left early. */
#include "shm/owner.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shm/heap.h"
#include "tests/shm/heap_help.h"
#include "tests/support/children.h"
#include "tests/support/proc.h"
#include "tests/support/wait.h"

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x80 /* Linux 5.6 */
#endif

HEAP_BEFORE_TESTS

struct report {
    struct tine__owner owner;
    struct gate *ready;
    struct gate *end;
    uint64_t word;
    int row;
};

static void identify_and_wait(void *context)
{
    struct report *report = context;

    tine__owner_identify(&report->owner);
    report->row = tine__owner_self();
    gate_raise(report->ready);
    gate_await(report->end, 1);
}

static struct report *report_new(void)
{
    struct report *report = shared_memory(sizeof *report);

    report->ready = gate_new();
    report->end = gate_new();
    return report;
}

TEST(a_process_lives_until_it_is_a_zombie)
{
    struct report *report = report_new();
    struct child child = child_start(identify_and_wait, report);
    siginfo_t info;

    gate_await(report->ready, 1);
    ck_assert(tine__owner_lives(&report->owner));
    ck_assert_int_eq(report->owner.pid, child.pid);
    gate_raise(report->end);
    ck_assert_int_eq(waitid(P_PID, (id_t)child.pid, &info, WEXITED | WNOWAIT), 0);
    ck_assert(!tine__owner_lives(&report->owner));
    child_join(&child);
    ck_assert(!tine__owner_lives(&report->owner));
}

TEST(another_process_with_the_same_pid_is_not_taken_for_it)
{
    struct tine__owner self;

    tine__owner_identify(&self);
    ck_assert(tine__owner_lives(&self));
    self.start++;
    ck_assert(!tine__owner_lives(&self));
    self.start = 0; /* not known: the pid has to do */
    ck_assert(tine__owner_lives(&self));
    self.pid = 0;
    ck_assert(!tine__owner_lives(&self));
    self.pid = -1;
    ck_assert(!tine__owner_lives(&self));
}

static void *go_on(void *context)
{
    struct report *report = context;

    gate_raise(report->ready);
    gate_await(report->end, 1);
    _exit(0);
}

static void leave_main_thread(void *context)
{
    struct report *report = context;
    pthread_t thread;

    tine__owner_identify(&report->owner);
    ck_assert_int_eq(pthread_create(&thread, NULL, go_on, report), 0);
    pthread_exit(NULL);
}

static bool is_zombie(pid_t pid)
{
    struct proc proc;

    return proc_read(pid, &proc) && proc.state == 'Z';
}

TEST(a_process_whose_main_thread_has_left_lives)
{
    struct report *report = report_new();
    struct child child = child_start(leave_main_thread, report);

    gate_await(report->ready, 1);
    ck_assert_eventually(is_zombie(child.pid));
    ck_assert(tine__owner_lives(&report->owner));
    gate_raise(report->end);
    child_join(&child);
    ck_assert(!tine__owner_lives(&report->owner));
}

TEST(names_with_spaces_and_parentheses_do_not_confuse)
{
    struct tine__owner self;

    prctl(PR_SET_NAME, "a) Z 1 (b");
    tine__owner_identify(&self);
    ck_assert_uint_ne(self.start, 0);
    ck_assert(tine__owner_lives(&self));
}

TEST(each_process_has_a_row_of_its_own_and_the_same_one_always)
{
    struct report *report = report_new();
    int self = tine__owner_self();
    struct child child;

    ck_assert_int_ge(self, 0);
    ck_assert_int_eq(tine__owner_self(), self);
    child = child_start(identify_and_wait, report);
    gate_await(report->ready, 1);
    ck_assert_int_ge(report->row, 0);
    ck_assert_int_ne(report->row, self);
    ck_assert(tine__owner_alive((uint32_t)self));
    ck_assert(tine__owner_alive((uint32_t)report->row));
    gate_raise(report->end);
    child_join(&child);
    ck_assert(!tine__owner_alive((uint32_t)report->row));
    ck_assert(!tine__owner_alive(1u << 30));
}

TEST(a_word_tells_a_process_until_its_death)
{
    struct report *report = report_new();
    struct child child = child_start(identify_and_wait, report);
    uint64_t self = tine__owner_word(), word;

    gate_await(report->ready, 1);
    word = (uint64_t)child.pid << 2 | (report->owner.start & ((1u << 28) - 1)) << 24 |
           (self & ~(((uint64_t)1 << 52) - 1));
    ck_assert_int_eq(tine__owner_word_pid(self), getpid());
    ck_assert_uint_eq(self & TINE__OWNER_MARKS, 0);
    ck_assert(tine__owner_word_lives(self | TINE__OWNER_MARKS));
    ck_assert(tine__owner_word_same(self, self | 1));
    ck_assert(!tine__owner_word_same(self, word));
    ck_assert(tine__owner_word_lives(word));
    ck_assert(!tine__owner_word_lives(word + ((uint64_t)1 << 24))); /* another start */
    ck_assert(!tine__owner_word_lives(0));
    gate_raise(report->end);
    child_join(&child);
    ck_assert(!tine__owner_word_lives(word));
    ck_assert(tine__owner_word_lives(word ^ (uint64_t)1 << 60)); /* of another namespace */
}

/* ---- without a descriptor left --------------------------------------------------------------- */

static rlim_t set_descriptor_limit(rlim_t soft)
{
    struct rlimit limit;
    rlim_t before;

    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    before = limit.rlim_cur;
    limit.rlim_cur = soft;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    return before;
}

TEST(a_zombie_is_found_without_a_descriptor, .loop_end = 2)
{
    struct report *report = report_new();
    struct child child =
        child_start(loop_index == 0 ? identify_and_wait : leave_main_thread, report);
    siginfo_t info;
    rlim_t before;

    gate_await(report->ready, 1);
    ck_assert_eventually(loop_index == 0 || is_zombie(child.pid));
    before = set_descriptor_limit(0);
    ck_assert(tine__owner_lives(&report->owner));
    gate_raise(report->end);
    ck_assert_int_eq(waitid(P_PID, (id_t)child.pid, &info, WEXITED | WNOWAIT), 0);
    ck_assert(!tine__owner_lives(&report->owner));
    set_descriptor_limit(before);
    child_join(&child);
}

static void have_another_word(void *context)
{
    ck_assert(!tine__owner_word_same(tine__owner_word(), *(uint64_t *)context));
    ck_assert_int_eq(tine__owner_word_pid(tine__owner_word()), getpid());
}

TEST(a_forked_child_has_a_word_of_its_own)
{
    uint64_t self = tine__owner_word();
    struct child child = child_start(have_another_word, &self);

    child_join(&child);
    ck_assert_uint_eq(tine__owner_word(), self);
}

static void judge(void *context)
{
    const struct report *report = context;

    ck_assert(tine__owner_word_lives(report->word));
}

/* There the start times of all processes are shifted: they can't be compared. */
TEST(a_process_of_another_time_namespace_is_not_judged)
{
    struct report *report = report_new();
    int home = open("/proc/self/ns/time_for_children", O_RDONLY | O_CLOEXEC), offsets;
    struct child child;

    report->word = tine__owner_word();
    if (home < 0 || unshare(CLONE_NEWTIME) < 0)
        SKIP("no time namespace: %s", strerror(errno));
    offsets = open("/proc/self/timens_offsets", O_WRONLY | O_CLOEXEC);
    ck_assert_int_ge(offsets, 0);
    ck_assert_int_gt(dprintf(offsets, "boottime 100000 0"), 0);
    close(offsets);
    child = child_start(judge, report);
    child_join(&child);
    if (!suite_under_tsan()) /* only a single thread may */
        ck_assert_int_eq(setns(home, CLONE_NEWTIME), 0);
    close(home);
}

static void *tell_word(void *word)
{
    *(uint64_t *)word = tine__owner_word_thread();
    ck_assert(tine__owner_word_lives(*(uint64_t *)word));
    return NULL;
}

TEST(a_thread_is_judged_like_a_process)
{
    uint64_t word = 0;
    pthread_t thread;

    ck_assert_uint_eq(tine__owner_word_thread(), tine__owner_word());
    ck_assert_int_eq(pthread_create(&thread, NULL, tell_word, &word), 0);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert(!tine__owner_word_same(word, tine__owner_word()));
    ck_assert_eventually(!tine__owner_word_lives(word));
}

SUITE("shm/owner")
