/* SPDX-License-Identifier: MIT */
/* Barriers: rounds, breaks, and who learns what. Deaths: test_barrier_death.c. */
#include <tine/barrier.h>

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <tine/time.h>

#include "lib/clock.h"
#include "lib/sys.h"
#include "shm/barrier.h"
#include "tests/shm/barrier_help.h"
#include "tests/support/children.h"
#include "tests/support/proc.h"
#include "tests/support/suite.h"
#include "tests/support/wait.h"

/* ---- parties --------------------------------------------------------------------------------- */

/* All rounds; everybody has arrived as often as the caller when a round is over. */
static void go_round(void *context)
{
    struct field *field = context;
    uint32_t parties = inside(field)->parties;

    for (uint32_t round = 1; round <= field->rounds; round++) {
        int index;

        field->arrived++;
        index = tine_barrier_wait(&field->barrier, field->timeout_ns);
        if (index < 0 || (uint32_t)index >= parties || field->arrived < round * parties)
            ck_abort_msg("round %u: %d, %u arrivals", round, index, field->arrived);
    }
}

static void *go_round_in_thread(void *context)
{
    go_round(context);
    return NULL;
}

/* One wait, whose result is known. */
static void expect(void *context)
{
    struct field *field = context;
    int expected = field->expected;

    gate_raise(field->begun);
    ck_assert_rc(tine_barrier_wait(&field->barrier, field->timeout_ns), expected);
    ck_assert_rc(tine_barrier_leave(&field->barrier), 0); /* or its end would be a party's death */
}

/* One wait that ends well. */
static void take_index(void *context)
{
    struct field *field = context;
    int index;

    gate_raise(field->begun);
    index = tine_barrier_wait(&field->barrier, field->timeout_ns);
    ck_assert_ok(index);
    atomic_fetch_or(&field->indices, UINT64_C(1) << index);
}

/* ---- rounds ---------------------------------------------------------------------------------- */

TEST(a_lone_party_never_waits)
{
    struct field *field = field_new(1, NULL);

    for (int i = 0; i < 100; i++)
        ck_assert_rc(tine_barrier_wait(&field->barrier, 0), 0);
    ck_assert_rc(tine_barrier_parties(&field->barrier), 1);
}

TEST(processes_and_threads_go_in_step, .loop_end = 3)
{
    static const int64_t spins[] = {0, -1, TINE_MS(1)};
    struct field *field =
        field_new(PARTIES + 2, &(tine_barrier_options){.spin_ns = spins[loop_index]});
    struct child children[PARTIES];
    pthread_t thread;

    field->rounds = 300;
    for (int i = 0; i < PARTIES; i++)
        children[i] = child_start(go_round, field);
    ck_assert_int_eq(pthread_create(&thread, NULL, go_round_in_thread, field), 0);
    go_round(field);
    pthread_join(thread, NULL);
    join_all(children, PARTIES);
    ck_assert_uint_eq(field->arrived, 300 * (PARTIES + 2));
    ck_assert_rc(tine_barrier_broken(&field->barrier), 0);
}

TEST(each_index_is_given_once_in_order_of_arrival)
{
    struct field *field = field_new(PARTIES, NULL);
    struct child children[PARTIES - 1];

    start_parked(field, take_index, children, PARTIES - 1);
    ck_assert_rc(tine_barrier_wait(&field->barrier, TINE_FOREVER), PARTIES - 1);
    join_all(children, PARTIES - 1);
    ck_assert_uint_eq(field->indices, (1 << (PARTIES - 1)) - 1);
    ck_assert_rc(tine_barrier_n_waiting(&field->barrier), 0);
}

static void *pair_up(void *context)
{
    struct field *field = context;

    while (field->arrived++ < field->rounds * 2)
        if (tine_barrier_wait(&field->barrier, TINE_FOREVER) < 0)
            ck_abort_msg("a wait failed");
    return NULL;
}

/* More threads than parties: rounds go on while some have not yet noticed that theirs is over. */
TEST(any_two_of_many_threads_make_a_round)
{
    struct field *field = field_new(2, NULL);
    pthread_t threads[16];

    field->rounds = 5000;
    for (int i = 0; i < 16; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, pair_up, field), 0);
    for (int i = 0; i < 16; i++)
        pthread_join(threads[i], NULL);
    ck_assert_uint_eq(inside(field)->word >> TINE__BARRIER_ROUND, field->rounds);
}

TEST(numbers_of_rounds_come_round)
{
    struct field *field = field_new(2, NULL);
    struct child child;

    inside(field)->word = UINT64_C(0xfffffffe) << TINE__BARRIER_ROUND;
    field->rounds = 10;
    child = child_start(go_round, field);
    go_round(field);
    child_join(&child);
    ck_assert_uint_eq(inside(field)->word >> TINE__BARRIER_ROUND, 8);
}

