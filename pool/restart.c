/* SPDX-License-Identifier: MIT */
/*
 * When workers are started: at once, but for three reasons to wait.
 *
 * The first worker of a pool gets a head start, as long as its own start took: a pool that is
 * opened for one small job is at its end by then, and the others would only have cost it time. It
 * ends with its runner. After a start that failed, the next one waits. And workers that keep dying
 * before anything was finished are started again more and more slowly.
 *
 * In the end the pool is broken, for whoever waits for it would wait for ever: when workers die one
 * after the other within a second of their start, and in between no worker of the pool has
 * finished, or failed for good, anything; or when none is alive and none can be started.
 */
#include "pool/restart.h"

#include <tine/time.h>

#define PAUSE_MIN_NS      TINE_US(500) /* after the very first start */
#define DELAY_MIN_NS      TINE_MS(1)
#define DELAY_MAX_NS      TINE_SEC(1)
#define BARREN_DEATHS_MAX 16 /* before starts are delayed */
#define STORM_MAX         26 /* a second and a half of crashes: ten of them are delayed */
#define YOUNG_NS          TINE_SEC(1)
#define FAILED_MAX        12 /* two seconds */

static void delay(struct tine__restart *restart)
{
    restart->delay_ns = restart->delay_ns == 0 ? DELAY_MIN_NS : restart->delay_ns * 2;
    if (restart->delay_ns > DELAY_MAX_NS)
        restart->delay_ns = DELAY_MAX_NS;
    restart->next = tine__now_ns() + restart->delay_ns;
}

bool tine__restart_failed(struct tine__restart *restart, uint32_t alive)
{
    delay(restart);
    restart->failed++;
    return alive == 0 && restart->failed >= FAILED_MAX;
}

void tine__restart_done(struct tine__restart *restart, int64_t begun)
{
    int64_t now = tine__now_ns(), took = now - begun;

    if (!restart->begun)
        restart->next = now + (took > PAUSE_MIN_NS ? took : PAUSE_MIN_NS);
    restart->begun = true;
    restart->failed = 0;
}

void tine__restart_left(struct tine__restart *restart)
{
    if (restart->delay_ns == 0)
        restart->next = 0;
}

/* Of those that are killed together one counts: the others were born before its death. */
static bool is_storm(struct tine__restart *restart, const struct tine__victim *victim)
{
    int64_t now = tine__now_ns();

    if (victim->done != restart->done)
        restart->storm = 0;
    restart->done = victim->done;
    if (now - victim->born_ns >= YOUNG_NS || victim->born_ns < restart->death_ns)
        return false;
    restart->death_ns = now;
    return ++restart->storm >= STORM_MAX;
}

bool tine__restart_died(struct tine__restart *restart, const struct tine__victim *victim)
{
    if (victim->finished) {
        restart->barren = 0;
        restart->delay_ns = 0;
    } else if (++restart->barren > BARREN_DEATHS_MAX) {
        delay(restart);
    }
    tine__restart_left(restart);
    return is_storm(restart, victim);
}
