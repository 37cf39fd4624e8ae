# SPDX-License-Identifier: MIT
# Runs the tests of pools with another kind of worker: sourced, with the kind in $kind.
# What makes no sense with it stands in tests/pool/exempt.c.
failed=0
for name in callback cancel completed compute descriptor descriptor_limits future guest imap initialize instants limit limits loop \
	loop_errors map nested pool progress reduce resize sandbox starmap task; do
	TINE_TEST_POOL=$kind tests/pool/test_$name
	status=$?
	if [ $status -ne 0 ] && [ $status -ne 77 ]; then
		echo "test_$name fails with $kind"
		failed=1
	fi
done
exit $failed
