/* SPDX-License-Identifier: MIT */
#include "ipc/encrypt.h"

#include <string.h>

#include "tests/support/random.h"
#include "tests/support/suite.h"

#define TEXT  "attack at dawn"
#define SIZE  (sizeof TEXT)
#define BOXED (SIZE + TINE__BOX_EXTRA)

struct ends {
    struct tine__encryption *a, *b;
};

static void begin(struct ends *ends)
{
    struct tine__session session = {.encrypted = true}, mirror = {.encrypted = true};
    uint8_t start[TINE__BOX_START];

    for (size_t i = 0; i < sizeof session.send_key; i++) {
        session.send_key[i] = mirror.receive_key[i] = (uint8_t)random_u64();
        session.receive_key[i] = mirror.send_key[i] = (uint8_t)random_u64();
    }
    ck_assert_rc(tine__encryption_open(&ends->a, &session), 0);
    ck_assert_rc(tine__encryption_open(&ends->b, &mirror), 0);
    tine__encrypt_start(ends->a, start);
    ck_assert_rc(tine__decrypt_start(ends->b, start), 0);
    tine__encrypt_start(ends->b, start);
    ck_assert_rc(tine__decrypt_start(ends->a, start), 0);
}

static void end(struct ends *ends)
{
    tine__encryption_close(ends->a);
    tine__encryption_close(ends->b);
}

TEST(what_goes_in_comes_out)
{
    uint8_t box[BOXED];
    struct ends ends;
    char text[SIZE];
    bool last;

    begin(&ends);
    for (int i = 0; i < 10; i++) {
        tine__encrypt(ends.a, box, TEXT, SIZE, i % 2 == 0);
        ck_assert_rc(tine__decrypt(ends.b, text, box, BOXED, &last), 0);
        ck_assert_str_eq(text, TEXT);
        ck_assert_int_eq(last, i % 2 == 0);
        tine__encrypt(ends.b, box, TEXT, SIZE, true);
        ck_assert_rc(tine__decrypt(ends.a, text, box, BOXED, &last), 0);
    }
    end(&ends);
}

TEST(a_changed_bit_is_seen)
{
    uint8_t box[BOXED];
    struct ends ends;
    char text[SIZE];
    bool last;

    for (size_t bit = 0; bit < 8 * BOXED; bit++) {
        begin(&ends);
        tine__encrypt(ends.a, box, TEXT, SIZE, true);
        box[bit / 8] ^= (uint8_t)(1U << bit % 8);
        ck_assert_rc(tine__decrypt(ends.b, text, box, BOXED, &last), TINE_ECHECKSUM);
        end(&ends);
    }
}

TEST(repeated_dropped_and_returned_boxes_are_seen)
{
    uint8_t one[BOXED], two[BOXED];
    struct ends ends;
    char text[SIZE];
    bool last;

    begin(&ends);
    tine__encrypt(ends.a, one, TEXT, SIZE, true);
    tine__encrypt(ends.a, two, TEXT, SIZE, true);
    ck_assert_rc(tine__decrypt(ends.b, text, two, BOXED, &last), TINE_ECHECKSUM);
    ck_assert_rc(tine__decrypt(ends.a, text, one, BOXED, &last), TINE_ECHECKSUM);
    ck_assert_rc(tine__decrypt(ends.b, text, one, BOXED, &last), 0);
    ck_assert_rc(tine__decrypt(ends.b, text, one, BOXED, &last), TINE_ECHECKSUM);
    end(&ends);
}

TEST(a_cut_box_is_seen)
{
    uint8_t box[BOXED];
    struct ends ends;
    char text[SIZE];
    bool last;

    begin(&ends);
    tine__encrypt(ends.a, box, TEXT, SIZE, true);
    for (size_t size = TINE__BOX_EXTRA; size < BOXED; size++)
        ck_assert_rc(tine__decrypt(ends.b, text, box, size, &last), TINE_ECHECKSUM);
    ck_assert_rc(tine__decrypt(ends.b, text, box, BOXED, &last), 0);
    end(&ends);
}

SUITE("ipc/encrypt")
