/* SPDX-License-Identifier: MIT */
/*
 * Messages as records of a SEQPACKET socket pair: the kernel keeps them whole, in order, counts the
 * holders of both ends, and tells either when the other has none left. A record holds a header
 * (ipc/frame.h) and up to 64 KiB of message, above which it would need contiguous kernel memory; a
 * larger message lies in a block of the family heap, which its record names (ipc/blocks.h).
 *
 * A handle is private: descriptors and a spare buffer. A forked child may use its copy at once.
 * What both ends share lies in the heap and lives as long as anybody holds either
 * (shm/keepalive.h).
 *
 * Waiting is done in the blocking call itself, in slices of TINE__LOOK_NS by SO_RCVTIMEO and
 * SO_SNDTIMEO, so that no message costs a second system call; the last, shorter slice is a ppoll.
 * Should somebody else have made the socket non-blocking, each slice becomes a ppoll.
 */
#include "ipc/transport_socket_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <tine/error.h>
#include <tine/heap.h>

#include "lib/record.h"
#include "lib/sys.h"

#define SEND_BYTES (256 * 1024) /* room in the socket; the kernel counts its own overhead, too */

int tine__socket_wait(const struct socket_end *end, short events, tine__deadline deadline)
{
    int64_t left = deadline == TINE__AT_ONCE ? 0 : tine__deadline_left(deadline);

    if (left == 0)
        return -ETIMEDOUT;
    (void)tine__record_poll(end->fd, events, left < TINE__LOOK_NS ? left : TINE__LOOK_NS);
    return 0;
}

static int socket_fd(struct tine__transport *transport)
{
    return socket_of(transport)->fd;
}

static void socket_close(struct tine__transport *transport)
{
    struct socket_end *end = socket_of(transport);

    if (end->fd >= 0)
        close(end->fd);
    tine__end_close(&end->end);
}

static int socket_give(struct tine__transport *transport, struct tine__handle_parts *parts)
{
    tine__end_give(tine__end_of(transport), parts);
    parts->fds[parts->fd_count++] = socket_of(transport)->fd;
    return 0;
}

static const struct tine__transport_ops socket_ops = {
    .send = tine__socket_send,
    .receive = tine__socket_receive,
    .loan = tine__socket_loan,
    .send_loan = tine__socket_send_loan,
    .poll = tine__socket_poll,
    .fd = socket_fd,
    .give = socket_give,
    .close = socket_close,
};

void tine__pair_init(struct tine__pair_shm *pair, int32_t check, uint64_t length_max)
{
    tine__frame_rules_make(&pair->rules, check, length_max);
    tine__blocks_init(&pair->blocks[0], 1);
    tine__blocks_init(&pair->blocks[1], 1);
}

void tine__pair_empty(struct tine__pair_shm *pair)
{
    tine__blocks_empty(&pair->blocks[0]);
    tine__blocks_empty(&pair->blocks[1]);
}

static void empty_pair(void *object)
{
    tine__pair_empty(object);
}

static const struct tine__kept_kind pair_kind = {.number = TINE__KEPT_PIPE, .empty = empty_pair};

static struct tine__pair_shm *make_shared(int32_t check, uint64_t length_max)
{
    struct tine__pair_shm *shared = tine_aligned_alloc(64, sizeof *shared);

    if (shared == NULL)
        return NULL;
    memset(shared, 0, sizeof *shared);
    tine__pair_init(shared, check, length_max);
    return shared;
}

int tine__transport_socket_fds(int fds[2])
{
    int made[2], rc = tine__sys_socketpair(made);

    if (rc < 0)
        return rc;
    for (int i = 0; i < 2 && rc == 0; i++) {
        tine__record_room(made[i], SEND_BYTES);
        rc = tine__record_slices(made[i], TINE__LOOK_NS);
    }
    for (int i = 0; i < 2; i++)
        if (rc == 0)
            fds[i] = made[i];
        else
            close(made[i]);
    return rc;
}

static bool is_gone(struct tine__end *end)
{
    return tine__record_hung_up(socket_of(&end->base)->fd);
}

static const struct tine__end_kind end_kind = {
    .buffer_bytes = sizeof(struct buffer),
    .look = tine__socket_look_out,
    .gone = is_gone,
    .kept = &pair_kind,
};

static struct tine__end *make_end(uint32_t side)
{
    struct socket_end *end = calloc(1, sizeof *end);

    if (end == NULL)
        return NULL;
    tine__end_init(&end->end, &socket_ops, &end_kind, side);
    end->fd = -1;
    return &end->end;
}

static void join(struct socket_end *end, struct tine__pair_shm *shared)
{
    end->end.blocks = shared->blocks;
    end->rules = &shared->rules;
}

/* Ends and what they share; whatever has been made is closed by the caller, also on failure. */
static int make_pair(struct tine__end *const both[2], int32_t check, uint64_t length_max)
{
    struct socket_end *const ends[2] = {socket_of(&both[0]->base), socket_of(&both[1]->base)};
    struct tine__pair_shm *shared;
    int fds[2], rc = tine__transport_socket_fds(fds);

    if (rc < 0)
        return rc;
    ends[0]->fd = fds[0];
    ends[1]->fd = fds[1];
    shared = make_shared(check, length_max);
    if (shared == NULL)
        return -ENOMEM;
    rc = tine__end_hold_both(both, shared);
    for (int i = 0; i < 2 && rc == 0; i++)
        join(ends[i], shared);
    return rc;
}

int tine__transport_socket_pair(struct tine__transport *ends[2], int32_t check, uint64_t length_max)
{
    struct tine__end *const made[2] = {make_end(0), make_end(1)};
    int rc = made[0] == NULL || made[1] == NULL ? -ENOMEM : make_pair(made, check, length_max);

    return tine__end_pair(ends, made, rc);
}

int tine__transport_socket_take(const struct tine__handle_parts *parts,
                                struct tine__transport **end)
{
    struct tine__end *made;
    int rc;

    if (parts->fd_count != 2)
        return TINE_EFORMAT;
    made = make_end(parts->words[2] & 1);
    if (made == NULL)
        return -ENOMEM;
    rc = tine__end_take(made, parts);
    if (rc == 0)
        rc = socket_of(&made->base)->fd = tine__sys_dup(parts->fds[1]);
    if (rc < 0) {
        socket_close(&made->base);
        return rc;
    }
    join(socket_of(&made->base), made->hold.object);
    *end = &made->base;
    return 0;
}

int tine__transport_socket_beside(struct tine__transport **end, int fd, uint32_t side,
                                  struct tine__pair_shm *pair)
{
    struct tine__end *made = make_end(side);

    if (made == NULL) {
        close(fd);
        return -ENOMEM;
    }
    socket_of(&made->base)->fd = fd;
    join(socket_of(&made->base), pair);
    *end = &made->base;
    return 0;
}

int tine__transport_socket_file(const struct tine__transport *transport)
{
    return ((const struct socket_end *)transport)->fd;
}
