/* SPDX-License-Identifier: MIT */
/* Files that are sent, and known again by their text. */
#ifndef TINE_TESTS_IPC_SENT_FILES_H
#define TINE_TESTS_IPC_SENT_FILES_H

#include <tine/pipe.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/support/suite.h"

static inline int a_file(const char *text)
{
    int fd = memfd_create("sent", MFD_CLOEXEC);

    ck_assert_ok(fd);
    ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    return fd;
}

static inline void expect_file(int fd, const char *text)
{
    char room[64] = "";

    ck_assert_int_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
    ck_assert_int_eq(pread(fd, room, sizeof room, 0), (ssize_t)strlen(text));
    ck_assert_str_eq(room, text);
    close(fd);
}

#define FOUR(x) x, x, x, x

/* Seventeen are refused; sixteen come. */
static inline void send_sixteen(tine_connection *a, tine_connection *b)
{
    int fd = a_file("x"), got[16];

    ck_assert_rc(
        tine_connection_send(a, 0, "FFFFFFFFFFFFFFFFF", FOUR(fd), FOUR(fd), FOUR(fd), FOUR(fd), fd),
        -EMFILE);
    ck_assert_rc(
        tine_connection_send(a, 0, "FFFFFFFFFFFFFFFF", FOUR(fd), FOUR(fd), FOUR(fd), FOUR(fd)), 0);
    ck_assert_rc(tine_connection_recv(b, 0, "FFFFFFFFFFFFFFFF", &got[0], &got[1], &got[2], &got[3],
                                      &got[4], &got[5], &got[6], &got[7], &got[8], &got[9],
                                      &got[10], &got[11], &got[12], &got[13], &got[14], &got[15]),
                 0);
    for (int i = 0; i < 16; i++)
        expect_file(got[i], "x");
    close(fd);
}

#endif
