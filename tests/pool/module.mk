# Tests of pool/: one program a source file, as in tests/lib/module.mk
if TESTS_WITH_CHECK
tests_pool = \
	%D%/test_account \
	%D%/test_at_fork \
	%D%/test_backoff \
	%D%/test_budget \
	%D%/test_callback \
	%D%/test_caller \
	%D%/test_cancel \
	%D%/test_claim \
	%D%/test_completed \
	%D%/test_compute \
	%D%/test_credentials \
	%D%/test_credentials_faults \
	%D%/test_descriptor \
	%D%/test_descriptor_limits \
	%D%/test_faults \
	%D%/test_forbidden \
	%D%/test_future \
	%D%/test_guest \
	%D%/test_imap \
	%D%/test_initialize \
	%D%/test_instants \
	%D%/test_job \
	%D%/test_kinds \
	%D%/test_lacking \
	%D%/test_limit \
	%D%/test_limits \
	%D%/test_loop \
	%D%/test_loop_errors \
	%D%/test_map \
	%D%/test_nested \
	%D%/test_outcome \
	%D%/test_pool \
	%D%/test_pool_start \
	%D%/test_priority \
	%D%/test_process \
	%D%/test_process_args \
	%D%/test_process_faults \
	%D%/test_process_fork \
	%D%/test_process_forkserver \
	%D%/test_process_spawn \
	%D%/test_progress \
	%D%/test_recycle \
	%D%/test_redo \
	%D%/test_reduce \
	%D%/test_resize \
	%D%/test_restart \
	%D%/test_sandbox \
	%D%/test_starmap \
	%D%/test_sticky \
	%D%/test_sticky_faults \
	%D%/test_stream \
	%D%/test_surroundings \
	%D%/test_task \
	%D%/test_token \
	%D%/test_tuples \
	%D%/test_untrusted \
	%D%/test_untrusted_ends
check_PROGRAMS += $(tests_pool)
TESTS += $(tests_pool) %D%/pools_forkserver.sh %D%/pools_inline.sh %D%/pools_spawn.sh \
	%D%/pools_threads.sh
check_LTLIBRARIES += %D%/plugin.la
endif

EXTRA_DIST += %D%/by_kind.sh %D%/pools_forkserver.sh %D%/pools_inline.sh %D%/pools_spawn.sh \
	%D%/pools_threads.sh

# A module to be loaded: the rpath, which it will never see, makes it a shared object.
%C%_plugin_la_SOURCES = %D%/plugin.c
%C%_plugin_la_LDFLAGS = $(AM_LDFLAGS) -module -avoid-version -shared -rpath /nowhere

tests_pool_shared = %D%/exempt.c %D%/pools.c %D%/pools.h
tests_processes = %D%/processes.c %D%/processes.h
%C%_test_account_SOURCES = %D%/test_account.c $(tests_pool_shared)
%C%_test_account_LDADD = libtinetest.la
%C%_test_at_fork_SOURCES = %D%/test_at_fork.c $(tests_processes)
%C%_test_at_fork_LDADD = libtinetest.la
%C%_test_backoff_SOURCES = %D%/test_backoff.c $(tests_pool_shared)
%C%_test_backoff_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=tine__redo_put
%C%_test_backoff_LDADD = libtinetest.la
%C%_test_budget_SOURCES = %D%/test_budget.c $(tests_pool_shared)
%C%_test_budget_LDADD = libtinetest.la
%C%_test_callback_SOURCES = %D%/test_callback.c $(tests_pool_shared)
%C%_test_callback_LDADD = libtinetest.la
%C%_test_caller_SOURCES = %D%/test_caller.c $(tests_pool_shared)
%C%_test_caller_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=pthread_create
%C%_test_caller_LDADD = libtinetest.la
%C%_test_cancel_SOURCES = %D%/test_cancel.c $(tests_pool_shared)
%C%_test_cancel_LDADD = libtinetest.la
%C%_test_claim_LDADD = libtinetest.la
%C%_test_completed_SOURCES = %D%/test_completed.c $(tests_pool_shared)
%C%_test_completed_LDADD = libtinetest.la
%C%_test_compute_SOURCES = %D%/test_compute.c %D%/boxed.c %D%/boxed.h $(tests_pool_shared)
%C%_test_compute_LDADD = libtinetest.la
%C%_test_compute_DEPENDENCIES = libtinetest.la %D%/plugin.la
%C%_test_credentials_SOURCES = %D%/test_credentials.c $(tests_processes)
%C%_test_credentials_LDADD = libtinetest.la
%C%_test_credentials_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=tine__credentials_same
%C%_test_credentials_faults_SOURCES = %D%/test_credentials_faults.c $(tests_processes)
%C%_test_credentials_faults_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=tine__sys_capget \
	-Wl,--wrap=tine__sys_capset,--wrap=getgroups,--wrap=malloc
