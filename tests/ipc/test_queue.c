/* SPDX-License-Identifier: MIT */
/* Queues: order, limits, timeouts, task_done and join, shutdown, many producers and consumers. */
#include <tine/queue.h>

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "tests/ipc/queue_help.h"
#include "tests/ipc/queue_kinds.h"
#include "tests/support/children.h"
#include "tests/support/random.h"
#include "tests/support/wait.h"

TEST(values_come_out_as_they_went_in, .loop_end = KINDS)
{
    tine_queue *queue = queue_new(kinds[loop_index]);
    int64_t number;
    double real;
    char *text;

    ck_assert_ok(tine_queue_put(queue, 0, "[qsd]", (int64_t)7, "seven", 7.5));
    ck_assert_ok(tine_queue_get(queue, 0, "[qsd]", &number, &text, &real));
    ck_assert_int_eq(number, 7);
    ck_assert_str_eq(text, "seven");
    ck_assert_double_eq(real, 7.5);
    free(text);
    done(queue, loop_index);
    assert_nothing(queue, -EAGAIN);
    tine_queue_close(queue);
}

TEST(a_fifo_keeps_the_order_however_many_there_are)
{
    tine_queue *queue = queue_new(kinds[0]);
    int64_t in = 0, out = 0;

    for (int round = 0; round < 12; round++) {
        int many = 1 << round;

        for (int i = 0; i < many; i++)
            put(queue, in++);
        ck_assert_int_eq(tine_queue_qsize(queue), in - out);
        for (int i = 0; i < many - round && i < many; i++)
            ck_assert_int_eq(get(queue), out++);
    }
    while (out < in)
        ck_assert_int_eq(get(queue), out++);
    ck_assert_int_eq(tine_queue_empty(queue), 1);
    tine_queue_close(queue);
}

TEST(a_lifo_gives_the_last_first)
{
    tine_queue *queue = queue_new(kinds[1]);

    for (int64_t i = 0; i < 1000; i++)
        put(queue, i);
    for (int64_t i = 1000; i-- > 0;)
        ck_assert_int_eq(get(queue), i);
    assert_nothing(queue, -EAGAIN);
    tine_queue_close(queue);
}

/* Numbers go in at random; of equal priorities the first put comes first. */
TEST(a_priority_queue_gives_the_smallest_first)
{
    enum { MANY = 2000, PRIORITIES = 50 };
    tine_queue *queue = queue_new(kinds[2]);
    int64_t priority = INT64_MIN, number = -1;

    for (int64_t i = 0; i < MANY; i++)
        ck_assert_ok(
            tine_queue_put_priority(queue, (int64_t)random_below(PRIORITIES) - 20, 0, "q", i));
    for (int i = 0; i < MANY; i++) {
        tine_queue_item *item;
        int64_t its;

        ck_assert_ok(tine_queue_get_item(queue, 0, &item));
        ck_assert_ok(tine_queue_item_unpack(item, "q", &its));
        ck_assert_int_ge(tine_queue_item_priority(item), priority);
        if (tine_queue_item_priority(item) == priority)
            ck_assert_int_gt(its, number);
        priority = tine_queue_item_priority(item);
        number = its;
        tine_queue_item_free(item);
    }
    tine_queue_close(queue);
}

TEST(items_of_every_size_are_whole, .loop_end = KINDS)
{
    static const size_t sizes[] = {0,    1,     63,        64,      65,     1000,
                                   4096, 65535, 65536 + 1, 1 << 20, 5 << 20};
    tine_queue *queue = queue_new(kinds[loop_index]);
    unsigned char *bytes = malloc(5 << 20), *back = malloc(5 << 20);

    for (size_t i = 0; i < 5 << 20; i++)
        bytes[i] = (unsigned char)random_u64();
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        size_t size = 99;

        ck_assert_ok(tine_queue_put_bytes(queue, bytes, sizes[s], 0, 0));
        if (sizes[s] > 0) {
            ck_assert_rc(tine_queue_get_bytes(queue, back, sizes[s] - 1, 0, &size), -EMSGSIZE);
            ck_assert_uint_eq(size, sizes[s]);
            ck_assert_int_eq(tine_queue_qsize(queue), 1);
        }
        ck_assert_ok(tine_queue_get_bytes(queue, back, sizes[s], 0, &size));
        ck_assert_uint_eq(size, sizes[s]);
        ck_assert_mem_eq(back, bytes, size);
        done(queue, loop_index);
    }
    free(bytes);
    free(back);
    tine_queue_close(queue);
}

