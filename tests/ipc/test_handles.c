/* SPDX-License-Identifier: MIT */
/* Connections and queues as values: another handle of the same, from what the first one gives. */
#include "ipc/handles.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include <tine/queue.h>

#include "tests/ipc/pipe_help.h"

HEAP_BEFORE_TESTS

static const struct tine__handle_kind *kind_of(char letter)
{
    for (size_t i = 0; tine__handle_kinds[i] != NULL; i++)
        if (tine__handle_kinds[i]->letter == letter)
            return tine__handle_kinds[i];
    return NULL;
}

static struct tine__handle_parts parts_of(const tine_connection *connection)
{
    struct tine__handle_parts parts = {.fd_count = 0};

    ck_assert_rc(kind_of('c')->give(connection, &parts), 0);
    return parts;
}

static tine_connection *another(const tine_connection *connection)
{
    struct tine__handle_parts parts = parts_of(connection);
    void *handle = NULL;

    ck_assert_rc(kind_of('c')->take(&parts, &handle), 0);
    return handle;
}

/* Both transports, one after the other. */
static const tine_pipe_options *over(int loop_index)
{
    static const tine_pipe_options options[] = {{.transport = TINE_SOCKET},
                                                {.transport = TINE_RING}};

    return &options[loop_index];
}

TEST(another_handle_does_what_the_first_does, .loop_end = 2)
{
    tine_connection *a, *b, *second;
    int64_t number = 0;

    ck_assert_rc(tine_pipe(&a, &b, over(loop_index)), 0);
    second = another(b);
    ck_assert_rc(tine_connection_send(a, TINE_FOREVER, "q", INT64_C(1)), 0);
    ck_assert_rc(tine_connection_recv(second, TINE_FOREVER, "q", &number), 0);
    ck_assert_int_eq(number, 1);
    ck_assert_rc(tine_connection_send(second, TINE_FOREVER, "q", INT64_C(2)), 0);
    ck_assert_rc(tine_connection_recv(a, TINE_FOREVER, "q", &number), 0);
    ck_assert_int_eq(number, 2);
    tine_connection_close(second);
    tine_connection_close(a);
    tine_connection_close(b);
}

TEST(an_end_lives_as_long_as_its_last_handle, .loop_end = 2)
{
    tine_connection *a, *b, *second;
    char bytes[1000] = "";

    ck_assert_rc(tine_pipe(&a, &b, over(loop_index)), 0);
    second = another(b);
    tine_connection_close(b);
    ck_assert_rc(tine_connection_send_bytes(a, bytes, sizeof bytes, TINE_FOREVER), 0);
    tine_connection_close(second);
    ck_assert_rc(tine_connection_send_bytes(a, bytes, sizeof bytes, TINE_FOREVER), -EPIPE);
    tine_connection_close(a);
}

TEST(directions_travel_along, .loop_end = 2)
{
    tine_pipe_options simplex = {.simplex = 1, .transport = TINE_SOCKET + loop_index};
    tine_connection *reads, *writes, *second;

    ck_assert_rc(tine_pipe(&reads, &writes, &simplex), 0);
    second = another(reads);
    ck_assert(tine_connection_readable(second) && !tine_connection_writable(second));
    tine_connection_close(second);
    second = another(writes);
    ck_assert(!tine_connection_readable(second) && tine_connection_writable(second));
    tine_connection_close(second);
    tine_connection_close(reads);
    tine_connection_close(writes);
}

static void assert_refused(const struct tine__handle_parts *parts, int code)
{
    void *handle = NULL;

    ck_assert_rc(kind_of('c')->take(parts, &handle), code);
    ck_assert_ptr_null(handle);
}

