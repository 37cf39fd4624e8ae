/* SPDX-License-Identifier: MIT */
/* How long is spun: as long as it pays, and now and then to see whether it pays again. */
#include "shm/spin.h"

#include <sched.h>

#include "lib/clock.h"
#include "tests/support/suite.h"

static uint32_t turns_in_vain(struct tine__spin *spin, uint32_t peer_cpu)
{
    struct tine__spinning spinning;
    uint32_t turns = 0;

    for (tine__spin_begin(spin, &spinning, peer_cpu); tine__spin_on(&spinning);)
        turns++;
    tine__spin_missed(spin, &spinning);
    return turns;
}

TEST(what_never_pays_is_given_up)
{
    struct tine__spin spin = {0};
    uint32_t spins = 0;

    for (int i = 0; i < 64; i++)
        if (turns_in_vain(&spin, 0) > 0)
            spins++;
    ck_assert_uint_ge(spins, 1);
    ck_assert_uint_le(spins, 16);
    ck_assert_uint_eq(turns_in_vain(&spin, 0) > 0, 1); /* the 65th */
}

TEST(what_pays_is_kept_up)
{
    struct tine__spin spin = {0};
    struct tine__spinning spinning;

    for (int i = 0; i < 1000; i++) {
        tine__spin_begin(&spin, &spinning, 0);
        ck_assert(tine__spin_on(&spinning));
        tine__spin_hit(&spin, &spinning);
    }
    ck_assert_uint_gt(turns_in_vain(&spin, 0), 0);
}

TEST(nobody_spins_for_one_who_needs_the_same_cpu)
{
    struct tine__spin spin = {0};
    cpu_set_t one, all;

    ck_assert_int_eq(sched_getaffinity(0, sizeof all, &all), 0);
    CPU_ZERO(&one);
    CPU_SET((size_t)sched_getcpu(), &one);
    if (sched_setaffinity(0, sizeof one, &one) < 0 || tine__spin_cpu() == 0)
        SKIP("the CPU is not known");
    ck_assert_uint_eq(tine__spin_cpu(), (uint32_t)sched_getcpu() + 1);
    ck_assert_uint_eq(turns_in_vain(&spin, tine__spin_cpu()), 0);
    ck_assert_uint_gt(turns_in_vain(&spin, tine__spin_cpu() + 1), 0);
}

TEST(who_has_lost_stays_away_for_so_long)
{
    int64_t begun = tine__now_ns();

    tine__spin_away(100000);
    ck_assert_int_ge(tine__now_ns() - begun, 100000);
}

static bool was_patient(struct tine__patience *patience, struct tine__spin *spin, bool pays)
{
    struct tine__spinning spinning;
    bool patient;

    tine__spin_begin(spin, &spinning, 0);
    patient = tine__patience_begin(patience, &spinning);
    ck_assert(tine__spin_on(&spinning));
    ck_assert(tine__spin_too_soon(&spinning));
    tine__spin_hit(spin, &spinning);
    if (patient)
        tine__patience_end(patience, pays);
    return patient;
}

TEST(patience_is_kept_while_it_pays_and_tried_now_and_then)
{
    struct tine__patience patience = {0};
    struct tine__spin spin = {0};
    uint32_t patient = 0;

    for (int i = 0; i < 4 * TINE__PATIENT; i++)
        patient += was_patient(&patience, &spin, false);
    ck_assert_uint_ge(patient, 4);
    ck_assert_uint_le(patient, 5);
    while (!was_patient(&patience, &spin, true))
        continue;
    for (int i = 0; i < 1000; i++)
        ck_assert(was_patient(&patience, &spin, true));
    ck_assert(was_patient(&patience, &spin, false));
    ck_assert(!was_patient(&patience, &spin, false));
}

TEST(who_does_not_spin_has_no_patience)
{
    struct tine__patience patience = {0};
    struct tine__spin spin = {.tries = 1};
    struct tine__spinning spinning;

    tine__spin_begin(&spin, &spinning, 0);
    ck_assert(!tine__patience_begin(&patience, &spinning));
    ck_assert(!tine__spin_on(&spinning));
    ck_assert_uint_eq(atomic_load(&patience.spins), 0);
}

SUITE("shm/spin")
