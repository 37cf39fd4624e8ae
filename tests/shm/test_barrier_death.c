/* SPDX-License-Identifier: MIT */
/* Barriers whose parties die: the table in doc/locking.md, row by row. Random instants:
   tests/kill. */
#include <tine/barrier.h>

#include <errno.h>
#include <unistd.h>

#include <tine/time.h>

#include "shm/barrier.h"
#include "shm/owner.h"
#include "tests/shm/barrier_help.h"
#include "tests/support/children.h"
#include "tests/support/hunt.h"
#include "tests/support/proc.h"
#include "tests/support/samples.h"
#include "tests/support/suite.h"
#include "tests/support/wait.h"

#define KILLS 8
#define BOUND ((uint64_t)TINE_MS(100))

static struct field *field_to_break(int parties)
{
    struct field *field = field_new(parties, NULL);

    field->expected = TINE_EBROKEN;
    return field;
}

/* ---- parties --------------------------------------------------------------------------------- */

/* Waits once, leaves, and ends. */
static void expect(void *context)
{
    struct field *field = context;
    int expected = field->expected;

    gate_raise(field->begun);
    ck_assert_rc(tine_barrier_wait(&field->barrier, field->timeout_ns), expected);
    field->told_ns = now_ns();
    ck_assert_rc(tine_barrier_leave(&field->barrier), 0);
}

/* Waits once, and stays. */
static void wait_and_stay(void *context)
{
    struct field *field = context;

    ck_assert_ok(tine_barrier_wait(&field->barrier, TINE_FOREVER));
    gate_raise(field->go);
    pause();
}

static void join_and_stay(void *context)
{
    struct field *field = context;

    ck_assert_rc(tine_barrier_join(&field->barrier), 0);
    gate_raise(field->go);
    pause();
}

static int stay(void *context)
{
    struct field *field = context;

    gate_raise(field->go);
    return pause();
}

static void act_and_stay(void *context)
{
    struct field *field = context;

    (void)!tine_barrier_wait_action(&field->barrier, stay, field, TINE_FOREVER);
}

static struct child start_joined(struct field *field)
{
    uint32_t raised = field->go->raised;
    struct child child = child_start(join_and_stay, field);

    gate_await(field->go, raised + 1);
    return child;
}

/* ---- what follows ---------------------------------------------------------------------------- */

/* All survivors say TINE_EBROKEN; a reset heals. */
static void check_broken(struct field *field, struct child *survivors, int count)
{
    struct child children[PARTIES];
    int parties = tine_barrier_parties(&field->barrier);

    join_all(survivors, count);
    ck_assert_rc(tine_barrier_broken(&field->barrier), 1);
    ck_assert_rc(tine_barrier_wait(&field->barrier, 0), TINE_EBROKEN);
    ck_assert_rc(tine_barrier_reset(&field->barrier), 0);
    for (int i = 0; i < parties; i++) {
        field->expected = i;
        if (i < parties - 1)
            start_parked(field, expect, &children[i], 1);
        else
            children[i] = child_start(expect, field);
    }
    join_all(children, parties);
    ck_assert_rc(tine_barrier_broken(&field->barrier), 0);
}

/* A survivor may see the zombie before it is reaped. */
static void add_sample(struct samples *samples, const struct field *field, int64_t death_ns)
{
    samples_add(samples, field->told_ns > death_ns ? (uint64_t)(field->told_ns - death_ns) : 0);
}

TEST(a_parked_party_dies, .kills = KILLS)
{
    struct samples samples = {.name = "barrier.parked.killed", .bound_ns = BOUND};

    for (size_t i = kills_wanted(KILLS); i > 0; i--) {
        struct field *field = field_to_break(PARTIES);
        struct child children[PARTIES - 1];
        int64_t death_ns;

        start_parked(field, expect, children, PARTIES - 1);
        child_kill(&children[0]);
        death_ns = now_ns();
        join_all(children + 1, PARTIES - 2);
        add_sample(&samples, field, death_ns);
        check_broken(field, NULL, 0);
    }
    samples_end(&samples);
}

TEST(a_party_that_has_not_arrived_dies)
{
    struct field *field = field_to_break(PARTIES);
    struct child joined = start_joined(field), children[2];

    start_parked(field, expect, children, 2);
    child_kill(&joined);
    check_broken(field, children, 2);
}

