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
 * Descriptors go beside the first byte of a message, on unix sockets. Who sends them has them sent
 * with that byte, so never twice. Encrypted, a box that is made has to be sent, if need be after
 * its send has ended: then they are duplicates. Who receives looks for them where a message begins,
 * and has room for those of one message; all others are closed by the kernel. If they are not as
 * many as the head says, the stream is broken; but where this process had no room for them the
 * message is lost.
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

#include "ipc/transport_stream_impl.h"
#include "lib/fork.h"
#include "lib/rights.h"
#include "lib/sys.h"
#include "lib/sys_poll.h"
#include "shm/waiters.h"

#define CROWDED_NS (TINE__LOOK_NS / 10) /* until one sees whether fewer descriptors are under way */
#define ADOPTING   ((uint64_t)1 << 63)  /* beside the generation of the process that does */

static struct tine__stream_end *end_of(struct tine__transport *transport)
{
    return (struct tine__stream_end *)transport;
}

/* ---- one process a direction ----------------------------------------------------------------- */

/* In a forked child: locks that other threads of the parent hold will never be given back. */
static void adopt(struct tine__direction *direction)
{
    if (atomic_load_explicit(&direction->lock.word, memory_order_relaxed) == 0)
        return;
    direction->stale = true;
    atomic_store_explicit(&direction->lock.word, 0, memory_order_relaxed);
}

/* A child forked while a thread of its parent does this begins anew: nobody else would finish. */
static void notice_fork(struct tine__stream_end *end)
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

static int claim(struct tine__direction *direction, _Atomic uint64_t *shared)
{
    uint64_t expected = direction->turn;

    if (direction->stale ||
        !atomic_compare_exchange_strong_explicit(shared, &expected, expected + 1,
                                                 memory_order_relaxed, memory_order_relaxed))
        return TINE_EFORKED;
    direction->turn++;
    return 0;
}

int tine__stream_begin(struct tine__stream_end *end, struct tine__direction *direction,
                       tine__deadline deadline)
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

static int await_room(struct tine__stream_end *end, tine__deadline deadline)
{
    int64_t left = deadline == TINE__NEVER ? -1 : tine__deadline_left(deadline);
    int rc = tine__sys_poll_out(end->fd, left);

    return rc == 0 ? -ETIMEDOUT : rc < 0 ? rc : 0;
}

/* Too many descriptors are under way, of all processes of this user: nothing tells when that
   ends. */
static int await_others(tine__deadline deadline)
{
    int64_t left = tine__deadline_left(deadline);

    if (left == 0)
        return -ETIMEDOUT;
    (void)tine__sys_poll(NULL, 0, left < CROWDED_NS ? left : CROWDED_NS);
    return 0;
}

static bool owns_going(const struct tine__stream_end *end)
{
    return end->rules.encryption != NULL;
}

static void close_all(struct tine__beside *beside)
{
    while (beside->count > 0)
        close(beside->fds[--beside->count]);
}

/* They are sent, or not to be sent any more. */
static void forget_going(struct tine__stream_end *end)
{
    if (owns_going(end))
        close_all(&end->going);
    end->going.count = 0;
}

/* 0, or why one cannot be duplicated */
static int take_along(struct tine__stream_end *end, const struct tine__outgoing *message)
{
    struct tine__beside *going = &end->going;

    for (going->count = 0; going->count < message->fd_count; going->count++) {
        int fd = message->fds[going->count];

        if (owns_going(end))
            fd = tine__sys_dup(fd);
        if (fd < 0) {
            forget_going(end);
            return fd;
        }
        going->fds[going->count] = fd;
    }
    return 0;
}

/* -EPIPE for good; all else may be tried again, or is the descriptors' that go along. */
static int failed_send(struct tine__stream_end *end, int error)
{
    bool gone = error == EPIPE || error == ECONNRESET || error == ENOTCONN;

    if (error == EAGAIN || error == ETOOMANYREFS)
        return -error;
    if (error == ENOBUFS || error == ENOMEM)
        return -ENOMEM;
    if (!gone && end->going.count > 0 && !owns_going(end))
        return -error;
    end->send_verdict = -EPIPE;
    return -EPIPE;
}

/* Once, whatever there is: 1 all is gone, 0 not yet. */
static int send_some(struct tine__stream_end *end)
{
    struct iovec parts[2];
    struct msghdr message = {.msg_iov = parts};
    union tine__rights rights;
    ssize_t sent;
    int count = tine__stream_parts(&end->out, parts);

    if (count == 0)
        return 1;
    message.msg_iovlen = (size_t)count;
    tine__rights_attach(&message, &rights, end->going.fds, end->going.count);
    sent = sendmsg(end->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0)
        return errno == EINTR ? 0 : failed_send(end, errno);
    if (sent > 0)
        forget_going(end);
    tine__stream_sent(&end->out, (size_t)sent);
    return 0;
}

static uint32_t rest_of(const struct tine__stream_end *end)
{
    return atomic_load_explicit(&end->rest, memory_order_relaxed);
}

