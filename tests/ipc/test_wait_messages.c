/* SPDX-License-Identifier: MIT */
/* tine_wait(): connections, listeners and queues; descriptors for other loops. */
#include <tine/wait.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <tine/heap.h>
#include <tine/listener.h>
#include <tine/pipe.h>
#include <tine/queue.h>
#include <tine/semaphore.h>
#include <tine/time.h>

#include "lib/sys.h"
#include "tests/ipc/wait_help.h"
#include "tests/support/children.h"
#include "tests/support/suite.h"
#include "tests/support/wait.h"

/* ---- messages -------------------------------------------------------------------------------- */

TEST(a_connection_is_ready_for_a_message_and_for_the_end)
{
    tine_connection *a, *b;
    tine_waitable on[2];
    char byte;
    size_t size;

    ck_assert_ok(tine_pipe(&a, &b, NULL));
    on[0] = tine_connection_waitable(a);
    on[1] = tine_connection_waitable(b);
    ck_assert_rc(tine_wait(on, 2, 0), 0);
    ck_assert_ok(tine_connection_send_bytes(b, "message", 7, TINE_FOREVER));
    ck_assert_rc(tine_wait(on, 2, TINE_FOREVER), 1);
    ck_assert_uint_eq(on[0].ready, TINE_READABLE);
    ck_assert_rc(tine_connection_recv_bytes_into(a, &byte, 1, 0, &size), -EMSGSIZE);
    ck_assert_rc(tine_wait(on, 2, TINE_FOREVER), 1); /* kept by the handle, not in the socket */
    ck_assert_uint_eq(on[0].ready, TINE_READABLE);
    ck_assert_int_eq(tine_waitable_fd(&on[1]), tine_connection_fileno(b));
    tine_connection_close(a);
    ck_assert_rc(tine_wait(&on[1], 1, TINE_FOREVER), 1);
    tine_connection_close(b);
    on[0] = tine_connection_waitable(NULL);
    ck_assert_rc(tine_wait(on, 1, 0), -EINVAL);
}

TEST(an_end_that_only_sends_is_refused)
{
    tine_connection *reader, *writer;
    tine_waitable on[2];

    ck_assert_ok(tine_pipe(&reader, &writer, &(tine_pipe_options){.simplex = 1}));
    on[0] = tine_connection_waitable(reader);
    on[1] = tine_connection_waitable(writer);
    ck_assert_rc(tine_wait(on, 1, 0), 0);
    ck_assert_rc(tine_wait(on, 2, 0), -EBADF);
    tine_connection_close(reader);
    tine_connection_close(writer);
}

static void hold_and_pause(void *context)
{
    struct gate *begun = context;

    gate_raise(begun);
    pause();
}

static const int32_t transports[] = {TINE_SOCKET, TINE_RING};

TEST(the_end_by_death_is_found_among_other_things, .loop_end = 2)
{
    tine_pipe_options options = {.transport = transports[loop_index]};
    struct scene scene = scene_new();
    tine_connection *a, *b;
    struct child child;
    tine_waitable on[4];

    ck_assert_ok(tine_pipe(&a, &b, &options));
    child = child_start(hold_and_pause, scene.begun);
    gate_await(scene.begun, 1);
    tine_connection_close(b);
    entries_of(&scene, on);
    on[3] = tine_connection_waitable(a);
    ck_assert_rc(tine_wait(on, 4, TINE_MS(1)), 0);
    child_kill(&child);
    ck_assert_rc(tine_wait(on, 4, TINE_FOREVER), 1);
    ck_assert_uint_ne(on[3].ready, 0);
    tine_connection_close(a);
    scene_free(&scene);
}

static void dial(void *context)
{
    tine_connection *connection;

    ck_assert_ok(tine_dial(&connection, context, NULL));
    tine_connection_close(connection);
}

