# SPDX-License-Identifier: MIT
# Runs the death tests of pools with another start method: sourced, with its name in $method.
# kill_process and kill_start, which start processes of their own, go through all methods by themselves.
names='cancel descriptor idle imap limit nested nursery priority program recycle resize schedule step step_leave step_sticky sticky stopped storm task terminate untrusted wait worker'
TINE_KILLS=${TINE_KILLS:-10}
TINE_TEST_POOL=$method
export TINE_KILLS TINE_TEST_POOL
failed=0
for name in $names; do
	tests/kill/kill_$name
	status=$?
	if [ $status -ne 0 ] && [ $status -ne 77 ]; then
		echo "kill_$name fails with $method"
		failed=1
	fi
done
exit $failed
