/* SPDX-License-Identifier: MIT */
/*
 * Parties of barriers are SIGKILLed at random instants. The survivors are told TINE_EBROKEN within
 * the bound; after a reset, and with a new party in the dead one's place, the rounds go on. As long
 * as a round is reported as complete, it was: all parties have the same number of rounds behind
 * them.
 */
#include <tine.h>

#include <unistd.h>

#include "tests/support/children.h"
#include "tests/support/hunt.h"
#include "tests/support/random.h"
#include "tests/support/samples.h"
#include "tests/support/suite.h"
#include "tests/support/wait.h"

#define KILLS   56 /* of a kind */
#define GROUPS  7
#define PARTIES 3

/* In shared memory: a barrier, its parties, and what they have done. */
struct group {
    tine_barrier barrier;
    tine_event go;            /* set: the barrier is whole */
    struct gate *told;        /* raised by each party that learnt of a break */
    _Atomic uint32_t arrived; /* since the reset */
    _Atomic uint32_t acted;   /* likewise */
    _Atomic int64_t told_ns;  /* when the last one learnt of it */
    bool acts;
    struct child parties[PARTIES];
    uint32_t victim;
};

static int act(void *context)
{
    struct group *group = context;

    group->acted++;
    return 0;
}

/* Rounds until the barrier breaks. Plain comparisons: each ck_assert is a system call. */
static int run_rounds(struct group *group)
{
    for (uint32_t round = 1;; round++) {
        int index;

        group->arrived++;
        index = group->acts ? tine_barrier_wait_action(&group->barrier, act, group, TINE_FOREVER)
                            : tine_barrier_wait(&group->barrier, TINE_FOREVER);
        if (index < 0)
            return index;
        if (index >= PARTIES || group->arrived < round * PARTIES)
            ck_abort_msg("round %u: index %d, %u arrivals", round, index, group->arrived);
        /* one more: the next round, if all others have arrived already */
        if (group->acts && (group->acted < round || group->acted > round + 1))
            ck_abort_msg("round %u: %u actions", round, group->acted);
    }
}

static void be_party(void *context)
{
    struct group *group = context;

    for (;;) {
        ck_assert_rc(tine_event_wait(&group->go, TINE_FOREVER), 0);
        ck_assert_rc(run_rounds(group), TINE_EBROKEN);
        group->told_ns = now_ns();
        /* Cleared before anybody says so: nobody begins again before the reset. */
        ck_assert_rc(tine_event_clear(&group->go), 0);
        gate_raise(group->told);
    }
}

static void start_group(struct group *group, bool acts)
{
    group->acts = acts;
    group->told = gate_new();
    ck_assert_rc(tine_barrier_init(&group->barrier, PARTIES, NULL), 0);
    ck_assert_rc(tine_event_init(&group->go, NULL), 0);
    for (int i = 0; i < PARTIES; i++)
        group->parties[i] = child_start(be_party, group);
    ck_assert_rc(tine_event_set(&group->go), 0);
}

/* The rounds have begun, and some have passed. */
static void await_rounds(struct group *group)
{
    ck_assert_eventually(group->arrived > 10 * PARTIES);
}

static int64_t kill_one(struct group *group)
{
    group->victim = (uint32_t)random_below(PARTIES);
    child_kill(&group->parties[group->victim]);
    return now_ns();
}

static void heal(struct group *group)
{
    ck_assert_rc(tine_barrier_broken(&group->barrier), 1);
    ck_assert_rc(tine_event_is_set(&group->go), 0);
    group->told->raised = 0;
    group->arrived = 0;
    group->acted = 0;
    ck_assert_rc(tine_barrier_reset(&group->barrier), 0);
    group->parties[group->victim] = child_start(be_party, group);
    ck_assert_rc(tine_event_set(&group->go), 0);
}

TEST(survivors_are_told_and_a_reset_heals, .kills = 2 * KILLS, .timeout_s = 60, .loop_end = 2)
{
    struct samples samples = {.name = loop_index == 0 ? "barrier.killed" : "barrier.action.killed",
                              .bound_ns = (uint64_t)TINE_MS(100)};
    struct group *groups = shared_memory(GROUPS * sizeof *groups);
    size_t kills = kills_wanted(KILLS);

    for (int g = 0; g < GROUPS; g++)
        start_group(&groups[g], loop_index == 1);
    for (size_t killed = 0; killed < kills; killed += GROUPS) {
        int64_t death_ns[GROUPS];

        for (int g = 0; g < GROUPS; g++)
            await_rounds(&groups[g]);
        for (int g = 0; g < GROUPS; g++) {
            pause_randomly(TINE_US(300));
            death_ns[g] = kill_one(&groups[g]);
        }
        for (int g = 0; g < GROUPS; g++) {
            gate_await(groups[g].told, PARTIES - 1);
            samples_add(&samples, groups[g].told_ns > death_ns[g]
                                      ? (uint64_t)(groups[g].told_ns - death_ns[g])
                                      : 0);
            heal(&groups[g]);
        }
    }
    for (int g = 0; g < GROUPS; g++) {
        await_rounds(&groups[g]);
        for (int i = 0; i < PARTIES; i++)
            child_kill(&groups[g].parties[i]);
    }
    samples_end(&samples);
}

SUITE("kill/barrier")
