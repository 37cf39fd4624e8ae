/* SPDX-License-Identifier: MIT */
/*
 * Futures and results: what a job gives back.
 *
 *     submit / for_async / map_async / …      future: pending ──► running ──► done        close
 *                                                         └──── cancel ───────┘
 *     starmap / apply                         results: complete from the start            close
 *
 *     tine_future *future;
 *     tine_pool_submit(&future, pool, power, NULL, "qq", INT64_C(2), INT64_C(10));
 *     rc = tine_future_result(future, TINE_SEC(5), "q", &value);
 *     tine_future_close(future);
 *
 * A future is done when its job is: with a result, with a failure, or because it was cancelled or
 * the pool ended (-ECANCELED) or broke (TINE_EBROKEN, TINE_EWORKER). It stays readable after its
 * pool was closed.
 *
 * Callbacks are run by whichever thread is inside a waiting call on the pool: one that waits for a
 * future, by tine_wait() too, tine_pool_join(), or tine_pool_run(), which is there for them. With
 * TINE_POOL_CALLBACK_THREAD the pool has a thread that runs them all, and nobody has to wait.
 * When a worker dies with the job, the future fails with TINE_EWORKER or the job runs again
 * (.retries); it never stays pending.
 */
#ifndef TINE_FUTURE_H
#define TINE_FUTURE_H

#include <tine/base.h>
#include <tine/task.h>
#include <tine/wait.h>

TINE_BEGIN_DECLS

typedef struct tine_future tine_future;
typedef struct tine_results tine_results;

/* What is called when a future is done. It may call anything but tine_pool_close(). */
typedef void tine_done_cb(tine_future *future, void *user);

typedef struct tine_as_completed tine_as_completed;

/* When tine_wait_futures() returns. */
enum {
    TINE_ALL_COMPLETED = 0,
    TINE_FIRST_COMPLETED = 1,
    TINE_FIRST_EXCEPTION = 2, /* one has failed, and was not just cancelled; or all are done */
};

/* What a job moved and cost. Times are of CLOCK_MONOTONIC; 0: not yet, or not taken. */
typedef struct tine_accounting {
    uint64_t bytes_in;  /* packed arguments or input arrays, and the context */
    uint64_t bytes_out; /* packed results or output arrays; 0 until the job has ended */
    uint64_t deaths;    /* workers that died with a part of it */
    uint64_t retries;   /* items that ran again after that */
    /* only in a pool with TINE_POOL_ACCOUNTING: */
    int64_t queued_ns;  /* submitted */
    int64_t started_ns; /* a worker began with it */
    int64_t ended_ns;   /* its last part ended */
    int64_t cpu_ns;     /* CPU time that its parts took in their workers, all threads of these; of
                           parts whose worker died nothing */
    uint64_t peak_rss_bytes; /* most memory that one of these workers has ever had */
    uint64_t reserved[8];
} tine_accounting;

#define TINE_CANCEL_RUNNING 1u /* for tine_future_cancel() */

/**
 * tine_future_done - has the job ended?
 *
 * In:      future  a future that is not closed
 * Out:     none
 * Shape:   none
 * Units:   none
 * Returns: true once the job has a result, a failure or was cancelled; it then stays true
 * Handle:  none
 * Give up: none
 * Blocks:  no
 * Safety:  thread any | process owner | fork child must not | signal no
 * Death:   a job lost with its worker counts as ended once that has been settled
 * Source:  pool/future.c; follows concurrent.futures.Future.done
 * Since:   0.1
 */
TINE_API bool tine_future_done(tine_future *future);

