#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Test programs under valgrind, in the build directory, after `make check TESTS=`:
#
#     sh ../tests/valgrind.sh [PROGRAM...]       by default all that valgrind can run
#
# What it finds in any process of a test, other than one that is killed, fails the test; the rest of a
# program goes on. Not run: what steps through processes by ptrace, for it would step through valgrind.
# Every fork copies all of valgrind: expect a minute a program, and several for the pools' longest.
set -u
source=$(dirname "$0")

if [ $# -eq 0 ]; then
    # shellcheck disable=SC2046 # names of programs
    set -- $(find tests/lib tests/shm tests/ipc tests/pool tests/kill -type f -perm -u+x \
        \( -name 'test_*' -o -name 'kill_*' \) ! -path '*/.libs/*' ! -name '*_step' \
        ! -name kill_start ! -name kill_cancel ! -name kill_limit ! -name '*.*' | sort)
fi

# Tests that catch a fault and go on need all registers to be right at each access.
CK_TIMEOUT_MULTIPLIER=${CK_TIMEOUT_MULTIPLIER:-20} TINE_KILLS=${TINE_KILLS:-5}
export CK_TIMEOUT_MULTIPLIER TINE_KILLS
failed=''
for program; do
    echo "== $program"
    ./libtool --mode=execute valgrind -q --error-exitcode=9 --fair-sched=try \
        --vex-iropt-register-updates=allregs-at-mem-access \
        --suppressions="$source/valgrind.supp" "$program" || [ $? -eq 77 ] || failed="$failed $program"
done
[ -z "$failed" ] || { echo "failed:$failed"; exit 1; }
