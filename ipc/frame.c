/* SPDX-License-Identifier: MIT */
/*
 * The header of a record; nobody else knows its form.
 *
 * The check finds our own bugs and damage: a reader out of step, bytes of another connection, a
 * buffer used too early. Its keys are the connection's, so what was meant for another one never
 * passes. How much of the payload it covers depends on the size and the rules alone, never on what
 * the header says. Both functions for reading can be given any bytes; neither allocates.
 *
 * On streams, and where all is checked, it is libsodium's SipHash or Poly1305, the faster one for
 * the size. Within the family it is otherwise a keyed hash (lib/hash.c): of the microsecond that a
 * message of 64 bytes takes to be sent and received, SipHash at both ends was 84 ns, the hash is
 * 14; Poly1305 made one of 4 KiB 2.2 microseconds slower, the hash 0.7. Both miss a damage once in
 * 2^64; who could make a collision on purpose shares the memory in which the keys lie, and needs
 * none.
 */
#include "ipc/frame.h"

#include <errno.h>
#include <string.h>

#include <tine/error.h>
#include <tine/pipe.h>

#include "lib/random.h"

#define SMALL_MAX   ((size_t)256)  /* payload: SipHash up to here, Poly1305 above */
#define DEFAULT_MAX ((size_t)4096) /* payload that is checked unless the rules say otherwise */

_Static_assert(sizeof(struct tine__frame_wire) == TINE__FRAME_BYTES, "doc/wire.md");
_Static_assert(sizeof(struct tine__frame_block_wire) == 16, "doc/wire.md");
_Static_assert(sizeof(struct tine__frame_rules) == 128, "doc/shm-layout.md");

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define LE32(number) (number)
#define LE64(number) (number)
#else
#define LE32(number) __builtin_bswap32(number)
#define LE64(number) __builtin_bswap64(number)
#endif

static size_t sum(const struct iovec *parts, int count)
{
    size_t size = 0;

    for (int i = 0; i < count; i++)
        size += parts[i].iov_len;
    return size;
}

/* How many bytes of a payload the tag covers. */
static size_t covered(const struct tine__frame_rules *rules, size_t size)
{
    if (rules->check == TINE_CHECK_HEADER)
        return 0;
    return rules->check == TINE_CHECK_FULL || size <= DEFAULT_MAX ? size : 0;
}

/* The header from here on is under the tag. */
static const uint8_t *body(const void *header)
{
    return (const uint8_t *)header + sizeof(uint64_t);
}

#define BODY_BYTES (TINE__FRAME_BYTES - sizeof(uint64_t))

static uint64_t small_tag(const void *header, const struct tine__mac_key *key,
                          const struct iovec *payload, size_t size)
{
    uint8_t bytes[BODY_BYTES + SMALL_MAX];

    /* Nearly always it lies behind the header already. */
    if (size == 0 ||
        (const uint8_t *)payload->iov_base == (const uint8_t *)header + TINE__FRAME_BYTES)
        return tine__mac_small(key, body(header), BODY_BYTES + size);
    memcpy(bytes, body(header), BODY_BYTES);
    memcpy(bytes + BODY_BYTES, payload->iov_base, size);
    return tine__mac_small(key, bytes, BODY_BYTES + size);
}

/* Of the header, and of a payload by way of the seed. */
static uint64_t quick_tag(const void *header, const struct tine__hash_seed *seed,
                          const struct iovec *payload, size_t size)
{
    struct tine__hash_seed with = *seed;

    if (size > 0)
        with.start ^= tine__hash(payload->iov_base, size, seed);
    return tine__hash(body(header), BODY_BYTES, &with);
}

static uint64_t tag_of(const void *header, uint64_t sequence, const struct tine__frame_rules *rules,
                       const struct iovec *payload, int parts)
{
    struct iovec all[4] = {{(void *)(uintptr_t)body(header), BODY_BYTES}};
    size_t size = covered(rules, sum(payload, parts));

    if (rules->quick && rules->check != TINE_CHECK_FULL)
        return quick_tag(header, &rules->seed, payload, size);
    if (size <= SMALL_MAX)
        return small_tag(header, &rules->key, payload, size);
    for (int i = 0; i < parts; i++)
        all[1 + i] = payload[i];
    return tine__mac_large(&rules->key, sequence, all, 1 + parts);
}

