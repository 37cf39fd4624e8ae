#!/bin/sh
# SPDX-License-Identifier: MIT
# The death tests of pools, with .start = TINE_SPAWN.
method=spawn
. "$srcdir/tests/kill/by_method.sh"
