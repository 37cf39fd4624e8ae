/* SPDX-License-Identifier: MIT */
/*
 * Producers and consumers of a queue are killed and stopped at random instants. A book in shared
 * memory says of each item whether it was put, how often it was got and whether it was done.
 * Nothing that was put is lost where there are leases, nothing comes twice but as a second
 * delivery, nothing is torn, and nobody hangs.
 */
#include <tine.h>

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/support/children.h"
#include "tests/support/heap_first.h"
#include "tests/support/hunt.h"
#include "tests/support/random.h"
#include "tests/support/samples.h"
#include "tests/support/suite.h"
#include "tests/support/wait.h"

enum { PARTIES = 3, KILLS = 50, ITEMS_MAX = 1 << 20, ROOM = 20 };

/* One item. */
struct mark {
    _Atomic uint8_t begun, put, got, done;
};

struct book {
    tine_queue *queue;
    tine_queue_options options;
    size_t size; /* of the largest item */
    unsigned char *bytes;
    _Atomic uint32_t next;
    _Atomic uint64_t total;
    _Atomic uint64_t seed;
    _Atomic bool stop;
    uint32_t kills[2]; /* of producers, of consumers */
    struct mark marks[ITEMS_MAX];
};

struct record {
    uint64_t id;
    uint64_t size;
};

/* ---- the parties ----------------------------------------------------------------------------- */

static void fill(unsigned char *bytes, struct record record)
{
    memset(bytes, (int)(record.id * 7 + 1), record.size);
    memcpy(bytes, &record, record.size < sizeof record ? record.size : sizeof record);
}

static uint64_t check_whole(const unsigned char *bytes, size_t size)
{
    struct record record;

    ck_assert_uint_ge(size, sizeof record);
    memcpy(&record, bytes, sizeof record);
    ck_assert_uint_eq(record.size, size);
    ck_assert_uint_lt(record.id, ITEMS_MAX);
    for (size_t i = sizeof record; i < size; i += size < 10000 ? 1 : 1009)
        ck_assert_uint_eq(bytes[i], (unsigned char)(record.id * 7 + 1));
    if (size > sizeof record)
        ck_assert_uint_eq(bytes[size - 1], (unsigned char)(record.id * 7 + 1));
    return record.id;
}

static void produce(void *context)
{
    struct book *book = context;

    random_fork(atomic_fetch_add(&book->seed, 1));
    while (!book->stop) {
        struct record record = {.id = atomic_fetch_add(&book->next, 1)};

        if (record.id >= ITEMS_MAX)
            return;
        record.size = sizeof record;
        if (book->size > sizeof record)
            record.size += random_below(2) == 0 ? book->size - sizeof record
                                                : random_below(book->size - sizeof record);
        fill(book->bytes, record);
        book->marks[record.id].begun = 1;
        ck_assert_ok(tine_queue_put_bytes(book->queue, book->bytes, record.size,
                                          (int64_t)random_below(3), TINE_SEC(600)));
        book->marks[record.id].put = 1;
    }
}

static void consume_one(struct book *book, tine_queue_item *item)
{
    size_t size;
    const unsigned char *bytes = tine_queue_item_bytes(item, &size);
    struct mark *mark = &book->marks[check_whole(bytes, size)];
    uint8_t before = atomic_fetch_add(&mark->got, 1);

    ck_assert_uint_eq(mark->begun, 1);
    ck_assert_msg(before == 0 || tine_queue_item_deliveries(item) > 1, "twice, but not so counted");
    if (book->options.joinable) {
        ck_assert_ok(tine_queue_item_done(item));
        atomic_fetch_add(&mark->done, 1);
    }
    tine_queue_item_free(item);
    atomic_fetch_add(&book->total, 1);
}

static void consume(void *context)
{
    struct book *book = context;
    tine_queue_item *item;
    int rc;

    random_fork(atomic_fetch_add(&book->seed, 1));
    while ((rc = tine_queue_get_item(book->queue, TINE_SEC(600), &item)) == 0)
        consume_one(book, item);
    ck_assert_rc(rc, -ESHUTDOWN);
}

/* ---- a round --------------------------------------------------------------------------------- */

struct party {
    struct child child;
    void (*body)(void *);
};

/*
 * While one is stopped wherever it is, the others get on: but for large items, for which it may
 * have been stopped in the heap's lock, and where there is a ranking.
 */
static void stop_for_a_while(struct book *book, struct party *party)
{
    uint64_t total;

    child_stop(&party->child);
    total = book->total;
    if (book->options.order == TINE_FIFO && book->size < sizeof(struct record))
        ck_assert_eventually(book->total > total + 10 || book->next >= ITEMS_MAX);
    child_continue(&party->child);
}

