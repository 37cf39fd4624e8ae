/* SPDX-License-Identifier: MIT */
#include "tests/support/verdict.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { NONE, WRITING, WRITTEN };

struct verdict {
    _Atomic int state;
    _Atomic int run, skipped;
    char text[2048];
};

static struct verdict *verdict;

void verdict_open(void)
{
    verdict =
        mmap(NULL, sizeof *verdict, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (verdict == MAP_FAILED)
        abort();
}

void verdict_reset(void)
{
    atomic_store(&verdict->state, NONE);
}

void verdict_fail(const char *file, int line, const char *text)
{
    int none = NONE;

    if (verdict == NULL) { /* executed anew: its exit status is all that the test gets */
        fprintf(stderr, "in process %d: %s:%d: %s\n", (int)getpid(), file, line, text);
        return;
    }
    if (!atomic_compare_exchange_strong(&verdict->state, &none, WRITING))
        return;
    snprintf(verdict->text, sizeof verdict->text, "in process %d: %s:%d: %s", (int)getpid(), file,
             line, text);
    atomic_store(&verdict->state, WRITTEN);
}

const char *verdict_text(void)
{
    switch (atomic_load(&verdict->state)) {
    case NONE:
        return NULL;
    case WRITING:
        return "a process was killed while it reported a failure";
    default:
        return verdict->text;
    }
}

void verdict_count_run(void)
{
    atomic_fetch_add(&verdict->run, 1);
}

void verdict_count_skip(void)
{
    atomic_fetch_add(&verdict->skipped, 1);
}

bool verdict_all_skipped(void)
{
    return verdict->run > 0 && verdict->run == verdict->skipped;
}