TEST(an_item_that_does_not_fit_stays_the_next, .loop_end = KINDS)
{
    tine_queue *queue = queue_new(kinds[loop_index]);
    tine_queue_item *item;
    char *text = NULL;

    ck_assert_ok(tine_queue_put_nowait(queue, "s", "text"));
    ck_assert_rc(tine_queue_get_nowait(queue, "q", NULL), TINE_EFORMAT);
    ck_assert_rc(tine_queue_get_nowait(queue, "y", NULL, NULL), -EINVAL);
    ck_assert_int_eq(tine_queue_qsize(queue), 1);
    ck_assert_ok(tine_queue_get_nowait(queue, "s", &text));
    ck_assert_str_eq(text, "text");
    free(text);
    done(queue, loop_index);
    put(queue, 1);
    ck_assert_rc(tine_queue_get_nowait(queue, "s", &text), TINE_EFORMAT);
    ck_assert_ok(tine_queue_get_item(queue, 0, &item));
    ck_assert_int_eq(tine_queue_item_deliveries(item), 1);
    tine_queue_item_free(item);
    tine_queue_close(queue);
}

TEST(puts_and_gets_time_out, .loop_end = KINDS)
{
    tine_queue_options options = kinds[loop_index];
    tine_queue *queue;

    options.maxsize = 2;
    queue = queue_new(options);
    ck_assert_rc(tine_queue_get(queue, TINE_MS(1), "q", NULL), -ETIMEDOUT);
    ck_assert_rc(tine_queue_get(queue, 0, "q", NULL), -EAGAIN);
    ck_assert_int_eq(tine_queue_full(queue), 0);
    put(queue, 1);
    put(queue, 2);
    ck_assert_int_eq(tine_queue_full(queue), 1);
    ck_assert_rc(tine_queue_put(queue, TINE_MS(1), "q", (int64_t)3), -ETIMEDOUT);
    ck_assert_rc(tine_queue_put_nowait(queue, "q", (int64_t)3), -EAGAIN);
    ck_assert_int_eq(tine_queue_qsize(queue), 2);
    get(queue);
    put(queue, 3); /* what is leased takes no room */
    ck_assert_rc(tine_queue_put_nowait(queue, "q", (int64_t)4), -EAGAIN);
    tine_queue_close(queue);
}

TEST(bytes_are_limited, .loop_end = KINDS)
{
    tine_queue_options options = kinds[loop_index];
    char bytes[1001] = {0}, back[1000];
    tine_queue *queue;
    size_t size;

    options.maxbytes = 1000;
    queue = queue_new(options);
    ck_assert_rc(tine_queue_put_bytes(queue, bytes, 1001, 0, 0), -EMSGSIZE);
    ck_assert_ok(tine_queue_put_bytes(queue, bytes, 600, 0, 0));
    ck_assert_rc(tine_queue_put_bytes(queue, bytes, 401, 0, 0), -EAGAIN);
    ck_assert_rc(tine_queue_put_bytes(queue, bytes, 401, 0, TINE_MS(1)), -ETIMEDOUT);
    ck_assert_ok(tine_queue_put_bytes(queue, bytes, 400, 0, 0));
    ck_assert_ok(tine_queue_put_bytes(queue, bytes, 0, 0, 0));
    ck_assert_ok(tine_queue_get_bytes(queue, back, 1000, 0, &size));
    ck_assert_ok(tine_queue_get_bytes(queue, back, 1000, 0, &size));
    ck_assert_ok(tine_queue_get_bytes(queue, back, 1000, 0, &size));
    ck_assert_ok(tine_queue_put_bytes(queue, bytes, 1000, 0, 0));
    tine_queue_close(queue);
}

