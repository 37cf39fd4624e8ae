/* SPDX-License-Identifier: MIT */
/*
 * The calling side of request and reply.
 *
 * Every call is a future, found by its id in a table. There is no thread that receives: of those
 * who wait for an answer one reads (`reading`) and settles whatever comes, also for the others, who
 * sleep on the words of their own futures. When it has got what it wants it wakes one of them to
 * read on. Who sends and finds no room reads, too, so that two sides that send do not wait for each
 * other.
 *
 * All state is private to the process, under `lock`, but for a future that is done: it does not
 * change any more until it is closed. A forked child may only close. The handle lives as long as
 * its futures; closing settles them.
 */
#include <tine/rpc.h>

#include <tine/error.h>

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ipc/connection.h"
#include "ipc/rpc_message.h"
#include "lib/clock.h"
#include "lib/fork.h"
#include "lib/futex_lock.h"
#include "lib/sys.h"
#include "lib/waitable.h"
#include "shm/waiters.h"

#define BUCKETS     256
#define CLOGGED_NS  TINE_MS(2) /* how long one waits for room before one looks for answers */
#define SCRATCH_MAX 65536      /* bytes of the packing buffer that is kept for the next call */
#define FORMAT_MAX  256        /* of the arguments' letters in tine_rpc_call() */

struct tine_rpc_future {
    tine_rpc *rpc; /* a reference */
    struct tine_rpc_future *next;
    uint32_t id;
    bool done;
    uint32_t waiters;      /* threads that sleep on word */
    _Atomic uint32_t word; /* changes when they have to look */
    int verdict;           /* done: 0, or why there is no result */
    uint8_t *result;       /* packed */
    size_t size;
    struct tine__texts texts; /* copies that were handed out */
    tine_failure failure;     /* done, with a verdict */
};

struct tine_rpc {
    tine_connection *connection;
    uint64_t generation;
    _Atomic uint32_t references; /* the handle, and its futures */
    struct tine__futex_lock lock;
    bool reading;      /* somebody is in recv, without the lock */
    int verdict;       /* negative: no answers will come any more */
    uint32_t sleepers; /* waiters of all futures */
    uint32_t last_id;
    tine_buffer *_Atomic scratch;             /* taken by who packs */
    struct tine_rpc_future *pending[BUCKETS]; /* not done, by id */
};

/* What has been received, out of the message's memory. */
struct answer {
    uint64_t id;
    bool failed;
    int32_t code;
    char text[sizeof((tine_failure *)0)->message];
    uint8_t *result;
    size_t size;
};

/* ---- futures --------------------------------------------------------------------------------- */

static struct tine_rpc_future **place_of(tine_rpc *rpc, uint32_t id)
{
    struct tine_rpc_future **at = &rpc->pending[id % BUCKETS];

    while (*at != NULL && (*at)->id != id)
        at = &(*at)->next;
    return at;
}

static void forget_locked(struct tine_rpc_future *future)
{
    struct tine_rpc_future **at = place_of(future->rpc, future->id);

    if (*at == future)
        *at = future->next;
}

static void rouse_locked(struct tine_rpc_future *future)
{
    if (future->waiters == 0)
        return;
    /* relaxed: who sleeps on it looks at the future under the lock */
    atomic_fetch_add_explicit(&future->word, 1, memory_order_relaxed);
    tine__sys_futex_wake(&future->word, INT32_MAX);
}

static void settle_locked(struct tine_rpc_future *future, int verdict, int32_t error,
                          const char *text)
{
    forget_locked(future);
    future->verdict = verdict;
    future->failure.code = verdict;
    future->failure.error = error;
    snprintf(future->failure.message, sizeof future->failure.message, "%s", text);
    future->done = true;
    rouse_locked(future);
}

