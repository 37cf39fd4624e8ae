/* SPDX-License-Identifier: MIT */
/* Kept objects: they end with their last descriptor, wherever that is and however it goes. */
#include "shm/keepalive.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <tine/error.h>

#include "lib/sys.h"
#include "shm/heap.h"
#include "shm/owner.h"
#include "tests/shm/heap_help.h"
#include "tests/support/children.h"
#include "tests/support/step.h"
#include "tests/support/wait.h"

HEAP_BEFORE_TESTS

#define POINTS 60

/* An object with an inner block; counts how often such are emptied, by whichever process. */
struct thing {
    _Atomic uint64_t inner;
    _Atomic uint32_t *emptied;
};

static void empty(void *object)
{
    struct thing *thing = object;

    tine_free((void *)(uintptr_t)atomic_exchange(&thing->inner, 0));
    atomic_fetch_add(thing->emptied, 1);
}

static const struct tine__kept_kind kind = {TINE__KEPT_TEST, empty};

struct scene {
    struct tine__keepalive hold;
    _Atomic uint32_t *emptied;
    uint64_t blocks; /* of the heap, before the thing */
};

static struct thing *thing_new(_Atomic uint32_t *emptied)
{
    struct thing *thing = tine_calloc(1, sizeof *thing);

    ck_assert_ptr_nonnull(thing);
    thing->inner = (uintptr_t)tine_alloc(100);
    thing->emptied = emptied;
    return thing;
}

/* The first making makes the register, which stays. */
static void make_register(void)
{
    struct tine__keepalive hold;

    ck_assert_ok(tine__keepalive_make(&hold, thing_new(shared_memory(sizeof(uint32_t))), &kind));
    tine__keepalive_close(&hold);
}

static struct scene scene_new(void)
{
    struct scene scene = {.emptied = shared_memory(sizeof(uint32_t))};

    make_register();
    scene.blocks = heap_counts().used_blocks;
    ck_assert_ok(tine__keepalive_make(&scene.hold, thing_new(scene.emptied), &kind));
    return scene;
}

static void assert_gone(const struct scene *scene)
{
    ck_assert_uint_eq(*scene->emptied, 1);
    ck_assert_uint_eq(heap_counts().used_blocks, scene->blocks);
}

TEST(last_close_ends_the_object)
{
    struct scene scene = scene_new();

    ck_assert_uint_eq(*scene.emptied, 0);
    tine__keepalive_close(&scene.hold);
    assert_gone(&scene);
    tine__keepalive_close(&scene.hold);
    assert_gone(&scene);
}

TEST(each_side_is_counted_by_itself)
{
    struct scene scene = scene_new();
    struct tine__keepalive other;

    ck_assert(!tine__keepalive_held(&scene.hold, 1));
    ck_assert_ok(tine__keepalive_share(&other, &scene.hold, 1));
    ck_assert(tine__keepalive_held(&scene.hold, 0));
    ck_assert(tine__keepalive_held(&scene.hold, 1));
    tine__keepalive_close(&scene.hold);
    ck_assert(!tine__keepalive_held(&other, 0));
    ck_assert_uint_eq(*scene.emptied, 0);
    tine__keepalive_close(&other);
    assert_gone(&scene);
}

static void stay(void *context)
{
    gate_raise(context);
    for (;;)
        pause();
}

TEST(inherited_copy_keeps_the_object_until_its_process_is_killed)
{
    struct scene scene = scene_new();
    struct gate *gate = gate_new();
    struct child child = child_start(stay, gate);

    gate_await(gate, 1);
    tine__keepalive_close(&scene.hold);
    tine__keepalive_sweep();
    ck_assert_uint_eq(*scene.emptied, 0);
    child_kill(&child);
    tine__keepalive_sweep();
    assert_gone(&scene);
}

static void close_inherited(void *context)
{
    tine__keepalive_close(context);
}

TEST(forked_child_ends_the_object_if_it_closes_last)
{
    struct scene scene = scene_new();
    struct tine__keepalive second;
    struct child child;

    ck_assert_ok(tine__keepalive_share(&second, &scene.hold, 0));
    child = child_start(close_inherited, &scene.hold);
    child_join(&child);
    ck_assert_uint_eq(*scene.emptied, 0);
    tine__keepalive_close(&scene.hold);
    ck_assert_uint_eq(*scene.emptied, 0);
    tine__keepalive_close(&second);
    assert_gone(&scene);
}

static int take(struct tine__keepalive *hold, int fd, const void *object,
                const struct tine__kept_shm *entry)
{
    struct tine__handle_parts parts = {
        .words = {(uint64_t)(uintptr_t)object, (uint64_t)(uintptr_t)entry},
        .fds = {fd},
        .fd_count = 1,
    };

    return tine__keepalive_take(hold, &parts, 0, &kind);
}