/* What a producer that died had charged is not charged for ever. */
TEST(bytes_charged_by_the_dead_are_found)
{
    tine_queue *queue = queue_new((tine_queue_options){.maxbytes = 1000});
    char bytes[1000] = {0};

    queue->shm->charge = 900;
    ck_assert_rc(tine_queue_put_bytes(queue, bytes, 500, 0, 0), -EAGAIN);
    ck_assert_ok(tine_queue_put_bytes(queue, bytes, 500, 0, TINE_FOREVER));
    tine_queue_close(queue);
}

TEST(many_at_once, .loop_end = KINDS)
{
    tine_queue *queue = queue_new(kinds[loop_index]);
    int64_t numbers[100];
    static tine_queue_message messages[100];
    tine_queue_item *items[60];
    int64_t next = 0;

    for (int i = 0; i < 100; i++) {
        numbers[i] = i;
        messages[i] =
            (tine_queue_message){.bytes = &numbers[i], .size = sizeof numbers[i], .priority = i};
    }
    ck_assert_rc(tine_queue_put_many(queue, messages, 100, 0), 100);
    ck_assert_rc(tine_queue_get_many(queue, items, 60, 0), 60);
    ck_assert_int_eq(tine_queue_qsize(queue), 40);
    for (int i = 0; i < 60; i++, next++) {
        size_t size;
        const int64_t *number = tine_queue_item_bytes(items[i], &size);

        ck_assert_uint_eq(size, sizeof *number);
        ck_assert_int_eq(*number, kinds[loop_index].order == TINE_LIFO ? 99 - next : next);
        if (kinds[loop_index].joinable)
            ck_assert_ok(tine_queue_item_done(items[i]));
        ck_assert_int_eq(*number, kinds[loop_index].order == TINE_LIFO ? 99 - next : next);
        tine_queue_item_free(items[i]);
    }
    ck_assert_rc(tine_queue_get_many(queue, items, 60, 0), 40);
    for (int i = 0; i < 40; i++)
        tine_queue_item_free(items[i]);
    ck_assert_rc(tine_queue_get_many(queue, items, 60, 0), -EAGAIN);
    tine_queue_close(queue);
}

TEST(put_many_puts_as_many_as_there_is_room_for)
{
    tine_queue *queue = queue_new((tine_queue_options){.maxsize = 3});
    tine_queue_message messages[5] = {{.bytes = "x", .size = 1}};

    ck_assert_rc(tine_queue_put_many(queue, messages, 5, 0), 3);
    ck_assert_rc(tine_queue_put_many(queue, messages, 5, TINE_MS(1)), -ETIMEDOUT);
    ck_assert_rc(tine_queue_put_many(queue, messages, 0, 0), 0);
    tine_queue_close(queue);
}

/* ---- many ------------------------------------------------------------------------------------ */

#define SIDES 4

struct crowd {
    tine_queue *queue;
    int kind;
    int64_t each;
    _Atomic uint32_t producers; /* numbers given out */
    _Atomic uint8_t *seen;      /* [SIDES * each] */
};

static void produce_numbers(void *context)
{
    struct crowd *crowd = context;
    int64_t producer = crowd->producers++;

    for (int64_t i = 0; i < crowd->each; i++)
        ck_assert_ok(
            tine_queue_put_priority(crowd->queue, i % 5, TINE_SEC(600), "qq", producer, i));
}

static void consume_numbers(void *context)
{
    struct crowd *crowd = context;
    int64_t last[SIDES], producer, i;
    int rc;

    for (int p = 0; p < SIDES; p++)
        last[p] = -1;
    while ((rc = tine_queue_get(crowd->queue, TINE_SEC(600), "qq", &producer, &i)) == 0) {
        ck_assert_uint_eq(atomic_fetch_add(&crowd->seen[producer * crowd->each + i], 1), 0);
        if (is_fifo(crowd->kind))
            ck_assert_int_gt(i, last[producer]);
        last[producer] = i;
        done(crowd->queue, crowd->kind);
    }
    ck_assert_rc(rc, -ESHUTDOWN);
}

