/* SPDX-License-Identifier: MIT */
/*
 * Queues with random options, on which some processes do random things and are killed at random
 * instants, against a book that says what of each item may be true: what a put that returned 0 has
 * put comes out, at most once or as often as it says; what any other put tried to put never does;
 * what is done, lost or a dead letter is so once; and in the end nothing is left.
 */
#include "tests/ipc/queue_help.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/children.h"
#include "tests/support/hunt.h"
#include "tests/support/random.h"
#include "tests/support/wait.h"

enum {
    ITEMS = 1 << 16,
    BODIES = 5,
    STRIKES = 8,
    BATCH = 4,
    REST_MAX = 400,
    LIVES = 256,
    ROUNDS = 24
};

struct mark {
    _Atomic uint8_t begun, put, refused, got, done, letter;
};

struct book {
    tine_queue *queue;
    tine_queue_options options;
    bool misfits; /* some gets have too little room */
    _Atomic bool stop;
    _Atomic uint32_t next, lives, dones;
    uint32_t kills;
    struct mark marks[ITEMS];
};

struct record {
    uint32_t id, life, number, size;
};

/* One process: the items it has got, and how far it has seen the others' come. */
struct body {
    struct book *book;
    uint32_t life, number;
    tine_queue_item *held[2 * BATCH];
    int count;
    uint32_t last[LIVES];
};

/* ---- records --------------------------------------------------------------------------------- */

static struct record make_record(struct body *body, unsigned char *bytes)
{
    struct record record = {.id = atomic_fetch_add(&body->book->next, 1),
                            .life = body->life,
                            .number = ++body->number,
                            .size = sizeof record + (uint32_t)random_below(REST_MAX)};

    ck_assert_uint_lt(record.id, ITEMS);
    memset(bytes, (int)(record.id % 251), record.size);
    memcpy(bytes, &record, sizeof record);
    body->book->marks[record.id].begun = 1;
    return record;
}

static struct record check_record(const unsigned char *bytes, size_t size)
{
    struct record record;

    ck_assert_uint_ge(size, sizeof record);
    memcpy(&record, bytes, sizeof record);
    ck_assert_uint_eq(record.size, size);
    ck_assert_uint_lt(record.id, ITEMS);
    for (size_t i = sizeof record; i < size; i++)
        ck_assert_uint_eq(bytes[i], record.id % 251);
    return record;
}

/* deliveries 0: they are not known */
static void note_got(struct body *body, struct record record, int deliveries)
{
    const struct book *book = body->book;
    struct mark *mark = &body->book->marks[record.id];
    uint8_t before = atomic_fetch_add(&mark->got, 1);

    ck_assert_uint_eq(mark->begun, 1);
    ck_assert_msg(!mark->refused, "%u was refused, and came", record.id);
    ck_assert_msg(before == 0 || (book->options.joinable && deliveries != 1),
                  "%u came twice, delivery %d", record.id, deliveries);
    if (deliveries != 1 || book->misfits || book->options.order != TINE_FIFO)
        return;
    ck_assert_uint_lt(record.life, LIVES);
    ck_assert_msg(record.number > body->last[record.life], "%u of %u came after %u", record.number,
                  record.life, body->last[record.life]);
    body->last[record.life] = record.number;
}

static void note_done(struct body *body, uint32_t id)
{
    ck_assert_uint_eq(atomic_fetch_add(&body->book->marks[id].done, 1), 0);
    atomic_fetch_add(&body->book->dones, 1);
}

/* ---- what a process does --------------------------------------------------------------------- */

static int64_t some_timeout(void)
{
    return random_below(2) == 0 ? 0 : (int64_t)random_below(300) * 1000;
}

static void note_put(struct body *body, struct record record, int rc)
{
    ck_assert_msg(rc == 0 || rc == -EAGAIN || rc == -ETIMEDOUT || rc == -ESHUTDOWN, "%d", rc);
    if (rc == 0)
        body->book->marks[record.id].put = 1;
    else
        body->book->marks[record.id].refused = 1;
}

static void put_one(struct body *body)
{
    unsigned char bytes[sizeof(struct record) + REST_MAX];
    struct record record = make_record(body, bytes);

    note_put(body, record,
             tine_queue_put_bytes(body->book->queue, bytes, record.size, (int64_t)random_below(3),
                                  some_timeout()));
}

