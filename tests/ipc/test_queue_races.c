/* SPDX-License-Identifier: MIT */
/*
 * What others do to a queue between two steps of a call: leases that end while an item is copied,
 * threads that finish each other's, forks in the middle, tables full of the dead, slots used again.
 */
#include "tests/ipc/queue_help.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "lib/codec.h"
#include "shm/owner.h"
#include "tests/support/children.h"
#include "tests/support/wait.h"

enum { LARGE = 20000 };

/* ---- a call that stands still ---------------------------------------------------------------- */

/* Where a copy or an unpacking stands still until the others have done what they shall. */
static struct stand {
    struct gate *reached, *go;
    char *to; /* the first byte that is written here stops the writer; or NULL: at an unpacking */
} stand;

static void stand_still(void)
{
    gate_raise(stand.reached);
    gate_await(stand.go, 1);
}

static void on_fault(int signal)
{
    (void)signal;
    ck_assert_int_eq(mprotect(stand.to, LARGE, PROT_READ | PROT_WRITE), 0);
    stand_still();
}

static void stand_at_write(void)
{
    struct sigaction action = {.sa_handler = on_fault};

    stand.to = mmap(NULL, LARGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(stand.to, MAP_FAILED);
    ck_assert_int_eq(sigaction(SIGSEGV, &action, NULL), 0);
}

static _Thread_local bool stand_at_unpack;

int __real_tine__vunpack_family(const void *data, size_t size, const char *format, va_list args);
int __wrap_tine__vunpack_family(const void *data, size_t size, const char *format, va_list args);
int __wrap_tine__vunpack_family(const void *data, size_t size, const char *format, va_list args)
{
    if (stand_at_unpack)
        stand_still();
    stand_at_unpack = false;
    return __real_tine__vunpack_family(data, size, format, args);
}

static void put_large(tine_queue *queue, char letter)
{
    static char bytes[LARGE];

    memset(bytes, letter, sizeof bytes);
    ck_assert_ok(tine_queue_put_bytes(queue, bytes, sizeof bytes, 0, TINE_FOREVER));
}

static void assert_large(const char *bytes, size_t size, char letter)
{
    ck_assert_uint_eq(size, LARGE);
    for (size_t i = 0; i < size; i++)
        ck_assert_int_eq(bytes[i], letter);
}

static void get_large(tine_queue *queue, char letter)
{
    static _Thread_local char bytes[LARGE];
    size_t size;

    ck_assert_ok(tine_queue_get_bytes(queue, bytes, sizeof bytes, TINE_FOREVER, &size));
    assert_large(bytes, size, letter);
}

/* ---- leases that end ------------------------------------------------------------------------- */

static void get_slowly(void *queue)
{
    size_t size;

    stand_at_write();
    ck_assert_ok(tine_queue_get_bytes(queue, stand.to, LARGE, TINE_FOREVER, &size));
    assert_large(stand.to, size, 'c');
    tine_queue_task_done(queue);
}

/* Whose lease ends while it copies an item gets another one, and no mixture. */
TEST(an_item_whose_lease_ends_while_it_is_copied_is_not_got)
{
    tine_queue *queue = queue_new((tine_queue_options){.joinable = 1, .lease_ns = TINE_MS(1)});
    struct child child;

    stand = (struct stand){.reached = gate_new(), .go = gate_new()};
    put_large(queue, 'a');
    child = child_start(get_slowly, queue);
    gate_await(stand.reached, 1);
    get_large(queue, 'a');
    ck_assert_ok(tine_queue_task_done(queue));
    for (int i = 0; i < TINE__SLOTS_FIRST; i++) {
        put_large(queue, 'b');
        get_large(queue, 'b');
        tine_queue_task_done(queue);
    }
    put_large(queue, 'c');
    gate_raise(stand.go);
    child_join(&child);
    tine_queue_close(queue);
}

static void get_text_slowly(void *queue)
{
    char *text;

    stand_at_unpack = true;
    ck_assert_ok(tine_queue_get(queue, TINE_FOREVER, "s", &text));
    ck_assert_str_eq(text, "the first");
    free(text);
    ck_assert_rc(tine_queue_task_done(queue), -ECANCELED);
}

/* It is got by two, each time whole. */
TEST(a_value_whose_lease_ends_while_it_is_unpacked_is_whole)
{
    tine_queue *queue = queue_new((tine_queue_options){.joinable = 1, .lease_ns = TINE_MS(1)});
    struct child child;
    char *text;

    stand = (struct stand){.reached = gate_new(), .go = gate_new()};
    ck_assert_ok(tine_queue_put(queue, 0, "s", "the first"));
    child = child_start(get_text_slowly, queue);
    gate_await(stand.reached, 1);
    for (int i = 0; i < 2 * TINE__SLOTS_FIRST; i++) {
        ck_assert_ok(tine_queue_get(queue, TINE_FOREVER, "s", &text));
        free(text);
        tine_queue_task_done(queue);
        ck_assert_ok(tine_queue_put(queue, 0, "s", "another"));
    }
    gate_raise(stand.go);
    child_join(&child);
    tine_queue_close(queue);
}

/* ---- threads --------------------------------------------------------------------------------- */

static void *get_large_slowly(void *queue)
{
    size_t size;

    stand_at_write();
    ck_assert_ok(tine_queue_get_bytes(queue, stand.to, LARGE, TINE_FOREVER, &size));
    assert_large(stand.to, size, 'a');
    return NULL;
}

static void *get_small(void *queue)
{
    ck_assert_ok(tine_queue_get(queue, TINE_FOREVER, "q", NULL));
    return NULL;
}

static void finish_for_another_thread(void *queue)
{
    pthread_t slow, quick;

    put_large(queue, 'a');
    put(queue, 1);
    ck_assert_int_eq(pthread_create(&slow, NULL, get_large_slowly, queue), 0);
    gate_await(stand.reached, 1);
    ck_assert_int_eq(pthread_create(&quick, NULL, get_small, queue), 0);
    ck_assert_int_eq(pthread_join(quick, NULL), 0);
    ck_assert_ok(tine_queue_task_done(queue)); /* for the quick one's */
    for (int i = 0; i < 2 * TINE__SLOTS_FIRST; i++)
        put_large(queue, 'b');
    gate_raise(stand.go);
    ck_assert_int_eq(pthread_join(slow, NULL), 0);
    ck_assert_ok(tine_queue_task_done(queue));
    ck_assert_rc(tine_queue_task_done(queue), -EOVERFLOW);
}

/* One that gets an item is not taken for one that has it. */
TEST(a_thread_that_still_copies_an_item_keeps_it)
{
    tine_queue *queue = queue_new((tine_queue_options){.joinable = 1});
    struct child child;

    stand = (struct stand){.reached = gate_new(), .go = gate_new()};
    child = child_start(finish_for_another_thread, queue);
    child_join(&child);
    tine_queue_close(queue);
}

/* ---- slots used again ------------------------------------------------------------------------ */

static void put_where_no_room_is(void *queue)
{
    put(queue, 3);
}

/* It fills the slot of an item that has been got and done, and of which a cell still tells. */
TEST(a_producer_killed_while_it_waits_for_room_has_put_nothing)
{
    tine_queue *queue = queue_new((tine_queue_options){.joinable = 1, .maxsize = 1});
    struct child child = {0};

    ck_assert_int_gt(tine__queue_enter(queue), 0);
    put(queue, 1);
    get(queue);
    ck_assert_ok(tine_queue_task_done(queue));
    put(queue, 2);
    queue->hand.at = 0; /* as of who has put nothing yet */
    child = child_start(put_where_no_room_is, queue);
    ck_assert_eventually(
        tine__word_is(tine__slot_word(tine__queue_slot(queue, 0)), TINE__ITEM_PUT));
    child_kill(&child);
    tine__queue_look(queue, true);
    ck_assert_int_eq(get(queue), 2);
    ck_assert_ok(tine_queue_task_done(queue));
    ck_assert_rc(tine_queue_get_nowait(queue, "q", NULL), -EAGAIN);
    ck_assert_ok(tine_queue_join(queue, 0, NULL));
    tine_queue_close(queue);
}

static tine_queue_item *pass(tine_queue *queue)
{
    tine_queue_item *item;

    put(queue, 0);
    ck_assert_ok(tine_queue_get_item(queue, 0, &item));
    return item;
}

static void finish(tine_queue_item *item)
{
    ck_assert_ok(tine_queue_item_done(item));
    tine_queue_item_free(item);
}

/* Some that are kept for long, wherever they lie, do not let the table grow again and again. */
TEST(the_table_is_no_larger_than_the_items_ask_for)
{
    enum { KEPT = 32, ROUNDS = 12 };
    tine_queue *queue = queue_new((tine_queue_options){.joinable = 1});
    tine_queue_item *kept[ROUNDS * KEPT];
    int count = 0;

    for (int round = 0; round < ROUNDS; round++) {
        uint32_t total = tine__slots_total(&queue->shm->slots);
        tine_queue_item *item = pass(queue);

        /* those that lie first in the upper half */
        for (uint32_t i = 0; i < 4 * total && item->index != (round == 0 ? 0 : total / 2); i++) {
            finish(item);
            item = pass(queue);
            total = tine__slots_total(&queue->shm->slots);
        }
        for (int i = 0; i < KEPT; i++, item = pass(queue))
            kept[count++] = item;
        finish(item);
        ck_assert_uint_le(total, 16 * KEPT + 8 * (uint32_t)count);
    }
    while (count > 0)
        finish(kept[--count]);
    tine_queue_close(queue);
}

/* ---- the dead -------------------------------------------------------------------------------- */

static void note_owner(void *word)
{
    *(uint64_t *)word = tine__owner_word();
}

/* All numbers that nobody has are those of one that is dead. */
static void fill_numbers(tine_queue *queue)
{
    uint64_t *dead = shared_memory(sizeof *dead);
    struct child child = child_start(note_owner, dead);

    child_join(&child);
    for (uint32_t c = 0; c <= TINE__PARTIES_MAX / TINE__PARTIES_CHUNK; c++) {
        uint64_t *chunk = (void *)(uintptr_t)queue->shm->parties.chunks[c];

        if (chunk == NULL)
            chunk = tine_calloc(TINE__PARTIES_CHUNK, sizeof *chunk);
        ck_assert_ptr_nonnull(chunk);
        for (int i = 0; i < TINE__PARTIES_CHUNK; i++)
            chunk[i] = chunk[i] == 0 ? *dead : chunk[i];
        queue->shm->parties.chunks[c] = (uint64_t)(uintptr_t)chunk;
    }
}

/* As many as there are numbers have put something and died, and nobody has had to wait
   meanwhile. */
TEST(numbers_of_the_dead_are_used_again)
{
    tine_queue *queue = queue_new((tine_queue_options){.joinable = 1});

    fill_numbers(queue);
    put(queue, 1);
    ck_assert_int_eq(get(queue), 1);
    tine_queue_close(queue);
}

/* Each of a thousand dead has one item, and their numbers are all over the table. */
TEST(a_thousand_dead_are_swept_together)
{
    tine_queue *queue = queue_new((tine_queue_options){.joinable = 1});

    for (int64_t i = 0; i < 1000; i++)
        put(queue, i);
    for (int64_t i = 0; i < 1000; i++)
        get(queue);
    fill_numbers(queue);
    for (uint32_t i = 0; i < 1000; i++) {
        struct tine__slot_shm *slot = tine__queue_slot(queue, i);

        ck_assert(tine__word_is(slot->word, TINE__ITEM_TAKEN));
        slot->word = tine__word_next(slot->word, TINE__ITEM_TAKEN, 4 * i + 2);
    }
    ck_assert(tine__queue_look(queue, true));
    ck_assert_int_eq(tine_queue_qsize(queue), 1000);
    for (uint32_t p = 2; p <= TINE__PARTIES_MAX; p++)
        ck_assert(tine__parties_is(&queue->shm->parties, p, 0));
    for (int64_t i = 0; i < 1000; i++)
        ck_assert_int_eq(get(queue), i);
    tine_queue_close(queue);
}

static void get_and_die(void *queue)
{
    ck_assert_int_eq(get(queue), 1);
}

/* Where nobody ever finds the queue empty, and so nobody sleeps. */
TEST(items_of_the_dead_come_again_while_there_are_others)
{
    tine_queue *queue = queue_new((tine_queue_options){.joinable = 1});
    struct patience patience = patience_begin();
    struct child child;
    bool come = false;

    put(queue, 1);
    child = child_start(get_and_die, queue);
    child_join(&child);
    put(queue, 2);
    do
        for (int i = 0; i < 1000 && !come; i++) {
            put(queue, 2);
            come = get(queue) == 1;
            ck_assert_ok(tine_queue_task_done(queue));
        }
    while (!come && patience_pause(&patience));
    ck_assert(come);
    tine_queue_close(queue);
}

/* Bytes that a dead one has charged are found by those, too, who never wait. */
TEST(bytes_charged_by_the_dead_are_found_without_waiting)
{
    tine_queue *queue = queue_new((tine_queue_options){.maxbytes = 1000});
    char bytes[500] = {0};

    queue->shm->charge = 900;
    ck_assert_eventually(tine_queue_put_bytes(queue, bytes, sizeof bytes, 0, 0) == 0);
    tine_queue_close(queue);
}

/* One that was killed before it moved the head, or the tail, on. */
TEST(what_a_dead_one_has_left_undone_is_not_counted)
{
    tine_queue *queue = queue_new((tine_queue_options){.maxsize = 1});
    struct tine__fifo_ring_shm *ring = (void *)(uintptr_t)queue->shm->fifo.rings[0];

    put(queue, 1);
    ring->tail--;
    ck_assert_int_eq(tine_queue_empty(queue), 0);
    ck_assert_int_eq(tine_queue_full(queue), 1);
    get(queue);
    ring->head--;
    ck_assert_int_eq(tine_queue_qsize(queue), 0);
    ck_assert_int_eq(tine_queue_empty(queue), 1);
    tine_queue_close(queue);
}

/* ---- room ------------------------------------------------------------------------------------ */

/* Has whoever changed something looked for those who sleep? They are told by the turn. */
static uint32_t sleep_there(tine_queue *queue)
{
    return tine__waiters_join(&queue->shm->writable);
}

static bool is_woken(tine_queue *queue, uint32_t turn)
{
    return queue->shm->writable.turn != turn;
}

TEST(who_gives_up_leaves_the_room_to_others)
{
    tine_queue *queue = queue_new((tine_queue_options){.maxsize = 1, .maxbytes = 1000});
    char bytes[900] = {0};
    uint32_t turn;

    put(queue, 1);
    turn = sleep_there(queue);
    ck_assert_rc(tine_queue_put_bytes(queue, bytes, sizeof bytes, 0, 0), -EAGAIN);
    ck_assert(is_woken(queue, turn));
    tine_queue_close(queue);
}

/* ---- forks ----------------------------------------------------------------------------------- */

static void close_it(void *queue)
{
    tine_queue_close(queue);
}

/* Another thread was in the midst of the list of leases: what stands there is nobody's to free. */
TEST(a_child_forked_in_the_midst_of_a_get_closes_the_queue)
{
    tine_queue *queue = queue_new((tine_queue_options){.joinable = 1});
    struct tine__leases before;
    struct child child;

    put(queue, 1);
    get(queue);
    before = queue->leases;
    queue->leases.lock.word = 1;
    queue->leases.all = (void *)sizeof(void *);
    child = child_start(close_it, queue);
    child_join(&child);
    queue->leases = before;
    tine_queue_close(queue);
}

struct busy {
    tine_queue *queue;
    _Atomic bool stop;
};

/* Holds a few at a time, so that the list of leases grows and is tidied all the time. */
static void use_once(tine_queue *queue)
{
    for (int64_t i = 0; i < 5; i++)
        put(queue, i);
    for (int i = 0; i < 5; i++)
        get(queue);
    for (int i = 0; i < 5; i++)
        ck_assert_ok(tine_queue_task_done(queue));
}

static void *use_all_the_time(void *context)
{
    struct busy *busy = context;

    while (!busy->stop)
        use_once(busy->queue);
    return NULL;
}

static void use_and_close(void *queue)
{
    use_once(queue);
    tine_queue_close(queue);
}

static void fork_many(void *context)
{
    enum { CHILDREN = 60, THREADS = 2 };
    struct busy busy = {.queue = context};
    pthread_t threads[THREADS];
    struct child child;

    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, use_all_the_time, &busy), 0);
    for (int i = 0; i < CHILDREN; i++) {
        child = child_start(i % 2 == 0 ? use_and_close : close_it, busy.queue);
        child_join(&child);
    }
    busy.stop = true;
    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    ck_assert_ok(tine_queue_join(busy.queue, TINE_SEC(600), NULL));
}

TEST(children_forked_in_the_midst_of_threads_calls_use_the_queue, .loop_end = 2, .timeout_s = 60)
{
    tine_queue *queue = queue_new(
        (tine_queue_options){.joinable = 1, .order = loop_index == 0 ? TINE_FIFO : TINE_PRIORITY});
    struct child child = child_start(fork_many, queue);

    child_join(&child);
    tine_queue_close(queue);
}

SUITE("ipc/queue_races")
