/* SPDX-License-Identifier: MIT */
#include <tine/listener.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <tine/heap.h>
#include <tine/log.h>

#include "ipc/address.h"
#include "lib/sys.h"
#include "tests/ipc/meet.h"
#include "tests/support/children.h"
#include "tests/support/files.h"
#include "tests/support/hunt.h"
#include "tests/support/random.h"
#include "tests/support/samples.h"
#include "tests/support/suite.h"
#include "tests/support/wait.h"

#define KEY .key = "0123456789abcdef0123456789abcdef", .key_size = 32

/* ---- what the log says ----------------------------------------------------------------------- */

static pthread_mutex_t log_mutex = PTHREAD_MUTEX_INITIALIZER;
static char lines[8192];

static void keep_line(int level, const char *text, void *context)
{
    size_t length;

    (void)level;
    (void)context;
    pthread_mutex_lock(&log_mutex);
    length = strlen(lines);
    snprintf(lines + length, sizeof lines - length, "%s\n", text);
    pthread_mutex_unlock(&log_mutex);
}

static void log_begin(void)
{
    tine_log_set_sink(keep_line, NULL);
    tine_log_set_level(TINE_LOG_WARNING);
}

#define ck_assert_logged(words)                                                                    \
    ck_assert_msg(strstr(lines, words) != NULL, "the log says \"%s\"", lines)

/* ---- strangers ------------------------------------------------------------------------------- */

/* Until the listener has hung up; how many bytes came before. */
static size_t await_end(int fd)
{
    char bytes[512];
    size_t came = 0;
    ssize_t count;

    do {
        ck_assert_int_eq(tine__sys_poll_in(fd, TINE_SEC(20)), 1);
        count = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT);
        if (count > 0)
            came += (size_t)count;
    } while (count > 0);
    return came;
}

static void accept_nobody(tine_listener *listener, int64_t timeout_ns)
{
    tine_connection *connection;

    ck_assert_rc(tine_listener_accept(listener, timeout_ns, &connection),
                 timeout_ns == 0 ? -EAGAIN : -ETIMEDOUT);
}

/* Until the dial is over: what it has said. */
static int refuse(tine_listener *listener, struct dialling *dialling)
{
    while (!dialling->over)
        accept_nobody(listener, TINE_MS(5));
    return dialling_end(dialling);
}

/* The listener is well: a client gets in, and is heard. */
static void check_well(tine_listener *listener, const tine_dial_options *options)
{
    tine_connection *a, *b;
    int64_t number;

    meet(listener, options, &a, &b);
    ck_assert_rc(tine_connection_send(b, TINE_FOREVER, "q", INT64_C(42)), 0);
    ck_assert_rc(tine_connection_recv(a, TINE_FOREVER, "q", &number), 0);
    ck_assert_int_eq(number, 42);
    tine_connection_close(a);
    tine_connection_close(b);
}

/* ---- who meets ------------------------------------------------------------------------------- */

#define ADDRESSES 4
#define WAYS      4 /* of talking, at an address */

static tine_listener_options listener_way(int way)
{
    return (tine_listener_options){KEY, .protocol = way == 3,
                                   .encryption = way == 1 ? TINE_ENCRYPT_ALWAYS : 0};
}

static tine_dial_options dial_way(int way)
{
    return (tine_dial_options){KEY, .protocol = way == 3,
                               .encryption = way == 2 ? TINE_ENCRYPT_ALWAYS : 0};
}

static const char *address_of(int index)
{
    const char *const addresses[ADDRESSES] = {NULL, own_address(), "tcp://127.0.0.1:0",
                                              "tcp://[::1]:0"};

    return addresses[index];
}

/* False: there is no IPv6 here. */
static bool meet_somehow(int index, tine_connection **a, tine_connection **b)
{
    tine_listener_options options = listener_way(index % WAYS);
    tine_dial_options dial = dial_way(index % WAYS);
    tine_listener *listener;
    int rc = tine_listener_open(&listener, address_of(index / WAYS), &options);

    if (rc == -EADDRNOTAVAIL || rc == -EAFNOSUPPORT)
        return false;
    ck_assert_rc(rc, 0);
    meet(listener, &dial, a, b);
    tine_listener_close(listener);
    return true;
}

static void echo(tine_connection *from, tine_connection *to, const uint8_t *bytes, size_t size)
{
    void *received;
    size_t count;

    ck_assert_rc(tine_connection_send_bytes(from, bytes, size, TINE_FOREVER), 0);
    ck_assert_rc(tine_connection_recv_bytes(to, TINE_FOREVER, &received, &count), 0);
    ck_assert_uint_eq(count, size);
    ck_assert(size == 0 || memcmp(received, bytes, size) == 0);
    free(received);
}

TEST(two_meet_and_talk, .loop_end = ADDRESSES * WAYS)
{
    static const size_t sizes[] = {0, 1, 63, 64, 4096, 16384, 65536, 65537};
    static uint8_t bytes[65537];
    tine_connection *a, *b;

    if (!meet_somehow(loop_index, &a, &b))
        SKIP("no IPv6 here");
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * 7 >> 3);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        echo(a, b, bytes, sizes[i]);
        echo(b, a, bytes, sizes[i]);
    }
    tine_connection_close(a);
    ck_assert_rc(tine_connection_poll(b, TINE_FOREVER), 1);
    ck_assert_rc(tine_connection_recv(b, TINE_FOREVER, "q", NULL), TINE_EEOF);
    tine_connection_close(b);
}

struct burst {
    tine_connection *connection;
    size_t size;
    int rc;
};

