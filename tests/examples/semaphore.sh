#!/bin/sh
# SPDX-License-Identifier: MIT
# examples/semaphore: never more than two inside, and the killed one's permit comes back.
set -eu

expected='3 workers finished, 1 was killed inside
times with more than 2 inside: 0
permits at the end: 2'
printed=$(examples/semaphore)
[ "$printed" = "$expected" ] || { printf 'printed:\n%s\n' "$printed"; exit 1; }
