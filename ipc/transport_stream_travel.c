/* SPDX-License-Identifier: MIT */
/*
 * Streams that travel: a handle that is sent to another process of the family.
 *
 * That is a fork at that instant: the counters (ipc/transport_stream.c) move into a memfd, which
 * goes along, and behind them a copy of the machines as they are between two messages. Such a copy
 * is written once and never changed. Both handles are good then; who uses a direction first has it.
 */
#include "ipc/transport_stream.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <tine/error.h>

#include "ipc/transport_stream_impl.h"
#include "lib/sys.h"

#define NOBODYS UINT64_MAX /* of a turn: no process comes to it */

/* What a handle travels as, in the memfd of the turns. In the family: as the compiler lays it
   out. */
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

/* ---- travelling ------------------------------------------------------------------------------ */

/* Both directions are ours, and locked. Those who have the old turns never come to one again. */
static int move_turns(struct tine__stream_end *end)
{
    struct tine__turns_shm *moved;
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

static int write_copy(struct tine__stream_end *end, struct tine__handle_parts *parts)
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

int tine__stream_give(struct tine__transport *self, struct tine__handle_parts *parts)
{
    struct tine__stream_end *end = (struct tine__stream_end *)self;
    int rc = tine__stream_begin(end, &end->sending, TINE__AT_ONCE);

    if (rc < 0)
        return rc == -ETIMEDOUT ? -EBUSY : rc;
    rc = tine__stream_begin(end, &end->receiving, TINE__AT_ONCE);
    if (rc == 0) {
        rc = end->travel_fd < 0 ? move_turns(end) : 0;
        if (rc == 0)
            rc = write_copy(end, parts);
        tine__futex_unlock(&end->receiving.lock);
    }
    tine__futex_unlock(&end->sending.lock);
    return rc == -ETIMEDOUT ? -EBUSY : rc;
}

static int resume(struct tine__stream_end *end, const struct copy *copy)
{
    int rc = 0;

    end->sending.turn = copy->send_turn;
    end->receiving.turn = copy->receive_turn;
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

static int map_turns(struct tine__stream_end *end, const struct tine__handle_parts *parts)
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

int tine__transport_stream_take(const struct tine__handle_parts *parts,
                                struct tine__transport **transport)
{
    struct tine__stream_end *end;
    struct copy copy;
    int fd, rc;

    if (parts->fd_count != 2 || parts->words[0] > UINT32_MAX ||
        pread(parts->fds[1], &copy, sizeof copy,
              (off_t)(COPIES_AT + parts->words[0] * COPY_BYTES)) != sizeof copy ||
        copy.magic != TINE__STREAM_PARTS)
        return TINE_EFORMAT;
    fd = tine__sys_dup(parts->fds[0]);
    end = fd < 0 ? NULL : tine__stream_end_make(fd, copy.python);
    rc = fd < 0 ? fd : end == NULL ? -ENOMEM : map_turns(end, parts);
    if (rc == 0)
        rc = resume(end, &copy);
    explicit_bzero(&copy, sizeof copy);
    if (rc == 0)
        *transport = &end->base;
    else if (end != NULL)
        end->base.ops->close(&end->base);
    return rc;
}
