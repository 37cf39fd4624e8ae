/* SPDX-License-Identifier: MIT */
/* The way of a single-stepped process, and breakpoints on it; see trace.h. */
#include "tests/support/trace.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/user.h>

#include "tests/support/suite.h"

#ifdef __x86_64__

/* The first debug register holds the address; bit 0 of the control register switches it on. */
int trace_break(pid_t pid, uint64_t address)
{
    long at = offsetof(struct user, u_debugreg[0]), control = offsetof(struct user, u_debugreg[7]);

    if (ptrace(PTRACE_POKEUSER, pid, control, 0) != 0)
        return -errno;
    if (address != 0 && (ptrace(PTRACE_POKEUSER, pid, at, address) != 0 ||
                         ptrace(PTRACE_POKEUSER, pid, control, 1) != 0))
        return -errno;
    return 0;
}

uint64_t trace_address(pid_t pid)
{
    return (uint64_t)ptrace(PTRACE_PEEKUSER, pid, offsetof(struct user, regs.rip), NULL);
}

#else

int trace_break(pid_t pid, uint64_t address)
{
    (void)pid;
    (void)address;
    return -ENOSYS;
}

uint64_t trace_address(pid_t pid)
{
    (void)pid;
    return 0;
}

#endif

void trace_add(struct trace *trace, pid_t pid)
{
    uint64_t address = trace_address(pid);

    if (address == 0)
        return;
    if (trace->count == trace->room) {
        trace->room = trace->room == 0 ? 4096 : 2 * trace->room;
        trace->visits = realloc(trace->visits, (size_t)trace->room * sizeof *trace->visits);
        ck_assert_ptr_nonnull(trace->visits);
    }
    trace->visits[trace->count] = (struct visit){.address = address, .step = trace->count};
    trace->count++;
}

static int by_address(const void *a, const void *b)
{
    const struct visit *x = a, *y = b;

    if (x->address != y->address)
        return x->address < y->address ? -1 : 1;
    return x->step < y->step ? -1 : 1;
}

static int by_step(const void *a, const void *b)
{
    const struct visit *x = a, *y = b;

    return x->step < y->step ? -1 : 1;
}

/* A repeated string instruction makes many steps at its one address, but is come to once. */
static bool is_only_one(const struct trace *trace, long i)
{
    const struct visit *visit = &trace->visits[i];

    return (i == 0 || visit[-1].address != visit->address) &&
           (i + 1 == trace->count || visit[1].address != visit->address);
}

/* Whether a breakpoint at the very beginning stops at once is left open. */
void trace_index(struct trace *trace)
{
    qsort(trace->visits, (size_t)trace->count, sizeof *trace->visits, by_address);
    for (long i = 0; i < trace->count; i++)
        trace->visits[i].once = trace->visits[i].step > 0 && is_only_one(trace, i);
    qsort(trace->visits, (size_t)trace->count, sizeof *trace->visits, by_step);
}

void trace_free(struct trace *trace)
{
    free(trace->visits);
    *trace = (struct trace){0};
}

long trace_landmark(const struct trace *trace, long step)
{
    long i = step < trace->count ? step : trace->count - 1;

    while (i > 0 && !trace->visits[i].once)
        i--;
    return i < 0 ? 0 : i;
}
