#!/bin/sh
# SPDX-License-Identifier: MIT
# examples/event: the killed waiter does not keep the others from starting.
set -eu

expected='runner 0: EAGAIN, sum 0
runner 1: finished, sum 500500
runner 2: finished, sum 500500
runner 3: finished, sum 500500'
got=$(examples/event)
[ "$got" = "$expected" ] && exit 0
printf 'expected:\n%s\ngot:\n%s\n' "$expected" "$got"
exit 1
