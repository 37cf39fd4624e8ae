/* SPDX-License-Identifier: MIT */
#ifndef TINE_SHM_SPIN_H
#define TINE_SHM_SPIN_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "lib/sys.h"

/*
 * Spinning before sleeping, for as long as it has paid lately. A wake-up of another CPU costs 5 to
 * 16 µs, so that is as long as one may spin for it; but where whoever shall make the change needs
 * this very CPU, or comes seldom, each turn is lost. Private to a handle; threads that share it
 * blur only the estimate.
 *
 *     struct tine__spinning spinning;
 *
 *     for (tine__spin_begin(&spin, &spinning, peer_cpu); tine__spin_on(&spinning);)
 *         if (ready())
 *             { tine__spin_hit(&spin, &spinning); return; }
 *     tine__spin_missed(&spin, &spinning);
 */
struct tine__spin {
    _Atomic uint32_t budget_ns;
    _Atomic uint32_t tries;
};

struct tine__spinning {
    int64_t begun_ns, until_ns; /* until_ns 0: not at all */
    int64_t now_ns;
    uint32_t turns;
};

#define TINE__SPIN_NS 5000

/*
 * For who has lost a race: keeps off the contended lines of the cache for a moment, so that the
 * winner, who has them now, gets on with what it does next.
 */
void tine__spin_away(int64_t ns);

/* Where the calling thread runs: the CPU's number + 1, or 0 if that takes more than a load. */
uint32_t tine__spin_cpu(void);

/* peer_cpu: as of tine__spin_cpu() in whoever is waited for, when it was last seen; 0 unknown. */
void tine__spin_begin(struct tine__spin *spin, struct tine__spinning *spinning, uint32_t peer_cpu);
bool tine__spin_clock(struct tine__spinning *spinning);
void tine__spin_hit(struct tine__spin *spin, const struct tine__spinning *spinning);
void tine__spin_missed(struct tine__spin *spin, const struct tine__spinning *spinning);

/*
 * For a consumer's spinning. If it is as fast as its producer it meets it at each item, and each
 * look takes the lines of the cache that the producer writes next away from it: that is half as
 * fast as the producer alone. So a consumer that has found several items after a longer wait lets
 * them gather again the next time. Who finds only the one that it has waited for goes on looking
 * all the time, and tries patience at every 256th spin. Private to a handle, as tine__spin. 0 at
 * first.
 *
 *     bool patient = tine__patience_begin(&patience, &spinning);     // after tine__spin_begin
 *
 *     if (patient && tine__spin_too_soon(&spinning)) continue;       // instead of a look
 *     if (patient) tine__patience_end(&patience, several);           // at a hit
 */
struct tine__patience {
    _Atomic uint32_t spins; /* since it was tried, or TINE__PATIENT */
};

enum { TINE__PATIENCE_NS = 1000, TINE__PATIENT = 256 };

bool tine__patience_begin(struct tine__patience *patience, struct tine__spinning *spinning);
void tine__patience_end(struct tine__patience *patience, bool paid);

static inline bool tine__spin_too_soon(const struct tine__spinning *spinning)
{
    return spinning->now_ns - spinning->begun_ns < TINE__PATIENCE_NS;
}

/* The clock costs as much as two turns: it is read every eighth. */
static inline bool tine__spin_on(struct tine__spinning *spinning)
{
    if (spinning->turns++ % 8 == 0 && !tine__spin_clock(spinning))
        return false;
    tine__cpu_relax();
    return true;
}

#endif
