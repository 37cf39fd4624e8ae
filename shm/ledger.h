/* SPDX-License-Identifier: MIT */
#ifndef TINE_SHM_LEDGER_H
#define TINE_SHM_LEDGER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/*
 * Who holds how many of a counted thing, exact under SIGKILL between any two instructions: a value,
 * and for each process an account of what it holds of it. See shm/ledger.c for how and why.
 *
 *     uint64_t word = tine__ledger_read(ledger);
 *     int slot = tine__ledger_account(ledger, tine__owner_word(), without);
 *
 *     do {
 *         … decide by tine__ledger_value(word) and tine__ledger_content(ledger, word, slot) …
 *     } while (!tine__ledger_move(ledger, &word, new_value, TINE__LEDGER_ADD, slot));
 *
 * What was read by the word and before a successful move was true at the move.
 */

/*
 * One process. 16 bytes.
 *
 * field  written by                                    read by  order
 * owner  the process 0 → its word; whoever sees that   any      acq_rel
 *        it is dead and holds nothing → 0
 * held   whoever copies the ledger's word, while that  any      acq_rel
 *        names this account
 *
 *     held: content in bits 0-31 (held 0-23, waits 24-31), tag of the operation that made it 32-63
 */
struct tine__account_shm {
    _Atomic uint64_t owner; /* tine__owner_word(); 0: free */
    _Atomic uint64_t held;
};

/*
 * The accounts follow in memory: `room` of them. 32 bytes.
 *
 * field   written by                   read by  order
 * word    each operation, by one CAS   any      seq_cst, for tine__waiters
 * looked  whoever looks for the dead   the same relaxed: when that was last
 * room    tine__ledger_init            any      plain
 *
 *     word: bits 0-21 value, 22-25 operation, 26-35 account, 36-63 tag
 */
struct tine__ledger_shm {
    _Atomic uint64_t word;
    _Atomic uint64_t looked; /* tine__look_due */
    uint32_t room;
    uint32_t reserved[3];
};

#define TINE__LEDGER_VALUE_MAX ((1u << 22) - 1)
#define TINE__LEDGER_ROOM      62u /* accounts, unless another number is asked for */
#define TINE__LEDGER_ROOM_MAX  1022u

/*
 * What an operation does to the account that it names; what it does to the value is free. Contents
 * up to TINE__LEDGER_SET_MAX stand in the word themselves, as operation SET + content.
 */
enum {
    TINE__LEDGER_NONE = 0, /* it names no account */
    TINE__LEDGER_ADD = 1,
    TINE__LEDGER_SUB = 2,
    TINE__LEDGER_WAIT = 3,   /* one more waits … */
    TINE__LEDGER_UNWAIT = 4, /* … and no longer */
    TINE__LEDGER_ENTER = 5,  /* ADD and UNWAIT */
    TINE__LEDGER_SET = 6,    /* holds and waits for nothing */
};

#define TINE__LEDGER_SET_MAX 9u

/* The value without a dead process that had these. */
typedef uint32_t tine__ledger_without(uint32_t value, uint32_t held, uint32_t waits);

void tine__ledger_init(struct tine__ledger_shm *ledger, uint32_t room, uint32_t value);
uint64_t tine__ledger_settle(struct tine__ledger_shm *ledger, uint64_t word);
uint32_t tine__ledger_changed(uint32_t content, uint32_t op);
int tine__ledger_account_slow(struct tine__ledger_shm *ledger, uint64_t owner,
                              tine__ledger_without *without);
/*
 * Takes what dead processes hold back into the value and frees their accounts; `all`: also of those
 * that hold nothing. How many dead ones held or waited.
 */
uint32_t tine__ledger_sweep(struct tine__ledger_shm *ledger, bool all,
                            tine__ledger_without *without);

static inline struct tine__account_shm *tine__ledger_accounts(struct tine__ledger_shm *ledger)
{
    return (struct tine__account_shm *)(ledger + 1);
}

static inline uint32_t tine__ledger_value(uint64_t word)
{
    return (uint32_t)word & TINE__LEDGER_VALUE_MAX;
}

#define TINE__LEDGER_OP_SHIFT   22
#define TINE__LEDGER_SLOT_SHIFT 26
#define TINE__LEDGER_TAG_SHIFT  36
#define TINE__LEDGER_TAG_MASK   ((UINT64_C(1) << 28) - 1)

