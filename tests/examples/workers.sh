#!/bin/sh
# SPDX-License-Identifier: MIT
# examples/workers: the log of each kind has all jobs, begun and ended by the same worker, which was ready before.
set -eu

check()
{
    examples/workers "$@" | awk -v kind="$kind" -v workers="$workers" '
        / init$/ { inits++; ready[$1] = 1; pids[$3]++ }
        / job [0-9]+ begins$/ { if (!ready[$1]) exit bad = 2; by[$5] = $1 }
        / job [0-9]+ ends$/ { if (by[$5] != $1) exit bad = 3; ended++ }
        / leaves$/ { leaves++ }
        /^main / { main = $0; pid = $3 }
        END {
            if (bad || ended != 7 || inits < 1 || inits > workers || leaves != inits)
                exit 1
            if (main !~ /: 7 jobs, sum of squares 91, cost [0-9.]+ s$/)
                exit 1
            for (p in pids) # processes have pids of their own, the others that of the program
                if ((p == pid) != (kind != "process"))
                    exit 1
        }' || { echo "workers $* is wrong"; examples/workers "$@"; exit 1; }
}

kind=process workers=4
check
check --kind=process
kind=thread
check --kind=thread
kind=inline workers=1
check --kind=inline
if examples/workers --kind=fibre 2>/dev/null; then
    exit 1
fi
