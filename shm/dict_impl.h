/* SPDX-License-Identifier: MIT */
/*
 * What the files of the dictionary share: its structs in the family heap, cells and their words,
 * and a call's hold on a seat. Nobody else includes this; doc/shm-layout.md is normative for the
 * layout.
 *
 *     shm/dict.c        public calls: decide what becomes of a value, publish it with one CAS
 *     shm/dict_iter.c   iteration, count, clear, statistics
 *     shm/dict_table.c  tables: probing, growing, migration
 *     shm/dict_seat.c   seats: pins, epochs, limbo, and what the dead held
 *
 * The structs live in the family heap alone, so they hold plain pointers.
 */
#ifndef TINE_SHM_DICT_IMPL_H
#define TINE_SHM_DICT_IMPL_H

#include <tine/dict.h>

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/hash.h"

#define DICT_MAGIC UINT64_C(0x74636964656e6974) /* "tinedict" */

enum {
    DICT_CELLS_MIN = 32,
    DICT_SEATS = 7, /* to a block of them */
    DICT_LIMBOS = 3,
    DICT_SEEN = 2, /* bit of an entry's link: it has been in a cell; links in limbo have it, too */
    DICT_VACANT = 1, /* the pin of a seat that nobody has: of no epoch that ever was */
};

/* ---- cells ------------------------------------------------------------------------------------ *
 * One word: address of an entry (bits 4-47; 0: empty), flags (0-3), 16 bits of the hash (48-63). A
 * cell that has once had a key keeps that key as long as its table exists. */
#define CELL_DEAD    ((uint64_t)1) /* removed; the entry stays for its key */
#define CELL_FROZEN  ((uint64_t)2) /* the word changes no more, but for COPIED */
#define CELL_COPIED  ((uint64_t)4) /* the next table knows the key, or need not */
#define CELL_ADDRESS UINT64_C(0x0000fffffffffff0)
#define CELL_TAG     UINT64_C(0xffff000000000000)

/*
 * A key with a value, 16 bytes before the key: an entry of some bytes lies in one cache line.
 * Immutable once it is in a cell, but for `link`:
 *
 * value            written by                           read by                  order
 * 0                its author
 * DICT_SEEN        CAS from 0: whoever is about to      whoever sweeps its dead  before the CAS
 * that
 *                  replace it in its cell               author: it was there     replaces it
 * DICT_SEEN and    whoever retires it                   the holder of the limbo  release / acquire
 * the next block
 */
struct dict_entry_shm {
    _Atomic uint64_t link; /* first in the struct, as in dict_table_shm */
    uint32_t key_len;
    uint32_t value_len;
    uint8_t bytes[]; /* key, then packed values */
};

/*
 * field      written by                           read by              order
 * link       as in dict_entry_shm
 * capacity   the maker, before it is published    any                  published by root or next
 * next       one CAS from NULL                    any                  seq_cst
 * retirer    one CAS from NULL                    any                  seq_cst
 * done       whoever saw all cells COPIED         writers, iterators   release / acquire
 * growing    whoever makes the next table         inserters            relaxed, a hint
 * used dead  inserters, removers; a death may     inserters, removers  relaxed; say when to grow
 *            leave them wrong by one
 * cursor     helpers                              helpers              relaxed; shares the work out
 * cells      any                                  any                  seq_cst CAS / seq_cst load
 */
struct dict_table_shm {
    _Atomic uint64_t link;
    uint64_t capacity; /* a power of two */
    struct dict_table_shm *_Atomic next;
    struct dict_seat_shm *_Atomic retirer; /* who gives this table to its limbo */
    _Atomic uint32_t done;
    _Atomic uint32_t growing;
    uint64_t reserved[3];
    _Atomic uint64_t used; /* cells that are not empty */
    _Atomic int64_t dead;
    _Atomic uint64_t cursor;
    uint64_t reserved2[5];
    _Atomic uint64_t cells[];
};

/*
 * A place from which one call at a time works. A process owns seats for its life, a thread holds
 * one for a call; the dead's are adopted with all that they hold. All stores are in an order that
 * makes each prefix meaningful to the adopter, see resolve() in shm/dict_seat.c.
 *
 * field           written by                        read by               order
 * pin             the holder; an adopter            whoever advances the  seq_cst
 *                                                   epoch
 * owner           CAS: a process that takes a       any                   seq_cst
 *                 vacant seat or one of the dead;
 *                 the holder who vacates it
 * all others      the holder, the adopter           the next of them      release / acquire, after
 *                                                                         that of pin or owner
 */
struct dict_seat_shm {
    _Atomic uint64_t pin;    /* 0: no call; else epoch * 2 + 1, or DICT_VACANT */
    _Atomic uint64_t owner;  /* tine__owner_word() of the process; 0: vacant */
    _Atomic uint64_t hand;   /* an entry that is made, and perhaps published */
    _Atomic uint64_t target; /* the cell that it is for, 0: not yet known */
    _Atomic uint64_t old;    /* the entry that stands there, to be retired if the CAS succeeds */
    _Atomic uint64_t fresh;  /* a table that is made, and perhaps published */
    _Atomic uint64_t source; /* the table whose next it is to be */
    _Atomic uint64_t spent;  /* a table that is migrated, to be retired */
    _Atomic uint64_t limbo[DICT_LIMBOS]; /* retired blocks, newest first; bit 0: a table */
    _Atomic uint64_t limbo_epoch[DICT_LIMBOS];
    _Atomic uint64_t retired_bytes; /* since the last attempt to advance the epoch */
    _Atomic uint32_t retired_count;
    uint32_t reserved;
};

