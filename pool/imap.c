/* SPDX-License-Identifier: MIT */
/*
 * imap: the results of a stream of argument tuples that are pulled as they are needed.
 *
 *     source ──pull──► batch (a call; of several tuples a starmap in one unit) ──► results, one by one
 *
 * At most `window` tuples are pulled and not handed out. The source is called inside tine_imap_next
 * alone, when half of that is used up, until it is full again; a slow source is left when something
 * can be handed out meanwhile. Where the source ends, fails or gives what is no tuple, or where the
 * pool takes no more work, that stands behind the last good tuple, and is told there once.
 *
 * Batches stand in a list in the order of their tickets: of an ordered imap the first is waited
 * for, else the first that is over. All is private to the program; the futures are as any others.
 */
#include <tine/imap.h>

#include "lib/reserved.h"
#include "pool/pool_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <tine/codec.h>
#include <tine/error.h>

#include "lib/fork.h"
#include "lib/shape.h"

#define BATCHES_MIN      128
#define BATCHES_A_WORKER 32
#define PULL_NS          TINE_US(100) /* then what can be handed out is handed out first */
#define LOOKS_A_CLOCK    8

struct batch {
    tine_future *future;
    uint64_t index; /* of its first tuple */
    size_t count, given;
    struct batch *next;
};

struct tine_imap {
    uint64_t generation;
    tine_pool *pool;
    tine_function *function;
    tine_source source;
    tine_job_options job;
    void *context;
    tine_failure *failure;
    bool unordered;
    bool ended;          /* nothing more is pulled */
    int code;            /* why, if that was no end; told once */
    size_t room, pulled; /* batches: in all, and not handed out */
    uint64_t tuples;     /* pulled so far */
    tine_buffer args;    /* of the next batch */
    struct batch *batches, *unused;
    struct batch *first, *last;
    struct batch *current; /* being handed out */
    const void *bytes;     /* of the last result; NULL: there is none */
    size_t size;
    uint64_t index;
};

/* ---- pulling --------------------------------------------------------------------------------- */

/* Exactly one array? */
static int check_tuple(const tine_buffer *args, size_t before)
{
    struct tine__shape shape;
    size_t size;
    int rc;

    tine__shape_init(&shape);
    if (args->size == before)
        return TINE_EFORMAT;
    rc = tine__shape_size(&shape, args->data + before, args->size - before, &size);
    return rc < 0 ? rc : size == args->size - before ? 0 : TINE_EFORMAT;
}

static void end_source(tine_imap *imap, int code)
{
    imap->ended = true;
    imap->code = code;
}

/* One tuple more in imap->args? */
static bool pull_tuple(tine_imap *imap)
{
    size_t before = imap->args.size;
    int rc = imap->source.next(&imap->args, imap->source.user);

    if (rc > 0)
        rc = check_tuple(&imap->args, before) < 0 ? TINE_EFORMAT : 1;
    if (rc > 0)
        return true;
    imap->args.size = before;
    end_source(imap, rc);
    return false;
}

static int submit(tine_imap *imap, size_t count, tine_future **future)
{
    if (count > 1)
        return tine_pool_starmap_async(future, imap->pool, imap->function, &imap->args, &imap->job);
    return tine__call_start(future, imap->pool, imap->function, &imap->job, &imap->args);
}

static void append(tine_imap *imap, tine_future *future, size_t count)
{
    struct batch *batch = imap->unused;

    imap->unused = batch->next;
    *batch = (struct batch){.future = future, .index = imap->tuples, .count = count};
    if (imap->first == NULL)
        imap->first = batch;
    else
        imap->last->next = batch;
    imap->last = batch;
    imap->pulled++;
    imap->tuples += count;
    if (imap->unordered)
        (void)tine__future_tell(future);
}

static void pull_batch(tine_imap *imap)
{
    tine_future *future;
    size_t count = 0;
    int rc;

    tine_buffer_clear(&imap->args);
    while (count < imap->job.chunk && !imap->ended && pull_tuple(imap))
        count++;
    if (count == 0)
        return;
    rc = submit(imap, count, &future);
    if (rc < 0)
        end_source(imap, rc); /* in place of these tuples, whatever stands behind them */
    else
        append(imap, future, count);
}

/* ---- what is over ---------------------------------------------------------------------------- */

