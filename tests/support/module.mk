# The test of the tests: faulty fails in every way, catches.sh wants it so.
if TESTS_WITH_CHECK
check_PROGRAMS += %D%/faulty
endif
%C%_faulty_LDADD = libtinetest.la
dist_check_SCRIPTS += %D%/catches.sh
TESTS += %D%/catches.sh
EXTRA_DIST += %D%/run_each.sh
