/* SPDX-License-Identifier: MIT */
/*
 * Fork generation: which process am I?
 *
 * One private page marked MADV_WIPEONFORK holds the number; the kernel hands a forked child a zero
 * page, whoever called fork, and so the child takes a new number at its first look. (A
 * pthread_atfork handler would miss raw clones and costs the host a callback.) Valgrind 3.19 does
 * not know the advice and refuses it; there the pid of the maker stands beside the number and is
 * compared.
 *
 * What a process has of its own is found by that number, so nothing needs to happen at the fork.
 */
#include "lib/fork.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

struct generation_page {
    _Atomic uint64_t number; /* 0: not taken yet in this process */
    _Atomic pid_t pid;       /* only where the page is not wiped */
};

static struct generation_page *page; /* written once, by make_page */
static bool wiped;                   /* the kernel wipes the page at fork */
static pthread_once_t page_once = PTHREAD_ONCE_INIT;

/* Higher than any number that an ancestor used: inherited by fork, raised by each child. */
static _Atomic uint64_t last_number;

static const _Atomic uint64_t always_zero;
const _Atomic uint64_t *_Atomic tine__fork_word = &always_zero;

static void make_page(void)
{
    long size = sysconf(_SC_PAGESIZE);
    void *memory =
        mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (memory == MAP_FAILED)
        return;
    wiped = madvise(memory, (size_t)size, MADV_WIPEONFORK) == 0;
    page = memory;
    if (wiped) /* pairs with the acquire in tine__fork_generation_fast */
        atomic_store_explicit(&tine__fork_word, &page->number, memory_order_release);
}

TINE__EARLY static uint64_t take_number(void)
{
    uint64_t expected = 0, number;

    if (!wiped)
        expected = atomic_load_explicit(&page->number, memory_order_relaxed);
    number = atomic_fetch_add_explicit(&last_number, 1, memory_order_relaxed) + 1;
    if (atomic_compare_exchange_strong(&page->number, &expected, number)) {
        if (!wiped)
            atomic_store_explicit(&page->pid, getpid(), memory_order_release);
        return number;
    }
    return expected; /* another thread was first */
}

TINE__EARLY void tine__fork_begin(void)
{
    if (wiped)
        (void)take_number();
}

TINE__EARLY uint64_t tine__fork_generation(void)
{
    uint64_t number;

    pthread_once(&page_once, make_page);
    if (page == NULL)
        return 0;
    number = atomic_load_explicit(&page->number, memory_order_relaxed);
    if (number == 0)
        return take_number();
    if (!wiped && atomic_load_explicit(&page->pid, memory_order_acquire) != getpid())
        return take_number();
    return number;
}

void *tine__fork_own(struct tine__fork_own *_Atomic *place, size_t size,
                     void (*begin)(void *own, const void *of_parent))
{
    uint64_t generation = tine__fork_generation();
    /* acquire: pairs with the CAS below */
    struct tine__fork_own *there = atomic_load_explicit(place, memory_order_acquire), *made;

    if (there != NULL && there->generation == generation && generation != 0)
        return there;
    made = generation != 0 ? calloc(1, size) : NULL;
    if (made == NULL)
        return NULL;
    made->of_parent = there;
    made->generation = generation;
    if (begin != NULL)
        begin(made, there);
    if (atomic_compare_exchange_strong_explicit(place, &there, made, memory_order_acq_rel,
                                                memory_order_acquire))
        return made;
    free(made);
    return there; /* another thread was first */
}
