/* SPDX-License-Identifier: MIT */
/*
 * Processes that do things once are SIGKILLed at random instants. Everything gets done, a death
 * lets at most one function start again, and who waits for the dead goes on in their place.
 */
#include <tine.h>

#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include "tests/support/children.h"
#include "tests/support/hunt.h"
#include "tests/support/random.h"
#include "tests/support/samples.h"
#include "tests/support/wait.h"

#define KILLS   50
#define CALLERS 4
#define CHAPTER 400 /* things to do between two looks of the test */
#define WORDS   200

/* One thing to do, and a book of how it went. */
struct thing {
    tine_once once;
    _Atomic uint32_t begun;
    _Atomic uint32_t words[WORDS];
};

struct chapter {
    struct thing things[CHAPTER];
    _Atomic uint32_t next[CALLERS];
    _Atomic bool over[CALLERS];
};

struct caller {
    struct chapter *chapter;
    uint32_t number;
};

static int do_thing(void *context)
{
    struct thing *thing = context;

    thing->begun++;
    for (uint32_t i = 0; i < WORDS; i++)
        atomic_store_explicit(&thing->words[i], i + 1, memory_order_relaxed);
    return 0;
}

static void verify(const struct thing *thing)
{
    for (uint32_t i = 0; i < WORDS; i++)
        if (atomic_load_explicit(&thing->words[i], memory_order_relaxed) != i + 1)
            ck_abort_msg("word %u is %u", i, thing->words[i]);
}

/* A successor goes on where the killed one was. All stay until they are killed. */
static void do_chapter(void *context)
{
    struct caller *caller = context;
    struct chapter *chapter = caller->chapter;
    _Atomic uint32_t *next = &chapter->next[caller->number];

    for (; *next < CHAPTER; ++*next) {
        struct thing *thing = &chapter->things[*next];

        ck_assert_rc(tine_once_run(&thing->once, do_thing, thing, TINE_FOREVER), 0);
        verify(thing);
    }
    chapter->over[caller->number] = true;
    for (;;)
        pause();
}

static bool all_over(const struct chapter *chapter)
{
    for (int i = 0; i < CALLERS; i++)
        if (!chapter->over[i])
            return false;
    return true;
}

/* How many deaths the chapter saw before its end. */
static size_t write_chapter(struct chapter *chapter, size_t kills)
{
    struct caller callers[CALLERS];
    struct child children[CALLERS];
    size_t killed = 0;

    for (uint32_t i = 0; i < CALLERS; i++) {
        callers[i] = (struct caller){.chapter = chapter, .number = i};
        children[i] = child_start(do_chapter, &callers[i]);
    }
    while (killed < kills && !all_over(chapter)) {
        uint64_t victim = random_below(CALLERS);

        pause_randomly(TINE_US(200));
        child_kill(&children[victim]);
        children[victim] = child_start(do_chapter, &callers[victim]);
        killed++;
    }
    ck_assert_eventually(all_over(chapter));
    for (int i = 0; i < CALLERS; i++)
        child_kill(&children[i]);
    return killed;
}

TEST(everything_is_done_whoever_is_killed, .kills = KILLS, .timeout_s = 60)
{
    size_t kills = kills_wanted(KILLS), chapters = 0;

    for (size_t killed = 0; killed < kills; chapters++) {
        struct chapter *chapter = shared_memory(sizeof *chapter);
        size_t deaths, begun = 0;

        deaths = write_chapter(chapter, kills - killed);
        for (int i = 0; i < CHAPTER; i++) {
            verify(&chapter->things[i]);
            begun += chapter->things[i].begun;
        }
        ck_assert_uint_le(begun, CHAPTER + deaths);
        killed += deaths;
    }
    printf("once: %zu kills, %zu things\n", kills, chapters * CHAPTER);
}

struct scene {
    tine_once once;
    struct gate *entered;
    _Atomic int64_t served_ns;
};

static int stay(void *context)
{
    gate_raise(((struct scene *)context)->entered);
    for (;;)
        pause();
    return 0;
}

static int note_time(void *context)
{
    ((struct scene *)context)->served_ns = now_ns();
    return 0;
}

static void run_and_stay(void *context)
{
    struct scene *scene = context;

    ck_abort_msg("returned %d", tine_once_run(&scene->once, stay, scene, TINE_FOREVER));
}

static void run(void *context)
{
    struct scene *scene = context;

    gate_raise(scene->entered);
    ck_assert_rc(tine_once_run(&scene->once, note_time, scene, TINE_FOREVER), 0);
}

TEST(who_waits_for_the_dead_takes_their_place, .kills = KILLS, .timeout_s = 60)
{
    struct samples samples = {.name = "once.runner_killed", .bound_ns = (uint64_t)TINE_MS(100)};

    for (size_t kills = kills_wanted(KILLS); kills > 0; kills--) {
        struct scene *scene = shared_memory(sizeof *scene);
        struct child runner, waiter;
        int64_t death;

        scene->entered = gate_new();
        runner = child_start(run_and_stay, scene);
        gate_await(scene->entered, 1);
        waiter = child_start(run, scene);
        gate_await(scene->entered, 2);
        pause_randomly(TINE_MS(5));
        child_kill(&runner);
        death = now_ns();
        child_join(&waiter);
        samples_add(&samples, (uint64_t)(scene->served_ns > death ? scene->served_ns - death : 0));
    }
    samples_end(&samples);
}

SUITE("kill/once")
