/* SPDX-License-Identifier: MIT */
/*
 * tine_queue_item: an item in hand, read where it lies.
 *
 * The slot stays as it is while its word names this process, or until the item is freed; a lease
 * that ends by time meanwhile leaves the reader with bytes that may change. Private; a forked child
 * may only free its copy, which leaves the slot alone.
 */
#include "ipc/queue_impl.h"

#include <errno.h>
#include <stdlib.h>

#include <tine/error.h>

#include "lib/codec.h"
#include "lib/fork.h"

void tine__item_begin(tine_queue_item *item, tine_queue *queue, uint32_t index, uint64_t word)
{
    const struct tine__slot_shm *slot = tine__slot_at(&queue->shm->slots, index);

    *item = (struct tine_queue_item){
        .queue = queue,
        .generation = tine__fork_generation(),
        .word = word,
        .index = index,
        .deliveries = tine__word_deliveries(word),
        .data = tine__slot_data(slot),
        .size = slot->size,
        .priority = slot->priority,
    };
}

const void *tine_queue_item_bytes(const tine_queue_item *item, size_t *size)
{
    if (item == NULL)
        return NULL;
    if (size != NULL)
        *size = item->size;
    return item->data;
}

int tine_queue_item_unpack(const tine_queue_item *item, const char *format, ...)
{
    va_list args;
    int rc;

    if (item == NULL)
        return -EINVAL;
    va_start(args, format);
    rc = tine__vunpack_family(item->data, item->size, format, args);
    va_end(args);
    return rc;
}

int64_t tine_queue_item_priority(const tine_queue_item *item)
{
    return item == NULL ? 0 : item->priority;
}

int tine_queue_item_deliveries(const tine_queue_item *item)
{
    return item == NULL ? 0 : (int)item->deliveries;
}

int tine_queue_item_done(tine_queue_item *item)
{
    if (item == NULL || !item->queue->shm->joinable)
        return -EINVAL;
    if (item->generation != tine__fork_generation())
        return TINE_EFORKED;
    return tine__lease_done(item->queue, item);
}

/* The slot is this process's to free once the lease is over, whoever has said done for it. */
static void free_slot(const tine_queue_item *item)
{
    struct tine__slot_shm *slot = tine__slot_at(&item->queue->shm->slots, item->index);
    uint64_t word = tine__slot_word(slot);

    if (tine__word_state(word) == TINE__ITEM_DONE && word == item->word)
        tine__slot_free(slot, word);
}

void tine_queue_item_free(tine_queue_item *item)
{
    if (item == NULL)
        return;
    if (item->generation == tine__fork_generation() &&
        !(item->queue->shm->joinable && tine__lease_let_go(item->queue, item)))
        free_slot(item);
    free(item);
}
