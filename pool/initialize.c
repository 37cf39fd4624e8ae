/* SPDX-License-Identifier: MIT */
/*
 * The first and the last that a worker does: its sandbox, the initializer, the finalizer.
 *
 * A worker says how far it is with its beginning (`stage`), and why it failed (`said`), in places
 * of its own; then it exits. The nursery reaps it, and judges: dead while BEGINNING means that the
 * pool is broken (pool/failure.c). One that was killed before or after that is replaced like any
 * other. So it is one process, the nursery, that breaks the pool, once, whichever and however many
 * workers fail at a time.
 *
 * The state is the worker's own and never seen by another process.
 */
#include "pool/initialize.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <tine/error.h>
#include <tine/heap.h>

#include "lib/fork.h"
#include "lib/objects.h"
#include "pool/failure.h"
#include "pool/limit.h"
#include "pool/guest.h"
#include "pool/place.h"
#include "pool/sandbox.h"
#include "shm/owner.h"

/* Of the thread that runs tasks; said: while it is in its initializer. */
static _Thread_local void *state;
static _Thread_local struct tine__said_shm *said;

/* ---- the program's side ---------------------------------------------------------------------- */

static int add_function(struct tine__tasks *tasks, const void *function, uint64_t *task)
{
    struct tine__task_shm *described;
    int rc = function == NULL ? 0 : tine__task_describe(tasks, function, &described);

    if (function != NULL && rc == 0)
        *task = TINE__ADDRESS(described);
    return rc;
}

static int add_sandbox(struct tine__initialize_shm *made, const struct tine__pool_shm *pool,
                       const tine_sandbox *sandbox)
{
    tine_sandbox box = sandbox != NULL ? *sandbox : (tine_sandbox){0};
    struct tine__sandbox_shm *copy;
    int rc;

    if (pool->untrusted) /* nor could a guest be kept from its worker otherwise */
        box.flags |= TINE_SANDBOX_COMPUTE_ONLY;
    else if (sandbox == NULL)
        return 0;
    rc = tine__sandbox_make(&copy, &box);
    if (rc < 0)
        return rc;
    copy->alone = pool->untrusted;
    made->sandbox = TINE__ADDRESS(copy);
    return 0;
}

static int add_context(struct tine__initialize_shm *made, const tine_pool_options *options)
{
    void *copy;

    if (options->context_size == 0)
        return 0;
    copy = tine_alloc(options->context_size);
    if (copy == NULL)
        return -ENOMEM;
    made->context_size = options->context_size;
    made->context = TINE__ADDRESS(memcpy(copy, options->context, options->context_size));
    return 0;
}

int tine__initialize_make(struct tine__pool_shm *pool, struct tine__tasks *tasks,
                          const tine_pool_options *options)
{
    struct tine__initialize_shm *made;
    int rc;

    if ((options->context == NULL) != (options->context_size == 0))
        return -EINVAL;
    if (options->initializer == NULL && options->finalizer == NULL && options->context != NULL)
        return -EINVAL;
    if (options->initializer == NULL && options->finalizer == NULL && options->sandbox == NULL &&
        !pool->untrusted)
        return 0;
    made = tine_calloc(1, sizeof *made + pool->workers * sizeof made->said[0]);
    if (made == NULL)
        return -ENOMEM;
    pool->initialize = TINE__ADDRESS(made);
    rc = add_function(tasks, TINE__AT(const void, (uintptr_t)options->initializer),
                      &made->initializer);
    if (rc == 0)
        rc = add_function(tasks, TINE__AT(const void, (uintptr_t)options->finalizer),
                          &made->finalizer);
    if (rc == 0)
        rc = add_sandbox(made, pool, options->sandbox);
    return rc < 0 ? rc : add_context(made, options);
}