/* ---- arguments ------------------------------------------------------------------------------- */

TEST(what_is_no_barrier_is_refused)
{
    struct field *field = field_new(2, NULL);
    tine_barrier none;

    memset(&none, 0, sizeof none);
    for (int i = 0; i < 2; i++) {
        tine_barrier *barrier = i == 0 ? NULL : &none;

        ck_assert_rc(tine_barrier_wait(barrier, 0), -EINVAL);
        ck_assert_rc(tine_barrier_wait_action(barrier, NULL, NULL, 0), -EINVAL);
        ck_assert_rc(tine_barrier_join(barrier), -EINVAL);
        ck_assert_rc(tine_barrier_leave(barrier), -EINVAL);
        ck_assert_rc(tine_barrier_reset(barrier), -EINVAL);
        ck_assert_rc(tine_barrier_abort(barrier), -EINVAL);
        ck_assert_rc(tine_barrier_parties(barrier), -EINVAL);
        ck_assert_rc(tine_barrier_n_waiting(barrier), -EINVAL);
        ck_assert_rc(tine_barrier_broken(barrier), -EINVAL);
        tine_barrier_fini(barrier);
    }
    tine_barrier_fini(&field->barrier);
    ck_assert_rc(tine_barrier_wait(&field->barrier, 0), -EINVAL);
}

TEST(wrong_arguments_of_init_are_refused)
{
    tine_barrier barrier;

    memset(&barrier, 0, sizeof barrier);
    ck_assert_rc(tine_barrier_init(NULL, 1, NULL), -EINVAL);
    ck_assert_rc(tine_barrier_init(&barrier, 0, NULL), -EINVAL);
    ck_assert_rc(tine_barrier_init(&barrier, -1, NULL), -EINVAL);
    ck_assert_rc(tine_barrier_init(&barrier, 65536, NULL), -EINVAL);
    ck_assert_rc(tine_barrier_init(&barrier, 2, &(tine_barrier_options){.timeout_ns = -1}),
                 -EINVAL);
    ck_assert_rc(tine_barrier_init(&barrier, 2, &(tine_barrier_options){.slots = 65537}), -EINVAL);
    ck_assert_rc(tine_barrier_init(&barrier, 2, &(tine_barrier_options){.reserved32 = 1}), -E2BIG);
    ck_assert_rc(tine_barrier_init(&barrier, 2, &(tine_barrier_options){.reserved = {[5] = 1}}),
                 -E2BIG);
    ck_assert_rc(tine_barrier_wait(&barrier, 0), -EINVAL);
    ck_assert_rc(tine_barrier_init(&barrier, 65535, NULL), 0);
    ck_assert_rc(tine_barrier_parties(&barrier), 65535);
}

/* ---- timeouts -------------------------------------------------------------------------------- */

TEST(without_time_nobody_is_counted_unless_the_round_is_complete)
{
    struct field *field = field_new(2, NULL);
    struct child child;

    ck_assert_rc(tine_barrier_wait(&field->barrier, 0), -EAGAIN);
    ck_assert_rc(tine_barrier_n_waiting(&field->barrier), 0);
    start_parked(field, take_index, &child, 1);
    ck_assert_rc(tine_barrier_wait(&field->barrier, 0), 1);
    child_join(&child);
}

TEST(who_times_out_breaks_the_barrier_for_all)
{
    struct field *field = field_new(PARTIES, NULL);
    struct child children[2];
    int64_t begin = tine__now_ns();

    field->expected = TINE_EBROKEN;
    start_parked(field, expect, children, 2);
    ck_assert_rc(tine_barrier_wait(&field->barrier, TINE_MS(70)), -ETIMEDOUT);
    ck_assert_int_ge(tine__now_ns() - begin, TINE_MS(70));
    join_all(children, 2);
    ck_assert_rc(tine_barrier_broken(&field->barrier), 1);
    ck_assert_rc(tine_barrier_n_waiting(&field->barrier), 0);
    ck_assert_rc(tine_barrier_wait(&field->barrier, TINE_FOREVER), TINE_EBROKEN);
}

TEST(its_own_timeout_is_that_of_waits_without_one)
{
    struct field *field =
        field_new(2, &(tine_barrier_options){.timeout_ns = TINE_MS(1), .spin_ns = -1});

    ck_assert_rc(tine_barrier_wait(&field->barrier, TINE_FOREVER), -ETIMEDOUT);
    ck_assert_rc(tine_barrier_reset(&field->barrier), 0);
    ck_assert_rc(tine_barrier_wait(&field->barrier, 0), -EAGAIN);
}