static void *send_large(void *context)
{
    struct burst *burst = context;
    uint8_t *bytes = malloc(burst->size);

    for (size_t i = 0; i < burst->size; i++)
        bytes[i] = (uint8_t)(i >> 5);
    burst->rc = tine_connection_send_bytes(burst->connection, bytes, burst->size, TINE_FOREVER);
    free(bytes);
    return NULL;
}

TEST(large_messages_arrive, .loop_end = WAYS)
{
    struct burst burst = {.size = 20000000};
    tine_connection *a, *b;
    pthread_t thread;
    uint8_t *bytes;
    size_t size;

    meet_somehow(loop_index, &a, &b);
    burst.connection = a;
    ck_assert_int_eq(pthread_create(&thread, NULL, send_large, &burst), 0);
    ck_assert_rc(tine_connection_recv_bytes(b, TINE_FOREVER, (void **)&bytes, &size), 0);
    pthread_join(thread, NULL);
    ck_assert_rc(burst.rc, 0);
    ck_assert_uint_eq(size, burst.size);
    for (size_t i = 0; i < size; i += 97)
        ck_assert_uint_eq(bytes[i], (uint8_t)(i >> 5));
    free(bytes);
    tine_connection_close(a);
    tine_connection_close(b);
}

#define SENDERS  4
#define MESSAGES 300

static void *send_many(void *context)
{
    struct burst *burst = context;
    uint8_t bytes[3000];

    memset(bytes, (int)burst->size, sizeof bytes);
    for (int i = 0; i < MESSAGES && burst->rc == 0; i++)
        burst->rc =
            tine_connection_send_bytes(burst->connection, bytes, burst->size * 700, TINE_FOREVER);
    return NULL;
}

TEST(many_threads_send_whole_messages, .loop_end = WAYS)
{
    struct burst bursts[SENDERS];
    pthread_t threads[SENDERS];
    tine_connection *a, *b;
    int came[SENDERS + 1] = {0};

    meet_somehow(loop_index, &a, &b);
    for (size_t i = 0; i < SENDERS; i++) {
        bursts[i] = (struct burst){.connection = a, .size = i + 1};
        ck_assert_int_eq(pthread_create(&threads[i], NULL, send_many, &bursts[i]), 0);
    }
    for (int i = 0; i < SENDERS * MESSAGES; i++) {
        uint8_t bytes[3000];
        size_t size;

        ck_assert_rc(tine_connection_recv_bytes_into(b, bytes, sizeof bytes, TINE_FOREVER, &size),
                     0);
        ck_assert_uint_eq(size % 700, 0);
        for (size_t j = 0; j < size; j++)
            ck_assert_uint_eq(bytes[j], size / 700);
        came[size / 700]++;
    }
    for (size_t i = 0; i < SENDERS; i++) {
        pthread_join(threads[i], NULL);
        ck_assert_rc(bursts[i].rc, 0);
        ck_assert_int_eq(came[i + 1], MESSAGES);
    }
    tine_connection_close(a);
    tine_connection_close(b);
}

TEST(another_key_is_refused, .loop_end = 2)
{
    tine_listener_options options = {KEY, .protocol = loop_index};
    tine_dial_options right = {KEY, .protocol = loop_index},
                      wrong = {.key = "x", .key_size = 1, .protocol = loop_index};
    struct dialling dialling;
    tine_listener *listener;

    log_begin();
    ck_assert_rc(tine_listener_open(&listener, "tcp://127.0.0.1:0", &options), 0);
    dialling_start(&dialling, listener, &wrong);
    ck_assert_rc(refuse(listener, &dialling), -EACCES);
    ck_assert_logged("is dropped");
    check_well(listener, &right);
    tine_listener_close(listener);
}

TEST(who_has_a_key_and_who_has_none_do_not_meet)
{
    struct dialling dialling;
    tine_listener *listener;

    ck_assert_rc(tine_listener_open(&listener, NULL, NULL), 0);
    dialling_start(&dialling, listener, &(tine_dial_options){KEY});
    ck_assert_rc(refuse(listener, &dialling), -EACCES);
    check_well(listener, NULL);
    tine_listener_close(listener);
}

/* ---- arguments ------------------------------------------------------------------------------- */

static int open_and_close(const char *address, tine_listener_options options)
{
    tine_listener *listener;
    int rc = tine_listener_open(&listener, address, &options);

    if (rc == 0)
        tine_listener_close(listener);
    return rc;
}

TEST(options_are_checked)
{
    const char *tcp = "tcp://127.0.0.1:0";
    tine_listener *listener;

    ck_assert_rc(tine_listener_open(NULL, NULL, NULL), -EINVAL);
    ck_assert_rc(tine_listener_open(&listener, "nowhere", NULL), -EINVAL);
    ck_assert_rc(open_and_close(tcp, (tine_listener_options){0}), -EINVAL);
    ck_assert_rc(open_and_close(tcp, (tine_listener_options){.key = ""}), 0);
    ck_assert_rc(open_and_close(NULL, (tine_listener_options){.any_user = true}), -EINVAL);
    ck_assert_rc(open_and_close(NULL, (tine_listener_options){KEY, .any_user = true}), 0);
    ck_assert_rc(open_and_close(NULL, (tine_listener_options){.key_size = 1}), -EINVAL);
    ck_assert_rc(open_and_close(NULL, (tine_listener_options){.protocol = 2}), -EINVAL);
    ck_assert_rc(open_and_close(NULL, (tine_listener_options){.encryption = 3}), -EINVAL);
    ck_assert_rc(open_and_close(NULL, (tine_listener_options){.protocol = 1, .encryption = 1}),
                 -EINVAL);
    ck_assert_rc(open_and_close(NULL, (tine_listener_options){.mode = 010000}), -EINVAL);
    ck_assert_rc(open_and_close(NULL, (tine_listener_options){.handshake_timeout_ns = -1}),
                 -EINVAL);
    ck_assert_rc(open_and_close(NULL, (tine_listener_options){.reserved = {0, 1}}), -E2BIG);
    ck_assert_rc(open_and_close(NULL, (tine_listener_options){.reserved8 = {1}}), -E2BIG);
    ck_assert_rc(tine_listener_accept(NULL, 0, NULL), -EINVAL);
    ck_assert_rc(tine_listener_fileno(NULL), -EINVAL);
    ck_assert_ptr_null(tine_listener_address(NULL));
    tine_listener_close(NULL);
}

