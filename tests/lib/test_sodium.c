/* SPDX-License-Identifier: MIT */
#include "lib/sodium.h"

#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "lib/checksum.h"
#include "tests/support/children.h"
#include "tests/support/suite.h"

/* A start that takes as long as the test wants. */
static atomic_int starts;
static int begun[2], may_end[2];

int __wrap_sodium_init(void);

int __wrap_sodium_init(void)
{
    char byte = 0;

    atomic_fetch_add(&starts, 1);
    ck_assert_int_eq(write(begun[1], &byte, 1), 1);
    ck_assert_int_eq(read(may_end[0], &byte, 1), 1);
    return 0;
}

static void *start(void *context)
{
    tine__sodium_start();
    return context;
}

static void make_digest(void *context)
{
    uint8_t digest[TINE__DIGEST_BYTES];

    tine__digest("", 0, "", 0, digest);
    ck_assert_mem_eq(digest, context, sizeof digest);
}

/* Its own lock would never be given back in the child. */
TEST(a_child_forked_in_the_midst_does_not_wait)
{
    uint8_t digest[] = "\x0e\x57\x51\xc0\x26\xe5\x43\xb2\xe8\xab\x2e\xb0\x60\x99\xda\xa1"
                       "\xd1\xe5\xdf\x47\x77\x8f\x77\x87\xfa\xab\x45\xcd\xf1\x2f\xe3\xa8";
    struct child child;
    pthread_t thread;
    char byte;

    ck_assert_int_eq(pipe(begun), 0);
    ck_assert_int_eq(pipe(may_end), 0);
    ck_assert_int_eq(pthread_create(&thread, NULL, start, NULL), 0);
    ck_assert_int_eq(read(begun[0], &byte, 1), 1);
    child = child_start(make_digest, digest);
    child_join(&child);
    make_digest(digest); /* nor does another thread */
    ck_assert_int_eq(write(may_end[1], &byte, 1), 1);
    pthread_join(thread, NULL);
    tine__sodium_start();
    ck_assert_int_eq(atomic_load(&starts), 1);
    for (int i = 0; i < 2; i++) {
        close(begun[i]);
        close(may_end[i]);
    }
}

SUITE("lib/sodium")
