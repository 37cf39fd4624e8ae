/* SPDX-License-Identifier: MIT */
/*
 * Seats of a dictionary: who is in a call, what may be freed when, and what the dead leave.
 *
 * Epochs. A call pins its seat with the epoch that it has read, and reads it again. The epoch goes
 * from e to e + 1 only when every pinned seat is pinned at e, so what was taken out of the table at
 * e is freed from e + 2 on: whoever could still see it was pinned at e or before. A process that is
 * stopped in a call therefore delays the freeing, and nothing else.
 *
 * The dead. A seat whose owner is dead keeps its pin, so everything that its fields name still
 * exists, until one CAS of `owner` gives the seat to somebody else, who settles it with resolve().
 * Should he die as well, the next one finds the seat as it was, or further. A hand is published
 * if its target holds it, or if somebody has seen it there: its link says so before a cell changes
 * from one entry to another. So after any prefix of tine__dict_publish() it is known who retires
 * what, and nothing is lost; only a block that was on its way from or to the heap's allocator may
 * be.
 *
 * Fork: a child is another owner, so it takes other seats; those of its parent stay pinned and in
 * use there. No locks.
 */
#include "shm/dict_impl.h"

#include <tine/heap.h>

#include <errno.h>
#include <string.h>

#include "lib/fork.h"
#include "shm/owner.h"

enum {
    CACHED = 4,           /* dictionaries whose seat a thread remembers */
    TIDY_COUNT = 32,      /* retired blocks before an attempt to advance the epoch … */
    TIDY_BYTES = 1 << 18, /* … or bytes of them */
    RECLAIM_ROUNDS = 3,   /* epochs until everything retired can be freed */
};

#define IS_TABLE ((uint64_t)1) /* of a link in limbo */

/* Void once the dictionary's id or the process's generation differs. */
struct cached_seat {
    const tine_dict *dict;
    struct dict_seat_shm *seat;
    uint64_t id;
    uint64_t generation;
};

static _Thread_local struct cached_seat cache[CACHED] __attribute__((tls_model("initial-exec")));

static inline uint64_t load(const _Atomic uint64_t *field)
{
    return atomic_load_explicit(field, memory_order_acquire);
}

/* Pairs with load() by whoever has the seat next. */
static inline void store(_Atomic uint64_t *field, uint64_t value)
{
    atomic_store_explicit(field, value, memory_order_release);
}

static inline uint64_t word_of(const void *pointer)
{
    return (uint64_t)(uintptr_t)pointer;
}

/* ---- limbo, by the holder of the seat -------------------------------------------------------- */

/* First member of entries and tables alike. */
static _Atomic uint64_t *link_of(uint64_t item)
{
    return (_Atomic uint64_t *)(uintptr_t)(item & ~IS_TABLE);
}

void tine__dict_free_dead(struct dict_table_shm *table)
{
    for (uint64_t i = 0; i < table->capacity; i++) {
        uint64_t word = atomic_load_explicit(&table->cells[i], memory_order_acquire);

        if ((word & CELL_DEAD) == 0 || dict_entry(word) == NULL)
            continue;
        /* Out of the cell first: a death in between loses the entry, and nobody frees it twice. */
        store(&table->cells[i], CELL_FROZEN | CELL_COPIED);
        tine_free(dict_entry(word));
    }
}

static void free_limbo(struct dict_seat_shm *seat, unsigned i)
{
    uint64_t item;

    while ((item = load(&seat->limbo[i])) != 0) {
        if ((item & IS_TABLE) != 0)
            tine__dict_free_dead((struct dict_table_shm *)link_of(item));
        store(&seat->limbo[i], load(link_of(item)) & ~(uint64_t)DICT_SEEN);
        tine_free((void *)link_of(item));
    }
}

static void free_old_limbo(struct dict_seat_shm *seat, uint64_t epoch)
{
    for (unsigned i = 0; i < DICT_LIMBOS; i++)
        if (load(&seat->limbo_epoch[i]) + 2 <= epoch)
            free_limbo(seat, i);
}

/* Newest first, and a seat's call retires one block at a time: a death finds it on top, or not. */
static bool is_on_top(const struct dict_seat_shm *seat, uint64_t item)
{
    for (unsigned i = 0; i < DICT_LIMBOS; i++)
        if (load(&seat->limbo[i]) == item)
            return true;
    return false;
}

