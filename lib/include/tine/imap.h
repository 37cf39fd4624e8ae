/* SPDX-License-Identifier: MIT */
/*
 * imap: the results of a stream of calls, one after the other, while the stream is still being
 * made.
 *
 *     static int next_line(tine_buffer *args, void *file)          the source: packs one tuple
 *     {
 *         char line[256];
 *         int rc;
 *
 *         if (fgets(line, sizeof line, file) == NULL)
 *             return 0;                                            no more
 *         rc = tine_pack(args, "[s]", line);
 *         return rc < 0 ? rc : 1;
 *     }
 *
 *     tine_pool_imap(&imap, pool, count_words, &(tine_source){.next = next_line, .user = file}, NULL);
 *     while ((rc = tine_imap_next(imap, TINE_FOREVER, "q", &words)) != 0)
 *         if (rc == 1)
 *             total += words;                                      result tine_imap_index(imap)
 *         else
 *             …                                                    that item failed; the next ones follow
 *     tine_imap_close(imap);                                       also early: cancels what waits
 *
 * However long the stream is, only a window of it is in memory. When a worker dies, the item in its
 * hand fails with TINE_EWORKER, at its place, or is run again (.retries); all others get their
 * results.
 */
#ifndef TINE_IMAP_H
#define TINE_IMAP_H

#include <tine/base.h>
#include <tine/codec.h>
#include <tine/pool.h>

TINE_BEGIN_DECLS

typedef struct tine_imap tine_imap;

/* Where the tuples come from. It is called inside tine_imap_next() only, by the calling thread. */
typedef struct tine_source {
    /* Adds one tuple, as tine_pack(args, "[qs]", …) does: 1. There are no more: 0. Or a negative
       code. */
    int (*next)(tine_buffer *args, void *user);
    void *user;
} tine_source;

/* Options of an imap; zero in a field means its default. */
typedef struct tine_imap_options {
    const tine_job_options *job; /* of the calls; .chunk: tuples that a worker takes at a time,
                                    default 1; .failure is written when a failed item is handed out;
                                    no progress, fail_fast, timeout_ns or key */
    uint64_t window;             /* tuples pulled from the source and not handed out; default: 32
                                    chunks a worker, at least 128 chunks */
    uint64_t reserved[6];        /* must be zero */
} tine_imap_options;

