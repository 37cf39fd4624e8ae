# Death tests: they link libtine.la first, so that the exports are proven too.
if TESTS_WITH_CHECK
tests_kill = \
	%D%/kill_barrier \
	%D%/kill_cancel \
	%D%/kill_condition \
	%D%/kill_descriptor \
	%D%/kill_event \
	%D%/kill_idle \
	%D%/kill_imap \
	%D%/kill_limit \
	%D%/kill_listener \
	%D%/kill_lock \
	%D%/kill_nested \
	%D%/kill_nursery \
	%D%/kill_once \
	%D%/kill_opener \
	%D%/kill_pipe \
	%D%/kill_pipe_ring \
	%D%/kill_priority \
	%D%/kill_process \
	%D%/kill_program \
	%D%/kill_queue \
	%D%/kill_recycle \
	%D%/kill_resize \
	%D%/kill_rpc \
	%D%/kill_rwlock \
	%D%/kill_schedule \
	%D%/kill_semaphore \
	%D%/kill_start \
	%D%/kill_step \
	%D%/kill_step_leave \
	%D%/kill_step_sticky \
	%D%/kill_sticky \
	%D%/kill_stopped \
	%D%/kill_storm \
	%D%/kill_task \
	%D%/kill_terminate \
	%D%/kill_untrusted \
	%D%/kill_wait \
	%D%/kill_worker
check_PROGRAMS += $(tests_kill)
tests_kill_by_method = %D%/kills_forkserver.sh %D%/kills_spawn.sh
TESTS += $(tests_kill) $(tests_kill_by_method)
endif

EXTRA_DIST += %D%/by_method.sh %D%/kills_forkserver.sh %D%/kills_spawn.sh

kill_methods = %D%/methods.c %D%/methods.h
kill_load = %D%/load.c %D%/load.h $(kill_methods)
kill_trace = %D%/trace.c %D%/trace.h
kill_libs = libtine.la libtinetest.la

%C%_kill_barrier_LDADD = $(kill_libs)
%C%_kill_cancel_SOURCES = %D%/kill_cancel.c $(kill_load) $(kill_trace)
%C%_kill_cancel_LDADD = $(kill_libs)
%C%_kill_condition_LDADD = $(kill_libs)
%C%_kill_descriptor_SOURCES = %D%/kill_descriptor.c $(kill_load)
%C%_kill_descriptor_LDADD = $(kill_libs)
%C%_kill_event_LDADD = $(kill_libs)
%C%_kill_idle_SOURCES = %D%/kill_idle.c $(kill_load)
%C%_kill_idle_LDADD = $(kill_libs)
%C%_kill_imap_SOURCES = %D%/kill_imap.c $(kill_load)
%C%_kill_imap_LDADD = $(kill_libs)
%C%_kill_limit_SOURCES = %D%/kill_limit.c $(kill_load) $(kill_trace)
%C%_kill_limit_LDADD = $(kill_libs)
%C%_kill_listener_LDADD = $(kill_libs)
%C%_kill_lock_LDADD = $(kill_libs)
%C%_kill_nested_SOURCES = %D%/kill_nested.c $(kill_methods)
%C%_kill_nested_LDADD = $(kill_libs)
%C%_kill_nursery_SOURCES = %D%/kill_nursery.c $(kill_load)
%C%_kill_nursery_LDADD = $(kill_libs)
%C%_kill_once_LDADD = $(kill_libs)
%C%_kill_opener_LDADD = $(kill_libs)
%C%_kill_pipe_LDADD = $(kill_libs)
%C%_kill_pipe_ring_SOURCES = %D%/kill_pipe.c
%C%_kill_pipe_ring_CPPFLAGS = $(AM_CPPFLAGS) -DPIPE_TRANSPORT=TINE_RING
%C%_kill_pipe_ring_LDADD = $(kill_libs)
%C%_kill_priority_SOURCES = %D%/kill_priority.c $(kill_load)
%C%_kill_priority_LDADD = $(kill_libs)
%C%_kill_process_LDADD = $(kill_libs)
%C%_kill_program_SOURCES = %D%/kill_program.c $(kill_methods)
%C%_kill_program_LDADD = $(kill_libs)
%C%_kill_queue_LDADD = $(kill_libs)
%C%_kill_recycle_SOURCES = %D%/kill_recycle.c $(kill_load)
%C%_kill_recycle_LDADD = $(kill_libs)
%C%_kill_resize_SOURCES = %D%/kill_resize.c $(kill_load)
%C%_kill_resize_LDADD = $(kill_libs)
%C%_kill_rpc_LDADD = $(kill_libs)
%C%_kill_rwlock_LDADD = $(kill_libs)
%C%_kill_schedule_SOURCES = %D%/kill_schedule.c $(kill_load)
%C%_kill_schedule_LDADD = $(kill_libs)
%C%_kill_semaphore_LDADD = $(kill_libs)
%C%_kill_start_SOURCES = %D%/kill_start.c $(kill_trace)
%C%_kill_start_LDADD = $(kill_libs)
%C%_kill_step_SOURCES = %D%/kill_step.c $(kill_load) $(kill_trace)
%C%_kill_step_LDADD = $(kill_libs)
%C%_kill_step_leave_SOURCES = %D%/kill_step_leave.c $(kill_load) $(kill_trace)
%C%_kill_step_leave_LDADD = $(kill_libs)
%C%_kill_step_sticky_SOURCES = %D%/kill_step_sticky.c $(kill_load) $(kill_trace)
%C%_kill_step_sticky_LDADD = $(kill_libs)
%C%_kill_sticky_SOURCES = %D%/kill_sticky.c $(kill_load)
%C%_kill_sticky_LDADD = $(kill_libs)
%C%_kill_stopped_SOURCES = %D%/kill_stopped.c $(kill_load)
%C%_kill_stopped_LDADD = $(kill_libs)
%C%_kill_storm_SOURCES = %D%/kill_storm.c $(kill_load)
%C%_kill_storm_LDADD = $(kill_libs)
%C%_kill_task_SOURCES = %D%/kill_task.c $(kill_load)
%C%_kill_task_LDADD = $(kill_libs)
%C%_kill_terminate_SOURCES = %D%/kill_terminate.c $(kill_load)
%C%_kill_terminate_LDADD = $(kill_libs)
%C%_kill_untrusted_SOURCES = %D%/kill_untrusted.c $(kill_load)
%C%_kill_untrusted_LDADD = $(kill_libs)
%C%_kill_wait_SOURCES = %D%/kill_wait.c $(kill_methods)
%C%_kill_wait_LDADD = $(kill_libs)
%C%_kill_worker_SOURCES = %D%/kill_worker.c $(kill_load)
%C%_kill_worker_LDADD = $(kill_libs)
