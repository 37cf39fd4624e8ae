/* SPDX-License-Identifier: MIT */
/* Workers are SIGKILLed while streams of calls run: every item is told at its place, once, lost or
   not. */
#include <tine.h>

#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include "tests/kill/load.h"
#include "tests/kill/methods.h"
#include "tests/support/random.h"
#include "tests/support/samples.h"
#include "tests/support/suite.h"

#define KILLS   50
#define WORKERS 3
#define ITEMS   400

static int square(tine_call *call)
{
    int64_t number;
    int rc = tine_args(call, "q", &number);

    for (volatile int i = 0; i < 20000; i++)
        ;
    return rc < 0 ? rc : tine_return(call, "q", number * number);
}

static int next_number(tine_buffer *args, void *user)
{
    int64_t *next = user;
    int rc;

    if (*next == ITEMS)
        return 0;
    rc = tine_pack(args, "[q]", (*next)++);
    return rc < 0 ? rc : 1;
}

struct stream {
    tine_imap *imap;
    int64_t next, seen, lost;
    bool unordered, told[ITEMS];
    tine_failure failure;
};

static void open_stream(struct stream *stream, tine_pool *pool, int32_t retries)
{
    tine_source source = {.next = next_number, .user = &stream->next};
    tine_job_options job = {
        .retries = retries, .chunk = 1 + random_below(4), .failure = &stream->failure};
    tine_imap_options options = {.job = &job, .window = 8 + random_below(100)};

    *stream = (struct stream){.unordered = random_below(2) == 0};
    ck_assert_ok((stream->unordered ? tine_pool_imap_unordered : tine_pool_imap)(
        &stream->imap, pool, square, &source, &options));
}

/* One result more; false: that was the end. */
static bool read_stream(struct stream *stream, const struct hunt *hunt)
{
    int64_t number = -1;
    int rc = tine_imap_next(stream->imap, TINE_FOREVER, "q", &number);
    uint64_t index = tine_imap_index(stream->imap);

    if (rc == 0)
        return false;
    ck_assert_uint_lt(index, ITEMS);
    ck_assert(!stream->told[index]);
    stream->told[index] = true;
    if (!stream->unordered)
        ck_assert_uint_eq(index, (uint64_t)stream->seen);
    stream->seen++;
    if (rc == 1) {
        ck_assert_int_eq(number, (int64_t)(index * index));
        return true;
    }
    ck_assert_rc(rc, TINE_EWORKER);
    ck_assert_uint_eq(stream->failure.index, index);
    ck_assert(stream->failure.pid == 0 || hunt_killed(hunt, stream->failure.pid));
    stream->lost++;
    return true;
}

TEST(streams_go_on_when_workers_die, .kills = KILLS, .timeout_s = 60, .loop_end = 2)
{
    int32_t retries = loop_index == 0 ? 0 : TINE_UNLIMITED;
    struct load_heap heap = load_heap_begin();
    size_t kills = kills_wanted(KILLS), lost = 0;
    tine_pool *pool = load_pool(WORKERS);
    struct stream stream;
    struct hunt hunt;

    hunt_begin(&hunt, getpid());
    while (hunt.total < kills) {
        int64_t at = (int64_t)random_below(ITEMS);

        hunt_forget(&hunt);
        open_stream(&stream, pool, retries);
        while (read_stream(&stream, &hunt))
            if (stream.seen == at)
                hunt_kill(&hunt, 0);
        ck_assert_int_eq(stream.seen, ITEMS);
        ck_assert_int_le(stream.lost, retries == 0 ? (int64_t)hunt.count : 0);
        lost += (size_t)stream.lost;
        tine_imap_close(stream.imap);
        load_await_size(pool, hunt.total);
    }
    printf("retries %d: %ju kills, %zu items lost\n", retries, (uintmax_t)hunt.total, lost);
    tine_pool_close(pool);
    load_heap_end(&heap, hunt.total);
}

SUITE_BY_METHOD("kill/imap")