/**
 * tine_pool_imap - call a task for each tuple of a stream, results in the order of the stream
 *
 * In:      pool      open pool
 *          function  the task
 *          source    copied; its user is the caller's, and used until the end of the stream or the
 *                    close
 *          options   NULL for defaults; copied, with the context; .job->failure is kept until the
 *                    close
 * Out:     imap      to be read with tine_imap_next() and freed with tine_imap_close()
 * Shape:   n tuples, n results
 * Units:   options.window tuples
 * Returns: 0, or a negative code; *imap is set only for 0
 * Handle:  -ESHUTDOWN
 * Give up: -EINVAL, -E2BIG, -EBADF, -ENOMEM, TINE_EBROKEN, TINE_EFORKED
 * Blocks:  no; nothing is pulled yet
 * Safety:  thread any | process owner | fork child must not | signal no
 * Death:   seen in the results
 * Source:  pool/imap.c; follows Python's Pool.imap, and Executor.map with buffersize; differs: no
 *          thread pulls the source beforehand
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_pool_imap(tine_imap **imap, tine_pool *pool, tine_function *function,
                                         const tine_source *source,
                                         const tine_imap_options *options);

/**
 * tine_pool_imap_unordered - call a task for each tuple of a stream, results as they come
 *
 * In:      pool, function, source, options  as tine_pool_imap()
 * Out:     imap                             as tine_pool_imap()
 * Shape:   n tuples, n results, each as soon as its chunk is done; tine_imap_index() tells which
 * Units:   options.window tuples
 * Returns: 0, or a negative code; *imap is set only for 0
 * Handle:  as tine_pool_imap()
 * Give up: as tine_pool_imap()
 * Blocks:  no; nothing is pulled yet
 * Safety:  thread any | process owner | fork child must not | signal no
 * Death:   seen in the results
 * Source:  pool/imap.c; follows Python's Pool.imap_unordered
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_pool_imap_unordered(tine_imap **imap, tine_pool *pool,
                                                   tine_function *function,
                                                   const tine_source *source,
                                                   const tine_imap_options *options);

/**
 * tine_imap_next - the next result
 *
 * In:      imap        from tine_pool_imap()
 *          timeout_ns  how long to wait; what the source takes comes on top
 *          format      as tine_unpack() takes it, for one value; NULL reads nothing
 * Out:     ...         one pointer (or pair) a letter; strings and arrays are borrowed until the
 *                      next call
 * Shape:   one msgpack value
 * Units:   timeout_ns nanoseconds (TINE_FOREVER, 0 = only what is there; the source is pulled all
 *          the same)
 * Returns: 1: a result; 0: the end; or a negative code, after which the next call goes on
 * Handle:  -ETIMEDOUT, -EAGAIN: nothing was handed out. The item's own: TINE_EREMOTE, TINE_EWORKER,
 *          TINE_ELIMIT, -ECANCELED (the pool was terminated). What ends the stream, told once
 *          behind the last result: the source's own code, -ESHUTDOWN, -EAGAIN, -ENOMEM (no more
 *          could be submitted)
 * Give up: TINE_EFORMAT (the result has another shape, see tine_imap_packed(); or the source gave
 *          what is no tuple), -ERANGE, -EINVAL, TINE_EBROKEN, TINE_EFORKED
 * Blocks:  yes, at most timeout_ns and what the source takes; not interrupted by signals; runs
 *          callbacks
 * Safety:  thread one | process owner | fork child must not | signal no
 * Death:   as tine_future_result()
 * Source:  pool/imap.c; follows IMapIterator.next; differs: a failure is a code and data, not an
 *          exception
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_imap_next(tine_imap *imap, int64_t timeout_ns, const char *format,
                                         ...);

/**
 * tine_imap_packed - the result that was handed out last as msgpack bytes
 *
 * In:      imap   from tine_pool_imap()
 * Out:     bytes  the value, borrowed until the next tine_imap_next()
 *          size   its length
 * Shape:   one msgpack value
 * Units:   size bytes
 * Returns: 0, or a negative code
 * Handle:  -ENOENT (the last call handed out no result)
 * Give up: -EINVAL, TINE_EFORKED
 * Blocks:  no
 * Safety:  thread one | process owner | fork child must not | signal no
 * Death:   none
 * Source:  pool/imap.c
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_imap_packed(const tine_imap *imap, const void **bytes, size_t *size);

/**
 * tine_imap_index - which tuple of the stream was handed out last
 *
 * In:      imap  from tine_pool_imap()
 * Out:     none
 * Shape:   none
 * Units:   none
 * Returns: its number, from 0; after the end of the stream, or its failure, the number of all
 *          tuples
 * Handle:  none
 * Give up: none
 * Blocks:  no
 * Safety:  thread one | process owner | fork child may call | signal no
 * Death:   none
 * Source:  pool/imap.c
 * Since:   0.1
 */
TINE_API uint64_t tine_imap_index(const tine_imap *imap);

/**
 * tine_imap_close - let go of a stream
 *
 * In:      imap  from tine_pool_imap(), or NULL; also when its pool was closed before
 * Out:     none
 * Shape:   none
 * Units:   none
 * Returns: nothing
 * Handle:  none
 * Give up: none
 * Blocks:  no; calls that wait are cancelled, those that run go on and their results are dropped
 * Safety:  thread one | process owner | fork child may close | signal no
 * Death:   none
 * Source:  pool/imap.c; follows the end of the iterator of Executor.map
 * Since:   0.1
 */
TINE_API void tine_imap_close(tine_imap *imap);

TINE_END_DECLS

#endif