/* Nothing comes any more. */
static void end_locked(tine_rpc *rpc, int verdict)
{
    if (rpc->verdict == 0)
        rpc->verdict = verdict;
    for (int i = 0; i < BUCKETS; i++)
        while (rpc->pending[i] != NULL)
            settle_locked(rpc->pending[i], verdict, 0, tine_strerror(verdict));
}

static uint32_t choose_id_locked(tine_rpc *rpc)
{
    do
        rpc->last_id++;
    while (*place_of(rpc, rpc->last_id) != NULL);
    return rpc->last_id;
}

static void unreference(tine_rpc *rpc)
{
    tine_buffer *scratch;

    if (atomic_fetch_sub_explicit(&rpc->references, 1, memory_order_acq_rel) > 1)
        return;
    scratch = atomic_load_explicit(&rpc->scratch, memory_order_acquire);
    if (scratch != NULL)
        tine_buffer_free(scratch);
    free(scratch);
    free(rpc);
}

static void free_future(struct tine_rpc_future *future)
{
    unreference(future->rpc);
    tine__texts_free(&future->texts);
    free(future->result);
    free(future);
}

static bool is_forked(const tine_rpc *rpc)
{
    return rpc->generation != tine__fork_generation_fast();
}

/* 0, or why no call can begin. */
static int add_future(tine_rpc *rpc, const char *name, struct tine_rpc_future **future)
{
    struct tine_rpc_future *made = calloc(1, sizeof *made);
    int rc;

    if (made == NULL)
        return -ENOMEM;
    made->rpc = rpc;
    made->failure = (tine_failure){.worker = -1, .exit_status = -1, .count = 1};
    snprintf(made->failure.task, sizeof made->failure.task, "%s", name);
    tine__futex_lock(&rpc->lock);
    rc = rpc->verdict;
    if (rc == 0) {
        made->id = choose_id_locked(rpc);
        *place_of(rpc, made->id) = made;
        atomic_fetch_add_explicit(&rpc->references, 1, memory_order_relaxed);
    }
    tine__futex_unlock(&rpc->lock);
    if (rc < 0)
        free(made);
    else
        *future = made;
    return rc;
}

static void drop_future(struct tine_rpc_future *future)
{
    tine_rpc *rpc = future->rpc;

    tine__futex_lock(&rpc->lock);
    if (!future->done)
        forget_locked(future);
    tine__futex_unlock(&rpc->lock);
    free_future(future);
}

/* ---- reading --------------------------------------------------------------------------------- */

/* The message was received; what is not an answer is passed over. 0, TINE_EFORMAT, or -ENOMEM. */
static int understand(const tine_message *message, struct answer *answer)
{
    struct tine__rpc_message decoded;

    if (tine__rpc_decode(message->data, message->size, &decoded) < 0)
        return TINE_EFORMAT;
    *answer = (struct answer){.id = UINT64_MAX};
    if (decoded.kind != TINE__RPC_ANSWER)
        return 0;
    *answer = (struct answer){.id = decoded.id, .failed = decoded.failed, .code = decoded.code};
    snprintf(
        answer->text, sizeof answer->text, "%.*s",
        (int)(decoded.text_size < sizeof answer->text ? decoded.text_size : sizeof answer->text),
        decoded.text);
    if (decoded.failed)
        return 0;
    answer->result = malloc(decoded.value_size);
    if (answer->result == NULL)
        return -ENOMEM;
    memcpy(answer->result, decoded.value, decoded.value_size);
    answer->size = decoded.value_size;
    return 0;
}

/* Of those that nobody waits for any more, nothing is left. */
static void deliver_locked(tine_rpc *rpc, struct answer *answer, int rc)
{
    struct tine_rpc_future *future =
        answer->id > UINT32_MAX ? NULL : *place_of(rpc, (uint32_t)answer->id);

    if (future == NULL) {
        free(answer->result);
        return;
    }
    future->result = answer->result;
    future->size = answer->size;
    if (answer->failed)
        settle_locked(future, TINE_EREMOTE, answer->code, answer->text);
    else
        settle_locked(future, rc, 0, rc < 0 ? tine_strerror(rc) : "");
}