/* The functions' descriptions belong to the pool's tasks. */
void tine__initialize_free(struct tine__pool_shm *pool)
{
    struct tine__initialize_shm *made = TINE__AT(struct tine__initialize_shm, pool->initialize);

    if (made == NULL)
        return;
    tine_free(TINE__AT(void, made->context));
    tine_free(TINE__AT(void, made->sandbox));
    tine_free(made);
}

/* ---- in a worker ----------------------------------------------------------------------------- */

void *tine_worker_state(void)
{
    return state;
}

int tine_worker_fail(int code, const char *format, ...)
{
    va_list args;

    if (code >= 0 || format == NULL)
        return -EINVAL;
    if (said == NULL)
        return code;
    va_start(args, format);
    vsnprintf(said->message, sizeof said->message, format, args);
    va_end(args);
    return code;
}

/* What this process is known by is read from /proc, once, while it may; and where functions lie. */
static void learn(void)
{
    tine__objects_learn();
    tine_free(tine_alloc(1));
    (void)tine__owner_word();
}

static int enter_sandbox(const struct tine__initialize_shm *made, struct tine__said_shm *words)
{
    if (made->sandbox == 0)
        return 0;
    learn();
    return tine__sandbox_enter(TINE__AT(const struct tine__sandbox_shm, made->sandbox),
                               words->message, sizeof words->message);
}

int tine__initializer_run(const struct tine__task_shm *task, void *context,
                          struct tine__said_shm *words)
{
    uint64_t generation = tine__fork_generation(), function;
    int rc = -ENOENT; /* its object file cannot be loaded here */

    if (task == NULL)
        return 0;
    said = words;
    function = tine__task_find(task);
    if (function != 0)
        rc = TINE__AT(tine_initializer, function)(context, &state);
    if (tine__fork_generation() != generation)
        _exit(0); /* a fork that the initializer made, and that came back from it */
    said = NULL;
    return rc;
}

/* The initializer runs in the sandbox; both in the guest where there is one. */
static int initialize(struct tine__pool_shm *pool, uint32_t index)
{
    struct tine__initialize_shm *made = TINE__AT(struct tine__initialize_shm, pool->initialize);
    struct tine__said_shm *words = &made->said[index];
    int rc;

    memset(words, 0, sizeof *words);
    if (pool->untrusted) {
        tine__objects_learn(); /* guests know what their worker does */
        rc = tine__guest_start(pool, index, words);
    } else {
        rc = enter_sandbox(made, words);
        if (rc == 0)
            rc = tine__initializer_run(TINE__AT(const struct tine__task_shm, made->initializer),
                                       TINE__AT(void, made->context), words);
    }
    if (rc < 0)
        words->code = rc;
    return rc;
}

/* Seen by the nursery after this process's death: no order is needed. */
static void reach(struct tine__worker_shm *worker, uint32_t stage)
{
    atomic_store_explicit(&worker->stage, stage, memory_order_relaxed);
}

void tine__worker_begin(struct tine__pool_shm *pool, uint32_t index)
{
    struct tine__worker_shm *worker = tine__worker_at(pool, index);

    /* what it may have is of a worker whose task has opened this pool */
    tine__place_of_process((struct tine__place){.index = (int)index, .pool = pool});
    tine__limit_worker(worker);
    state = NULL;
    if (pool->initialize == 0)
        return;
    reach(worker, TINE__STAGE_BEGINNING);
    if (initialize(pool, index) < 0)
        exit(EXIT_FAILURE); /* without the program's handlers: see leave_at_exit */
    reach(worker, TINE__STAGE_READY);
}

int tine__thread_begin(struct tine__pool_shm *pool, uint32_t index)
{
    struct tine__initialize_shm *made = TINE__AT(struct tine__initialize_shm, pool->initialize);
    struct tine__place outer;
    int rc;

    if (made == NULL)
        return 0;
    reach(tine__worker_at(pool, index), TINE__STAGE_BEGINNING);
    outer = tine__place_of_thread((struct tine__place){.index = (int)index, .pool = pool});
    rc = initialize(pool, index);
    (void)tine__place_of_thread(outer);
    if (rc < 0)
        return rc;
    reach(tine__worker_at(pool, index), TINE__STAGE_READY);
    return 0;
}

