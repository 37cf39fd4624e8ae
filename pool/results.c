/* SPDX-License-Identifier: MIT */
/*
 * Results: what tasks returned, by item. A part of their future, which owns the bytes.
 *
 * They are read where the workers wrote them. Of a pool whose nursery died, a worker may still have
 * finished an item just before it followed; its result is then there although the job has failed.
 */
#include "pool/pool_impl.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>

#include <tine/codec.h>
#include <tine/error.h>

#include "pool/job.h"
#include "pool/outcome.h"

void tine__results_fini(struct tine_results *results)
{
    tine__texts_free(&results->texts);
    pthread_mutex_destroy(&results->mutex);
}

/* Of an item without an outcome: never run, or lost with the whole pool. */
static int code_of_missing(const struct tine_future *future)
{
    return tine__job_done(future->job) || future->code >= 0 ? -ECANCELED : future->code;
}

static inline int find(const struct tine_results *results, size_t index, const void **bytes,
                       size_t *size)
{
    const struct tine__job_shm *job = results->future->job;
    int rc;

    if (index >= results->count)
        return -EINVAL;
    if (job->kind == TINE__JOB_CALL) {
        *bytes = job->result != 0 ? TINE__AT(const void, job->result) : job->small;
        *size = job->result_size;
        return results->future->code;
    }
    rc = tine__outcome_find(job, index, bytes, size);
    return rc > 0 ? code_of_missing(results->future) : rc;
}

int tine__results_find(const struct tine_results *results, size_t index, const void **bytes,
                       size_t *size)
{
    return find(results, index, bytes, size);
}

int tine__results_unpack(struct tine_results *results, const void *bytes, size_t size,
                         const char *format, va_list args)
{
    struct tine__texts texts = {.family = true};
    int rc = tine__vunpack(bytes, size, format, false, args, &texts);

    if (texts.first != NULL) {
        pthread_mutex_lock(&results->mutex);
        tine__texts_move(&texts, &results->texts);
        pthread_mutex_unlock(&results->mutex);
    }
    return rc;
}

size_t tine_results_count(const tine_results *results)
{
    return results == NULL ? 0 : results->count;
}

int tine_results_packed(const tine_results *results, size_t index, const void **bytes, size_t *size)
{
    const void *found = NULL;
    size_t found_size = 0;
    int rc;

    if (results == NULL || bytes == NULL || size == NULL)
        return -EINVAL;
    rc = find(results, index, &found, &found_size);
    if (rc < 0)
        return rc;
    *bytes = found;
    *size = found_size;
    return 0;
}

int tine_results_get(const tine_results *results, size_t index, const char *format, ...)
{
    const void *bytes = NULL;
    size_t size = 0;
    va_list args;
    int rc;

    if (results == NULL || format == NULL)
        return -EINVAL;
    rc = find(results, index, &bytes, &size);
    if (rc < 0)
        return rc;
    va_start(args, format);
    rc = tine__results_unpack(&results->future->results, bytes, size, format, args);
    va_end(args);
    return rc;
}

void tine_results_close(tine_results *results)
{
    if (results != NULL)
        tine_future_close(results->future);
}
