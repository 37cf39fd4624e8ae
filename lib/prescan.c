/* SPDX-License-Identifier: MIT */
/*
 * The check that every byte from outside passes before anything is built from it: well-formed
 * msgpack within limits. Iterative, allocates nothing, reads each head once and no payload.
 *
 * It is here because decoders that build trees believe the counts: 155 bytes of nested array heads
 * make msgpack-c 4.0 reserve 254 GB. A count is charged to the limit when its head is read, so such
 * a bomb ends at its first head that claims too much.
 */
#include "lib/codec.h"

#include <tine/error.h>

#include "lib/msgpack_head.h"
#include "lib/reserved.h"

#include <errno.h>

#define DEPTH_DEFAULT    32
#define ELEMENTS_DEFAULT 65536
#define BYTES_DEFAULT    ((uint64_t)64 << 20)

const tine_limits tine__limits_depth_only = {
    .depth = TINE_DEPTH_MAX, .elements = UINT64_MAX, .bytes = UINT64_MAX};

struct scan {
    const uint8_t *at;
    const uint8_t *end;
    uint64_t elements; /* still allowed */
    uint32_t depth;    /* allowed */
};

static int scan_init(struct scan *scan, const void *bytes, size_t size, const tine_limits *limits)
{
    static const tine_limits defaults;

    if (limits == NULL)
        limits = &defaults;
    if (limits->depth > TINE_DEPTH_MAX || limits->flags != 0 || (bytes == NULL && size > 0))
        return -EINVAL;
    if (TINE__RESERVED_SET(limits->reserved))
        return -E2BIG;
    scan->at = bytes != NULL ? bytes : (const void *)""; /* NULL + 0 is undefined */
    scan->elements = limits->elements != 0 ? limits->elements : ELEMENTS_DEFAULT;
    scan->depth = limits->depth != 0 ? limits->depth : DEPTH_DEFAULT;
    return 0;
}

uint64_t tine__limits_bytes(const tine_limits *limits)
{
    return limits != NULL && limits->bytes != 0 ? limits->bytes : BYTES_DEFAULT;
}

/* A pointer, a function, a descriptor or a handle: what only the family can mean. */
static bool is_family(const struct tine__head *head)
{
    return head->kind == TINE__EXT && head->ext_type >= TINE__EXT_POINTER &&
           head->ext_type <= TINE__EXT_HANDLE;
}

/* Moves behind one value with everything in it. `plain`, a constant: nothing of the family's is in
   it. */
static inline bool skip_value(struct scan *scan, bool plain)
{
    uint64_t outer[TINE_DEPTH_MAX]; /* values still due in the containers around this one */
    uint64_t due = 1;               /* and in this one */
    uint32_t depth = 0;

    if (scan->elements == 0)
        return false;
    scan->elements--;
    for (;;) {
        struct tine__head head;
        uint64_t children;

        if (!tine__head_read(scan->at, (size_t)(scan->end - scan->at), &head))
            return false;
        if (plain && is_family(&head))
            return false;
        scan->at += head.size + tine__head_payload(&head);
        due--;
        if (head.kind >= TINE__ARRAY) {
            children = tine__head_children(&head);
            if (depth == scan->depth || children > scan->elements)
                return false;
            scan->elements -= children;
            outer[depth++] = due;
            due = children;
        }
        while (due == 0) {
            if (depth == 0)
                return true;
            due = outer[--depth];
        }
    }
}

int tine__value_size(const void *bytes, size_t size, const tine_limits *limits, size_t *value_size)
{
    uint64_t allowed = tine__limits_bytes(limits);
    struct scan scan;
    int rc = scan_init(&scan, bytes, size, limits);

    if (rc < 0)
        return rc;
    scan.end = scan.at + (size < allowed ? size : allowed);
    if (!skip_value(&scan, false))
        return TINE_EFORMAT;
    *value_size = (size_t)(scan.at - (const uint8_t *)bytes);
    return 0;
}

bool tine__value_is_plain(const void *bytes, size_t size)
{
    struct scan scan;

    if (scan_init(&scan, bytes, size, &tine__limits_depth_only) < 0)
        return false;
    scan.end = scan.at + size;
    return skip_value(&scan, true) && scan.at == scan.end;
}

int tine__prescan(const void *bytes, size_t size, const tine_limits *limits, size_t *values)
{
    struct scan scan;
    size_t count = 0;
    int rc = scan_init(&scan, bytes, size, limits);

    if (rc < 0)
        return rc;
    if (size > tine__limits_bytes(limits))
        return TINE_EFORMAT;
    for (scan.end = scan.at + size; scan.at < scan.end; count++)
        if (!skip_value(&scan, false))
            return TINE_EFORMAT;
    *values = count;
    return 0;
}
