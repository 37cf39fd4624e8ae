/* SPDX-License-Identifier: MIT */
#ifndef TINE_IPC_AUTH_H
#define TINE_IPC_AUTH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ipc/auth_secret.h"

#define TINE__SESSION_KEY_BYTES   32
#define TINE__SESSION_CHECK_BYTES 16

/* What one side brings to a handshake. */
struct tine__auth_terms {
    const struct tine__secret *key; /* NULL: none. Kept until the handshake is over */
    uint64_t limit;                 /* longest message that it will receive */
    bool listener;                  /* else the one that dialled */
    bool python;                    /* speak as CPython's multiprocessing.connection */
    bool encrypt;                   /* ask for it; either side's wish is enough */
    int32_t check;                  /* TINE_CHECK_…: the more of the two counts */
};

/* What both have when it is over. */
struct tine__session {
    uint64_t peer_limit; /* longest message that the peer receives; UINT64_MAX: it did not say */
    bool encrypted;
    int32_t check; /* TINE_CHECK_…, of frames in clear */
    uint8_t send_key[TINE__SESSION_KEY_BYTES], receive_key[TINE__SESSION_KEY_BYTES];
    uint8_t send_check[TINE__SESSION_CHECK_BYTES], receive_check[TINE__SESSION_CHECK_BYTES];
};

/*
 * One handshake as a machine on bytes: no descriptor, no clock. Its user moves bytes until it is
 * over:
 *
 *     tine__auth_begin(&auth, &terms);
 *     while (!tine__auth_over(&auth)) {
 *         send what tine__auth_output() has, tell tine__auth_sent();
 *         read into tine__auth_space(), tell tine__auth_received();
 *     }
 *
 * It never has space for a byte behind the handshake, so nothing that follows is swallowed. After a
 * failure there may still be output, which tells the peer why: worth one attempt.
 */
enum {
    TINE__AUTH_BYTES = 4 + 256, /* the longest message of any handshake, with its length */
    TINE__AUTH_EXCHANGE_BYTES = 32,
    TINE__AUTH_TRANSCRIPT_BYTES = 64 + 96 + 32 + TINE__AUTH_EXCHANGE_BYTES,
    TINE__AUTH_CHALLENGE_BYTES = 48,
};

enum tine__auth_state {
    TINE__AUTH_HELLO,     /* native: waits for the other's hello */
    TINE__AUTH_PROOF,     /* native, listener: for the dialler's proof */
    TINE__AUTH_CHALLENGE, /* Python: for the other's challenge */
    TINE__AUTH_ANSWER,    /* Python: for the answer to ours */
    TINE__AUTH_WELCOME,   /* Python: for its verdict on our answer */
    TINE__AUTH_DONE,
    TINE__AUTH_FAILED,
};

struct tine__auth {
    struct tine__auth_terms terms;
    struct tine__session session; /* when over without failure */
    const char *reason;           /* of the failure */
    enum tine__auth_state state;
    int verdict;
    uint32_t in_size, in_wanted, out_size, out_sent, transcript_size;
    bool heard;        /* the peer has said something */
    bool length_known; /* Python: in[] holds a length, and now its message comes */
    uint8_t in[TINE__AUTH_BYTES];
    uint8_t out[2 * TINE__AUTH_BYTES];
    uint8_t transcript[TINE__AUTH_TRANSCRIPT_BYTES];
    uint8_t challenge[TINE__AUTH_CHALLENGE_BYTES]; /* Python: ours */
    uint8_t exchange[TINE__AUTH_EXCHANGE_BYTES];   /* native: our secret, then what both have */
};

/* 0, or TINE_EFORKED: this process has no copy of the key. */
int tine__auth_begin(struct tine__auth *auth, const struct tine__auth_terms *terms);
void tine__auth_end(struct tine__auth *auth); /* leaves no secret in it */

/* Where the next bytes go; *room is 0 when none are wanted. */
void *tine__auth_space(struct tine__auth *auth, size_t *room);
/*
 * 0: goes on. -EACCES: the peer does not have the key. -EPROTO: it speaks another version, or the
 * MD5 of old Pythons. TINE_EFORMAT: these are no bytes of a handshake.
 */
int tine__auth_received(struct tine__auth *auth, size_t count);
const void *tine__auth_output(const struct tine__auth *auth, size_t *count);
void tine__auth_sent(struct tine__auth *auth, size_t count);
/* Accepted by this side, and all is sent. */
bool tine__auth_over(const struct tine__auth *auth);

/* ---- between auth.c and the two protocols ---------------------------------------------------- */

#define TINE__MAC_BYTES 32

void tine__auth_native_begin(struct tine__auth *auth);
int tine__auth_native_step(struct tine__auth *auth); /* all that was wanted is in in[] */
void tine__auth_python_begin(struct tine__auth *auth);
int tine__auth_python_step(struct tine__auth *auth);

/* HMAC-SHA256 under the caller's key over a label and bytes. */
void tine__auth_mac(const struct tine__auth *auth, const char *label, const void *bytes,
                    size_t size, uint8_t mac[TINE__MAC_BYTES]);
/* A new secret for this connection alone, and what the peer is told of it. */
void tine__auth_exchange_begin(struct tine__auth *auth, uint8_t told[TINE__AUTH_EXCHANGE_BYTES]);
/* Of what the peer has told: the secret that both have. False: there is none, whatever ours was. */
bool tine__auth_exchange_end(struct tine__auth *auth,
                             const uint8_t told[TINE__AUTH_EXCHANGE_BYTES]);
bool tine__auth_mac_equal(const uint8_t *a, const uint8_t *b); /* in constant time */
void tine__auth_say(struct tine__auth *auth, const void *bytes, size_t size);
/* The only way to another state; wanted: bytes until the next step. */
void tine__auth_go(struct tine__auth *auth, enum tine__auth_state state, uint32_t wanted);
int tine__auth_fail(struct tine__auth *auth, int code, const char *reason);

#endif
