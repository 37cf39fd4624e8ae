#!/bin/sh
# SPDX-License-Identifier: MIT
# The test of the tests: every fault in faulty.c must fail, and for its own reason.
program=./tests/support/faulty
[ -x "$program" ] || { echo "$program was not built (no check library)"; exit 77; }
missed=0

catches() # TEST REGEX
{
    output=$("$program" "$1" 2>&1) && { echo "$1 passed"; missed=1; return; }
    printf '%s\n' "$output" | grep -Eq "$2" && return
    echo "$1 failed without saying '$2':"
    printf '%s\n' "$output"
    missed=1
}

catches leaves_a_running_child 'a child is still running'
catches leaves_a_zombie 'was not reaped'
catches leaves_a_descriptor 'left open: /dev/null'
catches closes_a_descriptor_of_its_caller 'descriptor 0 of the caller was closed'
catches leaves_a_name 'left in /dev/shm'
catches changes_a_disposition 'disposition of signal 10 was changed'
catches blocks_a_signal 'mask of signal 10 was changed'
catches has_a_failing_participant 'in process [0-9]+: .*faulty.c:[0-9]+: .*1 \+ 1 == 3'
catches has_a_failing_participant_that_nobody_asks 'in process [0-9]+: .*faulty.c:[0-9]+: .*1 \+ 1 == 3'
catches waits_for_what_never_comes 'watchdog: waits_for_what_never_comes is stuck'
# The orphan and the thread get the suite's patience before they count as left: shorten it.
TINE_TEST_PATIENCE=0.2
export TINE_TEST_PATIENCE
catches leaves_an_orphan 'still runs'
catches leaves_a_thread 'never came true: proc_threads'
rm -f "/dev/shm/tine-test-${TINE_TEST_TAG:-run}-"*-left

# What a run leaves is found by its tag.
leaves() # REGEX
{
    output=$(TINE_TEST_TAG=planted$$ sh "${srcdir:-.}/tests/scripts/leftovers.sh") &&
        { echo "leftovers.sh does not find '$1'"; missed=1; return; }
    printf '%s\n' "$output" | grep -Eq "$1" && return
    echo "leftovers.sh does not say '$1': $output"
    missed=1
}

: >"${TMPDIR:-/tmp}/tine-test-planted$$-file"
leaves 'file is left: .*planted'
rm -f "${TMPDIR:-/tmp}/tine-test-planted$$-file"
mkfifo "${TMPDIR:-/tmp}/tine-test-gate$$"
TINE_TEST_TAG=planted$$ cat "${TMPDIR:-/tmp}/tine-test-gate$$" &
exec 3>"${TMPDIR:-/tmp}/tine-test-gate$$" # returns when cat has opened the other end
leaves "process $! is left: cat"
exec 3>&-
wait
rm -f "${TMPDIR:-/tmp}/tine-test-gate$$"
exit $missed
