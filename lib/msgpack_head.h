/* SPDX-License-Identifier: MIT */
/*
 * One msgpack head: the type byte and what belongs to it. The only decoder of the format in the
 * library; prescan, unpack and reader all stand on it, so a byte is judged the same everywhere.
 */
#ifndef TINE_LIB_MSGPACK_HEAD_H
#define TINE_LIB_MSGPACK_HEAD_H

#include <tine/error.h>

#include <endian.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum tine__kind {
    TINE__NIL,
    TINE__BOOL,
    TINE__UINT,
    TINE__NEGATIVE,
    TINE__FLOAT32,
    TINE__FLOAT64,
    TINE__STR,
    TINE__BIN,
    TINE__EXT,
    TINE__ARRAY,
    TINE__MAP,
};

struct tine__head {
    enum tine__kind kind;
    int8_t ext_type;
    uint8_t size;    /* bytes of the head; a number is inside, a payload or children follow */
    uint64_t number; /* value (two's complement, IEEE bits), payload bytes, or children */
};

static inline uint64_t tine__load_be(const uint8_t *at, size_t width)
{
    uint64_t wide;
    uint32_t word;
    uint16_t half;

    switch (width) {
    case 1:
        return *at;
    case 2:
        memcpy(&half, at, sizeof half);
        return be16toh(half);
    case 4:
        memcpy(&word, at, sizeof word);
        return be32toh(word);
    default:
        memcpy(&wide, at, sizeof wide);
        return be64toh(wide);
    }
}

/* Payload bytes that follow the head. */
static inline uint64_t tine__head_payload(const struct tine__head *head)
{
    return head->kind >= TINE__STR && head->kind <= TINE__EXT ? head->number : 0;
}

/* Values that follow the head: a map's keys count as well. */
static inline uint64_t tine__head_children(const struct tine__head *head)
{
    if (head->kind < TINE__ARRAY)
        return 0;
    return head->kind == TINE__MAP ? 2 * head->number : head->number;
}

/* Head of `width` further bytes that hold its number. */
static inline bool tine__head_wide(const uint8_t *at, size_t left, enum tine__kind kind,
                                   size_t width, struct tine__head *head)
{
    if (left < 1 + width)
        return false;
    head->kind = kind;
    head->size = (uint8_t)(1 + width);
    head->number = tine__load_be(at + 1, width);
    return true;
}

static inline bool tine__head_signed(const uint8_t *at, size_t left, size_t width,
                                     struct tine__head *head)
{
    unsigned shift = 64 - 8 * (unsigned)width;

    if (!tine__head_wide(at, left, TINE__UINT, width, head))
        return false;
    head->number = (uint64_t)((int64_t)(head->number << shift) >> shift);
    if ((int64_t)head->number < 0)
        head->kind = TINE__NEGATIVE;
    return true;
}

/* Ext with `width` bytes of length (0: the length is `fixed`), then the type. */
static inline bool tine__head_ext(const uint8_t *at, size_t left, size_t width, uint64_t fixed,
                                  struct tine__head *head)
{
    if (left < 2 + width)
        return false;
    head->kind = TINE__EXT;
    head->size = (uint8_t)(2 + width);
    head->number = width > 0 ? tine__load_be(at + 1, width) : fixed;
    head->ext_type = (int8_t)at[1 + width];
    return true;
}