/* Of what is out of everybody's reach but that of calls now pinned. */
static void retire(const tine_dict *dict, struct dict_seat_shm *seat, uint64_t item, uint64_t bytes)
{
    /* seq_cst, after the CAS that took it out: no call that saw it is pinned at a later epoch */
    uint64_t epoch = atomic_load_explicit(&dict->epoch, memory_order_seq_cst);
    unsigned i = (unsigned)(epoch % DICT_LIMBOS);

    if (load(&seat->limbo_epoch[i]) != epoch) {
        free_limbo(seat, i); /* of three epochs ago at least */
        store(&seat->limbo_epoch[i], epoch);
    }
    store(link_of(item), load(&seat->limbo[i]) | DICT_SEEN);
    store(&seat->limbo[i], item);
    store(&seat->retired_bytes, load(&seat->retired_bytes) + bytes);
    atomic_fetch_add_explicit(&seat->retired_count, 1, memory_order_relaxed);
}

/* ---- publishing ------------------------------------------------------------------------------ */

/* The end of both ways; the target last, for a hand without a target is not published. */
static void empty_hand(struct dict_seat_shm *seat)
{
    store(&seat->hand, 0);
    store(&seat->old, 0);
    store(&seat->target, 0);
}

static void discard(struct dict_seat_shm *seat)
{
    void *entry = (void *)(uintptr_t)load(&seat->hand);

    empty_hand(seat);
    tine_free(entry);
}

struct dict_entry_shm *tine__dict_make(const struct dict_call *call, const struct dict_key *key,
                                       const void *value, size_t value_len)
{
    struct dict_entry_shm *entry = tine_alloc(sizeof *entry + key->len + value_len);

    if (entry == NULL)
        return NULL;
    store(&call->seat->hand, word_of(entry));
    /* Should death come before it is filled: without a target it is not looked into. */
    atomic_init(&entry->link, 0);
    entry->key_len = key->len;
    entry->value_len = (uint32_t)value_len;
    if (key->len > 0)
        memcpy(entry->bytes, key->bytes, key->len);
    if (value_len > 0)
        memcpy(entry->bytes + key->len, value, value_len);
    return entry;
}

bool tine__dict_publish(const struct dict_call *call, const struct dict_place *place, uint64_t word)
{
    struct dict_seat_shm *seat = call->seat;
    struct dict_entry_shm *old = dict_entry(place->word);
    uint64_t expected = place->word, none = 0;

    store(&seat->old, word_of(old));
    store(&seat->target, word_of(place->cell));
    if (old != NULL && load(&old->link) == 0)
        atomic_compare_exchange_strong(&old->link, &none, DICT_SEEN); /* unless it is in limbo */
    if (!atomic_compare_exchange_strong(place->cell, &expected, word)) {
        discard(seat);
        return false;
    }
    if (old != NULL)
        retire(call->dict, seat, word_of(old), dict_entry_bytes(old));
    store(&seat->old, 0);
    empty_hand(seat);
    return true;
}

/* Root goes on from a table that is done. */
static void pass_by(tine_dict *dict, struct dict_table_shm *table)
{
    struct dict_table_shm *expected = table;

    atomic_compare_exchange_strong(&dict->root, &expected,
                                   atomic_load_explicit(&table->next, memory_order_seq_cst));
}

/* The second half of retiring a table, for him alone whom `retirer` names. */
static void bury(tine_dict *dict, struct dict_seat_shm *seat, struct dict_table_shm *table)
{
    if (atomic_load_explicit(&table->retirer, memory_order_seq_cst) == seat) {
        pass_by(dict, table);
        if (!is_on_top(seat, word_of(table) | IS_TABLE))
            retire(dict, seat, word_of(table) | IS_TABLE, table->capacity * sizeof(uint64_t));
    }
    store(&seat->spent, 0);
}

void tine__dict_retire_table(const struct dict_call *call, struct dict_table_shm *table)
{
    struct dict_seat_shm *nobody = NULL;

    store(&call->seat->spent, word_of(table));
    atomic_compare_exchange_strong(&table->retirer, &nobody, call->seat);
    pass_by(call->dict, table);
    bury(call->dict, call->seat, table);
}