void tine__frame_rules_make(struct tine__frame_rules *rules, int32_t check, uint64_t length_max)
{
    *rules = (struct tine__frame_rules){.length_max = length_max, .check = check, .quick = 1};
    tine__mac_key_make(&rules->key);
    rules->seed.start = tine__random_u64();
    rules->seed.factor = tine__random_u64();
}

void tine__frame_encode(void *header, const struct tine__frame *frame,
                        const struct tine__frame_rules *rules, const struct iovec *payload,
                        int parts)
{
    /* struct tine__frame_wire by words, which the hash reads at once: of what was written in
       smaller pieces it would have to wait until that is in the cache */
    uint64_t what = TINE__FRAME_MAGIC | (uint64_t)TINE__FRAME_VERSION << 32 |
                    (uint64_t)frame->type << 40 | (uint64_t)frame->descriptors << 48;
    uint64_t words[] = {0, LE64(what), LE64(frame->length), LE64(frame->sequence),
                        LE64((uint64_t)frame->epoch)};
    uint64_t tag;

    _Static_assert(sizeof words == sizeof(struct tine__frame_wire), "all of it");
    memcpy(header, words, sizeof words);
    tag = LE64(tag_of(header, frame->sequence, rules, payload, parts));
    memcpy(header, &tag, sizeof tag);
}

/* Do type and length fit to the size of the record, and to each other? */
static bool fits(const struct tine__frame *frame, size_t size,
                 const struct tine__frame_rules *rules)
{
    size_t payload_size = size == TINE__FRAME_STREAM ? frame->length : size - TINE__FRAME_BYTES;

    if (frame->length > rules->length_max || frame->descriptors > TINE__FRAME_DESCRIPTORS)
        return false;
    if (frame->type == TINE__FRAME_INLINE)
        return frame->length == payload_size;
    return frame->type == TINE__FRAME_BLOCK && size != TINE__FRAME_STREAM &&
           payload_size == sizeof(struct tine__frame_block_wire);
}

int tine__frame_decode(const void *header, size_t size, const struct tine__frame_rules *rules,
                       struct tine__frame *frame)
{
    struct tine__frame_wire wire;
    struct tine__frame read;

    if (size < sizeof wire)
        return TINE_EFORMAT;
    memcpy(&wire, header, sizeof wire);
    if (LE32(wire.magic) != TINE__FRAME_MAGIC)
        return TINE_EFORMAT;
    if (wire.version != TINE__FRAME_VERSION)
        return -EPROTO;
    read = (struct tine__frame){
        .tag = LE64(wire.tag),
        .length = LE64(wire.length),
        .sequence = LE64(wire.sequence),
        .epoch = LE32(wire.epoch),
        .type = wire.type,
        .descriptors = wire.descriptors,
    };
    if (wire.reserved8 != 0 || wire.reserved32 != 0 || !fits(&read, size, rules))
        return TINE_EFORMAT;
    *frame = read;
    return 0;
}

int tine__frame_verify(const void *header, const struct tine__frame *frame,
                       const struct tine__frame_rules *rules, const struct iovec *payload,
                       int parts)
{
    return tag_of(header, frame->sequence, rules, payload, parts) == frame->tag ? 0
                                                                                : TINE_ECHECKSUM;
}

void tine__frame_put_block(void *payload, const struct tine__frame_block *block)
{
    struct tine__frame_block_wire wire = {LE32(block->slot), LE32(block->generation),
                                          LE64(block->tag)};

    memcpy(payload, &wire, sizeof wire);
}

void tine__frame_get_block(const void *payload, struct tine__frame_block *block)
{
    struct tine__frame_block_wire wire;

    memcpy(&wire, payload, sizeof wire);
    *block = (struct tine__frame_block){LE32(wire.slot), LE32(wire.generation), LE64(wire.tag)};
}

uint64_t tine__frame_block_tag(const struct tine__frame_rules *rules, uint64_t sequence,
                               const void *message, size_t size)
{
    struct iovec part = {.iov_base = (void *)(uintptr_t)message, .iov_len = size};

    if (rules->check != TINE_CHECK_FULL)
        return 0;
    /* not the number of the record itself, which may have been used for its own tag */
    return tine__mac_large(&rules->key, ~sequence, &part, 1);
}