TEST(what_no_connection_gives_is_refused)
{
    struct tine__handle_parts good, parts;
    tine_connection *a, *b;
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);

    ck_assert_int_ge(null, 0);
    ck_assert_rc(tine_pipe(&a, &b, NULL), 0);
    good = parts_of(a);
    for (int word = 0; word < 4; word++)
        for (int bit = word == 2 || word == 3 ? 2 : 0; bit < 64; bit++) {
            parts = good;
            parts.words[word] ^= UINT64_C(1) << bit;
            assert_refused(&parts, TINE_EFORMAT);
        }
    parts = good;
    parts.fd_count = 1;
    assert_refused(&parts, TINE_EFORMAT);
    parts = good;
    parts.fds[0] = null; /* no descriptor of the heap */
    assert_refused(&parts, TINE_EFORMAT);
    for (int i = 0; i < 2; i++) {
        parts = good;
        parts.fds[i] = -1;
        assert_refused(&parts, -EBADF);
    }
    close(null);
    tine_connection_close(a);
    tine_connection_close(b);
}

/* ---- queues ---------------------------------------------------------------------------------- */

TEST(another_handle_of_a_queue_keeps_it)
{
    struct tine__handle_parts parts = {.fd_count = 0};
    tine_queue *queue;
    void *second = NULL;
    int64_t number = 0;

    ck_assert_ok(tine_queue_open(&queue, &(tine_queue_options){.joinable = 1}));
    ck_assert_ok(tine_queue_put(queue, 0, "q", (int64_t)5));
    ck_assert_rc(kind_of('q')->give(queue, &parts), 0);
    ck_assert_rc(kind_of('q')->take(&parts, &second), 0);
    tine_queue_close(queue);
    ck_assert_ok(tine_queue_get(second, 0, "q", &number));
    ck_assert_int_eq(number, 5);
    ck_assert_ok(tine_queue_task_done(second));
    kind_of('q')->close(second);
}

static void answer_by_queue(void *context)
{
    tine_queue *queue;
    int64_t number;

    ck_assert_ok(tine_connection_recv(context, TINE_FOREVER, "oq", &queue));
    ck_assert_ok(tine_queue_get(queue, TINE_FOREVER, "q", &number));
    ck_assert_ok(tine_queue_put(queue, TINE_FOREVER, "q", number + 1));
    tine_queue_close(queue);
}

/* The child was forked before the queue was made. */
TEST(a_queue_goes_through_a_pipe)
{
    tine_connection *a, *b;
    tine_queue *queue;
    struct child child;
    int64_t number = 0;

    ck_assert_rc(tine_pipe(&a, &b, NULL), 0);
    child = child_start(answer_by_queue, b);
    ck_assert_ok(tine_queue_open(&queue, NULL));
    ck_assert_ok(tine_queue_put(queue, 0, "q", (int64_t)41));
    ck_assert_ok(tine_connection_send(a, TINE_FOREVER, "oq", queue));
    child_join(&child);
    ck_assert_ok(tine_queue_get(queue, 0, "q", &number));
    ck_assert_int_eq(number, 42);
    tine_queue_close(queue);
    tine_connection_close(a);
    tine_connection_close(b);
}

TEST(what_no_queue_gives_is_refused)
{
    struct tine__handle_parts good = {.fd_count = 0}, parts;
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    tine_queue *queue;
    void *handle = NULL;

    ck_assert_int_ge(null, 0);
    ck_assert_ok(tine_queue_open(&queue, NULL));
    ck_assert_rc(kind_of('q')->give(queue, &good), 0);
    for (int word = 0; word < 4; word++)
        for (int bit = word < 2 ? 7 : 0; bit < 64; bit++) {
            parts = good;
            parts.words[word] ^= UINT64_C(1) << bit;
            ck_assert_rc(kind_of('q')->take(&parts, &handle), TINE_EFORMAT);
        }
    parts = good;
    parts.fd_count = 2;
    ck_assert_rc(kind_of('q')->take(&parts, &handle), TINE_EFORMAT);
    parts = good;
    parts.fds[0] = null;
    ck_assert_rc(kind_of('q')->take(&parts, &handle), TINE_EFORMAT);
    ck_assert_ptr_null(handle);
    close(null);
    tine_queue_close(queue);
}

SUITE("ipc/handles")
