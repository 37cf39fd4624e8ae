/* SPDX-License-Identifier: MIT */
/*
 * Messages over a stream socket, to and from processes outside the family: ipc/stream_in.c and
 * ipc/stream_out.c on a descriptor, with deadlines. The one loop that reads and writes a stream.
 *
 * Each direction has a lock between the threads of this process, held for one message, so that
 * messages are whole. A deadline that comes in the middle of a message leaves a part of it in the
 * machine: a received one goes on with the next receive; the rest of one to be sent, copied, goes
 * out with whatever is called next, and its send has succeeded. Who waits to receive therefore
 * looks every TINE__LOOK_NS whether such a rest is there.
 *
 * A stream has one place in each direction, so one process at a time can read it, and one write. A
 * forked child has a copy of the machines as they were. In memory that both share there is a
 * counter a direction; every operation moves it on from where this process left it. So after a fork
 * whoever uses a direction first has it, and all others get TINE_EFORKED there. Encrypted, anything
 * else would use a nonce twice.
 *
 * A handle that is sent to another process (give) is a fork at that instant: the counters move into
 * a memfd, which goes along, and behind them a copy of the machines as they are between two
 * messages. Such a copy is written once and never changed.
 *
 * turns_shm  field          written by                                     order
 *            send, receive  whoever begins an operation: CAS from its own  relaxed: guards nothing
 *                           count to one more                              but private state
 *            copies         who travels: one more                            relaxed: a number
 */
#include "ipc/transport_stream.h"

#include <tine/error.h>
#include <tine/pipe.h>

#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ipc/stream.h"
#include "lib/fork.h"
#include "lib/futex_lock.h"
#include "lib/sys.h"
#include "lib/sys_poll.h"
#include "shm/waiters.h"

#define ADOPTING ((uint64_t)1 << 63) /* beside the generation of the process that does */

struct turns_shm {
    _Atomic uint64_t send, receive;
    _Atomic uint64_t copies; /* that have their place */
};

#define NOBODYS UINT64_MAX /* of a turn: no process comes to it */

/* What a handle travels as, in the memfd of the turns. In the family: as the compiler lays it out. */
struct copy {
    uint64_t magic; /* TINE__STREAM_PARTS */
    uint64_t send_turn, receive_turn, send_sequence, receive_sequence;
    struct tine__frame_rules send, receive;
    uint8_t encryption[TINE__ENCRYPTION_BYTES];
    bool python, encrypted, send_started, receive_started;
};

#define COPY_BYTES ((size_t)1024)
#define COPIES_AT  ((size_t)4096) /* behind the page with the turns */

_Static_assert(sizeof(struct copy) <= COPY_BYTES, "each has its place");

struct direction {
    struct tine__futex_lock lock;
    uint64_t turn; /* where this process left the counter */
    bool stale;    /* forked in the middle of an operation */
};

struct stream_end {
    struct tine__transport base;
    int fd;
    int send_verdict;   /* -EPIPE: nothing can be sent any more */
    _Atomic bool rest;  /* of a message is to be sent */
    _Atomic bool ended; /* receiving has come to its end, good or bad */
    _Atomic uint64_t generation;
    struct turns_shm *turns;
    int travel_fd; /* of the turns' memfd; -1: it has not travelled */
    struct direction sending, receiving;
    struct tine__stream_rules rules;
    struct tine__stream_in in;
    struct tine__stream_out out;
};

static struct stream_end *end_of(struct tine__transport *transport)
{
    return (struct stream_end *)transport;
}

/* ---- one process a direction ----------------------------------------------------------------- */

/* In a forked child: locks that other threads of the parent hold will never be given back. */
static void adopt(struct direction *direction)
{
    if (atomic_load_explicit(&direction->lock.word, memory_order_relaxed) == 0)
        return;
    direction->stale = true;
    atomic_store_explicit(&direction->lock.word, 0, memory_order_relaxed);
}

/* A child forked while a thread of its parent does this begins anew: nobody else would finish. */
static void notice_fork(struct stream_end *end)
{
    uint64_t now = tine__fork_generation_fast();
    uint64_t seen = atomic_load_explicit(&end->generation, memory_order_acquire);

    while (seen != now) {
        if (seen != (now | ADOPTING) &&
            atomic_compare_exchange_weak_explicit(&end->generation, &seen, now | ADOPTING,
                                                  memory_order_acquire, memory_order_acquire)) {
            adopt(&end->sending);
            adopt(&end->receiving);
            /* pairs with the acquires above, in other threads */
            atomic_store_explicit(&end->generation, now, memory_order_release);
            return;
        }
        tine__cpu_relax();
        seen = atomic_load_explicit(&end->generation, memory_order_acquire);
    }
}

