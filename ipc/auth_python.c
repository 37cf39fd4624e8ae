/* SPDX-License-Identifier: MIT */
/*
 * The handshake of CPython's multiprocessing.connection, as 3.12 and later speak it. Two one-way
 * rounds, the listener's first; each message is a length (int32, big-endian) and its bytes:
 *
 *     asks     "#CHALLENGE#" M, where M = "{sha256}" and 40 random bytes
 *     answers  "{sha256}" HMAC-SHA256(key, M)
 *     asks     "#WELCOME#", or "#FAILURE#" and the end
 *
 * The digest's name is in M and so under the MAC. Python until 3.11 sends a bare challenge of 20
 * bytes and MD5, which is refused here. Without a key there is no handshake at all.
 *
 * Its weaknesses are the protocol's: the dialler answers whoever asks, so a process that it can be
 * lured to is authenticated by it elsewhere; nothing ties the MAC to the socket; frames carry no
 * MAC. It is for paths that one trusts.
 */
#include "ipc/auth.h"

#include <tine/error.h>

#include <endian.h>
#include <errno.h>
#include <string.h>

#include "lib/random.h"

#define CHALLENGE    "#CHALLENGE#"
#define WELCOME      "#WELCOME#"
#define FAILURE      "#FAILURE#"
#define DIGEST       "{sha256}"
#define LENGTH_BYTES 4
#define MESSAGE_MAX  (TINE__AUTH_BYTES - LENGTH_BYTES)
#define OLD_RANDOM   20 /* bytes of a challenge, until 3.11 */
#define OLD_ANSWER   16 /* bytes of an MD5 */

#define LETTERS(text) (sizeof(text) - 1)

_Static_assert(TINE__AUTH_CHALLENGE_BYTES == LETTERS(DIGEST) + 40, "M, as Python makes it");

static void say(struct tine__auth *auth, const void *head, size_t head_size, const void *rest,
                size_t rest_size)
{
    uint32_t length = htobe32((uint32_t)(head_size + rest_size));

    tine__auth_say(auth, &length, sizeof length);
    tine__auth_say(auth, head, head_size);
    tine__auth_say(auth, rest, rest_size);
}

/* The next message: its length first. */
static int await(struct tine__auth *auth, enum tine__auth_state state)
{
    auth->length_known = false;
    tine__auth_go(auth, state, LENGTH_BYTES);
    return 0;
}

static int ask(struct tine__auth *auth)
{
    memcpy(auth->challenge, DIGEST, LETTERS(DIGEST));
    tine__random_bytes(auth->challenge + LETTERS(DIGEST), sizeof auth->challenge - LETTERS(DIGEST));
    say(auth, CHALLENGE, LETTERS(CHALLENGE), auth->challenge, sizeof auth->challenge);
    return await(auth, TINE__AUTH_ANSWER);
}

static bool begins(const uint8_t *bytes, size_t size, const char *text, size_t letters)
{
    return size >= letters && memcmp(bytes, text, letters) == 0;
}

static int hear_challenge(struct tine__auth *auth, const uint8_t *bytes, size_t size)
{
    uint8_t mac[TINE__MAC_BYTES];

    if (!begins(bytes, size, CHALLENGE, LETTERS(CHALLENGE)))
        return tine__auth_fail(auth, TINE_EFORMAT, "it does not speak Python's handshake");
    bytes += LETTERS(CHALLENGE);
    size -= LETTERS(CHALLENGE);
    if (size == OLD_RANDOM)
        return tine__auth_fail(auth, -EPROTO, "it is a Python before 3.12, which knows MD5 only");
    if (size < LETTERS(DIGEST) + OLD_RANDOM)
        return tine__auth_fail(auth, TINE_EFORMAT, "its challenge is too short");
    if (!begins(bytes, size, DIGEST, LETTERS(DIGEST)))
        return tine__auth_fail(auth, -EPROTO, "it asks for another digest than sha256");
    tine__auth_mac(auth, "", bytes, size, mac);
    say(auth, DIGEST, LETTERS(DIGEST), mac, sizeof mac);
    return await(auth, TINE__AUTH_WELCOME);
}

static int check_answer(struct tine__auth *auth, const uint8_t *bytes, size_t size)
{
    uint8_t mac[TINE__MAC_BYTES];

    if (size == OLD_ANSWER)
        return tine__auth_fail(auth, -EPROTO, "it is a Python before 3.12, which knows MD5 only");
    if (size != LETTERS(DIGEST) + sizeof mac || !begins(bytes, size, DIGEST, LETTERS(DIGEST)))
        return tine__auth_fail(auth, -EPROTO, "it answers with another digest than sha256");
    tine__auth_mac(auth, "", auth->challenge, sizeof auth->challenge, mac);
    if (!tine__auth_mac_equal(mac, bytes + LETTERS(DIGEST)))
        return tine__auth_fail(auth, -EACCES, "it has another key");
    return 0;
}

static int finish(struct tine__auth *auth)
{
    tine__auth_go(auth, TINE__AUTH_DONE, 0);
    return 0;
}

static int hear_answer(struct tine__auth *auth, const uint8_t *bytes, size_t size)
{
    int rc = check_answer(auth, bytes, size);

    if (rc < 0) {
        say(auth, FAILURE, LETTERS(FAILURE), "", 0);
        return rc;
    }
    say(auth, WELCOME, LETTERS(WELCOME), "", 0);
    return auth->terms.listener ? await(auth, TINE__AUTH_CHALLENGE) : finish(auth);
}

static int hear_welcome(struct tine__auth *auth, const uint8_t *bytes, size_t size)
{
    if (size != LETTERS(WELCOME) || !begins(bytes, size, WELCOME, LETTERS(WELCOME)))
        return tine__auth_fail(auth, -EACCES, "it does not accept our key");
    return auth->terms.listener ? finish(auth) : ask(auth);
}

void tine__auth_python_begin(struct tine__auth *auth)
{
    if (auth->terms.key == NULL)
        finish(auth);
    else if (auth->terms.listener)
        ask(auth);
    else
        await(auth, TINE__AUTH_CHALLENGE);
}

static int hear_length(struct tine__auth *auth)
{
    uint32_t length;

    memcpy(&length, auth->in, sizeof length);
    length = be32toh(length);
    if (length == 0 || length > MESSAGE_MAX)
        return tine__auth_fail(auth, TINE_EFORMAT, "it does not speak Python's handshake");
    auth->length_known = true;
    auth->in_wanted = LENGTH_BYTES + length;
    return 0;
}

int tine__auth_python_step(struct tine__auth *auth)
{
    const uint8_t *bytes = auth->in + LENGTH_BYTES;
    size_t size = auth->in_size - LENGTH_BYTES;

    if (!auth->length_known)
        return hear_length(auth);
    switch (auth->state) {
    case TINE__AUTH_CHALLENGE:
        return hear_challenge(auth, bytes, size);
    case TINE__AUTH_ANSWER:
        return hear_answer(auth, bytes, size);
    case TINE__AUTH_WELCOME:
        return hear_welcome(auth, bytes, size);
    case TINE__AUTH_HELLO:
    case TINE__AUTH_PROOF:
    case TINE__AUTH_DONE:
    case TINE__AUTH_FAILED:
    default:
        return tine__auth_fail(auth, -EPROTO, "bytes that nobody asked for");
    }
}