/* ---- the dead -------------------------------------------------------------------------------- */

static bool was_published(const struct dict_seat_shm *seat, const struct dict_entry_shm *hand)
{
    const _Atomic uint64_t *target = (const void *)(uintptr_t)load(&seat->target);

    if (target == NULL)
        return false;
    if (dict_entry(atomic_load_explicit(target, memory_order_seq_cst)) == hand)
        return true;
    /* Only after that look: whoever replaced it has marked it before. */
    return atomic_load_explicit(&hand->link, memory_order_seq_cst) != 0;
}

static void resolve_entry(const tine_dict *dict, struct dict_seat_shm *seat)
{
    struct dict_entry_shm *hand = (void *)(uintptr_t)load(&seat->hand);
    struct dict_entry_shm *old = (void *)(uintptr_t)load(&seat->old);

    if (hand == NULL) {
        empty_hand(seat);
        return;
    }
    if (!was_published(seat, hand)) {
        discard(seat);
        return;
    }
    if (old != NULL && !is_on_top(seat, word_of(old)))
        retire(dict, seat, word_of(old), dict_entry_bytes(old));
    store(&seat->old, 0);
    empty_hand(seat);
}

static void resolve_tables(tine_dict *dict, struct dict_seat_shm *seat)
{
    struct dict_table_shm *fresh = (void *)(uintptr_t)load(&seat->fresh);
    struct dict_table_shm *source = (void *)(uintptr_t)load(&seat->source);
    struct dict_table_shm *spent = (void *)(uintptr_t)load(&seat->spent);

    if (spent != NULL)
        bury(dict, seat, spent);
    store(&seat->fresh, 0);
    if (fresh != NULL && atomic_load_explicit(&source->next, memory_order_seq_cst) != fresh)
        tine_free(fresh);
}

/* Ends the call that was in progress in a seat; the caller has the seat, and it is still pinned. */
static void resolve(tine_dict *dict, struct dict_seat_shm *seat)
{
    resolve_entry(dict, seat);
    resolve_tables(dict, seat);
}

/* ---- epochs ---------------------------------------------------------------------------------- */

static inline uint64_t pin_word(uint64_t epoch)
{
    return epoch << 1 | 1;
}

/* Pins at the present epoch; what was reachable before is no longer protected. */
static inline void repin(const tine_dict *dict, struct dict_seat_shm *seat, uint64_t epoch)
{
    uint64_t now;

    while ((now = atomic_load_explicit(&dict->epoch, memory_order_seq_cst)) != epoch) {
        atomic_store_explicit(&seat->pin, pin_word(now), memory_order_seq_cst);
        epoch = now;
    }
}

/* Takes an own seat for a call. False: another thread has it. */
static inline bool take(const tine_dict *dict, struct dict_seat_shm *seat)
{
    uint64_t epoch = atomic_load_explicit(&dict->epoch, memory_order_seq_cst), none = 0;

    if (!atomic_compare_exchange_strong(&seat->pin, &none, pin_word(epoch)))
        return false;
    repin(dict, seat, epoch);
    return true;
}

/* ---- who has a seat --------------------------------------------------------------------------- *
 * owner 0, pin VACANT   nobody; whoever makes the first CAS of owner has it
 * owner, pin 0          that process; whichever of its threads makes the first CAS of pin has it
 * owner, pin odd        a thread of that process; if it is dead, whoever makes the first CAS of
 *                       owner, and no thread of his can come between, as the pin is not 0
 *
 * A seat is vacated only if its pin was never 0 under this owner, so that no thread of his has it
 * in its cache. */

/* Pins a seat that the caller has already. */
static void hold(const tine_dict *dict, struct dict_seat_shm *seat)
{
    repin(dict, seat, 0);
}

/* Gives up a seat that was taken to put it in order, with what is in its limbo: to anybody, unless
 * a thread of ours may remember it. */
static void give_up(struct dict_seat_shm *seat, bool remembered)
{
    if (remembered) {
        store(&seat->pin, 0);
        return;
    }
    atomic_store_explicit(&seat->pin, DICT_VACANT, memory_order_seq_cst);
    atomic_store_explicit(&seat->owner, 0, memory_order_seq_cst);
}

