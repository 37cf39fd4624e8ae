/* SPDX-License-Identifier: MIT */
/*
 * A pickle: one packed value in an envelope that says what it is, how long, and whether it is
 * whole.
 *
 * The magic starts with a byte that is neither ASCII nor the start of UTF-8 and ends in a line
 * feed, so that a text file, and a file that a transfer has "converted", are refused by their first
 * bytes. The order of the checks is that of trust: magic, version, length against the bytes at hand
 * and the limit, digest, and only then the value.
 */
#include "lib/pickle.h"

#include "lib/codec.h"

#include <tine/error.h>

#include <endian.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>

#define HEAD_SIZE    sizeof(struct tine__pickle_wire)
#define DIGEST_AFTER offsetof(struct tine__pickle_wire, digest)

_Static_assert(HEAD_SIZE == 48, "the envelope has no padding");

int tine_pickle(tine_buffer *out, const void *value, size_t size)
{
    struct tine__pickle_wire head = {.version = htole16(TINE__PICKLE_VERSION),
                                     .length = htole64(size)};
    size_t value_size;
    int rc = tine__value_size(value, size, &tine__limits_depth_only, &value_size);

    if (rc < 0)
        return rc;
    if (value_size != size)
        return TINE_EFORMAT;
    if (size > SIZE_MAX - HEAD_SIZE)
        return -ENOMEM;
    rc = tine__buffer_reserve(out, HEAD_SIZE + size);
    if (rc < 0)
        return rc;
    memcpy(head.magic, TINE__PICKLE_MAGIC, sizeof head.magic);
    tine__digest(&head, DIGEST_AFTER, value, size, head.digest);
    memcpy(out->data + out->size, &head, HEAD_SIZE);
    memcpy(out->data + out->size + HEAD_SIZE, value, size);
    out->size += HEAD_SIZE + size;
    return 0;
}

/* The envelope alone: is it one, of our version, as long as the bytes. */
static int check_head(const uint8_t *bytes, size_t size, struct tine__pickle_wire *head)
{
    size_t magic_size = sizeof head->magic;

    if (memcmp(bytes, TINE__PICKLE_MAGIC, size < magic_size ? size : magic_size) != 0)
        return TINE_EFORMAT;
    if (size < HEAD_SIZE)
        return -EBADMSG;
    memcpy(head, bytes, HEAD_SIZE);
    if (le16toh(head->version) != TINE__PICKLE_VERSION || head->flags != 0)
        return -EPROTO;
    head->length = le64toh(head->length);
    if (head->length > size - HEAD_SIZE)
        return -EBADMSG;
    return head->length == size - HEAD_SIZE ? 0 : TINE_EFORMAT;
}

int tine_unpickle(const void *bytes, size_t size, const tine_limits *limits, const void **value,
                  size_t *value_size)
{
    const uint8_t *body;
    struct tine__pickle_wire head;
    uint8_t digest[TINE__DIGEST_BYTES];
    size_t found;
    int rc;

    if (bytes == NULL || value == NULL || value_size == NULL)
        return -EINVAL;
    rc = check_head(bytes, size, &head);
    if (rc < 0)
        return rc;
    if (head.length > tine__limits_bytes(limits))
        return TINE_EFORMAT;
    body = (const uint8_t *)bytes + HEAD_SIZE;
    tine__digest(bytes, DIGEST_AFTER, body, (size_t)head.length, digest);
    if (!tine__digest_equal(digest, head.digest))
        return TINE_ECHECKSUM;
    rc = tine__value_size(body, (size_t)head.length, limits, &found);
    if (rc < 0)
        return rc;
    if (found != head.length)
        return TINE_EFORMAT;
    *value = body;
    *value_size = found;
    return 0;
}