TEST(descriptor_in_flight_keeps_the_object)
{
    struct scene scene = scene_new();
    struct tine__keepalive hold = scene.hold, arrived;
    struct tine__kept_shm *entry = hold.entry;
    void *object = hold.object;
    int sockets[2], fd, count = 1;
    char byte = 0;

    ck_assert_ok(tine__sys_socketpair(sockets));
    ck_assert_int_eq(tine__sys_send_fds(sockets[0], &byte, 1, &hold.fd, 1, 0), 1);
    tine__keepalive_close(&scene.hold);
    tine__keepalive_sweep();
    ck_assert_uint_eq(*scene.emptied, 0);
    ck_assert_int_eq(tine__sys_recv_fds(sockets[1], &byte, 1, &fd, &count, 0), 1);
    ck_assert_ok(take(&arrived, fd, object, entry));
    close(fd);
    tine__keepalive_sweep();
    ck_assert_uint_eq(*scene.emptied, 0);
    tine__keepalive_close(&arrived);
    assert_gone(&scene);

    /* and one that nobody takes out goes with its socket */
    scene = scene_new();
    ck_assert_int_eq(tine__sys_send_fds(sockets[0], &byte, 1, &scene.hold.fd, 1, 0), 1);
    close(sockets[1]);
    close(sockets[0]);
    tine__keepalive_close(&scene.hold);
    assert_gone(&scene);
}

TEST(what_is_taken_has_to_fit_together)
{
    struct scene scene = scene_new();
    struct tine__keepalive hold;
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    struct tine__kept_shm local = {.word = (uint64_t)(uintptr_t)scene.hold.object | kind.number};

    ck_assert_rc(take(&hold, null, scene.hold.object, scene.hold.entry), TINE_EFORMAT);
    ck_assert_rc(take(&hold, -1, scene.hold.object, scene.hold.entry), -EBADF);
    ck_assert_rc(take(&hold, scene.hold.fd, scene.hold.object, &local), TINE_EFORMAT);
    ck_assert_rc(take(&hold, scene.hold.fd, &local, scene.hold.entry), TINE_EFORMAT);
    ck_assert_rc(take(&hold, scene.hold.fd, (char *)scene.hold.object + 16, scene.hold.entry),
                 TINE_EFORMAT);
    close(null);
    tine__keepalive_close(&scene.hold);
    assert_gone(&scene);
}

/* A descriptor of the heap that holds something else, as of words that were mixed up. */
TEST(a_taken_object_is_held_whatever_the_descriptor_held)
{
    struct scene one = scene_new(), two = scene_new();
    struct tine__keepalive hold;

    ck_assert_ok(take(&hold, one.hold.fd, two.hold.object, two.hold.entry));
    tine__keepalive_close(&two.hold);
    tine__keepalive_sweep();
    ck_assert_uint_eq(*two.emptied, 0);
    tine__keepalive_close(&hold);
    tine__keepalive_close(&one.hold);
    tine__keepalive_sweep();
    ck_assert_uint_eq(*one.emptied, 1);
    ck_assert_uint_eq(*two.emptied, 1);
}

/* Who is about to end it has found no hold, and will not ask again. */
TEST(an_object_that_somebody_ends_is_not_taken)
{
    struct scene scene = scene_new();
    struct tine__kept_shm *entry = scene.hold.entry;
    struct tine__keepalive hold;

    entry->sweeper = tine__owner_word();
    ck_assert_rc(take(&hold, scene.hold.fd, scene.hold.object, entry), TINE_EFORMAT);
    entry->sweeper = 0;
    ck_assert_ok(take(&hold, scene.hold.fd, scene.hold.object, entry));
    tine__keepalive_close(&hold);
    tine__keepalive_close(&scene.hold);
    assert_gone(&scene);
}

TEST(closing_spares_a_descriptor_that_the_program_has_opened_in_its_place)
{
    struct scene scene = scene_new();
    int fd = scene.hold.fd;

    close(fd);
    ck_assert_int_eq(open("/dev/null", O_RDONLY | O_CLOEXEC), fd);
    tine__keepalive_close(&scene.hold);
    ck_assert_int_ge(fcntl(fd, F_GETFD), 0);
    close(fd);
    assert_gone(&scene);
}

TEST(without_descriptors_the_object_stays_the_callers)
{
    _Atomic uint32_t *emptied = shared_memory(sizeof *emptied);
    struct thing *thing = thing_new(emptied);
    struct tine__keepalive hold;
    struct rlimit limit, none = {0};

    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    none.rlim_max = limit.rlim_max;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    ck_assert_rc(tine__keepalive_make(&hold, thing, &kind), -EMFILE);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    ck_assert_uint_eq(*emptied, 0);
    tine_free((void *)(uintptr_t)thing->inner);
    tine_free(thing);
}