TEST(dial_options_are_checked)
{
    tine_connection *connection;

    ck_assert_rc(tine_dial(NULL, "unix:@x", NULL), -EINVAL);
    ck_assert_rc(tine_dial(&connection, NULL, NULL), -EINVAL);
    ck_assert_rc(tine_dial(&connection, "tcp://127.0.0.1:1", NULL), -EINVAL);
    ck_assert_rc(tine_dial(&connection, "unix:@x", &(tine_dial_options){.protocol = -1}), -EINVAL);
    ck_assert_rc(tine_dial(&connection, "unix:@x", &(tine_dial_options){.reserved = {1}}), -E2BIG);
    ck_assert_rc(tine_dial(&connection, own_address(), NULL), -ECONNREFUSED);
}

TEST(nobody_comes)
{
    tine_listener *listener;

    ck_assert_rc(tine_listener_open(&listener, NULL, NULL), 0);
    accept_nobody(listener, 0);
    accept_nobody(listener, TINE_MS(5));
    tine_listener_close(listener);
}

TEST(two_do_not_listen_at_one_address)
{
    tine_listener *first, *second;

    ck_assert_rc(tine_listener_open(&first, own_address(), NULL), 0);
    ck_assert_rc(tine_listener_open(&second, own_address(), NULL), -EADDRINUSE);
    tine_listener_close(first);
    ck_assert_rc(tine_listener_open(&second, own_address(), NULL), 0);
    tine_listener_close(second);
}

TEST(a_socket_file_goes_with_its_listener)
{
    struct files files;
    tine_listener *listener;
    char address[300];

    files_begin(&files);
    snprintf(address, sizeof address, "unix:%s", files_path(&files, "s"));
    ck_assert_rc(tine_listener_open(&listener, address, NULL), 0);
    ck_assert_str_eq(tine_listener_address(listener), address);
    check_well(listener, NULL);
    ck_assert_int_eq(access(files_path(&files, "s"), F_OK), 0);
    tine_listener_close(listener);
    ck_assert_int_eq(access(files_path(&files, "s"), F_OK), -1);
    files_end(&files);
}

static void use_in_child(void *context)
{
    tine_connection *connection;

    ck_assert_rc(tine_listener_accept(context, 0, &connection), TINE_EFORKED);
    tine_listener_close(context);
}

TEST(a_forked_child_only_closes_its_copy)
{
    struct files files;
    struct child child;
    tine_listener *listener;
    char address[300];

    files_begin(&files);
    snprintf(address, sizeof address, "unix:%s", files_path(&files, "s"));
    ck_assert_rc(tine_listener_open(&listener, address, NULL), 0);
    child = child_start(use_in_child, listener);
    child_join(&child);
    check_well(listener, NULL);
    tine_listener_close(listener);
    files_end(&files);
}

/* ---- users ----------------------------------------------------------------------------------- */

#define NOBODY 65534

struct foreigner {
    const char *address;
    int rc;
};

static void dial_as_nobody(void *context)
{
    const struct foreigner *foreigner = context;
    tine_dial_options options = {KEY, .any_user = true};
    tine_connection *connection;
    int rc;

    ck_assert_int_eq(setgid(NOBODY), 0);
    ck_assert_int_eq(setuid(NOBODY), 0);
    ck_assert_rc(tine_dial(&connection, foreigner->address, NULL), -EACCES);
    rc = tine_dial(&connection, foreigner->address, &options);
    ck_assert_rc(rc, foreigner->rc);
    if (rc == 0)
        tine_connection_close(connection);
}

/* Neither side takes another user for its own, unless both say so. */
TEST(other_users_stay_out, .loop_end = 2)
{
    tine_listener_options options = {KEY, .any_user = loop_index == 1};
    struct foreigner foreigner = {.rc = loop_index == 1 ? 0 : -ECONNRESET};
    tine_connection *connection;
    tine_listener *listener;
    struct child child;

    if (geteuid() != 0)
        SKIP("only root can be another user");
    log_begin();
    ck_assert_rc(tine_listener_open(&listener, NULL, &options), 0);
    foreigner.address = tine_listener_address(listener);
    child = child_start(dial_as_nobody, &foreigner);
    if (loop_index == 1) {
        ck_assert_rc(tine_listener_accept(listener, TINE_SEC(20), &connection), 0);
        tine_connection_close(connection);
    } else {
        while (strstr(lines, "another user's") == NULL)
            accept_nobody(listener, TINE_MS(5));
    }
    child_join(&child);
    check_well(listener, &(tine_dial_options){KEY});
    tine_listener_close(listener);
}

/* ---- clients that do not behave -------------------------------------------------------------- */

#define CROWD  40
#define PLACES 16 /* of a listener, for those who are not known yet */

