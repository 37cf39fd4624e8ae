/* SPDX-License-Identifier: MIT */
/* Rings of tests: records that prove themselves. */
#ifndef TINE_TESTS_RING_HELP_H
#define TINE_TESTS_RING_HELP_H

#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <tine/heap.h>
#include <tine/time.h>

#include "ipc/ring.h"
#include "shm/heap.h"
#include "tests/support/heap_first.h"
#include "tests/support/suite.h"

static inline uint64_t heap_used(void)
{
    tine_heap_counts counts;

    ck_assert_ok(tine_heap_stats(&counts));
    return counts.used_bytes;
}

static inline void assert_heap_sound(void)
{
    tine_heap_report report;
    int rc = tine_heap_check(&report);

    ck_assert_msg(rc == 0, "%s (page %jd)", report.first, (intmax_t)report.first_page);
}

/* What a record says of itself; bytes that follow are derived from it. */
struct mark {
    uint32_t producer;
    uint32_t size;
    uint64_t number;
};

#define SMALL (&(struct tine__ring_options){.capacity = 1024, .record_max = 400})

static inline struct tine__ring ring_new(const struct tine__ring_options *options)
{
    struct tine__ring_shm *shared;
    struct tine__ring ring;

    ck_assert_rc(tine__ring_create(&shared, options), 0);
    tine__ring_open(&ring, shared, NULL, NULL);
    return ring;
}

static inline void ring_free(struct tine__ring *ring)
{
    tine__ring_empty(ring->shared);
    tine_free(ring->shared);
}

static inline unsigned char byte_of(const struct mark *mark, uint32_t i)
{
    return (unsigned char)(mark->number * 31 + mark->producer * 7 + i * 13 + i / 256);
}

/* A record of that size, at least sizeof (struct mark). */
static inline void build(void *buffer, struct mark mark)
{
    unsigned char *bytes = buffer;

    memcpy(bytes, &mark, sizeof mark);
    for (uint32_t i = sizeof mark; i < mark.size; i++)
        bytes[i] = byte_of(&mark, i);
}

static inline struct mark check_built(const void *buffer, size_t size)
{
    const unsigned char *bytes = buffer;
    struct mark mark;

    ck_assert_uint_ge(size, sizeof mark);
    memcpy(&mark, bytes, sizeof mark);
    ck_assert_uint_eq(mark.size, size);
    for (uint32_t i = sizeof mark; i < size; i++)
        if (bytes[i] != byte_of(&mark, i))
            ck_abort_msg("byte %u of %zu is torn", i, size);
    return mark;
}

static inline tine__deadline until(int64_t timeout_ns)
{
    return timeout_ns == 0 ? TINE__RING_AT_ONCE : tine__deadline_after(timeout_ns);
}

static inline ssize_t recv_whole(struct tine__ring *ring, void *buffer, size_t room,
                                 int64_t timeout_ns, size_t *needed)
{
    return tine__ring_recv(ring, buffer, room, until(timeout_ns), needed);
}

static inline int send_whole(struct tine__ring *ring, const void *bytes, size_t size,
                             int64_t timeout_ns)
{
    struct iovec part = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = size};

    return tine__ring_send(ring, &part, 1, until(timeout_ns));
}

static inline int send_number(struct tine__ring *ring, uint64_t number, int64_t timeout_ns)
{
    return send_whole(ring, &number, sizeof number, timeout_ns);
}

static inline uint64_t recv_number(struct tine__ring *ring)
{
    uint64_t number;
    size_t needed;

    ck_assert_rc(recv_whole(ring, &number, sizeof number, TINE_FOREVER, &needed), sizeof number);
    return number;
}

static inline void recv_one(void *context)
{
    ck_assert_uint_eq(recv_number(context), 7);
}

#endif
