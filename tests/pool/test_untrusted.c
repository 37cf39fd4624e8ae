/* SPDX-License-Identifier: MIT */
/* Untrusted workers: what their guests can do and what they have not, and their lies. */
#include <tine/pool.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <tine/codec.h>
#include <tine/heap.h>
#include <tine/imap.h>
#include <tine/worker.h>

#include "lib/codec.h"
#include "pool/guest.h"
#include "tests/pool/pools.h"
#include "tests/pool/untrusted.h"
#include "tests/support/suite.h"

/* ---- what works ------------------------------------------------------------------------------ */

TEST(tasks_run_and_give_results)
{
    uint64_t blocks = heap_blocks();
    tine_pool *pool = open_untrusted(2);
    tine_buffer args = {0};
    tine_results *results;
    int64_t number;

    assert_works(pool);
    for (int64_t i = 0; i < 100; i++)
        ck_assert_rc(tine_pack(&args, "[q]", i), 0);
    ck_assert_rc(tine_pool_starmap(&results, pool, increment, &args, NULL), 0);
    for (size_t i = 0; i < 100; i++) {
        ck_assert_rc(tine_results_get(results, i, "q", &number), 0);
        ck_assert_int_eq(number, (int64_t)i + 1);
    }
    tine_results_close(results);
    tine_buffer_free(&args);
    tine_pool_close(pool);
    ck_assert_uint_eq(heap_blocks(), blocks);
}

static int next_number(tine_buffer *args, void *user)
{
    int64_t *left = user;

    if (*left == 0)
        return 0;
    return tine_pack(args, "[q]", (*left)--) < 0 ? -ENOMEM : 1;
}

TEST(streams_of_tasks_run)
{
    tine_pool *pool = open_untrusted(2);
    int64_t left = 50, number;
    tine_source source = {.next = next_number, .user = &left};
    tine_imap *imap;

    ck_assert_rc(tine_pool_imap(&imap, pool, increment, &source, NULL), 0);
    for (int64_t i = 50; i > 0; i--) {
        ck_assert_rc(tine_imap_next(imap, TINE_FOREVER, "q", &number), 1);
        ck_assert_int_eq(number, i + 1);
    }
    tine_imap_close(imap);
    tine_pool_close(pool);
}

static int repeat_context(tine_call *call)
{
    const void *bytes;
    size_t size;
    int rc = tine_args(call, "y", &bytes, &size);

    if (rc < 0)
        return rc;
    if (strcmp(tine_call_context(call), "all of it") != 0 || tine_worker_index() != 0)
        return tine_fail(call, -EBADMSG, "another context");
    return tine_return(call, "y", bytes, size);
}

TEST(large_values_go_both_ways)
{
    size_t size = (size_t)3 << 20, got;
    char *bytes = malloc(size), context[] = "all of it";
    tine_job_options options = {.context = context, .context_size = sizeof context};
    tine_pool *pool = open_untrusted(1);
    tine_results *results;
    const void *back;

    ck_assert_ptr_nonnull(bytes);
    for (size_t i = 0; i < size; i++)
        bytes[i] = (char)(i * 7 + i / 1000);
    ck_assert_rc(tine_pool_apply(&results, pool, repeat_context, &options, "y", bytes, size), 0);
    ck_assert_rc(tine_results_get(results, 0, "y", &back, &got), 0);
    ck_assert_uint_eq(got, size);
    ck_assert_int_eq(memcmp(back, bytes, size), 0);
    tine_results_close(results);
    tine_pool_close(pool);
    free(bytes);
}

static int fail_in_words(tine_call *call)
{
    return tine_fail(call, -EDOM, "no %s", "way");
}

TEST(failures_come_with_their_words)
{
    tine_pool *pool = open_untrusted(1);
    tine_failure failure;

    ck_assert_rc(apply(pool, fail_in_words, 0, &failure, NULL), TINE_EREMOTE);
    ck_assert_int_eq(failure.error, -EDOM);
    ck_assert_str_eq(failure.message, "no way");
    assert_works(pool);
    tine_pool_close(pool);
}

static int return_too_much(tine_call *call)
{
    static const char bytes[1000];

    return tine_return(call, "y", bytes, sizeof bytes);
}

TEST(results_have_their_limit)
{
    tine_pool *pool = open_untrusted(1);
    tine_job_options options = {.result_bytes_max = 100};
    tine_results *results;

    ck_assert_rc(tine_pool_apply(&results, pool, return_too_much, &options, ""), TINE_ELIMIT);
    assert_works(pool);
    tine_pool_close(pool);
}

static int begin(void *context, void **state)
{
    *state = malloc(1);
    return strcmp(context, "for all") == 0 && *state != NULL ? 0 : -EBADMSG;
}

static void end(void *context, void *state)
{
    (void)context;
    free(state);
}

