#!/bin/sh
# SPDX-License-Identifier: MIT
# examples/condition: every number arrives once, although one that took them is killed.
set -eu

expected='10000 numbers, sum 50005000, 1 consumer killed'
printed=$(examples/condition)
[ "$printed" = "$expected" ] || { printf 'printed:\n%s\n' "$printed"; exit 1; }
