/* SPDX-License-Identifier: MIT */
/*
 * Bytes → messages. Whatever the peer claims, memory follows what it has sent: a message of a
 * claimed length begins with 64 KiB at most, and doubles when that is full. It asks for exactly the
 * bytes of one head, then of one body, so a socket is readable whenever the peer has sent more, and
 * nothing is read for somebody else.
 *
 * In clear a native message is a frame (ipc/frame.c), Python's a length and bytes. Encrypted, the
 * text of the boxes is the frame and its body, cut into pieces of up to 64 KiB; a box is decrypted
 * as a whole, so no byte of it is looked at before its tag was.
 *
 * Once bytes make no sense, what follows cannot make any: the machine stays BROKEN.
 *
 * Private to the process; a forked child has a copy (transport_stream.c says who may go on).
 */
#include "ipc/stream.h"

#include <tine/error.h>

#include <endian.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define REUSE_MAX        ((size_t)1 << 20) /* a larger buffer is not kept for the next message */
#define PYTHON_HEAD      4
#define PYTHON_HEAD_LONG 12
#define PYTHON_LONG      UINT32_MAX /* in place of a length: a 64-bit one follows */
#define PYTHON_SHORT_MAX INT32_MAX

/* ---- stages ---------------------------------------------------------------------------------- */

static void await(struct tine__stream_in *in, enum tine__stream_stage stage, uint32_t wanted)
{
    in->stage = stage;
    in->wanted = wanted;
    in->some_size = 0;
}

static void await_message(struct tine__stream_in *in)
{
    in->head_size = 0;
    in->size = 0;
    in->in_target = false;
    if (in->rules->encryption != NULL)
        await(in, TINE__STREAM_LENGTH, TINE__BOX_LENGTH);
    else
        await(in, TINE__STREAM_HEAD, in->rules->python ? PYTHON_HEAD : TINE__FRAME_BYTES);
}

static int broken(struct tine__stream_in *in, int verdict)
{
    await(in, TINE__STREAM_BROKEN, 0);
    in->verdict = verdict;
    return verdict;
}

void tine__stream_in_init(struct tine__stream_in *in, const struct tine__stream_rules *rules)
{
    memset(in, 0, sizeof *in);
    in->rules = rules;
    await_message(in);
    if (rules->encryption != NULL)
        await(in, TINE__STREAM_START, TINE__BOX_START);
}

void tine__stream_in_fini(struct tine__stream_in *in)
{
    free(in->message);
    free(in->box);
    free(in->text);
}

/* ---- memory ---------------------------------------------------------------------------------- */

/* Room for one more byte at least, and for `more` if they have been received already. */
static int reserve(struct tine__stream_in *in, size_t more)
{
    size_t wanted = in->size + (more > 0 ? more : 1), capacity = in->capacity;
    void *moved;

    if (wanted <= capacity || in->in_target)
        return 0;
    capacity = capacity == 0 ? TINE__STREAM_FIRST : 2 * capacity;
    if (capacity < wanted)
        capacity = wanted;
    if (capacity > in->length)
        capacity = in->length;
    moved = realloc(in->message, capacity);
    if (moved == NULL)
        return -ENOMEM;
    in->message = moved;
    in->capacity = capacity;
    return 0;
}

/* Where the bytes of the message are. */
static uint8_t *body(const struct tine__stream_in *in)
{
    return in->in_target ? in->target : in->message;
}

void tine__stream_aim(struct tine__stream_in *in, void *target, size_t room)
{
    in->target = target;
    in->target_room = room;
}

int tine__stream_unaim(struct tine__stream_in *in)
{
    int rc = 0;

    if (in->in_target && in->stage != TINE__STREAM_WHOLE && in->stage != TINE__STREAM_BROKEN) {
        in->in_target = false;
        rc = in->size == 0 ? 0 : reserve(in, 0);
        if (rc == 0 && in->size > 0)
            memcpy(in->message, in->target, in->size);
    }
    in->target = NULL;
    in->target_room = 0;
    return rc < 0 ? broken(in, rc) : 0;
}

static int reserve_box(struct tine__stream_in *in)
{
    if (in->box == NULL)
        in->box = malloc(TINE__BOX_TEXT + TINE__BOX_EXTRA);
    if (in->text == NULL)
        in->text = malloc(TINE__BOX_TEXT);
    return in->box == NULL || in->text == NULL ? -ENOMEM : 0;
}

/* ---- heads ----------------------------------------------------------------------------------- */

