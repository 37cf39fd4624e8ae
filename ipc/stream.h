/* SPDX-License-Identifier: MIT */
#ifndef TINE_IPC_STREAM_H
#define TINE_IPC_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "ipc/encrypt.h"
#include "ipc/frame.h"

/*
 * Messages in a stream of bytes, as doc/wire.md has it: both directions as machines on bytes, which
 * know no descriptor and no clock. Of descriptors that travel beside a message they know how many.
 */
struct tine__stream_rules {
    bool python;                         /* a length and the bytes, as multiprocessing.connection */
    struct tine__frame_rules send;       /* native; of send, Python's uses length_max alone */
    struct tine__frame_rules receive;    /* likewise */
    struct tine__encryption *encryption; /* NULL: in clear */
};

enum {
    TINE__BOX_TEXT = 65536,     /* at most, in a box */
    TINE__BOX_LENGTH = 4,       /* in front of a box: bytes of its text */
    TINE__STREAM_FIRST = 65536, /* bytes set aside for a message of which nothing has come yet */
};

/* ---- in -------------------------------------------------------------------------------------- */

enum tine__stream_stage {
    TINE__STREAM_START,  /* encrypted: of the direction */
    TINE__STREAM_LENGTH, /* encrypted: of the next box */
    TINE__STREAM_BOX,
    TINE__STREAM_HEAD, /* in clear */
    TINE__STREAM_BODY,
    TINE__STREAM_WHOLE,  /* a message is there */
    TINE__STREAM_BROKEN, /* nothing that follows can be understood */
};

struct tine__stream_in {
    const struct tine__stream_rules *rules;
    enum tine__stream_stage stage;
    int verdict; /* BROKEN: why */
    uint64_t sequence;
    uint64_t length;  /* of the message, once its head is known */
    uint8_t *message; /* size bytes of it have come, unless they are in the target */
    size_t size, capacity;
    uint8_t *target; /* memory of the receiver's own */
    size_t target_room;
    bool in_target;      /* this message goes there */
    bool beside_cut;     /* more descriptors travelled than have come */
    uint32_t beside;     /* descriptors that came with the first byte of this message */
    uint8_t *box, *text; /* of TINE__BOX_TEXT and more, once a box comes */
    size_t box_size;
    uint32_t head_size; /* bytes in head[] */
    uint32_t wanted;    /* START, LENGTH, HEAD: bytes in some[]; BOX: in box */
    uint32_t some_size;
    struct tine__frame frame;
    uint8_t head[TINE__FRAME_BYTES];
    uint8_t some[TINE__FRAME_BYTES];
};

void tine__stream_in_init(struct tine__stream_in *in, const struct tine__stream_rules *rules);
void tine__stream_in_fini(struct tine__stream_in *in);
/*
 * Where the next bytes go, at least one: no byte of the next message is ever asked for. -ENOMEM
 * (to be tried again); the verdict when it is broken.
 */
int tine__stream_space(struct tine__stream_in *in, void **space, size_t *room);
/*
 * Where it is between two messages: the bytes that are told next came with so many descriptors;
 * cut: with some more, which were lost. TINE_EFORMAT: broken, they cannot be its.
 */
int tine__stream_beside(struct tine__stream_in *in, uint32_t count, bool cut);
/*
 * A message that begins from now on and has room there goes there, until the aim is taken back.
 * What has come of one by then is copied; -ENOMEM: it is broken.
 */
void tine__stream_aim(struct tine__stream_in *in, void *target, size_t room);
int tine__stream_unaim(struct tine__stream_in *in);
/* 0: goes on, 1: a message is there, with as many descriptors beside it as it says, unless they
 * were cut. TINE_EFORMAT, TINE_ECHECKSUM, -EPROTO, -EBADMSG: broken. */
int tine__stream_received(struct tine__stream_in *in, size_t count);
/* No more bytes come: TINE_EEOF between messages, else -EBADMSG. */
int tine__stream_ended(struct tine__stream_in *in);
/* WHOLE, and not in the target: gives the message away, malloced, or NULL if it has no bytes; then
   for the next. */
void *tine__stream_take(struct tine__stream_in *in);
void tine__stream_drop(struct tine__stream_in *in); /* WHOLE: its bytes have been copied */

/* Nothing of a message has come; *started: encrypted, and its direction's start has. */
bool tine__stream_between(const struct tine__stream_in *in, bool *started);
/* Just initialised: goes on where another one was between two messages. */
void tine__stream_in_resume(struct tine__stream_in *in, uint64_t sequence, bool started);

/* ---- out ------------------------------------------------------------------------------------- */

struct tine__stream_out {
    const struct tine__stream_rules *rules;
    uint64_t sequence;
    const uint8_t *rest; /* of the message, not yet in ready[] or sent */
    size_t rest_size;
    uint8_t *kept;  /* the rest, when it is a copy of ours */
    uint8_t *ready; /* bytes to be sent before the rest */
    size_t ready_size, ready_sent;
    uint32_t beside; /* descriptors that go with the first byte of this message */
    bool started;    /* encrypted: the direction's start is made */
    bool touched;    /* of this message something has been sent, or cannot be taken back */
};

/* -ENOMEM */
int tine__stream_out_init(struct tine__stream_out *out, const struct tine__stream_rules *rules);
void tine__stream_out_fini(struct tine__stream_out *out);
bool tine__stream_idle(const struct tine__stream_out *out);
/*
 * Idle: the next message; its bytes are borrowed until it is idle again, or kept. beside: so many
 * descriptors go with its first byte. -EMSGSIZE
 */
int tine__stream_put(struct tine__stream_out *out, const void *data, size_t size, uint32_t beside);
/* What to send now: how many parts of two; 0: it is idle. */
int tine__stream_parts(struct tine__stream_out *out, struct iovec parts[2]);
void tine__stream_sent(struct tine__stream_out *out, size_t count);
/* Takes the message back, if nothing of it is on its way: true. */
bool tine__stream_withdraw(struct tine__stream_out *out);
/* Copies what is borrowed. -ENOMEM */
int tine__stream_keep(struct tine__stream_out *out);

#endif