/* The link to the batch that is next, or NULL: none is over. */
static struct batch **find_over(tine_imap *imap)
{
    uint64_t claimed;

    if (imap->first == NULL || tine__future_over(imap->first->future))
        return imap->first == NULL ? NULL : &imap->first;
    if (!imap->unordered)
        return NULL;
    claimed = tine__stream_claimed(imap->pool->shared);
    for (struct batch **link = &imap->first; *link != NULL; link = &(*link)->next) {
        if (tine__future_over((*link)->future))
            return link;
        if ((*link)->future->first_ticket >= claimed)
            break;
    }
    return NULL;
}

static bool has_over(void *imap)
{
    return find_over(imap) != NULL;
}

/* Pulls until the window is full, as long as there is nothing better to do. */
static void refill(tine_imap *imap)
{
    int64_t end;

    if (imap->ended || imap->pulled > imap->room / 2)
        return;
    end = tine__now_ns() + PULL_NS;
    for (unsigned i = 1; imap->pulled < imap->room && !imap->ended; i++) {
        pull_batch(imap);
        if (i % LOOKS_A_CLOCK == 0 && tine__now_ns() > end && has_over(imap))
            break;
    }
}

static int await_batch(tine_imap *imap, tine__deadline deadline)
{
    if (!imap->unordered)
        return tine__future_await(imap->first->future, deadline);
    return has_over(imap) ? 0 : tine__pool_await(imap->pool, has_over, imap, deadline);
}

/* It is over: takes it out of the list, and in what it left. */
static void take_batch(tine_imap *imap)
{
    struct batch **link = find_over(imap), *batch, *before = NULL;

    if (link == NULL) /* the pool has ended while it was waited for */
        link = &imap->first;
    batch = *link;
    if (batch == imap->last) {
        for (struct batch *b = imap->first; b != batch; b = b->next)
            before = b;
        imap->last = before;
    }
    *link = batch->next;
    imap->pulled--;
    imap->current = batch;
    (void)tine__future_await(batch->future, TINE__NEVER);
}

static void drop_current(tine_imap *imap)
{
    struct batch *batch = imap->current;

    imap->bytes = NULL;
    if (batch == NULL || batch->given < batch->count)
        return;
    tine_future_close(batch->future);
    batch->next = imap->unused;
    imap->unused = batch;
    imap->current = NULL;
}

/* ---- handing out ----------------------------------------------------------------------------- */

static void tell_failure(const tine_imap *imap, size_t item, int code)
{
    tine_failure found = {0};

    if (imap->failure == NULL)
        return;
    if (tine_future_exception(imap->current->future, 0, &found) != 1 || found.index != item ||
        found.code != code) {
        found = tine__job_failure(imap->current->future->job, code, item, 1);
        strncpy(found.message, tine_strerror(code), sizeof found.message - 1);
    }
    found.index = imap->index;
    *imap->failure = found;
}

static int give(tine_imap *imap)
{
    struct batch *batch = imap->current;
    size_t item = batch->given++;
    int rc;

    imap->index = batch->index + item;
    rc = tine__results_find(&batch->future->results, item, &imap->bytes, &imap->size);
    if (rc < 0) {
        imap->bytes = NULL;
        tell_failure(imap, item, rc);
    }
    return rc < 0 ? rc : 1;
}

/* 1: there is a result; 0: the end; late: in time there was none. */
static int next(tine_imap *imap, tine__deadline deadline, int late)
{
    int rc;

    drop_current(imap);
    refill(imap);
    if (imap->current != NULL)
        return give(imap);
    if (imap->first == NULL) {
        rc = imap->code;
        imap->code = 0;
        imap->index = imap->tuples;
        return rc;
    }
    if (await_batch(imap, deadline) < 0)
        return late;
    take_batch(imap);
    return give(imap);
}

static int check_imap(const tine_imap *imap)
{
    if (imap == NULL)
        return -EINVAL;
    return imap->generation == tine__fork_generation() ? 0 : TINE_EFORKED;
}

int tine_imap_next(tine_imap *imap, int64_t timeout_ns, const char *format, ...)
{
    tine__deadline deadline = tine__deadline_after(timeout_ns);
    va_list args;
    int rc = check_imap(imap);

    if (rc == 0)
        rc = next(imap, deadline, timeout_ns == 0 ? -EAGAIN : -ETIMEDOUT);
    if (rc <= 0 || format == NULL)
        return rc;
    va_start(args, format);
    rc = tine__results_unpack(&imap->current->future->results, imap->bytes, imap->size, format,
                              args);
    va_end(args);
    return rc < 0 ? rc : 1;
}

