/* SPDX-License-Identifier: MIT */
/*
 * Clients of a listener, and listeners, are SIGKILLed at random instants: while they dial, in the
 * handshake, in the middle of a message. The other side gets the messages that are whole and then
 * the right code, other clients notice nothing, and a new listener takes the place of the killed
 * one.
 */
#include <tine.h>

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/support/children.h"
#include "tests/support/files.h"
#include "tests/support/hunt.h"
#include "tests/support/random.h"
#include "tests/support/samples.h"
#include "tests/support/suite.h"
#include "tests/support/wait.h"

#define KILLS    50
#define QUESTION 8 /* bytes of a message that is sent back */

static const size_t sizes[] = {1, 63, 64, 65 * 1024, 1 << 20, 64 << 20};
enum { SIZES = sizeof sizes / sizeof sizes[0] };

enum way { CLEAR, ENCRYPTED, PYTHON, WAYS };

#define KEY .key = "0123456789abcdef", .key_size = 16

/* In shared memory. */
struct scene {
    char address[300];
    enum way way;
    size_t size;
    _Atomic uint64_t answers;  /* that the witness has got */
    _Atomic uint64_t received; /* whole messages, by listeners */
    _Atomic uint64_t ended;    /* connections, at the listener */
    _Atomic uint64_t cut;      /* of them in the middle of a message */
    _Atomic uint64_t failures; /* that a client of a killed listener has seen */
    _Atomic uint32_t over;
};

static tine_listener_options listener_options(const struct scene *scene)
{
    return (tine_listener_options){KEY, .protocol = scene->way == PYTHON,
                                   .encryption = scene->way == ENCRYPTED};
}

static tine_dial_options dial_options(const struct scene *scene)
{
    return (tine_dial_options){KEY, .protocol = scene->way == PYTHON,
                               .encryption = scene->way == ENCRYPTED};
}

/* ---- the listener's side --------------------------------------------------------------------- */

struct client {
    struct scene *scene;
    tine_connection *connection;
};

static void check_whole(const struct scene *scene, const uint8_t *bytes, size_t size)
{
    ck_assert_uint_eq(size, scene->size);
    ck_assert(memcmp(bytes, bytes + 1, size - 1) == 0); /* all the same */
}

static int serve_once(const struct client *client)
{
    tine_message message;
    int rc = tine_connection_recv_view(client->connection, TINE_FOREVER, &message);

    if (rc < 0)
        return rc;
    if (message.size == QUESTION) {
        rc = tine_connection_send_bytes(client->connection, message.data, message.size,
                                        TINE_FOREVER);
    } else {
        check_whole(client->scene, message.data, message.size);
        client->scene->received++;
    }
    tine_message_release(&message);
    return rc;
}

static void *serve(void *context)
{
    struct client *client = context;
    int rc;

    do
        rc = serve_once(client);
    while (rc == 0);
    ck_assert_msg(rc == TINE_EEOF || rc == -EBADMSG || rc == -EPIPE, "a killed client gives %s",
                  tine_errname(rc));
    if (rc == -EBADMSG)
        client->scene->cut++;
    tine_connection_close(client->connection);
    client->scene->ended++;
    free(client);
    return NULL;
}

static void start_serving(struct scene *scene, tine_connection *connection)
{
    struct client *client = malloc(sizeof *client);
    pthread_t thread;

    ck_assert_ptr_nonnull(client);
    *client = (struct client){scene, connection};
    ck_assert_int_eq(pthread_create(&thread, NULL, serve, client), 0);
    pthread_detach(thread);
}

static int count_descriptors(void)
{
    DIR *directory = opendir("/proc/self/fd");
    int count = 0;

    while (readdir(directory) != NULL)
        count++;
    closedir(directory);
    return count;
}

/* Until the scene is over; then all that clients have cost has come back. */
static void listen_for_ever(void *context)
{
    struct scene *scene = context;
    tine_listener_options options = listener_options(scene);
    tine_listener *listener;
    uint64_t accepted = 0;
    int before = count_descriptors();

    ck_assert_rc(tine_listener_open(&listener, scene->address, &options), 0);
    while (scene->over == 0) {
        tine_connection *connection;
        int rc = tine_listener_accept(listener, TINE_MS(20), &connection);

        ck_assert_msg(rc == 0 || rc == -ETIMEDOUT, "accept: %s", tine_errname(rc));
        if (rc == 0) {
            start_serving(scene, connection);
            accepted++;
        }
    }
    tine_listener_close(listener);
    if (scene->over == 1)
        return;
    ck_assert_eventually(scene->ended >= accepted);
    ck_assert_eventually(count_descriptors() == before);
}

/* ---- clients --------------------------------------------------------------------------------- */

static void dial(struct scene *scene, tine_connection **connection)
{
    tine_dial_options options = dial_options(scene);
    int rc;

    /* Until the listener is there, and again if it has dropped us among many. */
    do {
        rc = tine_dial(connection, scene->address, &options);
        ck_assert_msg(rc == 0 || rc == -ECONNREFUSED || rc == -ENOENT || rc == -ECONNRESET,
                      "dial: %s", tine_errname(rc));
    } while (rc < 0);
}

