/* SPDX-License-Identifier: MIT */
#include "tests/support/samples.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/support/suite.h"

#define HANG_FACTOR 20
#define HANG_NS     1e10
#define FEW         10 /* of which the middle one may be an exception as well */

void samples_add(struct samples *samples, uint64_t ns)
{
    if (samples->count == samples->room) {
        samples->room = samples->room == 0 ? 256 : samples->room * 2;
        samples->ns = realloc(samples->ns, samples->room * sizeof samples->ns[0]);
        ck_assert_ptr_nonnull(samples->ns);
    }
    samples->ns[samples->count++] = ns;
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

static double ms(uint64_t ns)
{
    return (double)ns / 1e6;
}

void samples_end(struct samples *samples)
{
    size_t n = samples->count;
    double limit = (double)samples->bound_ns * HANG_FACTOR * suite_slowness();
    double hang = limit > HANG_NS * suite_slowness() ? limit : HANG_NS * suite_slowness();
    uint64_t middle, worst;

    ck_assert_msg(n > 0, "%s: nothing was measured", samples->name);
    qsort(samples->ns, n, sizeof samples->ns[0], by_value);
    middle = samples->ns[n / 2];
    worst = samples->ns[n - 1];
    printf("%s: n %zu, p50 %.2f ms, p99 %.2f ms, max %.2f ms (promised %.2f ms)\n", samples->name,
           n, ms(middle), ms(samples->ns[n * 99 / 100]), ms(worst), ms(samples->bound_ns));
    fflush(stdout);
    free(samples->ns);
    *samples = (struct samples){.name = samples->name, .bound_ns = samples->bound_ns};
    ck_assert_msg((double)worst <= hang, "%s: %.2f ms is a hang", samples->name, ms(worst));
    ck_assert_msg((double)middle <= limit || n < FEW, "%s: half of them take %.2f ms",
                  samples->name, ms(middle));
}

size_t kills_wanted(size_t usual)
{
    const char *given = getenv("TINE_KILLS");
    size_t kills = given == NULL ? 0 : strtoul(given, NULL, 0);

    return kills == 0 ? usual : kills;
}