/* ---- reset and abort ------------------------------------------------------------------------- */

TEST(reset_sends_all_away_and_opens_the_barrier, .loop_end = 10)
{
    struct field *field = field_new(PARTIES, NULL);
    struct child children[PARTIES - 1];

    field->expected = TINE_EBROKEN;
    start_parked(field, expect, children, PARTIES - 1);
    ck_assert_rc(tine_barrier_reset(&field->barrier), 0);
    join_all(children, PARTIES - 1);
    ck_assert_rc(tine_barrier_broken(&field->barrier), 0);
    start_parked(field, take_index, children, PARTIES - 1);
    ck_assert_rc(tine_barrier_wait(&field->barrier, TINE_FOREVER), PARTIES - 1);
    join_all(children, PARTIES - 1);
}

TEST(abort_breaks_until_reset)
{
    struct field *field = field_new(2, NULL);
    struct child child;

    field->expected = TINE_EBROKEN;
    start_parked(field, expect, &child, 1);
    ck_assert_rc(tine_barrier_abort(&field->barrier), 0);
    child_join(&child);
    ck_assert_rc(tine_barrier_abort(&field->barrier), 0);
    ck_assert_rc(tine_barrier_broken(&field->barrier), 1);
    ck_assert_rc(tine_barrier_wait(&field->barrier, 0), TINE_EBROKEN);
    ck_assert_rc(tine_barrier_reset(&field->barrier), 0);
    ck_assert_rc(tine_barrier_broken(&field->barrier), 0);
    ck_assert_rc(tine_barrier_wait(&field->barrier, 0), -EAGAIN);
}

/* ---- oversleeping ---------------------------------------------------------------------------- */

/* While a sleeper is stopped, its round ends, and then come more. */
static void oversleep(struct field *field, int expected, int good, int resets)
{
    struct child child;

    field->expected = expected;
    start_parked(field, expect, &child, 1);
    child_stop(&child);
    if (expected >= 0)
        ck_assert_rc(tine_barrier_wait(&field->barrier, TINE_FOREVER), 1);
    for (int i = 0; i < resets; i++)
        ck_assert_rc(tine_barrier_reset(&field->barrier), 0);
    for (int i = 0; i < good; i++) {
        pthread_t thread;
        void *(*body)(void *) = go_round_in_thread;

        field->rounds = 1;
        field->arrived = 2;
        ck_assert_int_eq(pthread_create(&thread, NULL, body, field), 0);
        go_round(field);
        pthread_join(thread, NULL);
    }
    child_continue(&child);
    child_join(&child);
}

TEST(who_sleeps_on_gets_the_end_of_its_own_round)
{
    oversleep(field_new(2, NULL), 0, 50, 0);
    oversleep(field_new(2, NULL), 0, 3, 1);
    oversleep(field_new(2, NULL), 0, 0, 6);
    oversleep(field_new(2, NULL), 0, 6, 0);
    oversleep(field_new(2, NULL), TINE_EBROKEN, 6, 1);
    oversleep(field_new(2, NULL), TINE_EBROKEN, 1, 6);
    oversleep(field_new(2, NULL), TINE_EBROKEN, 20, 20);
}

/* ---- the action ------------------------------------------------------------------------------ */

static int count_action(void *argument)
{
    struct field *field = argument;

    return (int)field->acted++;
}

static int fail_action(void *argument)
{
    (void)argument;
    return -EDOM;
}

static void go_round_with_action(void *context)
{
    struct field *field = context;

    for (uint32_t round = 1; round <= field->rounds; round++) {
        int index = tine_barrier_wait_action(&field->barrier, count_action, field, TINE_FOREVER);

        if (index < 0 || field->acted != round)
            ck_abort_msg("round %u: %d, %u actions", round, index, field->acted);
        ck_assert_ok(tine_barrier_wait(&field->barrier, TINE_FOREVER));
    }
}

TEST(the_action_runs_once_a_round_before_anyone_is_released)
{
    struct field *field = field_new(PARTIES, NULL);
    struct child children[PARTIES - 1];

    field->rounds = 100;
    for (int i = 0; i < PARTIES - 1; i++)
        children[i] = child_start(go_round_with_action, field);
    go_round_with_action(field);
    join_all(children, PARTIES - 1);
    ck_assert_uint_eq(field->acted, 100);
}

TEST(a_failed_action_breaks_the_barrier)
{
    struct field *field = field_new(2, NULL);
    struct child child;

    field->expected = TINE_EBROKEN;
    start_parked(field, expect, &child, 1);
    ck_assert_rc(tine_barrier_wait_action(&field->barrier, fail_action, NULL, TINE_FOREVER), -EDOM);
    child_join(&child);
    ck_assert_rc(tine_barrier_broken(&field->barrier), 1);
}

