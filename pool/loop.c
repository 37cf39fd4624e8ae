/* SPDX-License-Identifier: MIT */
/*
 * Loops over indices: for, reduce, map.
 *
 * A loop is cut into units when it is submitted; their boundaries are a function of the unit's
 * number (fixed chunk, or a table), so claiming one is a matter of the number alone. By default the
 * units shrink: each is 1/(2 W) of what is left, as in OpenMP's guided schedule. A reduction is cut
 * into at most 8 W equal units, each with a partial result of its own, so that the order in which
 * they are combined does not depend on who ran what.
 */
#include "pool/pool_impl.h"

#include <errno.h>
#include <string.h>

#include "lib/checked.h"
#include "pool/claim.h"
#include "pool/job.h"
#include "shm/heap.h"

#define INDICES_MAX           (UINT64_C(1) << 60)
#define REDUCE_UNITS_A_WORKER 8
#define REDUCE_PARTIALS_BYTES (UINT64_C(64) << 20) /* aimed at, when the accumulator is large */

/* Size of the next unit when `left` indices are left. */
static uint64_t guided(uint64_t left, uint64_t workers)
{
    return (left + 2 * workers - 1) / (2 * workers);
}

static uint64_t count_guided(uint64_t n, uint64_t workers)
{
    uint64_t units = 0;

    for (; n > 0; n -= guided(n, workers))
        units++;
    return units;
}

static void fill_guided(uint64_t *bounds, uint64_t n, uint64_t workers)
{
    uint64_t begin = 0;

    *bounds++ = 0;
    while (begin < n) {
        begin += guided(n - begin, workers);
        *bounds++ = begin;
    }
}

static uint64_t divide_up(uint64_t a, uint64_t b)
{
    return a / b + (a % b != 0);
}

/* How a loop is cut; chunk 0: by table. */
struct cut {
    uint64_t n, chunk, units, workers;
};

static uint32_t size_of(const struct tine_pool *pool)
{
    return atomic_load_explicit(&pool->shared->size, memory_order_relaxed);
}

static int cut_loop(struct cut *cut, uint64_t n, uint64_t chunk, uint64_t workers)
{
    if (n > INDICES_MAX)
        return -EOVERFLOW;
    *cut = (struct cut){.n = n, .chunk = chunk, .workers = workers};
    cut->units = chunk == 0 ? count_guided(n, workers) : divide_up(n, chunk);
    return cut->units <= TINE__UNITS_MAX ? 0 : -EOVERFLOW;
}

/* A slot for each worker that may ever come. */
static uint64_t claims_bytes(const struct tine_pool *pool)
{
    return (tine__claims_size(pool->shared->workers) + TINE__LINE - 1) &
           ~(uint64_t)(TINE__LINE - 1);
}

static uint64_t bounds_bytes(const struct cut *cut)
{
    return cut->chunk == 0 ? (cut->units + 1) * sizeof(uint64_t) : 0;
}

/* Opens a future whose job has claims and boundaries set up behind it. */
static int open_loop(struct tine_future **future, tine_pool *pool, struct tine__plan *plan,
                     const struct cut *cut)
{
    struct tine__job_shm *job;
    int rc;

    plan->extra = claims_bytes(pool) + bounds_bytes(cut);
    rc = tine__future_open(future, pool, plan);
    if (rc < 0)
        return rc;
    job = (*future)->job;
    job->n = cut->n;
    job->units = cut->units;
    job->chunk = cut->chunk;
    job->claims = TINE__ADDRESS(job + 1);
    tine__claims_init(tine__job_claims(job), job->workers);
    if (cut->chunk == 0) {
        job->bounds = job->claims + claims_bytes(pool);
        fill_guided(TINE__AT(uint64_t, job->bounds), cut->n, cut->workers);
    }
    return 0;
}

/* As many tickets as workers can find a unit. */
int tine__loop_publish(struct tine_future *future, struct tine_future **made)
{
    uint64_t units = future->job->units;
    uint32_t size = size_of(future->pool);

    return tine__future_publish(future, units < size ? (uint32_t)units : size, made);
}

int tine__loop_open(struct tine_future **future, tine_pool *pool, struct tine__plan *plan,
                    uint64_t n)
{
    struct cut cut;
    int rc = tine__pool_admits(pool, plan->options);

    if (rc == 0)
        rc = cut_loop(&cut, n, plan->options->chunk, size_of(pool));
    return rc < 0 ? rc : open_loop(future, pool, plan, &cut);
}

