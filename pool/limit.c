/* SPDX-License-Identifier: MIT */
/*
 * Limits of items: the worker says when an item's time will be up, the nursery sees to it; and it
 * looks at the memory of those that have an item, where that is limited.
 *
 * Of each worker one word, {items begun under a limit, state}, decides between the end of an item
 * and what its limits do to it, so nothing ever hits the item after:
 *
 *     state        who           next
 *     IDLE         worker        ARMED: the dues are written, then the item begins
 *     ARMED        worker        IDLE: user code has returned
 *                  nursery       ASKED: the soft limit is over, tine_should_stop() is true
 *                  nursery       SIGNALLING: the same, with a signal
 *     SIGNALLING   nursery       ASKED: it is sent; the worker waits for that before it goes on
 *     ASKED        worker        IDLE
 *     ARMED, ASKED nursery       CONDEMNED: the hard limit is over, or BLOATED: far too much memory; the
 *                                worker is killed, or finds the word so and kills itself
 *     any          nursery       IDLE: the worker is dead, its account settled
 *
 * All changes are compare-and-swaps but the one from SIGNALLING, which nobody else makes. The dues
 * belong to the word: the worker writes them in IDLE only, so a nursery that has read those of
 * another item finds another word.
 *
 * The nursery sleeps until the earliest due that it has seen and says in pool.watch_at until when.
 * Who arms a word for an earlier one nudges it. Either the worker reads the plan that was made
 * without it, or the nursery reads its word: both write first, then read. Before it arms the word
 * the worker has said in `at` which item is next: a worker that is ended at a limit is ended for
 * that one, whether or not user code has got it.
 */
#include "pool/limit.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <tine/pool.h>
#include <tine/task.h>

#include "lib/clock.h"
#include "pool/recycle.h"

enum { IDLE, ARMED, ASKED, SIGNALLING, CONDEMNED, BLOATED };

#define STATES         UINT64_C(7)
#define ITEM           (STATES + 1)
#define YIELDS         100 /* before it is believed that the nursery was stopped in the middle */
#define MEMORY_LOOK_NS TINE_MS(50) /* while an item runs */
#define MEMORY_MARGIN  4           /* a fourth more: that kills */
#define MIB            1048576.0
#define YIELD_MS       1

static const struct tine__worker_shm *mine;
static _Thread_local const struct tine__worker_shm *here; /* where this thread is the worker */

/* A thread has no nursery that sees to its limits: it looks at the clock. */
static bool is_late(const struct tine__alarm_shm *alarm)
{
    return (atomic_load_explicit(&alarm->word, memory_order_relaxed) & STATES) == ARMED &&
           tine__now_ns() >= atomic_load_explicit(&alarm->stop_at, memory_order_relaxed);
}

bool tine_should_stop(void)
{
    if (here != NULL)
        return is_late(&here->alarm);
    /* Nothing else is read by it: relaxed. */
    return mine != NULL &&
           (atomic_load_explicit(&mine->alarm.word, memory_order_relaxed) & STATES) >= ASKED;
}

/* ---- the program ----------------------------------------------------------------------------- */

int tine__limit_check_pool(const tine_pool_options *options)
{
    int signal = options->stop_signal;

    if (options->task_timeout_ns < 0 || options->task_kill_ns < 0)
        return -EINVAL;
    if (options->kind != TINE_PROCESSES && (options->task_kill_ns != 0 || signal != 0))
        return -ENOTSUP;
    if (signal == SIGKILL || signal == SIGSTOP || (signal > SIGSYS && signal < SIGRTMIN))
        return -EINVAL; /* the last ones are the C library's own */
    return signal < 0 || signal > SIGRTMAX ? -EINVAL : 0;
}

int tine__limit_check_job(const tine_job_options *options)
{
    if (options->backoff_ns < 0 || (options->flags & ~(uint32_t)TINE_JOB_RETRY_LIMITED) != 0)
        return -EINVAL;
    return options->task_timeout_ns < TINE_FOREVER || options->task_kill_ns < TINE_FOREVER ? -EINVAL
                                                                                           : 0;
}

void tine__limit_set_pool(struct tine__pool_shm *pool, const tine_pool_options *options)
{
    pool->limits = (struct tine__limits_shm){.task_timeout_ns = options->task_timeout_ns,
                                             .task_kill_ns = options->task_kill_ns};
    pool->stop_signal = options->stop_signal;
    atomic_init(&pool->watch_at, INT64_MAX);
}

/* TINE_FOREVER of a job: none, whatever the pool says. */
static int64_t choose(int64_t of_job, int64_t of_pool)
{
    if (of_job == 0)
        return of_pool;
    return of_job < 0 ? 0 : of_job;
}

uint8_t tine__limit_choose(const struct tine__pool_shm *pool, const tine_job_options *options,
                           struct tine__limits_shm *limits)
{
    uint8_t limited = 0;

