#!/bin/sh
# SPDX-License-Identifier: MIT
# examples/pipeline counts the words of the library's own documents and sources: in one process, in five, and
# in five of which others are killed all the time.
set -eu

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
set -- "$srcdir"/doc/*.md "$srcdir"/README.md "$srcdir"/lib/*.c "$srcdir"/shm/*.c "$srcdir"/ipc/*.c

examples/pipeline --serial "$@" >"$scratch/serial"
cat "$@" | LC_ALL=C tr -cs 'A-Za-z' '\n' | LC_ALL=C tr 'A-Z' 'a-z' | LC_ALL=C sort | uniq -c |
    awk 'NF == 2 { print $2 " " $1 }' | LC_ALL=C sort >"$scratch/expected"
cmp "$scratch/expected" "$scratch/serial"
examples/pipeline "$@" >"$scratch/parallel"
cmp "$scratch/serial" "$scratch/parallel"
for _ in 1 2 3; do
    examples/pipeline --kill=20 "$@" >"$scratch/killed"
    cmp "$scratch/serial" "$scratch/killed"
done