TEST(who_says_nothing_delays_nobody, .loop_end = 2)
{
    tine_listener_options options = {KEY, .protocol = loop_index};
    tine_dial_options dial = {KEY, .protocol = loop_index};
    tine_listener *listener;
    int mute[CROWD];

    log_begin();
    ck_assert_rc(tine_listener_open(&listener, "tcp://127.0.0.1:0", &options), 0);
    for (int i = 0; i < CROWD; i++)
        mute[i] = stranger(listener);
    for (int i = 0; i < 5; i++)
        check_well(listener, &dial);
    ck_assert_logged("others came");
    for (int i = 0; i < CROWD - PLACES; i++)
        await_end(mute[i]);
    for (int i = 0; i < CROWD; i++)
        close(mute[i]);
    tine_listener_close(listener);
}

static void flood(void *context)
{
    tine_listener *listener = context;
    int fds[100];

    for (unsigned i = 0;; i++) {
        if (i >= 100)
            close(fds[i % 100]);
        fds[i % 100] = stranger(listener);
    }
}

/* New ones all the time, who say nothing: who answers still gets in. */
TEST(a_flood_of_the_mute_keeps_nobody_out, .loop_end = 2)
{
    tine_listener_options options = {KEY, .protocol = loop_index};
    tine_dial_options dial = {KEY, .protocol = loop_index};
    struct samples samples = {.name = "listener.flooded", .bound_ns = (uint64_t)TINE_MS(100)};
    tine_listener *listener;
    struct child child;

    ck_assert_rc(tine_listener_open(&listener, NULL, &options), 0);
    child = child_start(flood, listener);
    for (int i = 0; i < 20; i++) {
        int64_t begin = now_ns();

        check_well(listener, &dial);
        samples_add(&samples, (uint64_t)(now_ns() - begin));
    }
    child_kill(&child);
    tine_listener_close(listener);
    samples_end(&samples);
}

struct crowd {
    tine_listener *listener;
    struct gate *gate;
};

static void crowd(void *context)
{
    struct crowd *crowd = context;

    gate_await(crowd->gate, 1);
    for (int i = 0; i < CROWD; i++)
        (void)stranger(crowd->listener);
    pause();
}

static unsigned times_logged(const char *words)
{
    unsigned count = 0;

    for (const char *at = lines; (at = strstr(at, words)) != NULL; at++)
        count++;
    return count;
}

/* Until they have all come in after one other, and those that are too many are gone again. */
static void serve_crowd(tine_listener *listener)
{
    while (times_logged("others came") < CROWD + 1 - PLACES)
        accept_nobody(listener, TINE_MS(20));
}

static bool is_dropped(int fd)
{
    struct pollfd poll_fd = {.fd = fd, .events = POLLRDHUP};

    ck_assert_ok(poll(&poll_fd, 1, 0));
    return poll_fd.revents != 0;
}

/* However slow: who came alone stays, and those go that have all other places, of one process. */
TEST(a_crowd_pushes_out_its_own, .loop_end = 2)
{
    tine_listener_options options = {KEY, .protocol = loop_index,
                                     .handshake_timeout_ns = TINE_SEC(60)};
    struct crowd of_one = {.gate = gate_new()};
    tine_listener *listener;
    struct child child;
    int slow;

    log_begin();
    ck_assert_rc(tine_listener_open(&listener, NULL, &options), 0);
    of_one.listener = listener;
    child =
        child_start(crowd, &of_one); /* first: a copy of the accepted socket would hold it open */
    slow = stranger(listener);
    accept_nobody(listener, TINE_MS(20));
    gate_raise(of_one.gate);
    serve_crowd(listener);
    ck_assert(!is_dropped(slow));
    child_kill(&child);
    close(slow);
    tine_listener_close(listener);
}

/* Of one host, where the listener cannot tell processes apart. */
TEST(the_mute_are_dropped_before_those_who_speak, .loop_end = 2)
{
    tine_listener_options options = {KEY, .protocol = loop_index,
                                     .handshake_timeout_ns = TINE_SEC(60)};
    tine_listener *listener;
    int slow, mute[CROWD];

    log_begin();
    ck_assert_rc(tine_listener_open(&listener, "tcp://127.0.0.1:0", &options), 0);
    slow = stranger(listener);
    ck_assert_int_eq(send(slow, "\0", 1, MSG_NOSIGNAL), 1);
    ck_assert_int_eq(tine__sys_poll_in(tine_listener_fileno(listener), TINE_SEC(20)), 1);
    accept_nobody(listener, TINE_MS(20));
    for (int i = 0; i < CROWD; i++)
        mute[i] = stranger(listener);
    serve_crowd(listener);
    ck_assert(!is_dropped(slow));
    for (int i = 0; i < CROWD; i++)
        close(mute[i]);
    close(slow);
    tine_listener_close(listener);
}

/* Whoever leaves the waiting to a loop of its own is woken for what is late, too. */
TEST(the_descriptor_knows_the_time)
{
    tine_listener_options options = {KEY, .handshake_timeout_ns = TINE_MS(20)};
    tine_listener *listener;
    int mute;

    log_begin();
    ck_assert_rc(tine_listener_open(&listener, NULL, &options), 0);
    mute = stranger(listener);
    ck_assert_int_eq(tine__sys_poll_in(tine_listener_fileno(listener), TINE_SEC(20)), 1);
    accept_nobody(listener, 0);
    ck_assert_int_eq(tine__sys_poll_in(tine_listener_fileno(listener), 0), 0);
    ck_assert_int_eq(tine__sys_poll_in(tine_listener_fileno(listener), TINE_SEC(20)), 1);
    accept_nobody(listener, 0);
    ck_assert_logged("in time");
    ck_assert_int_eq(tine__sys_poll_in(tine_listener_fileno(listener), 0), 0);
    await_end(mute);
    close(mute);
    tine_listener_close(listener);
}

