/* SPDX-License-Identifier: MIT */
#ifndef TINE_SHM_WATCH_H
#define TINE_SHM_WATCH_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/*
 * Being told by a descriptor that a word of the family heap may have changed. Who wants to be told
 * has a bell (a socket: lib/sys_poll.h), enters it for the word's address, a *point*, into a table
 * of the family, and lets the word say that it is watched; whoever changes a word that says so
 * rings all bells entered for it. See shm/watch.c.
 *
 *     tine__bell_open(&bell); tine__watch_enter(&bell, point, &slot);
 *     for (;;) { tine__bell_silence(&bell, rung); arm; if (ready) break; rung = poll(bell.fd, …, TINE__LOOK_NS) }
 *     tine__watch_leave(slot); tine__bell_close(&bell);
 *
 * arm: the word says "watched" from now until it has rung (tine__waiters_watch). A change whose
 * maker dies before it rings is for the look, every 50 ms, as with all sleepers.
 */

/*
 * A bell, 64 bytes in the table; which number it has, is for ever. Order of the fields' stores:
 * owner first.
 *
 * field       written by                            read by            order
 * owner       0 → own by CAS; the owner, to free;   all                acq_rel / acquire
 *             a sweeper marks and frees the dead's
 * address     the owner, before it enters it        who rings          published by the entry
 * rung        who rings: 1; the owner: 0            the same           seq_cst
 * generation  the owner, when it takes the bell     owner, sweeper     published by owner, entry
 * uses …      the owner's process alone             the same           see shm/pollable.c
 */
struct tine__bell_shm {
    _Atomic uint64_t owner; /* owner word; 0: free */
    _Atomic uint64_t address;
    _Atomic uint32_t rung;
    _Atomic uint32_t generation;
    _Atomic uint32_t uses;
    _Atomic int32_t epoll;
    int32_t socket, timer;
    _Atomic uint64_t *_Atomic slots[2];
    uint32_t tag; /* as in struct tine__bell */
    uint32_t reserved;
};

/* A process's hold on one. Private; of no use to a forked child. */
struct tine__bell {
    struct tine__bell_shm *shared;
    uint32_t tag; /* number << 8 | generation modulo 256 */
    int fd;       /* readable: it has been rung */
};

/* -ENOMEM, -EMFILE, -ENFILE, -ENOLCK (65,536 are in use), … */
int tine__bell_open(struct tine__bell *bell);
void tine__bell_close(struct tine__bell *bell); /* all its watches have been left */
/*
 * From here on the next change rings again. The caller then arms, and tests what it waits for.
 * readable: its descriptor is. (A ring may still come late, for nothing.)
 */
void tine__bell_silence(const struct tine__bell *bell, bool readable);

/* *slot is for leaving. -ENOTSUP: not in the family heap; -ENOMEM. */
int tine__watch_enter(const struct tine__bell *bell, const void *point, _Atomic uint64_t **slot);
void tine__watch_leave(_Atomic uint64_t *slot);
/* After a change, seq_cst, of what said "watched". Lock-free and async-signal-safe. */
void tine__watch_ring(const void *point);
/* For whoever looks: takes out the bells of the dead, if there seem to be any. */
void tine__watch_look(void);

/* The bells entered for a point, one after the other: tag and record; false: no more. */
struct tine__watch_walk {
    const _Atomic uint64_t *line;
    uint64_t key;
    unsigned next;
};

struct tine__watch_walk tine__watch_walk(const void *point);
struct tine__bell_shm *tine__watch_next(struct tine__watch_walk *walk, uint32_t *tag);
/* By number; NULL: there is none so high. */
struct tine__bell_shm *tine__bell_at(uint32_t number);

#endif
