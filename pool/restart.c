/* SPDX-License-Identifier: MIT */
/*
 * When workers are started: at once, but for three reasons to wait.
 *
 * The first worker of a pool gets a head start, as long as its own start took: a pool that is opened
 * for one small job is at its end by then, and the others would only have cost it time. It ends with its
 * runner. After a start that failed, the next one waits. And workers that keep dying before anything was finished
 * are started again more and more slowly.
 */
#include "pool/restart.h"

#include <tine/time.h>

#define PAUSE_MIN_NS      TINE_US(500) /* after the very first start */
#define DELAY_MIN_NS      TINE_MS(1)
#define DELAY_MAX_NS      TINE_SEC(1)
#define BARREN_DEATHS_MAX 16 /* before starts are delayed */

void tine__restart_failed(struct tine__restart *restart)
{
    restart->delay_ns = restart->delay_ns == 0 ? DELAY_MIN_NS : restart->delay_ns * 2;
    if (restart->delay_ns > DELAY_MAX_NS)
        restart->delay_ns = DELAY_MAX_NS;
    restart->next = tine__now_ns() + restart->delay_ns;
}

void tine__restart_done(struct tine__restart *restart, int64_t begun)
{
    int64_t now = tine__now_ns(), took = now - begun;

    if (!restart->begun)
        restart->next = now + (took > PAUSE_MIN_NS ? took : PAUSE_MIN_NS);
    restart->begun = true;
}

void tine__restart_left(struct tine__restart *restart)
{
    if (restart->delay_ns == 0)
        restart->next = 0;
}

void tine__restart_died(struct tine__restart *restart, bool finished)
{
    if (finished) {
        restart->barren = 0;
        restart->delay_ns = 0;
    } else if (++restart->barren > BARREN_DEATHS_MAX) {
        tine__restart_failed(restart);
    }
    tine__restart_left(restart);
}