/* The heads 0xc0 .. 0xdf. */
static inline bool tine__head_typed(const uint8_t *at, size_t left, struct tine__head *head)
{
    uint8_t byte = at[0];

    switch (byte) {
    case 0xc0:
        *head = (struct tine__head){.kind = TINE__NIL, .size = 1};
        return true;
    case 0xc2:
    case 0xc3:
        *head = (struct tine__head){.kind = TINE__BOOL, .size = 1, .number = byte & 1};
        return true;
    case 0xc4:
    case 0xc5:
    case 0xc6:
        return tine__head_wide(at, left, TINE__BIN, (size_t)1 << (byte - 0xc4), head);
    case 0xc7:
    case 0xc8:
    case 0xc9:
        return tine__head_ext(at, left, (size_t)1 << (byte - 0xc7), 0, head);
    case 0xca:
        return tine__head_wide(at, left, TINE__FLOAT32, 4, head);
    case 0xcb:
        return tine__head_wide(at, left, TINE__FLOAT64, 8, head);
    case 0xcc:
    case 0xcd:
    case 0xce:
    case 0xcf:
        return tine__head_wide(at, left, TINE__UINT, (size_t)1 << (byte - 0xcc), head);
    case 0xd0:
    case 0xd1:
    case 0xd2:
    case 0xd3:
        return tine__head_signed(at, left, (size_t)1 << (byte - 0xd0), head);
    case 0xd4:
    case 0xd5:
    case 0xd6:
    case 0xd7:
    case 0xd8:
        return tine__head_ext(at, left, 0, (uint64_t)1 << (byte - 0xd4), head);
    case 0xd9:
    case 0xda:
    case 0xdb:
        return tine__head_wide(at, left, TINE__STR, (size_t)1 << (byte - 0xd9), head);
    case 0xdc:
    case 0xdd:
        return tine__head_wide(at, left, TINE__ARRAY, (size_t)2 << (byte - 0xdc), head);
    case 0xde:
    case 0xdf:
        return tine__head_wide(at, left, TINE__MAP, (size_t)2 << (byte - 0xde), head);
    default:
        return false; /* 0xc1, the byte that msgpack never uses */
    }
}

/* False when no head is there, or it or its payload is cut short. */
static inline bool tine__head_read(const uint8_t *at, size_t left, struct tine__head *head)
{
    uint8_t byte;

    if (left == 0)
        return false;
    byte = at[0];
    if (byte < 0x80)
        *head = (struct tine__head){.kind = TINE__UINT, .size = 1, .number = byte};
    else if (byte >= 0xe0)
        *head = (struct tine__head){
            .kind = TINE__NEGATIVE, .size = 1, .number = (uint64_t)(int64_t)(int8_t)byte};
    else if (byte < 0x90)
        *head = (struct tine__head){.kind = TINE__MAP, .size = 1, .number = byte & 0x0f};
    else if (byte < 0xa0)
        *head = (struct tine__head){.kind = TINE__ARRAY, .size = 1, .number = byte & 0x0f};
    else if (byte < 0xc0)
        *head = (struct tine__head){.kind = TINE__STR, .size = 1, .number = byte & 0x1f};
    else if (!tine__head_typed(at, left, head))
        return false;
    return tine__head_payload(head) <= left - head->size;
}

/* ---- numbers: 0, TINE_EFORMAT (none), -ERANGE ------------------------------------------------ */

static inline int tine__head_to_signed(const struct tine__head *head, int64_t min, int64_t max,
                                       int64_t *value)
{
    if (head->kind != TINE__UINT && head->kind != TINE__NEGATIVE)
        return TINE_EFORMAT;
    if (head->kind == TINE__UINT && head->number > (uint64_t)max)
        return -ERANGE;
    if (head->kind == TINE__NEGATIVE && (int64_t)head->number < min)
        return -ERANGE;
    *value = (int64_t)head->number;
    return 0;
}

static inline int tine__head_to_unsigned(const struct tine__head *head, uint64_t max,
                                         uint64_t *value)
{
    if (head->kind != TINE__UINT && head->kind != TINE__NEGATIVE)
        return TINE_EFORMAT;
    if (head->kind == TINE__NEGATIVE || head->number > max)
        return -ERANGE;
    *value = head->number;
    return 0;
}

/* Integers only where a double, or float, holds them all: within +-exact. */
static inline int tine__head_to_double(const struct tine__head *head, int64_t exact, double *value)
{
    int64_t whole;
    uint32_t bits;
    float single;
    int rc;

    if (head->kind == TINE__FLOAT32) {
        bits = (uint32_t)head->number;
        memcpy(&single, &bits, sizeof single);
        *value = (double)single;
        return 0;
    }
    if (head->kind == TINE__FLOAT64) {
        memcpy(value, &head->number, sizeof *value);
        return 0;
    }
    rc = tine__head_to_signed(head, -exact, exact, &whole);
    if (rc == 0)
        *value = (double)whole;
    return rc;
}

#endif