/**
 * tine_future_wait - wait until the job has ended
 *
 * In:      future      a future that is not closed
 *          timeout_ns  how long to wait
 * Out:     none
 * Shape:   none
 * Units:   timeout_ns nanoseconds (TINE_FOREVER, 0 = poll)
 * Returns: 0 when the job has ended, however it ended; else a negative code
 * Handle:  -ETIMEDOUT, -EAGAIN (timeout 0 and not done)
 * Give up: -EINVAL, TINE_EFORKED
 * Blocks:  yes, at most timeout_ns; not interrupted by signals; runs callbacks
 * Safety:  thread any | process owner | fork child must not | signal no
 * Death:   returns within 100 ms of the death of what the job needs
 * Source:  pool/future.c; follows multiprocessing AsyncResult.wait
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_future_wait(tine_future *future, int64_t timeout_ns);

/**
 * tine_future_result - wait for the job and unpack its result
 *
 * In:      future      a future that is not closed
 *          timeout_ns  how long to wait
 *          format      as tine_unpack() takes it, for the one value of a submitted task; NULL reads
 *                      nothing (and is the only one for jobs without values: for, reduce, map)
 * Out:     ...         one pointer (or pair) a letter; strings and arrays are borrowed until the
 *                      future is closed
 * Shape:   one msgpack value
 * Units:   timeout_ns nanoseconds (TINE_FOREVER, 0 = poll)
 * Returns: 0, or a negative code: of the wait, of the job, or of the unpacking
 * Handle:  -ETIMEDOUT, -EAGAIN (not done yet); TINE_EREMOTE, TINE_EWORKER, TINE_ELIMIT (the job
 *          failed: the tine_failure of the job options says how); -ECANCELED, -ESHUTDOWN
 * Give up: TINE_EFORMAT (another shape), -EINVAL, TINE_EFORKED, TINE_EBROKEN
 * Blocks:  yes, at most timeout_ns; not interrupted by signals; runs callbacks
 * Safety:  thread any | process owner | fork child must not | signal no
 * Death:   a worker that dies with the job gives TINE_EWORKER unless .retries lets it run again
 * Source:  pool/future.c; follows concurrent.futures.Future.result;
 *          differs: a failure is a code and data, not an exception
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_future_result(tine_future *future, int64_t timeout_ns,
                                             const char *format, ...);

/**
 * tine_future_results - wait for a starmap and read all of its results
 *
 * In:      future      a future of tine_pool_starmap_async() or tine_pool_submit()
 *          timeout_ns  how long to wait
 * Out:     results     all results, borrowed until the future is closed; written also when the job
 *                      failed in some items, whose results then give their own codes
 * Shape:   n argument tuples give n results; result i belongs to tuple i
 * Units:   timeout_ns nanoseconds (TINE_FOREVER, 0 = poll)
 * Returns: as tine_future_result()
 * Handle:  as tine_future_result()
 * Give up: -EINVAL (a job without values), TINE_EFORKED, TINE_EBROKEN
 * Blocks:  yes, at most timeout_ns; not interrupted by signals; runs callbacks
 * Safety:  thread any | process owner | fork child must not | signal no
 * Death:   as tine_future_result()
 * Source:  pool/future.c; follows multiprocessing AsyncResult.get
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_future_results(tine_future *future, int64_t timeout_ns,
                                              const tine_results **results);

/**
 * tine_future_exception - wait for the job and say how it failed
 *
 * In:      future      a future that is not closed
 *          timeout_ns  how long to wait
 * Out:     failure     how; written only for 1
 * Shape:   of several failed items the one with the lowest index
 * Units:   timeout_ns nanoseconds (TINE_FOREVER, 0 = poll)
 * Returns: 0: it succeeded; 1: it failed, as *failure says; or a negative code
 * Handle:  -ETIMEDOUT, -EAGAIN (not done yet); -ECANCELED
 * Give up: -EINVAL, TINE_EFORKED
 * Blocks:  as tine_future_result()
 * Safety:  thread any | process owner | fork child must not | signal no
 * Death:   as tine_future_result()
 * Source:  pool/future.c; follows concurrent.futures.Future.exception
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_future_exception(tine_future *future, int64_t timeout_ns,
                                                tine_failure *failure);

/**
 * tine_future_running - does a worker have the job, or a part of it, in hand?
 *
 * In:      future  a future that is not closed
 * Out:     none
 * Shape:   none
 * Units:   none
 * Returns: true from the time that a worker began with it until it is done; of loops: with the
 *          first part
 * Handle:  none
 * Give up: none
 * Blocks:  no
 * Safety:  thread any | process owner | fork child must not | signal no
 * Death:   a call whose worker died, and that is run again, is not running in between
 * Source:  pool/cancel.c; follows concurrent.futures.Future.running
 * Since:   0.1
 */
