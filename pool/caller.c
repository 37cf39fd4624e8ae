/* SPDX-License-Identifier: MIT */
/*
 * The caller: a thread of the pool's own that runs its callbacks, where TINE_POOL_CALLBACK_THREAD
 * asks for it.
 *
 * It does what tine_pool_run() does until the pool has ended, and is joined when the pool is
 * closed. While there is one, no other thread runs callbacks of that pool: waiting threads see none
 * pending. It has all signals blocked. A forked child has no such thread, and may only close its
 * copy of the pool.
 */
#include "pool/caller.h"

#include <errno.h>

#include "lib/sig.h"
#include "lib/sys.h"

_Thread_local const struct tine_pool *tine__caller_of __attribute__((tls_model("initial-exec")));

/* Nothing is due: from here on whoever adds a callback runs it. */
static bool has_ended(struct tine_pool *pool)
{
    bool ended;

    pthread_mutex_lock(&pool->mutex);
    ended = !tine__callbacks_left(pool);
    if (ended) /* release: who sees it sees what the callbacks did */
        atomic_store_explicit(&pool->caller_ended, 1, memory_order_release);
    pthread_mutex_unlock(&pool->mutex);
    return ended;
}

static void *call(void *context)
{
    struct tine_pool *pool = context;

    tine__caller_of = pool;
    while (tine__callbacks_serve(pool, TINE__NEVER) >= 0)
        ;
    while (!has_ended(pool))
        (void)tine__callbacks_run(pool); /* what the end of the pool has made due */
    tine__sys_futex_wake(&pool->caller_ended, INT32_MAX);
    return NULL;
}

int tine__caller_start(tine_pool *pool)
{
    sigset_t saved;
    int rc;

    pool->has_caller = true;
    tine__sig_block(&saved);
    rc = pthread_create(&pool->caller, NULL, call, pool);
    tine__sig_restore(&saved);
    if (rc != 0)
        pool->has_caller = false;
    return -rc;
}

int tine__caller_await(tine_pool *pool, tine__deadline deadline)
{
    if (!pool->has_caller || tine__in_callback)
        return 0;
    while (atomic_load_explicit(&pool->caller_ended, memory_order_acquire) == 0) {
        int64_t left = deadline == TINE__NEVER ? -1 : tine__deadline_left(deadline);

        if (left == 0)
            return -ETIMEDOUT;
        (void)tine__sys_futex_wait(&pool->caller_ended, 0, left);
    }
    return 0;
}

void tine__caller_join(tine_pool *pool)
{
    if (pool->has_caller)
        pthread_join(pool->caller, NULL);
    pool->has_caller = false;
}