/* ---- for ------------------------------------------------------------------------------------- */

static int start_for(struct tine_future **future, tine_pool *pool, size_t n,
                     struct tine__plan *plan)
{
    struct tine_future *made;
    int rc;

    if (n == 0)
        return tine__future_open_empty(future, pool, plan);
    rc = tine__loop_open(&made, pool, plan, n);
    return rc < 0 ? rc : tine__loop_publish(made, future);
}

static struct tine__plan plan_for(tine_body *body, const tine_job_options *options, bool async)
{
    return (struct tine__plan){.kind = TINE__JOB_FOR,
                               .function = TINE__AT(const void, (uintptr_t)body),
                               .options = tine__job_options(options),
                               .async = async};
}

int tine_pool_for_async(tine_future **future, tine_pool *pool, size_t n, tine_body *body,
                        const tine_job_options *options)
{
    struct tine__plan plan = plan_for(body, options, true);

    return future == NULL ? -EINVAL : start_for(future, pool, n, &plan);
}

int tine_pool_for(tine_pool *pool, size_t n, tine_body *body, const tine_job_options *options)
{
    struct tine__plan plan = plan_for(body, options, false);
    struct tine_future *future;
    int rc = start_for(&future, pool, n, &plan);

    return rc < 0 ? rc : tine__future_finish(future, plan.options, NULL);
}

/* ---- reduce ---------------------------------------------------------------------------------- */

struct reduction {
    size_t n;
    tine_combine *combine;
    void *accumulator;
    size_t size;
};

/* Equal units, 8 a worker; fewer, but one a worker, where their partial results would be large. */
static uint64_t reduce_chunk(const struct reduction *reduction, uint64_t stride, uint64_t workers)
{
    uint64_t units = workers * REDUCE_UNITS_A_WORKER;

    if (units * stride > REDUCE_PARTIALS_BYTES)
        units = REDUCE_PARTIALS_BYTES / stride;
    return divide_up(reduction->n, units < workers ? workers : units);
}

static int add_partials(struct tine_future *future, const struct reduction *reduction,
                        uint64_t stride)
{
    struct tine__job_shm *job = future->job;
    size_t bytes;
    void *initial;

    if (!tine__mul_size(job->units, stride, &bytes))
        return -EOVERFLOW;
    initial = tine__future_alloc(future, reduction->size);
    job->in = TINE__ADDRESS(initial);
    job->in_size = reduction->size;
    job->out = TINE__ADDRESS(tine__future_alloc(future, bytes));
    job->out_size = stride;
    if (job->in == 0 || job->out == 0)
        return -ENOMEM;
    memcpy(initial, reduction->accumulator, reduction->size);
    future->combine = reduction->combine;
    future->out = reduction->accumulator;
    future->out_bytes = reduction->size;
    return 0;
}

static int start_reduce(struct tine_future **future, tine_pool *pool,
                        const struct reduction *reduction, struct tine__plan *plan)
{
    struct tine_future *made;
    struct cut cut;
    size_t stride;
    int rc = tine__pool_admits(pool, plan->options);

    if (rc < 0)
        return rc;
    if (reduction->combine == NULL || reduction->accumulator == NULL || reduction->size == 0)
        return -EINVAL;
    if (reduction->n == 0)
        return tine__future_open_empty(future, pool, plan);
    if (!tine__round_up(reduction->size, TINE__LINE, &stride))
        return -EOVERFLOW;
    rc = cut_loop(&cut, reduction->n,
                  plan->options->chunk != 0 ? plan->options->chunk
                                            : reduce_chunk(reduction, stride, size_of(pool)),
                  size_of(pool));
    if (rc == 0)
        rc = open_loop(&made, pool, plan, &cut);
    if (rc < 0)
        return rc;
    rc = add_partials(made, reduction, stride);
    if (rc < 0) {
        tine__future_free(made, true);
        return rc;
    }
    return tine__loop_publish(made, future);
}

static struct tine__plan plan_reduce(tine_reduce_body *body, const tine_job_options *options,
                                     bool async)
{
    return (struct tine__plan){.kind = TINE__JOB_REDUCE,
                               .function = TINE__AT(const void, (uintptr_t)body),
                               .options = tine__job_options(options),
                               .async = async};
}

