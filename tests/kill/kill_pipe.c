/* SPDX-License-Identifier: MIT */
/*
 * Two senders and two receivers at the two ends of a pipe are SIGKILLed at random instants, one
 * kind or both, with messages of all sizes, and with descriptors among plain ones. No message comes
 * torn, twice, or before an earlier one of its sender; a killed receiver takes at most the one in
 * its hands along; the survivors go on at once, and in the end neither heap nor descriptors have
 * lost anything.
 */
#include <tine.h>

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/support/children.h"
#include "tests/support/heap_first.h"
#include "tests/support/hunt.h"
#include "tests/support/proc.h"
#include "tests/support/random.h"
#include "tests/support/samples.h"
#include "tests/support/suite.h"
#include "tests/support/wait.h"

/* A program is built for each transport. */
#ifndef PIPE_TRANSPORT
#define PIPE_TRANSPORT TINE_SOCKET
#endif

#define KILLS    50 /* of a kind, for messages up to 1 MiB */
#define SEATS    2  /* processes at either end */
#define LIVES    32 /* of senders, remembered: the last ones */
#define MESSAGES (64 * 1024)

static const size_t sizes[] = {1, 63, 64, 65 * 1024, 1 << 20, 64 << 20};
enum { SIZES = sizeof sizes / sizeof sizes[0], SMALLEST_STAMPED = sizeof(uint32_t) * 2 };

enum kind { SENDERS, RECEIVERS, BOTH, KINDS };

/* One life of a sender: how many it has sent for sure, and which of them came. */
struct life {
    _Atomic uint32_t number;
    _Atomic uint32_t sent;
    _Atomic uint32_t came;
    _Atomic uint8_t seen[MESSAGES];
};

/* In shared memory. */
struct scene {
    struct life lives[LIVES];
    _Atomic uint64_t received; /* by anybody */
    size_t size;
    bool files; /* every third message has a descriptor with it, and they are small */
};

static const tine_pipe_options options = {.transport = PIPE_TRANSPORT};
static tine_connection *a, *b; /* private: of a sender, of a receiver */
static uint32_t life_number;   /* of the sender that is forked next */

struct stamp {
    uint32_t life, number;
};

/* ---- participants ---------------------------------------------------------------------------- */

/* Bytes at both ends and here and there: a large message is checked in no time. */
static void fill(uint8_t *bytes, size_t size, struct stamp stamp)
{
    if (size < sizeof stamp)
        return;
    for (size_t at = 0; at + sizeof stamp <= size; at += size / 2 > 4096 ? 4096 : size / 2)
        memcpy(bytes + at, &stamp, sizeof stamp);
    memcpy(bytes + size - sizeof stamp, &stamp, sizeof stamp);
}

static struct stamp check(const uint8_t *bytes, size_t size)
{
    struct stamp stamp, other;

    memcpy(&stamp, bytes, sizeof stamp);
    memcpy(&other, bytes + size - sizeof stamp, sizeof stamp);
    ck_assert_mem_eq(&stamp, &other, sizeof stamp);
    for (size_t at = 4096; at + sizeof stamp <= size / 2; at += 4096)
        ck_assert_mem_eq(bytes + at, &stamp, sizeof stamp);
    return stamp;
}

static int send_loan(const uint8_t *bytes, size_t size)
{
    tine_message loan;
    void *data;
    int rc = tine_connection_loan(a, size, TINE_FOREVER, &loan, &data);

    if (rc < 0)
        return rc;
    memcpy(data, bytes, size);
    return tine_connection_send_loan(a, &loan, TINE_FOREVER);
}

static int send_file(struct stamp stamp)
{
    int fd = memfd_create("sent", MFD_CLOEXEC), rc;

    ck_assert_int_eq(write(fd, &stamp, sizeof stamp), sizeof stamp);
    rc = tine_connection_send(a, TINE_FOREVER, "yF", &stamp, sizeof stamp, fd);
    close(fd);
    return rc;
}

static int send_one(const struct scene *scene, uint8_t *bytes, struct stamp stamp)
{
    fill(bytes, scene->size, stamp);
    if (scene->files && stamp.number % 3 == 0)
        return send_file(stamp);
    if (scene->files)
        return tine_connection_send(a, TINE_FOREVER, "y", &stamp, sizeof stamp);
    if (stamp.number % 2 == 0)
        return tine_connection_send_bytes(a, bytes, scene->size, TINE_FOREVER);
    return send_loan(bytes, scene->size);
}

static void send_for_ever(void *context)
{
    struct scene *scene = context;
    struct life *life = &scene->lives[life_number % LIVES];
    uint8_t *bytes = calloc(1, scene->size);

    tine_connection_close(b);
    ck_assert_ptr_nonnull(bytes);
    for (uint32_t i = 0;; i++) {
        ck_assert_rc(send_one(scene, bytes, (struct stamp){life_number, i}), 0);
        life->sent = i + 1;
    }
}

