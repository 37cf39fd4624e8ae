/* SPDX-License-Identifier: MIT */
#include "tests/support/wait.h"

#include <limits.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "lib/clock.h"
#include "lib/sys.h"

#define PATIENCE_S 30.0

static char *arena;
static size_t arena_left;

void shared_memory_in(void *memory, size_t size)
{
    arena = memory;
    arena_left = size;
}

static void *take_from_arena(size_t size)
{
    void *taken = arena;

    size = (size + 63) & ~(size_t)63;
    ck_assert_uint_le(size, arena_left);
    arena += size;
    arena_left -= size;
    return memset(taken, 0, size); /* an earlier test may have had it */
}

void *shared_memory(size_t size)
{
    if (arena != NULL)
        return take_from_arena(size);
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    ck_assert_ptr_ne(memory, MAP_FAILED);
    return memory;
}

struct gate *gate_new(void)
{
    return shared_memory(sizeof(struct gate));
}

void gate_raise(struct gate *gate)
{
    /* Release: pairs with the acquire in gate_await, so what came before the raise is seen. */
    atomic_fetch_add_explicit(&gate->raised, 1, memory_order_release);
    tine__sys_futex_wake(&gate->raised, INT_MAX);
}

void gate_await(struct gate *gate, uint32_t times)
{
    uint32_t raised;

    while ((raised = atomic_load_explicit(&gate->raised, memory_order_acquire)) < times)
        ck_assert_rc(tine__sys_futex_wait(&gate->raised, raised, -1), 0);
}

struct patience patience_begin(void)
{
    const char *given = getenv("TINE_TEST_PATIENCE");
    double ns = (given == NULL ? PATIENCE_S : strtod(given, NULL)) * 1e9 * suite_slowness();

    return (struct patience){.deadline = tine__deadline_after((int64_t)ns)};
}

bool patience_pause(struct patience *patience)
{
    struct timespec pause = {.tv_nsec = 1000000};

    nanosleep(&pause, NULL);
    return !tine__deadline_passed(patience->deadline);
}
