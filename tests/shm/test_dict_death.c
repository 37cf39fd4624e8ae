/* SPDX-License-Identifier: MIT */
/*
 * SIGKILL and SIGSTOP at random instants of processes that read, change, grow and walk a
 * dictionary. Nobody else is held up; keys that are never removed keep a whole value; additions are
 * there or not; and each kill loses one block of the heap at most.
 */
#include <tine/dict.h>
#include <tine/heap.h>

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <tine/time.h>

#include "shm/heap.h"
#include "tests/shm/heap_help.h"
#include "tests/support/children.h"
#include "tests/support/hunt.h"
#include "tests/support/random.h"
#include "tests/support/samples.h"
#include "tests/support/wait.h"

HEAP_BEFORE_TESTS

enum { WORKERS = 3, FIXED = 64, PASSING = 200, KILLS = 50 };

struct field {
    tine_dict *dict;
    void (*body)(void *);
    struct gate *going; /* raised by each worker when it has begun */
    _Atomic bool stop;
    _Atomic uint64_t number; /* of a worker, for its random numbers */
    _Atomic int64_t added;   /* additions that have returned */
    struct child workers[WORKERS];
};

static const char *name(const char *kind, uint64_t number)
{
    static _Thread_local char text[40];

    snprintf(text, sizeof text, "%s %" PRIu64, kind, number);
    return text;
}

/* ---- what workers do ------------------------------------------------------------------------- */

/* Both halves of a fixed key's value belong together. */
static void check_pair(const void *value, size_t value_len)
{
    int64_t first, second;

    if (tine_unpack(value, value_len, "qyq", &first, NULL, NULL, &second) != 0 || first != -second)
        ck_abort_msg("a torn value");
}

static int change_pair(const void *value, size_t value_len, tine_buffer *out, void *context)
{
    static const char filling[3000];
    int64_t first = (int64_t)random_u64() >> 2;

    (void)context;
    if (value == NULL)
        ck_abort_msg("a fixed key is gone");
    check_pair(value, value_len);
    return tine_pack(out, "qyq", first, filling, random_below(20) == 0 ? 3000 : random_below(60),
                     -first);
}

static void change_fixed(struct field *field)
{
    ck_assert_ok(tine_dict_update(field->dict, name("fixed", random_below(FIXED)), TINE_KEY_STRING,
                                  change_pair, NULL));
}

static void add_one(struct field *field)
{
    ck_assert_ok(tine_dict_add(field->dict, "sum", 1, NULL));
    atomic_fetch_add(&field->added, 1);
}

static void come_and_go(struct field *field)
{
    const char *key = name("passing", random_below(PASSING));
    int rc = random_below(2) == 0 ? tine_dict_put(field->dict, key, "q", INT64_C(1))
                                  : tine_dict_remove(field->dict, key, TINE_KEY_STRING);

    if (rc != 0 && rc != -ENOENT)
        ck_abort_msg("%s", tine_errname(rc));
}

/* A key of its own: it only uses up the table, so that there must be a new one. */
static void use_up(struct field *field, uint64_t number)
{
    const char *key = name("own", number);

    ck_assert_ok(tine_dict_put(field->dict, key, "n"));
    ck_assert_ok(tine_dict_remove(field->dict, key, TINE_KEY_STRING));
}

static void read_fixed(struct field *field)
{
    tine_buffer buffer = {0};

    ck_assert_ok(tine_dict_get_packed(field->dict, name("fixed", random_below(FIXED)),
                                      TINE_KEY_STRING, &buffer));
    check_pair(buffer.data, buffer.size);
    tine_buffer_free(&buffer);
}

/* Each fixed key comes exactly once, whatever tables come and go. */
static void walk(struct field *field)
{
    char text[16] = "";
    uint64_t seen = 0;
    tine_dict_iter iter;
    tine_dict_item item;

    ck_assert_ok(tine_dict_iter_init(&iter, field->dict));
    while (tine_dict_iter_next(&iter, &item) == 1) {
        if (item.key_len < 7 || memcmp(item.key, "fixed ", 6) != 0)
            continue;
        check_pair(item.value, item.value_len);
        memcpy(text, (const char *)item.key + 6, item.key_len - 6);
        text[item.key_len - 6] = '\0';
        if ((seen >> atoi(text) & 1) != 0)
            ck_abort_msg("fixed %s came twice", text);
        seen |= (uint64_t)1 << atoi(text);
    }
    tine_dict_iter_fini(&iter);
    if (seen != UINT64_MAX)
        ck_abort_msg("fixed keys were left out: %" PRIx64, ~seen);
}