static int await_go(void *argument)
{
    struct field *field = argument;

    gate_raise(field->begun);
    gate_await(field->go, 1);
    return 0;
}

static void act_slowly(void *context)
{
    struct field *field = context;
    int expected = field->expected;

    ck_assert_rc(tine_barrier_wait_action(&field->barrier, await_go, field, TINE_FOREVER),
                 expected);
    ck_assert_rc(tine_barrier_leave(&field->barrier), 0);
}

/* One party sleeps, another is in the action. */
static void start_action(struct field *field, struct child children[2], int acting, int parked)
{
    field->expected = parked;
    start_parked(field, expect, &children[0], 1);
    field->expected = acting;
    children[1] = child_start(act_slowly, field);
    gate_await(field->begun, 2);
}

TEST(newcomers_wait_while_the_action_runs)
{
    struct field *field = field_new(2, NULL);
    struct child children[2], newcomer;

    start_action(field, children, 1, 0);
    ck_assert_rc(tine_barrier_n_waiting(&field->barrier), 2);
    ck_assert_rc(tine_barrier_wait(&field->barrier, 0), -EAGAIN);
    ck_assert_rc(tine_barrier_wait(&field->barrier, TINE_MS(1)), -ETIMEDOUT);
    ck_assert_rc(tine_barrier_broken(&field->barrier), 0);
    field->expected = 0;
    newcomer = child_start(expect, field);
    gate_await(field->begun, 3);
    ck_assert_eventually(proc_asleep(newcomer.pid));
    field->expected = 1;
    gate_raise(field->go);
    join_all(children, 2);
    ck_assert_eventually(tine_barrier_n_waiting(&field->barrier) == 1);
    ck_assert_rc(tine_barrier_wait(&field->barrier, TINE_FOREVER), 1);
    child_join(&newcomer);
}

TEST(who_acts_learns_that_the_barrier_broke_meanwhile, .loop_end = 2)
{
    struct field *field = field_new(2, NULL);
    struct child children[2];

    start_action(field, children, TINE_EBROKEN, TINE_EBROKEN);
    if (loop_index == 0)
        ck_assert_rc(tine_barrier_abort(&field->barrier), 0);
    else
        ck_assert_rc(tine_barrier_reset(&field->barrier), 0);
    gate_raise(field->go);
    join_all(children, 2);
    ck_assert_rc(tine_barrier_broken(&field->barrier), loop_index == 0);
}

TEST(who_waits_for_the_action_keeps_its_timeout)
{
    struct field *field = field_new(2, NULL);
    struct child children[2];

    field->timeout_ns = TINE_MS(200);
    start_action(field, children, TINE_EBROKEN, -ETIMEDOUT);
    child_join(&children[0]);
    gate_raise(field->go);
    child_join(&children[1]);
}

/* ---- places ---------------------------------------------------------------------------------- */

TEST(it_may_lie_at_two_addresses)
{
    struct field *field = field_new(2, NULL);
    tine_barrier *views[2];
    struct child child;
    int fd = tine__sys_memfd("barrier");

    ck_assert_int_ge(fd, 0);
    ck_assert_rc(tine__sys_resize(fd, 4096), 0);
    for (int i = 0; i < 2; i++) {
        views[i] = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        ck_assert_ptr_ne(views[i], MAP_FAILED);
    }
    close(fd);
    ck_assert_rc(tine_barrier_init(views[0], 2, NULL), 0);
    field->barrier = *views[1];
    ck_assert_rc(tine_barrier_parties(views[1]), 2);
    child = child_start(expect, field);
    child_kill(&child);
    ck_assert_rc(tine_barrier_wait(views[0], 1), -ETIMEDOUT);
    ck_assert_rc(tine_barrier_wait(views[1], 0), TINE_EBROKEN);
}

TEST(a_large_one_takes_many_processes)
{
    enum { SLOTS = 100 };
    tine_barrier *barrier = shared_memory(TINE_BARRIER_SIZE(SLOTS));
    struct tine__barrier_shm *shared = (struct tine__barrier_shm *)barrier;

    ck_assert_rc(tine_barrier_init(barrier, 2, &(tine_barrier_options){.slots = SLOTS}), 0);
    ck_assert_uint_eq(shared->slots, SLOTS);
    ck_assert_ptr_eq(&shared->party[SLOTS] <=
                             (_Atomic uint64_t *)((char *)barrier + TINE_BARRIER_SIZE(SLOTS))
                         ? barrier
                         : NULL,
                     barrier);
    ck_assert_uint_eq(TINE_BARRIER_SIZE(1), sizeof(tine_barrier));
    ck_assert_rc(tine_barrier_join(barrier), 0);
}

SUITE("shm/barrier")
