/* SPDX-License-Identifier: MIT */
/* Both handshakes as machines on bytes. Sockets, and real Pythons, are in test_listener.c. */
#include "ipc/auth.h"
#include "ipc/auth_native.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/ipc/talk.h"
#include "tests/support/children.h"
#include "tests/support/random.h"
#include "tests/support/suite.h"

#define EVERYTHING SIZE_MAX

/* ---- randomness that is known ---------------------------------------------------------------- */

static int counting = -1; /* the next byte that is drawn; negative: real ones are */

void __real_tine__random_bytes(void *bytes, size_t size);
void __wrap_tine__random_bytes(void *bytes, size_t size);

void __wrap_tine__random_bytes(void *bytes, size_t size)
{
    if (counting < 0) {
        __real_tine__random_bytes(bytes, size);
        return;
    }
    for (size_t i = 0; i < size; i++)
        ((uint8_t *)bytes)[i] = (uint8_t)counting++;
}

static bool python_of(int loop_index)
{
    return loop_index == 1;
}

/* In pieces of so many bytes. */
static void assert_agree(const char *key, bool python, size_t piece)
{
    static struct talk talk;

    talk_begin(&talk, key, key, python);
    ck_assert_rc(talk_over(&talk, piece), 0);
    ck_assert(tine__auth_over(&talk.listener) && tine__auth_over(&talk.dialler));
    talk_end(&talk);
}

TEST(both_sides_agree, .loop_end = 2)
{
    assert_agree("secret", python_of(loop_index), EVERYTHING);
}

TEST(bytes_may_come_one_by_one, .loop_end = 2)
{
    assert_agree("secret", python_of(loop_index), 1);
}

TEST(keys_may_have_any_length, .loop_end = 2)
{
    static const size_t lengths[] = {0, 1, 32, 63, 64, 65, 200, 4000};

    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        static char key[4001];

        memset(key, 'k', lengths[i]);
        key[lengths[i]] = '\0';
        assert_agree(key, python_of(loop_index), EVERYTHING);
    }
}

TEST(another_key_is_refused, .loop_end = 2)
{
    struct talk talk;

    talk_begin(&talk, "secret", "Secret", python_of(loop_index));
    ck_assert_rc(talk_over(&talk, EVERYTHING), -EACCES);
    ck_assert(!tine__auth_over(&talk.listener) && !tine__auth_over(&talk.dialler));
    talk_end(&talk);
}

TEST(who_is_refused_by_python_learns_it)
{
    struct talk talk;
    int rc;

    talk_begin(&talk, "secret", "Secret", true);
    ck_assert_rc(talk_over(&talk, EVERYTHING), -EACCES);
    ck_assert_int_eq(talk.listener.state, TINE__AUTH_FAILED);
    carry(&talk.listener, &talk.dialler, EVERYTHING, &rc);
    ck_assert_rc(rc, -EACCES);
    ck_assert_str_eq(talk.dialler.reason, "it does not accept our key");
    talk_end(&talk);
}

TEST(both_have_the_same_session)
{
    struct tine__session *a, *b;
    struct talk talk;

    talk_begin(&talk, "secret", "secret", false);
    talk.listener.terms.encrypt = true;
    ck_assert_rc(talk_over(&talk, EVERYTHING), 0);
    a = &talk.listener.session;
    b = &talk.dialler.session;
    ck_assert(a->encrypted && b->encrypted);
    ck_assert_uint_eq(a->peer_limit, 2000);
    ck_assert_uint_eq(b->peer_limit, 1000);
    ck_assert_mem_eq(a->send_key, b->receive_key, sizeof a->send_key);
    ck_assert_mem_eq(a->receive_key, b->send_key, sizeof a->send_key);
    ck_assert_mem_ne(a->send_key, a->receive_key, sizeof a->send_key);
    talk_end(&talk);
}

/* ---- secrets of one connection --------------------------------------------------------------- */

static void ck_assert_hex(const void *bytes, size_t size, const char *expected)
{
    char hex[2 * 128 + 1];

    ck_assert_uint_le(size, 128);
    for (size_t i = 0; i < size; i++)
        snprintf(hex + 2 * i, 3, "%02x", ((const uint8_t *)bytes)[i]);
    ck_assert_str_eq(hex, expected);
}