static int has_state(tine_call *call)
{
    return tine_return(call, "q", (int64_t)(tine_worker_state() != NULL));
}

static int begin_badly(void *context, void **state)
{
    (void)context, (void)state;
    return tine_worker_fail(-ENXIO, "nothing to begin with");
}

TEST(the_initializer_runs_in_the_guest, .loop_end = 2)
{
    tine_pool_options options = {.workers = 1,
                                 .flags = TINE_POOL_UNTRUSTED,
                                 .initializer = loop_index == 0 ? begin : begin_badly,
                                 .finalizer = end,
                                 .context = "for all",
                                 .context_size = 8};
    tine_failure failure = {0};
    int64_t state = 0;
    tine_pool *pool;

    tine_pool_close(open_untrusted(1)); /* or skip */
    ck_assert_rc(tine_pool_open(&pool, &options), 0);
    if (loop_index == 0) {
        ck_assert_rc(apply(pool, has_state, 0, NULL, &state), 0);
        ck_assert_int_eq(state, 1);
        ck_assert_rc(tine_pool_join(pool, TINE_FOREVER), 0);
    } else {
        ck_assert_rc(apply(pool, has_state, 0, &failure, &state), TINE_EBROKEN);
        ck_assert_str_eq(failure.message, "nothing to begin with");
    }
    tine_pool_close(pool);
}

/* ---- what a guest has not -------------------------------------------------------------------- */

static int look_at_page(tine_call *call)
{
    unsigned char there;
    int64_t page;
    int rc = tine_args(call, "q", &page);

    if (rc < 0)
        return rc;
    rc = mincore((void *)(uintptr_t)page, 1, &there) < 0 ? errno : 0;
    return tine_return(call, "q", (int64_t)rc);
}

static int read_page(tine_call *call)
{
    int64_t page;
    int rc = tine_args(call, "q", &page);

    return rc < 0 ? rc : tine_return(call, "q", (int64_t) * (volatile char *)(uintptr_t)page);
}

TEST(it_has_no_family_heap)
{
    char *block = tine_alloc(8192);
    int64_t page = (int64_t)(((uintptr_t)block + 4095) & ~(uintptr_t)4095), error = 0;
    tine_pool *pool = open_untrusted(1);
    tine_failure failure;

    ck_assert_ptr_nonnull(block);
    ck_assert_rc(apply(pool, look_at_page, page, NULL, &error), 0);
    ck_assert_int_eq(error, ENOMEM);
    ck_assert_rc(apply(pool, read_page, page, &failure, &error), TINE_EWORKER);
    ck_assert_msg(is_instrumented() || failure.signal == SIGSEGV, "%s", failure.message);
    assert_works(pool);
    tine_pool_close(pool);
    tine_free(block);
}

static int write_page(tine_call *call)
{
    int64_t page;
    int rc = tine_args(call, "q", &page);

    if (rc < 0)
        return rc;
    *(volatile char *)(uintptr_t)page = 1;
    return tine_return(call, "q", page);
}

/* The page is gone, or another's by now. */
TEST(nor_other_memory_that_is_shared)
{
    char *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    tine_pool *pool = open_untrusted(1);
    int64_t unused;

    ck_assert_ptr_ne(page, MAP_FAILED);
    (void)apply(pool, write_page, (int64_t)(uintptr_t)page, NULL, &unused);
    ck_assert_int_eq(page[0], 0);
    assert_works(pool);
    tine_pool_close(pool);
    munmap(page, 4096);
}

static int allocate(tine_call *call)
{
    return tine_return(call, "q", (int64_t)(tine_alloc(100) == NULL));
}

TEST(nor_does_it_make_one)
{
    tine_pool *pool = open_untrusted(1);
    int64_t none = 0;

    ck_assert_rc(apply(pool, allocate, 0, NULL, &none), 0);
    ck_assert_int_eq(none, 1);
    tine_pool_close(pool);
}