static int claim(struct direction *direction, _Atomic uint64_t *shared)
{
    uint64_t expected = direction->turn;

    if (direction->stale ||
        !atomic_compare_exchange_strong_explicit(shared, &expected, expected + 1,
                                                 memory_order_relaxed, memory_order_relaxed))
        return TINE_EFORKED;
    direction->turn++;
    return 0;
}

/* Locked afterwards, if 0. */
static int begin(struct stream_end *end, struct direction *direction, tine__deadline deadline)
{
    int rc;

    notice_fork(end);
    rc = tine__futex_lock_until(&direction->lock, deadline);
    if (rc < 0)
        return rc;
    rc = claim(direction, direction == &end->sending ? &end->turns->send : &end->turns->receive);
    if (rc < 0)
        tine__futex_unlock(&direction->lock);
    return rc;
}

/* ---- sending --------------------------------------------------------------------------------- */

static int await_room(struct stream_end *end, tine__deadline deadline)
{
    int64_t left = deadline == TINE__NEVER ? -1 : tine__deadline_left(deadline);
    int rc = tine__sys_poll_out(end->fd, left);

    return rc == 0 ? -ETIMEDOUT : rc < 0 ? rc : 0;
}

/* -EPIPE for good, -EAGAIN, or -ENOMEM */
static int failed_send(struct stream_end *end, int error)
{
    if (error == EAGAIN)
        return -EAGAIN;
    if (error == ENOBUFS || error == ENOMEM)
        return -ENOMEM;
    end->send_verdict = -EPIPE;
    return -EPIPE;
}

/* Once, whatever there is: 1 all is gone, 0 not yet. */
static int send_some(struct stream_end *end)
{
    struct iovec parts[2];
    struct msghdr message = {.msg_iov = parts};
    ssize_t sent;
    int count = tine__stream_parts(&end->out, parts);

    if (count == 0)
        return 1;
    message.msg_iovlen = (size_t)count;
    sent = sendmsg(end->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0)
        return errno == EINTR ? 0 : failed_send(end, errno);
    tine__stream_sent(&end->out, (size_t)sent);
    return 0;
}

static int push(struct stream_end *end, tine__deadline deadline)
{
    int rc = end->send_verdict;

    while (rc == 0) {
        rc = send_some(end);
        if (rc == -EAGAIN)
            rc = await_room(end, deadline);
    }
    if (rc == 1 || rc == -EPIPE)
        /* relaxed: who sees the old value looks again in TINE__LOOK_NS */
        atomic_store_explicit(&end->rest, false, memory_order_relaxed);
    return rc == 1 ? 0 : rc;
}

/* The message that was just put. If something of it is on its way, all of it has to follow. */
static int push_or_keep(struct stream_end *end, tine__deadline deadline)
{
    int rc = push(end, deadline);

    if (rc == 0 || rc == -EPIPE || tine__stream_withdraw(&end->out))
        return rc;
    rc = tine__stream_keep(&end->out);
    if (rc < 0)
        end->send_verdict = -EPIPE; /* the stream has lost its place */
    else
        atomic_store_explicit(&end->rest, true, memory_order_relaxed);
    return rc;
}

static int send_locked(struct stream_end *end, const struct tine__outgoing *message,
                       tine__deadline deadline)
{
    int rc = push(end, deadline); /* what an earlier call has left */

    if (rc == 0 && end->rules.encryption != NULL)
        rc = await_room(end, deadline); /* a box that is made has to be sent */
    if (rc == 0)
        rc = tine__stream_put(&end->out, message->data, message->size);
    return rc < 0 ? rc : push_or_keep(end, deadline);
}

static int stream_send(struct tine__transport *self, const struct tine__outgoing *message,
                       tine__deadline deadline)
{
    struct stream_end *end = end_of(self);
    int rc;

    if (message->fd_count > 0)
        return -ENOTSUP;
    rc = begin(end, &end->sending, deadline);
    if (rc < 0)
        return rc;
    rc = send_locked(end, message, deadline);
    tine__futex_unlock(&end->sending.lock);
    return rc;
}

