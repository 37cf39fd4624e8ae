/* SPDX-License-Identifier: MIT */
/* The ledger: nothing is lost between value, word and accounts, whoever copies, whenever. */
#include "shm/ledger.h"

#include <errno.h>
#include <pthread.h>

#include "shm/owner.h"
#include "tests/support/children.h"
#include "tests/support/suite.h"
#include "tests/support/wait.h"

#define ROOM   8u
#define VALUE  100u
#define NOBODY (UINT64_C(1) << 52) /* of another pid namespace: nobody knows whether it lives */

struct book {
    struct tine__ledger_shm ledger;
    struct tine__account_shm accounts[ROOM];
    struct gate *gate;
};

static struct book *book_new(void)
{
    struct book *book = shared_memory(sizeof *book);

    tine__ledger_init(&book->ledger, ROOM, VALUE);
    book->gate = gate_new();
    return book;
}

static uint32_t without(uint32_t value, uint32_t held, uint32_t waits)
{
    (void)waits;
    return value + held;
}

static uint64_t stranger(uint64_t number)
{
    return NOBODY * 5 + (number << 2);
}

static uint32_t account(struct book *book, uint64_t owner)
{
    int slot = tine__ledger_account(&book->ledger, owner, without);

    ck_assert_int_ge(slot, 0);
    return (uint32_t)slot;
}

static void change(struct book *book, uint64_t owner, uint32_t op, int value)
{
    uint32_t slot = account(book, owner);
    uint64_t word = tine__ledger_read(&book->ledger);

    while (!tine__ledger_move(&book->ledger, &word, tine__ledger_value(word) + (uint32_t)value, op,
                              slot))
        ;
}

/* The short way where there is one, as a semaphore does it. */
static void change_quickly(struct book *book, uint64_t owner, int held)
{
    uint64_t word = tine__ledger_read(&book->ledger);
    uint32_t value = tine__ledger_value(word) - (uint32_t)held;

    if (!tine__ledger_quick(&book->ledger, word, owner, value, held))
        change(book, owner, held > 0 ? TINE__LEDGER_ADD : TINE__LEDGER_SUB, -held);
}

static uint32_t held(struct book *book, uint64_t owner)
{
    uint32_t slot = account(book, owner);
    uint64_t word = tine__ledger_read(&book->ledger);

    return tine__ledger_held(tine__ledger_content(&book->ledger, word, slot));
}

static uint32_t value(struct book *book)
{
    return tine__ledger_value(tine__ledger_read(&book->ledger));
}

TEST(what_is_taken_stands_in_the_account)
{
    struct book *book = book_new();
    uint64_t a = stranger(1), b = stranger(2);

    for (uint32_t i = 1; i <= 30; i++) {
        change(book, a, TINE__LEDGER_ADD, -1);
        ck_assert_uint_eq(held(book, a), i);
        if (i % 3 == 0)
            change(book, b, TINE__LEDGER_ADD, -1);
        ck_assert_uint_eq(held(book, b), i / 3);
    }
    ck_assert_uint_eq(value(book), VALUE - 40);
    for (uint32_t i = 30; i-- > 0;) {
        change(book, a, TINE__LEDGER_SUB, 1);
        ck_assert_uint_eq(held(book, a), i);
    }
    ck_assert_uint_eq(held(book, b), 10);
    ck_assert_uint_eq(value(book), VALUE - 10);
}

TEST(waiting_and_entering_are_counted_beside)
{
    struct book *book = book_new();
    uint64_t a = stranger(1);
    uint32_t slot = account(book, a);

    change(book, a, TINE__LEDGER_WAIT, 0);
    change(book, a, TINE__LEDGER_WAIT, 0);
    ck_assert_uint_eq(tine__ledger_waits((uint32_t)book->accounts[slot].held), 2);
    change(book, a, TINE__LEDGER_ENTER, -1);
    ck_assert_uint_eq(tine__ledger_waits((uint32_t)book->accounts[slot].held), 1);
    ck_assert_uint_eq(held(book, a), 1);
    change(book, a, TINE__LEDGER_UNWAIT, 0);
    change(book, a, TINE__LEDGER_SUB, 1);
    ck_assert_uint_eq(held(book, a), 0);
    ck_assert_uint_eq(value(book), VALUE);
}