TEST(the_last_party_dies_in_its_action, .kills = KILLS)
{
    struct samples samples = {.name = "barrier.acting.killed", .bound_ns = BOUND};

    for (uint32_t i = 1; i <= kills_wanted(KILLS); i++) {
        struct field *field = field_to_break(PARTIES);
        struct child children[PARTIES - 1], actor;
        int64_t death_ns;

        start_parked(field, expect, children, PARTIES - 1);
        actor = child_start(act_and_stay, field);
        gate_await(field->go, 1);
        child_kill(&actor);
        death_ns = now_ns();
        join_all(children, PARTIES - 1);
        add_sample(&samples, field, death_ns);
        check_broken(field, NULL, 0);
    }
    samples_end(&samples);
}

TEST(a_newcomer_learns_of_a_death_in_the_action)
{
    struct field *field = field_to_break(1);
    struct child actor = child_start(act_and_stay, field), newcomer;

    gate_await(field->go, 1);
    newcomer = child_start(expect, field);
    gate_await(field->begun, 1);
    ck_assert_eventually(proc_asleep(newcomer.pid));
    child_kill(&actor);
    check_broken(field, &newcomer, 1);
}

TEST(a_woken_party_dies)
{
    struct field *field = field_to_break(PARTIES);
    struct child children[PARTIES - 1], next[2];

    field->expected = 0;
    start_parked(field, expect, &children[0], 1);
    field->expected = 1;
    start_parked(field, expect, &children[1], 1);
    start_parked(field, wait_and_stay, &children[2], 1);
    child_stop(&children[2]);
    ck_assert_rc(tine_barrier_wait(&field->barrier, TINE_FOREVER), PARTIES - 1);
    join_all(children, 2);
    child_kill(&children[2]);
    field->expected = TINE_EBROKEN;
    /* they look for the first time when they register, so they need not be parked */
    for (int i = 0; i < 2; i++)
        next[i] = child_start(expect, field);
    check_broken(field, next, 2);
}

TEST(a_party_dies_after_its_wait)
{
    struct field *field = field_to_break(2);
    struct child child;

    start_parked(field, wait_and_stay, &child, 1);
    ck_assert_rc(tine_barrier_wait(&field->barrier, TINE_FOREVER), 1);
    child_kill(&child);
    ck_assert_rc(tine_barrier_wait(&field->barrier, TINE_FOREVER), TINE_EBROKEN);
    check_broken(field, NULL, 0);
}

TEST(nobody_takes_the_place_of_a_dead_party)
{
    struct field *field = field_to_break(2);
    struct child child;

    start_parked(field, expect, &child, 1);
    child_kill(&child);
    ck_assert_rc(tine_barrier_wait(&field->barrier, TINE_FOREVER), TINE_EBROKEN);
    check_broken(field, NULL, 0);
}

/* ---- who counts as a party ------------------------------------------------------------------- */

static void join_leave(void *context)
{
    struct field *field = context;

    ck_assert_rc(tine_barrier_join(&field->barrier), 0);
    ck_assert_rc(tine_barrier_join(&field->barrier), 0);
    ck_assert_rc(tine_barrier_leave(&field->barrier), 0);
    ck_assert_rc(tine_barrier_leave(&field->barrier), 0);
}

TEST(who_has_left_may_die)
{
    struct field *field = field_to_break(2);
    struct child child = child_start(join_leave, field);

    child_join(&child);
    ck_assert_rc(tine_barrier_wait(&field->barrier, TINE_MS(120)), -ETIMEDOUT);
}

TEST(a_reset_forgets_the_dead)
{
    struct field *field = field_to_break(2);
    struct child child = start_joined(field);

    child_kill(&child);
    ck_assert_rc(tine_barrier_reset(&field->barrier), 0);
    ck_assert_rc(tine_barrier_wait(&field->barrier, TINE_MS(120)), -ETIMEDOUT);
}

/* Often enough for the epoch in the slot, and that in the word, to come round. */
TEST(a_reset_keeps_the_living, .loop_end = 2)
{
    int resets = loop_index == 0 ? 1 : 3 * TINE__BARRIER_EPOCHS + 1;
    struct field *field = field_to_break(2);
    struct child child = start_joined(field);

    for (int i = 0; i < resets; i++)
        ck_assert_rc(tine_barrier_reset(&field->barrier), 0);
    child_kill(&child);
    ck_assert_rc(tine_barrier_wait(&field->barrier, TINE_FOREVER), TINE_EBROKEN);
}