/* maxsize 0, 1, and a few. */
TEST(each_item_comes_once_from_many_to_many, .loop_end = 3 * KINDS, .timeout_s = 60)
{
    static const uint64_t sizes[] = {0, 1, 50};
    tine_queue_options options = kinds[loop_index % KINDS];
    struct crowd *crowd = shared_memory(sizeof *crowd);
    struct child producers[SIDES], consumers[SIDES];

    options.maxsize = sizes[loop_index / KINDS];
    crowd->kind = loop_index % KINDS;
    crowd->queue = queue_new(options);
    crowd->each = options.maxsize == 1 ? 300 : 2000;
    crowd->seen = shared_memory((size_t)(SIDES * crowd->each));
    for (int i = 0; i < SIDES; i++) {
        producers[i] = child_start(produce_numbers, crowd);
        consumers[i] = child_start(consume_numbers, crowd);
    }
    for (int i = 0; i < SIDES; i++)
        child_join(&producers[i]);
    if (options.joinable)
        ck_assert_ok(tine_queue_join(crowd->queue, TINE_SEC(600), NULL));
    ck_assert_ok(tine_queue_shutdown(crowd->queue, 0));
    for (int i = 0; i < SIDES; i++)
        child_join(&consumers[i]);
    for (int64_t i = 0; i < SIDES * crowd->each; i++)
        ck_assert_uint_eq(crowd->seen[i], 1);
    tine_queue_close(crowd->queue);
}

static void *produce_in_thread(void *context)
{
    produce_numbers(context);
    return NULL;
}

static void *consume_in_thread(void *context)
{
    consume_numbers(context);
    return NULL;
}

TEST(threads_share_a_handle, .loop_end = KINDS)
{
    struct crowd *crowd = shared_memory(sizeof *crowd);
    pthread_t producers[SIDES], consumers[SIDES];

    crowd->kind = loop_index;
    crowd->queue = queue_new(kinds[loop_index]);
    crowd->each = 1000;
    crowd->seen = shared_memory((size_t)(SIDES * crowd->each));
    for (int i = 0; i < SIDES; i++) {
        pthread_create(&producers[i], NULL, produce_in_thread, crowd);
        pthread_create(&consumers[i], NULL, consume_in_thread, crowd);
    }
    for (int i = 0; i < SIDES; i++)
        pthread_join(producers[i], NULL);
    ck_assert_ok(tine_queue_shutdown(crowd->queue, 0));
    for (int i = 0; i < SIDES; i++)
        pthread_join(consumers[i], NULL);
    if (kinds[loop_index].joinable)
        ck_assert_ok(tine_queue_join(crowd->queue, TINE_FOREVER, NULL));
    for (int64_t i = 0; i < SIDES * crowd->each; i++)
        ck_assert_uint_eq(crowd->seen[i], 1);
    tine_queue_close(crowd->queue);
}

/* ---- lifetime -------------------------------------------------------------------------------- */

static void use_and_close(tine_queue_options options)
{
    static const char large[5000];
    tine_queue *queue = queue_new(options);
    tine_queue_item *item;

    for (int64_t i = 0; i < 3; i++)
        put(queue, i);
    ck_assert_ok(tine_queue_put_bytes(queue, large, sizeof large, 0, 0));
    ck_assert_ok(tine_queue_get_item(queue, 0, &item));
    tine_queue_item_free(item);
    tine_queue_close(queue);
}

/* Descriptors are the suite's to count. */
TEST(nothing_is_left_after_many_queues, .loop_end = KINDS, .timeout_s = 60)
{
    uint64_t before;

    use_and_close(kinds[loop_index]);
    before = heap_blocks();
    for (int i = 0; i < 2000; i++)
        use_and_close(kinds[loop_index]);
    ck_assert_uint_eq(heap_blocks(), before);
}

static void inherit(void *context)
{
    struct scene *scene = context;

    gate_await(scene->gate, 1);
    ck_assert_int_eq(get(scene->queue), 1);
    ck_assert_int_eq(get(scene->queue), 2);
    tine_queue_close(scene->queue);
}