TINE_API bool tine_future_running(tine_future *future);

/**
 * tine_future_cancel - have a job not run, or stopped
 *
 * In:      future  a future that is not closed
 *          flags   0: only if no worker has begun with it; TINE_CANCEL_RUNNING: running work is
 *                  stopped by killing the workers that are at it, and no others
 * Out:     none
 * Shape:   a loop or starmap is cancelled as a whole
 * Units:   none
 * Returns: 1: it is cancelled, now or before, and its result is -ECANCELED; no part of it runs or
 *          will, nor has without TINE_CANCEL_RUNNING, but in a worker that died. 0: too late, it
 *          runs or has ended. Or a negative code
 * Handle:  none
 * Give up: -EINVAL (unknown flags), TINE_EFORKED
 * Blocks:  no; with TINE_CANCEL_RUNNING until the killed workers are gone, usually a few
 *          milliseconds, at most a second
 * Safety:  thread any, also in a callback | process owner | fork child must not | signal no
 * Death:   what is cancelled is not run again, whatever .retries; killed workers are replaced
 * Source:  pool/cancel.c; follows concurrent.futures.Future.cancel; differs: can stop running work
 * Since:   0.1
 */
TINE_API int tine_future_cancel(tine_future *future, uint32_t flags);

/**
 * tine_future_cancelled - was the job cancelled?
 *
 * In:      future  a future that is not closed
 * Out:     none
 * Shape:   none
 * Units:   none
 * Returns: true if its result is, or will be, -ECANCELED; it then stays true
 * Handle:  none
 * Give up: none
 * Blocks:  no
 * Safety:  thread any | process owner | fork child must not | signal no
 * Death:   none
 * Source:  pool/cancel.c; follows concurrent.futures.Future.cancelled; differs: jobs that a
 *          terminated pool left undone count as well
 * Since:   0.1
 */
TINE_API bool tine_future_cancelled(tine_future *future);

/**
 * tine_future_add_done_callback - have a function called when the job has ended, however it did
 *
 * In:      future    a future that is not closed
 *          callback  called once with the future, whose result it may read, and user. If the job
 *                    has ended already: at once, in this call, unless another thread is running
 *                    earlier callbacks of the future and so will run this one, or the pool has a
 *                    thread for it
 *          user      the caller's own
 * Out:     none
 * Shape:   callbacks of one future run one after the other in the order of adding, those of several
 *          futures in the order in which they are found done
 * Units:   none
 * Returns: 0, or a negative code
 * Handle:  none
 * Give up: -EINVAL, -ENOMEM, TINE_EFORKED
 * Blocks:  no, but for callbacks
 * Safety:  thread any, also in a callback | process owner | fork child must not | signal no. No
 *          lock is held in a callback; it may close its future, unless somebody waits for just that
 *          one, and wait for others, but runs no other callbacks meanwhile.
 *          A future that is closed first lives on until its callbacks have run
 * Death:   as the job: a callback is called whoever dies, at the latest by tine_pool_close()
 * Source:  pool/callback.c; follows concurrent.futures.Future.add_done_callback; differs: a thread
 *          of the pool's that runs it is to be asked for, see tine_pool_run()
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_future_add_done_callback(tine_future *future, tine_done_cb *callback,
                                                        void *user);

/**
 * tine_future_waitable - an entry for tine_wait(): ready once the job has ended
 *
 * In:      future  a future that is not closed
 * Out:     none
 * Shape:   none
 * Units:   none
 * Returns: the entry, good until the future is closed
 * Handle:  none
 * Give up: none: tine_wait() refuses NULL and the futures of another process
 * Blocks:  no
 * Safety:  thread any | process owner | fork child must not | signal no
 * Death:   as tine_future_wait()
 * Source:  pool/future.c; follows the waiters of Python's concurrent.futures.wait
 * Since:   0.1
 */