/* A peer that dies in the middle of a message has died. */
static int end_of(int rc)
{
    return rc == -EBADMSG || rc == -ECONNRESET || rc == -EPIPE ? TINE_EEOF : rc;
}

/* One message. The lock is not held meanwhile. 0, also when only the slice is over; -ETIMEDOUT. */
static int read_locked(tine_rpc *rpc, tine__deadline deadline)
{
    int64_t left = tine__deadline_left(deadline);
    struct answer answer;
    tine_message message;
    int rc, understood = 0;

    rpc->reading = true;
    tine__futex_unlock(&rpc->lock);
    rc = tine_connection_recv_view(rpc->connection, left < TINE__LOOK_NS ? left : TINE__LOOK_NS,
                                   &message);
    if (rc == 0) {
        understood = understand(&message, &answer);
        tine_message_release(&message);
    }
    tine__futex_lock(&rpc->lock);
    rpc->reading = false;
    if (rc == -ENOMEM)
        return rc;
    if (rc == -ETIMEDOUT || rc == -EAGAIN)
        return tine__deadline_passed(deadline) ? -ETIMEDOUT : 0;
    if (rc < 0 || understood == TINE_EFORMAT)
        end_locked(rpc, rc < 0 ? end_of(rc) : TINE_EFORMAT);
    else
        deliver_locked(rpc, &answer, understood);
    return 0;
}

/* If nobody reads: one of those who wait shall. */
static void hand_over_locked(tine_rpc *rpc)
{
    struct tine_rpc_future *future;

    if (rpc->reading || rpc->sleepers == 0)
        return;
    for (int i = 0; i < BUCKETS; i++)
        for (future = rpc->pending[i]; future != NULL; future = future->next)
            if (future->waiters > 0) {
                rouse_locked(future);
                return;
            }
}

/* Until the future has news. 0, or -ETIMEDOUT. */
static int sleep_locked(struct tine_rpc_future *future, tine__deadline deadline)
{
    uint32_t seen = atomic_load_explicit(&future->word, memory_order_relaxed);
    int64_t left = tine__deadline_left(deadline);
    tine_rpc *rpc = future->rpc;

    if (left == 0)
        return -ETIMEDOUT;
    future->waiters++;
    rpc->sleepers++;
    tine__futex_unlock(&rpc->lock);
    (void)tine__sys_futex_wait(&future->word, seen, left < TINE__LOOK_NS ? left : TINE__LOOK_NS);
    tine__futex_lock(&rpc->lock);
    future->waiters--;
    rpc->sleepers--;
    return 0;
}

/* 0: it is done. */
static int await(struct tine_rpc_future *future, tine__deadline deadline)
{
    tine_rpc *rpc = future->rpc;
    int rc = 0;

    tine__futex_lock(&rpc->lock);
    while (!future->done && rc == 0)
        rc = rpc->reading ? sleep_locked(future, deadline) : read_locked(rpc, deadline);
    hand_over_locked(rpc);
    rc = future->done ? 0 : rc;
    tine__futex_unlock(&rpc->lock);
    return rc;
}

/* Everything that has come. */
static void read_all(tine_rpc *rpc)
{
    tine__futex_lock(&rpc->lock);
    while (rpc->verdict == 0 && !rpc->reading && read_locked(rpc, 0) == 0)
        ;
    hand_over_locked(rpc);
    tine__futex_unlock(&rpc->lock);
}

/* ---- sending --------------------------------------------------------------------------------- */

/*
 * What of a large message is still here, for its send has ended when a slice was over. An outside
 * loop would wait for the answer to what never leaves.
 */
static void send_rest(tine_rpc *rpc, tine__deadline deadline)
{
    while (tine__connection_unsent(rpc->connection)) {
        int64_t left = tine__deadline_left(deadline);

        if (left == 0)
            return;
        if (tine_connection_poll(rpc->connection, left < CLOGGED_NS ? left : CLOGGED_NS) != 0)
            read_all(rpc);
    }
}

