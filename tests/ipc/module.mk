# Tests of ipc/: one program a source file, as in tests/lib/module.mk
noinst_HEADERS += %D%/talk.h
if TESTS_WITH_CHECK
tests_ipc = \
	%D%/test_address \
	%D%/test_auth \
	%D%/test_encrypt \
	%D%/test_wait
check_PROGRAMS += $(tests_ipc)
TESTS += $(tests_ipc)
endif

%C%_test_address_LDADD = libtinetest.la
%C%_test_auth_LDADD = libtinetest.la
%C%_test_encrypt_LDADD = libtinetest.la
%C%_test_wait_LDADD = libtinetest.la
