# Tests of shm/: one program a source file, as in tests/lib/module.mk
noinst_HEADERS += %D%/barrier_help.h %D%/condition_help.h %D%/dict_help.h %D%/heap_help.h \
	%D%/lock_help.h %D%/once_help.h %D%/segment_help.h %D%/shareable_help.h
if TESTS_WITH_CHECK
tests_shm = \
	%D%/test_array \
	%D%/test_barrier \
	%D%/test_barrier_death \
	%D%/test_barrier_step \
	%D%/test_condition \
	%D%/test_condition_death \
	%D%/test_condition_step \
	%D%/test_dict \
	%D%/test_dict_death \
	%D%/test_dict_faults \
	%D%/test_dict_shared \
	%D%/test_dict_step \
	%D%/test_event \
	%D%/test_fence \
	%D%/test_handover \
	%D%/test_heap \
	%D%/test_heap_check \
	%D%/test_heap_death \
	%D%/test_heap_faults \
	%D%/test_heap_layout \
	%D%/test_heap_limits \
	%D%/test_heap_step \
	%D%/test_held \
	%D%/test_keepalive \
	%D%/test_ledger \
	%D%/test_lock \
	%D%/test_lock_step \
	%D%/test_memfd \
	%D%/test_once \
	%D%/test_once_step \
	%D%/test_owner \
	%D%/test_primitives_foreign \
	%D%/test_rlock \
	%D%/test_robust \
	%D%/test_rwlock \
	%D%/test_rwlock_step \
	%D%/test_segment \
	%D%/test_segment_create \
	%D%/test_segment_death \
	%D%/test_segment_faults \
	%D%/test_segment_python \
	%D%/test_semaphore \
	%D%/test_semaphore_step \
	%D%/test_shareable_list \
	%D%/test_shareable_list_python \
	%D%/test_spin \
	%D%/test_value \
	%D%/test_waiters \
	%D%/test_watch
check_PROGRAMS += $(tests_shm) %D%/foreign_probe %D%/heap_probe
TESTS += $(tests_shm)
endif

%C%_test_array_LDADD = libtinetest.la
%C%_test_barrier_LDADD = libtinetest.la
%C%_test_barrier_death_LDADD = libtinetest.la
%C%_test_barrier_step_LDADD = libtinetest.la
%C%_test_condition_LDADD = libtinetest.la
%C%_test_condition_death_LDADD = libtinetest.la
%C%_test_condition_step_LDADD = libtinetest.la
%C%_test_dict_LDADD = libtinetest.la
%C%_test_dict_death_LDADD = libtinetest.la
%C%_test_dict_faults_LDADD = libtinetest.la
%C%_test_dict_faults_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=tine_alloc -Wl,--wrap=tine_calloc \
	-Wl,--wrap=tine_aligned_alloc -Wl,--wrap=realloc
%C%_test_dict_shared_LDADD = libtinetest.la
%C%_test_dict_step_LDADD = libtinetest.la
%C%_test_event_LDADD = libtinetest.la
%C%_test_fence_LDADD = libtinetest.la
%C%_test_fence_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=tine__sys_membarrier \
	-Wl,--wrap=tine__sys_membarrier_register
%C%_test_handover_LDADD = libtinetest.la
%C%_test_heap_LDADD = libtinetest.la
%C%_test_heap_check_LDADD = libtinetest.la
%C%_test_heap_death_LDADD = libtinetest.la
%C%_test_heap_faults_LDADD = libtinetest.la
%C%_test_heap_faults_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=tine__sys_memfd \
	-Wl,--wrap=tine__sys_resize -Wl,--wrap=tine__sys_map_at \
	-Wl,--wrap=tine__sys_commit -Wl,--wrap=tine__sys_punch
%C%_test_heap_limits_LDADD = libtinetest.la
%C%_test_heap_layout_LDADD = libtinetest.la
%C%_test_heap_step_LDADD = libtinetest.la
%C%_test_held_LDADD = libtinetest.la
%C%_test_keepalive_LDADD = libtinetest.la
%C%_test_ledger_LDADD = libtinetest.la
%C%_test_lock_LDADD = libtinetest.la
%C%_test_lock_step_LDADD = libtinetest.la
%C%_test_lock_step_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=tine__owner_word_lives
%C%_test_memfd_LDADD = libtinetest.la
%C%_test_once_LDADD = libtinetest.la
%C%_test_once_step_LDADD = libtinetest.la
%C%_test_owner_LDADD = libtinetest.la
%C%_test_primitives_foreign_LDADD = libtinetest.la
%C%_test_rlock_LDADD = libtinetest.la
%C%_test_robust_LDADD = libtinetest.la
%C%_test_rwlock_LDADD = libtinetest.la
%C%_test_rwlock_step_LDADD = libtinetest.la
%C%_test_segment_LDADD = libtinetest.la
%C%_test_segment_create_LDADD = libtinetest.la
%C%_test_segment_death_LDADD = libtinetest.la
%C%_test_segment_faults_LDADD = libtinetest.la
%C%_test_segment_faults_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=calloc \
	-Wl,--wrap=tine__memory_left -Wl,--wrap=tine__sys_create -Wl,--wrap=tine__sys_dup \
	-Wl,--wrap=tine__sys_extend -Wl,--wrap=tine__sys_link -Wl,--wrap=tine__sys_map_over \
	-Wl,--wrap=tine__sys_memfd -Wl,--wrap=tine__sys_open -Wl,--wrap=tine__sys_rename_new \
	-Wl,--wrap=tine__sys_reserve -Wl,--wrap=tine__sys_resize -Wl,--wrap=tine__sys_seal \
	-Wl,--wrap=tine__sys_tmpfile
%C%_test_segment_python_LDADD = libtinetest.la
%C%_test_semaphore_LDADD = libtinetest.la
%C%_test_semaphore_step_LDADD = libtinetest.la
%C%_test_shareable_list_LDADD = libtinetest.la
%C%_test_shareable_list_python_LDADD = libtinetest.la
%C%_test_spin_LDADD = libtinetest.la
%C%_test_value_LDADD = libtinetest.la
%C%_test_waiters_LDADD = libtinetest.la
%C%_test_watch_LDADD = libtinetest.la
%C%_foreign_probe_SOURCES = %D%/foreign_probe.c %D%/foreign.h
%C%_foreign_probe_LDADD = libtinecore.la
%C%_heap_probe_LDADD = libtinecore.la