static void strike(struct book *book, struct party *parties)
{
    struct party *party = &parties[random_below((uint64_t)2 * PARTIES)];

    pause_randomly(TINE_MS(2));
    if (random_below(5) == 0)
        stop_for_a_while(book, party);
    child_kill(&party->child);
    book->kills[party->body == consume]++;
    party->child = child_start(party->body, book);
}

static void end_round(struct book *book, struct party *parties)
{
    book->stop = true;
    for (int i = 0; i < PARTIES; i++)
        child_join(&parties[i].child);
    if (book->options.joinable)
        ck_assert_ok(tine_queue_join(book->queue, TINE_SEC(600), NULL));
    ck_assert_ok(tine_queue_shutdown(book->queue, 0));
    for (int i = PARTIES; i < 2 * PARTIES; i++)
        child_join(&parties[i].child);
}

/* What a killed one had in hand is all that can be missing. */
static void check_book(const struct book *book)
{
    uint32_t not_put = 0, not_got = 0, not_done = 0;

    for (uint32_t id = 0; id < book->next && id < ITEMS_MAX; id++) {
        const struct mark *mark = &book->marks[id];

        not_put += mark->begun && !mark->put;
        not_got += mark->put && mark->got == 0;
        not_done += mark->got > 0 && mark->done == 0;
        ck_assert_uint_le(mark->done, 1);
        ck_assert_uint_le(mark->got, book->options.joinable ? 255 : 1);
    }
    ck_assert_uint_le(not_put, book->kills[0]);
    if (book->options.joinable) {
        ck_assert_uint_eq(not_got, 0);
        ck_assert_uint_le(not_done, book->kills[1]);
    } else {
        ck_assert_uint_le(not_got, book->kills[1]);
    }
}

static uint64_t used_blocks(void)
{
    tine_heap_counts counts;

    ck_assert_ok(tine_heap_stats(&counts));
    return counts.used_blocks;
}

static void run_round(const tine_queue_options *options, size_t size, size_t kills)
{
    struct book *book = shared_memory(sizeof *book);
    struct party parties[2 * PARTIES];
    uint64_t before;

    book->options = *options;
    book->size = size;
    book->bytes = malloc(size < sizeof(struct record) ? sizeof(struct record) : size);
    tine_free(tine_alloc(1));
    before = used_blocks();
    ck_assert_ok(tine_queue_open(&book->queue, options));
    for (int i = 0; i < 2 * PARTIES; i++) {
        parties[i].body = i < PARTIES ? produce : consume;
        parties[i].child = child_start(parties[i].body, book);
    }
    for (size_t k = 0; k < kills; k++)
        strike(book, parties);
    end_round(book, parties);
    check_book(book);
    tine_queue_close(book->queue);
    ck_assert_uint_le(used_blocks(), before + kills + 1); /* a kill may take a block along */
    free(book->bytes);
}

HEAP_BEFORE_TESTS

static const size_t sizes[] = {1, 100, 63 << 10, 64 << 10, 65 << 10, 1 << 20, 64 << 20};
#define SIZES ((int)(sizeof sizes / sizeof sizes[0]))

static void kill_for_each_size(const tine_queue_options *options, int index)
{
    size_t kills = kills_wanted(KILLS);

    if (sizes[index] > 1 << 20)
        kills = kills / 10 + 1; /* each of which takes that much memory along */
    for (size_t done = 0; done < kills; done += KILLS)
        run_round(options, sizes[index], kills - done < KILLS ? kills - done : KILLS);
}

TEST(nothing_is_lost_where_there_are_leases, .kills = KILLS, .loop_end = SIZES, .timeout_s = 60)
{
    kill_for_each_size(&(tine_queue_options){.order = TINE_FIFO, .maxsize = ROOM, .joinable = 1},
                       loop_index);
}

TEST(nothing_comes_twice_without_leases, .kills = KILLS, .loop_end = SIZES, .timeout_s = 60)
{
    kill_for_each_size(&(tine_queue_options){.order = TINE_FIFO, .maxsize = ROOM}, loop_index);
}

/* Of few sizes: what differs is not where the bytes lie. */
static int chosen(int index)
{
    return index == 0 ? 1 : 4;
}

TEST(the_same_by_priority, .kills = KILLS, .loop_end = 2, .timeout_s = 60)
{
    kill_for_each_size(
        &(tine_queue_options){.order = TINE_PRIORITY, .maxsize = ROOM, .joinable = 1},
        chosen(loop_index));
}

TEST(the_same_with_a_limit_of_bytes, .kills = KILLS, .loop_end = 2, .timeout_s = 60)
{
    kill_for_each_size(&(tine_queue_options){.order = TINE_LIFO,
                                             .maxbytes = 3 * sizes[loop_index] + 100,
                                             .joinable = 1},
                       loop_index);
}

/* ---- how soon -------------------------------------------------------------------------------- */

struct hold {
    tine_queue *queue;
    struct gate *gate;
};

