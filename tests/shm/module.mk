# Tests of shm/: one program a source file, as in tests/lib/module.mk
noinst_HEADERS += %D%/heap_help.h
if TESTS_WITH_CHECK
tests_shm = \
	%D%/test_heap \
	%D%/test_heap_check
check_PROGRAMS += $(tests_shm)
TESTS += $(tests_shm)
endif

%C%_test_heap_LDADD = libtinetest.la
%C%_test_heap_check_LDADD = libtinetest.la