static int send_all(tine_rpc *rpc, const tine_buffer *message, tine__deadline deadline)
{
    for (;;) {
        int64_t left = tine__deadline_left(deadline);
        int rc = tine_connection_send_bytes(rpc->connection, message->data, message->size,
                                            left < CLOGGED_NS ? left : CLOGGED_NS);

        if (rc == 0)
            send_rest(rpc, deadline);
        if (rc != -ETIMEDOUT && rc != -EAGAIN)
            return end_of(rc);
        read_all(rpc);
        if (left == 0)
            return -ETIMEDOUT;
    }
}

static tine_buffer *take_scratch(tine_rpc *rpc)
{
    tine_buffer *scratch = atomic_exchange_explicit(&rpc->scratch, NULL, memory_order_acquire);

    return scratch != NULL ? scratch : calloc(1, sizeof *scratch);
}

static void give_scratch(tine_rpc *rpc, tine_buffer *scratch)
{
    if (scratch->capacity > SCRATCH_MAX)
        tine_buffer_free(scratch);
    tine_buffer_clear(scratch);
    scratch = atomic_exchange_explicit(&rpc->scratch, scratch, memory_order_acq_rel);
    if (scratch != NULL)
        tine_buffer_free(scratch);
    free(scratch);
}

static int check(const tine_rpc *rpc, const char *name, const char *format)
{
    if (rpc == NULL || !tine__rpc_is_name(name) || !tine__rpc_is_format(format))
        return -EINVAL;
    return is_forked(rpc) ? TINE_EFORKED : 0;
}

/* A request, or with no future a notice. */
static int send_packed(tine_rpc *rpc, const struct tine_rpc_future *future, tine__deadline deadline,
                       const char *const what[2], struct tine__arguments *args)
{
    tine_buffer *scratch = take_scratch(rpc);
    int rc;

    if (scratch == NULL)
        return -ENOMEM;
    rc = future == NULL ? tine__rpc_put_notice(scratch, what[0], what[1], args)
                        : tine__rpc_put_request(scratch, future->id, what[0], what[1], args);
    if (rc == 0)
        rc = send_all(rpc, scratch, deadline);
    give_scratch(rpc, scratch);
    return rc;
}

/* what: name and format. */
static int begin(tine_rpc *rpc, struct tine_rpc_future **future, tine__deadline deadline,
                 const char *const what[2], struct tine__arguments *args)
{
    struct tine_rpc_future *made;
    int rc = add_future(rpc, what[0], &made);

    if (rc < 0)
        return rc;
    rc = send_packed(rpc, made, deadline, what, args);
    if (rc < 0)
        drop_future(made);
    else
        *future = made;
    return rc;
}

/* The server is told if there is room; it need not be. */
static int cancel(struct tine_rpc_future *future)
{
    tine_buffer message = {.data = NULL};
    tine_rpc *rpc = future->rpc;
    int rc = 0;

    tine__futex_lock(&rpc->lock);
    if (future->done)
        rc = -EALREADY;
    else
        settle_locked(future, -ECANCELED, 0, tine_strerror(-ECANCELED));
    tine__futex_unlock(&rpc->lock);
    if (rc == 0 && tine__rpc_put_cancel(&message, future->id) == 0)
        (void)!tine_connection_send_bytes(rpc->connection, message.data, message.size, 0);
    tine_buffer_free(&message);
    return rc;
}

static int said_at_once(int rc, int64_t timeout_ns)
{
    return rc == -ETIMEDOUT && timeout_ns == 0 ? -EAGAIN : rc;
}

/* ---- public: calling ------------------------------------------------------------------------- */