/* The child goes on when the one that opened the queue has closed it. */
TEST(the_last_close_ends_the_queue)
{
    struct scene scene = {.gate = gate_new()};
    struct child child;
    uint64_t before;

    use_and_close(kinds[0]);
    before = heap_blocks();
    scene.queue = queue_new(kinds[0]);
    put(scene.queue, 1);
    put(scene.queue, 2);
    child = child_start(inherit, &scene);
    tine_queue_close(scene.queue);
    ck_assert_uint_gt(heap_blocks(), before);
    gate_raise(scene.gate);
    child_join(&child);
    ck_assert_uint_eq(heap_blocks(), before);
}

static void refuse_parents_items(void *context)
{
    struct scene *scene = context;
    tine_queue_item *item;

    ck_assert_rc(tine_queue_task_done(scene->queue), 0); /* for the parent */
    ck_assert_rc(tine_queue_task_done(scene->queue), -EOVERFLOW);
    put(scene->queue, 2);
    ck_assert_ok(tine_queue_get_item(scene->queue, 0, &item));
    ck_assert_ok(tine_queue_item_done(item));
    tine_queue_item_free(item);
    tine_queue_close(scene->queue);
}

TEST(a_forked_child_has_no_leases)
{
    struct scene scene = {.queue = queue_new((tine_queue_options){.joinable = 1})};
    struct child child;

    put(scene.queue, 1);
    get(scene.queue);
    child = child_start(refuse_parents_items, &scene);
    child_join(&child);
    ck_assert_ok(tine_queue_join(scene.queue, 0, NULL));
    tine_queue_close(scene.queue);
}

TEST(close_returns_what_is_leased, .loop_end = KINDS)
{
    struct scene scene = {.queue = queue_new(kinds[loop_index]), .gate = gate_new()};
    tine_queue *queue = scene.queue, copy = *queue;

    if (kinds[loop_index].joinable) {
        put(queue, 1);
        put(queue, 2);
        get(queue);
        copy = *queue; /* as a process that has it besides */
        tine__leases_return(&copy);
        ck_assert_int_eq(tine_queue_qsize(queue), 2);
    }
    tine_queue_close(queue);
}

TEST(bad_options_and_arguments_are_refused)
{
    tine_queue *queue = NULL;
    tine_queue_item *items[1];
    size_t size;

    ck_assert_rc(tine_queue_open(NULL, NULL), -EINVAL);
    ck_assert_rc(tine_queue_open(&queue, &(tine_queue_options){.order = 4}), -EINVAL);
    ck_assert_rc(tine_queue_open(&queue, &(tine_queue_options){.joinable = 2}), -EINVAL);
    ck_assert_rc(tine_queue_open(&queue, &(tine_queue_options){.flags = 1}), -EINVAL);
    ck_assert_rc(tine_queue_open(&queue, &(tine_queue_options){.lose = 1}), -EINVAL);
    ck_assert_rc(tine_queue_open(&queue, &(tine_queue_options){.lease_ns = -1}), -EINVAL);
    ck_assert_rc(tine_queue_open(&queue, &(tine_queue_options){.deliveries_max = 256}), -EINVAL);
    ck_assert_rc(tine_queue_open(&queue, &(tine_queue_options){.reserved = {1}}), -E2BIG);
    ck_assert_ptr_null(queue);
    ck_assert_rc(tine_queue_put_nowait(NULL, "q", (int64_t)1), -EINVAL);
    ck_assert_rc(tine_queue_get_nowait(NULL, "q", NULL), -EINVAL);
    ck_assert_rc(tine_queue_qsize(NULL), -EINVAL);
    ck_assert_rc(tine_queue_empty(NULL), -EINVAL);
    ck_assert_rc(tine_queue_full(NULL), -EINVAL);
    ck_assert_rc(tine_queue_shutdown(NULL, 0), -EINVAL);
    ck_assert_rc(tine_queue_task_done(NULL), -EINVAL);
    ck_assert_rc(tine_queue_join(NULL, 0, NULL), -EINVAL);
    ck_assert_rc(tine_queue_item_done(NULL), -EINVAL);
    ck_assert_ptr_null(tine_queue_item_bytes(NULL, NULL));
    tine_queue_close(NULL);
    ck_assert_ok(tine_queue_open(&queue, NULL));
    ck_assert_rc(tine_queue_put_bytes(queue, NULL, 1, 0, 0), -EINVAL);
    ck_assert_rc(tine_queue_put_nowait(queue, "!"), -EINVAL);
    ck_assert_rc(tine_queue_put_nowait(queue, "F", 0), -EINVAL);
    ck_assert_rc(tine_queue_put_nowait(queue, "oq", queue), -EINVAL);
    ck_assert_rc(tine_queue_put_nowait(queue, NULL), -EINVAL);
    ck_assert_rc(tine_queue_get_bytes(queue, NULL, 1, 0, &size), -EINVAL);
    ck_assert_rc(tine_queue_get_bytes(queue, &size, 1, 0, NULL), -EINVAL);
    ck_assert_rc(tine_queue_get_item(queue, 0, NULL), -EINVAL);
    ck_assert_rc(tine_queue_get_many(queue, items, 0, 0), -EINVAL);
    ck_assert_rc(tine_queue_dead_letters(queue, items, 0), -EINVAL);
    ck_assert_rc(tine_queue_dead_letters(queue, items, 1), 0);
    ck_assert_int_eq(tine_queue_empty(queue), 1);
    tine_queue_close(queue);
}

