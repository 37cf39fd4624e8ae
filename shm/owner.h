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

#endif