int tine_imap_packed(const tine_imap *imap, const void **bytes, size_t *size)
{
    int rc = bytes == NULL || size == NULL ? -EINVAL : check_imap(imap);

    if (rc < 0 || imap->bytes == NULL)
        return rc < 0 ? rc : -ENOENT;
    *bytes = imap->bytes;
    *size = imap->size;
    return 0;
}

uint64_t tine_imap_index(const tine_imap *imap)
{
    return imap == NULL ? 0 : imap->index;
}

/* ---- opening and closing --------------------------------------------------------------------- */

static int check_options(const tine_imap_options *options)
{
    const tine_job_options *job = options->job;

    if (TINE__RESERVED_SET(options->reserved))
        return -E2BIG;
    /* A key is one worker's: nothing would be spread. */
    if (job != NULL && (job->progress != NULL || job->fail_fast != 0 || job->key != 0))
        return -EINVAL;
    return job == NULL ? 0 : tine__job_options_check(job, true);
}

static int copy_job(tine_imap *imap, const tine_job_options *job)
{
    imap->job = *tine__job_options(job);
    imap->failure = imap->job.failure;
    imap->job.failure = NULL;
    if (imap->job.chunk == 0)
        imap->job.chunk = 1;
    if (imap->job.context_size == 0)
        return 0;
    imap->context = calloc(1, imap->job.context_size);
    if (imap->context == NULL)
        return -ENOMEM;
    imap->job.context = memcpy(imap->context, imap->job.context, imap->job.context_size);
    return 0;
}

static int make_room(tine_imap *imap, uint64_t window)
{
    uint64_t batches = BATCHES_A_WORKER * (uint64_t)atomic_load_explicit(&imap->pool->shared->size,
                                                                         memory_order_relaxed);

    if (batches < BATCHES_MIN)
        batches = BATCHES_MIN;
    if (window > 0)
        batches = window / imap->job.chunk;
    imap->room = batches == 0 ? 1 : batches;
    imap->batches = calloc(imap->room + 1, sizeof *imap->batches); /* and the current one */
    if (imap->batches == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < imap->room + 1; i++) {
        imap->batches[i].next = imap->unused;
        imap->unused = &imap->batches[i];
    }
    return 0;
}

static int open_imap(tine_imap **imap, tine_pool *pool, tine_function *function,
                     const tine_source *source, const tine_imap_options *options, bool unordered)
{
    static const tine_imap_options defaults;
    tine_imap *made;
    int rc;

    options = options != NULL ? options : &defaults;
    if (imap == NULL || function == NULL || source == NULL || source->next == NULL)
        return -EINVAL;
    rc = tine__pool_check(pool);
    if (rc == 0)
        rc = check_options(options);
    if (rc < 0)
        return rc;
    made = calloc(1, sizeof *made);
    if (made == NULL)
        return -ENOMEM;
    *made = (tine_imap){.generation = tine__fork_generation(),
                        .pool = pool,
                        .function = function,
                        .source = *source,
                        .unordered = unordered};
    rc = copy_job(made, options->job);
    if (rc == 0)
        rc = make_room(made, options->window);
    if (rc < 0)
        tine_imap_close(made);
    else
        *imap = made;
    return rc;
}

int tine_pool_imap(tine_imap **imap, tine_pool *pool, tine_function *function,
                   const tine_source *source, const tine_imap_options *options)
{
    return open_imap(imap, pool, function, source, options, false);
}

int tine_pool_imap_unordered(tine_imap **imap, tine_pool *pool, tine_function *function,
                             const tine_source *source, const tine_imap_options *options)
{
    return open_imap(imap, pool, function, source, options, true);
}

void tine_imap_close(tine_imap *imap)
{
    if (imap == NULL)
        return;
    if (imap->current != NULL)
        tine_future_close(imap->current->future);
    for (struct batch *batch = imap->first; batch != NULL; batch = batch->next)
        (void)tine_future_cancel(batch->future, 0);
    for (struct batch *batch = imap->first; batch != NULL; batch = batch->next)
        tine_future_close(batch->future);
    tine_buffer_free(&imap->args);
    free(imap->context);
    free(imap->batches);
    free(imap);
}
