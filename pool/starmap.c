/* SPDX-License-Identifier: MIT */
/*
 * Tasks with packed arguments: starmap over many tuples, apply and submit for one.
 *
 * A starmap is a loop over its tuples (pool/tuples.c) whose results have a place each
 * (pool/outcome.c). A call has no claims table: its one ticket is the claim.
 */
#include "pool/pool_impl.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <tine/codec.h>
#include <tine/error.h>

#include "lib/checked.h"
#include "pool/descriptor.h"
#include "pool/outcome.h"
#include "pool/tuples.h"

/* ---- starmap --------------------------------------------------------------------------------- */

/* Marks, heads of the blocks and tags share a block. */
static int add_index(struct tine_future *future, const struct tine__tuple_marks *marks)
{
    struct tine__job_shm *job = future->job;
    size_t marks_size = marks->marks * sizeof(uint64_t);
    size_t blocks_size = job->units * sizeof(uint64_t);
    void *index = tine__future_alloc(future, marks_size + blocks_size + job->n);

    if (index == NULL)
        return -ENOMEM;
    job->marks = TINE__ADDRESS(memcpy(index, marks->offsets, marks_size));
    job->blocks = job->marks + marks_size;
    job->tags = job->blocks + blocks_size;
    tine__outcomes_init(job);
    return 0;
}

static int add_tuples(struct tine_future *future, const tine_buffer *args,
                      const struct tine__tuple_marks *marks)
{
    struct tine__job_shm *job = future->job;
    int rc = add_index(future, marks);
    size_t slots_size;
    void *copy, *slots;

    if (rc < 0)
        return rc;
    if (!tine__mul_size(job->n, sizeof(struct tine__outcome_shm), &slots_size))
        return -EOVERFLOW;
    copy = tine__future_alloc(future, args->size);
    slots = tine__future_alloc(future, slots_size);
    if (copy == NULL || slots == NULL)
        return -ENOMEM;
    job->in = TINE__ADDRESS(memcpy(copy, args->data, args->size));
    job->in_size = args->size;
    job->out = TINE__ADDRESS(slots);
    return 0;
}

static int start_tuples(struct tine_future **future, tine_pool *pool, const tine_buffer *args,
                        const struct tine__tuple_marks *marks, struct tine__plan *plan)
{
    struct tine_future *made;
    int rc;

    if (marks->count == 0)
        return tine__future_open_empty(future, pool, plan);
    rc = tine__loop_open(&made, pool, plan, marks->count);
    if (rc < 0)
        return rc;
    rc = add_tuples(made, args, marks);
    if (rc < 0) {
        tine__future_free(made, true);
        return rc;
    }
    return tine__loop_publish(made, future);
}

static int start_starmap(struct tine_future **future, tine_pool *pool, const tine_buffer *args,
                         struct tine__plan *plan)
{
    struct tine__tuple_marks marks = {0};
    int rc = tine__pool_admits(pool, plan->options);

    if (rc < 0)
        return rc;
    if (args == NULL || (args->data == NULL && args->size > 0))
        return -EINVAL;
    rc = tine__tuples_find(&marks, args);
    if (rc == 0)
        rc = start_tuples(future, pool, args, &marks, plan);
    free(marks.offsets);
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

int tine__call_start(struct tine_future **future, tine_pool *pool, tine_function *function,
                     const tine_job_options *options, const tine_buffer *args)
{
    static const struct tine__numbers none;
    struct tine__plan plan = plan_tasks(TINE__JOB_CALL, function, options, true);
    struct tine_future *made;
    int rc = open_call(&made, pool, &plan, args, &none);

    return rc < 0 ? rc : tine__future_publish(made, 1, future);
}

/* Pointers, functions, descriptors and what stands on them are for processes of the family. */
static int check_format(const tine_pool *pool, const char *format)
{
    return pool->shared->untrusted && strpbrk(format, "pcFo") != NULL ? -ENOTSUP : 0;
}

static int start_call(struct tine_future **future, tine_pool *pool, struct tine__plan *plan,
                      const char *format, struct tine__arguments *args)
{
    tine_buffer packed = {0};
    struct tine__keeping keeping;
    struct tine_future *made;
    int rc = tine__pool_admits(pool, plan->options);

    if (rc < 0)
        return rc;
    tine__keeping_begin(&keeping, pool);
    args->descriptors = &keeping.hooks;
    rc = format == NULL ? -EINVAL : check_format(pool, format);
    if (rc == 0)
        rc = tine__pack(&packed, format, true, args);
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