static void begin(struct field *field)
{
    random_fork(atomic_fetch_add(&field->number, 1));
    gate_raise(field->going);
}

static void write_only(void *context)
{
    struct field *field = context;

    for (begin(field); !field->stop;) {
        change_fixed(field);
        add_one(field);
        come_and_go(field);
    }
}

static void grow_only(void *context)
{
    struct field *field = context;
    uint64_t number;

    begin(field);
    for (number = random_u64(); !field->stop; number++) {
        use_up(field, number);
        come_and_go(field);
    }
}

static void read_only(void *context)
{
    struct field *field = context;

    for (begin(field); !field->stop;) {
        read_fixed(field);
        if (random_below(10) == 0)
            walk(field);
    }
}

static void do_all(void *context)
{
    struct field *field = context;
    uint64_t number;

    begin(field);
    for (number = random_u64(); !field->stop; number++) {
        change_fixed(field);
        add_one(field);
        use_up(field, number);
        read_fixed(field);
        if (random_below(30) == 0)
            walk(field);
    }
}

/* ---- the field ------------------------------------------------------------------------------- */

static struct field *open_field(void (*body)(void *))
{
    struct field *field = shared_memory(sizeof *field);

    ck_assert_ok(tine_dict_open(&field->dict, NULL));
    for (uint64_t i = 0; i < FIXED; i++)
        ck_assert_ok(tine_dict_put(field->dict, name("fixed", i), "qyq", (int64_t)i, "", (size_t)0,
                                   -(int64_t)i));
    ck_assert_ok(tine_dict_put(field->dict, "sum", "q", INT64_C(0)));
    field->body = body;
    field->going = gate_new();
    for (int i = 0; i < WORKERS; i++)
        field->workers[i] = child_start(i == 0 ? do_all : body, field);
    gate_await(field->going, WORKERS);
    return field;
}

/* What a survivor does right after a death, and how long it takes him. */
static uint64_t survive(struct field *field, uint64_t number)
{
    int64_t start = now_ns();

    change_fixed(field);
    read_fixed(field);
    use_up(field, number);
    return (uint64_t)(now_ns() - start);
}

static int64_t count_by_keys(tine_dict *dict)
{
    int64_t count = 0;

    for (uint64_t i = 0; i < PASSING; i++)
        count += tine_dict_contains(dict, name("passing", i), TINE_KEY_STRING);
    return count;
}

/* Keys that a worker had put and not yet removed when it was killed are there too. */
static int64_t count_own(tine_dict *dict)
{
    int64_t count = 0;
    tine_dict_iter iter;
    tine_dict_item item;

    ck_assert_ok(tine_dict_iter_init(&iter, dict));
    while (tine_dict_iter_next(&iter, &item) == 1)
        count += item.key_len > 4 && memcmp(item.key, "own ", 4) == 0;
    tine_dict_iter_fini(&iter);
    return count;
}

static void check_field(struct field *field, int64_t kills)
{
    int64_t sum, own = count_own(field->dict);

    walk(field);
    ck_assert_int_le(own, kills);
    ck_assert_int_eq(tine_dict_count(field->dict), FIXED + 1 + count_by_keys(field->dict) + own);
    ck_assert_ok(tine_dict_get(field->dict, "sum", "q", &sum));
    ck_assert_int_ge(sum, field->added);
    ck_assert_int_le(sum, field->added + kills);
}

static void stop_field(struct field *field)
{
    field->stop = true;
    for (int i = 0; i < WORKERS; i++)
        child_join(&field->workers[i]);
}

static void close_field(struct field *field, uint64_t base, size_t kills)
{
    tine_dict_counts counts;
    uint64_t after;

    ck_assert_ok(tine_dict_stats(field->dict, &counts));
    tine_dict_close(field->dict);
    ck_assert_rc(tine__owner_sweep_dead(), 0);
    assert_heap_sound();
    after = heap_counts().used_blocks;
    ck_assert_uint_le(counts.seats, 5 * WORKERS); /* those of the dead are taken again */
    printf("dict: %zu kills, %" PRIu64 " tables, %" PRIu64 " seats adopted, %" PRId64
           " blocks lost\n",
           kills, counts.resizes, counts.swept, (int64_t)(after - base));
    ck_assert_uint_le(after, base + kills);
    ck_assert_uint_eq(heap_counts().bad_frees, 0);
}