#define DIALLER_HELLO                                                                              \
    "8b74680a43000200d007000000000000000102030405060708090a0b0c0d0e0f"                             \
    "d89e3bad79437dbed9f843418304f460ff05c7fe81fe4a9577a804cb9367ff66"
#define LISTENER_HELLO                                                                             \
    "8b74680a53010200e803000000000000303132333435363738393a3b3c3d3e3f"                             \
    "79a631eede1bf9c98f12032cdeadd0e7a079398fc786b88cc846ec89af85a51a"
#define LISTENER_PROOF "97313592e8ea5a13fbc70ef0d3a37aaacdb7f8977ca5e7d0c1647c21c6270bc5"
#define DIALLER_PROOF  "a9922326c6e3583a1400c06ea519ca1672e336d8e8b8d0366f97a99e44aea021"

/* From doc/wire.md by another implementation, with random numbers 0, 1, 2, … in the order drawn. */
TEST(the_bytes_are_those_of_the_document)
{
    const struct tine__session *session;
    struct talk talk;
    size_t count;
    int rc;

    counting = 0;
    talk_begin(&talk, "secret", "secret", false);
    talk.listener.terms.encrypt = true;
    session = &talk.dialler.session;
    ck_assert_hex(tine__auth_output(&talk.dialler, &count), 64, DIALLER_HELLO);
    ck_assert_uint_eq(count, 64);
    carry(&talk.dialler, &talk.listener, EVERYTHING, &rc);
    ck_assert_hex(tine__auth_output(&talk.listener, &count), 96, LISTENER_HELLO LISTENER_PROOF);
    ck_assert_uint_eq(count, 96);
    carry(&talk.listener, &talk.dialler, EVERYTHING, &rc);
    ck_assert_hex(tine__auth_output(&talk.dialler, &count), 32, DIALLER_PROOF);
    ck_assert_uint_eq(count, 32);
    ck_assert_rc(talk_over(&talk, EVERYTHING), 0);
    ck_assert_hex(session->send_key, sizeof session->send_key,
                  "6430b9aeb1980edf92744ff1e30587f4c56e10a5c9024654d06dbfa96497ffea");
    ck_assert_hex(session->receive_key, sizeof session->receive_key,
                  "2c38551a78e4eab9a908cda95907fd54cf543e2116539600da2d1c321db5351f");
    ck_assert_hex(session->send_check, sizeof session->send_check,
                  "66e88b998fc3d287eb58fdd89e5140ee");
    ck_assert_hex(session->receive_check, sizeof session->receive_check,
                  "b03f03f6438aa8103d018e8289958f53");
    talk_end(&talk);
}

/* The keys of a stream in clear need no more than the shared key; those of an encrypted one do. */
TEST(who_gets_the_key_later_opens_nothing, .loop_end = 2)
{
    uint8_t guess[TINE__MAC_BYTES];
    struct talk talk;

    talk_begin(&talk, "secret", "secret", false);
    talk.listener.terms.encrypt = loop_index == 1;
    ck_assert_rc(talk_over(&talk, EVERYTHING), 0);
    /* key and all bytes that went over the wire */
    tine__auth_mac(&talk.listener, "tine2 key S", talk.listener.transcript, 64 + 96 + 32, guess);
    ck_assert((memcmp(guess, talk.listener.session.send_key, sizeof guess) == 0) ==
              (loop_index == 0));
    talk_end(&talk);
}

/* Not even where both of another session were repeated but for what is never sent. */
TEST(no_two_sessions_have_the_same_keys)
{
    uint8_t keys[2][TINE__SESSION_KEY_BYTES];

    for (int i = 0; i < 2; i++) {
        struct talk talk;

        talk_begin(&talk, "secret", "secret", false);
        talk.listener.terms.encrypt = true;
        ck_assert_rc(talk_over(&talk, EVERYTHING), 0);
        memcpy(keys[i], talk.dialler.session.send_key, sizeof keys[i]);
        talk_end(&talk);
    }
    ck_assert_mem_ne(keys[0], keys[1], sizeof keys[0]);
}