TEST(who_takes_too_long_is_dropped, .loop_end = 2)
{
    tine_listener_options options = {KEY, .protocol = loop_index,
                                     .handshake_timeout_ns = TINE_MS(30)};
    tine_listener *listener;
    int mute, slow;

    log_begin();
    ck_assert_rc(tine_listener_open(&listener, NULL, &options), 0);
    mute = stranger(listener);
    slow = stranger(listener);
    ck_assert_int_eq(send(slow, "\0\0", 2, MSG_NOSIGNAL), 2);
    accept_nobody(listener, TINE_MS(100));
    ck_assert_logged("in time");
    await_end(mute);
    await_end(slow);
    close(mute);
    close(slow);
    tine_listener_close(listener);
}

TEST(who_talks_nonsense_is_dropped, .loop_end = 2)
{
    tine_listener_options options = {KEY, .protocol = loop_index};
    tine_dial_options dial = {KEY, .protocol = loop_index};
    tine_listener *listener;

    log_begin();
    ck_assert_rc(tine_listener_open(&listener, "tcp://127.0.0.1:0", &options), 0);
    for (int round = 0; round < 20; round++) {
        int fd = stranger(listener);
        uint64_t nonsense[40];

        for (size_t i = 0; i < 40; i++)
            nonsense[i] = random_u64();
        ck_assert_int_gt(send(fd, nonsense, sizeof nonsense, MSG_NOSIGNAL), 0);
        accept_nobody(listener, TINE_MS(1));
        await_end(fd);
        close(fd);
    }
    ck_assert_logged("does not speak");
    check_well(listener, &dial);
    tine_listener_close(listener);
}

TEST(who_hangs_up_is_forgotten)
{
    tine_listener *listener;

    log_begin();
    ck_assert_rc(tine_listener_open(&listener, NULL, NULL), 0);
    close(stranger(listener));
    accept_nobody(listener, TINE_MS(5));
    ck_assert_logged("hung up");
    check_well(listener, NULL);
    tine_listener_close(listener);
}

/* A listener of Python's protocol speaks first, one of tine's listens: neither takes the other. */
TEST(another_protocol_is_refused, .loop_end = 2)
{
    tine_listener_options options = {KEY, .protocol = loop_index,
                                     .handshake_timeout_ns = TINE_MS(50)};
    tine_dial_options dial = {KEY, .protocol = !loop_index};
    struct dialling dialling;
    tine_listener *listener;
    int rc;

    ck_assert_rc(tine_listener_open(&listener, NULL, &options), 0);
    dialling_start(&dialling, listener, &dial);
    rc = refuse(listener, &dialling);
    ck_assert_msg(rc == TINE_EFORMAT || rc == -ECONNRESET, "dial: %d", rc);
    tine_listener_close(listener);
}

/* ---- descriptors run out --------------------------------------------------------------------- */

TEST(without_descriptors_clients_wait)
{
    struct rlimit old, none;
    struct dialling dialling;
    tine_connection *connection;
    tine_listener *listener;
    int mute;

    log_begin();
    ck_assert_rc(tine_listener_open(&listener, NULL, NULL), 0);
    mute = stranger(listener);
    getrlimit(RLIMIT_NOFILE, &old);
    none = old;
    none.rlim_cur = 3; /* no new one at all */
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    accept_nobody(listener, TINE_MS(150));
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &old), 0);
    ck_assert_logged("clients wait");
    dialling_start(&dialling, listener, NULL);
    ck_assert_rc(tine_listener_accept(listener, TINE_SEC(20), &connection), 0);
    ck_assert_rc(dialling_end(&dialling), 0);
    tine_connection_close(connection);
    tine_connection_close(dialling.connection);
    close(mute);
    tine_listener_close(listener);
}

/* ---- limits of messages ---------------------------------------------------------------------- */

TEST(each_side_says_what_it_takes)
{
    tine_connection *a, *b;
    tine_listener *listener;
    char bytes[2001] = "";

    ck_assert_rc(
        tine_listener_open(&listener, NULL, &(tine_listener_options){.message_bytes_max = 1000}),
        0);
    meet(listener, &(tine_dial_options){.message_bytes_max = 2000}, &a, &b);
    ck_assert_rc(tine_connection_send_bytes(b, bytes, 1001, TINE_FOREVER), -EMSGSIZE);
    ck_assert_rc(tine_connection_send_bytes(a, bytes, 2001, TINE_FOREVER), -EMSGSIZE);
    echo(b, a, (uint8_t *)bytes, 1000);
    echo(a, b, (uint8_t *)bytes, 2000);
    tine_connection_close(a);
    tine_connection_close(b);
    tine_listener_close(listener);
}

TEST(a_long_claim_ends_a_connection)
{
    tine_listener_options options = {.protocol = TINE_PROTOCOL_PYTHON};
    tine_connection *connection;
    tine_listener *listener;
    int fd;

    ck_assert_rc(tine_listener_open(&listener, NULL, &options), 0);
    fd = stranger(listener);
    ck_assert_rc(tine_listener_accept(listener, TINE_FOREVER, &connection), 0);
    ck_assert_int_eq(send(fd, "\x7f\xff\xff\xff", 4, MSG_NOSIGNAL), 4);
    ck_assert_rc(tine_connection_recv(connection, TINE_FOREVER, "q", NULL), TINE_EFORMAT);
    ck_assert_rc(tine_connection_recv(connection, TINE_FOREVER, "q", NULL), TINE_EFORMAT);
    ck_assert_rc(tine_connection_poll(connection, 0), 1);
    tine_connection_close(connection);
    close(fd);
    tine_listener_close(listener);
}

/* ---- what is for the family only ------------------------------------------------------------- */

