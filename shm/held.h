/* SPDX-License-Identifier: MIT */
#ifndef TINE_SHM_HELD_H
#define TINE_SHM_HELD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/fork.h"

/*
 * The kernel frees at most 2048 robust mutexes of a thread that dies, and stops at the first that
 * was unmapped before. So a thread may hold no more than this, and memory with a held lock in it is
 * not unmapped.
 */
#define TINE__HELD_MAX 1024

/* Wake-ups put off until the thread has released a lock. */
#define TINE__WAKES_MAX 16

/*
 * The calling thread as a holder of locks, and the robust locks that it holds. Private memory: a
 * forked child's thread has another identity and holds nothing.
 *
 * field       written by             read by
 * generation  whoever takes it over  all threads of the process
 * held count  its thread             tine__held_within in any thread: relaxed, a hint for a caller
 *                                    that races with its own locking
 * the rest    its thread             its thread
 */
struct tine__self {
    _Atomic uint64_t generation; /* of the process whose thread has it; 0: nobody's */
    uint64_t thread;             /* random, never 0: no other thread in any process has it */
    uint64_t process;            /* tine__owner_word() */
    pid_t tid;
    _Atomic uint32_t count;
    uint32_t wake_count;
    uint32_t spin_ns; /* before it sleeps: as much as paid lately; see shm/condition.c */
    uint32_t sleeps;  /* without a spin before */
    const void *_Atomic held[TINE__HELD_MAX];
    struct tine__self *next; /* all of the process, in the order of making; never unlinked */
    const _Atomic uint32_t *wakes[TINE__WAKES_MAX];
};

extern _Thread_local struct tine__self *tine__self_thread
    __attribute__((tls_model("initial-exec")));
struct tine__self *tine__self_make(void);

/* The calling thread, or NULL: no memory. */
static inline struct tine__self *tine__self(void)
{
    struct tine__self *self = tine__self_thread;

    if (self != NULL && atomic_load_explicit(&self->generation, memory_order_relaxed) ==
                            tine__fork_generation_fast())
        return self;
    return tine__self_make();
}

/* To be called after the lock is taken; the caller has seen that count < TINE__HELD_MAX. */
static inline void tine__held_push(struct tine__self *self, const void *lock)
{
    uint32_t count = atomic_load_explicit(&self->count, memory_order_relaxed);

    atomic_store_explicit(&self->held[count], lock, memory_order_relaxed);
    atomic_store_explicit(&self->count, count + 1, memory_order_relaxed);
}

/*
 * Wakes one sleeper on that word once the thread has released a lock: who is woken before needs the
 * lock too, and would only sleep again. A death in between is made good by the sleeper's look.
 */
void tine__held_wake_later(struct tine__self *self, const _Atomic uint32_t *word);
void tine__held_wake(struct tine__self *self);

void tine__held_drop_slow(struct tine__self *self, const void *lock);

/* To be called after the lock is released. */
static inline void tine__held_drop(struct tine__self *self, const void *lock)
{
    uint32_t count = atomic_load_explicit(&self->count, memory_order_relaxed);

    if (count > 0 && atomic_load_explicit(&self->held[count - 1], memory_order_relaxed) == lock)
        atomic_store_explicit(&self->count, count - 1, memory_order_relaxed);
    else
        tine__held_drop_slow(self, lock);
    if (self->wake_count != 0)
        tine__held_wake(self);
}

/* Does any thread of this process hold a robust lock that lies in that memory? */
bool tine__held_within(const void *start, size_t size);

#endif
