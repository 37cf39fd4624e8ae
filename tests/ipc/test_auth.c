/* SPDX-License-Identifier: MIT */
/* Both handshakes as machines on bytes. Sockets, and real Pythons, are in test_listener.c. */
#include "ipc/auth.h"
#include "ipc/auth_native.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/ipc/talk.h"
#include "tests/support/children.h"
#include "tests/support/random.h"
#include "tests/support/suite.h"

#define EVERYTHING SIZE_MAX

static bool python_of(int loop_index)
{
    return loop_index == 1;
}

TEST(both_sides_agree, .loop_end = 2)
{
    struct talk talk;

    talk_begin(&talk, "secret", "secret", python_of(loop_index));
    ck_assert_rc(talk_over(&talk, EVERYTHING), 0);
    ck_assert(tine__auth_over(&talk.listener) && tine__auth_over(&talk.dialler));
    talk_end(&talk);
}

TEST(bytes_may_come_one_by_one, .loop_end = 2)
{
    struct talk talk;

    talk_begin(&talk, "secret", "secret", python_of(loop_index));
    ck_assert_rc(talk_over(&talk, 1), 0);
    ck_assert(tine__auth_over(&talk.listener) && tine__auth_over(&talk.dialler));
    talk_end(&talk);
}

TEST(keys_may_have_any_length, .loop_end = 2)
{
    static const size_t lengths[] = {0, 1, 32, 63, 64, 65, 200, 4000};

    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        static struct talk talk;
        static char key[4001];

        memset(key, 'k', lengths[i]);
        key[lengths[i]] = '\0';
        talk_begin(&talk, key, key, python_of(loop_index));
        ck_assert_rc(talk_over(&talk, EVERYTHING), 0);
        ck_assert(tine__auth_over(&talk.listener) && tine__auth_over(&talk.dialler));
        talk_end(&talk);
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
TEST(one_flipped_bit_is_one_too_many, .timeout_s = 60)
{
    for (size_t bit = 0; bit < 8 * (64 + 96 + 32); bit++) {
        size_t at = bit / 8, count;
        struct talk talk;
        int rc;

        talk_begin(&talk, "secret", "secret", false);
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
    talk.dialler.out[6] = 2;
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
    talk.listener.out[6] = 2;
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