int tine_rpc_submit(tine_rpc_future **future, tine_rpc *rpc, int64_t timeout_ns, const char *name,
                    const char *format, ...)
{
    const char *const what[2] = {name, format};
    struct tine__arguments args = {.descriptors = NULL};
    int rc = future == NULL ? -EINVAL : check(rpc, name, format);

    if (rc < 0)
        return rc;
    va_start(args.list, format);
    rc = begin(rpc, future, tine__deadline_after(timeout_ns), what, &args);
    va_end(args.list);
    return said_at_once(rc, timeout_ns);
}

int tine_rpc_notify(tine_rpc *rpc, int64_t timeout_ns, const char *name, const char *format, ...)
{
    const char *const what[2] = {name, format};
    struct tine__arguments args = {.descriptors = NULL};
    int rc = check(rpc, name, format);

    if (rc < 0)
        return rc;
    va_start(args.list, format);
    rc = send_packed(rpc, NULL, tine__deadline_after(timeout_ns), what, &args);
    va_end(args.list);
    return said_at_once(rc, timeout_ns);
}

/* "qq>q": the letters in front of the > to front, what is behind it returned; NULL: too many. */
static const char *split(const char *format, char front[FORMAT_MAX])
{
    size_t size = strcspn(format, ">");

    if (size >= FORMAT_MAX)
        return NULL;
    memcpy(front, format, size);
    front[size] = '\0';
    return format[size] == '\0' ? format + size : format + size + 1;
}

/* The outcome; a call that is not answered in time is cancelled. */
static int conclude(struct tine_rpc_future *future, tine__deadline deadline)
{
    int rc = await(future, deadline);

    if (rc == -ETIMEDOUT && cancel(future) == 0)
        return rc;
    return rc == 0 || rc == -ETIMEDOUT ? future->verdict : rc;
}

static void explain(tine_failure *failure, int code, const char *name)
{
    *failure = (tine_failure){.code = code, .worker = -1, .exit_status = -1, .count = 1};
    snprintf(failure->task, sizeof failure->task, "%s", name);
    snprintf(failure->message, sizeof failure->message, "%s", tine_strerror(code));
}

int tine_rpc_call(tine_rpc *rpc, int64_t timeout_ns, const char *name, tine_failure *failure,
                  const char *format, ...)
{
    tine__deadline deadline = tine__deadline_after(timeout_ns);
    struct tine__arguments args = {.descriptors = NULL};
    struct tine_rpc_future *future = NULL;
    char front[FORMAT_MAX];
    const char *const what[2] = {name, front};
    const char *results = format == NULL ? NULL : split(format, front);
    /* What would lie in the answer has nobody to keep it. */
    int rc =
        results == NULL || strpbrk(results, "yvapcFo") != NULL ? -EINVAL : check(rpc, name, front);

    if (rc < 0)
        return rc;
    va_start(args.list, format);
    rc = begin(rpc, &future, deadline, what, &args);
    if (rc == 0)
        rc = conclude(future, deadline);
    if (rc == 0 && results[0] != '\0')
        rc = tine__vunpack(future->result, future->size, results, false, args.list, NULL);
    va_end(args.list);
    if (rc < 0 && failure != NULL) {
        explain(failure, rc, name);
        if (rc == TINE_EREMOTE)
            *failure = future->failure;
    }
    tine_rpc_future_close(future);
    return said_at_once(rc, timeout_ns);
}

/* ---- public: futures ------------------------------------------------------------------------- */

int tine_rpc_future_wait(tine_rpc_future *future, int64_t timeout_ns)
{
    if (future == NULL)
        return -EINVAL;
    if (is_forked(future->rpc))
        return TINE_EFORKED;
    return said_at_once(await(future, timeout_ns == 0 ? 0 : tine__deadline_after(timeout_ns)),
                        timeout_ns);
}

