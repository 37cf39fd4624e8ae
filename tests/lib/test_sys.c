/* SPDX-License-Identifier: MIT */
#include "lib/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <tine/time.h>

#include "lib/clock.h"
#include "tests/support/children.h"
#include "tests/support/proc.h"
#include "tests/support/suite.h"
#include "tests/support/wait.h"

static bool is_cloexec(int fd)
{
    return (fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0;
}

static bool same_file(int a, int b)
{
    struct stat x, y;

    ck_assert_int_eq(fstat(a, &x), 0);
    ck_assert_int_eq(fstat(b, &y), 0);
    return x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

/* valgrind 3.19 does not know the call; a pidfd of itself a process gets all the same. */
static bool has_pidfd(void)
{
    int fd = tine__sys_pidfd_open(getppid());

    if (fd >= 0)
        close(fd);
    return fd != -ENOSYS;
}

TEST(descriptors_are_not_inherited_through_exec)
{
    int memfd = tine__sys_memfd("tine-test"), copy = tine__sys_dup(memfd);
    int file = tine__sys_tmpfile("/dev/shm", 0600), null = tine__sys_open("/dev/null", true);
    int ends[2];

    ck_assert(memfd >= 0 && copy >= 0 && file >= 0 && null >= 0);
    ck_assert_rc(tine__sys_socketpair(ends), 0);
    ck_assert(is_cloexec(memfd) && is_cloexec(ends[0]) && is_cloexec(ends[1]));
    ck_assert(is_cloexec(copy) && is_cloexec(file) && is_cloexec(null));
    close(copy);
    close(file);
    close(null);
    close(memfd);
    close(ends[0]);
    close(ends[1]);
}

static void open_without_standard_streams(void *unused)
{
    int ends[2], fd;

    (void)unused;
    for (fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        close(fd);
    fd = tine__sys_memfd("tine-test");
    ck_assert(fd > STDERR_FILENO);
    ck_assert(tine__sys_socketpair(ends) == 0 && ends[0] > STDERR_FILENO &&
              ends[1] > STDERR_FILENO);
    fd = tine__sys_pidfd_open(getpid());
    ck_assert(fd > STDERR_FILENO);
    fd = tine__sys_open("/dev/null", false);
    ck_assert(fd > STDERR_FILENO);
    fd = tine__sys_tmpfile("/dev/shm", 0600);
    ck_assert(fd > STDERR_FILENO);
    fd = tine__sys_dup(fd);
    ck_assert(fd > STDERR_FILENO);
}

TEST(descriptors_do_not_take_the_place_of_closed_standard_streams)
{
    struct child child = child_start(open_without_standard_streams, NULL);

    child_join(&child);
}

TEST(a_memfd_can_be_sealed)
{
    int fd = tine__sys_memfd("tine-test");

    ck_assert_ok(fd);
    ck_assert_int_eq(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK), 0);
    close(fd);
}

TEST(a_failed_call_returns_its_errno)
{
    _Atomic uint32_t words[2] = {0};
    const void *odd = (const char *)words + 1; /* a futex is aligned */
    char name[300];

    memset(name, 'x', sizeof name);
    name[sizeof name - 1] = '\0';
    ck_assert_rc(tine__sys_memfd(name), -EINVAL);
    ck_assert_rc(tine__sys_futex_wake(odd, 1), -EINVAL);
}

static void wait_for_ever(void *unused)
{
    (void)unused;
    pause();
}

TEST(a_failed_pidfd_call_returns_its_errno)
{
    if (!has_pidfd())
        SKIP("no pidfd_open here");
    ck_assert_rc(tine__sys_pidfd_open(-1), -EINVAL);
    ck_assert_rc(tine__sys_pidfd_kill(-1, 0), -EBADF);
}

TEST(a_pidfd_kills_and_tells_the_death)
{
    struct child child;
    int pidfd;

    if (!has_pidfd())
        SKIP("no pidfd_open here");
    child = child_start(wait_for_ever, NULL);
    pidfd = tine__sys_pidfd_open(child.pid);
    ck_assert_ok(pidfd);
    ck_assert(is_cloexec(pidfd));
    ck_assert_rc(tine__sys_poll_in(pidfd, 0), 0);
    ck_assert_rc(tine__sys_pidfd_kill(pidfd, SIGKILL), 0);
    ck_assert_rc(tine__sys_poll_in(pidfd, TINE_FOREVER), 1);
    ck_assert_int_eq(child_wait(&child), SIGKILL);
    ck_assert_rc(tine__sys_pidfd_kill(pidfd, 0), -ESRCH);
    close(pidfd);
}

TEST(poll_times_out_not_early)
{
    int ends[2];
    int64_t before = tine__now_ns();

    ck_assert_rc(tine__sys_socketpair(ends), 0);
    ck_assert_rc(tine__sys_poll_in(ends[0], TINE_MS(3)), 0);
    ck_assert_int_ge(tine__now_ns() - before, TINE_MS(3));
    close(ends[1]);
    ck_assert_rc(tine__sys_poll_in(ends[0], TINE_FOREVER), 1); /* hung up */
    close(ends[0]);
}

static void ignore_signal(int sig)
{
    (void)sig;
}

struct sleeper {
    _Atomic uint32_t word;
    _Atomic int tid;
    int result;
};

/* Waits on the word for ever, whatever signals come in. */
static void *sleep_on_word(void *context)
{
    struct sleeper *sleeper = context;

    atomic_store(&sleeper->tid, tine__sys_gettid());
    sleeper->result = tine__sys_futex_wait(&sleeper->word, 0, TINE_FOREVER);
    return NULL;
}

TEST(a_futex_waiter_is_woken_and_signals_do_not_end_the_wait, .own_signals = true)
{
    struct sigaction action = {.sa_handler = ignore_signal};
    struct sleeper sleeper = {.word = 0};
    pthread_t thread;

    sigaction(SIGUSR1, &action, NULL);
    ck_assert_int_eq(pthread_create(&thread, NULL, sleep_on_word, &sleeper), 0);
    ck_assert_eventually(sleeper.tid != 0 && proc_asleep(sleeper.tid));
    for (int i = 0; i < 10; i++) {
        pthread_kill(thread, SIGUSR1);
        ck_assert_eventually(proc_asleep(sleeper.tid));
    }
    atomic_store(&sleeper.word, 1);
    ck_assert_rc(tine__sys_futex_wake(&sleeper.word, 1), 1);
    pthread_join(thread, NULL);
    ck_assert_rc(sleeper.result, 0);
}

TEST(a_futex_wait_returns_at_once_when_the_value_differs)
{
    _Atomic uint32_t word = 7;

    ck_assert_rc(tine__sys_futex_wait(&word, 8, TINE_FOREVER), 0);
}

TEST(a_futex_wait_times_out_not_early)
{
    _Atomic uint32_t word = 7;
    int64_t before = tine__now_ns();

    ck_assert_rc(tine__sys_futex_wait(&word, 7, TINE_MS(3)), -ETIMEDOUT);
    ck_assert_int_ge(tine__now_ns() - before, TINE_MS(3));
    ck_assert_rc(tine__sys_futex_wait(&word, 7, 0), -ETIMEDOUT);
}

static void wait_on_shared_word(void *word)
{
    ck_assert_rc(tine__sys_futex_wait(word, 0, TINE_FOREVER), 0);
}

TEST(a_futex_works_between_processes)
{
    _Atomic uint32_t *word = shared_memory(sizeof *word);
    struct child child = child_start(wait_on_shared_word, word);

    ck_assert_eventually(proc_asleep(child.pid));
    ck_assert_eventually(tine__sys_futex_wake(word, 1) == 1);
    child_join(&child);
}

TEST(a_wake_without_waiters_wakes_none)
{
    _Atomic uint32_t word = 0;

    ck_assert_rc(tine__sys_futex_wake(&word, 1), 0);
}

TEST(a_record_arrives_with_its_descriptors)
{
    int ends[2], sent[2] = {STDIN_FILENO, STDOUT_FILENO}, received[4], count = 4;
    char record[16] = "";

    ck_assert_rc(tine__sys_socketpair(ends), 0);
    ck_assert_rc(tine__sys_send_fds(ends[0], "hello", 6, sent, 2, 0), 6);
    ck_assert_rc(tine__sys_recv_fds(ends[1], record, sizeof record, received, &count, 0), 6);
    ck_assert_str_eq(record, "hello");
    ck_assert_int_eq(count, 2);
    for (int i = 0; i < 2; i++) {
        ck_assert(is_cloexec(received[i]));
        ck_assert(same_file(received[i], sent[i]));
        close(received[i]);
    }
    close(ends[0]);
    close(ends[1]);
}

TEST(a_record_may_come_without_descriptors)
{
    int ends[2], received[1], count = 1;
    char record[8];

    ck_assert_rc(tine__sys_socketpair(ends), 0);
    ck_assert_rc(tine__sys_send_fds(ends[0], "x", 1, NULL, 0, 0), 1);
    ck_assert_rc(tine__sys_recv_fds(ends[1], record, sizeof record, received, &count, 0), 1);
    ck_assert_int_eq(count, 0);
    close(ends[0]);
    close(ends[1]);
}

/* More descriptors than the receiver has room for: none may stay behind in its table. */
TEST(descriptors_beyond_the_room_are_closed)
{
    int ends[2], sent[4] = {0, 1, 2, 0}, received[1], count = 1;
    char record[8];

    ck_assert_rc(tine__sys_socketpair(ends), 0);
    ck_assert_rc(tine__sys_send_fds(ends[0], "x", 1, sent, 4, 0), 1);
    ck_assert_rc(tine__sys_recv_fds(ends[1], record, sizeof record, received, &count, 0), -EPROTO);
    close(ends[0]);
    close(ends[1]);
}

/* The kernel cuts descriptors off (MSG_CTRUNC): a hostile peer sends more than the format allows.
 */
TEST(descriptors_that_the_kernel_cuts_off_are_refused_and_closed)
{
    int ends[2], received[4], count = 4, many[9] = {0};
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof many)];
    } control = {.bytes = {0}};
    struct iovec part = {.iov_base = "x", .iov_len = 1};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = sizeof control.bytes};
    char record[8];

    control.header.cmsg_level = SOL_SOCKET;
    control.header.cmsg_type = SCM_RIGHTS;
    control.header.cmsg_len = CMSG_LEN(sizeof many);
    memcpy(CMSG_DATA(&control.header), many, sizeof many);
    ck_assert_rc(tine__sys_socketpair(ends), 0);
    ck_assert_int_eq(sendmsg(ends[0], &message, 0), 1);
    ck_assert_rc(tine__sys_recv_fds(ends[1], record, sizeof record, received, &count, 0), -EPROTO);
    close(ends[0]);
    close(ends[1]);
}

