#!/bin/sh
# SPDX-License-Identifier: MIT
# The last test of a run: nothing of it is left. Whatever a test starts inherits TINE_TEST_TAG, which
# names this run alone, so a process is found by its environment, and names and files by their names.
# (A memfd lives exactly as long as the processes that hold it.)
tag=${TINE_TEST_TAG:?is set by make check}
faults=0

ancestor() # PID: of this shell, or itself
{
    pid=$$
    while [ "${pid:-0}" -gt 1 ]; do
        [ "$pid" = "$1" ] && return 0
        pid=$(sed 's/.*) . \([0-9]*\) .*/\1/' "/proc/$pid/stat" 2>/dev/null)
    done
    return 1
}

for process in /proc/[0-9]*; do
    cat "$process/environ" 2>/dev/null | tr '\0' '\n' | grep -qxF "TINE_TEST_TAG=$tag" || continue
    ancestor "${process#/proc/}" && continue
    echo "process ${process#/proc/} is left: $(cat "$process/cmdline" 2>/dev/null | tr '\0' ' ')"
    faults=1
done

for file in "/dev/shm/tine-test-$tag-"* "${TMPDIR:-/tmp}/tine-test-$tag-"*; do
    [ -e "$file" ] || continue
    echo "file is left: $file"
    faults=1
done

sockets=$(grep -F "tine-test-$tag-" /proc/net/unix)
[ -z "$sockets" ] || { echo "sockets are left:"; printf '%s\n' "$sockets"; faults=1; }
exit $faults
