# Tests of lib/. One program a source file.
if TESTS_WITH_CHECK
tests_lib = \
	%D%/test_clock
check_PROGRAMS += $(tests_lib)
TESTS += $(tests_lib)
endif

%C%_test_clock_LDADD = libtinetest.la
