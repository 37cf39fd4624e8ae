/* SPDX-License-Identifier: MIT */
/*
 * Learning a shape: from one array that the prescan has measured, head by head.
 *
 * A head is remembered whole, with one exception: of a number only as much as says how long it is.
 * Whatever agrees in all heads has the same values in the same places, so it is as well-formed and
 * as deep as what it was learnt from. Learning costs as much as measuring; where values differ all
 * the time, it is done now and then only.
 */
#include "lib/shape.h"

#include "lib/codec.h"
#include "lib/msgpack_head.h"

#define PATIENCE 8 /* misses after which a shape that never fitted is given up */

void tine__shape_init(struct tine__shape *shape)
{
    memset(shape, 0, sizeof *shape);
    shape->heads[0] = 1; /* nothing under a mask of zeros is that */
    shape->misses = PATIENCE;
}

/* The bits of a first byte that tell how the value goes on. */
static uint8_t telling(const struct tine__head *head)
{
    if (head->size > 1)
        return 0xff;
    if (head->kind == TINE__UINT)
        return 0x80;
    if (head->kind == TINE__NEGATIVE)
        return 0xe0;
    return head->kind == TINE__BOOL ? 0xfe : 0xff;
}

/* The bytes of a head that are no number's. */
static size_t rigid(const struct tine__head *head)
{
    return head->kind >= TINE__STR ? head->size : 1;
}

static void learn(struct tine__shape *shape, const uint8_t *value, size_t size)
{
    uint8_t mask[TINE__SHAPE_BYTES] = {0}, heads[TINE__SHAPE_BYTES] = {0};
    struct tine__head head;

    for (size_t at = 0; at < size; at += head.size + tine__head_payload(&head)) {
        if (!tine__head_read(value + at, size - at, &head))
            return; /* cannot be: it was measured */
        memset(mask + at, 0xff, rigid(&head));
        mask[at] = telling(&head);
    }
    for (size_t i = 0; i < size; i++)
        heads[i] = value[i] & mask[i];
    memcpy(shape->mask, mask, sizeof mask);
    memcpy(shape->heads, heads, sizeof heads);
    shape->size = size;
    shape->has_fitted = false;
    shape->misses = 0;
}

int tine__shape_measure(struct tine__shape *shape, const uint8_t *at, size_t left, size_t *size)
{
    struct tine__head head;
    int rc;

    if (!tine__head_read(at, left, &head) || head.kind != TINE__ARRAY)
        return TINE_EFORMAT;
    rc = tine__value_size(at, left, &tine__limits_depth_only, size);
    if (rc == 0 && *size <= TINE__SHAPE_BYTES && (shape->has_fitted || ++shape->misses >= PATIENCE))
        learn(shape, at, *size);
    return rc;
}
