/* SPDX-License-Identifier: MIT */
/* Dictionaries of many processes, threads and forks. */
#include <tine/dict.h>

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include "shm/dict_impl.h"
#include "tests/shm/dict_help.h"
#include "tests/shm/heap_help.h"
#include "tests/support/children.h"
#include "tests/support/random.h"
#include "tests/support/wait.h"

HEAP_BEFORE_TESTS

enum { PROCESSES = 4 };

/* ---- many processes -------------------------------------------------------------------------- */

struct crowd {
    tine_dict *dict;
    _Atomic uint64_t number; /* of a process */
    _Atomic uint64_t won;
    _Atomic bool stop;
    struct gate *gate;
};

static struct crowd *new_crowd(void)
{
    struct crowd *crowd = shared_memory(sizeof *crowd);

    crowd->dict = open_dict();
    crowd->gate = gate_new();
    return crowd;
}

static void run_crowd(struct crowd *crowd, void (*body)(void *))
{
    struct child children[PROCESSES];

    for (int i = 0; i < PROCESSES; i++)
        children[i] = child_start(body, crowd);
    for (int i = 0; i < PROCESSES; i++)
        child_join(&children[i]);
}

static void add_everywhere(void *context)
{
    struct crowd *crowd = context;
    uint64_t me = crowd->number++;

    random_fork(me);
    for (int i = 0; i < 20000; i++)
        ck_assert_ok(tine_dict_add(crowd->dict, name(random_below(50)), 1, NULL));
}

TEST(no_addition_of_many_processes_is_lost)
{
    uint64_t base = heap_counts().used_blocks;
    struct crowd *crowd = new_crowd();
    int64_t sum = 0;

    run_crowd(crowd, add_everywhere);
    for (uint64_t i = 0; i < 50; i++)
        sum += number_at(crowd->dict, name(i));
    ck_assert_int_eq(sum, PROCESSES * 20000);
    ck_assert_int_eq(tine_dict_count(crowd->dict), 50);
    tine_dict_close(crowd->dict);
    ck_assert_uint_eq(heap_counts().used_blocks, base);
    ck_assert_uint_eq(heap_counts().bad_frees, 0);
}

static void set_all(void *context)
{
    struct crowd *crowd = context;
    int64_t me = (int64_t)crowd->number++;

    for (uint64_t i = 0; i < 30000; i++) {
        int rc = tine_dict_setdefault(crowd->dict, name(i), "q", me);

        ck_assert_ok(rc);
        crowd->won += (uint64_t)rc;
    }
}

TEST(of_many_that_set_a_default_one_wins_while_the_table_grows)
{
    uint64_t base = heap_counts().used_blocks;
    struct crowd *crowd = new_crowd();
    tine_dict_counts counts;

    run_crowd(crowd, set_all);
    ck_assert_uint_eq(crowd->won, 30000);
    ck_assert_ok(tine_dict_stats(crowd->dict, &counts));
    ck_assert_uint_eq(counts.keys, 30000);
    ck_assert_uint_eq(counts.cells_used, 30000);
    ck_assert_uint_ge(counts.resizes, 10);
    tine_dict_close(crowd->dict);
    ck_assert_uint_eq(heap_counts().used_blocks, base);
}

static void pop_all(void *context)
{
    struct crowd *crowd = context;
    tine_buffer buffer = {0};

    for (uint64_t i = 0; i < 20000; i++)
        if (tine_dict_pop(crowd->dict, name(i), TINE_KEY_STRING, &buffer) == 0)
            crowd->won++;
    tine_buffer_free(&buffer);
}

TEST(of_many_that_pop_one_gets_the_value)
{
    struct crowd *crowd = new_crowd();

    for (uint64_t i = 0; i < 20000; i++)
        ck_assert_ok(tine_dict_put(crowd->dict, name(i), "q", (int64_t)i));
    run_crowd(crowd, pop_all);
    ck_assert_uint_eq(crowd->won, 20000);
    ck_assert_int_eq(tine_dict_count(crowd->dict), 0);
    tine_dict_close(crowd->dict);
}

/* Keys come and go, tables as well; values say in themselves what they must be. */
static void storm(void *context)
{
    struct crowd *crowd = context;
    int64_t mine[64] = {0}, first, second, me = (int64_t)crowd->number++;
    char key[32];

    random_fork((uint64_t)me);
    for (int i = 0; i < 30000; i++) {
        size_t k = random_below(64);

        snprintf(key, sizeof key, "%zu of %" PRId64, k, me);
        if (mine[k] == 0) {
            mine[k] = 1 + (int64_t)random_below(1000);
            ck_assert_ok(tine_dict_put(crowd->dict, key, "qq", mine[k], -mine[k]));
        } else if (random_below(3) == 0) {
            mine[k] = 0;
            ck_assert_ok(tine_dict_remove(crowd->dict, key, TINE_KEY_STRING));
        } else {
            ck_assert_ok(tine_dict_get(crowd->dict, key, "qq", &first, &second));
            if (first != mine[k] || second != -first)
                ck_abort_msg("another value than mine");
        }
        /* keys that only grow the table */
        snprintf(key, sizeof key, "%d passing %" PRId64, i, me);
        ck_assert_ok(tine_dict_put(crowd->dict, key, "n"));
        ck_assert_ok(tine_dict_remove(crowd->dict, key, TINE_KEY_STRING));
    }
    for (size_t k = 0; k < 64; k++)
        crowd->won += mine[k] != 0;
}

