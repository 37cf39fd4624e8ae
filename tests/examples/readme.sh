#!/bin/sh
# SPDX-License-Identifier: MIT
# The program in the README prints what the README says.
set -eu
: "${srcdir:=.}"

expected=$(awk '/^```text$/ { on = 1; next } on && /^```/ { exit } on' "$srcdir/README.md")
printed=$(examples/readme)
[ -n "$expected" ]
[ "$printed" = "$expected" ] || { echo "printed: $printed"; exit 1; }
