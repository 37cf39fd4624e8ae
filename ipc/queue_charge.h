/* SPDX-License-Identifier: MIT */
#ifndef TINE_IPC_QUEUE_CHARGE_H
#define TINE_IPC_QUEUE_CHARGE_H

#include "ipc/queue_impl.h"

/* The bytes that the items in a queue have together, for .maxbytes; see ipc/queue_charge.c. */

/* Charges the item in the caller's slot, unless it is charged already. False: that is too much. */
bool tine__charge(struct tine__queue_shm *shm, struct tine__slot_shm *slot);
/* Gives back what is charged for an item, if anything is. */
void tine__charge_back(struct tine__queue_shm *shm, struct tine__slot_shm *slot);
/* How many bytes are charged. */
uint64_t tine__charged(const struct tine__queue_shm *shm);
/* For whoever finds no room, after it has looked for the dead. */
void tine__charge_recount(tine_queue *queue);

#endif
