/* SPDX-License-Identifier: MIT */
/* Jobs as workers and program see them at the same time. */
#include "pool/job.h"

#include <pthread.h>
#include <sched.h>

#include <tine/time.h>

#include "lib/clock.h"
#include "tests/support/suite.h"

#define ROUNDS  20000
#define ENOUGH  TINE_MS(500) /* where the two seldom run at the same time */
#define LOOKS   200          /* before the other one is let run */
#define NO_MORE UINT32_MAX

/* A worker and the program meet at one job after the other. */
struct meeting {
    struct tine__pool_shm pool;
    _Atomic uint32_t worker, program; /* rounds entered; of the program, or NO_MORE */
    struct tine__job_shm jobs[ROUNDS];
    bool runs[ROUNDS];
};

/* Until the other one has entered as many rounds. */
static uint32_t await_other(const _Atomic uint32_t *other, uint32_t rounds)
{
    uint32_t entered;

    for (int looks = 1; (entered = atomic_load(other)) < rounds; looks++)
        if (looks % LOOKS == 0)
            sched_yield();
    return entered;
}

static void *begin_all(void *context)
{
    struct meeting *meeting = context;

    for (uint32_t i = 0; i < ROUNDS; i++) {
        atomic_store(&meeting->worker, i + 1);
        if (await_other(&meeting->program, i + 1) == NO_MORE)
            break;
        meeting->runs[i] = tine__job_begin(&meeting->jobs[i]);
    }
    return NULL;
}

/* Whoever stops a call kills what has begun with it, so one of the two has to see the other. */
TEST(a_call_that_is_stopped_as_it_begins_is_not_run_unseen)
{
    static struct meeting meeting;
    static bool seen[ROUNDS];
    tine__deadline end = tine__deadline_after(ENOUGH);
    pthread_t worker;
    uint32_t rounds;

    for (uint32_t i = 0; i < ROUNDS; i++)
        meeting.jobs[i].kind = TINE__JOB_CALL;
    ck_assert_int_eq(pthread_create(&worker, NULL, begin_all, &meeting), 0);
    for (rounds = 0; rounds < ROUNDS && !tine__deadline_passed(end); rounds++) {
        (void)await_other(&meeting.worker, rounds + 1);
        atomic_store(&meeting.program, rounds + 1);
        tine__job_stop(&meeting.pool, &meeting.jobs[rounds]);
        seen[rounds] = tine__job_begun(&meeting.jobs[rounds]);
    }
    if (rounds < ROUNDS)
        atomic_store(&meeting.program, NO_MORE);
    ck_assert_int_eq(pthread_join(worker, NULL), 0);
    for (uint32_t i = 0; i < rounds; i++)
        ck_assert_msg(!meeting.runs[i] || seen[i], "job %u", i);
}

SUITE("pool/job")
