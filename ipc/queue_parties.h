/* SPDX-License-Identifier: MIT */
#ifndef TINE_IPC_QUEUE_PARTIES_H
#define TINE_IPC_QUEUE_PARTIES_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/*
 * The processes that use a queue, so that the word of an item can name one in 12 bits. A process has its
 * number from its first use to its death; whoever finds it dead sweeps what it had, and only then
 * gives the number free. So no word ever names a process that is not the one meant.
 *
 * field   written by                                    read by  order
 * chunks  CAS from 0: whoever makes it                  any      acq_rel / acquire
 * owners  CAS 0 → tine__owner_word(): the process;      any      acq_rel / acquire
 *         back to 0: who has swept it, or did not need
 *         it after all
 */
#define TINE__PARTIES_CHUNK 64
#define TINE__PARTIES_MAX   4095

struct tine__parties_shm {
    _Atomic uint64_t chunks[(TINE__PARTIES_MAX + 1) / TINE__PARTIES_CHUNK];
};

/* The calling process's number, 1 … TINE__PARTIES_MAX; -ENOLCK: none is free, -ENOMEM. */
int tine__parties_join(struct tine__parties_shm *parties);
void tine__parties_leave(struct tine__parties_shm *parties, uint32_t party); /* has nothing */
/* The next number after `party` (0: the first) that a dead process has, 0 for none. */
uint32_t tine__parties_next_dead(const struct tine__parties_shm *parties, uint32_t party,
                                 uint64_t *owner);
/*
 * Does it still have the number? Asked after a word with that number was read: then the word is its.
 * For a sweeper that was stopped, while another swept and a new process took the number.
 */
bool tine__parties_is(const struct tine__parties_shm *parties, uint32_t party, uint64_t owner);
/* After all that the dead one had is swept. */
void tine__parties_forget(struct tine__parties_shm *parties, uint32_t party, uint64_t owner);
void tine__parties_empty(struct tine__parties_shm *parties);

#endif