TEST(a_listener_is_ready_for_a_client)
{
    tine_connection *connection = NULL;
    tine_listener *listener;
    tine_waitable on;
    struct child child;

    ck_assert_ok(tine_listener_open(&listener, NULL, NULL));
    on = tine_listener_waitable(listener);
    ck_assert_rc(tine_wait(&on, 1, 0), 0);
    child = child_start(dial, (void *)(uintptr_t)tine_listener_address(listener));
    while (connection == NULL) {
        ck_assert_rc(tine_wait(&on, 1, TINE_FOREVER), 1);
        (void)!tine_listener_accept(listener, 0, &connection);
    }
    child_join(&child);
    tine_connection_close(connection);
    tine_listener_close(listener);
}

static const int32_t orders[] = {TINE_FIFO, TINE_LIFO, TINE_PRIORITY};

TEST(a_queue_is_ready_for_items_and_for_room, .loop_end = 3)
{
    tine_queue_options options = {.order = orders[loop_index], .maxsize = 2};
    tine_waitable on[3];
    tine_queue *queue;
    int64_t number;

    ck_assert_ok(tine_queue_open(&queue, &options));
    on[0] = tine_queue_waitable(queue, TINE_READABLE);
    on[1] = tine_queue_waitable(queue, TINE_WRITABLE);
    on[2] = tine_queue_waitable(queue, TINE_READABLE | TINE_WRITABLE);
    ck_assert_rc(tine_wait(on, 1, TINE_MS(1)), 0);
    ck_assert_rc(tine_wait(on, 3, 0), 2);
    ck_assert_ok(tine_queue_put(queue, 0, "q", INT64_C(1)));
    ck_assert_rc(tine_wait(on, 3, 0), 3);
    ck_assert_uint_eq(on[2].ready, TINE_READABLE | TINE_WRITABLE);
    ck_assert_ok(tine_queue_put(queue, 0, "q", INT64_C(2)));
    ck_assert_rc(tine_wait(on, 3, 0), 2);
    ck_assert_uint_eq(on[1].ready, 0);
    ck_assert_ok(tine_queue_get(queue, 0, "q", &number));
    ck_assert_ok(tine_queue_get(queue, 0, "q", &number));
    ck_assert_rc(tine_wait(on, 1, 0), 0);
    ck_assert_ok(tine_queue_shutdown(queue, 0));
    ck_assert_rc(tine_wait(on, 3, TINE_FOREVER), 3);
    tine_queue_close(queue);
    on[0] = tine_queue_waitable(NULL, TINE_READABLE);
    ck_assert_rc(tine_wait(on, 1, 0), -EINVAL);
}

#define NUMBERS 500

static void put_numbers(void *context)
{
    for (int64_t i = 0; i < NUMBERS; i++)
        ck_assert_ok(tine_queue_put(context, TINE_FOREVER, "q", i));
}

/* Each side waits for the other all the time: there is room for two. */
TEST(a_loop_of_its_own_gets_every_item, .loop_end = 3)
{
    tine_queue_options options = {.order = orders[loop_index], .maxsize = 2};
    int64_t sum = 0, number;
    tine_waitable on;
    tine_queue *queue;
    struct child child;
    int fd;

    ck_assert_ok(tine_queue_open(&queue, &options));
    on = tine_queue_waitable(queue, TINE_READABLE);
    fd = tine_waitable_fd(&on);
    ck_assert_ok(fd);
    child = child_start(put_numbers, queue);
    for (int got = 0; got < NUMBERS;) { /* one a turn */
        ck_assert_int_eq(tine__sys_poll_in(fd, TINE_FOREVER), 1);
        if (tine_queue_get(queue, 0, "q", &number) < 0)
            continue;
        sum += number;
        got++;
    }
    ck_assert_int_eq(sum, NUMBERS * (NUMBERS - 1) / 2);
    child_join(&child);
    tine_waitable_close(fd);
    tine_queue_close(queue);
}

static void get_numbers(void *context)
{
    int64_t number;

    for (int64_t i = 0; i < NUMBERS; i++)
        ck_assert_ok(tine_queue_get(context, TINE_FOREVER, "q", &number));
}