/* Takes the seat of a dead owner, with its call settled. False: somebody else did, perhaps a thread
 * of ours. */
static bool adopt(tine_dict *dict, struct dict_seat_shm *seat, uint64_t owner, uint64_t self,
                  bool *remembered)
{
    uint64_t pin = load(&seat->pin); /* of the dead, if the CAS succeeds */

    if (!atomic_compare_exchange_strong(&seat->owner, &owner, self))
        return false;
    atomic_fetch_add_explicit(&dict->swept, 1, memory_order_relaxed);
    *remembered = pin == 0;
    if (pin == 0)
        return take(dict, seat);
    resolve(dict, seat); /* under the pin of the dead: what his fields name is still there */
    hold(dict, seat);
    return true;
}

/* Takes a seat that is vacant or of a dead process. */
static bool occupy(tine_dict *dict, struct dict_seat_shm *seat, uint64_t owner, uint64_t self,
                   bool *remembered)
{
    if (owner != 0)
        return !tine__owner_word_lives(owner) && adopt(dict, seat, owner, self, remembered);
    *remembered = false;
    if (!atomic_compare_exchange_strong(&seat->owner, &owner, self))
        return false;
    hold(dict, seat);
    return true;
}

/* Does the seat let the epoch go on? A dead owner's does, once it is settled. */
static bool lets_pass(const struct dict_call *call, struct dict_seat_shm *seat, uint64_t epoch)
{
    uint64_t pin = atomic_load_explicit(&seat->pin, memory_order_seq_cst), owner;
    bool remembered;

    if (pin == 0 || pin == pin_word(epoch))
        return true;
    owner = atomic_load_explicit(&seat->owner, memory_order_seq_cst);
    if (owner == 0)
        return true;
    if (seat == call->seat ||
        !occupy(call->dict, seat, owner, load(&call->seat->owner), &remembered))
        return false;
    give_up(seat, remembered);
    return true;
}

static void advance(const struct dict_call *call)
{
    uint64_t epoch = atomic_load_explicit(&call->dict->epoch, memory_order_seq_cst);

    for (struct dict_seats_shm *block = &call->dict->seats; block != NULL;
         block = atomic_load_explicit(&block->next, memory_order_seq_cst))
        for (int i = 0; i < DICT_SEATS; i++)
            if (!lets_pass(call, &block->seat[i], epoch))
                return;
    atomic_compare_exchange_strong(&call->dict->epoch, &epoch, epoch + 1);
}

void tine__dict_tidy(const struct dict_call *call)
{
    struct dict_seat_shm *seat = call->seat;

    if (atomic_load_explicit(&seat->retired_count, memory_order_relaxed) < TIDY_COUNT &&
        load(&seat->retired_bytes) < TIDY_BYTES)
        return;
    atomic_store_explicit(&seat->retired_count, 0, memory_order_relaxed);
    store(&seat->retired_bytes, 0);
    advance(call);
    free_old_limbo(seat, atomic_load_explicit(&call->dict->epoch, memory_order_seq_cst));
}

/* Frees what it can of a seat that no living process but ours has. */
static void reclaim_seat(const struct dict_call *call, struct dict_seat_shm *seat)
{
    uint64_t self = load(&call->seat->owner);
    uint64_t owner = atomic_load_explicit(&seat->owner, memory_order_seq_cst);
    bool remembered = true;

    if (owner == self ? !take(call->dict, seat)
                      : !occupy(call->dict, seat, owner, self, &remembered))
        return;
    free_old_limbo(seat, atomic_load_explicit(&call->dict->epoch, memory_order_seq_cst));
    give_up(seat, remembered);
}

void tine__dict_reclaim(const struct dict_call *call)
{
    tine_dict *dict = call->dict;

    for (int round = 0; round < RECLAIM_ROUNDS; round++) {
        advance(call);
        repin(dict, call->seat, 0);
    }
    for (struct dict_seats_shm *block = &dict->seats; block != NULL;
         block = atomic_load_explicit(&block->next, memory_order_seq_cst))
        for (int i = 0; i < DICT_SEATS; i++)
            reclaim_seat(call, &block->seat[i]);
    free_old_limbo(call->seat, atomic_load_explicit(&dict->epoch, memory_order_seq_cst));
}