TEST(what_was_secret_is_forgotten)
{
    static const struct tine__auth nothing;
    struct talk talk;

    talk_begin(&talk, "secret", "secret", false);
    talk.listener.terms.encrypt = true;
    ck_assert_rc(talk_over(&talk, EVERYTHING), 0);
    ck_assert_mem_ne(talk.listener.exchange, nothing.exchange, sizeof nothing.exchange);
    ck_assert_mem_eq(talk.listener.exchange, talk.dialler.exchange, sizeof nothing.exchange);
    tine__auth_end(&talk.listener);
    ck_assert_mem_eq(talk.listener.exchange, nothing.exchange, sizeof nothing.exchange);
    ck_assert_mem_eq(talk.listener.transcript, nothing.transcript, sizeof nothing.transcript);
    talk_end(&talk);
}

/* Somebody between the two, without the key, who puts a key of his own in place of theirs. */
TEST(nobody_stands_between, .loop_end = 2)
{
    struct talk talk;
    struct tine__auth intruder;
    uint8_t own[TINE__AUTH_EXCHANGE_BYTES];
    int rc;

    talk_begin(&talk, "secret", "secret", false);
    talk.listener.terms.encrypt = true;
    tine__auth_exchange_begin(&intruder, own);
    if (loop_index == 0)
        memcpy(talk.dialler.out + 32, own, sizeof own);
    carry(&talk.dialler, &talk.listener, EVERYTHING, &rc);
    ck_assert_rc(rc, 0);
    if (loop_index == 1)
        memcpy(talk.listener.out + 32, own, sizeof own);
    carry(&talk.listener, &talk.dialler, EVERYTHING, &rc);
    ck_assert_rc(rc, -EACCES);
    talk_end(&talk);
}

/* Of an order up to 8, and the same beyond the modulus: the product would be known to everybody. */
static const uint8_t low[][TINE__AUTH_EXCHANGE_BYTES] = {
    {0},
    {1},
    {0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3,
     0xfa, 0xf1, 0x9f, 0xc4, 0x6a, 0xda, 0x09, 0x8d, 0xeb, 0x9c, 0x32,
     0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49, 0xb8, 0x00},
    {0x5f, 0x9c, 0x95, 0xbc, 0xa3, 0x50, 0x8c, 0x24, 0xb1, 0xd0, 0xb1,
     0x55, 0x9c, 0x83, 0xef, 0x5b, 0x04, 0x44, 0x5c, 0xc4, 0x58, 0x1c,
     0x8e, 0x86, 0xd8, 0x22, 0x4e, 0xdd, 0xd0, 0x9f, 0x11, 0x57},
    {0xec, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
     0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
     0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f},
    {0xed, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
     0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
     0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f},
    {0xee, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
     0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
     0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f},
};
#define LOW ((int)(sizeof low / sizeof low[0]))

/* A peer that has the key, and says such a point. */
TEST(a_product_of_zero_is_refused, .loop_end = 2 * LOW)
{
    const uint8_t *point = low[loop_index / 2];
    struct talk talk;
    int rc;

    talk_begin(&talk, "secret", "secret", false);
    talk.listener.terms.encrypt = true;
    if (loop_index % 2 == 0) {
        memcpy(talk.dialler.out + 32, point, TINE__AUTH_EXCHANGE_BYTES);
        memcpy(talk.dialler.transcript + 32, point, TINE__AUTH_EXCHANGE_BYTES);
    }
    carry(&talk.dialler, &talk.listener, EVERYTHING, &rc);
    ck_assert_rc(rc, 0);
    if (loop_index % 2 == 1) {
        memcpy(talk.listener.out + 32, point, TINE__AUTH_EXCHANGE_BYTES);
        memcpy(talk.listener.transcript + 64 + 32, point, TINE__AUTH_EXCHANGE_BYTES);
        tine__auth_mac(&talk.listener, "tine2 S", talk.listener.transcript, 128,
                       talk.listener.out + 64);
    }
    ck_assert_rc(talk_over(&talk, EVERYTHING), TINE_EFORMAT);
    ck_assert(loop_index % 2 == 0 || !tine__auth_over(&talk.dialler));
    ck_assert(!tine__auth_over(&talk.listener));
    talk_end(&talk);
}