int tine_pool_reduce_async(tine_future **future, tine_pool *pool, size_t n, tine_reduce_body *body,
                           tine_combine *combine, void *accumulator, size_t size,
                           const tine_job_options *options)
{
    struct reduction reduction = {
        .n = n, .combine = combine, .accumulator = accumulator, .size = size};
    struct tine__plan plan = plan_reduce(body, options, true);

    return future == NULL ? -EINVAL : start_reduce(future, pool, &reduction, &plan);
}

int tine_pool_reduce(tine_pool *pool, size_t n, tine_reduce_body *body, tine_combine *combine,
                     void *accumulator, size_t size, const tine_job_options *options)
{
    struct reduction reduction = {
        .n = n, .combine = combine, .accumulator = accumulator, .size = size};
    struct tine__plan plan = plan_reduce(body, options, false);
    struct tine_future *future;
    int rc = start_reduce(&future, pool, &reduction, &plan);

    return rc < 0 ? rc : tine__future_finish(future, plan.options, NULL);
}

/* ---- map ------------------------------------------------------------------------------------- */

static int check_map(const tine_map *map, size_t *in_bytes, size_t *out_bytes)
{
    if (map == NULL || (map->in == NULL) != (map->in_size == 0) ||
        (map->out == NULL) != (map->out_size == 0))
        return -EINVAL;
    if (!tine__mul_size(map->n, map->in_size, in_bytes) ||
        !tine__mul_size(map->n, map->out_size, out_bytes))
        return -EOVERFLOW;
    return 0;
}

/* The array itself where it lies in the family heap, or nobody else is to see it, else a copy. 0:
   no memory. */
static uint64_t share_array(struct tine_future *future, const void *array, size_t bytes)
{
    void *copy;

    if (future->pool->kind == TINE_INLINE || tine__heap_contains(array, bytes)) {
        future->in_place = true;
        return TINE__ADDRESS(array);
    }
    copy = tine__future_alloc(future, bytes);
    return copy == NULL ? 0 : TINE__ADDRESS(memcpy(copy, array, bytes));
}

static int add_arrays(struct tine_future *future, const tine_map *map, size_t in_bytes,
                      size_t out_bytes)
{
    struct tine__job_shm *job = future->job;

    job->in_size = map->in_size;
    job->out_size = map->out_size;
    if (in_bytes > 0)
        job->in = share_array(future, map->in, in_bytes);
    if (out_bytes > 0)
        job->out = share_array(future, map->out, out_bytes);
    if ((in_bytes > 0 && job->in == 0) || (out_bytes > 0 && job->out == 0))
        return -ENOMEM;
    if (job->out != TINE__ADDRESS(map->out)) {
        future->out = map->out;
        future->out_bytes = out_bytes;
    }
    return 0;
}

static int start_map(struct tine_future **future, tine_pool *pool, const tine_map *map,
                     const tine_job_options *options, bool async)
{
    struct tine__plan plan = {
        .kind = TINE__JOB_MAP, .options = tine__job_options(options), .async = async};
    struct tine_future *made;
    size_t in_bytes, out_bytes;
    int rc = check_map(map, &in_bytes, &out_bytes);

    if (rc < 0)
        return rc;
    plan.function = TINE__AT(const void, (uintptr_t)map->item);
    if (map->n == 0)
        return tine__future_open_empty(future, pool, &plan);
    rc = tine__loop_open(&made, pool, &plan, map->n);
    if (rc < 0)
        return rc;
    rc = add_arrays(made, map, in_bytes, out_bytes);
    if (rc < 0) {
        tine__future_free(made, true);
        return rc;
    }
    return tine__loop_publish(made, future);
}

int tine_pool_map_async(tine_future **future, tine_pool *pool, const tine_map *map,
                        const tine_job_options *options)
{
    return future == NULL ? -EINVAL : start_map(future, pool, map, options, true);
}

int tine_pool_map(tine_pool *pool, const tine_map *map, const tine_job_options *options)
{
    struct tine_future *future;
    int rc = start_map(&future, pool, map, options, false);

    return rc < 0 ? rc : tine__future_finish(future, tine__job_options(options), NULL);
}