static int hear_length(struct tine__stream_in *in, uint64_t length)
{
    if (length > in->rules->receive.length_max || length > SIZE_MAX - TINE__FRAME_BYTES)
        return broken(in, TINE_EFORMAT);
    in->length = length;
    in->in_target = length > 0 && length <= in->target_room;
    return 0;
}

/* Fewer only where some were cut. */
static bool has_what_it_says(const struct tine__stream_in *in)
{
    return in->beside_cut ? in->beside < in->frame.descriptors
                          : in->beside == in->frame.descriptors;
}

/* in->head is whole. A frame that lies elsewhere than behind its head is for families only. */
static int hear_frame(struct tine__stream_in *in)
{
    uint64_t length;
    int rc;

    memcpy(&length, in->head + offsetof(struct tine__frame_wire, length), sizeof length);
    rc = hear_length(in, le64toh(length));
    if (rc < 0)
        return rc;
    rc = tine__frame_decode(in->head, TINE__FRAME_BYTES + in->length, &in->rules->receive,
                            &in->frame);
    if (rc < 0)
        return broken(in, rc);
    if (in->frame.type != TINE__FRAME_INLINE || !has_what_it_says(in))
        return broken(in, TINE_EFORMAT);
    return in->frame.sequence == in->sequence ? 0 : broken(in, -EBADMSG);
}

/* Numbers that Python would have written shorter are refused. */
static int hear_python(struct tine__stream_in *in)
{
    uint32_t number;
    uint64_t length;

    memcpy(&number, in->some, sizeof number);
    number = be32toh(number);
    if (in->some_size == PYTHON_HEAD) {
        if (number == PYTHON_LONG) {
            in->wanted = PYTHON_HEAD_LONG;
            return 0;
        }
        if (number > PYTHON_SHORT_MAX)
            return broken(in, TINE_EFORMAT);
        length = number;
    } else {
        memcpy(&length, in->some + PYTHON_HEAD, sizeof length);
        length = be64toh(length);
        if (length <= PYTHON_SHORT_MAX)
            return broken(in, TINE_EFORMAT);
    }
    in->stage = TINE__STREAM_BODY;
    return hear_length(in, length);
}

static int whole(struct tine__stream_in *in)
{
    struct iovec part = {.iov_base = body(in), .iov_len = in->size};

    if (!in->rules->python) {
        int rc = tine__frame_verify(in->head, &in->frame, &in->rules->receive, &part, 1);

        if (rc < 0)
            return broken(in, rc);
        in->sequence++;
    }
    in->stage = TINE__STREAM_WHOLE;
    return 1;
}

static int hear_head(struct tine__stream_in *in)
{
    int rc;

    if (in->rules->python) {
        rc = hear_python(in);
    } else {
        memcpy(in->head, in->some, sizeof in->head);
        in->stage = TINE__STREAM_BODY;
        rc = hear_frame(in);
    }
    if (rc < 0 || in->stage != TINE__STREAM_BODY || in->length > 0)
        return rc;
    return whole(in);
}

/* ---- boxes ----------------------------------------------------------------------------------- */

/* A piece of head and body. */
static int hear_text(struct tine__stream_in *in, const uint8_t *text, size_t size, bool last)
{
    size_t head = TINE__FRAME_BYTES - in->head_size;
    int rc;

    if (head > size)
        head = size;
    memcpy(in->head + in->head_size, text, head);
    in->head_size += (uint32_t)head;
    if (head > 0 && in->head_size == TINE__FRAME_BYTES) {
        rc = hear_frame(in);
        if (rc < 0)
            return rc;
    }
    size -= head;
    if (in->head_size < TINE__FRAME_BYTES || size > in->length - in->size)
        return broken(in, TINE_EFORMAT); /* a box of its own for a part of the head is not made */
    if (size > 0) {
        rc = reserve(in, size);
        if (rc < 0)
            return broken(in, rc); /* its box is used up */
        memcpy(body(in) + in->size, text + head, size);
        in->size += size;
    }
    if (last != (in->size == in->length))
        return broken(in, TINE_EFORMAT);
    if (last)
        return whole(in);
    await(in, TINE__STREAM_LENGTH, TINE__BOX_LENGTH);
    return 0;
}

static int hear_box(struct tine__stream_in *in)
{
    bool last;
    int rc = tine__decrypt(in->rules->encryption, in->text, in->box, in->box_size, &last);

    if (rc < 0)
        return broken(in, rc);
    return hear_text(in, in->text, in->box_size - TINE__BOX_EXTRA, last);
}

