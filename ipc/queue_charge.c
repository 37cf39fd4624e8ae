/* SPDX-License-Identifier: MIT */
/*
 * .maxbytes: what the items in the queue have together is one word, and each slot knows what is
 * charged for it.
 *
 * An item is charged before it is put, and what was charged given back after it was taken: a death
 * between leaves too much charged, never too little. Who finds no room, and sees that nothing has
 * changed since it looked for the dead before, counts anew what the slots say. Somebody stopped in
 * the midst of a take may then give back what is counted no more; so the limit can be exceeded by
 * as much as that item has, until the next count.
 */
#include "ipc/queue_charge.h"

#define CHARGE_BYTES  (((uint64_t)1 << 41) - 1) /* of the word; above it, how often it has changed */
#define CHARGE_CHANGE ((uint64_t)1 << 41)

bool tine__charge(struct tine__queue_shm *shm, struct tine__slot_shm *slot)
{
    uint64_t word = atomic_load_explicit(&shm->charge, memory_order_seq_cst);

    if (atomic_load_explicit(&slot->charged, memory_order_relaxed) != 0)
        return true;
    do
        if ((word & CHARGE_BYTES) + slot->size > shm->maxbytes)
            return false;
    while (!atomic_compare_exchange_weak_explicit(&shm->charge, &word,
                                                  word + CHARGE_CHANGE + slot->size,
                                                  memory_order_seq_cst, memory_order_seq_cst));
    atomic_store_explicit(&slot->charged, slot->size, memory_order_relaxed);
    return true;
}

void tine__charge_back(struct tine__queue_shm *shm, struct tine__slot_shm *slot)
{
    uint64_t bytes = atomic_exchange_explicit(&slot->charged, 0, memory_order_relaxed), word, left;

    if (bytes == 0)
        return;
    word = atomic_load_explicit(&shm->charge, memory_order_relaxed);
    do
        left = (word & CHARGE_BYTES) > bytes ? (word & CHARGE_BYTES) - bytes : 0;
    while (!atomic_compare_exchange_weak_explicit(&shm->charge, &word,
                                                  (word & ~CHARGE_BYTES) + CHARGE_CHANGE + left,
                                                  memory_order_seq_cst, memory_order_relaxed));
}

uint64_t tine__charged(const struct tine__queue_shm *shm)
{
    return atomic_load_explicit(&shm->charge, memory_order_seq_cst) & CHARGE_BYTES;
}

void tine__charge_recount(tine_queue *queue)
{
    struct tine__queue_shm *shm = queue->shm;
    uint64_t word = atomic_load_explicit(&shm->charge, memory_order_seq_cst), bytes = 0;
    uint32_t total = tine__slots_total(&shm->slots);

    if (atomic_exchange_explicit(&queue->charge_seen, word, memory_order_relaxed) != word)
        return;
    for (uint32_t i = 0; i < total; i++)
        bytes +=
            atomic_load_explicit(&tine__slot_at(&shm->slots, i)->charged, memory_order_relaxed);
    if (bytes != (word & CHARGE_BYTES))
        atomic_compare_exchange_strong_explicit(&shm->charge, &word,
                                                (word & ~CHARGE_BYTES) + CHARGE_CHANGE + bytes,
                                                memory_order_seq_cst, memory_order_relaxed);
}
