#!/bin/sh
# SPDX-License-Identifier: MIT
# demo.sh BUILD_DIR: the three examples on real input. Called by ./bootstrap demo.
set -eu

build=$1
out=$build/demo
mkdir -p "$out"

headline()
{
    printf '\n---- %s\n\n' "$*"
}

# The headers of a build machine, or its other shared files where there are hardly any headers.
tree=/usr/include
[ "$(find "$tree" -type f | head -n 2000 | wc -l)" -eq 2000 ] || tree=/usr/share

headline "treehash: BLAKE2b of every file below $tree"
status=0
"$build/examples/treehash" -c "$tree" >"$out/treehash.txt" || status=$?
find "$tree" -type f -print0 | LC_ALL=C sort -z | xargs -0r b2sum >"$out/b2sum.txt" || true
cmp "$out/treehash.txt" "$out/b2sum.txt"
echo "all $(wc -l <"$out/b2sum.txt") lines are those of b2sum, byte for byte"
[ "$status" -eq 0 ]

headline "primes: a reduction over 5,000,000 numbers"
"$build/examples/primes"

headline "mandelbrot: rows rendered into one shared array"
"$build/examples/mandelbrot" -v "$out/mandelbrot.png"
