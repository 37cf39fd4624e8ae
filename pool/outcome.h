/* SPDX-License-Identifier: MIT */
#ifndef TINE_POOL_OUTCOME_H
#define TINE_POOL_OUTCOME_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <tine/codec.h>

#include "pool/layout.h"

/* Results of up to this many bytes lie in their slot. */
#define TINE__OUTCOME_INLINE sizeof(struct tine__outcome_shm)

/* Zeroes what has to be zero before the job is published. */
void tine__outcomes_init(struct tine__job_shm *job);
/* Frees what workers allocated. Once nobody writes any more. */
void tine__outcomes_free(struct tine__job_shm *job);

/*
 * By the holder of the item's unit, once an item: keeps the packed value, or the code of what went
 * wrong. -ENOMEM leaves the item without an outcome.
 */
int tine__outcome_put(struct tine__job_shm *job, uint64_t unit, uint64_t index,
                      const tine_buffer *value);
void tine__outcome_fail(struct tine__job_shm *job, uint64_t index, int code);

/* Tags; 1 … TINE__OUTCOME_INLINE: a value of so many bytes, in the slot. */
enum {
    TINE__OUTCOME_NONE = 0,
    TINE__OUTCOME_LARGE = 0xfe,  /* slot: address, size */
    TINE__OUTCOME_FAILED = 0xff, /* slot: code */
};

static inline uint8_t tine__outcome_tag(const struct tine__job_shm *job, uint64_t index)
{
    /* acquire: pairs with publish, in pool/outcome.c; the slot is whole */
    return atomic_load_explicit(&TINE__AT(_Atomic uint8_t, job->tags)[index], memory_order_acquire);
}

static inline bool tine__outcome_is_there(const struct tine__job_shm *job, uint64_t index)
{
    return tine__outcome_tag(job, index) != TINE__OUTCOME_NONE;
}

/* 0 and the packed value; the item's code; 1: there is no outcome. */
static inline int tine__outcome_find(const struct tine__job_shm *job, uint64_t index,
                                     const void **bytes, size_t *size)
{
    const struct tine__outcome_shm *slot = &TINE__AT(struct tine__outcome_shm, job->out)[index];
    uint8_t tag = tine__outcome_tag(job, index);

    if (tag == TINE__OUTCOME_NONE)
        return 1;
    if (tag == TINE__OUTCOME_FAILED)
        return (int)(int64_t)slot->words[0];
    *bytes = tag == TINE__OUTCOME_LARGE ? TINE__AT(const void, slot->words[0]) : slot;
    *size = tag == TINE__OUTCOME_LARGE ? slot->words[1] : tag;
    return 0;
}

#endif
