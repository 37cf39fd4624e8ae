/* SPDX-License-Identifier: MIT */
/*
 * Messages → bytes. What stands before a message, or a box of it, lies in ready[]; a body in clear
 * is sent from where the caller has it. A message that a deadline cuts in the middle cannot be
 * taken back: the rest of it is copied, and goes out before anything else. So at most one message
 * waits here, and the stream never loses its place.
 *
 * Private to the process; a forked child has a copy (transport_stream.c says who may go on).
 */
#include "ipc/stream.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PYTHON_LONG      UINT32_MAX
#define PYTHON_SHORT_MAX INT32_MAX
#define READY_CLEAR      ((size_t)TINE__FRAME_BYTES)
#define READY_BOX        ((size_t)TINE__BOX_START + TINE__BOX_LENGTH + TINE__BOX_TEXT + TINE__BOX_EXTRA)

/* Encrypted, the text of the first box is put together behind the room for the box. */
int tine__stream_out_init(struct tine__stream_out *out, const struct tine__stream_rules *rules)
{
    memset(out, 0, sizeof *out);
    out->rules = rules;
    out->ready = malloc(rules->encryption == NULL ? READY_CLEAR : READY_BOX + TINE__BOX_TEXT);
    return out->ready == NULL ? -ENOMEM : 0;
}

static void forget(struct tine__stream_out *out)
{
    free(out->kept);
    out->kept = NULL;
    out->rest = NULL;
    out->rest_size = 0;
    out->ready_size = out->ready_sent = 0;
}

void tine__stream_out_fini(struct tine__stream_out *out)
{
    forget(out);
    free(out->ready);
    out->ready = NULL;
}

bool tine__stream_idle(const struct tine__stream_out *out)
{
    return out->ready_sent == out->ready_size && out->rest_size == 0;
}

/* ---- heads ----------------------------------------------------------------------------------- */

static size_t write_frame(struct tine__stream_out *out, uint8_t *head)
{
    struct tine__frame frame = {.type = TINE__FRAME_INLINE,
                                .length = out->rest_size,
                                .sequence = out->sequence++,
                                .descriptors = (uint8_t)out->beside};
    struct iovec body = {.iov_base = (void *)(uintptr_t)out->rest, .iov_len = out->rest_size};

    tine__frame_encode(head, &frame, &out->rules->send, &body, 1);
    return TINE__FRAME_BYTES;
}

static size_t write_python(const struct tine__stream_out *out, uint8_t *head)
{
    bool is_long = out->rest_size > PYTHON_SHORT_MAX;
    uint32_t number = htobe32(is_long ? PYTHON_LONG : (uint32_t)out->rest_size);
    uint64_t length = htobe64(out->rest_size);

    memcpy(head, &number, sizeof number);
    if (is_long)
        memcpy(head + sizeof number, &length, sizeof length);
    return is_long ? sizeof number + sizeof length : sizeof number;
}

/* ---- boxes ----------------------------------------------------------------------------------- */

/* Into ready[]: the box of that text, with its length. */
static void write_box(struct tine__stream_out *out, const uint8_t *text, uint32_t size)
{
    uint8_t *ready = out->ready;
    uint32_t length = htole32(size);

    if (!out->started) {
        tine__encrypt_start(out->rules->encryption, ready);
        ready += TINE__BOX_START;
        out->started = true;
    }
    memcpy(ready, &length, sizeof length);
    ready += sizeof length;
    tine__encrypt(out->rules->encryption, ready, text, size, out->rest_size == 0);
    out->ready_size = (size_t)(ready - out->ready) + size + TINE__BOX_EXTRA;
    out->ready_sent = 0;
    out->touched = true; /* the box after it counts on it */
}

static void advance(struct tine__stream_out *out, size_t size)
{
    out->rest_size -= size;
    out->rest = out->rest_size == 0 ? NULL : out->rest + size;
}

static void write_first_box(struct tine__stream_out *out)
{
    uint8_t *text = out->ready + READY_BOX;
    size_t head = write_frame(out, text), size = TINE__BOX_TEXT - head;
    const uint8_t *body = out->rest;

    if (size > out->rest_size)
        size = out->rest_size;
    if (size > 0)
        memcpy(text + head, body, size);
    advance(out, size);
    write_box(out, text, (uint32_t)(head + size));
}

static void write_next_box(struct tine__stream_out *out)
{
    size_t size = out->rest_size < TINE__BOX_TEXT ? out->rest_size : TINE__BOX_TEXT;
    const uint8_t *text = out->rest;

    advance(out, size);
    write_box(out, text, (uint32_t)size);
}

/* ---- messages -------------------------------------------------------------------------------- */

int tine__stream_put(struct tine__stream_out *out, const void *data, size_t size, uint32_t beside)
{
    if (size > out->rules->send.length_max)
        return -EMSGSIZE;
    forget(out);
    out->touched = false;
    out->rest = data;
    out->rest_size = size;
    out->beside = beside;
    if (out->rules->encryption != NULL)
        write_first_box(out);
    else
        out->ready_size =
            out->rules->python ? write_python(out, out->ready) : write_frame(out, out->ready);
    return 0;
}

int tine__stream_parts(struct tine__stream_out *out, struct iovec parts[2])
{
    int count = 0;

    if (out->rules->encryption != NULL && out->ready_sent == out->ready_size && out->rest_size > 0)
        write_next_box(out);
    if (out->ready_sent < out->ready_size)
        parts[count++] = (struct iovec){.iov_base = out->ready + out->ready_sent,
                                        .iov_len = out->ready_size - out->ready_sent};
    if (out->rules->encryption == NULL && out->rest_size > 0)
        parts[count++] =
            (struct iovec){.iov_base = (void *)(uintptr_t)out->rest, .iov_len = out->rest_size};
    return count;
}

void tine__stream_sent(struct tine__stream_out *out, size_t count)
{
    size_t ready = out->ready_size - out->ready_sent;

    if (count == 0)
        return;
    out->touched = true;
    if (ready > count)
        ready = count;
    out->ready_sent += ready;
    if (count > ready)
        advance(out, count - ready);
    if (tine__stream_idle(out))
        forget(out);
}

bool tine__stream_withdraw(struct tine__stream_out *out)
{
    if (out->touched)
        return false;
    out->sequence -= !out->rules->python;
    forget(out);
    return true;
}

int tine__stream_keep(struct tine__stream_out *out)
{
    if (out->rest_size == 0 || out->kept != NULL)
        return 0;
    out->kept = malloc(out->rest_size);
    if (out->kept == NULL)
        return -ENOMEM;
    memcpy(out->kept, out->rest, out->rest_size);
    out->rest = out->kept;
    return 0;
}
