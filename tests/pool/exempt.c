/* SPDX-License-Identifier: MIT */
/* The tests that are not run with every kind of worker, and why. */
#include <string.h>

#include "tests/pool/pools.h"
#include "tests/support/suite.h"

#define EXECUTED (WITH_SPAWN | WITH_FORKSERVER)

static const char no_child[] = "the nursery is the forkserver's child";
static const char as_server[] = "limits, mask and rights are those that the forkserver has";
static const char stopped_server[] = "a forkserver that is stopped with all others stays so";
static const char own_globals[] = "workers have globals of their own";

static const struct exemption {
    const char *title;
    const char *test;
    unsigned with;
    const char *reason;
} exemptions[] = {
    /* descriptors */
    {"pool/descriptor", "nothing_stays_open_whatever_the_task_does", WITH_FORKSERVER, no_child},
    {"pool/descriptor", "a_new_worker_does_not_keep_it_open", WITH_FORKSERVER, no_child},
    {"pool/descriptor_limits", "whoever_waits_for_a_stopped_nursery_hears_of_its_death",
     WITH_FORKSERVER, no_child},
    {"pool/descriptor_limits", "a_nursery_that_takes_nothing_more_refuses_the_call_in_a_second",
     WITH_FORKSERVER, no_child},
    {"pool/descriptor_limits", "a_nursery_without_room_for_it_says_so_to_the_task", WITH_FORKSERVER,
     as_server},
    {"pool/descriptor_limits", "workers_have_the_programs_limit_of_descriptors", WITH_FORKSERVER,
     as_server},
    /* faults */
    {"pool/faults", "whatever_fails_in_nursery_and_workers", EXECUTED, own_globals},
    {"pool/faults", "a_worker_that_could_not_leave_as_it_should_does_not_begin", EXECUTED,
     own_globals},
    /* guest */
    {"pool/guest", "workers_see_globals_as_they_were_and_the_heap_as_it_is", EXECUTED, own_globals},
    {"pool/guest", "a_program_that_reaps_everything_sees_no_worker", WITH_FORKSERVER, no_child},
    {"pool/guest", "a_nursery_reaped_by_somebody_else_breaks_nothing", WITH_FORKSERVER, no_child},
    {"pool/guest", "workers_have_the_mask_of_the_program_but_not_its_handlers", WITH_FORKSERVER,
     as_server},
    /* limits */
    {"pool/limits", "too_few_processes_give_eagain_or_fewer_workers", WITH_FORKSERVER, as_server},
    /* nested; levels below the first are by the forkserver with either */
    {"pool/nested", "a_killed_program_takes_all_levels_along", EXECUTED, stopped_server},
    {"pool/nested", "a_killed_worker_takes_its_pool_along_and_leaves_no_zombie", EXECUTED,
     no_child},
    {"pool/nested", "who_ends_the_first_level_ends_all", EXECUTED, no_child},
    /* task */
    {"pool/task", "a_plugin_loaded_after_the_pool_is_loaded_by_workers_that_are_no_forks",
     WITH_FORK, "a fork of the program has what the program had"},
    {"pool/task", "a_plugin_loaded_after_the_pool_is_reported_and_crashes_nobody", EXECUTED,
     "such workers load what they do not have"},
};

void pools_exempt(const char *title, unsigned with)
{
    for (size_t i = 0; i < sizeof exemptions / sizeof exemptions[0]; i++)
        if (strcmp(exemptions[i].title, title) == 0 && (exemptions[i].with & with) != 0)
            suite_exempt(exemptions[i].test, exemptions[i].reason);
}
