/* SPDX-License-Identifier: MIT */
/*
 * Barrier: a fixed number of parties, threads and processes, wait until all of them have arrived.
 *
 * A tine_barrier lies in memory that all of them share: the family heap, a named segment mapped
 * anywhere, or a shared mapping of the caller's own.
 *
 *     tine_barrier *barrier = tine_alloc(sizeof *barrier);
 *     rc = tine_barrier_init(barrier, 4, NULL);
 *
 *     in each of 4 workers:   for (step = 0; step < steps && rc >= 0; step++) {
 *                                 compute(step);
 *                                 rc = tine_barrier_wait(barrier, TINE_FOREVER);
 *                             }
 *
 *     open ──all arrived──→ open (next round)
 *     open ──timeout, abort, failed action, death of a party──→ broken ──reset──→ open
 *
 * A process is registered by its first wait, or by tine_barrier_join(); from then on, until
 * tine_barrier_leave(), its death breaks the barrier: within 100 ms all who wait get TINE_EBROKEN,
 * and so does who comes later, until tine_barrier_reset(). A party that goes for good leaves first.
 * Processes of another pid namespace are never found dead; against those only timeouts help.
 */
#ifndef TINE_BARRIER_H
#define TINE_BARRIER_H

#include <tine/base.h>

TINE_BEGIN_DECLS

#define TINE_BARRIER_PARTIES_MAX 65535
#define TINE_BARRIER_SLOTS       62

typedef struct tine_barrier {
    uint64_t opaque[80];
} tine_barrier;

/* Bytes of a barrier for that many processes, TINE_BARRIER_SLOTS at least. */
#define TINE_BARRIER_SIZE(slots)                                                                   \
    (sizeof(tine_barrier) - sizeof(uint64_t) * TINE_BARRIER_SLOTS +                                \
     sizeof(uint64_t) * ((slots) > TINE_BARRIER_SLOTS ? (slots) : TINE_BARRIER_SLOTS))

typedef struct tine_barrier_options {
    int64_t timeout_ns; /* of every wait that is called with TINE_FOREVER; 0: for ever */
    int64_t spin_ns;    /* how long a wait looks before it sleeps; 0: library decides, < 0: not */
    uint32_t slots;     /* processes that can be registered; 0: TINE_BARRIER_SLOTS. More need memory
                           of TINE_BARRIER_SIZE(slots) bytes. */
    uint32_t reserved32;
    uint64_t reserved[6];
} tine_barrier_options;

/* Run by the party that arrives last, before any is released. Negative: the barrier breaks. */
typedef int tine_barrier_action(void *argument);

/**
 * tine_barrier_init - make a barrier, open
 *
 * In:      parties  how many waits make a round, 1 … TINE_BARRIER_PARTIES_MAX
 *          options  NULL for the defaults
 * Out:     barrier  memory shared by all who are to use it, aligned to 8, of any content
 * Shape:   none
 * Units:   options->timeout_ns, spin_ns nanoseconds
 * Returns: 0, or a negative code
 * Handle:  none
 * Give up: -EINVAL (barrier is NULL, parties or slots out of range, timeout_ns < 0), -E2BIG
 *          (reserved not zero)
 * Blocks:  no, but reads a few small files
 * Safety:  thread one | process shared | fork child may call | signal no
 * Death:   a death within leaves memory that is no barrier: -EINVAL for all calls
 * Source:  shm/barrier.c; follows Python 3.13 multiprocessing.Barrier; differs: the action is an
 *          argument of the wait, since a function has no common address in unrelated programs;
 *          0 parties are refused
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_barrier_init(tine_barrier *barrier, int parties,
                                            const tine_barrier_options *options);

/**
 * tine_barrier_fini - make a barrier plain memory again; nobody may be in a call on it
 *
 * In:      barrier  NULL and what is no barrier are ignored
 * Out:     none
 * Shape:   none
 * Units:   none
 * Returns: none; later calls on the memory are -EINVAL
 * Handle:  none
 * Give up: none
 * Blocks:  no
 * Safety:  thread one | process shared | fork child may call | signal yes
 * Death:   none
 * Source:  shm/barrier.c
 * Since:   0.1
 */
