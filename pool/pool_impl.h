/* SPDX-License-Identifier: MIT */
/* The program's private side of a pool: shared by the files of this folder that make and await
 * jobs. */
#ifndef TINE_POOL_POOL_IMPL_H
#define TINE_POOL_POOL_IMPL_H

#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <tine/pool.h>

#include "lib/clock.h"
#include "lib/codec.h"
#include "pool/claim.h"
#include "pool/job.h"
#include "pool/layout.h"
#include "pool/nursery.h"
#include "pool/stream.h"
#include "pool/task.h"

/* How a pool stands; only ever moves down this list. Written under the mutex. */
enum tine__pool_status {
    TINE__OPEN,
    TINE__SHUT,       /* joining: no new work, what is there is done */
    TINE__ENDED,      /* joined: nursery and workers have left */
    TINE__BROKEN,     /* the nursery died */
    TINE__TERMINATED, /* killed */
};

struct tine__totals {
    uint64_t bytes_in, bytes_out;
    int64_t waited_ns, ran_ns;
};

/*
 * Handles are never given back to malloc but kept for the next pools (pool/spares.h).
 */
struct tine_pool {
    _Atomic uint64_t magic;
    _Atomic uint64_t id; /* of this opening; 0 when closed */
    uint64_t generation; /* of the process that opened it */
    pthread_mutex_t
        mutex; /* guards all below but the atomics; never held in a callback, nor while waiting
                  but for killed processes, a few milliseconds, at most 0.4 s */
    _Atomic int status;
    int32_t kind; /* TINE_PROCESSES … */
    struct tine__pool_shm *shared;
    struct tine__stream *streams[TINE__LANES]; /* as in shared->lanes */
    struct tine__sticky *sticky; /* pool/sticky.c; NULL: no key has been used */
    struct tine__tasks tasks;
    struct tine__nursery nursery;
    struct tine_future *jobs;                       /* not yet seen to be done; newest first */
    struct tine_future *called_first, *called_last; /* those with callbacks, oldest first */
    _Atomic uint64_t called;                        /* how many these are */
    _Atomic uint64_t cancels; /* bumped when jobs become over that no worker has begun with */
    struct tine_future
        *deferred;        /* done and closed, but a worker may still be looking at the job */
    uint64_t serial;      /* of the last job */
    uint64_t last_number; /* of a descriptor */
    uint64_t submitted, done;
    uint64_t closed_jobs; /* in `jobs`, with their handle closed */
    uint64_t next_sweep;  /* value of `submitted` at which to look for closed ones that are done */
    uint64_t heard;       /* workers started when the nursery was last listened to */
    uint64_t cpu_told;    /* ns: the most that tine_pool_stats() has said */
    uint64_t budgeted;    /* its word in the family's CPU budget; 0: it does not count */
    _Atomic int64_t next_look; /* when to look after nursery and work again (pool/future.c) */
    int32_t cpus;              /* counted once; 0: not yet */
    bool no_spin;              /* as asked for */
    bool quiet_end;            /* all processes are known to be gone: blocks may be freed */
    bool has_caller;           /* callbacks are run by `caller` alone; constant while it runs */
    pthread_t caller;
    _Atomic uint32_t caller_ended; /* futex: 1 once it has run the last callback */
    bool exits_running;        /* a thread calls on_exit */
    struct tine__totals totals; /* of jobs whose end was seen, with TINE_POOL_ACCOUNTING */
    tine_worker_exit_cb *on_exit;
    void *on_exit_user;
    struct tine_pool *next; /* among the spares */
};

/* Part of its future, so it lives as long. */
struct tine_results {
    struct tine_future *future;
    size_t count;
    struct tine__texts texts; /* strings handed out */
    pthread_mutex_t mutex;    /* guards texts */
};

/* COLLECTING_WAITED: and another thread sleeps until that is over */
enum { TINE__PENDING, TINE__COLLECTING, TINE__COLLECTING_WAITED, TINE__COLLECTED };

/* A callback of a future. */
struct tine__notice {
    tine_done_cb *callback;
    void *user;
    struct tine__notice *next;
};

/* A job as the program holds it: one for each, blocking calls included. */
struct tine_future {
    struct tine_pool *pool; /* its own as long as the ids are equal; then it was closed */
    uint64_t pool_id;
    uint64_t generation;
    struct tine__job_shm *job; /* NULL: nothing was to be done (no items) */
    _Atomic uint32_t phase;    /* futex: TINE__PENDING … TINE__COLLECTED */
    int32_t code; /* the job's, from TINE__COLLECTED on; before: why it was cancelled, or 0 */
    struct tine__stream *stream; /* where its tickets are; NULL: in a track */
    uint64_t first_ticket;       /* or its number there */
    uint32_t tickets;
    uint32_t track; /* + 1 (pool/sticky.c); 0: none */
    uint64_t key;   /* 0: none */
    /* more of them, since the pool grew (pool/resize.c) */
    struct tine__invitation *invitations;
    bool closed;     /* the handle is gone; freed when the job is done */
    bool linked;     /* in pool->jobs */
    bool counted;    /* in pool->done */
    bool calling;    /* a thread runs its callbacks */
    bool dropped;    /* the handle is gone; to be closed when the callbacks have run */
    bool in_place;   /* workers write into the caller's own memory */
    bool blocking;   /* made by a call that waits for it at once */
    bool wake_later; /* a second worker is to be woken if the job is not done in a moment */
    struct tine_future *newer, *older;
    struct tine__notice *notices, *last_notice; /* callbacks that have not run, in order */
    struct tine_future *called_next,
        *called_previous; /* in the pool's list, while it has notices */
    /* what to do at the end */
    void *out; /* map: copy here; reduce: the accumulator */
    size_t out_bytes;
    tine_combine *combine;
    tine_failure *failure;
    tine_progress_cb *progress;
    void *progress_user;
    int64_t submitted_ns, next_progress_ns;
    struct tine_results results;
};

