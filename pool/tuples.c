/* SPDX-License-Identifier: MIT */
/*
 * Tuples: the packed arguments of a starmap, one array behind another.
 *
 * The program passes over them once, to be sure that they are arrays and to count them, and notes
 * where every 64th begins. A worker goes from there to the first of its unit and on from tuple to
 * tuple. The bytes lie in the family heap, where a task that runs wild can change them, so a worker
 * reads them within their bounds all the same.
 */
#include "pool/tuples.h"

#include <errno.h>
#include <stdlib.h>

static int add_mark(struct tine__tuple_marks *marks, uint64_t offset)
{
    if (marks->marks == marks->room) {
        size_t room = marks->room == 0 ? 64 : marks->room * 2;
        uint64_t *grown = reallocarray(marks->offsets, room, sizeof *grown);

        if (grown == NULL)
            return -ENOMEM;
        marks->offsets = grown;
        marks->room = room;
    }
    marks->offsets[marks->marks++] = offset;
    return 0;
}

int tine__tuples_find(struct tine__tuple_marks *marks, const tine_buffer *args)
{
    struct tine__shape shape;
    size_t size;
    int rc = 0;

    tine__shape_init(&shape);
    for (size_t at = 0; at < args->size; at += size) {
        if (marks->count % TINE__MARK_EVERY == 0)
            rc = add_mark(marks, at);
        if (rc == 0)
            rc = tine__shape_size(&shape, args->data + at, args->size - at, &size);
        if (rc < 0)
            return rc;
        marks->count++;
    }
    return 0;
}

void tine__tuples_seek(struct tine__tuples *tuples, const struct tine__job_shm *job, uint64_t index)
{
    const uint8_t *bytes = TINE__AT(const uint8_t, job->in);
    const void *skipped;
    size_t size;

    tuples->at = bytes + TINE__AT(const uint64_t, job->marks)[index / TINE__MARK_EVERY];
    tuples->end = bytes + job->in_size;
    tine__shape_init(&tuples->shape);
    for (uint64_t i = index % TINE__MARK_EVERY; i > 0; i--)
        if (tine__tuples_next(tuples, &skipped, &size) < 0)
            return; /* and so will the next */
}
