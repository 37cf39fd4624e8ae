# Tests of lib/: one program a source file.
if TESTS_WITH_CHECK
tests_lib = \
	%D%/test_at_fork \
	%D%/test_checked \
	%D%/test_checksum \
	%D%/test_clock \
	%D%/test_codec \
	%D%/test_codec_errors \
	%D%/test_codec_memory \
	%D%/test_codec_msgpack \
	%D%/test_codec_short \
	%D%/test_copy \
	%D%/test_cpu \
	%D%/test_error \
	%D%/test_fork \
	%D%/test_function \
	%D%/test_futex_lock \
	%D%/test_handle \
	%D%/test_hash \
	%D%/test_log \
	%D%/test_pickle \
	%D%/test_prescan \
	%D%/test_random \
	%D%/test_reader \
	%D%/test_record \
	%D%/test_shape \
	%D%/test_sig \
	%D%/test_sodium \
	%D%/test_sys \
	%D%/test_version
check_PROGRAMS += $(tests_lib)
TESTS += $(tests_lib)
check_LTLIBRARIES += %D%/plain.la
endif

# The pools' plugin, as linkers make it that leave no id.
%C%_plain_la_SOURCES = tests/pool/plugin.c
%C%_plain_la_LDFLAGS = $(AM_LDFLAGS) -module -avoid-version -shared -rpath /nowhere \
	-Wl,--build-id=none

%C%_test_at_fork_LDADD = libtinetest.la
%C%_test_checked_LDADD = libtinetest.la
%C%_test_checksum_LDADD = libtinetest.la
%C%_test_clock_LDADD = libtinetest.la
%C%_test_codec_LDADD = libtinetest.la
%C%_test_codec_errors_LDADD = libtinetest.la
%C%_test_codec_memory_LDADD = libtinetest.la
%C%_test_codec_msgpack_LDADD = libtinetest.la
%C%_test_codec_short_LDADD = libtinetest.la
%C%_test_copy_LDADD = libtinetest.la
%C%_test_cpu_LDADD = libtinetest.la
%C%_test_error_LDADD = libtinetest.la
%C%_test_fork_LDADD = libtinetest.la
%C%_test_function_LDADD = libtinetest.la
%C%_test_function_DEPENDENCIES = libtinetest.la tests/pool/plugin.la %D%/plain.la
%C%_test_futex_lock_LDADD = libtinetest.la
%C%_test_handle_LDADD = libtinetest.la
%C%_test_hash_LDADD = libtinetest.la
%C%_test_log_LDADD = libtinetest.la
%C%_test_pickle_LDADD = libtinetest.la
%C%_test_prescan_LDADD = libtinetest.la
%C%_test_random_LDADD = libtinetest.la
%C%_test_reader_LDADD = libtinetest.la
%C%_test_record_LDADD = libtinetest.la
%C%_test_shape_LDADD = libtinetest.la
%C%_test_sig_LDADD = libtinetest.la
%C%_test_sodium_LDADD = libtinetest.la
%C%_test_sodium_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=sodium_init
%C%_test_sys_LDADD = libtinetest.la
%C%_test_version_LDADD = libtinetest.la
%C%_test_codec_memory_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=malloc -Wl,--wrap=realloc