TEST(no_descriptor_is_a_standard_stream)
{
    _Atomic uint32_t *emptied = shared_memory(sizeof *emptied);
    struct tine__keepalive hold;
    int saved = dup(STDIN_FILENO);

    close(STDIN_FILENO);
    ck_assert_ok(tine__keepalive_make(&hold, thing_new(emptied), &kind));
    ck_assert_int_gt(hold.fd, STDERR_FILENO);
    tine__keepalive_close(&hold);
    ck_assert_int_eq(dup2(saved, STDIN_FILENO), STDIN_FILENO);
    close(saved);
}

#define MANY 300 /* more than a chunk of the register holds */

TEST(many_objects_live_at_once)
{
    static struct tine__keepalive holds[MANY];
    _Atomic uint32_t *emptied = shared_memory(sizeof *emptied);

    for (int i = 0; i < MANY; i++)
        ck_assert_ok(tine__keepalive_make(&holds[i], thing_new(emptied), &kind));
    tine__keepalive_sweep();
    ck_assert_uint_eq(*emptied, 0);
    for (int i = 0; i < MANY; i++)
        tine__keepalive_close(&holds[i]);
    ck_assert_uint_eq(*emptied, MANY);
}

struct drop {
    _Atomic uint32_t *emptied;
    struct gate *gate;
};

static void make_and_die(void *context)
{
    struct drop *drop = context;
    struct tine__keepalive hold;

    for (int i = 0; i < 3; i++)
        ck_assert_ok(tine__keepalive_make(&hold, thing_new(drop->emptied), &kind));
    stay(drop->gate);
}

TEST(making_others_sweeps_what_the_dead_left)
{
    struct drop drop = {shared_memory(sizeof(uint32_t)), gate_new()};
    _Atomic uint32_t *mine = shared_memory(sizeof *mine);
    struct child child;

    make_register();
    child = child_start(make_and_die, &drop);
    gate_await(drop.gate, 1);
    child_kill(&child);
    for (int i = 0; i < MANY && *drop.emptied < 3; i++) {
        struct tine__keepalive hold;

        ck_assert_ok(tine__keepalive_make(&hold, thing_new(mine), &kind));
        tine__keepalive_close(&hold);
    }
    ck_assert_uint_eq(*drop.emptied, 3);
}

/* ---- killed at any instruction --------------------------------------------------------------- */

/* A block at most is lost by a kill; more would be an object or its content never given back. */
static void check_one_lost(long steps, pid_t victim, void *context)
{
    struct scene *scene = context;
    uint64_t blocks;

    ck_assert_ok(tine__heap_sweep_process(victim));
    tine__keepalive_sweep();
    blocks = heap_counts().used_blocks;
    ck_assert_msg(blocks <= scene->blocks + 1, "%ld steps: %ju blocks more", steps,
                  (uintmax_t)(blocks - scene->blocks));
    scene->blocks = blocks;
}

static void make_in_victim(void *context)
{
    struct scene *scene = context;

    ck_assert_ok(tine__keepalive_make(&scene->hold, thing_new(scene->emptied), &kind));
}

static void close_in_victim(void *context)
{
    tine__keepalive_close(&((struct scene *)context)->hold);
}

TEST(killed_anywhere_in_closing_loses_a_block_at_most, .timeout_s = 60)
{
    struct scene scene = {.emptied = shared_memory(sizeof(uint32_t))};

    make_register();
    scene.blocks = heap_counts().used_blocks;
    step_kill_everywhere(&(struct step){.prepare = make_in_victim,
                                        .run = close_in_victim,
                                        .check = check_one_lost,
                                        .context = &scene},
                         POINTS);
}

static void thing_for_victim(void *context)
{
    struct scene *scene = context;

    scene->hold.object = thing_new(scene->emptied);
}

static void keep_in_victim(void *context)
{
    struct scene *scene = context;

    ck_assert_ok(tine__keepalive_make(&scene->hold, scene->hold.object, &kind));
}

/* Until it is entered, the thing and its inner block are still the victim's own, lost with it. */
static void check_two_lost(long steps, pid_t victim, void *context)
{
    struct scene *scene = context;

    scene->blocks++;
    check_one_lost(steps, victim, context);
}

TEST(killed_anywhere_in_making_the_register_stays_sound, .timeout_s = 60)
{
    struct scene scene = {.emptied = shared_memory(sizeof(uint32_t))};

    make_register();
    scene.blocks = heap_counts().used_blocks;
    step_kill_everywhere(&(struct step){.prepare = thing_for_victim,
                                        .run = keep_in_victim,
                                        .check = check_two_lost,
                                        .context = &scene},
                         POINTS);
    last_close_ends_the_object(0);
}

SUITE("shm/keepalive")