/* Every instruction between a reading and its copy is a place where a copier may fall asleep. */
TEST(a_copier_that_comes_late_changes_nothing_that_counts)
{
    for (int others = 0; others < 2; others++) {
        struct book *book = book_new();
        uint64_t a = stranger(1), b = stranger(2), stale, old;
        uint32_t slot = account(book, a);

        change(book, b, TINE__LEDGER_ADD, -1);
        change(book, a, TINE__LEDGER_ADD, -1);
        change(book, a, TINE__LEDGER_ADD, -1); /* SET 2, not copied */
        stale = book->ledger.word;
        old = book->accounts[slot].held;
        change(book, a, TINE__LEDGER_SUB, 1); /* SET 1 */
        if (others)
            change(book, b, TINE__LEDGER_ADD, -1);
        /* … and only now the copy of SET 2 */
        atomic_compare_exchange_strong(&book->accounts[slot].held, &old,
                                       stale >> TINE__LEDGER_TAG_SHIFT << 32 | 2);
        ck_assert_uint_eq(held(book, a), 1);
        change(book, b, TINE__LEDGER_ADD, -1);
        ck_assert_uint_eq(held(book, a), 1);
        change(book, a, TINE__LEDGER_SUB, 1);
        ck_assert_uint_eq(held(book, a), 0);
    }
}

TEST(tags_wrap_around)
{
    struct book *book = book_new();
    uint64_t a = stranger(1), b = stranger(2);

    book->ledger.word = tine__ledger_word(VALUE, 0, 0, TINE__LEDGER_TAG_MASK - 20);
    for (uint32_t i = 1; i <= 40; i++) {
        change_quickly(book, i % 3 == 0 ? b : a, 1);
        ck_assert_uint_eq(held(book, a), i - i / 3);
        ck_assert_uint_eq(held(book, b), i / 3);
    }
    ck_assert_uint_eq(value(book), VALUE - 40);
    ck_assert_uint_le(book->ledger.word >> TINE__LEDGER_TAG_SHIFT, 40);
}

TEST(the_short_way_is_for_small_contents_of_the_last_one)
{
    struct book *book = book_new();
    uint64_t a = stranger(1), b = stranger(2), word;
    uint32_t slot = account(book, a);

    ck_assert(!tine__ledger_quick(&book->ledger, book->ledger.word, a, VALUE - 1, 1));
    change(book, a, TINE__LEDGER_ADD, -1);
    for (uint32_t i = 2; i <= TINE__LEDGER_SET_MAX; i++)
        ck_assert(tine__ledger_quick(&book->ledger, book->ledger.word, a, VALUE - i, 1));
    word = book->ledger.word;
    ck_assert(!tine__ledger_quick(&book->ledger, word, a, VALUE - TINE__LEDGER_SET_MAX - 1, 1));
    ck_assert(!tine__ledger_quick(&book->ledger, word, b, VALUE, -1));
    ck_assert(!tine__ledger_quick(&book->ledger, word ^ 1, a, VALUE, -1));
    book->accounts[slot].held = ((word >> TINE__LEDGER_TAG_SHIFT) + 1) << 32;
    ck_assert(!tine__ledger_quick(&book->ledger, word, a, VALUE, -1));
    book->accounts[slot].held = 0;
    for (uint32_t i = TINE__LEDGER_SET_MAX; i-- > 0;)
        ck_assert(tine__ledger_quick(&book->ledger, book->ledger.word, a, VALUE - i, -1));
    ck_assert(!tine__ledger_quick(&book->ledger, book->ledger.word, a, VALUE + 1, -1));
    ck_assert_uint_eq(held(book, a), 0);
    ck_assert_uint_eq(value(book), VALUE);
}

TEST(an_account_idle_for_a_whole_round_of_tags_is_not_mistaken)
{
    struct book *book = book_new();
    uint64_t a = stranger(1);
    uint32_t slot = account(book, a);

    for (uint32_t i = 0; i < 40; i++) {
        uint64_t tag = book->ledger.word >> TINE__LEDGER_TAG_SHIFT;

        book->accounts[slot].held = (tag + 1) << 32 | i; /* as if copied 2^28 operations ago */
        book->ledger.word = tine__ledger_word(VALUE - i, TINE__LEDGER_NONE, 0, tag);
        change(book, a, TINE__LEDGER_ADD, -1);
        ck_assert_uint_eq(held(book, a), i + 1);
    }
}