TINE_API void tine_barrier_fini(tine_barrier *barrier);

/**
 * tine_barrier_wait - arrive, and wait until all parties have
 *
 * In:      barrier     made by tine_barrier_init()
 *          timeout_ns  how long to wait; TINE_FOREVER: the barrier's own timeout, if it has one
 * Out:     none
 * Shape:   indices follow the order of arrival, each once a round
 * Units:   timeout_ns nanoseconds (TINE_FOREVER, 0 = only if this arrival completes the round)
 * Returns: the index of this arrival, 0 … parties - 1, or a negative code
 * Handle:  TINE_EBROKEN, -ETIMEDOUT (and the barrier is broken for all), -EAGAIN (timeout 0: others
 *          are missing; nobody is counted, nothing broken)
 * Give up: -EINVAL (no barrier), -ENOLCK (as many processes as it has slots are registered)
 * Blocks:  yes, at most timeout_ns; not interrupted by signals. While a last party runs its action,
 *          newcomers wait for the next round; if their time ends there, they were not counted and
 *          nothing is broken. Where there are CPUs for all parties, a wait spins up to 5 us first.
 * Safety:  thread any | process shared | fork child may call | signal no
 * Death:   of a registered process: TINE_EBROKEN for all within 100 ms, unless the round was
 *          complete
 * Source:  shm/barrier.c; follows Python 3.13 Barrier.wait; differs: who timed out gets -ETIMEDOUT;
 *          deaths break the barrier; a round never waits until the last one has been left. Who
 *          sleeps through more than 7 later rounds, and a reset among them, gets TINE_EBROKEN.
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_barrier_wait(tine_barrier *barrier, int64_t timeout_ns);

/**
 * tine_barrier_wait_action - arrive, wait, and run a function if this is the last arrival
 *
 * In:      barrier     made by tine_barrier_init()
 *          action      of the last party to arrive, called once a round before any party is
 *                      released, with no lock held; it must return. NULL: none
 *          argument    handed to the action
 *          timeout_ns  how long to wait; TINE_FOREVER: the barrier's own timeout, if it has one
 * Out:     none
 * Shape:   as tine_barrier_wait()
 * Units:   timeout_ns nanoseconds (TINE_FOREVER, 0 = only if this arrival completes the round)
 * Returns: the index of this arrival, 0 … parties - 1, or a negative code
 * Handle:  what the action returned, if negative: the barrier is broken, the others get
 *          TINE_EBROKEN; TINE_EBROKEN, -ETIMEDOUT, -EAGAIN, as tine_barrier_wait()
 * Give up: -EINVAL (no barrier), -ENOLCK (as many processes as it has slots are registered)
 * Blocks:  yes, at most timeout_ns, and while the action runs; not interrupted by signals
 * Safety:  thread any | process shared | fork child may call | signal no
 * Death:   in the action: TINE_EBROKEN for all within 100 ms; the action is not run again
 * Source:  shm/barrier.c; follows Python 3.13 Barrier(action=…); differs: a party may give up,
 *          and so break the barrier, while the action runs
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_barrier_wait_action(tine_barrier *barrier,
                                                   tine_barrier_action *action, void *argument,
                                                   int64_t timeout_ns);

/**
 * tine_barrier_join - register this process before its first wait
 *
 * In:      barrier  made by tine_barrier_init()
 * Out:     none
 * Shape:   none
 * Units:   none
 * Returns: 0, also when it is registered already or the barrier is broken; or a negative code
 * Handle:  none
 * Give up: -EINVAL (no barrier), -ENOLCK (as many processes as it has slots are registered)
 * Blocks:  no, but looks in /proc whether the other parties live
 * Safety:  thread any | process shared | fork child may call | signal no
 * Death:   the death of this process breaks the barrier from now on
 * Source:  shm/barrier.c
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_barrier_join(tine_barrier *barrier);

/**
 * tine_barrier_leave - this process goes: its death no longer breaks the barrier
 *
 * In:      barrier  made by tine_barrier_init(); no thread of this process may be waiting on it
 * Out:     none
 * Shape:   none
 * Units:   none
 * Returns: 0, also when it was not registered; or a negative code. The number of parties stays
 * Handle:  none
 * Give up: -EINVAL (no barrier)
 * Blocks:  no
 * Safety:  thread any | process shared | fork child may call | signal no
 * Death:   none
 * Source:  shm/barrier.c
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_barrier_leave(tine_barrier *barrier);

/**
 * tine_barrier_reset - send away who waits, forget the dead, and open the barrier anew
 *
 * In:      barrier  made by tine_barrier_init(), broken or not
 * Out:     none
 * Shape:   none
 * Units:   none
 * Returns: 0, or a negative code; living processes stay registered
 * Handle:  none
 * Give up: -EINVAL (no barrier)
 * Blocks:  no, but looks in /proc whether the parties live
 * Safety:  thread any | process shared | fork child may call | signal no
 * Death:   killed within: the barrier is as before, broken, or reset
 * Source:  shm/barrier.c; follows Python 3.13 Barrier.reset; differs: waits for nobody
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_barrier_reset(tine_barrier *barrier);

/**
 * tine_barrier_abort - break the barrier, until it is reset
 *
 * In:      barrier  made by tine_barrier_init()
 * Out:     none
 * Shape:   none
 * Units:   none
 * Returns: 0, also when it was broken already; or a negative code
 * Handle:  none
 * Give up: -EINVAL (no barrier)
 * Blocks:  no
 * Safety:  thread any | process shared | fork child may call | signal yes; lock-free
 * Death:   killed within: broken or not, and if broken, those who wait see it within 50 ms
 * Source:  shm/barrier.c; follows Python 3.13 Barrier.abort
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_barrier_abort(tine_barrier *barrier);

/**
 * tine_barrier_parties - how many waits make a round
 *
 * In:      barrier  made by tine_barrier_init()
 * Out:     none
 * Shape:   none
 * Units:   none
 * Returns: the number given to tine_barrier_init(), or a negative code
 * Handle:  none
 * Give up: -EINVAL (no barrier)
 * Blocks:  no
 * Safety:  thread any | process shared | fork child may call | signal yes; wait-free
 * Death:   none
 * Source:  shm/barrier.c; follows Python 3.13 Barrier.parties
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_barrier_parties(const tine_barrier *barrier);

/**
 * tine_barrier_n_waiting - how many have arrived in the present round
 *
 * In:      barrier  made by tine_barrier_init()
 * Out:     none
 * Shape:   none
 * Units:   none
 * Returns: 0 … parties, all of them while the action runs; 0 when broken; or a negative code
 * Handle:  none
 * Give up: -EINVAL (no barrier)
 * Blocks:  no
 * Safety:  thread any | process shared | fork child may call | signal yes; wait-free
 * Death:   none
 * Source:  shm/barrier.c; follows Python 3.13 Barrier.n_waiting
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_barrier_n_waiting(const tine_barrier *barrier);

/**
 * tine_barrier_broken - is it?
 *
 * In:      barrier  made by tine_barrier_init()
 * Out:     none
 * Shape:   none
 * Units:   none
 * Returns: 1 broken, 0 not, or a negative code. A death counts once a party has found it
 * Handle:  none
 * Give up: -EINVAL (no barrier)
 * Blocks:  no
 * Safety:  thread any | process shared | fork child may call | signal yes; wait-free
 * Death:   none
 * Source:  shm/barrier.c; follows Python 3.13 Barrier.broken
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_barrier_broken(const tine_barrier *barrier);

TINE_END_DECLS

#endif