TINE_API tine_waitable tine_future_waitable(tine_future *future);

/**
 * tine_future_accounting - what a job moved and cost
 *
 * In:      future      a future that is not closed
 * Out:     accounting  what is known by now; complete once the job has ended
 * Shape:   of a job without items all is 0
 * Units:   nanoseconds, bytes and counts, as the fields say
 * Returns: 0, or a negative code
 * Handle:  none
 * Give up: -EINVAL, TINE_EFORKED
 * Blocks:  no; of a starmap it goes through all results
 * Safety:  thread any | process owner | fork child must not | signal no
 * Death:   a part that died with its worker counts in deaths and in the time of the end, not in
 *          cpu_ns
 * Source:  pool/account.c; tine's own
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_future_accounting(tine_future *future, tine_accounting *accounting);

/**
 * tine_future_close - let go of a future
 *
 * In:      future  a future, or NULL
 * Out:     none
 * Shape:   none
 * Units:   none
 * Returns: nothing
 * Handle:  none
 * Give up: none
 * Blocks:  no; a job that has not ended goes on and its result is dropped, except that one with an
 *          `out` or accumulator of the caller's is stopped first, its workers killed where they do
 *          not stop
 * Safety:  thread one | process owner | fork child may close | signal no
 * Death:   none
 * Source:  pool/release.c; what dropping the last reference does in Python
 * Since:   0.1
 */
TINE_API void tine_future_close(tine_future *future);

/**
 * tine_wait_futures - wait for several futures
 *
 * In:      futures      n futures that are not closed, of any pools; the same one may stand in
 *                       several places
 *          n            how many
 *          return_when  TINE_ALL_COMPLETED, TINE_FIRST_COMPLETED or TINE_FIRST_EXCEPTION
 *          timeout_ns   how long to wait
 * Out:     none: tine_future_done() says which
 * Shape:   each future counts once
 * Units:   timeout_ns nanoseconds (TINE_FOREVER, 0 = look only)
 * Returns: how many are done, also when the time is over first; or a negative code
 * Handle:  none
 * Give up: -EINVAL (NULL among them, another return_when), -ENOMEM, TINE_EFORKED; of several pools
 *          also what tine_wait() gives
 * Blocks:  yes, at most timeout_ns; not interrupted by signals; runs callbacks
 * Safety:  thread any | process owner | fork child must not | signal no. No other thread may close
 *          one of them meanwhile, nor may a callback
 * Death:   returns within 100 ms of the death of what is needed
 * Source:  pool/completed.c; follows concurrent.futures.wait; differs: a count, not two sets
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_wait_futures(tine_future *const *futures, size_t n,
                                            int32_t return_when, int64_t timeout_ns);

/**
 * tine_as_completed_open - go through futures in the order in which they are done
 *
 * In:      futures   n futures that are not closed, of any pools; the same one may stand in several
 *                    places; each is to stay open until it has been handed out, or the iterator is
 *                    closed
 *          n         how many
 * Out:     iterator  to be freed with tine_as_completed_close()
 * Shape:   each future is handed out once, those that are done already first
 * Units:   none
 * Returns: 0, or a negative code
 * Handle:  none
 * Give up: -EINVAL, -ENOMEM, TINE_EFORKED
 * Blocks:  no
 * Safety:  thread any | process owner | fork child must not | signal no
 * Death:   none
 * Source:  pool/completed.c; follows concurrent.futures.as_completed
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_as_completed_open(tine_as_completed **iterator,
                                                 tine_future *const *futures, size_t n);

/**
 * tine_as_completed_next - the next future that is done
 *
 * In:      iterator    from tine_as_completed_open()
 *          timeout_ns  how long to wait
 * Out:     future      the future, the caller's as before; it may be closed
 * Shape:   none
 * Units:   timeout_ns nanoseconds (TINE_FOREVER, 0 = look only)
 * Returns: 1: *future is done; 0: all have been handed out; or a negative code
 * Handle:  -ETIMEDOUT, -EAGAIN (timeout 0, and none is done)
 * Give up: -EINVAL, TINE_EFORKED; of several pools also what tine_wait() gives
 * Blocks:  as tine_wait_futures()
 * Safety:  thread one | process owner | fork child must not | signal no
 * Death:   as tine_wait_futures()
 * Source:  pool/completed.c; follows concurrent.futures.as_completed; differs: each call has its
 *          own timeout
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_as_completed_next(tine_as_completed *iterator, int64_t timeout_ns,
                                                 tine_future **future);

/**
 * tine_as_completed_close - free an iterator
 *
 * In:      iterator  from tine_as_completed_open(), or NULL
 * Out:     none
 * Shape:   none
 * Units:   none
 * Returns: nothing
 * Handle:  none
 * Give up: none
 * Blocks:  no; the futures are left as they are
 * Safety:  thread one | process owner | fork child may close | signal no
 * Death:   none
 * Source:  pool/completed.c
 * Since:   0.1
 */