static void note(struct scene *scene, struct stamp stamp, uint32_t *last)
{
    struct life *life = &scene->lives[stamp.life % LIVES];

    if (life->number != stamp.life)
        return; /* long dead */
    ck_assert(last[stamp.life % LIVES] <= stamp.number);
    last[stamp.life % LIVES] = stamp.number + 1;
    life->came++;
    if (stamp.number < MESSAGES)
        ck_assert_uint_eq(life->seen[stamp.number]++, 0);
}

static int receive_bytes(const struct scene *scene, struct stamp *stamp)
{
    tine_message message;
    int rc = tine_connection_recv_view(b, TINE_FOREVER, &message);

    if (rc < 0)
        return rc;
    ck_assert_uint_eq(message.size, scene->size);
    *stamp =
        message.size >= SMALLEST_STAMPED ? check(message.data, message.size) : (struct stamp){0, 0};
    tine_message_release(&message);
    return 0;
}

/* The descriptor is that of its message. */
static void check_file(int fd, const struct stamp *stamp)
{
    struct stamp inside;

    ck_assert_int_eq(pread(fd, &inside, sizeof inside, 0), sizeof inside);
    ck_assert_mem_eq(&inside, stamp, sizeof inside);
    close(fd);
}

static int receive_file(struct stamp *stamp)
{
    const void *bytes;
    size_t size;
    int rc = tine_connection_recv_bytes_into(b, NULL, 0, TINE_FOREVER, &size), fd = -1;

    if (rc != -EMSGSIZE)
        return rc;
    if (size == 2 + sizeof *stamp) /* as packed */
        rc = tine_connection_recv(b, 0, "y", &bytes, &size);
    else
        rc = tine_connection_recv(b, 0, "yF", &bytes, &size, &fd);
    ck_assert_rc(rc, 0);
    ck_assert_uint_eq(size, sizeof *stamp);
    memcpy(stamp, bytes, size);
    if (fd >= 0)
        check_file(fd, stamp);
    return 0;
}

static int receive_one(const struct scene *scene, struct stamp *stamp)
{
    return scene->files ? receive_file(stamp) : receive_bytes(scene, stamp);
}

static void receive_for_ever(void *context)
{
    struct scene *scene = context;
    uint32_t last[LIVES] = {0}, whose[LIVES] = {0};
    struct stamp stamp;

    tine_connection_close(a);
    for (;;) {
        ck_assert_rc(receive_one(scene, &stamp), 0);
        if (scene->size >= SMALLEST_STAMPED) {
            if (whose[stamp.life % LIVES] != stamp.life)
                last[stamp.life % LIVES] = 0;
            whose[stamp.life % LIVES] = stamp.life;
            note(scene, stamp, last);
        }
        scene->received++;
    }
}

/* ---- the hunt -------------------------------------------------------------------------------- */

struct seats {
    struct child senders[SEATS], receivers[SEATS];
    uint32_t lives[SEATS];
};

static void seat_sender(struct scene *scene, struct seats *seats, int i)
{
    struct life *life = &scene->lives[++life_number % LIVES];

    seats->lives[i] = life_number;
    life->number = 0;
    life->sent = life->came = 0;
    memset((void *)life->seen, 0, sizeof life->seen);
    life->number = life_number;
    seats->senders[i] = child_start(send_for_ever, scene);
}

static void seat_receiver(struct scene *scene, struct seats *seats, int i)
{
    seats->receivers[i] = child_start(receive_for_ever, scene);
}

/* How long everybody has waited for a CPU: the living, and this process. */
struct delays {
    uint64_t ns[2 * SEATS + 1];
};

static struct delays delays_of(const struct seats *seats)
{
    struct delays delays = {.ns = {[2 * SEATS] = proc_delay_ns(getpid())}};

    for (int i = 0; i < SEATS; i++) {
        if (seats->senders[i].pid > 0)
            delays.ns[2 * i] = proc_delay_ns(seats->senders[i].pid);
        if (seats->receivers[i].pid > 0)
            delays.ns[2 * i + 1] = proc_delay_ns(seats->receivers[i].pid);
    }
    return delays;
}

/* Beyond the bound, what the most starved of them waited for a CPU is not the pipe's, and said. */
static uint64_t without_delay(uint64_t took, const struct delays *from, const struct delays *to,
                              const struct samples *samples)
{
    uint64_t most = 0;

    for (int i = 0; i < 2 * SEATS + 1; i++)
        if (to->ns[i] > from->ns[i] && to->ns[i] - from->ns[i] > most)
            most = to->ns[i] - from->ns[i];
    if (took <= samples->bound_ns)
        return took;
    printf("%s: %.0f ms, of which somebody waited %.0f for a CPU\n", samples->name,
           (double)took / 1e6, (double)most / 1e6);
    return took > most ? took - most : 0;
}

/* The others go on: a sender and a receiver are left in any case. */
static void await_more(struct scene *scene, const struct seats *seats, struct samples *samples)
{
    struct delays from = delays_of(seats), to;
    uint64_t before = scene->received, took;
    int64_t begin = now_ns();

    ck_assert_eventually(scene->received > before);
    took = (uint64_t)(now_ns() - begin);
    to = delays_of(seats);
    if (scene->size <= 1 << 20) /* a larger one takes its time without any death */
        samples_add(samples, without_delay(took, &from, &to, samples));
}