/* relaxed: who sees the old value looks again in TINE__LOOK_NS */
static void set_rest(struct tine__stream_end *end, uint32_t rest)
{
    atomic_store_explicit(&end->rest, rest, memory_order_relaxed);
}

static int push(struct tine__stream_end *end, tine__deadline deadline)
{
    int rc = end->send_verdict;
    bool later = false;

    while (rc == 0) {
        rc = send_some(end);
        later = rc == -ETOOMANYREFS || rc == -ENOMEM;
        if (rc == -EAGAIN)
            rc = await_room(end, deadline);
        else if (rc == -ETOOMANYREFS)
            rc = await_others(deadline);
    }
    if (rc == 1 || rc == -EPIPE)
        set_rest(end, TINE__NO_REST);
    else if (rest_of(end) != TINE__NO_REST)
        set_rest(end, later ? TINE__REST_LATER : TINE__REST);
    return rc == 1 ? 0 : rc;
}

/* The message that was just put. If something of it is on its way, all of it has to follow. */
static int push_or_keep(struct tine__stream_end *end, tine__deadline deadline)
{
    int rc = push(end, deadline);

    if (rc == 0 || rc == -EPIPE)
        return rc;
    if (tine__stream_withdraw(&end->out)) {
        forget_going(end);
        return rc;
    }
    rc = tine__stream_keep(&end->out);
    if (rc < 0)
        end->send_verdict = -EPIPE; /* the stream has lost its place */
    else
        set_rest(end, TINE__REST);
    return rc;
}

static int send_locked(struct tine__stream_end *end, const struct tine__outgoing *message,
                       tine__deadline deadline)
{
    int rc = push(end, deadline); /* what an earlier call has left */

    if (rc == 0 && end->rules.encryption != NULL)
        rc = await_room(end, deadline); /* a box that is made has to be sent */
    if (rc == 0)
        rc = take_along(end, message);
    if (rc < 0)
        return rc;
    rc = tine__stream_put(&end->out, message->data, message->size, message->fd_count);
    if (rc < 0)
        forget_going(end);
    return rc < 0 ? rc : push_or_keep(end, deadline);
}

static int stream_send(struct tine__transport *self, const struct tine__outgoing *message,
                       tine__deadline deadline)
{
    struct tine__stream_end *end = end_of(self);
    int rc;

    if (message->fd_count > 0 && !self->descriptors)
        return -EOPNOTSUPP;
    rc = tine__stream_begin(end, &end->sending, deadline);
    if (rc < 0)
        return rc;
    rc = send_locked(end, message, deadline);
    tine__futex_unlock(&end->sending.lock);
    return rc;
}

/* For whoever waits for something else meanwhile. */
static void send_rest(struct tine__stream_end *end)
{
    if (tine__stream_begin(end, &end->sending, TINE__AT_ONCE) < 0)
        return;
    (void)push(end, TINE__AT_ONCE);
    tine__futex_unlock(&end->sending.lock);
}

/* ---- receiving ------------------------------------------------------------------------------- */

/* 1: there are bytes, or the end; 0: not before the deadline */
static int await_bytes(struct tine__stream_end *end, tine__deadline deadline)
{
    struct pollfd set = {.fd = end->fd};
    int64_t left;
    int rc;

    do {
        uint32_t rest = rest_of(end);

        set.events = (short)(rest == TINE__REST ? POLLIN | POLLOUT : POLLIN);
        left = tine__deadline_left(deadline);
        rc = tine__sys_poll(&set, 1, left < TINE__LOOK_NS ? left : TINE__LOOK_NS);
        if (rc < 0)
            return rc;
        if (rest == (rc > 0 ? TINE__REST : TINE__REST_LATER))
            send_rest(end);
    } while ((rc == 0 || set.revents == POLLOUT) && left > 0);
    return rc > 0 && set.revents != POLLOUT;
}

