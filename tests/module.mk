# The tests: support first, then one fragment a folder. Everything runs under `make check`.
#
# PPID is the make that runs all tests: its number tags what this run creates, so that
# scripts/leftovers.sh, the last test, can find what was left.
AM_TESTS_ENVIRONMENT = \
	TINE_TEST_TAG=run$$PPID; export TINE_TEST_TAG; \
	CC='$(CC)'; CXX='$(CXX)'; export CC CXX; $(SANITIZER_ENVIRONMENT)
if SANITIZED
# Memory that is not there is to be NULL under ASan too, as the tests of -ENOMEM want it.
# A daemon has a thread, and may fork another daemon: TSan, if not told, ends that when it begins its own.
SANITIZER_ENVIRONMENT = \
	CK_TIMEOUT_MULTIPLIER=$${CK_TIMEOUT_MULTIPLIER:-5}; export CK_TIMEOUT_MULTIPLIER; \
	ASAN_OPTIONS=allocator_may_return_null=1:$$ASAN_OPTIONS; export ASAN_OPTIONS; \
	TSAN_OPTIONS=allocator_may_return_null=1:die_after_fork=0:$$TSAN_OPTIONS; export TSAN_OPTIONS;
endif

TEST_EXTENSIONS = .sh
SH_LOG_COMPILER = $(SHELL)

AM_CPPFLAGS += $(CHECK_CFLAGS)
if TESTS_WITH_CHECK
check_LTLIBRARIES += libtinetest.la
endif
libtinetest_la_LIBADD = libtinecore.la $(CHECK_LIBS)
libtinetest_la_SOURCES = \
	%D%/support/children.c %D%/support/children.h \
	%D%/support/failing.h \
	%D%/support/files.c %D%/support/files.h \
	%D%/support/heap_first.h \
	%D%/support/hunt.c %D%/support/hunt.h \
	%D%/support/leaks.c %D%/support/leaks.h \
	%D%/support/loader.c %D%/support/loader.h \
	%D%/support/locks.h \
	%D%/support/proc.c %D%/support/proc.h \
	%D%/support/python.c %D%/support/python.h \
	%D%/support/random.c %D%/support/random.h \
	%D%/support/samples.c %D%/support/samples.h \
	%D%/support/step.c %D%/support/step.h \
	%D%/support/suite.c %D%/support/suite.h \
	%D%/support/trace.c %D%/support/trace.h \
	%D%/support/verdict.c %D%/support/verdict.h \
	%D%/support/wait.c %D%/support/wait.h \
	%D%/support/watchdog.c %D%/support/watchdog.h \
	%D%/support/wrap.h

EXTRA_DIST += %D%/valgrind.sh %D%/valgrind.supp

include %D%/support/module.mk
include %D%/lib/module.mk
include %D%/shm/module.mk
include %D%/ipc/module.mk
include %D%/pool/module.mk
include %D%/kill/module.mk
include %D%/fuzz/module.mk
include %D%/examples/module.mk
include %D%/scripts/module.mk

# Beside tests/kill: what kills, too, and takes TINE_KILLS.
tests_death = \
	tests/shm/test_barrier_death tests/shm/test_dict_death tests/shm/test_heap_death \
	tests/shm/test_segment_death tests/shm/test_value \
	tests/ipc/test_ring_death tests/ipc/test_wait_death tests/pool/test_process_fork \
	tests/examples/treehash_kill.sh

# The deaths at length: TINE_KILLS of each kind in each state, by default more than 100,000 in all.
.PHONY: check-long
check-long:
	TINE_KILLS=$${TINE_KILLS:-2500} $(MAKE) $(AM_MAKEFLAGS) check \
		TESTS='$(tests_kill) $(tests_kill_by_method) $(tests_death) tests/scripts/leftovers.sh'