/* In clear nothing is to be kept secret, and a listener does not pay for it. */
TEST(a_stream_in_clear_has_no_exchange)
{
    static const uint8_t none[TINE__AUTH_EXCHANGE_BYTES];
    struct tine__hello_wire hello;
    struct talk talk;
    size_t count;
    int rc;

    talk_begin(&talk, "secret", "secret", false);
    carry(&talk.dialler, &talk.listener, EVERYTHING, &rc);
    memcpy(&hello, tine__auth_output(&talk.listener, &count), sizeof hello);
    ck_assert_mem_eq(hello.exchange, none, sizeof none);
    ck_assert_rc(talk_over(&talk, EVERYTHING), 0);
    ck_assert(!talk.dialler.session.encrypted && !talk.listener.session.encrypted);
    talk_end(&talk);
}

/* ---- what both want -------------------------------------------------------------------------- */

/* TINE_CHECK_DEFAULT, HEADER, FULL: full if one wants it, headers only if both do. */
TEST(both_agree_on_what_is_checked)
{
    static const int agreed[3][3] = {{0, 0, 2}, {0, 1, 2}, {2, 2, 2}};

    for (int i = 0; i < 9; i++) {
        struct tine__auth_terms terms = {.check = i / 3};
        struct talk talk;

        talk_begin(&talk, "secret", "secret", false);
        talk.listener.terms.check = i % 3;
        terms.key = talk.dialler_key;
        ck_assert_rc(tine__auth_begin(&talk.dialler, &terms), 0);
        ck_assert_rc(talk_over(&talk, EVERYTHING), 0);
        ck_assert_int_eq(talk.listener.session.check, agreed[i / 3][i % 3]);
        ck_assert_int_eq(talk.dialler.session.check, agreed[i / 3][i % 3]);
        talk_end(&talk);
    }
}

/* Every bit of a native handshake matters, in every message. */
TEST(one_flipped_bit_is_one_too_many, .timeout_s = 60, .loop_end = 2)
{
    for (size_t bit = 0; bit < 8 * (64 + 96 + 32); bit++) {
        size_t at = bit / 8, count;
        struct talk talk;
        int rc;

        talk_begin(&talk, "secret", "secret", false);
        talk.listener.terms.encrypt = loop_index == 1;
        if (at < 64)
            talk.dialler.out[at] ^= (uint8_t)(1U << bit % 8);
        carry(&talk.dialler, &talk.listener, EVERYTHING, &rc);
        if (at >= 64 && at < 160)
            talk.listener.out[at - 64] ^= (uint8_t)(1U << bit % 8);
        if (rc == 0)
            carry(&talk.listener, &talk.dialler, EVERYTHING, &rc);
        if (rc == 0 && at >= 160) {
            tine__auth_output(&talk.dialler, &count);
            ck_assert_uint_eq(count, 32);
            talk.dialler.out[at - 160] ^= (uint8_t)(1U << bit % 8);
            carry(&talk.dialler, &talk.listener, EVERYTHING, &rc);
        }
        ck_assert_msg(rc < 0, "bit %zu is not missed", bit);
        ck_assert(!tine__auth_over(&talk.listener));
        talk_end(&talk);
    }
}

TEST(another_version_is_told_ours)
{
    struct tine__hello_wire hello;
    struct talk talk;
    size_t count;
    int rc;

    talk_begin(&talk, "secret", "secret", false);
    talk.dialler.out[6]++;
    carry(&talk.dialler, &talk.listener, EVERYTHING, &rc);
    ck_assert_rc(rc, -EPROTO);
    memcpy(&hello, tine__auth_output(&talk.listener, &count), sizeof hello);
    ck_assert_uint_eq(count, 96);
    ck_assert_uint_eq(hello.version, TINE__HELLO_VERSION);
    talk_end(&talk);
}

TEST(the_dialler_refuses_another_version)
{
    struct talk talk;
    int rc;

    talk_begin(&talk, "secret", "secret", false);
    carry(&talk.dialler, &talk.listener, EVERYTHING, &rc);
    talk.listener.out[6]++;
    carry(&talk.listener, &talk.dialler, EVERYTHING, &rc);
    ck_assert_rc(rc, -EPROTO);
    ck_assert_str_eq(talk.dialler.reason, "it speaks another version of tine's handshake");
    talk_end(&talk);
}

