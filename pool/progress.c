/* SPDX-License-Identifier: MIT */
/* Progress: counts of a running job, and the ready-made bar. */
#include "pool/pool_impl.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "pool/job.h"

#define REPORT_EVERY_NS TINE_MS(100)
#define BAR_WIDTH       40

/* What workers have finished of the unit that they are in. They go on meanwhile: an estimate. */
static uint64_t count_inside(const struct tine__pool_shm *pool, const struct tine__job_shm *job)
{
    uint64_t inside = 0;

    if (job->kind != TINE__JOB_MAP && job->kind != TINE__JOB_STARMAP)
        return 0;
    for (uint32_t i = 0; i < pool->workers; i++) {
        const struct tine__worker_shm *worker = tine__worker_at(pool, i);
        uint64_t at = atomic_load_explicit(&worker->at, memory_order_relaxed), unit;

        if (at == 0 ||
            atomic_load_explicit(&worker->job, memory_order_relaxed) != TINE__ADDRESS(job))
            continue;
        unit =
            (atomic_load_explicit(&tine__job_claims(job)->slots[i].ledger, memory_order_relaxed) >>
             1);
        if (unit > 0 && at >> 2 >= tine__unit_begin(job, unit - 1) &&
            at >> 2 <= tine__unit_end(job, unit - 1))
            inside += (at >> 2) - tine__unit_begin(job, unit - 1);
    }
    return inside;
}

static uint64_t count_done(const struct tine__pool_shm *pool, const struct tine__job_shm *job)
{
    uint64_t done = 0;

    if (job->kind == TINE__JOB_CALL)
        return 0;
    for (uint32_t i = 0; i < job->workers; i++)
        done += atomic_load_explicit(&tine__job_claims(job)->slots[i].items, memory_order_relaxed);
    done += count_inside(pool, job);
    return done < job->n ? done : job->n;
}

int64_t tine__progress_report(struct tine_future *future, bool at_end)
{
    int64_t now;
    tine_progress progress;

    if (future->progress == NULL || future->job == NULL)
        return INT64_MAX;
    now = tine__now_ns();
    if (!at_end && now < future->next_progress_ns)
        return future->next_progress_ns - now;
    future->next_progress_ns = now + REPORT_EVERY_NS;
    progress = (tine_progress){
        .done = at_end ? future->job->n : count_done(future->pool->shared, future->job),
        .total = future->job->n,
        .deaths = atomic_load_explicit(&future->job->deaths, memory_order_relaxed),
        .elapsed_ns = now - future->submitted_ns};
    future->progress(&progress, future->progress_user);
    return REPORT_EVERY_NS;
}

void tine_progress_bar(const tine_progress *progress, void *user)
{
    const char *label = user;
    char bar[BAR_WIDTH + 1];
    int filled;

    if (progress == NULL || isatty(STDERR_FILENO) == 0)
        return;
    filled = progress->total == 0
                 ? BAR_WIDTH
                 : (int)((double)progress->done / (double)progress->total * BAR_WIDTH);
    for (int i = 0; i < BAR_WIDTH; i++)
        bar[i] = i < filled ? '#' : '.';
    bar[BAR_WIDTH] = '\0';
    fprintf(stderr, "\r%s%s[%s] %" PRIu64 "/%" PRIu64 "  %.1f s%s", label != NULL ? label : "",
            label != NULL ? " " : "", bar, progress->done, progress->total,
            (double)progress->elapsed_ns / 1e9, progress->done >= progress->total ? "\n" : "");
}