static void some_function(void)
{
}

/* References to code and handles: not from strangers, nor to them. Descriptors are beside the bytes. */
TEST(strangers_get_no_references, .loop_end = WAYS)
{
    tine_any_function *function = NULL;
    tine_connection *a, *b, *other = NULL;
    void *pointer = NULL;
    int fd = -1;

    meet_somehow(loop_index, &a, &b);
    ck_assert_rc(tine_connection_send(a, TINE_FOREVER, "oc", b), -EINVAL);
    if (tine_connection_send(a, TINE_FOREVER, "c", some_function) == 0)
        ck_assert_int_lt(tine_connection_recv(b, TINE_FOREVER, "c", &function), 0);
    /* what a family's connection would have sent */
    ck_assert_rc(tine_connection_send_bytes(a, "\xd7\x02\0\0\0\0\0\0\0\0", 10, TINE_FOREVER), 0);
    ck_assert_int_lt(tine_connection_recv(b, TINE_FOREVER, "F", &fd), 0);
    ck_assert_rc(tine_connection_send_bytes(a, "\xd7\x04\0\0\0\0\0\0\0\0", 10, TINE_FOREVER), 0);
    ck_assert_int_lt(tine_connection_recv(b, TINE_FOREVER, "oc", &other), 0);
    ck_assert_rc(tine_connection_send_bytes(a, "\xd7\x01\0\0\0\0\0\0\0\0", 10, TINE_FOREVER), 0);
    ck_assert_rc(tine_connection_recv(b, TINE_FOREVER, "p", &pointer), -EINVAL);
    ck_assert_ptr_null(pointer);
    ck_assert_ptr_null(function);
    ck_assert_ptr_null(other);
    ck_assert_int_eq(fd, -1);
    tine_connection_close(a);
    tine_connection_close(b);
}

TEST(descriptors_go_over_unix_sockets, .loop_end = WAYS)
{
    int sent = memfd_create("sent", MFD_CLOEXEC), got = -1;
    tine_connection *a, *b;
    struct stat one, other;
    int64_t number = 0;

    meet_somehow(loop_index, &a, &b);
    if (loop_index == WAYS - 1) { /* Python's protocol has none */
        ck_assert_rc(tine_connection_send(a, TINE_FOREVER, "qF", INT64_C(7), sent), -EINVAL);
    } else {
        ck_assert_rc(tine_connection_send(a, TINE_FOREVER, "qF", INT64_C(7), sent), 0);
        ck_assert_rc(tine_connection_recv(b, TINE_FOREVER, "qF", &number, &got), 0);
        ck_assert_int_eq(number, 7);
        ck_assert_ok(fstat(sent, &one));
        ck_assert_ok(fstat(got, &other));
        ck_assert_uint_eq(one.st_ino, other.st_ino);
        close(got);
    }
    close(sent);
    tine_connection_close(a);
    tine_connection_close(b);
}

/* ---- timeouts in the middle ------------------------------------------------------------------ */

TEST(half_a_message_is_waited_for)
{
    tine_listener_options options = {.protocol = TINE_PROTOCOL_PYTHON};
    tine_connection *connection;
    tine_listener *listener;
    char bytes[10];
    size_t size;
    int fd;

    ck_assert_rc(tine_listener_open(&listener, NULL, &options), 0);
    fd = stranger(listener);
    ck_assert_rc(tine_listener_accept(listener, TINE_FOREVER, &connection), 0);
    ck_assert_int_eq(send(fd, "\0\0", 2, MSG_NOSIGNAL), 2);
    ck_assert_rc(tine_connection_recv_bytes_into(connection, bytes, 10, 0, &size), -EAGAIN);
    ck_assert_int_eq(send(fd, "\0\4ab", 4, MSG_NOSIGNAL), 4);
    ck_assert_rc(tine_connection_recv_bytes_into(connection, bytes, 10, TINE_MS(5), &size),
                 -ETIMEDOUT);
    ck_assert_int_eq(send(fd, "cd", 2, MSG_NOSIGNAL), 2);
    ck_assert_rc(tine_connection_recv_bytes_into(connection, bytes, 10, TINE_FOREVER, &size), 0);
    ck_assert_uint_eq(size, 4);
    ck_assert_mem_eq(bytes, "abcd", 4);
    ck_assert_int_eq(send(fd, "\0\0\0\4ab", 6, MSG_NOSIGNAL), 6);
    close(fd);
    ck_assert_rc(tine_connection_recv(connection, TINE_FOREVER, "q", NULL), -EBADMSG);
    ck_assert_rc(tine_connection_send(connection, TINE_FOREVER, "q", INT64_C(1)), -EPIPE);
    tine_connection_close(connection);
    tine_listener_close(listener);
}

/* Sending without waiting: the rest goes out while this side waits to receive. */
TEST(the_rest_of_a_message_follows, .loop_end = WAYS)
{
    const size_t large = 8000000;
    uint8_t *sent = calloc(1, large), *received;
    tine_connection *a, *b;
    struct child child;
    size_t size;
    int rc, count = 0;

    meet_somehow(loop_index, &a, &b);
    while ((rc = tine_connection_send_bytes(a, sent, large, 0)) == 0)
        count++;
    ck_assert_rc(rc, -EAGAIN);
    ck_assert_int_eq(count, 1);
    ck_assert_rc(tine_connection_send_bytes(a, sent, 1, TINE_MS(1)), -ETIMEDOUT);
    child = (struct child){.pid = fork()};
    ck_assert_int_ge(child.pid, 0);
    if (child.pid == 0) {
        ck_assert_rc(tine_connection_recv_bytes(b, TINE_FOREVER, (void **)&received, &size), 0);
        ck_assert_uint_eq(size, large);
        ck_assert_rc(tine_connection_send(b, TINE_FOREVER, "q", INT64_C(7)), 0);
        _exit(0);
    }
    ck_assert_rc(tine_connection_recv(a, TINE_FOREVER, "q", NULL), 0);
    child_join(&child);
    tine_connection_close(a);
    tine_connection_close(b);
    free(sent);
}