/* What a dialler sent once does not open another session. */
TEST(a_replayed_handshake_is_refused)
{
    uint8_t hello[64], proof[32];
    static struct talk first, second;
    size_t count;
    int rc;

    talk_begin(&first, "secret", "secret", false);
    memcpy(hello, tine__auth_output(&first.dialler, &count), sizeof hello);
    carry(&first.dialler, &first.listener, EVERYTHING, &rc);
    carry(&first.listener, &first.dialler, EVERYTHING, &rc);
    memcpy(proof, tine__auth_output(&first.dialler, &count), sizeof proof);
    talk_begin(&second, "secret", "secret", false);
    ck_assert_uint_eq(hear(&second.listener, hello, sizeof hello, &rc), sizeof hello);
    ck_assert_rc(rc, 0);
    hear(&second.listener, proof, sizeof proof, &rc);
    ck_assert_rc(rc, -EACCES);
    talk_end(&first);
    talk_end(&second);
}

/* Sent back what it said, a side does not talk to itself. */
TEST(a_reflected_handshake_is_refused, .loop_end = 2)
{
    uint8_t bytes[2 * TINE__AUTH_BYTES];
    struct tine__auth *auth;
    struct talk talk;
    size_t count;
    int rc;

    talk_begin(&talk, "secret", "secret", python_of(loop_index));
    auth = python_of(loop_index) ? &talk.listener : &talk.dialler;
    memcpy(bytes, tine__auth_output(auth, &count), TINE__AUTH_BYTES);
    hear(auth, bytes, count, &rc);
    if (rc == 0) /* the dialler waits for more than its own hello */
        hear(auth, bytes, count, &rc);
    ck_assert_int_lt(rc, 0);
    talk_end(&talk);
}

/* A relay may carry the bytes; it then has keys for nothing. That is all that it can do. */
TEST(a_relay_has_no_session)
{
    static struct talk one, two;
    int rc;

    talk_begin(&one, "secret", "secret", false);
    talk_begin(&two, "wrong", "wrong", false);
    /* a listener without the key in front of the real dialler */
    carry(&one.dialler, &two.listener, EVERYTHING, &rc);
    carry(&two.listener, &one.dialler, EVERYTHING, &rc);
    ck_assert_rc(rc, -EACCES);
    talk_end(&one);
    talk_end(&two);
}

TEST(random_bytes_open_nothing, .loop_end = 4)
{
    for (int round = 0; round < 2000; round++) {
        struct tine__auth *auth;
        struct talk talk;
        uint8_t bytes[300];
        int rc;

        talk_begin(&talk, "secret", "secret", python_of(loop_index & 1));
        auth = loop_index < 2 ? &talk.listener : &talk.dialler;
        for (size_t i = 0; i < sizeof bytes; i++)
            bytes[i] = (uint8_t)random_u64();
        if (python_of(loop_index & 1))
            memcpy(bytes, "\0\0\0", 3);
        hear(auth, bytes, sizeof bytes, &rc);
        ck_assert(!tine__auth_over(auth));
        talk_end(&talk);
    }
}

static int say_python(struct tine__auth *auth, const char *bytes, size_t size)
{
    uint8_t message[4 + 300] = {0, 0, (uint8_t)(size >> 8), (uint8_t)size};
    int rc;

    memcpy(message + 4, bytes, size);
    hear(auth, message, 4 + size, &rc);
    return rc;
}

/* Python until 3.11: a challenge of 20 bytes and no digest's name. */
TEST(old_python_listener_is_refused)
{
    struct talk talk;

    talk_begin(&talk, "secret", "secret", true);
    ck_assert_rc(say_python(&talk.dialler, "#CHALLENGE#01234567890123456789", 31), -EPROTO);
    ck_assert_ptr_nonnull(strstr(talk.dialler.reason, "MD5"));
    talk_end(&talk);
}