static void kill_many(const char *kind, void (*body)(void *))
{
    struct samples samples = {.name = kind, .bound_ns = 50000000};
    uint64_t base = heap_counts().used_blocks;
    size_t kills = kills_wanted(KILLS);
    struct field *field = open_field(body);

    for (size_t k = 0; k < kills; k++) {
        size_t i = random_below(WORKERS);

        pause_randomly(TINE_MS(2));
        child_kill(&field->workers[i]);
        samples_add(&samples, survive(field, k));
        field->workers[i] = child_start(i == 0 ? do_all : body, field);
        gate_await(field->going, WORKERS + (uint32_t)k + 1);
    }
    stop_field(field);
    check_field(field, (int64_t)kills);
    close_field(field, base, kills);
    samples_end(&samples);
}

TEST(writers_are_killed, .timeout_s = 60, .kills = KILLS)
{
    kill_many("dict.writer_killed", write_only);
}

TEST(growers_are_killed, .timeout_s = 60, .kills = KILLS)
{
    kill_many("dict.grower_killed", grow_only);
}

TEST(readers_are_killed, .timeout_s = 60, .kills = KILLS)
{
    kill_many("dict.reader_killed", read_only);
}

TEST(all_workers_are_killed_at_once, .timeout_s = 60, .kills = KILLS)
{
    uint64_t base = heap_counts().used_blocks;
    size_t kills = kills_wanted(KILLS) / WORKERS * WORKERS;
    struct field *field = open_field(do_all);

    for (size_t k = 0; k < kills; k += WORKERS) {
        pause_randomly(TINE_MS(4));
        for (int i = 0; i < WORKERS; i++)
            ck_assert_int_eq(kill(field->workers[i].pid, SIGKILL), 0);
        survive(field, k);
        for (int i = 0; i < WORKERS; i++) {
            child_wait(&field->workers[i]);
            field->workers[i] = child_start(do_all, field);
        }
        gate_await(field->going, 2 * WORKERS + (uint32_t)k);
    }
    stop_field(field);
    check_field(field, (int64_t)kills);
    close_field(field, base, kills);
}

/* Whoever is stopped, and wherever: a table is filled, left and freed round him. */
TEST(stopped_processes_hold_up_nobody, .timeout_s = 60)
{
    uint64_t base = heap_counts().used_blocks;
    struct field *field = open_field(do_all);
    struct samples samples = {.name = "dict.others_stopped", .bound_ns = 50000000};

    for (uint64_t k = 0; k < 30; k++) {
        pause_randomly(TINE_MS(2));
        for (int i = 0; i < WORKERS; i++)
            child_stop(&field->workers[i]);
        samples_add(&samples, survive(field, k));
        for (uint64_t i = 0; i < 300; i++)
            use_up(field, i);
        walk(field);
        for (int i = 0; i < WORKERS; i++)
            child_continue(&field->workers[i]);
    }
    stop_field(field);
    check_field(field, 0);
    close_field(field, base, 0);
    samples_end(&samples);
}

static void iterate_until_killed(void *context)
{
    struct field *field = context;
    tine_dict_iter iter;

    ck_assert_ok(tine_dict_iter_init(&iter, field->dict));
    gate_raise(field->going);
    pause();
}

TEST(the_pins_of_the_dead_do_not_keep_memory)
{
    struct field *field = shared_memory(sizeof *field);
    struct child child;
    tine_dict_counts counts;
    uint64_t blocks;

    ck_assert_ok(tine_dict_open(&field->dict, NULL));
    ck_assert_ok(tine_dict_put(field->dict, "a", "n"));
    field->going = gate_new();
    child = child_start(iterate_until_killed, field);
    gate_await(field->going, 1);
    blocks = heap_counts().used_blocks;
    for (int i = 0; i < 5000; i++)
        ck_assert_ok(tine_dict_put(field->dict, "a", "n"));
    ck_assert_uint_ge(heap_counts().used_blocks, blocks + 4500); /* the living may still look */
    child_kill(&child);
    for (int i = 0; i < 200; i++)
        ck_assert_ok(tine_dict_put(field->dict, "a", "n"));
    ck_assert_uint_le(heap_counts().used_blocks, blocks + 300);
    ck_assert_ok(tine_dict_stats(field->dict, &counts));
    ck_assert_uint_eq(counts.swept, 1);
    tine_dict_close(field->dict);
}

SUITE("shm/dict_death")
