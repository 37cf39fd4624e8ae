# Tests of pool/: one program a source file, as in tests/lib/module.mk
if TESTS_WITH_CHECK
tests_pool = \
	%D%/test_claim \
	%D%/test_redo \
	%D%/test_stream
check_PROGRAMS += $(tests_pool)
TESTS += $(tests_pool)
endif

tests_pool_shared = %D%/pools.c %D%/pools.h
%C%_test_claim_LDADD = libtinetest.la
%C%_test_redo_LDADD = libtinetest.la
%C%_test_stream_SOURCES = %D%/test_stream.c $(tests_pool_shared)
%C%_test_stream_LDADD = libtinetest.la
