/* SPDX-License-Identifier: MIT */
#include "lib/record.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <tine/time.h>

#include "lib/clock.h"
#include "lib/sys.h"
#include "tests/support/suite.h"

static int ends[2];

static void begin(void)
{
    ck_assert_rc(tine__sys_socketpair(ends), 0);
}

static void end(void)
{
    close(ends[0]);
    close(ends[1]);
}

static int send_text(const char *text, size_t size, const int *fds, uint32_t count)
{
    struct iovec parts[2] = {{(void *)(uintptr_t)text, size / 2},
                             {(void *)(uintptr_t)(text + size / 2), size - size / 2}};

    return tine__record_send(ends[0], parts, 2, fds, count, MSG_DONTWAIT);
}

static ssize_t receive(size_t room, int *fds, uint32_t *count)
{
    static char bytes[100];
    struct iovec part = {bytes, room};

    return tine__record_recv(ends[1], &part, 1, fds, count, MSG_DONTWAIT);
}

TEST(a_record_of_parts_is_received_as_one)
{
    uint32_t none = 0;

    begin();
    ck_assert(tine__record_is_empty(ends[1]) && !tine__record_is_unsent(ends[0]));
    ck_assert_rc(send_text("abc", 3, NULL, 0), 0);
    ck_assert(!tine__record_is_empty(ends[1]) && tine__record_is_unsent(ends[0]));
    ck_assert_int_eq(receive(100, NULL, &none), 3);
    ck_assert(tine__record_is_empty(ends[1]) && !tine__record_is_unsent(ends[0]));
    ck_assert_int_eq(receive(100, NULL, &none), -EAGAIN);
    end();
}

/* What is cut off is lost, with the descriptors beside it; the next one is whole. */
TEST(a_record_that_is_too_long_is_said_to_be)
{
    int fds[TINE__RECORD_FDS], fd = STDIN_FILENO;
    uint32_t count = TINE__RECORD_FDS;

    begin();
    ck_assert_rc(send_text("abc", 3, &fd, 1), 0);
    ck_assert_rc(send_text("de", 2, NULL, 0), 0);
    ck_assert_int_eq(receive(2, fds, &count), -EBADMSG);
    count = TINE__RECORD_FDS;
    ck_assert_int_eq(receive(2, fds, &count), 2);
    ck_assert_uint_eq(count, 0);
    end();
}

TEST(descriptors_beyond_the_room_are_closed)
{
    int sent[TINE__RECORD_FDS + 1] = {0}, got[3];
    uint32_t count = 3;

    begin();
    ck_assert_rc(send_text("abc", 3, sent, TINE__RECORD_FDS + 1), -EINVAL);
    ck_assert_rc(send_text("abc", 3, sent, TINE__RECORD_FDS), 0);
    ck_assert_int_eq(receive(100, got, &count), 3);
    ck_assert_uint_eq(count, 3);
    for (uint32_t i = 0; i < count; i++) {
        ck_assert_int_eq(fcntl(got[i], F_GETFD), FD_CLOEXEC);
        close(got[i]);
    }
    end();
}

TEST(a_blocking_call_returns_after_its_slice)
{
    char byte;
    struct iovec part = {&byte, 1};
    uint32_t none = 0;
    int64_t start;

    begin();
    ck_assert_rc(tine__record_slices(ends[1], TINE_MS(30)), 0);
    start = tine__now_ns();
    ck_assert_int_eq(tine__record_recv(ends[1], &part, 1, NULL, &none, 0), -EAGAIN);
    ck_assert_int_ge(tine__now_ns() - start, TINE_MS(25)); /* in ticks of the kernel's */
    ck_assert_int_eq(tine__record_poll(ends[1], POLLIN, TINE_MS(3)), 0);
    ck_assert_int_ge(tine__now_ns() - start, TINE_MS(28));
    end();
}

TEST(the_end_is_seen_from_both_sides)
{
    uint32_t none = 0;

    begin();
    ck_assert(!tine__record_hung_up(ends[0]) && !tine__record_at_end(ends[1]));
    ck_assert_rc(send_text("x", 1, NULL, 0), 0);
    close(ends[0]);
    ck_assert(!tine__record_at_end(ends[1])); /* something is left */
    ck_assert_int_eq(receive(1, NULL, &none), 1);
    ck_assert(tine__record_at_end(ends[1]) && tine__record_hung_up(ends[1]));
    ck_assert_int_eq(tine__record_poll(ends[1], POLLIN, 0), 1);
    ck_assert_int_eq(receive(1, NULL, &none), 0);
    ck_assert_rc(tine__record_slices(ends[0], TINE_MS(30)), -EBADF);
    close(ends[1]);
}

SUITE("lib/record")