TEST(who_joins_a_broken_barrier_counts_after_the_reset)
{
    struct field *field = field_to_break(2);
    struct child child;

    ck_assert_rc(tine_barrier_abort(&field->barrier), 0);
    child = start_joined(field);
    ck_assert_rc(tine_barrier_reset(&field->barrier), 0);
    child_kill(&child);
    ck_assert_rc(tine_barrier_wait(&field->barrier, TINE_FOREVER), TINE_EBROKEN);
}

TEST(no_more_processes_than_slots)
{
    struct field *field = field_new(2, &(tine_barrier_options){.slots = 2});
    struct child children[2];

    for (int i = 0; i < 2; i++)
        children[i] = start_joined(field);
    ck_assert_rc(tine_barrier_join(&field->barrier), -ENOLCK);
    ck_assert_rc(tine_barrier_wait(&field->barrier, TINE_FOREVER), -ENOLCK);
    ck_assert_rc(tine_barrier_n_waiting(&field->barrier), 0);
    child_kill(&children[0]);
    ck_assert_rc(tine_barrier_wait(&field->barrier, TINE_FOREVER), TINE_EBROKEN);
    ck_assert_rc(tine_barrier_reset(&field->barrier), 0);
    ck_assert_rc(tine_barrier_join(&field->barrier), 0);
    child_kill(&children[1]);
}

/* A living process with that pid, but one that began at another time. */
TEST(a_pid_used_again_deceives_nobody)
{
    struct field *field = field_to_break(2);
    uint64_t party = tine__owner_word() ^ UINT64_C(1) << 30;

    ck_assert_int_eq(tine__owner_word_pid(party), getpid());
    inside(field)->party[5] = party;
    ck_assert_rc(tine_barrier_wait(&field->barrier, TINE_FOREVER), TINE_EBROKEN);
}

TEST(a_party_of_another_pid_namespace_is_never_found_dead)
{
    struct field *field = field_to_break(2);

    inside(field)->party[5] = tine__owner_word() ^ UINT64_C(1) << 60 ^ UINT64_C(1) << 30;
    ck_assert_rc(tine_barrier_wait(&field->barrier, TINE_MS(120)), -ETIMEDOUT);
}

/* ---- a death before the wake-up -------------------------------------------------------------- */

TEST(who_was_not_woken_sees_the_end_of_the_round)
{
    struct field *field = field_to_break(2);
    struct child child;

    field->expected = 0;
    start_parked(field, expect, &child, 1);
    inside(field)->word += (UINT64_C(1) << TINE__BARRIER_ROUND) - 1;
    child_join(&child);
}

TEST(who_was_not_woken_sees_the_break)
{
    struct field *field = field_to_break(2);
    struct child child;

    start_parked(field, expect, &child, 1);
    inside(field)->word += TINE__BARRIER_BROKEN - 1;
    child_join(&child);
}

/* Killed after the living were listed for the next epoch: the next reset goes on. */
TEST(a_reset_that_was_cut_short_is_done_by_the_next)
{
    struct field *field = field_to_break(2);
    struct child children[2];

    for (int i = 0; i < 2; i++)
        children[i] = start_joined(field);
    ck_assert_rc(tine_barrier_abort(&field->barrier), 0);
    for (uint32_t i = 0; i < TINE_BARRIER_SLOTS; i++)
        if (tine__owner_word_pid(inside(field)->party[i]) == children[0].pid)
            inside(field)->party[i]++;
    ck_assert_rc(tine_barrier_reset(&field->barrier), 0);
    for (int i = 0; i < 2; i++) {
        child_kill(&children[i]);
        ck_assert_rc(tine_barrier_wait(&field->barrier, TINE_FOREVER), TINE_EBROKEN);
        ck_assert_rc(tine_barrier_reset(&field->barrier), 0);
    }
    ck_assert_rc(tine_barrier_wait(&field->barrier, TINE_MS(1)), -ETIMEDOUT);
}

SUITE("shm/barrier_death")