/* For whoever waits for something else meanwhile. */
static void send_rest(struct stream_end *end)
{
    if (begin(end, &end->sending, TINE__AT_ONCE) < 0)
        return;
    (void)push(end, TINE__AT_ONCE);
    tine__futex_unlock(&end->sending.lock);
}

/* ---- receiving ------------------------------------------------------------------------------- */

static bool has_rest(const struct stream_end *end)
{
    return atomic_load_explicit(&end->rest, memory_order_relaxed);
}

/* 1: there are bytes, or the end; 0: not before the deadline */
static int await_bytes(struct stream_end *end, tine__deadline deadline)
{
    struct pollfd set = {.fd = end->fd};
    int64_t left;
    int rc;

    do {
        bool rest = has_rest(end);

        set.events = (short)(rest ? POLLIN | POLLOUT : POLLIN);
        left = tine__deadline_left(deadline);
        rc = tine__sys_poll(&set, 1, left < TINE__LOOK_NS ? left : TINE__LOOK_NS);
        if (rc < 0)
            return rc;
        if (rc > 0 && rest)
            send_rest(end);
    } while ((rc == 0 || set.revents == POLLOUT) && left > 0);
    return rc > 0 && set.revents != POLLOUT;
}

/* As far as it goes: 1 a message, 0 no more bytes are there. */
static int pull(struct stream_end *end)
{
    int rc = 0;

    while (rc == 0) {
        ssize_t count;
        size_t room;
        void *space;

        rc = tine__stream_space(&end->in, &space, &room);
        if (rc < 0)
            break;
        count = recv(end->fd, space, room, MSG_DONTWAIT);
        if (count < 0 && errno == EAGAIN)
            return 0;
        if (count > 0)
            rc = tine__stream_received(&end->in, (size_t)count);
        else if (count == 0 || errno != EINTR)
            rc = tine__stream_ended(&end->in);
    }
    if (rc < 0 && end->in.stage == TINE__STREAM_BROKEN)
        atomic_store_explicit(&end->ended, true, memory_order_relaxed);
    return rc;
}

static void release(struct tine__incoming *message)
{
    free(message->holder);
}

static void hand_over(struct stream_end *end, struct tine__incoming *message)
{
    message->size = end->in.size;
    message->fd_count = 0;
    message->release = NULL;
    message->data = message->into;
    if (message->size <= message->room) {
        if (message->size > 0 && !end->in.in_target)
            memcpy(message->into, end->in.message, message->size);
        tine__stream_drop(&end->in);
        return;
    }
    message->data = message->holder = tine__stream_take(&end->in);
    message->release = release;
}

static int receive_locked(struct stream_end *end, struct tine__incoming *message,
                          tine__deadline deadline)
{
    int rc, lost;

    tine__stream_aim(&end->in, message->into, message->room);
    while ((rc = pull(end)) == 0) {
        rc = await_bytes(end, deadline);
        if (rc <= 0) {
            rc = rc == 0 ? -ETIMEDOUT : rc;
            break;
        }
    }
    if (rc > 0)
        hand_over(end, message);
    lost = tine__stream_unaim(&end->in);
    return lost < 0 ? lost : rc > 0 ? 0 : rc;
}

static int stream_receive(struct tine__transport *self, struct tine__incoming *message,
                          tine__deadline deadline)
{
    struct stream_end *end = end_of(self);
    int rc = begin(end, &end->receiving, deadline);

    if (rc < 0)
        return rc;
    rc = receive_locked(end, message, deadline);
    tine__futex_unlock(&end->receiving.lock);
    return rc;
}

static int stream_poll(struct tine__transport *self, tine__deadline deadline)
{
    struct stream_end *end = end_of(self);

    notice_fork(end);
    if (atomic_load_explicit(&end->ended, memory_order_relaxed))
        return 1;
    return await_bytes(end, deadline);
}

/* ---- the handle ------------------------------------------------------------------------------ */

static int stream_fd(struct tine__transport *self)
{
    return end_of(self)->fd;
}

static bool stream_unsent(struct tine__transport *self)
{
    return has_rest(end_of(self));
}

