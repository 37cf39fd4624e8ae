# Tests of ipc/: one program a source file, as in tests/lib/module.mk
noinst_HEADERS += %D%/listener_help.h %D%/meet.h %D%/pipe_help.h %D%/queue_help.h \
	%D%/queue_kinds.h %D%/ring_help.h %D%/rpc_help.h %D%/rpc_served.h %D%/sent_files.h \
	%D%/talk.h %D%/wait_help.h
if TESTS_WITH_CHECK
tests_ipc = \
	%D%/test_address \
	%D%/test_auth \
	%D%/test_blocks \
	%D%/test_blocks_step \
	%D%/test_encrypt \
	%D%/test_frame \
	%D%/test_handles \
	%D%/test_lane \
	%D%/test_listener \
	%D%/test_listener_faults \
	%D%/test_listener_python \
	%D%/test_listener_strangers \
	%D%/test_listener_talk \
	%D%/test_loan \
	%D%/test_pipe \
	%D%/test_pipe_crowd \
	%D%/test_pipe_crowd_ring \
	%D%/test_pipe_faults \
	%D%/test_pipe_references \
	%D%/test_pipe_references_ring \
	%D%/test_pipe_ring \
	%D%/test_pipe_wait \
	%D%/test_pipe_wait_ring \
	%D%/test_queue \
	%D%/test_queue_faults \
	%D%/test_queue_join \
	%D%/test_queue_lease \
	%D%/test_queue_model \
	%D%/test_queue_races \
	%D%/test_queue_step \
	%D%/test_queue_stopped \
	%D%/test_ring \
	%D%/test_ring_death \
	%D%/test_ring_ends \
	%D%/test_ring_step \
	%D%/test_rpc \
	%D%/test_rpc_faults \
	%D%/test_rpc_hostile \
	%D%/test_rpc_python \
	%D%/test_rpc_run \
	%D%/test_rpc_wait \
	%D%/test_stream \
	%D%/test_stream_descriptors \
	%D%/test_transport_ring_beside \
	%D%/test_transport_ring_faults \
	%D%/test_transport_ring_step \
	%D%/test_wait \
	%D%/test_wait_death \
	%D%/test_wait_faults \
	%D%/test_wait_messages \
	%D%/test_wait_python
check_PROGRAMS += $(tests_ipc)
TESTS += $(tests_ipc)
endif

%C%_test_address_LDADD = libtinetest.la
%C%_test_auth_LDADD = libtinetest.la
%C%_test_auth_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=tine__random_bytes
%C%_test_blocks_LDADD = libtinetest.la
%C%_test_blocks_step_LDADD = libtinetest.la
%C%_test_blocks_step_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=tine__owner_word_lives
%C%_test_encrypt_LDADD = libtinetest.la
%C%_test_frame_LDADD = libtinetest.la
%C%_test_handles_LDADD = libtinetest.la
%C%_test_lane_LDADD = libtinetest.la
%C%_test_listener_LDADD = libtinetest.la
%C%_test_listener_faults_LDADD = libtinetest.la
%C%_test_listener_faults_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=malloc -Wl,--wrap=calloc \
	-Wl,--wrap=realloc -Wl,--wrap=strdup -Wl,--wrap=mmap -Wl,--wrap=tine__sys_socket \
	-Wl,--wrap=tine__sys_accept -Wl,--wrap=tine__sys_epoll -Wl,--wrap=tine__sys_epoll_add \
	-Wl,--wrap=tine__sys_open_directory -Wl,--wrap=tine__sys_poll_in \
	-Wl,--wrap=tine__sys_poll_out -Wl,--wrap=tine__sys_poll -Wl,--wrap=tine__sys_timer
%C%_test_listener_python_LDADD = libtinetest.la
%C%_test_listener_strangers_LDADD = libtinetest.la
%C%_test_listener_talk_LDADD = libtinetest.la
%C%_test_loan_LDADD = libtinetest.la
%C%_test_pipe_LDADD = libtinetest.la
%C%_test_pipe_crowd_LDADD = libtinetest.la
%C%_test_pipe_crowd_ring_SOURCES = %D%/test_pipe_crowd.c
%C%_test_pipe_crowd_ring_CPPFLAGS = $(AM_CPPFLAGS) -DPIPE_TRANSPORT=TINE_RING
%C%_test_pipe_crowd_ring_LDADD = libtinetest.la
%C%_test_pipe_references_LDADD = libtinetest.la
%C%_test_pipe_references_ring_SOURCES = %D%/test_pipe_references.c
%C%_test_pipe_references_ring_CPPFLAGS = $(AM_CPPFLAGS) -DPIPE_TRANSPORT=TINE_RING
%C%_test_pipe_references_ring_LDADD = libtinetest.la
%C%_test_pipe_ring_SOURCES = %D%/test_pipe.c
%C%_test_pipe_ring_CPPFLAGS = $(AM_CPPFLAGS) -DPIPE_TRANSPORT=TINE_RING
%C%_test_pipe_ring_LDADD = libtinetest.la
%C%_test_pipe_faults_LDADD = libtinetest.la
%C%_test_pipe_faults_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=malloc -Wl,--wrap=calloc \
	-Wl,--wrap=realloc -Wl,--wrap=free -Wl,--wrap=tine_alloc -Wl,--wrap=tine_aligned_alloc \
	-Wl,--wrap=tine__keepalive_make -Wl,--wrap=tine__keepalive_share \
	-Wl,--wrap=tine__record_recv -Wl,--wrap=tine__record_send \
	-Wl,--wrap=tine__record_slices -Wl,--wrap=tine__sys_socketpair
