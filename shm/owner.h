/* SPDX-License-Identifier: MIT */
#ifndef TINE_SHM_OWNER_H
#define TINE_SHM_OWNER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * Identity of a process that outlives the reuse of its pid: pid, start time in clock ticks since
 * boot, and a random number that also tells apart what /proc cannot.
 */
struct tine__owner {
    uint64_t start;
    uint64_t id;
    pid_t pid;
};

/*
 * One row of a table of processes in shared memory. `state` says whether the row counts; a row is
 * filled before it is marked LIVE (release), so that a death while filling leaves it FREE.
 *
 * field           written by               read by      order
 * pid start id    the process, row FREE    any          published by state (release/acquire)
 * state           the process; a sweeper   any          release/acquire, under the table's lock
 */
struct tine__owner_shm {
    _Atomic uint32_t state;
    _Atomic int32_t pid;
    _Atomic uint64_t start;
    _Atomic uint64_t id;
    uint64_t reserved;
};

enum { TINE__OWNER_FREE = 0, TINE__OWNER_LIVE = 1 };

void tine__owner_identify(struct tine__owner *self); /* the calling process */
/* False once the process is a zombie, gone, or another one bears its pid. */
bool tine__owner_lives(const struct tine__owner *owner);

void tine__owner_fill(struct tine__owner_shm *row, const struct tine__owner *owner);
/* false: the row is free */
bool tine__owner_read(const struct tine__owner_shm *row, struct tine__owner *owner);

/*
 * A process in one word, so that one atomic step can record it, in memory that strangers share too:
 *
 *     bits 0-1    marks of whoever keeps the word; 0 from tine__owner_word()
 *          2-23   pid; 0: nobody
 *          24-51  start time in clock ticks since boot, modulo 2^28; 0: unknown
 *          52-63  hash of the pid and time namespaces; 0: unknown
 *
 * A pid used again within the same tick, or exactly 31 days later, passes for the old one.
 */
#define TINE__OWNER_MARKS ((uint64_t)3)

uint64_t tine__owner_word(void); /* the calling process */
/* A process that the caller sees in its own namespace; 0: there is none. */
uint64_t tine__owner_word_of(pid_t pid);
/* The calling thread, by its tid and start time; its death is judged like a process's. Slow:
   /proc. */
uint64_t tine__owner_word_thread(void);
/* False once that process is dead. True for one of another namespace: it can't be judged. */
bool tine__owner_word_lives(uint64_t word);
/* The thread, or the main thread of the process, runs, or would if it got a CPU: it does not
   sleep. */
bool tine__owner_word_runs(uint64_t word);
/* That process is dead, or can do nothing any more but die. False where that cannot be told. */
bool tine__owner_word_exits(uint64_t word);
bool tine__owner_word_near(uint64_t word);          /* is its pid one of the caller's namespace? */
bool tine__owner_word_same(uint64_t a, uint64_t b); /* but for the marks */
pid_t tine__owner_word_pid(uint64_t word);

#endif