    *limits = (struct tine__limits_shm){
        .task_timeout_ns = choose(options->task_timeout_ns, pool->limits.task_timeout_ns),
        .task_kill_ns = choose(options->task_kill_ns, pool->limits.task_kill_ns),
        .backoff_ns = options->backoff_ns,
        .retry_limited = (options->flags & TINE_JOB_RETRY_LIMITED) != 0};
    if (limits->task_timeout_ns != 0 || limits->task_kill_ns != 0 || pool->max_memory != 0)
        limited |= TINE__LIMITED_ALARM;
    if (pool->max_tasks != 0 || pool->max_memory != 0 || pool->max_growth != 0)
        limited |= TINE__LIMITED_WEAR;
    if (options->backoff_ns > 0)
        limited |= TINE__LIMITED_RETRY;
    return limited;
}

/* ---- the worker ------------------------------------------------------------------------------ */

void tine__limit_worker(const struct tine__worker_shm *worker)
{
    mine = worker;
    here = NULL; /* of a worker that was a thread, and whose task has opened this pool */
}

const struct tine__worker_shm *tine__limit_thread(const struct tine__worker_shm *worker)
{
    const struct tine__worker_shm *before = here;

    here = worker;
    return before;
}

static int64_t due_after(int64_t now, int64_t ns)
{
    return ns <= 0 || ns > INT64_MAX - now ? INT64_MAX : now + ns;
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

void tine__limit_begin(struct tine__pool_shm *pool, struct tine__worker_shm *worker,
                       const struct tine__job_shm *job, int control)
{
    const struct tine__limits_shm *limits = TINE__AT(const struct tine__limits_shm, job->limits);
    struct tine__alarm_shm *alarm = &worker->alarm;
    uint64_t word = atomic_load_explicit(&alarm->word, memory_order_relaxed);
    int64_t now = tine__now_ns(), stop_at = due_after(now, limits->task_timeout_ns),
            kill_at = due_after(now, limits->task_kill_ns), due = least(stop_at, kill_at);

    if (pool->max_memory != 0)
        due = least(due, now + MEMORY_LOOK_NS);
    atomic_store_explicit(&alarm->stop_at, stop_at, memory_order_relaxed);
    atomic_store_explicit(&alarm->kill_at, kill_at, memory_order_relaxed);
    /* seq_cst, both: see above. Releases the dues. */
    atomic_store_explicit(&alarm->word, ((word & ~STATES) + ITEM) | ARMED, memory_order_seq_cst);
    if (control >= 0 && atomic_load_explicit(&pool->watch_at, memory_order_seq_cst) > due)
        send(control, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* The nursery is about to send a signal for the item that has just ended. */
static uint64_t await_signal(const struct tine__alarm_shm *alarm)
{
    uint64_t word;

    /* acquire: the signal has been sent */
    for (int i = 0;
         ((word = atomic_load_explicit(&alarm->word, memory_order_acquire)) & STATES) == SIGNALLING;
         i++)
        if (i < YIELDS)
            sched_yield();
        else
            poll(NULL, 0, YIELD_MS);
    return word;
}

/* A signal that has been sent arrives now, or never: the next item is none of its business. */
static void take_signal(int signal)
{
    struct timespec none = {0};
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, signal);
    (void)sigtimedwait(&set, NULL, &none);
}

void tine__limit_end(const struct tine__pool_shm *pool, struct tine__worker_shm *worker)
{
    struct tine__alarm_shm *alarm = &worker->alarm;
    uint64_t word = atomic_load_explicit(&alarm->word, memory_order_relaxed);

    do {
        if ((word & STATES) == SIGNALLING)
            word = await_signal(alarm);
        if ((word & STATES) >= CONDEMNED)
            raise(SIGKILL); /* which a sandbox that forbids kill() still allows */
    } while (!atomic_compare_exchange_weak_explicit(&alarm->word, &word, word & ~STATES,
                                                    memory_order_release, memory_order_relaxed));
    if ((word & STATES) == ASKED && pool->stop_signal != 0)
        take_signal(pool->stop_signal);
}

/* ---- the nursery ----------------------------------------------------------------------------- */

struct watch {
    struct tine__pool_shm *pool;
    tine__limit_kill *kill;
    void *context;
    int64_t now;
    bool memory; /* is looked at, too */
};

static bool pass_to(struct tine__alarm_shm *alarm, uint64_t *word, uint64_t state)
{
    /* release: the dues were read before; the worker writes others once it has seen its item end */
    return atomic_compare_exchange_strong_explicit(&alarm->word, word, (*word & ~STATES) | state,
                                                   memory_order_acq_rel, memory_order_acquire);
}

/* The soft limit is over. False: the item has ended meanwhile. */
static bool ask(const struct watch *watch, uint32_t worker, struct tine__alarm_shm *alarm,
                uint64_t *word)
{
    int signal = watch->pool->stop_signal;

    if (!pass_to(alarm, word, signal == 0 ? ASKED : SIGNALLING))
        return false;
    if (signal != 0) {
        watch->kill(watch->context, worker, signal);
        /* release: pairs with await_signal */
        atomic_store_explicit(&alarm->word, (*word & ~STATES) | ASKED, memory_order_release);
    }
    return true;
}

static bool condemn(const struct watch *watch, uint32_t worker, uint64_t *word, uint64_t state)
{
    if (!pass_to(&tine__worker_at(watch->pool, worker)->alarm, word, state))
        return false;
    watch->kill(watch->context, worker, SIGKILL);
    return true;
}

/* A worker that has an item in hand. True: it has been killed. */
static bool watch_memory(const struct watch *watch, uint32_t worker)
{
    struct tine__worker_shm *shared = tine__worker_at(watch->pool, worker);
    uint64_t word = atomic_load_explicit(&shared->alarm.word, memory_order_acquire);
    uint64_t max = watch->pool->max_memory, bytes;

    if ((word & STATES) != ARMED && (word & STATES) != ASKED)
        return false;
    bytes = tine__private_bytes((pid_t)atomic_load_explicit(&shared->pid, memory_order_relaxed));
    if (bytes <= max || bytes - max <= max / MEMORY_MARGIN)
        return false;
    shared->alarm.bytes = bytes;
    return condemn(watch, worker, &word, BLOATED);
}

/* Sees to one worker; when it is due again. */
static int64_t watch_time(const struct watch *watch, uint32_t worker)
{
    struct tine__alarm_shm *alarm = &tine__worker_at(watch->pool, worker)->alarm;
    uint64_t word = atomic_load_explicit(&alarm->word, memory_order_seq_cst);

    for (;;) {
        uint64_t state = word & STATES;
        int64_t stop_at = atomic_load_explicit(&alarm->stop_at, memory_order_relaxed);
        int64_t kill_at = atomic_load_explicit(&alarm->kill_at, memory_order_relaxed);

        if (state != ARMED && state != ASKED)
            return INT64_MAX;
        if (kill_at <= watch->now) {
            if (!condemn(watch, worker, &word, CONDEMNED))
                continue;
            return INT64_MAX;
        }
        if (state == ASKED)
            return kill_at;
        if (stop_at > watch->now)
            return least(stop_at, kill_at);
        if (ask(watch, worker, alarm, &word))
            return kill_at;
    }
}

static bool has_item(const struct tine__worker_shm *worker)
{
    return (atomic_load_explicit(&worker->alarm.word, memory_order_seq_cst) & STATES) != IDLE;
}

static int64_t watch_worker(struct watch *watch, uint32_t worker)
{
    if (watch->memory && watch_memory(watch, worker))
        return INT64_MAX;
    if (watch->pool->max_memory == 0 || !has_item(tine__worker_at(watch->pool, worker)))
        return watch_time(watch, worker);
    return least(watch_time(watch, worker), watch->pool->memory_at);
}

int64_t tine__limit_enforce(struct tine__pool_shm *pool, tine__limit_kill *kill, void *context)
{
    struct watch watch = {.pool = pool, .kill = kill, .context = context};
    int64_t next = INT64_MAX;

    /* seq_cst: before the words are read; pairs with tine__limit_begin */
    atomic_store_explicit(&pool->watch_at, INT64_MAX, memory_order_seq_cst);
    watch.now = tine__now_ns();
    watch.memory = pool->max_memory != 0 && watch.now >= pool->memory_at;
    if (watch.memory)
        pool->memory_at = watch.now + MEMORY_LOOK_NS;
    for (uint32_t i = 0; i < pool->workers; i++)
        next = least(next, watch_worker(&watch, i));
    atomic_store_explicit(&pool->watch_at, next, memory_order_relaxed);
    return next;
}

enum tine__limit tine__limit_hit(const struct tine__pool_shm *pool,
                                 const struct tine__worker_shm *dead, int signal)
{
    uint64_t state = atomic_load_explicit(&dead->alarm.word, memory_order_acquire) & STATES;

    if (state == CONDEMNED || state == BLOATED)
        return state == CONDEMNED ? TINE__LIMIT_HARD : TINE__LIMIT_MEMORY;
    if ((state == ASKED || state == SIGNALLING) && signal != 0 && signal == pool->stop_signal)
        return TINE__LIMIT_SOFT;
    return TINE__LIMIT_NONE;
}

void tine__limit_describe(const struct tine__pool_shm *pool, const struct tine__worker_shm *dead,
                          const struct tine__job_shm *job, char *text, size_t size)
{
    const struct tine__limits_shm *limits = TINE__AT(const struct tine__limits_shm, job->limits);

    switch (atomic_load_explicit(&dead->alarm.word, memory_order_relaxed) & STATES) {
    case CONDEMNED:
        snprintf(text, size, "ran longer than its task_kill_ns of %g s and was killed",
                 (double)limits->task_kill_ns / 1e9);
        break;
    case BLOATED:
        snprintf(text, size,
                 "had %.1f MiB of memory, max_memory_per_worker is %.1f MiB, and was killed",
                 (double)dead->alarm.bytes / MIB, (double)pool->max_memory / MIB);
        break;
    default:
        snprintf(text, size, "was ended by the stop signal after its task_timeout_ns of %g s",
                 (double)limits->task_timeout_ns / 1e9);
    }
}

void tine__limit_clear(struct tine__worker_shm *dead)
{
    uint64_t word = atomic_load_explicit(&dead->alarm.word, memory_order_relaxed);

    atomic_store_explicit(&dead->alarm.word, word & ~STATES, memory_order_relaxed);
}
