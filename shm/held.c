/* SPDX-License-Identifier: MIT */
/*
 * Which robust locks do the threads of this process hold? See shm/held.h.
 *
 * Each thread has a record of its own, made at its first lock and linked into a list that only
 * grows; a record whose thread has ended is taken over by the next thread. A record belongs to a
 * fork generation: in a forked child all inherited records are void, whoever's they were, and may
 * be taken over. No lock, so that a fork at any instant leaves nothing locked.
 */
#include "shm/held.h"

#include <pthread.h>
#include <stdlib.h>

#include "lib/random.h"
#include "lib/sys.h"
#include "shm/owner.h"

_Thread_local struct tine__self *tine__self_thread __attribute__((tls_model("initial-exec")));

static struct tine__self *_Atomic all;

static pthread_key_t exit_key;
static pthread_once_t exit_key_once = PTHREAD_ONCE_INIT;
static bool have_exit_key;

/* A robust lock that the thread still held is the kernel's now. */
static void at_thread_exit(void *record)
{
    struct tine__self *self = record;

    tine__self_thread = NULL;
    atomic_store_explicit(&self->count, 0, memory_order_relaxed);
    /* pairs with the acquire in take_over */
    atomic_store_explicit(&self->generation, 0, memory_order_release);
}

static void make_exit_key(void)
{
    have_exit_key = pthread_key_create(&exit_key, at_thread_exit) == 0;
}

/* A record without a thread in this process, now with this one; NULL for none. */
static struct tine__self *take_over(uint64_t generation)
{
    struct tine__self *self = atomic_load_explicit(&all, memory_order_acquire);

    for (; self != NULL; self = self->next) {
        uint64_t old = atomic_load_explicit(&self->generation, memory_order_relaxed);

        /* acquire: pairs with the release in at_thread_exit */
        if (old != generation &&
            atomic_compare_exchange_strong_explicit(&self->generation, &old, generation,
                                                    memory_order_acquire, memory_order_relaxed))
            return self;
    }
    return NULL;
}

static struct tine__self *add(uint64_t generation)
{
    struct tine__self *self = calloc(1, sizeof *self);

    if (self == NULL)
        return NULL;
    atomic_store_explicit(&self->generation, generation, memory_order_relaxed);
    self->next = atomic_load_explicit(&all, memory_order_relaxed);
    /* release: pairs with the acquire of whoever walks the list */
    while (!atomic_compare_exchange_weak_explicit(&all, &self->next, self, memory_order_release,
                                                  memory_order_relaxed))
        ;
    return self;
}

static void give_up(struct tine__self *self)
{
    atomic_store_explicit(&self->generation, 0, memory_order_release);
}

struct tine__self *tine__self_make(void)
{
    uint64_t generation = tine__fork_generation();
    struct tine__self *self;

    pthread_once(&exit_key_once, make_exit_key);
    if (generation == 0 || !have_exit_key)
        return NULL;
    self = take_over(generation);
    if (self == NULL)
        self = add(generation);
    if (self == NULL)
        return NULL;
    atomic_store_explicit(&self->count, 0, memory_order_relaxed);
    if (pthread_setspecific(exit_key, self) != 0) {
        give_up(self);
        return NULL;
    }
    self->wake_count = 0;
    self->spin_ns = 0;
    self->sleeps = 0;
    self->thread = tine__random_u64() | 1;
    self->process = tine__owner_word();
    self->tid = tine__sys_gettid();
    tine__self_thread = self;
    return self;
}

void tine__held_wake(struct tine__self *self)
{
    uint32_t count = self->wake_count;

    self->wake_count = 0;
    for (uint32_t i = 0; i < count; i++)
        tine__sys_futex_wake(self->wakes[i], 1);
}

void tine__held_wake_later(struct tine__self *self, const _Atomic uint32_t *word)
{
    if (self->wake_count == TINE__WAKES_MAX)
        tine__held_wake(self);
    self->wakes[self->wake_count++] = word;
}

void tine__held_drop_slow(struct tine__self *self, const void *lock)
{
    uint32_t count = atomic_load_explicit(&self->count, memory_order_relaxed);

    for (uint32_t i = count; i-- > 0;) {
        const void *last;

        if (atomic_load_explicit(&self->held[i], memory_order_relaxed) != lock)
            continue;
        last = atomic_load_explicit(&self->held[count - 1], memory_order_relaxed);
        atomic_store_explicit(&self->held[i], last, memory_order_relaxed);
        atomic_store_explicit(&self->count, count - 1, memory_order_relaxed);
        return;
    }
}

bool tine__held_within(const void *start, size_t size)
{
    uint64_t generation = tine__fork_generation();
    struct tine__self *self = atomic_load_explicit(&all, memory_order_acquire);

    for (; self != NULL; self = self->next) {
        uint32_t count = atomic_load_explicit(&self->count, memory_order_relaxed);

        if (atomic_load_explicit(&self->generation, memory_order_relaxed) != generation)
            continue;
        for (uint32_t i = 0; i < count; i++) {
            const void *lock = atomic_load_explicit(&self->held[i], memory_order_relaxed);

            if ((uintptr_t)lock - (uintptr_t)start < size)
                return true;
        }
    }
    return false;
}