TEST(a_loop_of_its_own_finds_all_room, .loop_end = 3)
{
    tine_queue_options options = {.order = orders[loop_index], .maxsize = 2};
    tine_queue *queue;
    tine_waitable on;
    struct child child;
    int fd;

    ck_assert_ok(tine_queue_open(&queue, &options));
    on = tine_queue_waitable(queue, TINE_WRITABLE);
    fd = tine_waitable_fd(&on);
    ck_assert_ok(fd);
    child = child_start(get_numbers, queue);
    for (int64_t put = 0; put < NUMBERS;) {
        ck_assert_int_eq(tine__sys_poll_in(fd, TINE_FOREVER), 1);
        put += tine_queue_put(queue, 0, "q", put) == 0;
    }
    child_join(&child);
    tine_waitable_close(fd);
    tine_queue_close(queue);
}

static void take_and_die(void *context)
{
    int64_t number;

    ck_assert_ok(tine_queue_get(context, TINE_FOREVER, "q", &number));
    raise(SIGKILL);
}

TEST(an_item_that_a_death_returned_is_found)
{
    tine_queue_options options = {.joinable = 1};
    tine_queue *queue;
    tine_waitable on;
    struct child child;

    ck_assert_ok(tine_queue_open(&queue, &options));
    ck_assert_ok(tine_queue_put(queue, 0, "q", INT64_C(1)));
    child = child_start(take_and_die, queue);
    ck_assert_int_ne(child_wait(&child), 0);
    on = tine_queue_waitable(queue, TINE_READABLE);
    ck_assert_rc(tine_wait(&on, 1, TINE_FOREVER), 1);
    tine_queue_close(queue);
}

/* ---- descriptors for other loops ------------------------------------------------------------- */

static int64_t poll_in(int fd, int64_t timeout_ns)
{
    return tine__sys_poll_in(fd, timeout_ns);
}

static void release_many(void *context)
{
    struct scene *scene = context;

    for (int i = 0; i < 1000; i++)
        ck_assert_rc(tine_semaphore_release(scene->semaphore), 0);
}

TEST(a_loop_of_its_own_gets_every_permit)
{
    struct scene scene = scene_new();
    struct child child = child_start(release_many, &scene);
    tine_waitable on = tine_semaphore_waitable(scene.semaphore);
    int fd = tine_waitable_fd(&on), got = 0;

    ck_assert_ok(fd);
    while (got < 1000) { /* one a turn: what is left keeps it readable */
        ck_assert_int_eq(poll_in(fd, TINE_FOREVER), 1);
        got += tine_semaphore_acquire(scene.semaphore, 0) == 0;
    }
    child_join(&child);
    tine_waitable_close(fd);
    scene_free(&scene);
}

TEST(what_is_ready_already_has_a_readable_descriptor)
{
    tine_semaphore *semaphore = semaphore_new(2);
    tine_waitable on = tine_semaphore_waitable(semaphore);
    int fds[2] = {tine_waitable_fd(&on), tine_waitable_fd(&on)};

    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(fcntl(fds[i], F_GETFD), FD_CLOEXEC);
        ck_assert_int_eq(poll_in(fds[i], 0), 1);
        ck_assert_rc(tine_semaphore_acquire(semaphore, 0), 0);
        ck_assert_int_eq(poll_in(fds[i], 0), 1);
    }
    ck_assert_rc(tine_semaphore_acquire(semaphore, 0), -EAGAIN);
    ck_assert_rc(tine_semaphore_release(semaphore), 0);
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(poll_in(fds[i], 0), 1);
        tine_waitable_close(fds[i]);
    }
    tine_free(semaphore);
}

TEST(a_descriptor_has_itself)
{
    int fds[2];
    tine_waitable on;

    pair_new(fds);
    on = tine_fd_waitable(fds[0], TINE_READABLE);
    ck_assert_int_eq(tine_waitable_fd(&on), fds[0]);
    tine_waitable_close(fds[0]);
    pair_free(fds); /* still open, so both close */
}

SUITE("ipc/wait_messages")
