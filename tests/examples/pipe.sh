#!/bin/sh
# SPDX-License-Identifier: MIT
# examples/pipe: one of two readers is killed, and all questions are answered.
set -eu

expected='OK, sum of squares 8995500500
a reader was killed
a reader was told of the end'
got=$(examples/pipe)
[ "$got" = "$expected" ] && exit 0
printf 'expected:\n%s\ngot:\n%s\n' "$expected" "$got"
exit 1
