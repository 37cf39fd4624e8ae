/* SPDX-License-Identifier: MIT */
/* Two handshakes that talk to each other, byte by byte, without a socket. */
#ifndef TINE_TESTS_IPC_TALK_H
#define TINE_TESTS_IPC_TALK_H

#include <string.h>

#include "ipc/auth.h"
#include "tests/support/suite.h"

struct talk {
    struct tine__secret *listener_key, *dialler_key;
    struct tine__auth listener, dialler;
};

static inline void talk_begin(struct talk *talk, const char *listener_key, const char *dialler_key,
                              bool python)
{
    struct tine__auth_terms terms = {.limit = 1000, .python = python, .listener = true};

    memset(talk, 0, sizeof *talk);
    ck_assert_rc(tine__secret_open(&talk->listener_key, listener_key, strlen(listener_key)), 0);
    ck_assert_rc(tine__secret_open(&talk->dialler_key, dialler_key, strlen(dialler_key)), 0);
    terms.key = talk->listener_key;
    ck_assert_rc(tine__auth_begin(&talk->listener, &terms), 0);
    terms = (struct tine__auth_terms){.limit = 2000, .python = python, .key = talk->dialler_key};
    ck_assert_rc(tine__auth_begin(&talk->dialler, &terms), 0);
}

static inline void talk_end(struct talk *talk)
{
    tine__auth_end(&talk->listener);
    tine__auth_end(&talk->dialler);
    tine__secret_close(talk->listener_key);
    tine__secret_close(talk->dialler_key);
}

/* Gives a machine bytes, as many as it takes. How many; *rc: what it said to them. */
static inline size_t hear(struct tine__auth *auth, const void *bytes, size_t size, int *rc)
{
    size_t heard = 0, room;

    *rc = 0;
    while (heard < size && *rc == 0) {
        void *space = tine__auth_space(auth, &room);

        if (room == 0)
            break;
        if (room > size - heard)
            room = size - heard;
        memcpy(space, (const char *)bytes + heard, room);
        *rc = tine__auth_received(auth, room);
        heard += room;
    }
    return heard;
}

/* At most `most` bytes from one to the other; how many. */
static inline size_t carry(struct tine__auth *from, struct tine__auth *to, size_t most, int *rc)
{
    size_t count, heard;
    const void *bytes = tine__auth_output(from, &count);

    if (count > most)
        count = most;
    heard = hear(to, bytes, count, rc);
    tine__auth_sent(from, heard);
    return heard;
}

/* Until both are over, or one has failed, or nobody says anything: the first verdict. */
static inline int talk_over(struct talk *talk, size_t most)
{
    size_t moved;
    int rc;

    do {
        moved = carry(&talk->dialler, &talk->listener, most, &rc);
        if (rc == 0)
            moved += carry(&talk->listener, &talk->dialler, most, &rc);
    } while (rc == 0 && moved > 0);
    return rc;
}

#endif