static int hear_box_length(struct tine__stream_in *in)
{
    uint32_t length;

    memcpy(&length, in->some, sizeof length);
    length = le32toh(length);
    if (length == 0 || length > TINE__BOX_TEXT)
        return broken(in, TINE_EFORMAT);
    await(in, TINE__STREAM_BOX, length + TINE__BOX_EXTRA);
    in->box_size = 0;
    return 0;
}

static int hear_start(struct tine__stream_in *in)
{
    int rc = tine__decrypt_start(in->rules->encryption, in->some);

    if (rc < 0)
        return broken(in, rc);
    await_message(in);
    return 0;
}

/* ---- bytes ----------------------------------------------------------------------------------- */

int tine__stream_space(struct tine__stream_in *in, void **space, size_t *room)
{
    int rc;

    if (in->stage == TINE__STREAM_BROKEN)
        return in->verdict;
    if (in->stage == TINE__STREAM_BODY) {
        rc = reserve(in, 0);
        if (rc < 0)
            return rc;
        *space = body(in) + in->size;
        *room = (in->in_target || in->length < in->capacity ? (size_t)in->length : in->capacity) -
                in->size;
    } else if (in->stage == TINE__STREAM_BOX) {
        rc = reserve_box(in);
        if (rc < 0)
            return rc;
        *space = in->box + in->box_size;
        *room = in->wanted - in->box_size;
    } else {
        *space = in->some + in->some_size;
        *room = in->wanted - in->some_size;
    }
    return 0;
}

/* What was wanted at this stage is there. */
static int step(struct tine__stream_in *in)
{
    switch (in->stage) {
    case TINE__STREAM_START:
        return hear_start(in);
    case TINE__STREAM_LENGTH:
        return hear_box_length(in);
    case TINE__STREAM_BOX:
        return hear_box(in);
    case TINE__STREAM_HEAD:
        return hear_head(in);
    case TINE__STREAM_BODY:
        return whole(in);
    case TINE__STREAM_WHOLE:
    case TINE__STREAM_BROKEN:
    default:
        return broken(in, TINE_EFORMAT);
    }
}

int tine__stream_received(struct tine__stream_in *in, size_t count)
{
    bool enough;

    if (in->stage == TINE__STREAM_BROKEN)
        return in->verdict;
    if (in->stage == TINE__STREAM_BODY) {
        in->size += count;
        enough = in->size == in->length;
    } else if (in->stage == TINE__STREAM_BOX) {
        in->box_size += count;
        enough = in->box_size == in->wanted;
    } else {
        in->some_size += (uint32_t)count;
        enough = in->some_size == in->wanted;
    }
    return enough ? step(in) : 0;
}

bool tine__stream_between(const struct tine__stream_in *in, bool *started)
{
    *started = in->stage != TINE__STREAM_START;
    return in->some_size == 0 &&
           (in->stage == TINE__STREAM_START || in->stage == TINE__STREAM_HEAD ||
            (in->stage == TINE__STREAM_LENGTH && in->head_size == 0));
}

void tine__stream_in_resume(struct tine__stream_in *in, uint64_t sequence, bool started)
{
    in->sequence = sequence;
    if (started)
        await_message(in);
}

int tine__stream_beside(struct tine__stream_in *in, uint32_t count, bool cut)
{
    if (count == 0 && !cut)
        return 0;
    if (in->beside > 0 || in->beside_cut || count > TINE__FRAME_DESCRIPTORS)
        return broken(in, TINE_EFORMAT);
    in->beside = count;
    in->beside_cut = cut;
    return 0;
}

int tine__stream_ended(struct tine__stream_in *in)
{
    bool started;

    if (in->stage == TINE__STREAM_BROKEN)
        return in->verdict;
    return broken(in, tine__stream_between(in, &started) ? TINE_EEOF : -EBADMSG);
}

/* Not at the start of a direction, with whose first byte the first message's may have come. */
static void await_next(struct tine__stream_in *in)
{
    in->beside = 0;
    in->beside_cut = false;
    await_message(in);
}

void *tine__stream_take(struct tine__stream_in *in)
{
    void *message = in->message;

    in->message = NULL;
    in->capacity = 0;
    await_next(in);
    return message;
}

void tine__stream_drop(struct tine__stream_in *in)
{
    if (in->capacity > REUSE_MAX)
        free(tine__stream_take(in));
    else
        await_next(in);
}
