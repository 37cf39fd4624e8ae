# Tests of shm/: one program a source file, as in tests/lib/module.mk
if TESTS_WITH_CHECK
tests_shm = \
	%D%/test_heap
check_PROGRAMS += $(tests_shm)
TESTS += $(tests_shm)
endif

%C%_test_heap_LDADD = libtinetest.la
