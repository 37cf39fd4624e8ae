# SPDX-License-Identifier: MIT
# Runs the death tests of pools with another start method: sourced, with its name in $method.
# kill_process and kill_start, which start processes of their own, go through all methods by themselves.
names='cancel descriptor idle imap limit nested nursery priority program recycle resize schedule step step_leave step_sticky sticky stopped storm task terminate untrusted wait worker'
programs=$(for name in $names; do echo tests/kill/kill_$name; done)
TINE_KILLS=${TINE_KILLS:-10}
export TINE_KILLS
TINE_TEST_POOL=$method
. "$srcdir/tests/support/run_each.sh"