TEST(a_record_cut_short_is_refused_and_its_descriptors_closed)
{
    int ends[2], sent = STDIN_FILENO, received[1], count = 1;
    char record[4];

    ck_assert_rc(tine__sys_socketpair(ends), 0);
    ck_assert_rc(tine__sys_send_fds(ends[0], "12345", 5, &sent, 1, 0), 5);
    ck_assert_rc(tine__sys_recv_fds(ends[1], record, sizeof record, received, &count, 0), -EPROTO);
    close(ends[0]);
    close(ends[1]);
}

TEST(too_many_descriptors_are_refused)
{
    int fds[5] = {0};

    ck_assert_rc(tine__sys_send_fds(-1, "x", 1, fds, 5, 0), -EINVAL);
    ck_assert_rc(tine__sys_send_fds(-1, "x", 1, fds, -1, 0), -EINVAL);
}

TEST(sending_to_a_closed_peer_is_an_error_and_no_signal)
{
    int ends[2], count = 0, none[1];
    char record[8];

    ck_assert_rc(tine__sys_socketpair(ends), 0);
    close(ends[1]);
    ck_assert_rc(tine__sys_send_fds(ends[0], "x", 1, NULL, 0, 0), -EPIPE);
    ck_assert_rc(tine__sys_recv_fds(ends[0], record, sizeof record, none, &count, 0), 0);
    close(ends[0]);
}

TEST(receiving_from_an_empty_socket_would_block)
{
    int ends[2], count = 0, none[1];
    char record[8];

    ck_assert_rc(tine__sys_socketpair(ends), 0);
    ck_assert_rc(tine__sys_recv_fds(ends[0], record, sizeof record, none, &count, MSG_DONTWAIT),
                 -EAGAIN);
    close(ends[0]);
    close(ends[1]);
}

SUITE("lib/sys")