static inline uint32_t tine__ledger_op(uint64_t word)
{
    return (uint32_t)(word >> TINE__LEDGER_OP_SHIFT) & 15;
}

static inline uint32_t tine__ledger_slot(uint64_t word)
{
    return (uint32_t)(word >> TINE__LEDGER_SLOT_SHIFT) & 1023;
}

static inline uint64_t tine__ledger_word(uint32_t value, uint32_t op, uint32_t slot, uint64_t tag)
{
    return value | (uint64_t)op << TINE__LEDGER_OP_SHIFT |
           (uint64_t)slot << TINE__LEDGER_SLOT_SHIFT | tag << TINE__LEDGER_TAG_SHIFT;
}

/* Does the word itself say what that account contains? */
static inline bool tine__ledger_sets(uint64_t word, uint32_t slot)
{
    return tine__ledger_op(word) >= TINE__LEDGER_SET && tine__ledger_slot(word) == slot;
}

static inline bool tine__ledger_relative(uint64_t word)
{
    return tine__ledger_op(word) - 1 < TINE__LEDGER_SET - 1;
}

/* The word; an operation that depends on the account's content is copied there. */
static inline uint64_t tine__ledger_read(struct tine__ledger_shm *ledger)
{
    uint64_t word = atomic_load_explicit(&ledger->word, memory_order_acquire);

    return tine__ledger_relative(word) ? tine__ledger_settle(ledger, word) : word;
}

/* What the account contains, as of that word from tine__ledger_read(). */
static inline uint32_t tine__ledger_content(struct tine__ledger_shm *ledger, uint64_t word,
                                            uint32_t slot)
{
    if (tine__ledger_sets(word, slot))
        return tine__ledger_op(word) - TINE__LEDGER_SET;
    return (uint32_t)atomic_load_explicit(&tine__ledger_accounts(ledger)[slot].held,
                                          memory_order_acquire);
}

static inline uint32_t tine__ledger_held(uint32_t content)
{
    return content & 0xffffff;
}

static inline uint32_t tine__ledger_waits(uint32_t content)
{
    return content >> 24;
}

/* Where the search for a process's account begins. */
static inline uint32_t tine__ledger_home(const struct tine__ledger_shm *ledger, uint64_t owner)
{
    uint64_t hash = (owner * UINT64_C(0x9e3779b97f4a7c15)) >> 32;

    return (uint32_t)(hash * ledger->room >> 32);
}

/* The account of that process, opened if need be; -ENOLCK when all are taken by the living. */
static inline int tine__ledger_account(struct tine__ledger_shm *ledger, uint64_t owner,
                                       tine__ledger_without *without)
{
    uint32_t home = tine__ledger_home(ledger, owner);

    if (atomic_load_explicit(&tine__ledger_accounts(ledger)[home].owner, memory_order_relaxed) ==
        owner)
        return (int)home;
    return tine__ledger_account_slow(ledger, owner, without);
}

bool tine__ledger_move(struct tine__ledger_shm *ledger, uint64_t *word, uint32_t value, uint32_t op,
                       uint32_t slot);

/*
 * The same in a few instructions for a process that made the last operation, too, and holds little:
 * one more (held 1) or one fewer (-1). False: nothing has changed, take the long way.
 */
static inline bool tine__ledger_quick(struct tine__ledger_shm *ledger, uint64_t word,
                                      uint64_t owner, uint32_t value, int held)
{
    uint32_t slot = tine__ledger_slot(word), op = tine__ledger_op(word) + (uint32_t)held;
    struct tine__account_shm *account = &tine__ledger_accounts(ledger)[slot];
    uint64_t tag = ((word >> TINE__LEDGER_TAG_SHIFT) + 1) & TINE__LEDGER_TAG_MASK;

    if (tine__ledger_op(word) < TINE__LEDGER_SET || op - TINE__LEDGER_SET > TINE__LEDGER_SET_MAX ||
        atomic_load_explicit(&account->owner, memory_order_relaxed) != owner ||
        atomic_load_explicit(&account->held, memory_order_relaxed) >> 32 == tag)
        return false;
    return atomic_compare_exchange_strong_explicit(&ledger->word, &word,
                                                   tine__ledger_word(value, op, slot, tag),
                                                   memory_order_seq_cst, memory_order_relaxed);
}

#endif
