/* SPDX-License-Identifier: MIT */
/*
 * Descriptors as arguments: the program's, opened whenever, reaches the worker that runs the call.
 *
 *     program ──number + descriptor──► nursery ◄──number── worker   (its control socket)
 *             ──number in the arguments──────────────────► worker
 *                                      nursery ──descriptor──► worker
 *
 * Why the nursery: which worker will run the call, and whether that dies and another has to run it
 * again, is not known beforehand. The program sends before it publishes the call, and the nursery
 * takes in all that was sent before it answers, so the descriptor is always there first.
 *
 * A number is kept as long as it stands in pool->kept, at number % TINE__KEPT_MAX. The program
 * writes it there, and whoever completes the call swaps it for 0 afterwards: the worker; the
 * nursery if that died in between; the program when it takes in the results. Numbers are never used
 * again, so one who comes late changes nothing. The nursery looks whenever it wakes, and is nudged;
 * a nudge that finds no room in the socket is none too few, for the nursery then has something to
 * read.
 */
#include "pool/descriptor.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <tine/error.h>

#include "ipc/handles.h"
#include "lib/fork.h"
#include "lib/sys.h"
#include "pool/pool_impl.h"
#include "pool/threads.h"

/* What the nursery answers; the descriptor is beside it where the code is 0. */
struct answer {
    uint64_t number;
    int32_t code;
    uint32_t unused;
};

static _Atomic uint64_t *place_of(struct tine__pool_shm *pool, uint64_t number)
{
    return &pool->kept[number % TINE__KEPT_MAX];
}

void tine__numbers_of(const struct tine__job_shm *job, struct tine__numbers *numbers)
{
    numbers->count = job->kept_count;
    if (numbers->count > 0)
        memcpy(numbers->at, TINE__AT(const void, job->kept), numbers->count * sizeof(uint64_t));
}

bool tine__numbers_release(struct tine__pool_shm *pool, const struct tine__numbers *numbers)
{
    bool released = false;

    for (uint64_t i = 0; i < numbers->count; i++) {
        uint64_t number = numbers->at[i];

        /* Nothing is published by it: who reads 0 only closes, or writes another number. */
        if (atomic_compare_exchange_strong_explicit(place_of(pool, number), &number, 0,
                                                    memory_order_relaxed, memory_order_relaxed))
            released = true;
    }
    return released;
}

/* ---- the program's side ---------------------------------------------------------------------- */

static int take_number(struct tine_pool *pool, uint64_t *number)
{
    int rc = -EAGAIN;

    pthread_mutex_lock(&pool->mutex);
    for (int i = 0; i < TINE__KEPT_MAX && rc < 0; i++) {
        _Atomic uint64_t *place = place_of(pool->shared, ++pool->last_number);

        if (atomic_load_explicit(place, memory_order_relaxed) != 0)
            continue;
        *number = pool->last_number;
        atomic_store_explicit(place, *number, memory_order_relaxed); /* before it is sent */
        rc = 0;
    }
    pthread_mutex_unlock(&pool->mutex);
    return rc;
}

static int keep(struct tine__descriptors *hooks, int fd, uint64_t *number)
{
    struct tine__keeping *keeping = (struct tine__keeping *)hooks;
    struct tine_pool *pool = keeping->pool;
    struct tine__numbers *numbers = &keeping->numbers;
    int rc = numbers->count < TINE__CALL_DESCRIPTORS_MAX ? take_number(pool, number) : -EMFILE;

    if (rc < 0)
        return rc;
    numbers->at[numbers->count++] = *number;
    rc = tine__nursery_keep(&pool->nursery, *number, fd);
    if (rc == TINE_EBROKEN && !tine__pool_is_broken(pool) && tine__pool_check(pool) < 0)
        return tine__pool_check(pool); /* terminated meanwhile */
    return rc;
}

void tine__keeping_begin(struct tine__keeping *keeping, struct tine_pool *pool)
{
    keeping->hooks = (struct tine__descriptors){.keep = keep, .handle_kinds = tine__handle_kinds};
    keeping->pool = pool;
    keeping->numbers.count = 0;
}

void tine__keeping_drop(struct tine__keeping *keeping)
{
    if (keeping->numbers.count > 0 &&
        tine__numbers_release(keeping->pool->shared, &keeping->numbers))
        tine__nursery_nudge(&keeping->pool->nursery);
}

/* ---- a worker's side ------------------------------------------------------------------------- */

/* The nursery's end is closed: it is dead, and this process about to be. */
static bool is_cut(ssize_t size)
{
    return size == 0 || size == -EPIPE || size == -ECONNRESET;
}

static int ask(int control, uint64_t number, int *fd)
{
    struct answer answer;
    ssize_t size = tine__sys_send_fds(control, &number, sizeof number, NULL, 0, 0);
    int count;

    if (size < 0)
        return is_cut(size) ? TINE_EBROKEN : (int)size;
    do {
        count = 1;
        answer = (struct answer){0};
        size = tine__sys_recv_fds(control, &answer, sizeof answer, fd, &count, 0);
        if (size == -EPROTO)
            return -EMFILE; /* there was no room for it here */
        if (size <= 0)
            return is_cut(size) ? TINE_EBROKEN : (int)size;
        if (count == 1 && answer.number != number)
            close(*fd); /* asked for by a task that has jumped out of here */
    } while (answer.number != number);
    if (answer.code == 0 && count != 1)
        return TINE_EBROKEN;
    return answer.code;
}