TEST(each_sees_its_own_changes_in_a_storm_of_new_tables)
{
    uint64_t base = heap_counts().used_blocks;
    struct crowd *crowd = new_crowd();
    tine_dict_counts counts;

    run_crowd(crowd, storm);
    ck_assert_ok(tine_dict_stats(crowd->dict, &counts));
    ck_assert_uint_eq(counts.keys, crowd->won);
    ck_assert_uint_ge(counts.resizes, 100);
    tine_dict_close(crowd->dict);
    ck_assert_uint_eq(heap_counts().used_blocks, base);
    ck_assert_uint_eq(heap_counts().bad_frees, 0);
    assert_heap_sound();
}

static void write_pairs(void *context)
{
    struct crowd *crowd = context;
    int64_t n = 0;

    for (; !crowd->stop; n++)
        ck_assert_ok(tine_dict_put(crowd->dict, "pair", "qsq", n, "some text between", n));
}

TEST(readers_see_whole_values_that_never_go_back)
{
    struct crowd *crowd = new_crowd();
    int64_t first = 0, second = 0, last = 0;
    struct child writer;

    ck_assert_ok(tine_dict_put(crowd->dict, "pair", "qsq", last, "", last));
    writer = child_start(write_pairs, crowd);
    for (int i = 0; i < 100000 || last == 0; i++) {
        if (tine_dict_get(crowd->dict, "pair", "qsq", &first, NULL, &second) != 0)
            ck_abort_msg("no value");
        if (first != second || first < last)
            ck_abort_msg("%" PRId64 " and %" PRId64 " after %" PRId64, first, second, last);
        last = first;
    }
    crowd->stop = true;
    child_join(&writer);
    tine_dict_close(crowd->dict);
}

/* ---- threads, forks -------------------------------------------------------------------------- */

static void *add_in_thread(void *context)
{
    for (int i = 0; i < 5000; i++)
        if (tine_dict_add(context, name(0), 1, NULL) < 0)
            return context;
    return NULL;
}

TEST(threads_of_one_process_share_a_dictionary)
{
    tine_dict *dict = open_dict();
    pthread_t threads[12];
    tine_dict_counts counts;
    void *failed;

    ck_assert_ok(tine_dict_put(dict, name(0), "q", (int64_t)0));
    for (int i = 0; i < 12; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, add_in_thread, dict), 0);
    for (int i = 0; i < 12; i++) {
        ck_assert_int_eq(pthread_join(threads[i], &failed), 0);
        ck_assert_ptr_null(failed);
    }
    ck_assert_int_eq(number_at(dict, name(0)), 60000);
    ck_assert_ok(tine_dict_stats(dict, &counts));
    ck_assert_uint_le(counts.seats, 14);
    tine_dict_close(dict);
}

TEST(many_calls_at_once_get_seats)
{
    tine_dict *dict = open_dict();
    tine_dict_iter iters[40];
    tine_dict_counts counts;

    for (int i = 0; i < 40; i++)
        ck_assert_ok(tine_dict_iter_init(&iters[i], dict));
    ck_assert_ok(tine_dict_put(dict, "a", "n"));
    ck_assert_ok(tine_dict_stats(dict, &counts));
    ck_assert_uint_ge(counts.seats, 41);
    for (int i = 0; i < 40; i++)
        tine_dict_iter_fini(&iters[i]);
    tine_dict_close(dict);
}

static void use_as_child(void *context)
{
    struct crowd *crowd = context;

    ck_assert_int_eq(number_at(crowd->dict, "a"), 1);
    ck_assert_ok(tine_dict_add(crowd->dict, "a", 1, NULL));
}

struct inherited {
    tine_dict *dict;
    tine_dict_iter iter;
};

static void end_inherited(void *context)
{
    struct inherited *inherited = context;
    tine_dict_item item;

    ck_assert_rc(tine_dict_iter_next(&inherited->iter, &item), TINE_EFORKED);
    tine_dict_iter_fini(&inherited->iter);
    ck_assert_ok(tine_dict_put(inherited->dict, "b", "n"));
}

TEST(a_forked_child_uses_the_dictionary_but_not_the_iteration_of_its_parent)
{
    struct crowd *crowd = new_crowd();
    struct inherited inherited = {.dict = crowd->dict};
    tine_dict_item item;
    struct child child;

    ck_assert_ok(tine_dict_put(crowd->dict, "a", "q", (int64_t)1));
    child = child_start(use_as_child, crowd);
    child_join(&child);
    ck_assert_int_eq(number_at(crowd->dict, "a"), 2);
    ck_assert_ok(tine_dict_iter_init(&inherited.iter, crowd->dict));
    child = child_start(end_inherited, &inherited);
    child_join(&child);
    ck_assert_rc(tine_dict_iter_next(&inherited.iter, &item), 1);
    tine_dict_iter_fini(&inherited.iter);
    ck_assert_int_eq(tine_dict_count(crowd->dict), 2);
    tine_dict_close(crowd->dict);
}

static int fork_inside(const void *value, size_t value_len, tine_buffer *out, void *context)
{
    pid_t *child = context;

    (void)value;
    (void)value_len;
    *child = fork();
    return tine_pack(out, "q", (int64_t)(*child == 0 ? 1 : 2));
}

TEST(a_child_that_an_updater_forks_is_out_of_the_call)
{
    tine_dict *dict = open_dict();
    struct child child;
    pid_t pid = -1;
    int rc = tine_dict_update(dict, "a", 1, fork_inside, &pid);

    if (pid == 0)
        _exit(rc == TINE_EFORKED && tine_dict_add(dict, "b", 1, NULL) == 0 ? 0 : 1);
    ck_assert_ok(rc);
    child.pid = pid;
    child_join(&child);
    ck_assert_int_eq(number_at(dict, "a"), 2);
    ck_assert_int_eq(number_at(dict, "b"), 1);
    tine_dict_close(dict);
}

SUITE("shm/dict_shared")