static void put_some(struct body *body)
{
    static unsigned char bytes[BATCH][sizeof(struct record) + REST_MAX];
    tine_queue_message messages[BATCH];
    struct record records[BATCH];
    int rc;

    for (int i = 0; i < BATCH; i++) {
        records[i] = make_record(body, bytes[i]);
        messages[i] = (tine_queue_message){.bytes = bytes[i], .size = records[i].size};
    }
    rc = tine_queue_put_many(body->book->queue, messages, BATCH, some_timeout());
    for (int i = 0; i < BATCH; i++)
        note_put(body, records[i], i < rc ? 0 : -EAGAIN);
}

static struct record item_record(const tine_queue_item *item)
{
    size_t size;
    const unsigned char *bytes = tine_queue_item_bytes(item, &size);

    return check_record(bytes, size);
}

static void finish(struct body *body, int at)
{
    tine_queue_item *item = body->held[at];
    int rc = 0;

    if (body->book->options.lease_ns == 0) /* else it may be another's by now */
        (void)item_record(item);
    if (body->book->options.joinable)
        rc = tine_queue_item_done(item);
    ck_assert_msg(rc == 0 || (rc == -ECANCELED && body->book->options.lease_ns != 0), "%d", rc);
    if (rc == 0 && body->book->options.joinable)
        note_done(body, item_record(item).id);
    tine_queue_item_free(item);
    body->held[at] = body->held[--body->count];
}

static void get_some(struct body *body)
{
    tine_queue_item **items = &body->held[body->count];
    int rc = tine_queue_get_many(body->book->queue, items, 1 + random_below(BATCH), some_timeout());

    ck_assert_msg(rc > 0 || rc == -EAGAIN || rc == -ETIMEDOUT || rc == -ESHUTDOWN, "%d", rc);
    for (int i = 0; i < rc && body->book->options.lease_ns == 0; i++)
        note_got(body, item_record(items[i]), tine_queue_item_deliveries(items[i]));
    body->count += rc > 0 ? rc : 0;
    while (body->count > BATCH)
        finish(body, (int)random_below((uint64_t)body->count));
}

/* Of a copied item nobody tells how often it has come. */
static void get_one(struct body *body)
{
    unsigned char bytes[sizeof(struct record) + REST_MAX];
    size_t room = body->book->misfits ? random_below(sizeof bytes) : sizeof bytes, size;
    struct record record;
    int rc = tine_queue_get_bytes(body->book->queue, bytes, room, some_timeout(), &size);

    if (rc < 0) {
        ck_assert_msg(rc == -EAGAIN || rc == -ETIMEDOUT || rc == -ESHUTDOWN || rc == -EMSGSIZE,
                      "%d", rc);
        return;
    }
    record = check_record(bytes, size);
    note_got(body, record, body->book->options.joinable ? 0 : 1);
    if (!body->book->options.joinable)
        return;
    while (body->count > 0) /* task_done means what was got first */
        finish(body, 0);
    rc = tine_queue_task_done(body->book->queue);
    ck_assert_msg(rc == 0 || (rc == -ECANCELED && body->book->options.lease_ns != 0), "%d", rc);
    if (rc == 0)
        note_done(body, record.id);
}

static void look_around(struct body *body)
{
    tine_queue *queue = body->book->queue;

    ck_assert_int_ge(tine_queue_qsize(queue), 0);
    ck_assert_int_ge(tine_queue_empty(queue), 0);
    ck_assert_int_ge(tine_queue_full(queue), 0);
    if (body->book->options.joinable) {
        int rc = tine_queue_join(queue, 0, NULL);

        ck_assert_msg(rc == 0 || rc == -EAGAIN, "%d", rc);
    }
}

static void live(void *context)
{
    static void (*const doings[])(struct body *) = {put_one, put_one,  put_some, put_one,
                                                    get_one, get_some, get_some, look_around};
    struct body *body = calloc(1, sizeof *body);

    ck_assert_ptr_nonnull(body);
    body->book = context;
    body->life = atomic_fetch_add(&body->book->lives, 1);
    random_fork(body->life);
    while (!body->book->stop && body->book->next < ITEMS - BODIES * BATCH)
        doings[random_below(sizeof doings / sizeof doings[0])](body);
    while (body->count > 0)
        finish(body, 0);
    tine_queue_close(body->book->queue);
    free(body);
}

/* ---- a round --------------------------------------------------------------------------------- */

