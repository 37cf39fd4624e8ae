/* SPDX-License-Identifier: MIT */
/*
 * SIGKILL of processes that make, grow, change and unlink named segments: whoever attaches finds a
 * whole segment or none, and every segment is unlinked once.
 */
#include <tine/shm.h>

#include <tine/codec.h>
#include <tine/shareable_list.h>

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/support/children.h"
#include "tests/support/leaks.h"
#include "tests/support/random.h"
#include "tests/support/samples.h"
#include "tests/support/step.h"
#include "tests/support/suite.h"
#include "tests/support/wait.h"

#define POINTS     40
#define ALL_POINTS 1000000

/* ---- whole or not there ---------------------------------------------------------------------- */

/* Every word says which segment it is of, and where. */
enum { WORDS = 600 };

struct content {
    _Atomic uint64_t unlinked; /* how many say that they have unlinked it */
    uint64_t words[WORDS];
};

static int fill(void *data, size_t size, void *context)
{
    struct content *content = data;
    uint64_t id = *(uint64_t *)context;

    ck_assert_uint_eq(size, sizeof *content);
    for (size_t i = 0; i < WORDS; i++)
        content->words[i] = id + i;
    return 0;
}

static void verify(const tine_shm *shm)
{
    const struct content *content = tine_shm_data(shm);

    ck_assert_uint_ge(tine_shm_size(shm), sizeof *content);
    for (size_t i = 0; i < WORDS; i++)
        if (content->words[i] != content->words[0] + i)
            ck_abort_msg("word %zu is of another segment, or of none", i);
    if (content->words[0] == 0)
        ck_abort_msg("a segment that nobody has filled");
}

static const char *name(void)
{
    return leaks_shm_name("x") + 1;
}

static int open_or_create(tine_shm **shm)
{
    uint64_t id = random_u64() | 1;

    return tine_shm_create(
        shm, name(), sizeof(struct content),
        &(tine_shm_options){.exist_ok = true, .init = fill, .context = &id, .reserve = 1 << 20});
}

static tine_shm *must_have(void)
{
    tine_shm *shm;

    ck_assert_ok(open_or_create(&shm));
    return shm;
}

static void end(tine_shm *shm)
{
    ck_assert_rc(tine_shm_unlink(shm), 0);
    ck_assert_rc(tine_shm_detach(shm), 0);
}

/* ---- at every instruction, at every system call ---------------------------------------------- */

static tine_shm *victims; /* what a victim has in hand */

static void make(void *unused)
{
    (void)unused;
    victims = must_have();
}

static void leave(void *unused)
{
    (void)unused;
    ck_assert_rc(tine_shm_detach(victims), 0);
}

static void run_create(void *unused)
{
    (void)unused;
    (void)!open_or_create(&victims);
}

static void run_unlink(void *unused)
{
    (void)unused;
    (void)!tine_shm_unlink(victims);
}

static void run_grow(void *unused)
{
    (void)unused;
    (void)!tine_shm_grow(victims, 3 * sizeof(struct content));
}

/* Whatever is left, it is whole, and the name can be had. */
static void check_whole(long steps, pid_t victim, void *unused)
{
    tine_shm *shm;
    int rc = tine_shm_attach(&shm, name(), NULL);

    (void)steps, (void)victim, (void)unused;
    ck_assert(rc == 0 || rc == -ENOENT);
    if (rc == -ENOENT)
        shm = must_have();
    verify(shm);
    ck_assert_rc(tine_shm_grow(shm, 4 * sizeof(struct content)), 0);
    verify(shm);
    end(shm);
}

/* The victim's handle is a copy of the parent's, which goes before the check. */
static void make_and_leave(void *unused)
{
    make(unused);
    leave(unused);
}

#define STEP_TEST(title, first, ready, operation)                                                  \
    TEST(title, .timeout_s = 120)                                                                  \
    {                                                                                              \
        struct step step = {                                                                       \
            .before = first, .prepare = ready, .run = operation, .check = check_whole};            \
                                                                                                   \
        step_kill_everywhere(&step, POINTS);                                                       \
        step.system_calls = true;                                                                  \
        step_kill_everywhere(&step, ALL_POINTS);                                                   \
    }

STEP_TEST(killed_while_making_one, NULL, NULL, run_create)
STEP_TEST(killed_while_attaching_to_one, make_and_leave, NULL, run_create)
STEP_TEST(killed_while_unlinking_one, make_and_leave, make, run_unlink)
STEP_TEST(killed_while_growing_one, make_and_leave, make, run_grow)

/* ---- a shareable list ------------------------------------------------------------------------ */

struct change {
    tine_shareable_list *list;
    tine_shareable_item from, to;
};

static void put_from(void *context)
{
    struct change *change = context;

    ck_assert_rc(tine_shareable_list_set(change->list, 1, &change->from), 0);
}

static void put_to(void *context)
{
    struct change *change = context;

    (void)!tine_shareable_list_set(change->list, 1, &change->to);
}

static bool equals(const tine_shareable_item *a, const tine_shareable_item *b)
{
    if (a->type != b->type || a->size != b->size)
        return false;
    return a->type == TINE_SHAREABLE_INT ? a->value.integer == b->value.integer
                                         : memcmp(a->value.bytes, b->value.bytes, a->size) == 0;
}

