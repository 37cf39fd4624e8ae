/* SPDX-License-Identifier: MIT */
/* The tests that are not run with every kind of worker, and why. */
#include <string.h>

#include "tests/pool/pools.h"
#include "tests/support/suite.h"

#define EXECUTED (WITH_SPAWN | WITH_FORKSERVER)
#define PROGRAM  (WITH_THREADS | WITH_INLINE)

static const char no_child[] = "the nursery is the forkserver's child";
static const char stopped_server[] = "a forkserver that is stopped with all others stays so";
static const char crashes[] = "what a task does to its process it does to the program";
static const char no_kill[] = "what runs is not killed, but waited for in the end";
static const char no_process[] = "there is no process but the program";
static const char at_once[] = "the job would wait for what its caller does when it has returned";
static const char own_globals[] = "workers have globals of their own";

static const struct exemption {
    const char *title;
    const char *test;
    unsigned with;
    const char *reason;
} exemptions[] = {
    /* budget */
    {"pool/budget", "a_nested_pool_whose_worker_is_killed_does_not_count", WITH_THREADS, no_kill},
    /* callback */
    {"pool/callback", "a_callback_may_wait_and_terminate", WITH_THREADS, no_kill},
    {"pool/callback", "join_and_close_run_all_callbacks", WITH_THREADS, no_kill},
    /* caller */
    {"pool/caller", "a_callback_ends_the_pool", WITH_THREADS, no_kill},
    {"pool/caller", "a_callback_ends_the_pool", WITH_INLINE, at_once},
    {"pool/caller", "the_ends_of_workers_are_told_there", PROGRAM, crashes},
    {"pool/caller", "whatever_the_end_all_have_run_then", WITH_THREADS, no_kill},
    {"pool/caller", "whatever_the_end_all_have_run_then", WITH_INLINE, at_once},
    /* cancel */
    {"pool/cancel", "a_loop_is_stopped_as_a_whole", WITH_THREADS, no_kill},
    {"pool/cancel", "a_pool_that_is_closed_before_a_worker_has_passed_over_it", WITH_THREADS,
     no_kill},
    {"pool/cancel", "all_who_wait_are_told", WITH_THREADS, no_kill},
    {"pool/cancel", "stopping_running_work_costs_one_worker", WITH_THREADS, no_kill},
    {"pool/cancel", "workers_that_are_killed_in_a_row_are_replaced_at_once", WITH_THREADS, no_kill},
    /* completed */
    {"pool/completed", "the_end_of_a_pool_ends_the_wait", WITH_THREADS, no_kill},
    {"pool/completed", "the_first_that_fails_ends_the_wait", WITH_THREADS, crashes},
    /* compute */
    {"pool/compute", "functions_of_plugins_are_found_inside", EXECUTED,
     "what they do not have they cannot load inside"},
    /* descriptors */
    {"pool/descriptor", "a_connection_ends_with_the_task_that_had_it", PROGRAM, crashes},
    {"pool/descriptor", "nothing_stays_open_whatever_the_task_does", WITH_FORKSERVER | PROGRAM,
     no_child},
    {"pool/descriptor", "a_new_worker_does_not_keep_it_open", WITH_FORKSERVER | PROGRAM, no_child},
    {"pool/descriptor_limits", "whoever_waits_for_a_stopped_nursery_hears_of_its_death",
     WITH_FORKSERVER, no_child},
    {"pool/descriptor_limits", "a_nursery_that_takes_nothing_more_refuses_the_call_in_a_second",
     WITH_FORKSERVER, no_child},
    {"pool/descriptor_limits", "a_nursery_that_may_not_poll_them_all_sees_deaths_of_workers",
     WITH_FORKSERVER, no_child},
    /* faults */
    {"pool/faults", "whatever_fails_in_nursery_and_workers", EXECUTED, own_globals},
    {"pool/faults", "a_worker_that_could_not_leave_as_it_should_does_not_begin", EXECUTED,
     own_globals},
    /* future */
    {"pool/future", "all_memory_comes_back_whatever_the_order_of_closing", WITH_THREADS, no_kill},
    {"pool/future", "an_abandoned_map_in_the_heap_is_stopped_first", WITH_THREADS, no_kill},
    {"pool/future", "the_end_of_a_pool_ends_the_wait_for_its_futures", WITH_THREADS, no_kill},
    {"pool/future", "unfinished_futures_are_cancelled_by_close", WITH_THREADS, no_kill},
    /* guest */
    {"pool/guest", "workers_see_globals_as_they_were_and_the_heap_as_it_is", EXECUTED, own_globals},
    {"pool/guest", "a_program_that_reaps_everything_sees_no_worker", WITH_FORKSERVER, no_child},
    {"pool/guest", "a_nursery_reaped_by_somebody_else_breaks_nothing", WITH_FORKSERVER, no_child},
    /* imap */
    {"pool/imap", "a_late_item", WITH_INLINE, at_once},
    {"pool/imap", "an_item_fails_at_its_place", PROGRAM, crashes},
    {"pool/imap", "closed_early_it_cancels_what_waits", WITH_INLINE, at_once},
    {"pool/imap", "the_pool_is_ended_in_the_midst", PROGRAM, no_kill},
    /* limits */
    {"pool/limits", "too_few_processes_give_eagain_or_fewer_workers", WITH_FORKSERVER,
     "the forkserver's user is another"},
    /* loop */
    {"pool/loop", "a_task_submitted_behind_a_loop_gets_a_worker", WITH_INLINE, at_once},
    {"pool/loop", "every_worker_comes_to_a_job_that_needs_all", WITH_INLINE, at_once},
    {"pool/loop", "workers_know_their_index_and_count", WITH_INLINE, "there is one"},
    {"pool/loop_errors", "bad_maps_are_refused", WITH_INLINE, "nothing is copied"},
    /* nested; levels below the first are by the forkserver with either */
    {"pool/nested", "a_killed_program_takes_all_levels_along", EXECUTED, stopped_server},
    {"pool/nested", "a_killed_worker_takes_its_pool_along_and_leaves_no_zombie", EXECUTED,
     no_child},
    {"pool/nested", "who_ends_the_first_level_ends_all", EXECUTED, no_child},
    /* pool */
    {"pool/pool", "a_job_behind_a_long_one_times_out_without_harm", WITH_THREADS, no_kill},
    {"pool/pool", "a_job_that_takes_too_long_is_killed_and_the_pool_goes_on", WITH_THREADS,
     no_kill},
    {"pool/pool", "terminate_cancels_what_runs_and_what_waits", WITH_THREADS, no_kill},
    {"pool/pool", "terminate_frees_threads_that_wait", WITH_THREADS, no_kill},
    {"pool/pool", "terminate_in_a_callback", WITH_THREADS, no_kill},
    /* progress */
    {"pool/progress", "progress_is_reported_while_the_job_runs", WITH_INLINE, at_once},
    /* sticky */
    {"pool/sticky", "a_call_that_waits_to_run_again_can_be_cancelled", WITH_THREADS, crashes},
    {"pool/sticky", "after_a_death_another_worker_has_the_key", WITH_THREADS, crashes},
    {"pool/sticky", "too_many_deaths_fail_the_call_alone", WITH_THREADS, crashes},
    {"pool/sticky", "what_is_late_is_stopped_and_the_next_one_runs", WITH_THREADS, no_kill},
    {"pool/sticky", "what_runs_again_comes_before_those_behind_it", WITH_THREADS, crashes},
    {"pool/sticky", "who_leaves_hands_its_keys_on", WITH_THREADS, no_process},
    /* task */
    {"pool/task", "a_failure_names_task_worker_and_reason", PROGRAM, no_process},
    {"pool/task", "a_function_that_the_worker_does_not_have_is_no_argument", PROGRAM, no_process},
    {"pool/task", "a_plugin_loaded_after_the_pool_is_loaded_by_workers_that_are_no_forks",
     WITH_FORK, "a fork of the program has what the program had"},
    {"pool/task", "a_plugin_loaded_after_the_pool_is_reported_and_crashes_nobody",
     EXECUTED | PROGRAM, "such workers load what they do not have"},
    /* untrusted_ends */
    {"pool/untrusted_ends", "what_is_printed_before_comes_out_once", EXECUTED,
     "hooks that are registered after tine_init() are in forks only"},
};

void pools_exempt(const char *title, unsigned with)
{
    for (size_t i = 0; i < sizeof exemptions / sizeof exemptions[0]; i++)
        if (strcmp(exemptions[i].title, title) == 0 && (exemptions[i].with & with) != 0)
            suite_exempt(exemptions[i].test, exemptions[i].reason);
}
