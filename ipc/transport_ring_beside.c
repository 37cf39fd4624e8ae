/* SPDX-License-Identifier: MIT */
/*
 * Messages with descriptors, which no shared memory can carry. Each goes whole through a socket
 * pair beside the rings (ipc/transport_socket.h), and a note in the ring stands in its place. The
 * kernel has an order for the messages, the ring one for the notes, and they may differ: a sender
 * may be slow, or die, between the two. So a receiver that has a note before it takes the socket's
 * first message, whosever it is. What must hold: a message comes after all that its sender sent
 * before it, and before all that it sends after it.
 *
 * A sender draws a number, sends the message under that, draws another one (`after`), and
 * publishes the note with both. Receivers look into the socket one at a time (`fetcher`):
 *
 *     oldest record of the ring   first message of the socket
 *     a note                      has a number < after: is received, and its own note goes
 *     a note                      none, or a number > after: the note goes, for its own is gone
 *     none                        is received; its note, if that comes, will find it gone
 *
 * After what was sent before: its sender published that before it drew its number, which is
 * smaller than an `after` that was drawn before the note was published. So who published the note
 * could know of it, it stands before the note in the ring (ipc/ring.h), and as the note is the
 * oldest, it has been taken. Where there is no record the socket is looked into first: what the
 * message's sender had published by then has been taken.
 *
 * Before what is sent after: that stands behind the note, which goes only when its message has
 * been received or cannot be in the socket: a number > after was drawn when the note's own message
 * had been sent, so its message stands behind that.
 *
 * Deaths. A sender that dies between message and note leaves a message that any later note brings
 * along, or a look every TINE__LOOK_NS when there is no record, or who is about to say the end. A
 * receiver that dies leaves its word in `fetcher`, which the next one takes over, and perhaps a
 * note whose message has gone with it. One that is stopped, not killed, while it is the fetcher
 * keeps the others from what stands behind the note until it goes on: nowhere else in a ring is
 * that so.
 */
#include "ipc/transport_ring_impl.h"

#include <errno.h>
#include <string.h>

#include <tine/error.h>

#include "ipc/transport_socket.h"
#include "shm/owner.h"

static struct tine__beside_shm *outgoing(const struct ring_end *end)
{
    return &end->shared->beside[end->end.side];
}

static struct tine__beside_shm *incoming(const struct ring_end *end)
{
    return &end->shared->beside[1 - end->end.side];
}

/* seq_cst: who draws a larger one knows what the caller has published before. */
static uint64_t draw(struct tine__beside_shm *beside)
{
    return atomic_fetch_add_explicit(&beside->number, 1, memory_order_seq_cst) + 1;
}

/* ---- sending --------------------------------------------------------------------------------- */

/* As it stands in the ring. */
struct note_record {
    struct tine__ring_head_shm head;
    struct tine__ring_note_shm note;
};

struct sending {
    struct ring_end *end;
    const struct tine__outgoing *message;
    tine__deadline deadline;
    struct note_record record;
};

/* The note has its place in the ring, so nothing can fail once the message is sent. */
static int send_message(void *context, struct iovec *part)
{
    struct sending *sending = context;
    struct ring_end *end = sending->end;
    struct tine__ring_note_shm *note = &sending->record.note;
    int rc;

    note->number = draw(outgoing(end));
    rc = tine__transport_socket_send_as(end->beside, sending->message, note->number,
                                        sending->deadline);
    if (rc < 0)
        return rc;
    note->after = draw(outgoing(end));
    sending->record.head.kind = NOTE;
    sending->record.head.tag = tag_of(end->shared, NOTE, note, sizeof *note);
    *part = (struct iovec){&sending->record, sizeof sending->record};
    return 0;
}

int tine__beside_send(struct ring_end *end, const struct tine__outgoing *message,
                      tine__deadline deadline)
{
    struct sending sending = {.end = end, .message = message, .deadline = deadline};
    int rc =
        tine__ring_send_after(&end->out, sizeof sending.record, send_message, &sending, deadline);

    return rc == -EAGAIN ? -ETIMEDOUT : rc;
}

/* ---- receiving ------------------------------------------------------------------------------- */

