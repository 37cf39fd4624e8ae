/* SPDX-License-Identifier: MIT */
/*
 * Producers and consumers of a ring are killed and stopped at random instants: the others go on at
 * once, no record is torn or comes twice, and each death loses one record at most.
 */
#include "tests/ipc/ring_help.h"

#include <errno.h>
#include <stdatomic.h>
#include <unistd.h>

#include "tests/support/children.h"
#include "tests/support/hunt.h"
#include "tests/support/random.h"
#include "tests/support/samples.h"
#include "tests/support/wait.h"

HEAP_BEFORE_TESTS

enum { KILLS = 50, RECORD_MAX = 3000, PARTIES_MAX = 2 };

/* What one life of a producer has sent, and what of that was taken. */
struct account {
    _Atomic uint64_t begun; /* sends, the last perhaps not done */
    _Atomic uint64_t sent;
    _Atomic uint64_t taken, sum; /* of hash() */
};

struct scene {
    struct tine__ring ring;
    int parties; /* of each sort */
    uint32_t lives, lives_max;
    uint64_t consumer_kills;
    _Atomic uint64_t total;
    struct child children[2 * PARTIES_MAX]; /* producers first */
    struct account accounts[];
};

struct role {
    struct scene *scene;
    uint32_t life;
};

static uint64_t hash(uint64_t number)
{
    return (number + 1) * 0x9e3779b97f4a7c15u ^ number;
}

static void produce(void *context)
{
    struct role *role = context;
    struct account *account = &role->scene->accounts[role->life];
    char buffer[RECORD_MAX];

    random_fork(role->life);
    for (uint64_t i = 0;; i++) {
        uint32_t most = random_below(20) == 0 ? RECORD_MAX - 16 : 100;
        struct mark mark = {
            .producer = role->life, .number = i, .size = 16 + (uint32_t)random_below(most)};

        build(buffer, mark);
        account->begun = i + 1;
        ck_assert_rc(send_whole(&role->scene->ring, buffer, mark.size, TINE_FOREVER), 0);
        account->sent = i + 1;
    }
}

static bool consume_one(struct scene *scene, int64_t timeout_ns)
{
    char buffer[RECORD_MAX];
    struct account *account;
    struct mark mark;
    size_t needed;
    ssize_t size = recv_whole(&scene->ring, buffer, sizeof buffer, timeout_ns, &needed);

    if (size == -EAGAIN)
        return false;
    ck_assert_ok(size);
    mark = check_built(buffer, (size_t)size);
    ck_assert_uint_lt(mark.producer, scene->lives_max);
    account = &scene->accounts[mark.producer];
    ck_assert_uint_lt(mark.number, account->begun);
    atomic_fetch_add(&account->sum, hash(mark.number));
    atomic_fetch_add(&account->taken, 1);
    atomic_fetch_add(&scene->total, 1);
    return true;
}

static void consume(void *context)
{
    struct role *role = context;

    for (;;)
        consume_one(role->scene, TINE_FOREVER);
}

static void start(struct scene *scene, int i)
{
    struct role role = {scene, scene->lives};

    if (i < scene->parties)
        scene->lives++;
    ck_assert_uint_le(scene->lives, scene->lives_max);
    scene->children[i] = child_start(i < scene->parties ? produce : consume, &role);
}

static struct scene *scene_new(int parties, size_t kills)
{
    uint32_t lives = (uint32_t)kills + PARTIES_MAX;
    struct scene *scene = shared_memory(sizeof *scene + lives * sizeof(struct account));

    scene->ring =
        ring_new(&(struct tine__ring_options){.capacity = 8192, .record_max = RECORD_MAX});
    scene->parties = parties;
    scene->lives_max = lives;
    for (int i = 0; i < 2 * parties; i++)
        start(scene, i);
    return scene;
}

/* Records go on being taken: so many more. */
static void await_flow(struct scene *scene, uint64_t count)
{
    uint64_t from = scene->total;

    while (scene->total < from + count)
        ck_assert_eventually(scene->total >= from + count);
}

/*
 * How many were lost for certain: whether the last one that was begun was also sent is not known.
 * Whoever counts what it took adds to the sum first: a consumer that dies in between leaves another
 * sum.
 */
static uint64_t check_account(const struct account *account)
{
    uint64_t sum = 0, taken = account->taken;
    uint64_t lost = taken < account->sent ? account->sent - taken : 0;

    for (uint64_t i = 0; i < taken; i++)
        sum += hash(i);
    if (account->sum == sum)
        return lost;
    ck_assert_uint_lt(taken, account->begun);
    return lost > 0 ? lost : 1;
}

static void scene_end(struct scene *scene)
{
    uint64_t lost = 0, counted = 0;

    for (int i = 0; i < 2 * scene->parties; i++)
        child_kill(&scene->children[i]);
    scene->consumer_kills += (uint64_t)scene->parties;
    while (consume_one(scene, 0))
        ;
    for (uint32_t i = 0; i < scene->lives; i++) {
        lost += check_account(&scene->accounts[i]);
        counted += scene->accounts[i].taken;
    }
    ck_assert_uint_le(lost, scene->consumer_kills);
    ck_assert_uint_ge(counted, scene->total);
    ring_free(&scene->ring);
    assert_heap_sound();
}

static void kill_one(struct scene *scene, int i)
{
    child_kill(&scene->children[i]);
    if (i >= scene->parties)
        scene->consumer_kills++;
}

TEST(one_to_one_goes_on_with_the_next, .kills = KILLS, .timeout_s = 60)
{
    struct samples samples = {.name = "ring.1x1", .bound_ns = (uint64_t)TINE_MS(100)};
    size_t kills = kills_wanted(KILLS);
    struct scene *scene = scene_new(1, kills);

    for (size_t i = 0; i < kills; i++) {
        int victim = (int)random_below(2);
        int64_t begun;

        pause_randomly(TINE_MS(1));
        kill_one(scene, victim);
        begun = now_ns();
        start(scene, victim);
        await_flow(scene, 1);
        samples_add(&samples, (uint64_t)(now_ns() - begun));
    }
    scene_end(scene);
    samples_end(&samples);
}

TEST(two_to_two_go_on_without_the_dead, .kills = KILLS, .timeout_s = 60)
{
    struct samples samples = {.name = "ring.2x2", .bound_ns = (uint64_t)TINE_MS(100)};
    size_t kills = kills_wanted(KILLS);
    struct scene *scene = scene_new(2, kills);

    for (size_t i = 0; i < kills; i++) {
        int victim = (int)random_below(4);
        int64_t begun;

        pause_randomly(TINE_MS(1));
        kill_one(scene, victim);
        begun = now_ns();
        await_flow(scene, 1);
        samples_add(&samples, (uint64_t)(now_ns() - begun));
        start(scene, victim);
    }
    scene_end(scene);
    samples_end(&samples);
}

/* Stopped is alive: nothing looks, and nothing may need to. */
TEST(two_to_two_go_on_without_the_stopped, .kills = KILLS, .timeout_s = 60)
{
    size_t kills = kills_wanted(KILLS);
    struct scene *scene = scene_new(2, kills);

    for (size_t i = 0; i < kills; i++) {
        int victim = (int)random_below(4);

        pause_randomly(TINE_MS(1));
        child_stop(&scene->children[victim]);
        await_flow(scene, 200);
        if (random_below(2) == 0) {
            child_continue(&scene->children[victim]);
            continue;
        }
        kill_one(scene, victim);
        start(scene, victim);
    }
    scene_end(scene);
}

SUITE("ipc/ring_death")