static void hold_an_item(void *context)
{
    struct hold *hold = context;

    ck_assert_ok(tine_queue_get(hold->queue, TINE_FOREVER, "q", NULL));
    gate_raise(hold->gate);
    pause();
}

TEST(the_items_of_the_dead_come_again_within_100_ms, .kills = KILLS / 2, .timeout_s = 60)
{
    struct samples samples = {.name = "queue.killed.redelivered",
                              .bound_ns = (uint64_t)TINE_MS(100)};
    struct hold hold = {.gate = gate_new()};
    size_t kills = kills_wanted(KILLS / 2);
    int64_t number;

    ck_assert_ok(tine_queue_open(&hold.queue, &(tine_queue_options){.joinable = 1}));
    for (size_t k = 1; k <= kills && k <= 500; k++) {
        struct child child;
        int64_t death;

        ck_assert_ok(tine_queue_put(hold.queue, 0, "q", (int64_t)k));
        child = child_start(hold_an_item, &hold);
        gate_await(hold.gate, (uint32_t)k);
        child_kill(&child);
        death = now_ns();
        ck_assert_ok(tine_queue_get(hold.queue, TINE_FOREVER, "q", &number));
        samples_add(&samples, (uint64_t)(now_ns() - death));
        ck_assert_int_eq(number, (int64_t)k);
        ck_assert_ok(tine_queue_task_done(hold.queue));
    }
    samples_end(&samples);
    tine_queue_close(hold.queue);
}

TEST(join_returns_within_100_ms_of_the_death_that_lost_the_last, .kills = KILLS / 2,
     .timeout_s = 60)
{
    struct samples samples = {.name = "queue.killed.lost", .bound_ns = (uint64_t)TINE_MS(100)};
    struct hold hold = {.gate = gate_new()};
    size_t kills = kills_wanted(KILLS / 2);

    ck_assert_ok(tine_queue_open(&hold.queue, &(tine_queue_options){.joinable = 1, .lose = 1}));
    for (size_t k = 1; k <= kills && k <= 500; k++) {
        struct child child;
        uint64_t lost;
        int64_t death;

        ck_assert_ok(tine_queue_put(hold.queue, 0, "q", (int64_t)k));
        child = child_start(hold_an_item, &hold);
        gate_await(hold.gate, (uint32_t)k);
        child_kill(&child);
        death = now_ns();
        ck_assert_ok(tine_queue_join(hold.queue, TINE_FOREVER, &lost));
        samples_add(&samples, (uint64_t)(now_ns() - death));
        ck_assert_uint_eq(lost, k);
    }
    samples_end(&samples);
    tine_queue_close(hold.queue);
}

/* ---- two that take turns --------------------------------------------------------------------- */

enum { TURNS = 100 };

struct rivals {
    tine_queue *queue;
    struct gate *got;
    _Atomic int64_t got_ns;
};

static void take_what_comes(void *context)
{
    struct rivals *rivals = context;

    while (tine_queue_get(rivals->queue, TINE_FOREVER, "n") == 0) {
        rivals->got_ns = now_ns();
        gate_raise(rivals->got);
    }
}

static void put_one(struct rivals *rivals, uint32_t *put)
{
    ck_assert_ok(tine_queue_put(rivals->queue, TINE_FOREVER, "n"));
    gate_await(rivals->got, ++*put);
}

/*
 * One of them takes an item, the other is woken for it in vain, and sleeps where nobody wakes it.
 * Then the one that is awake dies, or is stopped, with nothing in hand.
 */
TEST(a_consumer_that_let_another_take_all_is_there_when_that_dies, .kills = KILLS, .timeout_s = 60)
{
    struct samples samples = {.name = "queue.killed.taken_by_the_other",
                              .bound_ns = (uint64_t)TINE_MS(50)};
    struct rivals *rivals = shared_memory(sizeof *rivals);
    struct child children[2];
    size_t kills = kills_wanted(KILLS);
    uint32_t put = 0;

    rivals->got = gate_new();
    ck_assert_ok(tine_queue_open(&rivals->queue, NULL));
    for (int i = 0; i < 2; i++)
        children[i] = child_start(take_what_comes, rivals);
    for (size_t k = 0; k < kills; k++) {
        struct child *victim = &children[random_below(2)];
        bool stopped = random_below(4) == 0;
        int64_t before;

        for (int i = 0; i < TURNS; i++)
            put_one(rivals, &put);
        if (stopped)
            child_stop(victim);
        else
            child_kill(victim);
        before = now_ns();
        put_one(rivals, &put);
        samples_add(&samples, (uint64_t)(rivals->got_ns - before));
        if (stopped)
            child_kill(victim);
        *victim = child_start(take_what_comes, rivals);
    }
    for (int i = 0; i < 2; i++)
        child_kill(&children[i]);
    samples_end(&samples);
    tine_queue_close(rivals->queue);
}

SUITE("kill/queue")