static void check_item(long steps, pid_t victim, void *context)
{
    const struct change *change = context;
    tine_buffer buffer = {0};
    tine_shareable_item item;
    int rc = tine_shareable_list_get(change->list, 1, &buffer, &item);

    (void)victim;
    ck_assert_msg(rc == TINE_EFORMAT ||
                      (rc == 0 && (equals(&item, &change->from) || equals(&item, &change->to))),
                  "after %ld instructions: %s, type %d", steps, tine_errname(rc), item.type);
    for (size_t i = 0; i < 3; i += 2) {
        ck_assert_rc(tine_shareable_list_get(change->list, i, &buffer, &item), 0);
        ck_assert_uint_eq(item.size, 9);
    }
    tine_buffer_free(&buffer);
}

TEST(killed_while_setting_an_item_of_a_list, .loop_end = 3, .timeout_s = 120)
{
    const tine_shareable_item items[] = {tine_shareable_str("neighbour"),
                                         tine_shareable_str("between"),
                                         tine_shareable_str("neighbour")};
    struct change changes[] = {
        {NULL, tine_shareable_str("aaaaaaa"), tine_shareable_str("bbb")},
        {NULL, tine_shareable_int(-1), tine_shareable_str("bbbbbbb")},
        {NULL, tine_shareable_int(-1), tine_shareable_int(0)},
    };
    struct change *change = &changes[loop_index];

    ck_assert_rc(tine_shareable_list_create(&change->list, name(), items, 3, NULL), 0);
    step_kill_everywhere(
        &(struct step){.before = put_from, .run = put_to, .check = check_item, .context = change},
        100);
    ck_assert_rc(tine_shm_unlink(tine_shareable_list_shm(change->list)), 0);
    ck_assert_rc(tine_shareable_list_detach(change->list), 0);
}

/* ---- a storm --------------------------------------------------------------------------------- */

enum { PROCESSES = 16, KILLS = 50, ROUNDS_A_KILL = 40 };

struct storm {
    struct gate *rounds;
    _Atomic bool stop;
    _Atomic uint64_t seed, created, attached, unlinked, busy;
};

static void unlink_it(struct storm *storm, const tine_shm *shm)
{
    struct content *content = tine_shm_data(shm);
    int rc = tine_shm_unlink(shm);
    struct stat status;

    if (rc == -EBUSY) {
        storm->busy++;
        return;
    }
    if ((rc != 0 && rc != -ENOENT) || fstat(tine_shm_fd(shm), &status) < 0 || status.st_nlink != 0)
        ck_abort_msg("unlink: %s, %u names left", tine_errname(rc), (unsigned)status.st_nlink);
    if (rc == 0 && atomic_fetch_add(&content->unlinked, 1) != 0)
        ck_abort_msg("unlinked twice: once it was another one of that name");
    storm->unlinked += rc == 0;
}

static void take_part(void *context)
{
    struct storm *storm = context;

    random_fork(atomic_fetch_add(&storm->seed, 1));
    while (!storm->stop) {
        tine_shm *shm;
        int rc = open_or_create(&shm);

        if (rc < 0)
            ck_abort_msg("open or create: %s", tine_errname(rc));
        (*(rc == 0 ? &storm->created : &storm->attached))++;
        verify(shm);
        if (random_below(4) == 0 && tine_shm_grow(shm, 2 * sizeof(struct content)) < 0)
            ck_abort_msg("not grown");
        if (random_below(2) == 0)
            unlink_it(storm, shm);
        verify(shm);
        if (tine_shm_detach(shm) < 0)
            ck_abort_msg("not detached");
        gate_raise(storm->rounds);
    }
}

TEST(sixteen_processes_make_and_unlink_one_name_and_are_killed, .timeout_s = 60, .kills = KILLS)
{
    struct storm *storm = shared_memory(sizeof *storm);
    struct child children[PROCESSES];
    size_t kills = kills_wanted(KILLS);
    uint32_t rounds = 0;
    int rc;

    storm->rounds = gate_new();
    for (int i = 0; i < PROCESSES; i++)
        children[i] = child_start(take_part, storm);
    for (size_t k = 0; k < kills; k++) {
        struct child *victim = &children[random_below(PROCESSES)];

        rounds += 1 + (uint32_t)random_below(2 * ROUNDS_A_KILL);
        gate_await(storm->rounds, rounds);
        child_kill(victim); /* fails if it was dead already: of SIGBUS, or of an assertion */
        *victim = child_start(take_part, storm);
    }
    storm->stop = true;
    for (int i = 0; i < PROCESSES; i++)
        child_join(&children[i]);
    rc = tine_shm_unlink_name(name());
    ck_assert(rc == 0 || rc == -ENOENT);
    printf("segments: %zu kills, %" PRIu64 " made, %" PRIu64 " attached, %" PRIu64
           " unlinked, %" PRIu64 " times busy\n",
           kills, storm->created, storm->attached, storm->unlinked, storm->busy);
    ck_assert_uint_gt(storm->created, 0);
    ck_assert_uint_gt(storm->attached, 0);
}

SUITE("shm/segment_death")
