/* SPDX-License-Identifier: MIT */
/*
 * The ledger: a value and the accounts of those who hold of it, changed together in one atomic
 * step.
 *
 * The word holds the value and, beside it, the last operation: which account it concerns, and how.
 * So one compare-and-swap both takes a permit and names its taker. Before anyone swaps that
 * account's name away, he copies the operation into the account; a tag, which grows by one with
 * each operation, tells whether that has been done. Hence at every instant each permit stands in
 * the value, in an account, or in the operation that the word names:
 *
 *     word {2, none, tag 7}                       accounts A {0, tag 3}   B {1, tag 6}
 *     A takes:   word {1, SET A 1, 8}             A {0, 3}    A holds 1: so says the word
 *     A gives:   word {2, SET A 0, 9}             A {0, 3}    nobody had to copy
 *     A takes:   word {1, SET A 1, 10}            A {0, 3}
 *     B copies:  word {1, SET A 1, 10}            A {1, 10}
 *     B gives:   word {2, SET B 0, 11}            A {1, 10}   B {1, 6}
 *
 * Small contents stand in the word as such: then the operations of one process among themselves
 * need no copying. Larger ones don't fit, the word says only what is added to the account (a
 * relative operation), and that is copied before anything else is done.
 *
 * Who copies reads word, account, word again. The word being the same, the account was at the
 * second reading not yet copied to, or has the word's tag. The copy is a compare-and-swap from
 * there: of two copiers of one operation the later fails. A copier that comes so late that the word
 * has moved on succeeds only if nobody has copied any operation since: the account then says what
 * it said some SETs ago, its tag is not the word's, and whoever settles copies again. A relative
 * operation, and a word that names another account, come only after a copy that every such late one
 * fails on. Only an unchanged word lets a move succeed, so whatever the mover read of the accounts
 * by this word is still true. All is lock-free: who is stopped or killed holds nobody up.
 *
 * An account belongs to a process from its first operation to its death. Whoever finds it dead
 * empties and frees it: first SET 0 gives to the value what it held, then the owner's word goes
 * from it to 0. A dead process makes no operations, others touch its account only while it holds
 * something, so once empty it stays so, and each prefix of this is made good by the next who looks.
 * Two threads of a process that open its account at once may open two, if another is freed
 * meanwhile: each stands for what it says.
 *
 * ABA: tags return after 2^28 operations. A thread that stands still between its reading and its
 * swap would have to sleep for a multiple of exactly that many (at 10 ns each 2.7 s or more), and
 * to find the same value and operation: one chance in 2^28 for a sleep of that length in that
 * place. An account that was not copied to for so long can't take a new operation for its old one:
 * that tag is skipped.
 */
#include "shm/ledger.h"

#include <errno.h>

#include "shm/owner.h"
#include "shm/waiters.h"

_Static_assert(sizeof(struct tine__account_shm) == 16, "doc/shm-layout.md");
_Static_assert(sizeof(struct tine__ledger_shm) == 32, "doc/shm-layout.md");

#define WAITS ((uint32_t)1 << 24)

void tine__ledger_init(struct tine__ledger_shm *ledger, uint32_t room, uint32_t value)
{
    struct tine__account_shm *accounts = tine__ledger_accounts(ledger);

    atomic_init(&ledger->word, tine__ledger_word(value, TINE__LEDGER_NONE, 0, 0));
    atomic_init(&ledger->looked, 0);
    ledger->room = room;
    for (uint32_t i = 0; i < room; i++) {
        atomic_init(&accounts[i].owner, 0);
        atomic_init(&accounts[i].held, 0);
    }
}

/* An account's content after an operation. */
uint32_t tine__ledger_changed(uint32_t content, uint32_t op)
{
    static const uint32_t change[TINE__LEDGER_SET] = {[TINE__LEDGER_ADD] = 1,
                                                      [TINE__LEDGER_SUB] = (uint32_t)-1,
                                                      [TINE__LEDGER_WAIT] = WAITS,
                                                      [TINE__LEDGER_UNWAIT] = -WAITS,
                                                      [TINE__LEDGER_ENTER] = 1 - WAITS};

    return op < TINE__LEDGER_SET ? content + change[op] : op - TINE__LEDGER_SET;
}

static uint64_t copied(uint64_t held, uint64_t word)
{
    return word >> TINE__LEDGER_TAG_SHIFT << 32 |
           tine__ledger_changed((uint32_t)held, tine__ledger_op(word));
}

/* The word, its operation copied into its account: every account says what it contains. */
uint64_t tine__ledger_settle(struct tine__ledger_shm *ledger, uint64_t word)
{
    while (tine__ledger_op(word) != TINE__LEDGER_NONE) {
        struct tine__account_shm *account = &tine__ledger_accounts(ledger)[tine__ledger_slot(word)];
        /* acquire: before the second reading of the word, and after whoever has copied */
        uint64_t held = atomic_load_explicit(&account->held, memory_order_acquire), again;

        if (held >> 32 == word >> TINE__LEDGER_TAG_SHIFT)
            break;
        again = atomic_load_explicit(&ledger->word, memory_order_acquire);
        if (again == word)
            atomic_compare_exchange_strong_explicit(&account->held, &held, copied(held, word),
                                                    memory_order_acq_rel, memory_order_relaxed);
        word = again;
    }
    return word;
}

