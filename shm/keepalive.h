/* SPDX-License-Identifier: MIT */
#ifndef TINE_SHM_KEEPALIVE_H
#define TINE_SHM_KEEPALIVE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "lib/handle.h"

/*
 * Objects of the family heap that live as long as any process has a descriptor of them: the kernel
 * counts the copies, those of forked children and those in flight over a socket included, and
 * SIGKILL gives them back. See shm/keepalive.c for how.
 *
 * An object has up to TINE__KEPT_SIDES sides (the ends of a pipe), each with its own count.
 *
 *     shared = tine_alloc(…);                          pair = tine__keepalive_share(&b, &a, 1);
 *     rc = tine__keepalive_make(&a, shared, &kind);    … tine__keepalive_close(&a); …
 */
#define TINE__KEPT_SIDES 16

enum {
    TINE__KEPT_TEST = 0,
    TINE__KEPT_PIPE = 1,
    TINE__KEPT_QUEUE = 2,
    TINE__KEPT_RINGS = 3,
    TINE__KEPT_KINDS = 8
};

struct tine__kept_kind {
    uint32_t number;
    /*
     * Gives back what the object refers to, not the object itself. No process uses it any more, and
     * none can again. May be called once more after the death of who did so: take each reference by
     * an exchange with 0 before freeing it, so that a kill loses one block at most.
     */
    void (*empty)(void *object);
};

/* One kept object, in the register; see shm/keepalive.c. */
struct tine__kept_shm {
    _Atomic uint64_t word;
    _Atomic uint64_t sweeper;
};

/* A process's hold on one side. Private; a forked child's copy is a hold of its own. */
struct tine__keepalive {
    struct tine__kept_shm *entry;
    void *object;
    int fd; /* may be sent to a process of the family */
};

/*
 * Keeps the object by side 0. It is a block of tine_alloc's, given: freed when no side is held. On
 * failure it stays the caller's. -ENOMEM, -EMFILE, -ENFILE, -EBADF (the program has closed the
 * heap's file), -ENOENT (no /proc). kind lives for ever.
 */
int tine__keepalive_make(struct tine__keepalive *hold, void *object,
                         const struct tine__kept_kind *kind);
/* Another hold, on the given side. The same errors. */
int tine__keepalive_share(struct tine__keepalive *hold, const struct tine__keepalive *other,
                          uint32_t side);
/*
 * A hold as a handle's words 0 and 1, and first descriptor (lib/handle.h); and another hold, on
 * that side, from what a process of the family has given so. -EMFILE, -EBADF; TINE_EFORMAT: they do
 * not fit together, or the object has ended.
 */
void tine__keepalive_give(const struct tine__keepalive *hold, struct tine__handle_parts *parts);
int tine__keepalive_take(struct tine__keepalive *hold, const struct tine__handle_parts *parts,
                         uint32_t side, const struct tine__kept_kind *kind);
/* The last one ends the object. Zeroed, or a hold never made: nothing. */
void tine__keepalive_close(struct tine__keepalive *hold);

/* Does any process, or a message in flight, still hold that side? A system call. */
bool tine__keepalive_held(const struct tine__keepalive *hold, uint32_t side);

/* Ends all objects whose holders have died, of the kinds that this process has used. */
void tine__keepalive_sweep(void);

#endif