%C%_test_pipe_wait_LDADD = libtinetest.la
%C%_test_pipe_wait_ring_SOURCES = %D%/test_pipe_wait.c
%C%_test_pipe_wait_ring_CPPFLAGS = $(AM_CPPFLAGS) -DPIPE_TRANSPORT=TINE_RING
%C%_test_pipe_wait_ring_LDADD = libtinetest.la
%C%_test_queue_LDADD = libtinetest.la
%C%_test_queue_faults_LDADD = libtinetest.la
%C%_test_queue_faults_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=calloc -Wl,--wrap=malloc \
	-Wl,--wrap=realloc -Wl,--wrap=tine__heap_open -Wl,--wrap=tine__keepalive_make \
	-Wl,--wrap=tine_aligned_alloc -Wl,--wrap=tine_alloc -Wl,--wrap=tine_calloc
%C%_test_queue_join_LDADD = libtinetest.la
%C%_test_queue_lease_LDADD = libtinetest.la
%C%_test_queue_model_LDADD = libtinetest.la
%C%_test_queue_races_LDADD = libtinetest.la
%C%_test_queue_races_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=tine__vunpack_family
%C%_test_queue_step_LDADD = libtinetest.la
%C%_test_queue_step_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=tine__owner_word_lives
%C%_test_queue_stopped_LDADD = libtinetest.la
%C%_test_ring_LDADD = libtinetest.la
%C%_test_ring_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=tine_aligned_alloc -Wl,--wrap=tine__lane_peek \
	-Wl,--wrap=tine__sys_membarrier -Wl,--wrap=tine__sys_membarrier_register
%C%_test_ring_death_LDADD = libtinetest.la
%C%_test_ring_ends_LDADD = libtinetest.la
%C%_test_ring_step_LDADD = libtinetest.la
%C%_test_ring_step_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=tine__owner_word_lives
%C%_test_rpc_LDADD = libtinetest.la
%C%_test_rpc_faults_LDADD = libtinetest.la
%C%_test_rpc_faults_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=malloc -Wl,--wrap=calloc \
	-Wl,--wrap=realloc -Wl,--wrap=strdup -Wl,--wrap=epoll_ctl -Wl,--wrap=tine__sys_epoll \
	-Wl,--wrap=tine__sys_epoll_add -Wl,--wrap=tine__sys_timer -Wl,--wrap=tine__sys_timer_set
%C%_test_rpc_hostile_LDADD = libtinetest.la
%C%_test_rpc_python_LDADD = libtinetest.la
%C%_test_rpc_run_LDADD = libtinetest.la
%C%_test_rpc_wait_LDADD = libtinetest.la
%C%_test_stream_LDADD = libtinetest.la
%C%_test_stream_descriptors_LDADD = libtinetest.la
%C%_test_stream_descriptors_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=sendmsg
%C%_test_transport_ring_beside_CPPFLAGS = $(AM_CPPFLAGS) -DPIPE_TRANSPORT=TINE_RING
%C%_test_transport_ring_beside_LDADD = libtinetest.la
%C%_test_transport_ring_beside_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=tine__record_recv \
	-Wl,--wrap=tine__record_send
%C%_test_transport_ring_faults_CPPFLAGS = $(AM_CPPFLAGS) -DPIPE_TRANSPORT=TINE_RING
%C%_test_transport_ring_faults_LDADD = libtinetest.la
%C%_test_transport_ring_faults_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=malloc -Wl,--wrap=calloc \
	-Wl,--wrap=tine_alloc -Wl,--wrap=tine_aligned_alloc \
	-Wl,--wrap=tine__keepalive_make -Wl,--wrap=tine__keepalive_share \
	-Wl,--wrap=tine__sys_socketpair
%C%_test_transport_ring_step_CPPFLAGS = $(AM_CPPFLAGS) -DPIPE_TRANSPORT=TINE_RING
%C%_test_transport_ring_step_LDADD = libtinetest.la
%C%_test_transport_ring_step_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=memcpy \
	-Wl,--wrap=tine__owner_word_lives
%C%_test_wait_LDADD = libtinetest.la
%C%_test_wait_death_LDADD = libtinetest.la
%C%_test_wait_faults_LDADD = libtinetest.la
%C%_test_wait_faults_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=malloc -Wl,--wrap=tine_aligned_alloc \
	-Wl,--wrap=tine__sys_bell -Wl,--wrap=tine__sys_epoll -Wl,--wrap=tine__sys_epoll_add \
	-Wl,--wrap=tine__sys_poll -Wl,--wrap=tine__sys_timer -Wl,--wrap=tine__sys_timer_set
%C%_test_wait_messages_LDADD = libtinetest.la
%C%_test_wait_python_LDADD = libtinetest.la
