/* SPDX-License-Identifier: MIT */
#ifndef TINE_IPC_QUEUE_PARTIES_H
#define TINE_IPC_QUEUE_PARTIES_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/*
 * The processes that use a queue, so that the word of an item can name one in 12 bits. A process
 * has its number from its first use to its death; whoever finds it dead sweeps what it had, and
 * only then gives the number free. So no word ever names a process that is not the one meant.
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
/*
 * The dead among a run of numbers, whose sweep goes through the items once for all of them.
 */
#define TINE__PARTIES_RUN 256
struct tine__parties_dead {
    uint32_t first; /* number */
    uint64_t
        owners[TINE__PARTIES_RUN]; /* of the numbers from `first` on; 0: nobody dead has that */
};
/* The next run after that of `dead` (0: the first) in which somebody is dead. False: there is
   none. */
bool tine__parties_next_dead(const struct tine__parties_shm *parties,
                             struct tine__parties_dead *dead);
/* Who has that number, of the dead of the run; 0: it is none of these. */
static inline uint64_t tine__parties_dead_owner(const struct tine__parties_dead *dead,
                                                uint32_t party)
{
    return party - dead->first < TINE__PARTIES_RUN ? dead->owners[party - dead->first] : 0;
}

/*
 * Does it still have the number? Asked after a word with that number was read: then the word is
 * its. For a sweeper that was stopped, while another swept and a new process took the number.
 */
bool tine__parties_is(const struct tine__parties_shm *parties, uint32_t party, uint64_t owner);
/* After all that the dead one had is swept. */
void tine__parties_forget(struct tine__parties_shm *parties, uint32_t party, uint64_t owner);
void tine__parties_empty(struct tine__parties_shm *parties);

#endif