static int fetch(struct tine__descriptors *hooks, uint64_t number, int *fd)
{
    struct tine__fetched *fetched = (struct tine__fetched *)hooks;
    int rc;

    for (uint32_t i = 0; i < fetched->count; i++)
        if (fetched->got[i].number == number) {
            *fd = fetched->got[i].fd;
            return 0;
        }
    if (fetched->count == TINE__CALL_DESCRIPTORS_MAX)
        return TINE_EFORMAT; /* no call has so many */
    rc = fetched->threads != NULL ? tine__threads_fetch(fetched->threads, number, fd)
                                  : ask(fetched->control, number, fd);
    if (rc < 0)
        return rc;
    fetched->got[fetched->count].number = number;
    fetched->got[fetched->count++].fd = *fd;
    return 0;
}

TINE__EARLY void tine__fetched_init(struct tine__fetched *fetched, int control)
{
    fetched->hooks = (struct tine__descriptors){
        .fetch = fetch, .borrow = fetch, .handle_kinds = tine__handle_kinds};
    fetched->control = control;
    fetched->threads = NULL;
    fetched->count = 0;
}

void tine__fetched_close(struct tine__fetched *fetched)
{
    if (fetched->hooks.taken != NULL)
        tine__handles_close(&fetched->hooks);
    while (fetched->count > 0)
        close(fetched->got[--fetched->count].fd);
}

/* ---- the nursery's side ---------------------------------------------------------------------- */

static void forget(struct tine__kept *kept, uint32_t slot)
{
    if (kept->at[slot].number == 0)
        return;
    if (kept->at[slot].fd >= 0)
        close(kept->at[slot].fd);
    kept->at[slot].number = 0;
    kept->count--;
}

static bool is_wanted(const struct tine__pool_shm *pool, uint64_t number)
{
    return number != 0 && atomic_load_explicit(&pool->kept[number % TINE__KEPT_MAX],
                                               memory_order_relaxed) == number;
}

void tine__kept_add(struct tine__kept *kept, const struct tine__pool_shm *pool, uint64_t number,
                    int fd)
{
    uint32_t slot = number % TINE__KEPT_MAX;

    if (!is_wanted(pool, number)) {
        if (fd >= 0)
            close(fd);
        return;
    }
    forget(kept, slot);
    kept->at[slot].number = number;
    kept->at[slot].fd = fd;
    kept->count++;
}

void tine__kept_sweep(struct tine__kept *kept, const struct tine__pool_shm *pool)
{
    for (uint32_t slot = 0; kept->count > 0 && slot < TINE__KEPT_MAX; slot++)
        if (kept->at[slot].number != 0 && !is_wanted(pool, kept->at[slot].number))
            forget(kept, slot);
}

void tine__kept_close(const struct tine__kept *kept)
{
    for (uint32_t slot = 0; kept->count > 0 && slot < TINE__KEPT_MAX; slot++)
        if (kept->at[slot].number != 0 && kept->at[slot].fd >= 0)
            close(kept->at[slot].fd);
}

int tine__kept_find(const struct tine__kept *kept, uint64_t number)
{
    uint32_t slot = number % TINE__KEPT_MAX;

    return number != 0 && kept->at[slot].number == number ? kept->at[slot].fd : -EBADF;
}

bool tine__kept_answer(const struct tine__kept *kept, int control)
{
    struct answer answer = {0};
    ssize_t size = recv(control, &answer.number, sizeof answer.number, MSG_DONTWAIT);
    int fd;

    if (size != (ssize_t)sizeof answer.number)
        return size > 0 || (size < 0 && (errno == EAGAIN || errno == EINTR)); /* a nudge, or none */
    fd = tine__kept_find(kept, answer.number);
    answer.code = fd < 0 ? fd : 0;
    size = tine__sys_send_fds(control, &answer, sizeof answer, &fd, fd < 0 ? 0 : 1, MSG_DONTWAIT);
    if (size < 0 && fd >= 0) { /* too many are under way: the task may ask again */
        answer.code = (int32_t)size;
        size = tine__sys_send_fds(control, &answer, sizeof answer, NULL, 0, MSG_DONTWAIT);
    }
    return size >= 0;
}

void tine__job_end_call(struct tine__pool_shm *pool, struct tine__job_shm *job,
                        const struct tine__fetched *fetched)
{
    struct tine__numbers numbers;

    tine__numbers_of(job, &numbers);
    tine__job_complete(pool, job);
    if (numbers.count == 0 || !tine__numbers_release(pool, &numbers))
        return;
    if (fetched->threads != NULL)
        tine__threads_sweep(fetched->threads);
    else
        send(fetched->control, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
}
