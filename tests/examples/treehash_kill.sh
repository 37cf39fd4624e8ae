#!/bin/sh
# SPDX-License-Identifier: MIT
# While examples/treehash hashes a tree, its workers are killed again and again; its output stays right.
# TINE_KILLS is how many of them (default 200).
set -eu

kills_wanted=${TINE_KILLS:-200}
kills=0
runs=0
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# children PID: its child processes, in $children
children()
{
    children=
    # The file has no newline at its end, so read fails though it has read.
    read -r children 2>/dev/null <"/proc/$1/task/$1/children" || true
}

# The program has one child, the nursery, whose children are the workers. (What libtool leaves in the
# build folder is a script, with other children, which then becomes the program.)
kill_a_worker()
{
    case $(readlink "/proc/$1/exe") in
    */treehash) ;;
    *) return 0 ;;
    esac
    children "$1"
    [ -n "$children" ] || return 0
    children "${children%% *}"
    # shellcheck disable=SC2086 # a list of numbers
    set -- $children
    [ $# -gt 0 ] || return 0
    shift $((kills % $#))
    if kill -KILL "$1" 2>/dev/null; then
        kills=$((kills + 1))
    fi
}

plant()
{
    mkdir -p "$scratch/tree/0"
    i=0
    while [ $i -lt 60 ]; do
        head -c $((i * 50000)) /dev/urandom >"$scratch/tree/0/$i"
        i=$((i + 1))
    done
    for copy in 1 2 3 4 5; do
        cp -al "$scratch/tree/0" "$scratch/tree/$copy"
    done
    (cd "$scratch" && find tree -type f -print0 | LC_ALL=C sort -z | xargs -0 b2sum >expected)
}

[ -e "/proc/$$/task/$$/children" ] || { echo "the kernel lists no children in /proc"; exit 77; }
treehash=$PWD/examples/treehash
plant
cd "$scratch"
while [ "$kills" -lt "$kills_wanted" ]; do
    "$treehash" -j 4 tree >printed 2>said &
    program=$!
    while [ "$kills" -lt "$kills_wanted" ] && kill -0 "$program" 2>/dev/null; do
        kill_a_worker "$program"
        sleep 0.003 # the pace of the killing; nothing waits for it
    done
    status=0
    wait "$program" || status=$?
    runs=$((runs + 1))
    if [ "$status" -ne 0 ] || ! cmp expected printed; then
        echo "run $runs: exit status $status"
        cat said
        exit 1
    fi
done
echo "$kills workers killed in $runs runs"
