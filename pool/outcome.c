/* SPDX-License-Identifier: MIT */
/*
 * Outcomes of a starmap: what each item gave, written by the workers, read by the program.
 *
 * An item has a slot of 16 bytes and a tag of one. Small values, which is nearly all, lie in the
 * slot itself; larger ones in blocks that belong to the unit, newest first, so that freeing walks
 * units and not items. The tag says which, and publishes the outcome: a worker that dies before it
 * is stored has given none, and who runs the item again writes over what lies in the slot.
 *
 * Blocks never move and are filled by the one that has the unit, so nothing here is contended. A
 * death between allocating a block and linking it leaks that block.
 */
#include "pool/outcome.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include <tine/heap.h>

#include "lib/checked.h"
#include "pool/job.h"

#define FIRST_BLOCK_MAX (UINT64_C(64) << 10)
#define BLOCK_MAX       (UINT64_C(1) << 20) /* unless one value is larger */

static struct tine__outcome_shm *slot_of(const struct tine__job_shm *job, uint64_t index)
{
    return &TINE__AT(struct tine__outcome_shm, job->out)[index];
}

static _Atomic uint64_t *newest_of(const struct tine__job_shm *job, uint64_t unit)
{
    return &TINE__AT(_Atomic uint64_t, job->blocks)[unit];
}

static void publish(struct tine__job_shm *job, uint64_t index, uint8_t tag)
{
    /* release: slot and value are whole for whoever reads the tag (tine__outcome_tag) */
    atomic_store_explicit(&TINE__AT(_Atomic uint8_t, job->tags)[index], tag, memory_order_release);
}

void tine__outcomes_init(struct tine__job_shm *job)
{
    memset(TINE__AT(void, job->tags), 0, job->n);
    memset(TINE__AT(void, job->blocks), 0, job->units * sizeof(uint64_t));
}

void tine__outcomes_free(struct tine__job_shm *job)
{
    uint64_t older;

    for (uint64_t unit = 0; unit < job->units; unit++)
        for (uint64_t at = atomic_load_explicit(newest_of(job, unit), memory_order_acquire);
             at != 0; at = older) {
            older = TINE__AT(struct tine__values_shm, at)->older;
            tine_free(TINE__AT(void, at));
        }
}

/* ---- large values ---------------------------------------------------------------------------- */

/* Room for the rest of the unit if all of it is like this one, then for twice as much as last
   time. */
static uint64_t next_capacity(const struct tine__job_shm *job, uint64_t unit,
                              const struct tine__values_shm *newest, uint64_t room)
{
    uint64_t items = tine__unit_end(job, unit) - tine__unit_begin(job, unit), capacity;

    if (newest != NULL)
        capacity = newest->capacity < BLOCK_MAX / 2 ? newest->capacity * 2 : BLOCK_MAX;
    else
        capacity = items < FIRST_BLOCK_MAX / room ? items * room : FIRST_BLOCK_MAX;
    return capacity < room ? room : capacity;
}

static struct tine__values_shm *add_block(struct tine__job_shm *job, uint64_t unit, uint64_t room)
{
    struct tine__values_shm *newest = TINE__AT(
        struct tine__values_shm, atomic_load_explicit(newest_of(job, unit), memory_order_relaxed));
    uint64_t capacity = next_capacity(job, unit, newest, room);
    struct tine__values_shm *block = tine_alloc(sizeof *block + capacity);

    if (block == NULL) {
        capacity = room;
        block = tine_alloc(sizeof *block + capacity);
    }
    if (block == NULL)
        return NULL;
    block->older = TINE__ADDRESS(newest);
    block->capacity = capacity;
    block->used = 0;
    /* release: a whole block is found by who takes the unit over or frees it */
    atomic_store_explicit(newest_of(job, unit), TINE__ADDRESS(block), memory_order_release);
    return block;
}

/* Memory for one value. What a dead worker has taken but not published stays unused. */
static void *take_room(struct tine__job_shm *job, uint64_t unit, uint64_t size)
{
    struct tine__values_shm *block = TINE__AT(
        struct tine__values_shm, atomic_load_explicit(newest_of(job, unit), memory_order_acquire));
    size_t room;
    void *place;

    if (!tine__round_up(size, 8, &room))
        return NULL;
    if (block == NULL || block->capacity - block->used < room)
        block = add_block(job, unit, room);
    if (block == NULL)
        return NULL;
    place = block->bytes + block->used;
    block->used += room;
    return place;
}

static int put_large(struct tine__job_shm *job, uint64_t unit, uint64_t index,
                     const tine_buffer *value)
{
    void *copy = take_room(job, unit, value->size);

    if (copy == NULL)
        return -ENOMEM;
    memcpy(copy, value->data, value->size);
    *slot_of(job, index) = (struct tine__outcome_shm){.words = {TINE__ADDRESS(copy), value->size}};
    publish(job, index, TINE__OUTCOME_LARGE);
    return 0;
}

/* ---- all ------------------------------------------------------------------------------------- */

int tine__outcome_put(struct tine__job_shm *job, uint64_t unit, uint64_t index,
                      const tine_buffer *value)
{
    struct tine__outcome_shm *slot = slot_of(job, index);

    if (value->size > TINE__OUTCOME_INLINE)
        return put_large(job, unit, index, value);
    if (value->capacity >= TINE__OUTCOME_INLINE)
        memcpy(slot, value->data, sizeof *slot); /* of a known size it is two instructions */
    else
        memcpy(slot, value->data, value->size);
    publish(job, index, (uint8_t)value->size);
    return 0;
}

void tine__outcome_fail(struct tine__job_shm *job, uint64_t index, int code)
{
    slot_of(job, index)->words[0] = (uint64_t)(int64_t)code;
    publish(job, index, TINE__OUTCOME_FAILED);
}