TEST(accounts_go_to_whoever_comes_and_end_when_all_are_taken)
{
    struct book *book = book_new();

    for (uint32_t i = 1; i <= ROOM; i++)
        change(book, stranger(i), TINE__LEDGER_ADD, -1);
    for (uint32_t i = 1; i <= ROOM; i++)
        ck_assert_uint_eq(held(book, stranger(i)), 1);
    ck_assert_rc(tine__ledger_account(&book->ledger, stranger(99), without), -ENOLCK);
}

static void take_and_wait(void *context)
{
    struct book *book = context;

    for (int i = 0; i < 3; i++)
        change(book, tine__owner_word(), TINE__LEDGER_ADD, -1);
    gate_raise(book->gate);
    gate_await(book->gate, 2);
}

TEST(what_the_dead_held_comes_back)
{
    struct book *book = book_new();
    struct child child = child_start(take_and_wait, book);

    gate_await(book->gate, 1);
    ck_assert_uint_eq(tine__ledger_sweep(&book->ledger, false, without), 0);
    ck_assert_uint_eq(value(book), VALUE - 3);
    child_kill(&child);
    ck_assert_uint_eq(tine__ledger_sweep(&book->ledger, false, without), 1);
    ck_assert_uint_eq(value(book), VALUE);
    ck_assert_uint_eq(tine__ledger_sweep(&book->ledger, true, without), 0);
    for (uint32_t i = 0; i < ROOM; i++)
        ck_assert_uint_eq(book->accounts[i].owner, 0);
}

TEST(accounts_of_the_dead_are_given_to_the_living)
{
    struct book *book = book_new();

    for (uint32_t i = 0; i < 3 * ROOM; i++) {
        struct child child;

        book->gate = gate_new();
        child = child_start(take_and_wait, book);
        gate_await(book->gate, 1);
        child_kill(&child);
    }
    tine__ledger_sweep(&book->ledger, false, without);
    ck_assert_uint_eq(value(book), VALUE);
}

/* Same pid, other start time: an account of a process that is no more. */
TEST(a_used_pid_does_not_pass_for_its_former_owner)
{
    struct book *book = book_new();
    uint64_t self = tine__owner_word(), forged = self ^ (UINT64_C(1) << 30);

    change(book, self, TINE__LEDGER_ADD, -1);
    change(book, forged, TINE__LEDGER_ADD, -1);
    ck_assert_uint_eq(tine__ledger_sweep(&book->ledger, false, without), 1);
    ck_assert_uint_eq(value(book), VALUE - 1);
    ck_assert_uint_eq(held(book, self), 1);
}

TEST(processes_of_another_pid_namespace_are_left_alone)
{
    struct book *book = book_new();

    change(book, stranger(1), TINE__LEDGER_ADD, -1);
    ck_assert_uint_eq(tine__ledger_sweep(&book->ledger, true, without), 0);
    ck_assert_uint_eq(value(book), VALUE - 1);
}

#define THREADS 4
#define ROUNDS  20000

struct worker {
    struct book *book;
    uint64_t owner;
};

static void *take_and_give(void *context)
{
    struct worker *worker = context;

    for (uint32_t i = 0; i < ROUNDS; i++) {
        uint32_t depth = i % 100 == 0 ? 12 : 1;

        for (uint32_t k = 0; k < depth; k++)
            change_quickly(worker->book, worker->owner, 1);
        for (uint32_t k = 0; k < depth; k++)
            change_quickly(worker->book, worker->owner, -1);
    }
    return NULL;
}

TEST(threads_at_once_lose_nothing, .timeout_s = 60)
{
    struct book *book = book_new();
    struct worker workers[THREADS];
    pthread_t threads[THREADS];

    /* two of them are threads of one process */
    for (int i = 0; i < THREADS; i++) {
        workers[i] = (struct worker){book, stranger(i == 0 ? 1 : (uint64_t)i)};
        ck_assert_int_eq(pthread_create(&threads[i], NULL, take_and_give, &workers[i]), 0);
    }
    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    ck_assert_uint_eq(value(book), VALUE);
    for (int i = 0; i < THREADS; i++)
        ck_assert_uint_eq(held(book, workers[i].owner), 0);
}

SUITE("shm/ledger")