/* ---- pool.c ---------------------------------------------------------------------------------- */

/* May this process submit to the pool? 0, -EINVAL, -EBADF, TINE_EFORKED, -ESHUTDOWN, TINE_EBROKEN.
 */
int tine__pool_check(tine_pool *pool);
/* The same for calls that are allowed in any status. */
int tine__pool_check_handle(tine_pool *pool);
/* No new work from now on. */
void tine__pool_shut(tine_pool *pool);
/* Does nobody work for the pool any more, although it was not told to end? Nothing is changed by
   this. */
bool tine__pool_has_fallen(tine_pool *pool);
/* Looks whether the nursery lives; if not, the pool is broken from here on. */
bool tine__pool_is_broken(tine_pool *pool);
/* Spins as long as fits the pool's size. Under the mutex. */
void tine__pool_tune(tine_pool *pool);
/* Kills the workers that are in this job. */
void tine__pool_kill_job(tine_pool *pool, struct tine__job_shm *job);

/* ---- priority.c ------------------------------------------------------------------------------ */

/* Makes the lane if it is not there. Under the mutex. -ENOMEM. */
int tine__priority_open(struct tine_pool *pool, uint32_t lane);
/* Frees all of them. */
void tine__priority_fini(struct tine_pool *pool);

/* ---- submit.c -------------------------------------------------------------------------------- */

/* What a kind of job asks for; the rest of tine__job_shm is filled in by its maker. */
struct tine__plan {
    enum tine__job_kind kind;
    const void *function;
    const tine_job_options *options; /* never NULL */
    bool async;
    uint64_t extra; /* bytes behind the job, 64-byte aligned */
};

/* Options as given, or all defaults. */
const tine_job_options *tine__job_options(const tine_job_options *options);
/* -E2BIG, -EINVAL. */
int tine__job_options_check(const tine_job_options *options, bool async);
/* As tine__pool_check(); and why, where a broken pool refuses. */
int tine__pool_admits(tine_pool *pool, const tine_job_options *options);
/* Makes a future with its job: pool and options checked, context copied, task described. */
int tine__future_open(struct tine_future **future, tine_pool *pool, const struct tine__plan *plan);
/* A future of a job that has nothing to do. */
int tine__future_open_empty(struct tine_future **future, tine_pool *pool,
                            const struct tine__plan *plan);
/* Memory in the family heap that is freed with the future; NULL when there is none. */
void *tine__future_alloc(struct tine_future *future, uint64_t size);
/* Gives the job to the workers and the future to *made; frees it on failure. */
int tine__future_publish(struct tine_future *future, uint32_t tickets, struct tine_future **made);

/* ---- loop.c ---------------------------------------------------------------------------------- */

/* A future whose loop job of n indices is cut into units. */
int tine__loop_open(struct tine_future **future, tine_pool *pool, struct tine__plan *plan,
                    uint64_t n);
int tine__loop_publish(struct tine_future *future, struct tine_future **made);

/* ---- starmap.c ------------------------------------------------------------------------------- */

/* tine_pool_submit() with packed arguments: one array, and no descriptors. */
int tine__call_start(struct tine_future **future, tine_pool *pool, tine_function *function,
                     const tine_job_options *options, const tine_buffer *args);

/* ---- future.c -------------------------------------------------------------------------------- */

#define TINE__POOL_LOOK_NS                                                                         \
    TINE_MS(50) /* how often a waiting thread looks whether the nursery lives */

/* -EINVAL, TINE_EFORKED. */
int tine__future_check(const struct tine_future *future);
/* Futures may outlive their pool. */
static inline bool tine__future_is_orphan(const struct tine_future *future)
{
    return atomic_load_explicit(&future->pool->id, memory_order_relaxed) != future->pool_id;
}
static inline int tine__future_status(const struct tine_future *future)
{
    if (tine__future_is_orphan(future))
        return TINE__TERMINATED;
    return atomic_load_explicit(&future->pool->status, memory_order_acquire);
}
/* Is there nothing to wait for? */
static inline bool tine__future_over(struct tine_future *future)
{
    return atomic_load_explicit(&future->phase, memory_order_acquire) == TINE__COLLECTED ||
           tine__job_over(future->job) || tine__future_status(future) >= TINE__ENDED;
}
/* Waits, and takes in what the job left: 0 once future->code is final, -ETIMEDOUT. */
int tine__future_await(struct tine_future *future, tine__deadline deadline);
/*
 * The wait of a blocking call: as long as the options allow, then the job is stopped. Returns the
 * job's code and closes the future, unless *results is set to what then owns it.
 */