/* The first bytes of a message, and what is beside them. As recv(2). */
static ssize_t receive_first(struct tine__stream_end *end, void *space, size_t room)
{
    struct tine__beside *come = &end->come;
    struct iovec part = {.iov_base = space, .iov_len = room};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    uint32_t left = TINE__DESCRIPTORS_MAX - come->count, count;
    union tine__rights rights;
    ssize_t received;

    tine__rights_expect(&message, &rights);
    received = recvmsg(end->fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (received <= 0)
        return received;
    count = tine__rights_detach(&message, come->fds + come->count, left);
    come->count += count < left ? count : left;
    /* where they do not belong the machine is broken, and says so to the bytes */
    (void)tine__stream_beside(&end->in, count, (message.msg_flags & MSG_CTRUNC) != 0);
    return received;
}

static ssize_t receive_some(struct tine__stream_end *end, void *space, size_t room)
{
    bool started;

    return end->base.descriptors && tine__stream_between(&end->in, &started)
               ? receive_first(end, space, room)
               : recv(end->fd, space, room, MSG_DONTWAIT);
}

/* As far as it goes: 1 a message, 0 no more bytes are there. */
static int pull(struct tine__stream_end *end)
{
    int rc = 0;

    while (rc == 0) {
        ssize_t count;
        size_t room;
        void *space;

        rc = tine__stream_space(&end->in, &space, &room);
        if (rc < 0)
            break;
        count = receive_some(end, space, room);
        if (count < 0 && errno == EAGAIN)
            return 0;
        if (count > 0)
            rc = tine__stream_received(&end->in, (size_t)count);
        else if (count == 0 || errno != EINTR)
            rc = tine__stream_ended(&end->in);
    }
    if (rc < 0 && end->in.stage == TINE__STREAM_BROKEN) {
        close_all(&end->come);
        atomic_store_explicit(&end->ended, true, memory_order_relaxed);
    }
    return rc;
}

static void release(struct tine__incoming *message)
{
    free(message->holder);
}

static void hand_over_beside(struct tine__stream_end *end, struct tine__incoming *message)
{
    message->fd_count = end->come.count;
    for (uint32_t i = 0; i < end->come.count; i++)
        message->fds[i] = end->come.fds[i];
    end->come.count = 0;
}

/* 0; -EMFILE: this process had no room for its descriptors, and it is lost */
static int hand_over(struct tine__stream_end *end, struct tine__incoming *message)
{
    if (end->in.beside_cut) {
        close_all(&end->come);
        tine__stream_drop(&end->in);
        return -EMFILE;
    }
    hand_over_beside(end, message);
    message->size = end->in.size;
    message->release = NULL;
    message->data = message->into;
    if (message->size <= message->room) {
        if (message->size > 0 && !end->in.in_target)
            memcpy(message->into, end->in.message, message->size);
        tine__stream_drop(&end->in);
        return 0;
    }
    message->data = message->holder = tine__stream_take(&end->in);
    message->release = release;
    return 0;
}

static int receive_locked(struct tine__stream_end *end, struct tine__incoming *message,
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
        rc = hand_over(end, message);
    lost = tine__stream_unaim(&end->in);
    return lost < 0 ? lost : rc;
}

static int stream_receive(struct tine__transport *self, struct tine__incoming *message,
                          tine__deadline deadline)
{
    struct tine__stream_end *end = end_of(self);
    int rc = tine__stream_begin(end, &end->receiving, deadline);

    if (rc < 0)
        return rc;
    rc = receive_locked(end, message, deadline);
    tine__futex_unlock(&end->receiving.lock);
    return rc;
}

static int stream_poll(struct tine__transport *self, tine__deadline deadline)
{
    struct tine__stream_end *end = end_of(self);

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
    return rest_of(end_of(self)) != TINE__NO_REST;
}

static void stream_close(struct tine__transport *self)
{
    struct tine__stream_end *end = end_of(self);

    /* Not by a forked child, whose parent may still want to send. */
    if (end->turns != NULL && rest_of(end) != TINE__NO_REST &&
        atomic_load_explicit(&end->generation, memory_order_relaxed) ==
            tine__fork_generation_fast())
        send_rest(end);
    if (end->turns != NULL)
        munmap(end->turns, sizeof *end->turns);
    if (end->travel_fd >= 0)
        close(end->travel_fd);
    forget_going(end);
    close_all(&end->come);
    close(end->fd);
    tine__stream_in_fini(&end->in);
    tine__stream_out_fini(&end->out);
    tine__encryption_close(end->rules.encryption);
    explicit_bzero(&end->rules, sizeof end->rules);
    free(end);
}

static const struct tine__transport_ops stream_ops = {.send = stream_send,
                                                      .receive = stream_receive,
                                                      .poll = stream_poll,
                                                      .fd = stream_fd,
                                                      .give = tine__stream_give,
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

static int set_up(struct tine__stream_end *end, const struct tine__session *session)
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

static bool is_unix(int fd)
{
    int domain = 0;
    socklen_t size = sizeof domain;

    return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 && domain == AF_UNIX;
}

struct tine__stream_end *tine__stream_end_make(int fd, bool python)
{
    struct tine__stream_end *end = calloc(1, sizeof *end);

    if (end == NULL) {
        close(fd);
        return NULL;
    }
    end->base.ops = &stream_ops;
    end->base.descriptors = !python && is_unix(fd);
    end->fd = fd;
    end->travel_fd = -1;
    end->rules.python = python;
    atomic_init(&end->generation, tine__fork_generation());
    return end;
}

int tine__transport_stream(struct tine__transport **transport, int fd,
                           const struct tine__session *session, bool python, uint64_t limit)
{
    struct tine__stream_end *end = tine__stream_end_make(fd, python);
    int rc;

    if (end == NULL)
        return -ENOMEM;
    end->rules.receive.length_max = limit;
    end->rules.send.length_max = session->peer_limit;
    rc = set_up(end, session);
    if (rc < 0)
        stream_close(&end->base);
    else
        *transport = &end->base;
    return rc;
}
