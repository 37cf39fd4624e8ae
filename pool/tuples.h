/* SPDX-License-Identifier: MIT */
#ifndef TINE_POOL_TUPLES_H
#define TINE_POOL_TUPLES_H

#include <stddef.h>
#include <stdint.h>

#include <tine/codec.h>

#include "lib/shape.h"
#include "pool/layout.h"

/* What the program finds: how many tuples there are, and where every so-manieth begins. */
struct tine__tuple_marks {
    uint64_t *offsets; /* to be freed, also after a failure */
    size_t marks, room;
    uint64_t count; /* of tuples */
};

/* 0, TINE_EFORMAT (not all of it is arrays), -ENOMEM. */
int tine__tuples_find(struct tine__tuple_marks *marks, const tine_buffer *args);

/* One worker's way through a range of them. */
struct tine__tuples {
    const uint8_t *at;
    const uint8_t *end;
    struct tine__shape shape;
};

/* Stands before the tuple with that index. */
void tine__tuples_seek(struct tine__tuples *tuples, const struct tine__job_shm *job,
                       uint64_t index);

/* The next one; TINE_EFORMAT: a task has written over the arguments. */
static inline int tine__tuples_next(struct tine__tuples *tuples, const void **bytes, size_t *size)
{
    int rc = tine__shape_size(&tuples->shape, tuples->at, (size_t)(tuples->end - tuples->at), size);

    if (rc == 0) {
        *bytes = tuples->at;
        tuples->at += *size;
    }
    return rc;
}

#endif
