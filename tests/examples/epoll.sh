#!/bin/sh
# SPDX-License-Identifier: MIT
# examples/epoll and, where libuv is there, examples/libuv: every number comes back as its square.
set -eu

expected='10 squares, sum 385, and the clock ticks'
for program in epoll libuv; do
    [ -x examples/$program ] || continue
    got=$(examples/$program)
    [ "$got" = "$expected" ] || { printf '%s printed:\n%s\n' "$program" "$got"; exit 1; }
done