void tine__dict_settle(const struct dict_call *call)
{
    struct dict_seats_shm *block;

    for (block = &call->dict->seats; block != NULL; block = block->next)
        for (int i = 0; i < DICT_SEATS; i++)
            resolve(call->dict, &block->seat[i]);
    tine__dict_current(call);
    for (block = &call->dict->seats; block != NULL; block = block->next)
        for (int i = 0; i < DICT_SEATS; i++)
            for (unsigned l = 0; l < DICT_LIMBOS; l++)
                free_limbo(&block->seat[i], l);
}

void tine__dict_free_seats(tine_dict *dict)
{
    struct dict_seats_shm *block;

    while ((block = dict->seats.next) != NULL) {
        dict->seats.next = block->next;
        tine_free(block);
    }
}

/* ---- entering a call ------------------------------------------------------------------------- */

static struct cached_seat *cached(const tine_dict *dict)
{
    return &cache[dict->id % CACHED];
}

/* What a search for a seat takes, in this order: nobody reads in /proc who need not. */
enum choice { OWN, VACANT, OF_THE_DEAD, CHOICES };

static bool choose(tine_dict *dict, struct dict_seat_shm *seat, enum choice choice, uint64_t self)
{
    uint64_t owner = atomic_load_explicit(&seat->owner, memory_order_seq_cst);
    enum choice kind = owner == self ? OWN : owner == 0 ? VACANT : OF_THE_DEAD;
    bool remembered;

    if (kind != choice)
        return false;
    return kind == OWN ? take(dict, seat) : occupy(dict, seat, owner, self, &remembered);
}

static struct dict_seat_shm *search(tine_dict *dict, uint64_t self)
{
    for (int choice = 0; choice < CHOICES; choice++)
        for (struct dict_seats_shm *block = &dict->seats; block != NULL;
             block = atomic_load_explicit(&block->next, memory_order_seq_cst))
            for (int i = 0; i < DICT_SEATS; i++)
                if (choose(dict, &block->seat[i], (enum choice)choice, self))
                    return &block->seat[i];
    return NULL;
}

void tine__dict_init_seats(struct dict_seats_shm *block)
{
    memset(block, 0, sizeof *block);
    for (int i = 0; i < DICT_SEATS; i++)
        atomic_init(&block->seat[i].pin, DICT_VACANT);
}

/* Another block of seats at the end of the chain; whoever made it. */
static int add_seats(tine_dict *dict)
{
    struct dict_seats_shm *last = &dict->seats, *next, *block;

    while ((next = atomic_load_explicit(&last->next, memory_order_seq_cst)) != NULL)
        last = next;
    block = tine_aligned_alloc(sizeof(struct dict_seat_shm), sizeof *block);
    if (block == NULL)
        return -ENOMEM;
    tine__dict_init_seats(block);
    if (!atomic_compare_exchange_strong(&last->next, &next, block))
        tine_free(block);
    return 0;
}

static int enter_slowly(struct dict_call *call)
{
    struct cached_seat *place = cached(call->dict);
    uint64_t self = tine__owner_word();
    int rc = 0;

    while (rc == 0 && (call->seat = search(call->dict, self)) == NULL)
        rc = add_seats(call->dict);
    if (rc == 0)
        *place = (struct cached_seat){call->dict, call->seat, call->dict->id, call->generation};
    return rc;
}

int tine__dict_enter(struct dict_call *call, tine_dict *dict)
{
    const struct cached_seat *place;

    if (dict == NULL)
        return -EINVAL;
    if (dict->magic != DICT_MAGIC)
        return -EBADF;
    place = cached(dict);
    call->dict = dict;
    call->generation = tine__fork_generation_fast();
    if (place->dict == dict && place->id == dict->id && place->generation == call->generation &&
        take(dict, place->seat)) {
        call->seat = place->seat;
        return 0;
    }
    return enter_slowly(call);
}

void tine__dict_leave(const struct dict_call *call)
{
    /* pairs with whoever advances the epoch: all that this call has read lies before */
    store(&call->seat->pin, 0);
}

bool tine__dict_forked(const struct dict_call *call)
{
    return call->generation != tine__fork_generation_fast();
}
