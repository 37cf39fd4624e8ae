#!/bin/sh
# SPDX-License-Identifier: MIT
# examples/rwlock: what the killed writer has left half-done is undone before anybody reads it.
set -eu

expected='to read after the death: refused
undone: a payment whose writer died
850 + 150 = 1000'
printed=$(examples/rwlock)
[ "$printed" = "$expected" ] || { printf 'printed:\n%s\n' "$printed"; exit 1; }
