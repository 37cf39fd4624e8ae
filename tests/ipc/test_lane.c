/* SPDX-License-Identifier: MIT */
/* One lane, step by step: what a producer leaves, what a slow consumer meets, what can be looked
   for. */
#include "ipc/lane.h"

#include <stdlib.h>
#include <string.h>

#include "tests/support/suite.h"

enum { CAPACITY = 256, FIRST = 8, SECOND = 16 }; /* holders */

static struct tine__lane_shm *lane_new(void)
{
    struct tine__lane_shm *lane = aligned_alloc(64, sizeof *lane + CAPACITY);

    memset(lane, 0xff, sizeof *lane + CAPACITY);
    tine__lane_init(lane, CAPACITY, 0, FIRST);
    return lane;
}

static bool put(struct tine__lane_shm *lane, const void *bytes, uint32_t size)
{
    struct iovec part = {(void *)(uintptr_t)bytes, size};
    struct tine__place place;

    if (!tine__lane_reserve(lane, size, 0, &place))
        return false;
    tine__lane_fill(lane, &place, &part, 1);
    tine__lane_publish(lane, &place, size, 0, 0);
    return true;
}

static bool take(struct tine__lane_shm *lane, char *text)
{
    struct tine__record record;

    if (!tine__lane_peek(lane, &record))
        return false;
    tine__lane_copy(lane, &record, &(struct tine__parts){.rest = text});
    text[tine__record_size(record.word)] = '\0';
    return tine__lane_take(lane, &record);
}

static void expect(struct tine__lane_shm *lane, const char *text)
{
    char got[CAPACITY];

    ck_assert(take(lane, got));
    ck_assert_str_eq(got, text);
}

/* Killed after it had published, before it noted where the next one goes. */
TEST(who_takes_over_keeps_what_was_published, .loop_end = CAPACITY / 16)
{
    struct tine__lane_shm *lane = lane_new();
    char got[CAPACITY];
    uint64_t tail;

    for (int i = 0; i < loop_index; i++) { /* to every place, also before the end of the ring */
        ck_assert(put(lane, "", 0));
        ck_assert(take(lane, got));
    }
    tail = lane->tail;
    ck_assert(put(lane, "twenty bytes of text", 20));
    lane->tail = tail;
    ck_assert(!tine__lane_adopt(lane, SECOND, SECOND));
    ck_assert(tine__lane_adopt(lane, FIRST, SECOND));
    ck_assert_uint_eq(lane->holder, SECOND);
    ck_assert(put(lane, "and more", 8));
    expect(lane, "twenty bytes of text");
    expect(lane, "and more");
    ck_assert(!take(lane, got));
    free(lane);
}

/* Killed after the word of its record, before the tail behind it. */
TEST(a_lane_is_empty_when_the_last_record_of_the_dead_is_taken)
{
    struct tine__lane_shm *lane = lane_new();
    uint64_t tail = atomic_load(&lane->tail);

    ck_assert(put(lane, "last", 4));
    atomic_store(&lane->tail, tail);
    expect(lane, "last");
    ck_assert_uint_eq(tine__lane_used(lane), 0);
    free(lane);
}

TEST(a_producer_that_leaves_is_followed)
{
    struct tine__lane_shm *lane = lane_new();

    ck_assert(put(lane, "one", 3));
    tine__lane_leave(lane);
    ck_assert(tine__lane_adopt(lane, 0, SECOND));
    ck_assert(put(lane, "two", 3));
    expect(lane, "one");
    expect(lane, "two");
    free(lane);
}

TEST(who_comes_too_late_takes_nothing)
{
    struct tine__lane_shm *lane = lane_new();
    struct tine__record late;
    char got[CAPACITY];

    ck_assert(put(lane, "one", 3));
    ck_assert(tine__lane_peek(lane, &late));
    expect(lane, "one");
    ck_assert(!tine__lane_take(lane, &late));
    for (int i = 0; i < 100; i++) { /* the same place again and again, at other positions */
        ck_assert(put(lane, "two", 3));
        tine__lane_copy(lane, &late, &(struct tine__parts){.rest = got});
        ck_assert(!tine__lane_take(lane, &late));
        expect(lane, "two");
    }
    free(lane);
}

TEST(no_more_goes_in_than_has_room)
{
    struct tine__lane_shm *lane = lane_new();
    uint64_t used = 0;

    while (put(lane, "0123456789abcdef", 16))
        used += 32;
    ck_assert_uint_eq(used, CAPACITY - 32); /* the word after the last one has its place, too */
    ck_assert_uint_eq(tine__lane_used(lane), used);
    expect(lane, "0123456789abcdef");
    ck_assert(put(lane, "0123456789abcdef", 16));
    ck_assert(!put(lane, "x", 1));
    ck_assert(put(lane, "", 0));
    ck_assert(!put(lane, "", 0));
    free(lane);
}

TEST(room_for_more_can_be_asked_for)
{
    struct tine__lane_shm *lane = lane_new();
    struct tine__place place;

    ck_assert(tine__lane_reserve(lane, 16, CAPACITY - 48, &place));
    ck_assert_uint_eq(place.end - place.at, 32); /* the rest is only looked at */
    ck_assert(!tine__lane_reserve(lane, 16, CAPACITY - 47, &place));
    ck_assert(put(lane, "0123456789abcdef", 16));
    ck_assert(tine__lane_reserve(lane, 16, CAPACITY - 80, &place));
    ck_assert(!tine__lane_reserve(lane, 16, CAPACITY - 79, &place));
    ck_assert(put(lane, "another", 7));
    expect(lane, "0123456789abcdef");
    expect(lane, "another");
    free(lane);
}

static bool is_that(const void *context, const uint64_t words[TINE__LANE_SHOWN])
{
    return words[1] == *(const uint64_t *)context;
}

TEST(what_is_not_taken_can_be_looked_for)
{
    struct tine__lane_shm *lane = lane_new();
    uint64_t words[TINE__LANE_SHOWN] = {0}, number = 1;
    char got[CAPACITY];

    for (int i = 0; i < 50; i++, number++) {
        uint64_t next = number + 1;

        words[1] = number;
        ck_assert(!tine__lane_holds(lane, is_that, &number));
        ck_assert(put(lane, "small", 5)); /* is not shown */
        ck_assert(put(lane, words, sizeof words));
        ck_assert(tine__lane_holds(lane, is_that, &number));
        ck_assert(!tine__lane_holds(lane, is_that, &next));
        expect(lane, "small");
        ck_assert(tine__lane_holds(lane, is_that, &number));
        ck_assert(take(lane, got));
        ck_assert(!tine__lane_holds(lane, is_that, &number));
    }
    free(lane);
}

SUITE("ipc/lane")
