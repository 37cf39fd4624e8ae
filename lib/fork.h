/* SPDX-License-Identifier: MIT */
#ifndef TINE_LIB_FORK_H
#define TINE_LIB_FORK_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

/*
 * A number that names this process among all that a fork has made of it: never 0, the same for the
 * life of the process, another one in every forked child. Handles record it and compare.
 * Thread any, signal no. Returns 0 only when the page behind it cannot be had (out of memory).
 */
uint64_t tine__fork_generation(void);

/* In a process that was forked just now: takes the number before anybody looks for it, which would
   cost a second page fault. */
void tine__fork_begin(void);

/* For functions that each new process runs. The linker puts them side by side, so that they are
   there with one page fault, which takes as long as a dozen system calls. */
#define TINE__EARLY __attribute__((hot))

/* Where the number stands when the kernel wipes it at fork; else a word that is always 0. */
extern const _Atomic uint64_t *_Atomic tine__fork_word;

/* The same in two loads, for paths that count nanoseconds. */
static inline uint64_t tine__fork_generation_fast(void)
{
    const _Atomic uint64_t *word = atomic_load_explicit(&tine__fork_word, memory_order_acquire);
    uint64_t number = atomic_load_explicit(word, memory_order_relaxed);

    return number != 0 ? number : tine__fork_generation();
}

/* Stands first in what each process has of its own, lists and locks: a fork may copy those while
   another thread has them in hand, so the child leaves its copy as it is and begins with a new
   one. */
struct tine__fork_own {
    struct tine__fork_own *of_parent; /* NULL, or that copy */
    uint64_t generation;
};

/*
 * The calling process's own at this place: made at the first call, of `size` zeroed bytes that
 * begin (NULL: zeros will do) fills; of_parent, too, may be NULL there.
 * Thread any, signal no. NULL: no memory.
 */
void *tine__fork_own(struct tine__fork_own *_Atomic *place, size_t size,
                     void (*begin)(void *own, const void *of_parent));

#endif