%C%_test_credentials_faults_LDADD = libtinetest.la
%C%_test_descriptor_SOURCES = %D%/test_descriptor.c %D%/descriptors.h $(tests_pool_shared)
%C%_test_descriptor_LDADD = libtinetest.la
%C%_test_descriptor_limits_SOURCES = %D%/test_descriptor_limits.c %D%/descriptors.h \
	$(tests_pool_shared)
%C%_test_descriptor_limits_LDADD = libtinetest.la
%C%_test_faults_SOURCES = %D%/test_faults.c $(tests_pool_shared)
# Every call of these fails once, wherever the library makes it.
%C%_test_faults_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=calloc,--wrap=realloc \
	-Wl,--wrap=tine_alloc,--wrap=tine_calloc,--wrap=tine_aligned_alloc,--wrap=fork,--wrap=on_exit \
	-Wl,--wrap=tine__sys_pidfd_open,--wrap=tine__sys_socketpair,--wrap=tine__sys_send_fds
%C%_test_faults_LDADD = libtinetest.la
%C%_test_forbidden_SOURCES = %D%/test_forbidden.c $(tests_pool_shared)
%C%_test_forbidden_LDADD = libtinetest.la
%C%_test_future_SOURCES = %D%/test_future.c $(tests_pool_shared)
%C%_test_future_LDADD = libtinetest.la
%C%_test_guest_SOURCES = %D%/test_guest.c $(tests_pool_shared)
%C%_test_guest_LDADD = libtinetest.la
%C%_test_imap_SOURCES = %D%/test_imap.c $(tests_pool_shared)
%C%_test_imap_LDADD = libtinetest.la
%C%_test_initialize_SOURCES = %D%/test_initialize.c $(tests_pool_shared)
%C%_test_initialize_LDADD = libtinetest.la
%C%_test_instants_SOURCES = %D%/test_instants.c $(tests_pool_shared)
%C%_test_instants_LDADD = libtinetest.la
%C%_test_job_LDADD = libtinetest.la
%C%_test_kinds_SOURCES = %D%/test_kinds.c $(tests_pool_shared)
%C%_test_kinds_LDADD = libtinetest.la
%C%_test_lacking_LDADD = libtinetest.la
%C%_test_limit_SOURCES = %D%/test_limit.c $(tests_pool_shared)
%C%_test_limit_LDADD = libtinetest.la
%C%_test_limits_SOURCES = %D%/test_limits.c $(tests_pool_shared)
%C%_test_limits_LDADD = libtinetest.la
%C%_test_loop_SOURCES = %D%/test_loop.c $(tests_pool_shared)
%C%_test_loop_LDADD = libtinetest.la
%C%_test_loop_errors_SOURCES = %D%/test_loop_errors.c $(tests_pool_shared)
%C%_test_loop_errors_LDADD = libtinetest.la
%C%_test_map_SOURCES = %D%/test_map.c $(tests_pool_shared)
%C%_test_map_LDADD = libtinetest.la
%C%_test_nested_SOURCES = %D%/test_nested.c $(tests_pool_shared)
%C%_test_nested_LDADD = libtinetest.la
%C%_test_outcome_SOURCES = %D%/test_outcome.c $(tests_pool_shared)
%C%_test_outcome_LDADD = libtinetest.la
%C%_test_pool_SOURCES = %D%/test_pool.c $(tests_pool_shared)
%C%_test_pool_LDADD = libtinetest.la
%C%_test_pool_start_SOURCES = %D%/test_pool_start.c $(tests_processes)
%C%_test_pool_start_LDADD = libtinetest.la
%C%_test_priority_SOURCES = %D%/test_priority.c $(tests_pool_shared)
%C%_test_priority_LDADD = libtinetest.la
%C%_test_process_SOURCES = %D%/test_process.c $(tests_processes)
%C%_test_process_LDADD = libtinetest.la
%C%_test_process_args_SOURCES = %D%/test_process_args.c $(tests_processes)
%C%_test_process_args_LDADD = libtinetest.la
%C%_test_process_faults_SOURCES = %D%/test_process_faults.c $(tests_processes)
%C%_test_process_faults_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=calloc,--wrap=realloc \
	-Wl,--wrap=tine_calloc,--wrap=fork,--wrap=tine__sys_pidfd_open,--wrap=tine__sys_dup \
	-Wl,--wrap=pthread_create,--wrap=on_exit,--wrap=dup2,--wrap=epoll_ctl,--wrap=kill \
	-Wl,--wrap=tine__sys_map_shared