void tine__thread_failed(struct tine__pool_shm *pool, uint32_t index)
{
    struct tine__death none = {.pid = getpid(), .exit_status = -1};

    (void)tine__initialize_failed(pool, index, &none);
}

void *tine__worker_change_state(void *changed)
{
    void *before = state;

    state = changed;
    return before;
}

void tine__finalizer_run(const struct tine__task_shm *task, void *context)
{
    uint64_t function = task == NULL ? 0 : tine__task_find(task);

    if (function != 0)
        TINE__AT(tine_finalizer, function)(context, state);
}

bool tine__worker_has_end(const struct tine__pool_shm *pool)
{
    const struct tine__initialize_shm *made =
        TINE__AT(const struct tine__initialize_shm, pool->initialize);

    return pool->untrusted || (made != NULL && made->finalizer != 0);
}

void tine__worker_end(struct tine__pool_shm *pool)
{
    const struct tine__initialize_shm *made =
        TINE__AT(const struct tine__initialize_shm, pool->initialize);

    /* about to be killed: the pool is terminated, or broken */
    if (atomic_load_explicit(&pool->state, memory_order_acquire) == TINE__POOL_ENDING)
        return;
    if (pool->untrusted)
        tine__guest_end();
    if (made != NULL)
        tine__finalizer_run(TINE__AT(const struct tine__task_shm, made->finalizer),
                            TINE__AT(void, made->context));
}

/* ---- in the nursery -------------------------------------------------------------------------- */

static void describe_death(tine_failure *failure, const struct tine__death *death)
{
    failure->signal = death->signal;
    failure->exit_status = death->exit_status;
    if (death->is_thread)
        snprintf(failure->message, sizeof failure->message,
                 "worker %d (pid %d) has ended its thread in its initializer", failure->worker,
                 death->pid);
    else if (death->signal != 0)
        snprintf(failure->message, sizeof failure->message,
                 "worker %d (pid %d) was killed by signal %d (%s) in its initializer",
                 failure->worker, death->pid, death->signal, strsignal(death->signal));
    else
        snprintf(failure->message, sizeof failure->message,
                 "worker %d (pid %d) exited with status %d in its initializer", failure->worker,
                 death->pid, death->exit_status);
}

static void describe_code(tine_failure *failure, const struct tine__said_shm *words)
{
    failure->error = words->code;
    failure->exit_status = EXIT_FAILURE;
    if (words->message[0] != '\0')
        memcpy(failure->message, words->message, sizeof failure->message);
    else
        snprintf(failure->message, sizeof failure->message, "the initializer failed: %s",
                 tine_strerror(words->code));
}

bool tine__initialize_failed(struct tine__pool_shm *pool, uint32_t index,
                             const struct tine__death *death)
{
    const struct tine__initialize_shm *made =
        TINE__AT(const struct tine__initialize_shm, pool->initialize);
    tine_failure failure = {.pid = death->pid, .worker = (int32_t)index, .exit_status = -1};

    if (made == NULL || atomic_load_explicit(&tine__worker_at(pool, index)->stage,
                                             memory_order_relaxed) != TINE__STAGE_BEGINNING)
        return false;
    if (made->initializer == 0 && made->said[index].code == 0)
        return false; /* nothing of the caller's has run: it was killed */
    if (made->initializer != 0)
        memcpy(failure.task, TINE__AT(struct tine__task_shm, made->initializer)->name,
               sizeof failure.task);
    if (made->said[index].code != 0)
        describe_code(&failure, &made->said[index]);
    else
        describe_death(&failure, death);
    tine__pool_break(pool, &failure);
    return true;
}
