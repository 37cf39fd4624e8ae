/* SPDX-License-Identifier: MIT */
/*
 * Both handshakes, both roles, with an intruder between them. The first byte chooses the protocol
 * and what both sides want; then each byte is a step: carry some bytes on, flip a bit of them, or
 * say something of one's own. The intruder lacks the key. So no side that heard anything else than
 * what the other has said, in that order, is ever over.
 */
#include <tine/error.h>

#include <errno.h>
#include <string.h>

#include "ipc/auth.h"
#include "tests/fuzz/fuzz.h"

struct side {
    struct tine__auth auth;
    bool deceived;
};

struct input {
    const uint8_t *data;
    size_t size;
};

static uint8_t next(struct input *input)
{
    if (input->size == 0)
        return 0;
    input->size--;
    return *input->data++;
}

/* Moves as much of it as the machine takes. */
static size_t hear(struct side *side, const uint8_t *bytes, size_t size)
{
    size_t heard = 0, room;

    for (;;) {
        void *space = tine__auth_space(&side->auth, &room);
        int rc;

        if (room > size - heard)
            room = size - heard;
        if (room == 0)
            return heard;
        memcpy(space, bytes + heard, room);
        heard += room;
        rc = tine__auth_received(&side->auth, room);
        REQUIRE(rc == 0 || rc == -EACCES || rc == -EPROTO || rc == TINE_EFORMAT);
        REQUIRE((rc < 0) == (side->auth.state == TINE__AUTH_FAILED));
        REQUIRE(rc == 0 || side->auth.reason != NULL);
        REQUIRE(side->auth.in_size <= sizeof side->auth.in);
        REQUIRE(side->auth.out_size <= sizeof side->auth.out);
    }
}

/* What `from` has said, up to `most` bytes; a flipped bit of them if flip is not 0. */
static void carry(struct side *from, struct side *to, size_t most, unsigned flip)
{
    uint8_t bytes[2 * TINE__AUTH_BYTES];
    size_t count, heard;
    const void *said = tine__auth_output(&from->auth, &count);

    if (count > most)
        count = most;
    memcpy(bytes, said, count);
    if (flip != 0 && count > 0)
        bytes[flip % count] ^= (uint8_t)(1U << flip / count % 8);
    heard = hear(to, bytes, count);
    to->deceived |= flip != 0 && count > 0 && flip % count < heard;
    tine__auth_sent(&from->auth, heard);
}

/* Bytes of the intruder's own. */
static void intrude(struct side *to, struct input *input)
{
    size_t size = next(input);

    if (size > input->size)
        size = input->size;
    to->deceived |= hear(to, input->data, size) > 0;
    input->data += size;
    input->size -= size;
}

static void step(struct side sides[2], uint8_t what, struct input *input)
{
    struct side *from = &sides[what & 1], *to = &sides[!(what & 1)];

    switch (what >> 1 & 3) {
    case 0:
        carry(from, to, SIZE_MAX, 0);
        break;
    case 1:
        carry(from, to, what >> 3, 0);
        break;
    case 2:
        carry(from, to, SIZE_MAX, 1U + next(input) + (next(input) & 7U) * 256U);
        break;
    default:
        intrude(to, input);
    }
}

static void check(struct side sides[2])
{
    for (int i = 0; i < 2; i++)
        REQUIRE(!tine__auth_over(&sides[i].auth) || !sides[i].deceived);
    if (!tine__auth_over(&sides[0].auth) || !tine__auth_over(&sides[1].auth))
        return;
    REQUIRE(sides[0].auth.session.encrypted == sides[1].auth.session.encrypted);
    REQUIRE(memcmp(sides[0].auth.session.send_key, sides[1].auth.session.receive_key,
                   TINE__SESSION_KEY_BYTES) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct tine__secret *key;
    struct input input = {data, size};
    uint8_t first = next(&input);
    struct side sides[2] = {{.deceived = false}};

    if (key == NULL)
        REQUIRE(tine__secret_open(&key, "open sesame", 11) == 0);
    for (int i = 0; i < 2; i++) {
        struct tine__auth_terms terms = {.key = key,
                                         .limit = 1000,
                                         .listener = i == 1,
                                         .python = (first & 1) != 0,
                                         .encrypt = (first >> (1 + i) & 1) != 0};

        REQUIRE(tine__auth_begin(&sides[i].auth, &terms) == 0);
    }
    while (input.size > 0) {
        step(sides, next(&input), &input);
        check(sides);
    }
    tine__auth_end(&sides[0].auth);
    tine__auth_end(&sides[1].auth);
    return 0;
}