/* Positions that wrap, and rounds of the cells with them. */
TEST(cursors_wrap)
{
    tine_queue *queue = queue_new((tine_queue_options){.maxsize = 100});
    struct tine__fifo_ring_shm *ring = (void *)(uintptr_t)queue->shm->fifo.rings[0];
    uint64_t start = ((uint64_t)1 << 32) * ring->size - 200;
    int64_t in = 0, out = 0;

    ring->head = ring->tail = start;
    for (uint64_t p = start; p < start + ring->size; p++)
        ring->cells[p % ring->size] = (uint64_t)(uint32_t)(p / ring->size) << 32;
    for (int round = 0; round < 50; round++) {
        while (tine_queue_put_nowait(queue, "q", in) == 0)
            in++;
        ck_assert_int_eq(in - out, 100);
        for (int i = 0; i < 30; i++)
            ck_assert_int_eq(get(queue), out++);
    }
    tine_queue_close(queue);
}

/* ---- functions ------------------------------------------------------------------------------- */

static int64_t twice(int64_t number)
{
    return 2 * number;
}

static int64_t square(int64_t number)
{
    return number * number;
}

static void call_three(void *context)
{
    static const int64_t results[] = {49, 14, 9};
    tine_any_function *function;
    int64_t number;

    for (int i = 0; i < 3; i++) {
        ck_assert_ok(tine_queue_get(context, TINE_FOREVER, "[cq]", &function, &number));
        ck_assert_int_eq(((int64_t(*)(int64_t))function)(number), results[i]);
        ck_assert_ok(tine_queue_task_done(context));
    }
}

TEST(functions_are_called_by_who_gets_them_in_order_of_priority)
{
    tine_queue *queue = queue_new((tine_queue_options){.order = TINE_PRIORITY, .joinable = 1});
    struct child child;

    ck_assert_ok(
        tine_queue_put_priority(queue, 3, 0, "[cq]", (tine_any_function *)square, (int64_t)3));
    ck_assert_ok(
        tine_queue_put_priority(queue, 2, 0, "[cq]", (tine_any_function *)twice, (int64_t)7));
    ck_assert_ok(
        tine_queue_put_priority(queue, 1, 0, "[cq]", (tine_any_function *)square, (int64_t)7));
    child = child_start(call_three, queue);
    ck_assert_ok(tine_queue_join(queue, TINE_FOREVER, NULL));
    child_join(&child);
    tine_queue_close(queue);
}

TEST(an_item_in_hand_gives_its_function)
{
    tine_queue *queue = queue_new((tine_queue_options){.order = 0});
    tine_any_function *function = NULL;
    tine_queue_item *item;

    ck_assert_ok(tine_queue_put(queue, 0, "c", (tine_any_function *)square));
    ck_assert_ok(tine_queue_get_item(queue, 0, &item));
    ck_assert_ok(tine_queue_item_unpack(item, "c", &function));
    ck_assert(function == (tine_any_function *)square);
    tine_queue_item_free(item);
    tine_queue_close(queue);
}

SUITE("ipc/queue")