int tine_rpc_future_result(tine_rpc_future *future, int64_t timeout_ns, const char *format, ...)
{
    struct tine__texts texts = {.first = NULL};
    va_list args;
    int rc = format != NULL && !tine__rpc_is_format(format)
                 ? -EINVAL
                 : tine_rpc_future_wait(future, timeout_ns);

    if (rc == 0)
        rc = future->verdict;
    if (rc < 0 || format == NULL)
        return rc;
    va_start(args, format);
    rc = tine__vunpack(future->result, future->size, format, false, args, &texts);
    va_end(args);
    if (texts.first != NULL) {
        tine__futex_lock(&future->rpc->lock);
        tine__texts_move(&texts, &future->texts);
        tine__futex_unlock(&future->rpc->lock);
    }
    return rc;
}

int tine_rpc_future_packed(tine_rpc_future *future, int64_t timeout_ns, const void **bytes,
                           size_t *size)
{
    int rc = bytes == NULL || size == NULL ? -EINVAL : tine_rpc_future_wait(future, timeout_ns);

    if (rc == 0)
        rc = future->verdict;
    if (rc < 0)
        return rc;
    *bytes = future->result;
    *size = future->size;
    return 0;
}

int tine_rpc_future_failure(tine_rpc_future *future, tine_failure *failure)
{
    int rc = failure == NULL ? -EINVAL : tine_rpc_future_wait(future, 0);

    if (rc < 0)
        return rc;
    if (future->verdict == 0)
        return 0;
    *failure = future->failure;
    return 1;
}

static int waitable_ready(const tine_waitable *waitable, bool look)
{
    struct tine_rpc_future *future = waitable->object;
    bool done;

    (void)look;
    if (waitable->events != TINE_READABLE)
        return -EINVAL;
    if (is_forked(future->rpc))
        return TINE_EFORKED;
    tine__futex_lock(&future->rpc->lock);
    done = future->done;
    tine__futex_unlock(&future->rpc->lock);
    return done ? TINE_READABLE : 0;
}

static int waitable_fd(const tine_waitable *waitable)
{
    const struct tine_rpc_future *future = waitable->object;

    return future->rpc->connection == NULL ? -ENOTSUP : tine_rpc_fileno(future->rpc);
}

static const struct tine__waitable_kind waitable_kind = {.ready = waitable_ready,
                                                         .descriptor = waitable_fd};

tine_waitable tine_rpc_future_waitable(tine_rpc_future *future)
{
    return (tine_waitable){.kind = &waitable_kind, .object = future, .events = TINE_READABLE};
}

int tine_rpc_future_cancel(tine_rpc_future *future)
{
    if (future == NULL)
        return -EINVAL;
    return is_forked(future->rpc) ? TINE_EFORKED : cancel(future);
}

void tine_rpc_future_close(tine_rpc_future *future)
{
    if (future == NULL)
        return;
    if (is_forked(future->rpc))
        free_future(future); /* the lock may be another thread's of the parent for ever */
    else
        drop_future(future);
}

/* ---- public: the handle ---------------------------------------------------------------------- */

int tine_rpc_open(tine_rpc **rpc, tine_connection *connection)
{
    tine_rpc *made;

    if (rpc == NULL || connection == NULL)
        return -EINVAL;
    if (!tine_connection_readable(connection) || !tine_connection_writable(connection))
        return -EBADF;
    made = calloc(1, sizeof *made);
    if (made == NULL)
        return -ENOMEM;
    made->connection = connection;
    made->generation = tine__fork_generation();
    atomic_init(&made->references, 1);
    *rpc = made;
    return 0;
}

int tine_rpc_fileno(const tine_rpc *rpc)
{
    return rpc == NULL ? -EINVAL : tine_connection_fileno(rpc->connection);
}

void tine_rpc_close(tine_rpc *rpc)
{
    if (rpc == NULL)
        return;
    if (!is_forked(rpc)) {
        tine__futex_lock(&rpc->lock);
        end_locked(rpc, -ECANCELED);
        tine__futex_unlock(&rpc->lock);
    }
    tine_connection_close(rpc->connection);
    rpc->connection = NULL; /* for futures that are left */
    unreference(rpc);
}
