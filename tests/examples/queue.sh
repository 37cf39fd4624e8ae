#!/bin/sh
# SPDX-License-Identifier: MIT
# examples/queue: one of two workers is killed with a task in hand; every task is done.
set -eu

expected='workers killed 1, told of the end 1
lengths 891, squares 1333300, delivered again 1'
got=$(examples/queue)
[ "$got" = "$expected" ] && exit 0
printf 'expected:\n%s\ngot:\n%s\n' "$expected" "$got"
exit 1
