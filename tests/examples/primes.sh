#!/bin/sh
# SPDX-License-Identifier: MIT
# examples/primes counts right, at the edges and on its default.
set -eu

check()
{
    counted=$(examples/primes "$1" 2>/dev/null)
    [ "$counted" = "$2 primes below $1" ] || { echo "$1: $counted, not $2"; exit 1; }
}

check 0 0
check 2 0
check 3 1
check 100 25
check 1000000 78498
if examples/primes 5x; then
    exit 1
fi
[ "$(examples/primes)" = "348513 primes below 5000000" ]