TINE_API void tine_as_completed_close(tine_as_completed *iterator);

/**
 * tine_results_count - how many results there are
 *
 * In:      results  results that are not closed
 * Out:     none
 * Shape:   none
 * Units:   none
 * Returns: the number of argument tuples of the job; 0 for NULL
 * Handle:  none
 * Give up: none
 * Blocks:  no
 * Safety:  thread any | process owner | fork child may call | signal no
 * Death:   none
 * Source:  pool/results.c
 * Since:   0.1
 */
TINE_API size_t tine_results_count(const tine_results *results);

/**
 * tine_results_get - unpack one result
 *
 * In:      results  results that are not closed
 *          index    which one, from 0
 *          format   as tine_unpack() takes it, for one value
 * Out:     ...      one pointer (or pair) a letter; strings and arrays are borrowed until the
 *                   results are closed
 * Shape:   one msgpack value; result i belongs to argument tuple i
 * Units:   none
 * Returns: 0, or a negative code
 * Handle:  the item's own code when it failed: TINE_EREMOTE, TINE_EWORKER, TINE_ELIMIT; -ECANCELED
 *          (never ran)
 * Give up: TINE_EFORMAT (another shape, or the item gave none), -ERANGE, -EINVAL (index too large,
 *          bad format)
 * Blocks:  no
 * Safety:  thread any | process owner | fork child may call | signal no
 * Death:   none
 * Source:  pool/results.c
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_results_get(const tine_results *results, size_t index,
                                           const char *format, ...);

/**
 * tine_results_packed - one result as msgpack bytes
 *
 * In:      results  results that are not closed
 *          index    which one, from 0
 * Out:     bytes    the value, borrowed until the results are closed
 *          size     its length
 * Shape:   one msgpack value
 * Units:   size bytes
 * Returns: 0, or a negative code as tine_results_get()
 * Handle:  the item's own code when it failed
 * Give up: -EINVAL
 * Blocks:  no
 * Safety:  thread any | process owner | fork child may call | signal no
 * Death:   none
 * Source:  pool/results.c
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_results_packed(const tine_results *results, size_t index,
                                              const void **bytes, size_t *size);

/**
 * tine_results_close - let go of results
 *
 * In:      results  results that a call returned (not those borrowed from a future), or NULL
 * Out:     none
 * Shape:   none
 * Units:   none
 * Returns: nothing
 * Handle:  none
 * Give up: none
 * Blocks:  no
 * Safety:  thread one | process owner | fork child may close | signal no
 * Death:   none
 * Source:  pool/results.c
 * Since:   0.1
 */
TINE_API void tine_results_close(tine_results *results);

TINE_END_DECLS

#endif
