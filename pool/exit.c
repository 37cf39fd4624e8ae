/* SPDX-License-Identifier: MIT */
/*
 * The ends of workers, told to the program: on_worker_exit.
 *
 * The nursery reaps a worker and pushes a record onto a list in the family heap; a thread of the
 * program that runs callbacks takes the whole list by one exchange and goes through it, oldest
 * first. The record was allocated before its worker was started, so none is ever lost for want of
 * memory. One thread at a time, so in order.
 *
 * A pool with such a callback counts as one with a callback pending for ever: its waiting threads
 * sleep at pool.told, which the push wakes. If the nursery dies, the pool is broken, and what it
 * had not pushed is not told.
 */
#include "pool/exit.h"

#include <errno.h>

#include <tine/heap.h>

#include "pool/pool_impl.h"
#include "shm/waiters.h"

/* ---- the nursery's side ---------------------------------------------------------------------- */

int tine__exit_prepare(const struct tine__pool_shm *pool, uint32_t index)
{
    struct tine__worker_shm *worker = tine__worker_at(pool, index);

    if (pool->tells_exits == 0 || worker->exit_room != 0)
        return 0;
    worker->exit_room = TINE__ADDRESS(tine_calloc(1, sizeof(struct tine__exit_shm)));
    return worker->exit_room == 0 ? -ENOMEM : 0;
}

/* Dead before the push, the nursery loses the record: the pool is broken then. */
void tine__exit_tell(struct tine__pool_shm *pool, const tine_worker_exit *exit)
{
    struct tine__worker_shm *worker = tine__worker_at(pool, (uint32_t)exit->worker);
    struct tine__exit_shm *record = TINE__AT(struct tine__exit_shm, worker->exit_room);
    uint64_t newest = atomic_load_explicit(&pool->exits, memory_order_relaxed);

    if (record == NULL)
        return;
    worker->exit_room = 0;
    record->exit = *exit;
    do
        record->older = newest;
    /* seq_cst: pairs with the acquire in take, and stands before the look at who sleeps */
    while (!atomic_compare_exchange_weak_explicit(&pool->exits, &newest, TINE__ADDRESS(record),
                                                  memory_order_seq_cst, memory_order_relaxed));
    tine__waiters_wake_all(&pool->told);
}

/* ---- the program's side ---------------------------------------------------------------------- */

/* All that there are, oldest first. */
static struct tine__exit_shm *take(struct tine__pool_shm *pool)
{
    uint64_t newest = atomic_exchange_explicit(&pool->exits, 0, memory_order_acquire);
    struct tine__exit_shm *oldest = NULL;

    while (newest != 0) {
        struct tine__exit_shm *record = TINE__AT(struct tine__exit_shm, newest);

        newest = record->older;
        record->older = TINE__ADDRESS(oldest);
        oldest = record;
    }
    return oldest;
}

bool tine__exits_due(const tine_pool *pool)
{
    return !pool->exits_running &&
           atomic_load_explicit(&pool->shared->exits, memory_order_seq_cst) != 0;
}

/* Is the caller to tell of what there is? Then no other thread does until it has ended. */
static bool begin(tine_pool *pool)
{
    bool due;

    pthread_mutex_lock(&pool->mutex);
    due = tine__exits_due(pool);
    if (due)
        pool->exits_running = true;
    pthread_mutex_unlock(&pool->mutex);
    return due;
}

static void end(tine_pool *pool)
{
    pthread_mutex_lock(&pool->mutex);
    pool->exits_running = false;
    pthread_mutex_unlock(&pool->mutex);
}

static int64_t tell_all(tine_pool *pool)
{
    struct tine__exit_shm *record = take(pool->shared), *newer;
    int64_t count = 0;

    tine__in_callback = true;
    for (; record != NULL; record = newer, count++) {
        newer = TINE__AT(struct tine__exit_shm, record->older);
        pool->on_exit(pool, &record->exit, pool->on_exit_user);
        tine_free(record);
    }
    tine__in_callback = false;
    return count;
}

int64_t tine__exits_run(tine_pool *pool)
{
    int64_t count = 0;

    while (pool->on_exit != NULL && begin(pool)) {
        count += tell_all(pool);
        end(pool);
    }
    return count;
}

void tine__exits_free(struct tine__pool_shm *pool)
{
    struct tine__exit_shm *record = take(pool), *newer;

    for (; record != NULL; record = newer) {
        newer = TINE__AT(struct tine__exit_shm, record->older);
        tine_free(record);
    }
    for (uint32_t i = 0; pool->slots != 0 && i < pool->workers; i++)
        tine_free(TINE__AT(void, tine__worker_at(pool, i)->exit_room));
}
