#!/bin/sh
# SPDX-License-Identifier: MIT
# The tests of pools, with .start = TINE_SPAWN.
kind=spawn
. "$srcdir/tests/pool/by_kind.sh"