struct dict_seats_shm {
    struct dict_seats_shm *_Atomic next; /* one CAS from NULL */
    uint64_t reserved[15];
    struct dict_seat_shm seat[DICT_SEATS];
};

/*
 * field          written by                        read by  order
 * magic id seed  tine_dict_open                    any      before the pointer is given out
 * root           CAS by whoever saw the table done  any      seq_cst
 * epoch          CAS by whoever retires much       any      seq_cst
 * resizes swept  any                               any      relaxed, statistics
 */
struct tine_dict {
    uint64_t magic;
    uint64_t id; /* random: tells it from an earlier one at this address */
    struct tine__hash_seed seed;
    struct dict_table_shm *_Atomic root;
    _Atomic uint64_t epoch;
    uint64_t reserved[2];
    _Atomic uint64_t resizes;
    _Atomic uint64_t swept;
    uint64_t reserved2[6];
    struct dict_seats_shm seats;
};

/* ---- private to a process -------------------------------------------------------------------- */

struct dict_key {
    const void *bytes;
    uint64_t hash;
    uint32_t len;
};

/* A call in progress: nothing that it can reach is freed before it leaves. */
struct dict_call {
    tine_dict *dict;
    struct dict_seat_shm *seat;
    uint64_t generation; /* of the process that entered */
};

/* Where a key is, or would be. */
struct dict_place {
    struct dict_table_shm *table;
    _Atomic uint64_t *cell;
    uint64_t word; /* what stood there */
};

static inline struct dict_entry_shm *dict_entry(uint64_t word)
{
    return (struct dict_entry_shm *)(uintptr_t)(word & CELL_ADDRESS);
}

static inline uint64_t dict_word(const struct dict_entry_shm *entry, uint64_t hash)
{
    return (uint64_t)(uintptr_t)entry | (hash & CELL_TAG);
}

/* The entry of a cell whose key is there; NULL: empty or removed. */
static inline struct dict_entry_shm *dict_live(uint64_t word)
{
    return (word & CELL_DEAD) != 0 ? NULL : dict_entry(word);
}

static inline const uint8_t *dict_value(const struct dict_entry_shm *entry)
{
    return entry->bytes + entry->key_len;
}

static inline size_t dict_entry_bytes(const struct dict_entry_shm *entry)
{
    return sizeof *entry + entry->key_len + entry->value_len;
}

/* ---- shm/dict_seat.c ------------------------------------------------------------------------- */

/* 0, -EINVAL (NULL), -EBADF (closed), -ENOMEM. */
int tine__dict_enter(struct dict_call *call, tine_dict *dict);
void tine__dict_leave(const struct dict_call *call);
/* Was the process forked since? Then the seat is the parent's, and the call is over. */
bool tine__dict_forked(const struct dict_call *call);
/* An entry in the seat's hand, or NULL. The value may be NULL with length 0. */
struct dict_entry_shm *tine__dict_make(const struct dict_call *call, const struct dict_key *key,
                                       const void *value, size_t value_len);
/* One CAS: the entry in hand, as `word`, in place of what was found. What was there is retired.
 * False: the cell has changed; what was in hand is freed. */
bool tine__dict_publish(const struct dict_call *call, const struct dict_place *place,
                        uint64_t word);
/* The table is migrated: root goes on, and one of all who say so retires it. */
void tine__dict_retire_table(const struct dict_call *call, struct dict_table_shm *table);
/* Frees what may be freed when enough has been retired since the last time. */
void tine__dict_tidy(const struct dict_call *call);
/* The same after memory ran out, with all means. */
void tine__dict_reclaim(const struct dict_call *call);
/* Settles every seat and frees all limbo; nobody else uses the dictionary. */
void tine__dict_settle(const struct dict_call *call);
void tine__dict_init_seats(struct dict_seats_shm *block);
void tine__dict_free_seats(tine_dict *dict);
void tine__dict_free_dead(struct dict_table_shm *table); /* entries of DEAD cells */

/* ---- shm/dict_table.c ------------------------------------------------------------------------ */

struct dict_table_shm *tine__dict_table_new(uint64_t capacity); /* NULL: no memory */
struct dict_key tine__dict_key(const tine_dict *dict, const void *bytes, size_t len);
/* For readers: the entry of a key that is there, or NULL. */
struct dict_entry_shm *tine__dict_find(const tine_dict *dict, struct dict_table_shm *table,
                                       const struct dict_key *key);
/* For writers: the cell of the key in the table that is current, unfrozen; with room if it is to be
 * inserted. 0, -ENOENT (not there and no room wanted), -ENOMEM. */
int tine__dict_locate(const struct dict_call *call, const struct dict_key *key, bool insert,
                      struct dict_place *place);
/* The table that writers work in, after helping a migration to its end. */
struct dict_table_shm *tine__dict_current(const struct dict_call *call);
/* The same without helping: where every key is, or was when its cell was frozen. */
struct dict_table_shm *tine__dict_whole(const tine_dict *dict);
/* Starts a migration, if nobody has. False: no memory. */
bool tine__dict_grow(const struct dict_call *call, struct dict_table_shm *table);
uint64_t tine__dict_count_live(const struct dict_table_shm *table);

#endif
