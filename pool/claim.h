/* SPDX-License-Identifier: MIT */
#ifndef TINE_POOL_CLAIM_H
#define TINE_POOL_CLAIM_H

#include <stdbool.h>
#include <stdint.h>

#include "pool/layout.h"

/* Units are numbered below 2^50 and workers below 4095, so that cursor and ledger fit one word
 * each. */
#define TINE__UNITS_MAX (UINT64_C(1) << 50)

/* Bytes of a table for `workers` slots. */
static inline uint64_t tine__claims_size(uint64_t workers)
{
    return sizeof(struct tine__claims_shm) + workers * sizeof(struct tine__slot_shm);
}

void tine__claims_init(struct tine__claims_shm *claims, uint32_t workers);

/* Takes the next unit below `limit`. The unit and its claimer are recorded in one atomic step. */
bool tine__claim(struct tine__claims_shm *claims, uint32_t worker, uint64_t limit, uint64_t *unit);
/* By the holder, or for it once it is dead. */
void tine__claim_done(struct tine__claims_shm *claims, uint32_t worker, uint64_t unit);
/* Does this (dead) worker hold a unit? Its claims are final, so the answer is, too. */
bool tine__claim_held(const struct tine__claims_shm *claims, uint32_t worker, uint64_t *unit);

/* No further unit can be claimed. Claimed ones go on. */
void tine__claims_close(struct tine__claims_shm *claims);
/* The same, if no unit has been claimed yet; else nothing. */
bool tine__claims_close_unclaimed(struct tine__claims_shm *claims);
/* How many units have been claimed. */
uint64_t tine__claims_count(const struct tine__claims_shm *claims);
bool tine__claims_exhausted(const struct tine__claims_shm *claims, uint64_t limit);
/* Exhausted, and nothing held: once true it stays true. *workers: the slots that can have been
   used. */
bool tine__claims_settled(const struct tine__claims_shm *claims, const _Atomic uint32_t *workers,
                          uint64_t limit);

#endif