int tine__future_finish(struct tine_future *future, const tine_job_options *options,
                        tine_results **results);
/* The end of the job wakes those who wait at pool.told. False: it is over already. */
bool tine__future_tell(struct tine_future *future);
/* Sleeps on the job's state, for one that has not ended. */
void tine__future_sleep(struct tine_future *future, int64_t ns);
/*
 * What every waiting or polling thread sees to now and then: that the nursery lives, and that no
 * work is left lying because the worker was stopped that was to see it (it spun), or to wake the
 * next.
 */
void tine__pool_look_after(tine_pool *pool);
/* Keeps the pidfds of the workers at hand, so that ending the pool does not depend on the
   nursery. */
void tine__pool_listen(tine_pool *pool);

/* ---- release.c ------------------------------------------------------------------------------- */

/* Takes the future out of the pool's list of jobs. Under the mutex. */
void tine__future_unlink(struct tine_future *future);
/* Frees what is done, closed and no longer looked at. Under the mutex. */
void tine__pool_sweep(tine_pool *pool);
/* Closes a future whose callbacks have run. */
void tine__future_let_go(struct tine_future *future);
/* Frees a future that is in no list; with_blocks false: what workers may write to is left alone. */
void tine__future_free(struct tine_future *future, bool with_blocks);

/* ---- cancel.c -------------------------------------------------------------------------------- */

/* Starts nothing more of the job and kills what runs of it. Returns when it has ended, or cannot
 * soon. */
void tine__future_stop(struct tine_future *future);
/* The end of a pool without processes: all jobs are over, as cancelled ones or not. Under the
   mutex. */
void tine__pool_abandon(tine_pool *pool, bool cancelled);

/* ---- callback.c ------------------------------------------------------------------------------ */

/* Is this thread in a callback? Then it runs no others, however it waits: that could nest without
   end. */
extern _Thread_local bool tine__in_callback __attribute__((tls_model("initial-exec")));
/* The pool whose own thread this is, or NULL; see pool/caller.c. */
extern _Thread_local const struct tine_pool *tine__caller_of
    __attribute__((tls_model("initial-exec")));
/* Are there callbacks that this thread may have to run? */
static inline bool tine__callbacks_pending(const tine_pool *pool)
{
    return atomic_load_explicit(&pool->called, memory_order_relaxed) > 0 && !tine__in_callback &&
           (!pool->has_caller || tine__caller_of == pool);
}
/* Is there a callback to be run now, by whomever? Under the mutex. */
bool tine__callbacks_left(tine_pool *pool);
/* Is there one for this thread? */
bool tine__callbacks_due(tine_pool *pool);
/* Runs all that are due; how many that were. Without the mutex. */
int64_t tine__callbacks_run(tine_pool *pool);
/* The same, once there is one: 0 when the deadline has passed, -ESHUTDOWN when the pool has
   ended. */
int64_t tine__callbacks_serve(tine_pool *pool, tine__deadline deadline);
/*
 * Waits, and runs callbacks, until the test is true or the pool has ended: 0, or -ETIMEDOUT. What
 * it tests has been told of by tine__future_tell().
 */
typedef bool tine__test(void *context);
int tine__pool_await(tine_pool *pool, tine__test *test, void *context, tine__deadline deadline);
/* A future that has become over out of turn is found at once. Under the mutex. */
void tine__callbacks_prefer(struct tine_future *future);

/* ---- account.c ------------------------------------------------------------------------------- */

/* Adds a job whose results have been taken in to its pool's totals. Under the mutex. */
void tine__account_collect(struct tine_future *future);
/* Fills in what the pool's workers have used. Under the mutex. */
void tine__account_count(struct tine_pool *pool, tine_pool_counts *counts);

/* ---- exit.c ---------------------------------------------------------------------------------- */

/* Is there the end of a worker to be told of? Under the mutex. */
bool tine__exits_due(const tine_pool *pool);
/* Tells of all, unless another thread is at it; how many that were. Without the mutex. */
int64_t tine__exits_run(tine_pool *pool);
/* Frees those that nobody was told of: the pool has ended. */
void tine__exits_free(struct tine__pool_shm *pool);

/* ---- results.c ------------------------------------------------------------------------------- */

void tine__results_fini(struct tine_results *results);
/* One result as bytes, or its code. */
int tine__results_find(const struct tine_results *results, size_t index, const void **bytes,
                       size_t *size);
int tine__results_unpack(struct tine_results *results, const void *bytes, size_t size,
                         const char *format, va_list args);

/* ---- progress.c ------------------------------------------------------------------------------ */

/* Calls the job's progress callback if it is due; ns until it is due again. */
int64_t tine__progress_report(struct tine_future *future, bool at_end);

#endif