static void stream_close(struct tine__transport *self)
{
    struct stream_end *end = end_of(self);

    /* Not by a forked child, whose parent may still want to send. */
    if (end->turns != NULL && has_rest(end) &&
        atomic_load_explicit(&end->generation, memory_order_relaxed) ==
            tine__fork_generation_fast())
        send_rest(end);
    if (end->turns != NULL)
        munmap(end->turns, sizeof *end->turns);
    if (end->travel_fd >= 0)
        close(end->travel_fd);
    if (end->fd >= 0)
        close(end->fd);
    tine__stream_in_fini(&end->in);
    tine__stream_out_fini(&end->out);
    tine__encryption_close(end->rules.encryption);
    explicit_bzero(&end->rules, sizeof end->rules);
    free(end);
}

/* ---- travelling ------------------------------------------------------------------------------ */

/* Both directions are ours, and locked. Those who have the old turns never come to one again. */
static int move_turns(struct stream_end *end)
{
    struct turns_shm *moved;
    int rc, fd = tine__sys_memfd("tine stream");

    if (fd < 0)
        return fd;
    rc = tine__sys_extend(fd, 0, COPIES_AT);
    moved =
        rc < 0 ? MAP_FAILED : mmap(NULL, sizeof *moved, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (moved == MAP_FAILED) {
        close(fd);
        return rc < 0 ? rc : -ENOMEM;
    }
    atomic_store_explicit(&moved->send, end->sending.turn, memory_order_relaxed);
    atomic_store_explicit(&moved->receive, end->receiving.turn, memory_order_relaxed);
    atomic_store_explicit(&end->turns->send, NOBODYS, memory_order_relaxed);
    atomic_store_explicit(&end->turns->receive, NOBODYS, memory_order_relaxed);
    munmap(end->turns, sizeof *end->turns);
    end->turns = moved;
    end->travel_fd = fd;
    return 0;
}

static int write_copy(struct stream_end *end, struct tine__handle_parts *parts)
{
    struct copy copy = {.magic = TINE__STREAM_PARTS,
                        .send_turn = end->sending.turn,
                        .receive_turn = end->receiving.turn,
                        .send_sequence = end->out.sequence,
                        .receive_sequence = end->in.sequence,
                        .send = end->rules.send,
                        .receive = end->rules.receive,
                        .python = end->rules.python,
                        .encrypted = end->rules.encryption != NULL,
                        .send_started = end->out.started};
    uint64_t place;
    ssize_t written;

    if (!tine__stream_idle(&end->out) || !tine__stream_between(&end->in, &copy.receive_started))
        return -EBUSY;
    if (copy.encrypted)
        tine__encryption_save(end->rules.encryption, copy.encryption);
    place = atomic_fetch_add_explicit(&end->turns->copies, 1, memory_order_relaxed);
    written = pwrite(end->travel_fd, &copy, sizeof copy, (off_t)(COPIES_AT + place * COPY_BYTES));
    explicit_bzero(&copy, sizeof copy);
    if (written != sizeof copy)
        return -ENOMEM;
    parts->words[0] = place;
    parts->words[1] = 0;
    parts->words[2] = TINE__STREAM_PARTS;
    parts->fds[0] = end->fd;
    parts->fds[1] = end->travel_fd;
    parts->fd_count = 2;
    return 0;
}

/* -EBUSY: in the middle of a message, or another thread is inside. */
static int stream_give(struct tine__transport *self, struct tine__handle_parts *parts)
{
    struct stream_end *end = end_of(self);
    int rc = begin(end, &end->sending, TINE__AT_ONCE);

    if (rc < 0)
        return rc == -ETIMEDOUT ? -EBUSY : rc;
    rc = begin(end, &end->receiving, TINE__AT_ONCE);
    if (rc == 0) {
        rc = end->travel_fd < 0 ? move_turns(end) : 0;
        if (rc == 0)
            rc = write_copy(end, parts);
        tine__futex_unlock(&end->receiving.lock);
    }
    tine__futex_unlock(&end->sending.lock);
    return rc == -ETIMEDOUT ? -EBUSY : rc;
}

static const struct tine__transport_ops stream_ops = {.send = stream_send,
                                                      .receive = stream_receive,
                                                      .poll = stream_poll,
                                                      .fd = stream_fd,
                                                      .give = stream_give,
                                                      .unsent = stream_unsent,
                                                      .close = stream_close};

static void set_frame_rules(struct tine__frame_rules *rules, const struct tine__session *session,
                            const uint8_t *key, const uint8_t *check_key)
{
    /* Whole boxes have a tag already. */
    rules->check = session->encrypted ? TINE_CHECK_HEADER : session->check;
    memcpy(rules->key.large, key, sizeof rules->key.large);
    memcpy(rules->key.small, check_key, sizeof rules->key.small);
}

static int set_up(struct stream_end *end, const struct tine__session *session)
{
    void *turns =
        mmap(NULL, sizeof *end->turns, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int rc = 0;

    if (turns == MAP_FAILED)
        return -ENOMEM;
    end->turns = turns;
    set_frame_rules(&end->rules.send, session, session->send_key, session->send_check);
    set_frame_rules(&end->rules.receive, session, session->receive_key, session->receive_check);
    if (session->encrypted)
        rc = tine__encryption_open(&end->rules.encryption, session);
    tine__stream_in_init(&end->in, &end->rules);
    return rc < 0 ? rc : tine__stream_out_init(&end->out, &end->rules);
}

static void begin_life(struct stream_end *end, int fd)
{
    end->base.ops = &stream_ops;
    end->fd = fd;
    end->travel_fd = -1;
    atomic_init(&end->generation, tine__fork_generation());
}

int tine__transport_stream(struct tine__transport **transport, int fd,
                           const struct tine__session *session, bool python, uint64_t limit)
{
    struct stream_end *end = calloc(1, sizeof *end);
    int rc;

    if (end == NULL) {
        close(fd);
        return -ENOMEM;
    }
    begin_life(end, fd);
    end->rules.python = python;
    end->rules.receive.length_max = limit;
    end->rules.send.length_max = session->peer_limit;
    rc = set_up(end, session);
    if (rc < 0)
        stream_close(&end->base);
    else
        *transport = &end->base;
    return rc;
}

static int resume(struct stream_end *end, const struct copy *copy)
{
    int rc = 0;

    end->sending.turn = copy->send_turn;
    end->receiving.turn = copy->receive_turn;
    end->rules.python = copy->python;
    end->rules.send = copy->send;
    end->rules.receive = copy->receive;
    if (copy->encrypted)
        rc = tine__encryption_restore(&end->rules.encryption, copy->encryption);
    tine__stream_in_init(&end->in, &end->rules);
    if (rc == 0)
        rc = tine__stream_out_init(&end->out, &end->rules);
    if (rc < 0)
        return rc;
    tine__stream_in_resume(&end->in, copy->receive_sequence, copy->receive_started);
    end->out.sequence = copy->send_sequence;
    end->out.started = copy->send_started;
    return 0;
}

static int map_turns(struct stream_end *end, const struct tine__handle_parts *parts)
{
    void *turns;
    int rc = end->travel_fd = tine__sys_dup(parts->fds[1]);

    if (rc < 0)
        return rc;
    turns = mmap(NULL, sizeof *end->turns, PROT_READ | PROT_WRITE, MAP_SHARED, end->travel_fd, 0);
    if (turns == MAP_FAILED)
        return -ENOMEM;
    end->turns = turns;
    return 0;
}

static int take(struct stream_end *end, const struct tine__handle_parts *parts,
                const struct copy *copy)
{
    int rc = map_turns(end, parts);

    if (rc == 0)
        rc = end->fd = tine__sys_dup(parts->fds[0]);
    return rc < 0 ? rc : resume(end, copy);
}

int tine__transport_stream_take(const struct tine__handle_parts *parts,
                                struct tine__transport **transport)
{
    struct stream_end *end;
    struct copy copy;
    int rc;

    if (parts->fd_count != 2 || parts->words[0] > UINT32_MAX ||
        pread(parts->fds[1], &copy, sizeof copy,
              (off_t)(COPIES_AT + parts->words[0] * COPY_BYTES)) != sizeof copy ||
        copy.magic != TINE__STREAM_PARTS)
        return TINE_EFORMAT;
    end = calloc(1, sizeof *end);
    if (end != NULL)
        begin_life(end, -1);
    rc = end == NULL ? -ENOMEM : take(end, parts, &copy);
    explicit_bzero(&copy, sizeof copy);
    if (rc == 0)
        *transport = &end->base;
    else if (end != NULL)
        stream_close(&end->base);
    return rc;
}
