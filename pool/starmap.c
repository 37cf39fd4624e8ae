/* SPDX-License-Identifier: MIT */
/*
 * Tasks with packed arguments: starmap over many tuples, apply and submit for one.
 *
 * A starmap is a loop over its tuples; each unit collects its results, in item order, in a block of
 * its own (tine__outcome_shm), so nothing is shared between workers. A call has no claims table:
 * its one ticket is the claim.
 */
#include "pool/pool_impl.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <tine/codec.h>
#include <tine/error.h>

#include "pool/descriptor.h"
#include "pool/job.h"

/* ---- starmap --------------------------------------------------------------------------------- */

static bool is_array(uint8_t head)
{
    return (head & 0xf0) == 0x90 || head == 0xdc || head == 0xdd;
}

/* Where each tuple begins, and the end: count + 1 offsets once all are found. In private memory. */
struct tuples {
    uint64_t *offsets;
    size_t count, room;
};

static int note_offset(struct tuples *tuples, size_t offset)
{
    if (tuples->count == tuples->room) {
        size_t room = tuples->room == 0 ? 64 : tuples->room * 2;
        uint64_t *grown = reallocarray(tuples->offsets, room, sizeof *grown);

        if (grown == NULL)
            return -ENOMEM;
        tuples->offsets = grown;
        tuples->room = room;
    }
    tuples->offsets[tuples->count++] = offset;
    return 0;
}

/* One pass over the bytes: most of what a starmap costs the program itself. */
static int find_tuples(const tine_buffer *args, struct tuples *tuples)
{
    size_t at = 0, size;
    int rc = 0;

    for (; rc == 0 && at < args->size; at += size) {
        if (!is_array(args->data[at]) ||
            tine__value_size(args->data + at, args->size - at, &tine__limits_depth_only, &size) < 0)
            return TINE_EFORMAT;
        rc = note_offset(tuples, at);
    }
    if (rc == 0)
        rc = note_offset(tuples, at);
    tuples->count--;
    return rc;
}

static int add_tuples(struct tine_future *future, const tine_buffer *args,
                      const struct tuples *tuples)
{
    struct tine__job_shm *job = future->job;
    size_t offsets_size = (tuples->count + 1) * sizeof(uint64_t);
    size_t outcomes_size = job->units * sizeof(uint64_t);
    void *offsets = tine__future_alloc(future, offsets_size);
    void *outcomes = tine__future_alloc(future, outcomes_size);
    void *copy = tine__future_alloc(future, args->size);

    if (offsets == NULL || outcomes == NULL || copy == NULL)
        return -ENOMEM;
    job->offsets = TINE__ADDRESS(memcpy(offsets, tuples->offsets, offsets_size));
    job->out = TINE__ADDRESS(memset(outcomes, 0, outcomes_size));
    job->in = TINE__ADDRESS(memcpy(copy, args->data, args->size));
    return 0;
}

static int start_tuples(struct tine_future **future, tine_pool *pool, const tine_buffer *args,
                        const struct tuples *tuples, struct tine__plan *plan)
{
    struct tine_future *made;
    int rc;

    if (tuples->count == 0)
        return tine__future_open_empty(future, pool, plan);
    rc = tine__loop_open(&made, pool, plan, tuples->count);
    if (rc < 0)
        return rc;
    rc = add_tuples(made, args, tuples);
    if (rc < 0) {
        tine__future_free(made, true);
        return rc;
    }
    return tine__loop_publish(made, future);
}

static int start_starmap(struct tine_future **future, tine_pool *pool, const tine_buffer *args,
                         struct tine__plan *plan)
{
    struct tuples tuples = {0};
    int rc = tine__pool_check(pool);

    if (rc < 0)
        return rc;
    if (args == NULL || (args->data == NULL && args->size > 0))
        return -EINVAL;
    rc = find_tuples(args, &tuples);
    if (rc == 0)
        rc = start_tuples(future, pool, args, &tuples, plan);
    free(tuples.offsets);
    return rc;
}