/* The word for an operation that follows `word`. */
static uint64_t next_word(struct tine__ledger_shm *ledger, uint64_t word, uint32_t value,
                          uint32_t op, uint32_t slot)
{
    uint32_t content = tine__ledger_changed(tine__ledger_content(ledger, word, slot), op);
    uint64_t tag = (word >> TINE__LEDGER_TAG_SHIFT) + 1;
    uint64_t held =
        atomic_load_explicit(&tine__ledger_accounts(ledger)[slot].held, memory_order_relaxed);

    if ((tag & TINE__LEDGER_TAG_MASK) == held >> 32)
        tag++; /* else the operation would pass for copied */
    if (op != TINE__LEDGER_NONE && content <= TINE__LEDGER_SET_MAX)
        op = TINE__LEDGER_SET + content;
    return tine__ledger_word(value, op, slot, tag & TINE__LEDGER_TAG_MASK);
}

/*
 * From *word (as tine__ledger_read gave it) to a new value and operation, in one step. False:
 * somebody else was first, *word is what there is now.
 */
bool tine__ledger_move(struct tine__ledger_shm *ledger, uint64_t *word, uint32_t value, uint32_t op,
                       uint32_t slot)
{
    uint64_t old = *word, next = next_word(ledger, old, value, op, slot);
    bool again = tine__ledger_sets(old, slot) && tine__ledger_op(next) >= TINE__LEDGER_SET;

    if (!again) {
        *word = tine__ledger_settle(ledger, old);
        if (*word != old)
            return false;
    }
    if (!atomic_compare_exchange_strong_explicit(&ledger->word, word, next, memory_order_seq_cst,
                                                 memory_order_acquire)) {
        if (tine__ledger_relative(*word))
            *word = tine__ledger_settle(ledger, *word);
        return false;
    }
    /* Others are about: spare them the copy, while the line is here. */
    if (!again)
        (void)tine__ledger_settle(ledger, next);
    return true;
}

static uint64_t read_settled(struct tine__ledger_shm *ledger)
{
    return tine__ledger_settle(ledger, atomic_load_explicit(&ledger->word, memory_order_acquire));
}

/* Gives back what the dead owner holds, then frees its account. True: it held or waited. */
static bool close_account(struct tine__ledger_shm *ledger, uint32_t slot, uint64_t owner,
                          tine__ledger_without *without)
{
    struct tine__account_shm *account = &tine__ledger_accounts(ledger)[slot];
    uint64_t word = read_settled(ledger);
    bool done = false;

    while (!done) {
        uint32_t content = tine__ledger_content(ledger, word, slot), value;

        if (atomic_load_explicit(&account->owner, memory_order_acquire) != owner)
            return false; /* another has swept it, and it may be somebody else's by now */
        if (content == 0)
            break;
        value = without(tine__ledger_value(word), tine__ledger_held(content),
                        tine__ledger_waits(content));
        done = tine__ledger_move(ledger, &word, value, TINE__LEDGER_SET, slot);
    }
    /* release: after all that emptied it, for the process that opens the account next */
    atomic_compare_exchange_strong_explicit(&account->owner, &owner, 0, memory_order_acq_rel,
                                            memory_order_relaxed);
    return done;
}

/* Once the word is settled, this is the truth for whoever was dead then. */
static bool account_is_empty(struct tine__ledger_shm *ledger, uint32_t slot)
{
    return (uint32_t)atomic_load_explicit(&tine__ledger_accounts(ledger)[slot].held,
                                          memory_order_acquire) == 0;
}

uint32_t tine__ledger_sweep(struct tine__ledger_shm *ledger, bool all,
                            tine__ledger_without *without)
{
    uint32_t swept = 0;

    (void)read_settled(ledger); /* the last operation may have been that of a dead process */
    for (uint32_t i = 0; i < ledger->room; i++) {
        uint64_t owner =
            atomic_load_explicit(&tine__ledger_accounts(ledger)[i].owner, memory_order_acquire);

        if (owner == 0 || (!all && account_is_empty(ledger, i)))
            continue;
        if (!tine__owner_word_lives(owner) && close_account(ledger, i, owner, without))
            swept++;
    }
    return swept;
}

static int find(struct tine__ledger_shm *ledger, uint64_t owner)
{
    struct tine__account_shm *accounts = tine__ledger_accounts(ledger);
    uint32_t at = tine__ledger_home(ledger, owner);

    for (uint32_t i = 0; i < ledger->room; i++) {
        if (atomic_load_explicit(&accounts[at].owner, memory_order_relaxed) == owner)
            return (int)at;
        at = at + 1 < ledger->room ? at + 1 : 0;
    }
    return -ENOLCK;
}

static int open_account(struct tine__ledger_shm *ledger, uint64_t owner)
{
    struct tine__account_shm *accounts = tine__ledger_accounts(ledger);
    uint32_t at = tine__ledger_home(ledger, owner);

    for (uint32_t i = 0; i < ledger->room; i++) {
        uint64_t there = 0;

        /* acquire: pairs with the release that freed it; then it is empty */
        if (atomic_compare_exchange_strong_explicit(&accounts[at].owner, &there, owner,
                                                    memory_order_acq_rel, memory_order_relaxed) ||
            there == owner)
            return (int)at;
        at = at + 1 < ledger->room ? at + 1 : 0;
    }
    return -ENOLCK;
}

int tine__ledger_account_slow(struct tine__ledger_shm *ledger, uint64_t owner,
                              tine__ledger_without *without)
{
    int slot = find(ledger, owner);

    if (slot < 0)
        slot = open_account(ledger, owner);
    if (slot < 0) {
        tine__ledger_sweep(ledger, true, without);
        slot = open_account(ledger, owner);
    }
    return slot;
}