/* ---- forks ----------------------------------------------------------------------------------- */

static void send_in_child(void *context)
{
    ck_assert_rc(tine_connection_send(context, TINE_FOREVER, "q", INT64_C(1)), 0);
    ck_assert_rc(tine_connection_send(context, TINE_FOREVER, "q", INT64_C(2)), 0);
    tine_connection_close(context);
}

/* One direction goes to the child, which used it first; the other stays. */
TEST(after_a_fork_one_process_has_a_direction, .loop_end = WAYS)
{
    tine_connection *a, *b;
    struct child child;
    int64_t number;

    meet_somehow(loop_index, &a, &b);
    ck_assert_rc(tine_connection_send(a, TINE_FOREVER, "q", INT64_C(0)), 0);
    child = child_start(send_in_child, a);
    child_join(&child);
    ck_assert_rc(tine_connection_send(a, TINE_FOREVER, "q", INT64_C(3)), TINE_EFORKED);
    for (int64_t i = 0; i < 3; i++) {
        ck_assert_rc(tine_connection_recv(b, TINE_FOREVER, "q", &number), 0);
        ck_assert_int_eq(number, i);
    }
    ck_assert_rc(tine_connection_send(b, TINE_FOREVER, "q", INT64_C(4)), 0);
    ck_assert_rc(tine_connection_recv(a, TINE_FOREVER, "q", &number), 0);
    ck_assert_int_eq(number, 4);
    tine_connection_close(a);
    tine_connection_close(b);
}

static void find_it_taken(void *context)
{
    ck_assert_rc(tine_connection_recv(context, 0, "q", NULL), TINE_EFORKED);
    tine_connection_close(context);
}

struct gated {
    tine_connection *connection;
    struct gate *gate;
};

static void find_it_taken_later(void *context)
{
    struct gated *gated = context;

    gate_await(gated->gate, 1);
    find_it_taken(gated->connection);
}

TEST(a_child_that_comes_too_late_is_told, .loop_end = WAYS)
{
    struct gated gated = {.gate = gate_new()};
    tine_connection *a, *b;
    struct child child;

    meet_somehow(loop_index, &a, &b);
    gated.connection = b;
    child = child_start(find_it_taken_later, &gated);
    ck_assert_rc(tine_connection_send(a, TINE_FOREVER, "q", INT64_C(4)), 0);
    ck_assert_rc(tine_connection_recv(b, TINE_FOREVER, "q", NULL), 0);
    gate_raise(gated.gate);
    child_join(&child);
    tine_connection_close(a);
    tine_connection_close(b);
}

/* ---- connections as messages ----------------------------------------------------------------- */

/* Made before there was anything to serve. */
static void serve_what_comes(void *context)
{
    tine_connection *pipe = context, *client;
    int64_t number;

    for (int i = 0; i < 2; i++) {
        ck_assert_rc(tine_connection_recv(pipe, TINE_FOREVER, "oc", &client), 0);
        while (tine_connection_recv(client, TINE_FOREVER, "q", &number) == 0)
            ck_assert_rc(tine_connection_send(client, TINE_FOREVER, "q", 2 * number), 0);
        tine_connection_close(client);
    }
    tine_connection_close(pipe);
}

static void ask_for_double(tine_connection *connection, int64_t number)
{
    int64_t doubled;

    ck_assert_rc(tine_connection_send(connection, TINE_FOREVER, "q", number), 0);
    ck_assert_rc(tine_connection_recv(connection, TINE_SEC(20), "q", &doubled), 0);
    ck_assert_int_eq(doubled, 2 * number);
}

/* Accepted here, served there: also after some messages here. */
TEST(a_connection_goes_to_another_process, .loop_end = WAYS)
{
    tine_connection *here, *there, *a, *b;
    struct child child;
    int64_t number;

    ck_assert_rc(tine_pipe(&here, &there, NULL), 0);
    child = child_start(serve_what_comes, there);
    for (int i = 0; i < 2; i++) {
        meet_somehow(loop_index, &a, &b);
        for (int j = 0; j < i; j++) {
            ck_assert_rc(tine_connection_send(b, TINE_FOREVER, "q", INT64_C(5)), 0);
            ck_assert_rc(tine_connection_recv(a, TINE_FOREVER, "q", &number), 0);
            ck_assert_rc(tine_connection_send(a, TINE_FOREVER, "q", INT64_C(6)), 0);
            ck_assert_rc(tine_connection_recv(b, TINE_FOREVER, "q", &number), 0);
        }
        ck_assert_rc(tine_connection_send(here, TINE_FOREVER, "oc", a), 0);
        ask_for_double(b, 21);
        ck_assert_rc(tine_connection_send(a, TINE_FOREVER, "q", INT64_C(7)), TINE_EFORKED);
        ck_assert_rc(tine_connection_recv(a, 0, "q", &number), TINE_EFORKED);
        tine_connection_close(a);
        ask_for_double(b, 22);
        tine_connection_close(b);
    }
    child_join(&child);
    tine_connection_close(here);
    tine_connection_close(there);
}