static bool claim(struct tine__beside_shm *beside)
{
    /* seq_cst: who is about to sleep finds it given up, or is seen by who gives it up */
    uint64_t holder = atomic_load_explicit(&beside->fetcher, memory_order_seq_cst);

    if (holder != 0 && tine__owner_word_lives(holder))
        return false;
    /* acquire: pairs with the release in give_up(), for the records that the last one took */
    return atomic_compare_exchange_strong_explicit(&beside->fetcher, &holder, tine__owner_word(),
                                                   memory_order_acquire, memory_order_relaxed);
}

/* Whoever came meanwhile and found it claimed may be asleep. */
static void give_up(struct ring_end *end)
{
    atomic_store_explicit(&incoming(end)->fetcher, 0, memory_order_seq_cst);
    tine__waiters_wake(tine__ring_readable(end->in.shared), 1);
}

/* The oldest record: 0, a note; -EBUSY, another one; else as tine__ring_peek(). */
static int read_note(struct ring_end *end, struct tine__ring_record *record,
                     struct tine__ring_note_shm *note)
{
    struct note_record copy;
    struct tine__parts to = {.head = &copy, .head_size = sizeof copy};
    int rc = tine__ring_peek(&end->in, record);

    if (rc < 0)
        return rc;
    if (tine__record_size(record->record.word) != sizeof copy)
        return -EBUSY;
    tine__lane_copy(record->lane, &record->record, &to);
    *note = copy.note;
    /* A damaged one is received as any damaged record is. */
    return copy.head.kind == NOTE && copy.head.tag == tag_of(end->shared, NOTE, note, sizeof *note)
               ? 0
               : -EBUSY;
}

/* The first message of the socket. A damaged one has any number: to receive it will tell. */
static bool has_message(struct ring_end *end, uint64_t *number)
{
    int rc = tine__transport_socket_next(end->beside, number);

    if (rc < 0)
        *number = 0;
    return rc != -EAGAIN;
}

static bool is_before(uint64_t a, uint64_t b)
{
    return (int64_t)(a - b) < 0;
}

static int receive(struct ring_end *end, struct tine__incoming *message)
{
    int rc = message == NULL ? 1 : end->beside->ops->receive(end->beside, message, TINE__AT_ONCE);

    return rc == -ETIMEDOUT || rc == TINE_EEOF ? -EAGAIN : rc;
}

static int fetch_claimed(struct ring_end *end, struct tine__incoming *message)
{
    struct tine__ring_record record;
    struct tine__ring_note_shm note;
    uint64_t number;
    int rc, empty;

    while ((rc = read_note(end, &record, &note)) == 0) {
        if (has_message(end, &number) && is_before(number, note.after)) {
            rc = receive(end, message);
            if (message != NULL && number == note.number && rc != -ENOMEM)
                (void)tine__ring_take(&end->in, &record);
            return rc;
        }
        (void)tine__ring_take(&end->in, &record);
    }
    if ((rc != -EAGAIN && rc != TINE_EEOF) || !has_message(end, &number))
        return rc;
    empty = tine__ring_peek(&end->in, &record); /* once more: see above */
    return empty == 0 ? -EBUSY : receive(end, message);
}

int tine__beside_fetch(struct ring_end *end, struct tine__incoming *message)
{
    int rc;

    if (!claim(incoming(end)))
        return -EAGAIN;
    rc = fetch_claimed(end, message);
    give_up(end);
    return rc;
}

bool tine__beside_suspects(struct ring_end *end, int rc)
{
    struct tine__beside_shm *beside = incoming(end);

    /* relaxed: the look of a later call will see it; of those who have ended all is seen */
    if (atomic_load_explicit(&beside->number, memory_order_relaxed) == 0)
        return false;
    return rc == TINE_EEOF || tine__look_due(&beside->looked);
}

/* A note whose message is gone is no news, so who finds one asks on. */
int tine__beside_poll(struct ring_end *end)
{
    struct tine__ring_record record;
    struct tine__ring_note_shm note;
    int rc = read_note(end, &record, &note);

    if (rc == 0 || (rc != -EBUSY && tine__beside_suspects(end, rc)))
        rc = tine__beside_fetch(end, NULL);
    return rc == -EAGAIN ? rc : 1;
}
