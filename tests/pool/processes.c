/* SPDX-License-Identifier: MIT */
#include "tests/pool/processes.h"

#include <tine/heap.h>

#include "tests/support/suite.h"
#include "tests/support/wait.h"

int32_t start_method(int loop_index)
{
    static const int32_t methods[START_METHODS] = {TINE_FORK, TINE_SPAWN, TINE_FORKSERVER};

    return methods[loop_index];
}

tine_process *process_of(tine_function *function, int32_t start)
{
    tine_process *process;

    ck_assert_rc(
        tine_process_start(&process, function, &(tine_process_options){.start = start}, ""), 0);
    return process;
}

tine_process *process_with(tine_function *function, int32_t start, void *pointer)
{
    tine_process *process;

    ck_assert_rc(tine_process_start(&process, function, &(tine_process_options){.start = start},
                                    "p", pointer),
                 0);
    return process;
}

int process_end(tine_process *process)
{
    int exitcode;

    ck_assert_rc(tine_process_join(process, TINE_FOREVER), 0);
    ck_assert_rc(tine_process_exitcode(process, &exitcode), 0);
    tine_process_close(process);
    return exitcode;
}

struct gate *heap_gate(void)
{
    struct gate *gate = tine_calloc(1, sizeof *gate);

    ck_assert_ptr_nonnull(gate);
    return gate;
}

static tine_heap_counts usage(void)
{
    tine_heap_counts counts;

    ck_assert_rc(tine_heap_stats(&counts), 0);
    return counts;
}

uint64_t heap_blocks(void)
{
    return usage().used_blocks;
}
