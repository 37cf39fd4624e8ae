# SPDX-License-Identifier: MIT
# Runs $programs with pools as $TINE_TEST_POOL says, and exits: sourced, last. One that skips is no failure.
export TINE_TEST_POOL
failed=0
for program in $programs; do
	"$program"
	status=$?
	if [ $status -ne 0 ] && [ $status -ne 77 ]; then
		echo "$program fails with $TINE_TEST_POOL"
		failed=1
	fi
done
exit $failed