static struct tine__plan plan_tasks(enum tine__job_kind kind, tine_function *function,
                                    const tine_job_options *options, bool async)
{
    return (struct tine__plan){.kind = kind,
                               .function = TINE__AT(const void, (uintptr_t)function),
                               .options = tine__job_options(options),
                               .async = async};
}

int tine_pool_starmap_async(tine_future **future, tine_pool *pool, tine_function *function,
                            const tine_buffer *args, const tine_job_options *options)
{
    struct tine__plan plan = plan_tasks(TINE__JOB_STARMAP, function, options, true);

    return future == NULL ? -EINVAL : start_starmap(future, pool, args, &plan);
}

int tine_pool_starmap(tine_results **results, tine_pool *pool, tine_function *function,
                      const tine_buffer *args, const tine_job_options *options)
{
    struct tine__plan plan = plan_tasks(TINE__JOB_STARMAP, function, options, false);
    struct tine_future *future;
    int rc = results == NULL ? -EINVAL : start_starmap(&future, pool, args, &plan);

    return rc < 0 ? rc : tine__future_finish(future, plan.options, results);
}

/* ---- apply and submit ------------------------------------------------------------------------ */

static int open_call(struct tine_future **future, tine_pool *pool, struct tine__plan *plan,
                     const tine_buffer *args, const struct tine__numbers *numbers)
{
    uint64_t args_room = (args->size + 7) & ~UINT64_C(7);
    struct tine__job_shm *job;
    int rc;

    plan->extra = args_room + numbers->count * sizeof numbers->at[0];
    rc = tine__future_open(future, pool, plan);
    if (rc < 0)
        return rc;
    job = (*future)->job;
    job->n = 1;
    job->args = TINE__ADDRESS(job + 1);
    job->args_size = args->size;
    memcpy(job + 1, args->data, args->size);
    job->kept = job->args + args_room;
    job->kept_count = numbers->count;
    memcpy(TINE__AT(void, job->kept), numbers->at, numbers->count * sizeof numbers->at[0]);
    return 0;
}

static int start_call(struct tine_future **future, tine_pool *pool, struct tine__plan *plan,
                      const char *format, struct tine__arguments *args)
{
    tine_buffer packed = {0};
    struct tine__keeping keeping;
    struct tine_future *made;
    int rc = tine__pool_check(pool);

    if (rc < 0)
        return rc;
    tine__keeping_begin(&keeping, pool);
    args->descriptors = &keeping.hooks;
    rc = format == NULL ? -EINVAL : tine__pack(&packed, format, true, args);
    if (rc == 0)
        rc = open_call(&made, pool, plan, &packed, &keeping.numbers);
    tine_buffer_free(&packed);
    if (rc == 0)
        rc = tine__future_publish(made, 1, future);
    if (rc < 0)
        tine__keeping_drop(&keeping);
    return rc;
}

int tine_pool_submit(tine_future **future, tine_pool *pool, tine_function *function,
                     const tine_job_options *options, const char *format, ...)
{
    struct tine__plan plan = plan_tasks(TINE__JOB_CALL, function, options, true);
    struct tine__arguments args;
    int rc;

    if (future == NULL)
        return -EINVAL;
    va_start(args.list, format);
    rc = start_call(future, pool, &plan, format, &args);
    va_end(args.list);
    return rc;
}

int tine_pool_apply(tine_results **results, tine_pool *pool, tine_function *function,
                    const tine_job_options *options, const char *format, ...)
{
    struct tine__plan plan = plan_tasks(TINE__JOB_CALL, function, options, false);
    struct tine_future *future;
    struct tine__arguments args;
    int rc;

    if (results == NULL)
        return -EINVAL;
    va_start(args.list, format);
    rc = start_call(&future, pool, &plan, format, &args);
    va_end(args.list);
    return rc < 0 ? rc : tine__future_finish(future, plan.options, results);
}