static tine_queue_options some_options(void)
{
    static const uint64_t sizes[] = {0, 1, 5, 50}, bytes[] = {0, 0, 500, 2000};
    tine_queue_options options = {.order = 1 + (int32_t)random_below(3),
                                  .maxsize = sizes[random_below(4)],
                                  .maxbytes = bytes[random_below(4)],
                                  .joinable = random_below(4) != 0};

    if (options.joinable) {
        options.lose = random_below(4) == 0;
        options.deliveries_max = random_below(3) == 0 ? 2 : 0;
        options.lease_ns = random_below(4) == 0 ? TINE_MS(1) : 0;
    }
    return options;
}

static void strike(struct book *book, struct child *children)
{
    struct child *child = &children[random_below(BODIES)];

    pause_randomly(TINE_MS(3));
    if (random_below(4) == 0) {
        child_stop(child);
        pause_randomly(TINE_MS(2));
        child_continue(child);
        return;
    }
    child_kill(child);
    book->kills++;
    *child = child_start(live, book);
}

/* All others are dead: whatever is there comes out now. */
static void empty_out(struct body *body)
{
    tine_queue *queue = body->book->queue;
    tine_queue_item *item;

    tine__queue_look(queue, true);
    while (tine_queue_get_item(queue, 0, &item) == 0) {
        struct record record = item_record(item);

        body->book->marks[record.id].got++;
        if (body->book->options.joinable && tine_queue_item_done(item) == 0)
            note_done(body, record.id);
        tine_queue_item_free(item);
    }
    while (tine_queue_dead_letters(queue, &item, 1) == 1) {
        struct record record = item_record(item);

        ck_assert_uint_eq(body->book->marks[record.id].letter++, 0);
        ck_assert_uint_eq(body->book->marks[record.id].done, 0);
        tine_queue_item_free(item);
    }
}

static void check_book(const struct book *book, uint64_t lost)
{
    uint32_t put = 0, missing = 0, letters = 0, open = 0;

    for (uint32_t id = 0; id < book->next; id++) {
        const struct mark *mark = &book->marks[id];

        ck_assert_msg(!mark->refused || mark->got + mark->letter == 0, "%u", id);
        put += mark->put;
        letters += mark->letter;
        open += mark->begun && !mark->put && !mark->refused;
        missing += mark->put && mark->got == 0 && mark->done == 0 && mark->letter == 0;
    }
    ck_assert_uint_le(open, book->kills * BATCH);
    if (!book->options.joinable) {
        ck_assert_uint_le(missing, book->kills * BATCH);
        return;
    }
    /* done but not noted: one a kill; put but not noted: those that are open */
    ck_assert_uint_le(missing, lost + book->kills);
    ck_assert_uint_le(put, book->dones + letters + lost + book->kills);
    ck_assert_uint_le(book->dones + letters + lost, put + open);
    ck_assert(book->options.lose || lost == 0);
}

static void assert_all_free(tine_queue *queue)
{
    for (uint32_t i = 0, n = tine__queue_slots(queue); i < n; i++)
        ck_assert_msg(tine__word_is(tine__slot_word(tine__queue_slot(queue, i)), TINE__ITEM_FREE),
                      "slot %u is left in state %u", i,
                      (unsigned)tine__word_state(tine__slot_word(tine__queue_slot(queue, i))));
}

static void end_round(struct book *book, struct child *children, struct body *body)
{
    bool drop = random_below(4) == 0;
    uint64_t lost = 0;

    if (drop)
        ck_assert_ok(tine_queue_shutdown(book->queue, 1));
    book->stop = true;
    for (int i = 0; i < BODIES; i++)
        child_join(&children[i]);
    if (!drop)
        empty_out(body);
    if (book->options.joinable)
        ck_assert_ok(tine_queue_join(book->queue, drop ? TINE_SEC(600) : 0, &lost));
    if (drop)
        return;
    check_book(book, lost);
    ck_assert_int_eq(tine_queue_qsize(book->queue), 0);
    assert_all_free(book->queue);
}

TEST(the_book_is_right, .loop_end = ROUNDS, .timeout_s = 60)
{
    struct book *book = shared_memory(sizeof *book);
    struct body body = {.book = book};
    struct child children[BODIES];
    uint64_t before = heap_blocks();

    random_fork((uint64_t)loop_index);
    book->options = some_options();
    book->misfits = random_below(3) == 0;
    book->queue = queue_new(book->options);
    for (int i = 0; i < BODIES; i++)
        children[i] = child_start(live, book);
    for (int i = 0; i < STRIKES; i++)
        strike(book, children);
    end_round(book, children, &body);
    tine_queue_close(book->queue);
    ck_assert_uint_le(heap_blocks(), before + book->kills + 1);
}

SUITE("ipc/queue_model")
