/* SPDX-License-Identifier: MIT */
/*
 * How long to spin; see shm/spin.h. The budget begins at TINE__SPIN_NS, loses a quarter with each
 * spin in vain, grows towards four times what a successful one took, and is begun anew with every
 * 64th: who spins for nothing spins twelve times for each 64 sleeps.
 */
#include "shm/spin.h"

#include <stddef.h>
#include <unistd.h>

#include "lib/clock.h"

#if defined(__x86_64__) && __has_include(<sys/rseq.h>)
#include <sys/rseq.h>
#define HAVE_RSEQ 1
#endif

#define FULL_EVERY 64
#define LEAST_NS   200 /* a shorter spin is not worth its clock */

#define RELAXATIONS_A_CLOCK 4

uint32_t tine__spin_cpu(void)
{
#ifdef HAVE_RSEQ
    const char *thread;
    int32_t cpu;

    if (__rseq_size == 0)
        return 0;
    __asm__("mov %%fs:0, %0" : "=r"(thread));
    /* The kernel writes it whenever the thread is moved; negative: not registered. */
    cpu = (int32_t)((const volatile struct rseq *)(thread + __rseq_offset))->cpu_id;
    return (uint32_t)(cpu + 1 > 0 ? cpu + 1 : 0);
#else
    return 0;
#endif
}

void tine__spin_begin(struct tine__spin *spin, struct tine__spinning *spinning, uint32_t peer_cpu)
{
    uint32_t tries = atomic_load_explicit(&spin->tries, memory_order_relaxed);
    uint32_t budget = atomic_load_explicit(&spin->budget_ns, memory_order_relaxed);

    *spinning = (struct tine__spinning){.until_ns = 0};
    if (peer_cpu != 0 && peer_cpu == tine__spin_cpu())
        return; /* nothing is learnt from that */
    atomic_store_explicit(&spin->tries, tries + 1, memory_order_relaxed);
    if (tries % FULL_EVERY == 0)
        budget = TINE__SPIN_NS;
    if (budget < LEAST_NS)
        return;
    spinning->begun_ns = tine__now_ns();
    spinning->until_ns = spinning->begun_ns + budget;
}

bool tine__spin_clock(struct tine__spinning *spinning)
{
    if (spinning->until_ns == 0)
        return false;
    spinning->now_ns = spinning->turns <= 1 ? spinning->begun_ns : tine__now_ns();
    return spinning->now_ns < spinning->until_ns;
}

void tine__spin_hit(struct tine__spin *spin, const struct tine__spinning *spinning)
{
    uint32_t budget = atomic_load_explicit(&spin->budget_ns, memory_order_relaxed);
    /* to the last reading of the clock: at most eight turns too little */
    uint64_t wanted = 4 * ((uint64_t)(spinning->now_ns - spinning->begun_ns) + LEAST_NS);

    if (wanted > TINE__SPIN_NS)
        wanted = TINE__SPIN_NS;
    if (wanted > budget)
        atomic_store_explicit(&spin->budget_ns, (uint32_t)wanted, memory_order_relaxed);
}

void tine__spin_missed(struct tine__spin *spin, const struct tine__spinning *spinning)
{
    uint32_t budget = (uint32_t)(spinning->until_ns - spinning->begun_ns);

    if (spinning->until_ns != 0)
        atomic_store_explicit(&spin->budget_ns, budget - budget / 4, memory_order_relaxed);
}

/* A spin that has been short of late is long enough for it this time. */
bool tine__patience_begin(struct tine__patience *patience, struct tine__spinning *spinning)
{
    uint32_t spins = atomic_load_explicit(&patience->spins, memory_order_relaxed);
    int64_t enough_ns = spinning->begun_ns + (int64_t)2 * TINE__PATIENCE_NS;

    if (spinning->until_ns == 0)
        return false;
    if (spins != TINE__PATIENT)
        atomic_store_explicit(&patience->spins, (spins + 1) % TINE__PATIENT, memory_order_relaxed);
    if (spins != TINE__PATIENT && spins != 0)
        return false;
    if (spinning->until_ns < enough_ns)
        spinning->until_ns = enough_ns;
    return true;
}

void tine__patience_end(struct tine__patience *patience, bool paid)
{
    atomic_store_explicit(&patience->spins, paid ? TINE__PATIENT : 1, memory_order_relaxed);
}

void tine__spin_away(int64_t ns)
{
    int64_t end = tine__now_ns() + ns;

    do
        for (int i = 0; i < RELAXATIONS_A_CLOCK; i++)
            tine__cpu_relax();
    while (tine__now_ns() < end);
}
