/* SPDX-License-Identifier: MIT */
/*
 * System calls of the heap that fail: the k-th, for every k until all goes well. The program is
 * linked so that calls of the functions of lib/sys come here first (ld --wrap).
 */
#include <tine/heap.h>

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "lib/sys.h"
#include "shm/heap.h"
#include "tests/shm/heap_help.h"
#include "tests/support/children.h"
#include "tests/support/failing.h"

static int failure; /* what the failing call returns */

FAILING_AS(int, tine__sys_memfd, failure, (const char *name), (name))
FAILING_AS(int, tine__sys_resize, failure, (int fd, size_t size), (fd, size))
FAILING_AS(int, tine__sys_map_at, failure, (void *address, size_t size, int fd),
           (address, size, fd))
FAILING_AS(int, tine__sys_commit, failure, (int fd, size_t from, size_t size), (fd, from, size))
FAILING_AS(int, tine__sys_punch, failure, (int fd, size_t from, size_t size), (fd, from, size))

/* Uses the heap in all ways that call the system; false: some call gave NULL. */
static bool use(void)
{
    void *blocks[6];
    bool complete = true;

    for (size_t i = 0; i < 6; i++) {
        size_t size = i < 5 ? (size_t)100 << (3 * i) : (size_t)70 << 20;

        blocks[i] = tine_alloc(size);
        complete = complete && blocks[i] != NULL;
        if (blocks[i] != NULL)
            memset(blocks[i], 1, size < 1000000 ? size : 1000000);
    }
    for (size_t i = 0; i < 6; i++)
        tine_free(blocks[i]);
    return complete;
}

static void fail_each(void *unused)
{
    uint64_t used = 0;
    bool complete = false;
    tine_heap_report report;

    (void)unused;
    for (int k = 1; k < 1000; k++) {
        failing.until = k;
        failing.failed = 0;
        complete = use();
        failing.until = 0;
        if (failing.failed == 0)
            break;
        ck_assert_ok(tine_heap_check(&report));
        ck_assert_uint_eq(report.used_blocks, used);
        /* Only what could neither be had nor given back is lost: a punch that failed. */
        ck_assert_msg(use(), "no memory after the fault was over");
    }
    ck_assert(complete);
    ck_assert_ok(tine_heap_check(NULL));
}

static void fail_each_in_fresh_process(int code, bool lasting)
{
    struct child child;

    failure = code;
    failing.stays = lasting;
    child = child_start(fail_each, NULL);
    child_join(&child);
}

TEST(each_call_in_turn_fails_for_lack_of_space)
{
    fail_each_in_fresh_process(-ENOSPC, false);
}

TEST(each_call_in_turn_fails_for_lack_of_memory)
{
    fail_each_in_fresh_process(-ENOMEM, false);
}

TEST(each_call_and_all_after_it_fail)
{
    fail_each_in_fresh_process(-ENOMEM, true);
}

static void open_without(void *context)
{
    failing.until = 1;
    failure = *(int *)context;
    ck_assert_rc(tine__heap_open(), failure);
    ck_assert_ok(tine__heap_open());
    ck_assert(use());
}

TEST(what_opening_cannot_get_is_told_and_tried_again, .loop_end = 3)
{
    static int codes[] = {-EMFILE, -ENFILE, -ENOMEM};
    struct child child = child_start(open_without, &codes[loop_index]);

    child_join(&child);
}

SUITE("shm/heap_faults")
