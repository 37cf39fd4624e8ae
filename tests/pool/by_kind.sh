# SPDX-License-Identifier: MIT
# Runs the tests of pools with another kind of worker: sourced, with the kind in $kind.
# What makes no sense with it stands in tests/pool/exempt.c; programs that are all about something that the kind
# does not have are left out here: processes of threads, waiting for what runs where all runs at once.
inline='caller imap loop loop_errors map progress reduce starmap task'
threads="budget callback cancel completed descriptor future pool sticky $inline"
processes="account backoff compute descriptor_limits forbidden guest initialize instants limit limits nested priority recycle resize restart sandbox untrusted untrusted_ends $threads"
case $kind in
inline) names=$inline ;;
threads) names=$threads ;;
*) names=$processes ;;
esac
programs=$(for name in $names; do echo tests/pool/test_$name; done)
TINE_TEST_POOL=$kind
. "$srcdir/tests/support/run_each.sh"
