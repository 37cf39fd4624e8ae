/* SPDX-License-Identifier: MIT */
/*
 * Handshakes: what the two protocols (auth_native.c, auth_python.c) have in common. A machine takes
 * bytes until it has as many as it wanted, makes one step, and wants the next ones; what it says
 * collects in out[]. Which steps there are stands in doc/states.md.
 *
 * All sizes are bounded by the struct: nothing is allocated for a peer that has not proven
 * anything. Bytes of the peer decide only how many more are wanted, at most 256, and never past the
 * end of the handshake. MACs are compared in constant time, and MAC states are wiped by libsodium's
 * final.
 *
 * Private to the process. A forked child lacks the key (ipc/auth_secret.c), so it can begin
 * nothing; a machine that is under way at the fork is its parent's, and ends there.
 */
#include "ipc/auth.h"

#include <sodium.h>

#include <tine/error.h>

#include <errno.h>
#include <string.h>

#include "lib/random.h"
#include "lib/sodium.h"

_Static_assert(TINE__MAC_BYTES == crypto_auth_hmacsha256_BYTES, "one MAC for both protocols");
_Static_assert(TINE__AUTH_EXCHANGE_BYTES == crypto_scalarmult_SCALARBYTES &&
                   TINE__AUTH_EXCHANGE_BYTES == crypto_scalarmult_BYTES,
               "X25519");

/* Of nobody: where there is no key, MACs are made with one of no bytes. */
static const uint8_t no_key[1];

static bool has_key(const struct tine__auth *auth)
{
    size_t size;

    return auth->terms.key == NULL || tine__secret_key(auth->terms.key, &size) != NULL;
}

int tine__auth_begin(struct tine__auth *auth, const struct tine__auth_terms *terms)
{
    memset(auth, 0, sizeof *auth);
    auth->terms = *terms;
    auth->session.peer_limit = UINT64_MAX;
    if (!has_key(auth))
        return tine__auth_fail(auth, TINE_EFORKED, "the key is the parent's");
    if (terms->python)
        tine__auth_python_begin(auth);
    else
        tine__auth_native_begin(auth);
    return 0;
}

void tine__auth_end(struct tine__auth *auth)
{
    sodium_memzero(auth, sizeof *auth);
    auth->state = TINE__AUTH_FAILED;
}

void *tine__auth_space(struct tine__auth *auth, size_t *room)
{
    *room = auth->in_wanted - auth->in_size;
    return auth->in + auth->in_size;
}

int tine__auth_received(struct tine__auth *auth, size_t count)
{
    auth->heard = true;
    auth->in_size += (uint32_t)count;
    if (auth->verdict < 0)
        return auth->verdict;
    if (auth->in_size < auth->in_wanted || auth->in_wanted == 0)
        return 0;
    if (!has_key(auth)) /* forked meanwhile: MACs would be those of an empty key */
        return tine__auth_fail(auth, TINE_EFORKED, "the key is the parent's");
    return auth->terms.python ? tine__auth_python_step(auth) : tine__auth_native_step(auth);
}

const void *tine__auth_output(const struct tine__auth *auth, size_t *count)
{
    *count = auth->out_size - auth->out_sent;
    return auth->out + auth->out_sent;
}

void tine__auth_sent(struct tine__auth *auth, size_t count)
{
    auth->out_sent += (uint32_t)count;
    if (auth->out_sent == auth->out_size)
        auth->out_sent = auth->out_size = 0;
}

bool tine__auth_over(const struct tine__auth *auth)
{
    return auth->state == TINE__AUTH_DONE && auth->out_size == 0;
}

void tine__auth_mac(const struct tine__auth *auth, const char *label, const void *bytes,
                    size_t size, uint8_t mac[TINE__MAC_BYTES])
{
    crypto_auth_hmacsha256_state state;
    size_t key_size = 0;
    const void *key =
        auth->terms.key == NULL ? no_key : tine__secret_key(auth->terms.key, &key_size);

    crypto_auth_hmacsha256_init(&state, key, key_size);
    crypto_auth_hmacsha256_update(&state, (const uint8_t *)label, strlen(label));
    crypto_auth_hmacsha256_update(&state, bytes, size);
    crypto_auth_hmacsha256_final(&state, mac);
    sodium_memzero(&state, sizeof state);
}

void tine__auth_exchange_begin(struct tine__auth *auth, uint8_t told[TINE__AUTH_EXCHANGE_BYTES])
{
    tine__sodium_start();
    tine__random_bytes(auth->exchange, sizeof auth->exchange);
    (void)crypto_scalarmult_base(told, auth->exchange);
}

bool tine__auth_exchange_end(struct tine__auth *auth, const uint8_t told[TINE__AUTH_EXCHANGE_BYTES])
{
    uint8_t shared[TINE__AUTH_EXCHANGE_BYTES];
    bool is_one = crypto_scalarmult(shared, auth->exchange, told) == 0; /* else it is all zeros */

    memcpy(auth->exchange, shared, sizeof shared);
    sodium_memzero(shared, sizeof shared);
    return is_one;
}

bool tine__auth_mac_equal(const uint8_t *a, const uint8_t *b)
{
    return sodium_memcmp(a, b, TINE__MAC_BYTES) == 0;
}

void tine__auth_say(struct tine__auth *auth, const void *bytes, size_t size)
{
    memcpy(auth->out + auth->out_size, bytes, size);
    auth->out_size += (uint32_t)size;
}

void tine__auth_go(struct tine__auth *auth, enum tine__auth_state state, uint32_t wanted)
{
    auth->state = state;
    auth->in_size = 0;
    auth->in_wanted = wanted;
}

int tine__auth_fail(struct tine__auth *auth, int code, const char *reason)
{
    tine__auth_go(auth, TINE__AUTH_FAILED, 0);
    auth->verdict = code;
    auth->reason = reason;
    return code;
}