/* Some messages, and another connection. */
static void send_for_ever(void *context)
{
    struct scene *scene = context;
    uint8_t *bytes = malloc(scene->size);

    ck_assert_ptr_nonnull(bytes);
    memset(bytes, 1, scene->size);
    for (unsigned i = 0;; i++) {
        tine_connection *connection;

        dial(scene, &connection);
        for (unsigned j = 0; j < 1 + i % 16; j++) {
            if (scene->size <= 1 << 20) /* a larger one takes its time */
                memset(bytes, (int)(i + j), scene->size);
            ck_assert_rc(tine_connection_send_bytes(connection, bytes, scene->size, TINE_FOREVER),
                         0);
        }
        tine_connection_close(connection);
    }
}

static int ask(tine_connection *connection, uint64_t number)
{
    uint64_t answer;
    size_t size;
    int rc = tine_connection_send_bytes(connection, &number, QUESTION, TINE_FOREVER);

    if (rc == 0)
        rc = tine_connection_recv_bytes_into(connection, &answer, sizeof answer, TINE_FOREVER,
                                             &size);
    if (rc == 0)
        ck_assert(size == QUESTION && answer == number);
    return rc;
}

/* Lives, and is answered all the time. */
static void witness(void *context)
{
    struct scene *scene = context;
    tine_connection *connection;

    dial(scene, &connection);
    while (scene->over == 0) {
        ck_assert_rc(ask(connection, scene->answers), 0);
        scene->answers++;
    }
    tine_connection_close(connection);
}

/* Its listener is killed again and again. */
static void ask_for_ever(void *context)
{
    struct scene *scene = context;

    while (scene->over == 0) {
        tine_connection *connection;
        int rc;

        dial(scene, &connection);
        do {
            rc = ask(connection, scene->answers);
            scene->answers += rc == 0;
        } while (rc == 0 && scene->over == 0);
        ck_assert_msg(rc == 0 || rc == TINE_EEOF || rc == -EPIPE || rc == -EBADMSG,
                      "a killed listener gives %s", tine_errname(rc));
        scene->failures++;
        tine_connection_close(connection);
    }
}

/* ---- the hunts ------------------------------------------------------------------------------- */

static struct scene *scene_new(int loop_index, size_t size)
{
    struct scene *scene = shared_memory(sizeof *scene);

    scene->way = (enum way)(loop_index % WAYS);
    scene->size = size;
    snprintf(scene->address, sizeof scene->address, "unix:@tine-kill-%d", getpid());
    return scene;
}

static void await_answer(struct scene *scene, struct samples *samples)
{
    uint64_t before = scene->answers;
    int64_t begin = now_ns();

    ck_assert_eventually(scene->answers > before);
    samples_add(samples, (uint64_t)(now_ns() - begin));
}

static void await_more(const struct scene *scene)
{
    uint64_t before = scene->answers;

    ck_assert_eventually(scene->answers > before);
}

static size_t kills_of(size_t size)
{
    return kills_wanted(size > 1 << 20 ? KILLS / 25 : KILLS);
}

TEST(killed_clients_bother_nobody, .loop_end = WAYS * SIZES, .kills = KILLS, .timeout_s = 60)
{
    struct samples samples = {.name = "listener.client", .bound_ns = (uint64_t)TINE_MS(100)};
    struct scene *scene = scene_new(loop_index, sizes[loop_index / WAYS]);
    struct child listener = child_start(listen_for_ever, scene),
                 other = child_start(witness, scene), victim;
    size_t kills = kills_of(scene->size);

    await_more(scene);
    for (size_t n = 0; n < kills; n++) {
        victim = child_start(send_for_ever, scene);
        pause_randomly(scene->size > 1 << 20 ? TINE_MS(200) : TINE_MS(2));
        child_kill(&victim);
        await_answer(scene, &samples);
    }
    scene->over = 2;
    child_join(&other);
    child_join(&listener);
    printf("%zu bytes: %ju received, %ju connections, %ju of them cut\n", scene->size,
           (uintmax_t)scene->received, (uintmax_t)scene->ended, (uintmax_t)scene->cut);
    samples_end(&samples);
}

TEST(a_killed_listener_is_noticed_and_replaced, .loop_end = WAYS, .kills = KILLS, .timeout_s = 60)
{
    struct samples samples = {.name = "listener.listener", .bound_ns = (uint64_t)TINE_MS(100)};
    struct scene *scene = scene_new(loop_index, 1);
    struct child listener, client;
    struct files files;
    size_t kills = kills_of(scene->size);

    files_begin(&files);
    snprintf(scene->address, sizeof scene->address, "unix:%s", files_path(&files, "s"));
    client = child_start(ask_for_ever, scene);
    for (size_t n = 0; n < kills; n++) {
        uint64_t before = scene->failures;
        int64_t death;

        listener = child_start(listen_for_ever, scene);
        ck_assert_eventually(access(scene->address + 5, F_OK) == 0);
        if (n % 2 == 0)
            await_more(scene);
        pause_randomly(TINE_MS(1));
        child_kill(&listener);
        death = now_ns();
        if (n % 2 == 0) { /* it was connected */
            ck_assert_eventually(scene->failures > before);
            samples_add(&samples, (uint64_t)(now_ns() - death));
        }
    }
    listener = child_start(listen_for_ever, scene);
    await_more(scene);
    scene->over = 1;
    child_join(&listener);
    child_join(&client);
    ck_assert_int_eq(access(scene->address + 5, F_OK), -1);
    files_end(&files);
    samples_end(&samples);
}

SUITE("kill/listener")