%C%_test_process_faults_LDADD = libtinetest.la
%C%_test_process_fork_SOURCES = %D%/test_process_fork.c $(tests_processes)
%C%_test_process_fork_LDADD = libtinetest.la
%C%_test_process_forkserver_SOURCES = %D%/test_process_forkserver.c $(tests_processes)
%C%_test_process_forkserver_LDADD = libtinetest.la
%C%_test_process_spawn_SOURCES = %D%/test_process_spawn.c $(tests_processes)
%C%_test_process_spawn_LDADD = libtinetest.la
%C%_test_process_spawn_DEPENDENCIES = libtinetest.la %D%/plugin.la
%C%_test_progress_SOURCES = %D%/test_progress.c $(tests_pool_shared)
%C%_test_progress_LDADD = libtinetest.la
%C%_test_recycle_SOURCES = %D%/test_recycle.c $(tests_pool_shared)
%C%_test_recycle_LDADD = libtinetest.la
%C%_test_redo_LDADD = libtinetest.la
%C%_test_reduce_SOURCES = %D%/test_reduce.c $(tests_pool_shared)
%C%_test_reduce_LDADD = libtinetest.la
%C%_test_resize_SOURCES = %D%/test_resize.c $(tests_pool_shared)
%C%_test_resize_LDADD = libtinetest.la
%C%_test_restart_SOURCES = %D%/test_restart.c $(tests_pool_shared)
%C%_test_restart_LDADD = libtinetest.la
%C%_test_sandbox_SOURCES = %D%/test_sandbox.c %D%/boxed.c %D%/boxed.h $(tests_pool_shared)
# A kernel that lacks what a sandbox needs.
%C%_test_sandbox_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=tine__landlock_version,--wrap=tine__seccomp_has
%C%_test_sandbox_LDADD = libtinetest.la
%C%_test_starmap_SOURCES = %D%/test_starmap.c $(tests_pool_shared)
%C%_test_starmap_LDADD = libtinetest.la
%C%_test_sticky_SOURCES = %D%/test_sticky.c $(tests_pool_shared)
%C%_test_sticky_LDADD = libtinetest.la
%C%_test_sticky_faults_SOURCES = %D%/test_sticky_faults.c $(tests_pool_shared)
%C%_test_sticky_faults_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=calloc,--wrap=tine_calloc \
	-Wl,--wrap=tine_aligned_alloc,--wrap=fork
%C%_test_sticky_faults_LDADD = libtinetest.la
%C%_test_stream_SOURCES = %D%/test_stream.c $(tests_pool_shared)
%C%_test_stream_LDADD = libtinetest.la
%C%_test_surroundings_SOURCES = %D%/test_surroundings.c $(tests_processes)
%C%_test_surroundings_LDADD = libtinetest.la
%C%_test_task_SOURCES = %D%/test_task.c $(tests_pool_shared)
%C%_test_task_LDADD = libtinetest.la
%C%_test_token_SOURCES = %D%/test_token.c $(tests_pool_shared)
%C%_test_token_LDADD = libtinetest.la
%C%_test_tuples_LDADD = libtinetest.la
%C%_test_task_DEPENDENCIES = libtinetest.la %D%/plugin.la
tests_untrusted = %D%/untrusted.c %D%/untrusted.h
%C%_test_untrusted_SOURCES = %D%/test_untrusted.c $(tests_untrusted) $(tests_pool_shared)
%C%_test_untrusted_LDADD = libtinetest.la
%C%_test_untrusted_ends_SOURCES = %D%/test_untrusted_ends.c $(tests_untrusted) $(tests_pool_shared)
%C%_test_untrusted_ends_LDADD = libtinetest.la
