# Checks of the source tree; and, after all other tests, of what the run has left.
tests_scripts = \
	%D%/docs.sh \
	%D%/exports.sh \
	%D%/headers.sh \
	%D%/layers.sh \
	%D%/layouts.sh \
	%D%/leftovers.sh \
	%D%/manpages.sh \
	%D%/nosleep.sh
dist_check_SCRIPTS += $(tests_scripts)
TESTS += $(tests_scripts)
EXTRA_DIST += %D%/docs.awk

%D%/leftovers.log: $(TEST_LOGS:%D%/leftovers.log=)