TEST(who_is_in_the_middle_does_not_travel)
{
    tine_listener_options options = {.protocol = TINE_PROTOCOL_PYTHON};
    tine_connection *here, *there, *connection;
    tine_listener *listener;
    int64_t number;
    int fd;

    ck_assert_rc(tine_pipe(&here, &there, NULL), 0);
    ck_assert_rc(tine_listener_open(&listener, NULL, &options), 0);
    fd = stranger(listener);
    ck_assert_rc(tine_listener_accept(listener, TINE_FOREVER, &connection), 0);
    ck_assert_int_eq(send(fd, "\0\0\0", 3, MSG_NOSIGNAL), 3);
    ck_assert_rc(tine_connection_recv(connection, 0, "q", &number), -EAGAIN);
    ck_assert_rc(tine_connection_send(here, TINE_FOREVER, "oc", connection), -EBUSY);
    ck_assert_int_eq(send(fd, "\1\7", 2, MSG_NOSIGNAL), 2);
    ck_assert_rc(tine_connection_recv(connection, TINE_FOREVER, "q", &number), 0);
    ck_assert_rc(tine_connection_send(here, TINE_FOREVER, "oc", connection), 0);
    /* not used there, it is still ours */
    ck_assert_rc(tine_connection_send(connection, TINE_FOREVER, "q", number), 0);
    tine_connection_close(connection);
    ck_assert_rc(tine_connection_recv(there, TINE_FOREVER, "oc", &connection), 0);
    ck_assert_rc(tine_connection_send(connection, TINE_FOREVER, "q", number), TINE_EFORKED);
    ck_assert_int_eq(send(fd, "\0\0\0\1\10", 5, MSG_NOSIGNAL), 5);
    ck_assert_rc(tine_connection_recv(connection, TINE_FOREVER, "q", &number), 0);
    ck_assert_int_eq(number, 8);
    tine_connection_close(connection);
    tine_connection_close(here);
    tine_connection_close(there);
    close(fd);
    tine_listener_close(listener);
}

/* ---- event loops ----------------------------------------------------------------------------- */

TEST(an_event_loop_may_own_the_waiting)
{
    struct dialling dialling;
    tine_connection *connection;
    tine_listener *listener;
    int rc;

    ck_assert_rc(tine_listener_open(&listener, NULL, NULL), 0);
    ck_assert_int_eq(tine__sys_poll_in(tine_listener_fileno(listener), 0), 0);
    dialling_start(&dialling, listener, NULL);
    do {
        ck_assert_int_eq(tine__sys_poll_in(tine_listener_fileno(listener), TINE_SEC(20)), 1);
        rc = tine_listener_accept(listener, 0, &connection);
    } while (rc == -EAGAIN);
    ck_assert_rc(rc, 0);
    ck_assert_rc(dialling_end(&dialling), 0);
    ck_assert_int_eq(tine__sys_poll_in(tine_listener_fileno(listener), 0), 0);
    ck_assert_int_eq(tine__sys_poll_in(tine_connection_fileno(connection), 0), 0);
    ck_assert_rc(tine_connection_send(dialling.connection, TINE_FOREVER, "q", INT64_C(1)), 0);
    ck_assert_int_eq(tine__sys_poll_in(tine_connection_fileno(connection), TINE_SEC(20)), 1);
    tine_connection_close(connection);
    tine_connection_close(dialling.connection);
    tine_listener_close(listener);
}

#define CLIENTS 12

static void *accept_one(void *context)
{
    tine_connection *connection;

    ck_assert_rc(tine_listener_accept(context, TINE_SEC(20), &connection), 0);
    tine_connection_close(connection);
    return NULL;
}

TEST(many_threads_accept)
{
    struct dialling dialling[CLIENTS];
    pthread_t threads[CLIENTS];
    tine_listener *listener;

    ck_assert_rc(tine_listener_open(&listener, NULL, NULL), 0);
    for (int i = 0; i < CLIENTS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, accept_one, listener), 0);
    for (int i = 0; i < CLIENTS; i++)
        dialling_start(&dialling[i], listener, NULL);
    for (int i = 0; i < CLIENTS; i++) {
        pthread_join(threads[i], NULL);
        ck_assert_rc(dialling_end(&dialling[i]), 0);
        tine_connection_close(dialling[i].connection);
    }
    tine_listener_close(listener);
}

TEST(ten_thousand_come_and_go, .timeout_s = 60)
{
    tine_listener_options options = {.protocol = TINE_PROTOCOL_PYTHON};
    tine_dial_options dial = {.protocol = TINE_PROTOCOL_PYTHON};
    tine_connection *a, *b;
    tine_listener *listener;

    for (int i = 0; i < 10000; i++) {
        ck_assert_rc(tine_listener_open(&listener, NULL, &options), 0);
        tine_listener_close(listener);
    }
    ck_assert_rc(tine_listener_open(&listener, NULL, &options), 0);
    for (int i = 0; i < 10000; i++) {
        ck_assert_rc(tine_dial(&b, tine_listener_address(listener), &dial), 0);
        ck_assert_rc(tine_listener_accept(listener, TINE_FOREVER, &a), 0);
        tine_connection_close(a);
        tine_connection_close(b);
    }
    tine_listener_close(listener);
}

TEST(nothing_is_left_of_many_connections, .timeout_s = 60)
{
    tine_listener *listener;

    for (int i = 0; i < 200; i++) {
        tine_listener_options options = {KEY};
        tine_connection *a, *b;

        ck_assert_rc(tine_listener_open(&listener, NULL, &options), 0);
        meet(listener, &(tine_dial_options){KEY}, &a, &b);
        tine_connection_close(a);
        tine_connection_close(b);
        tine_listener_close(listener);
    }
}

__attribute__((constructor)) static void open_heap_first(void)
{
    tine_free(tine_alloc(1));
}

SUITE("ipc/listener")