static int count_descriptors(tine_call *call)
{
    int64_t count = 0;

    for (int fd = 0; fd < 1024; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return tine_return(call, "q", count);
}

TEST(it_has_four_descriptors)
{
    tine_pool *pool = open_untrusted(1);
    int64_t count = 0;

    ck_assert_rc(apply(pool, count_descriptors, 0, NULL, &count), 0);
    ck_assert_int_le(count, 4);
    tine_pool_close(pool);
}

static int read_input(tine_call *call)
{
    char byte;

    return tine_return(call, "q", (int64_t)read(STDIN_FILENO, &byte, 1));
}

TEST(its_input_is_empty)
{
    int ends[2], saved = dup(STDIN_FILENO);
    int64_t got = -1;
    tine_pool *pool;

    ck_assert_int_eq(pipe(ends), 0);
    ck_assert_int_eq(write(ends[1], "x", 1), 1);
    ck_assert_int_eq(dup2(ends[0], STDIN_FILENO), STDIN_FILENO);
    pool = open_untrusted(1);
    ck_assert_rc(apply(pool, read_input, 0, NULL, &got), 0);
    ck_assert_int_eq(got, 0);
    tine_pool_close(pool);
    ck_assert_int_eq(dup2(saved, STDIN_FILENO), STDIN_FILENO);
    close(saved);
    close(ends[0]);
    close(ends[1]);
}

static int open_file(tine_call *call)
{
    return tine_return(call, "q", (int64_t)(open("/proc/self/maps", O_RDONLY) < 0 ? errno : 0));
}

TEST(it_computes_only)
{
    tine_pool *pool = open_untrusted(1);
    int64_t error = 0;

    ck_assert_rc(apply(pool, open_file, 0, NULL, &error), 0);
    ck_assert_int_eq(error, EPERM);
    tine_pool_close(pool);
}

static int item(const void *in, void *out, void *context)
{
    (void)in, (void)out, (void)context;
    return 0;
}

TEST(what_needs_shared_memory_is_refused)
{
    tine_pool *pool = open_untrusted(1), *none;
    int numbers[4] = {0};
    tine_map map = {.item = item, .in = numbers, .in_size = sizeof numbers[0], .n = 4};
    tine_job_options limited = {.task_timeout_ns = 1};
    tine_future *future;

    ck_assert_rc(tine_pool_for(pool, 10, tally_count, NULL), -ENOTSUP);
    ck_assert_rc(tine_pool_map(pool, &map, NULL), -ENOTSUP);
    ck_assert_rc(tine_pool_submit(&future, pool, increment, NULL, "p", NULL), -ENOTSUP);
    ck_assert_rc(tine_pool_submit(&future, pool, increment, NULL, "F", 1), -ENOTSUP);
    ck_assert_rc(tine_pool_submit(&future, pool, increment, NULL, "c", increment), -ENOTSUP);
    ck_assert_rc(tine_pool_submit(&future, pool, increment, &limited, ""), -ENOTSUP);
    ck_assert_rc(tine_pool_open(&none, &(tine_pool_options){.flags = TINE_POOL_UNTRUSTED,
                                                            .task_timeout_ns = 1}),
                 -ENOTSUP);
    assert_works(pool);
    tine_pool_close(pool);
}

/* ---- lies ------------------------------------------------------------------------------------ */

enum { NOISE, SHORT, NO_MAGIC, NO_NONCE, HUGE_SIZE, SIZE_WITH_CODE, LIES };

/* It knows nothing of the request: the number in it stays a guess. */
static int lie(tine_call *call)
{
    struct tine__guest_reply reply = {.magic = TINE__GUEST_MAGIC, .nonce = 1};
    int64_t how;
    size_t size = sizeof reply;
    int rc = tine_args(call, "q", &how);

    if (rc < 0)
        return rc;
    if (how == NOISE)
        memset(&reply, 0xa5, sizeof reply);
    if (how == NO_MAGIC)
        reply.magic = 0;
    if (how == SHORT)
        size = 11;
    if (how == HUGE_SIZE)
        reply.size = UINT64_MAX;
    if (how == SIZE_WITH_CODE) {
        reply.code = -1;
        reply.size = 10;
    }
    if (send(TINE__GUEST_SOCKET, &reply, size, MSG_NOSIGNAL) < 0)
        return -errno;
    return tine_return(call, "q", how);
}

TEST(what_is_no_reply_fails_the_item_and_no_other, .loop_end = LIES)
{
    tine_pool *pool = open_untrusted(1);
    tine_failure failure;
    int64_t unused;

    for (int i = 0; i < 3; i++) {
        ck_assert_rc(apply(pool, lie, loop_index, &failure, &unused), TINE_EFORMAT);
        ck_assert_str_eq(failure.message, "the untrusted process has sent what is no reply");
        assert_works(pool);
    }
    ck_assert_uint_eq(pool_counts(pool).deaths, 0);
    tine_pool_close(pool);
}

/* Outside of the family nobody can say what these mean. */
static int return_family(tine_call *call)
{
    uint8_t bytes[] = {0x91, 0xd7, 0, 0, 0, 0, 0, 0, 0, 0, 0}; /* [ext of 8 bytes] */
    int64_t type;
    int rc = tine_args(call, "q", &type);

    bytes[2] = (uint8_t)type;
    return rc < 0 ? rc : tine_return_packed(call, bytes, sizeof bytes);
}

TEST(nor_is_what_only_the_family_can_mean, .loop_end = TINE__EXT_HANDLE)
{
    tine_pool *pool = open_untrusted(1);
    int64_t unused;

    ck_assert_rc(apply(pool, return_family, loop_index + 1, NULL, &unused), TINE_EFORMAT);
    assert_works(pool);
    tine_pool_close(pool);
}

SUITE_OF_POOLS("pool/untrusted")
