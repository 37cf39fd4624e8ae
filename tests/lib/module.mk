# Tests of lib/. One program a source file.
if TESTS_WITH_CHECK
tests_lib = \
	%D%/test_clock \
	%D%/test_codec
check_PROGRAMS += $(tests_lib)
TESTS += $(tests_lib)
endif

%C%_test_clock_LDADD = libtinetest.la
%C%_test_codec_LDADD = libtinetest.la
