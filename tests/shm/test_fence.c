/* SPDX-License-Identifier: MIT */
/* Of two that announce themselves and look, one sees the other, though only one of them fences. */
#include "shm/fence.h"

#include <errno.h>
#include <sched.h>
#include <stdint.h>

#include "lib/sys.h"
#include "tests/support/children.h"
#include "tests/support/suite.h"
#include "tests/support/wait.h"

static bool fails;

int __real_tine__sys_membarrier(void);
int __wrap_tine__sys_membarrier(void);
int __wrap_tine__sys_membarrier(void)
{
    return fails ? -ENOSYS : __real_tine__sys_membarrier();
}

int __real_tine__sys_membarrier_register(void);
int __wrap_tine__sys_membarrier_register(void);
int __wrap_tine__sys_membarrier_register(void)
{
    return fails ? -ENOSYS : __real_tine__sys_membarrier_register();
}

#define ROUNDS 3000

struct duel {
    _Alignas(64) _Atomic uint32_t light;
    _Alignas(64) _Atomic uint32_t heavy;
    _Alignas(64) _Atomic uint32_t begun[2]; /* rounds that each has begun */
    _Alignas(64) uint8_t seen[2][ROUNDS];
};

/* Both begin a round at about the same time. */
static void meet(struct duel *duel, int me, uint32_t round)
{
    atomic_store(&duel->begun[me], round);
    for (uint32_t turns = 0; atomic_load(&duel->begun[1 - me]) < round; turns++)
        if (turns > 1000)
            sched_yield();
}

static void go_light(void *context)
{
    struct duel *duel = context;
    bool registered = tine__fence_register();

    for (uint32_t i = 1; i <= ROUNDS; i++) {
        meet(duel, 0, i);
        atomic_store_explicit(&duel->light, i, memory_order_release);
        tine__fence_light(registered);
        duel->seen[0][i - 1] = atomic_load_explicit(&duel->heavy, memory_order_seq_cst) >= i;
    }
}

TEST(one_of_two_sees_the_other)
{
    struct duel *duel = shared_memory(sizeof *duel);
    struct child child;

    if (!tine__fence_heavy())
        SKIP("no membarrier");
    child = child_start(go_light, duel);
    for (uint32_t i = 1; i <= ROUNDS; i++) {
        meet(duel, 1, i);
        atomic_store_explicit(&duel->heavy, i, memory_order_seq_cst);
        ck_assert(tine__fence_heavy());
        duel->seen[1][i - 1] = atomic_load_explicit(&duel->light, memory_order_acquire) >= i;
    }
    child_join(&child);
    for (uint32_t i = 0; i < ROUNDS; i++)
        ck_assert_msg(duel->seen[0][i] || duel->seen[1][i], "round %u", i);
}

static void register_anew(void *context)
{
    (void)context;
    fails = true;
    ck_assert(!tine__fence_register());
    ck_assert(!tine__fence_heavy());
    fails = false;
    ck_assert(tine__fence_register());
}

TEST(a_forked_child_registers_by_itself)
{
    struct child child;

    if (!tine__fence_register())
        SKIP("no membarrier");
    fails = true;
    ck_assert(tine__fence_register()); /* is known */
    child = child_start(register_anew, NULL);
    child_join(&child);
}

SUITE("shm/fence")