TEST(old_python_dialler_is_refused)
{
    struct talk talk;
    size_t count;

    talk_begin(&talk, "secret", "secret", true);
    tine__auth_output(&talk.listener, &count);
    ck_assert_uint_eq(count, 63);
    tine__auth_sent(&talk.listener, count);
    ck_assert_rc(say_python(&talk.listener, "0123456789012345", 16), -EPROTO);
    ck_assert_ptr_nonnull(strstr(talk.listener.reason, "MD5"));
    ck_assert_mem_eq(tine__auth_output(&talk.listener, &count), "\0\0\0\x09#FAILURE#", 13);
    talk_end(&talk);
}

TEST(only_sha256_is_spoken)
{
    char challenge[11 + 5 + 40] = "#CHALLENGE#{md5}";
    struct talk talk;

    talk_begin(&talk, "secret", "secret", true);
    ck_assert_rc(say_python(&talk.dialler, challenge, sizeof challenge), -EPROTO);
    talk_end(&talk);
    talk_begin(&talk, "secret", "secret", true);
    ck_assert_rc(say_python(&talk.listener, "{md5}0123456789012345", 21), -EPROTO);
    talk_end(&talk);
}

TEST(a_python_message_of_257_bytes_is_refused)
{
    static const char bytes[257] = "#CHALLENGE#{sha256}";
    struct talk talk;

    talk_begin(&talk, "secret", "secret", true);
    ck_assert_rc(say_python(&talk.dialler, bytes, sizeof bytes), TINE_EFORMAT);
    talk_end(&talk);
    talk_begin(&talk, "secret", "secret", true);
    ck_assert_rc(say_python(&talk.dialler, bytes, 0), TINE_EFORMAT);
    talk_end(&talk);
}

TEST(without_a_key_python_shakes_no_hands)
{
    struct tine__auth_terms terms = {.python = true};
    struct tine__auth auth;

    ck_assert_rc(tine__auth_begin(&auth, &terms), 0);
    ck_assert(tine__auth_over(&auth));
    tine__auth_end(&auth);
}

/* Nothing behind the handshake is taken. */
TEST(the_first_message_stays_where_it_is, .loop_end = 2)
{
    struct talk talk;
    size_t room;

    talk_begin(&talk, "secret", "secret", python_of(loop_index));
    ck_assert_rc(talk_over(&talk, EVERYTHING), 0);
    tine__auth_space(&talk.listener, &room);
    ck_assert_uint_eq(room, 0);
    tine__auth_space(&talk.dialler, &room);
    ck_assert_uint_eq(room, 0);
    talk_end(&talk);
}

static void begin_without_key(void *context)
{
    struct talk *talk = context;
    struct tine__auth auth;
    size_t size;
    int rc;

    ck_assert_ptr_null(tine__secret_key(talk->listener_key, &size));
    ck_assert_rc(tine__auth_begin(&auth, &talk->listener.terms), TINE_EFORKED);
    carry(&talk->dialler, &talk->listener, EVERYTHING, &rc);
    ck_assert_rc(rc, TINE_EFORKED);
}

TEST(a_forked_child_has_no_key)
{
    struct child child;
    struct talk talk;

    talk_begin(&talk, "secret", "secret", false);
    child = child_start(begin_without_key, &talk);
    child_join(&child);
    ck_assert_rc(talk_over(&talk, EVERYTHING), 0);
    ck_assert(tine__auth_over(&talk.listener));
    talk_end(&talk);
}

/* doc/states.md: whatever a machine is fed in any state, it never gets from nowhere to done. */
TEST(every_state_refuses_what_it_did_not_ask_for, .loop_end = 2)
{
    for (int state = 0; state <= TINE__AUTH_FAILED; state++) {
        uint8_t nonsense[TINE__AUTH_BYTES];
        struct talk talk;
        int rc;

        memset(nonsense, 'n', sizeof nonsense);
        talk_begin(&talk, "secret", "secret", python_of(loop_index));
        tine__auth_go(&talk.listener, (enum tine__auth_state)state, 64);
        talk.listener.length_known = true;
        hear(&talk.listener, nonsense, 64, &rc);
        ck_assert_msg(rc < 0, "state %d takes nonsense", state);
        ck_assert_int_eq(talk.listener.state, TINE__AUTH_FAILED);
        talk_end(&talk);
    }
}

SUITE("ipc/auth")