static void kill_one(struct scene *scene, struct seats *seats, enum kind kind,
                     struct samples *samples)
{
    int i = (int)random_below(SEATS);

    pause_randomly(TINE_US(400));
    if (kind != RECEIVERS)
        child_kill(&seats->senders[i]);
    if (kind != SENDERS)
        child_kill(&seats->receivers[i]);
    await_more(scene, seats, samples);
    if (kind != RECEIVERS)
        seat_sender(scene, seats, i);
    if (kind != SENDERS)
        seat_receiver(scene, seats, i);
}

static void drain(struct scene *scene)
{
    uint32_t last[LIVES] = {0};
    struct stamp stamp;
    int rc;

    while ((rc = receive_one(scene, &stamp)) == 0)
        if (scene->size >= SMALLEST_STAMPED)
            note(scene, stamp, last);
    ck_assert_rc(rc, TINE_EEOF);
}

/* What a sender that lived to the end has sent has come, but for what receivers took along. */
static void expect_few_losses(struct scene *scene, const struct seats *seats, size_t takers)
{
    for (int i = 0; i < SEATS; i++) {
        const struct life *life = &scene->lives[seats->lives[i] % LIVES];

        if (scene->size >= SMALLEST_STAMPED)
            ck_assert_uint_ge(life->came + takers, life->sent);
    }
}

static uint64_t heap_blocks(void)
{
    tine_heap_report report;

    ck_assert_rc(tine_heap_check(&report), 0);
    ck_assert_uint_eq(report.lost_bytes, 0);
    return report.used_blocks;
}

static size_t kills_of(size_t size)
{
    return kills_wanted(KILLS) / (size > 1 << 20 ? 10 : 1);
}

static void hunt_in(struct scene *scene, enum kind kind, struct samples *samples)
{
    size_t kills = kills_of(scene->size);
    struct seats seats;

    for (int i = 0; i < SEATS; i++) {
        seat_receiver(scene, &seats, i);
        seat_sender(scene, &seats, i);
    }
    await_more(scene, &seats, samples);
    for (size_t n = 0; n < kills; n++)
        kill_one(scene, &seats, kind, samples);
    for (int i = 0; i < SEATS; i++)
        child_kill(&seats.senders[i]);
    for (int i = 0; i < SEATS; i++)
        child_kill(&seats.receivers[i]);
    tine_connection_close(a);
    drain(scene);
    expect_few_losses(scene, &seats, kind == SENDERS ? SEATS : kills + SEATS);
}

static const char *const names[KINDS] = {"pipe.sender", "pipe.receiver", "pipe.both"};

TEST(killed_ends_cost_no_more_than_their_own_message, .loop_end = KINDS * SIZES, .kills = KILLS,
     .timeout_s = 60)
{
    struct scene *scene = shared_memory(sizeof *scene);
    enum kind kind = (enum kind)(loop_index % KINDS);
    struct samples samples = {.name = names[kind], .bound_ns = (uint64_t)TINE_MS(100)};
    uint64_t before;

    ck_assert_rc(tine_pipe(&a, &b, &options), 0); /* makes what stays */
    tine_connection_close(a);
    tine_connection_close(b);
    before = heap_blocks();
    scene->size = sizes[loop_index / KINDS];
    ck_assert_rc(tine_pipe(&a, &b, &options), 0);
    hunt_in(scene, kind, &samples);
    tine_connection_close(b);
    /* One that was on its way between the heap and a slot may be lost with each. */
    ck_assert_uint_le(heap_blocks(), before + 2 * kills_of(scene->size));
    printf("%zu bytes: %ju received, %ju blocks lost\n", scene->size, (uintmax_t)scene->received,
           (uintmax_t)(heap_blocks() - before));
    if (scene->size <= 1 << 20)
        samples_end(&samples);
}

static const char *const file_names[KINDS] = {"pipe.files.sender", "pipe.files.receiver",
                                              "pipe.files.both"};

TEST(killed_ends_cost_no_more_than_their_own_descriptors, .loop_end = KINDS, .kills = KILLS,
     .timeout_s = 60)
{
    struct scene *scene = shared_memory(sizeof *scene);
    struct samples samples = {.name = file_names[loop_index], .bound_ns = (uint64_t)TINE_MS(100)};

    scene->size = sizeof(struct stamp);
    scene->files = true;
    ck_assert_rc(tine_pipe(&a, &b, &options), 0);
    hunt_in(scene, (enum kind)loop_index, &samples);
    tine_connection_close(b);
    printf("descriptors: %ju received\n", (uintmax_t)scene->received);
    samples_end(&samples);
}

HEAP_BEFORE_TESTS

SUITE(PIPE_TRANSPORT == TINE_RING ? "kill/pipe_ring" : "kill/pipe")
