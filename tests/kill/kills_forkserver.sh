#!/bin/sh
# SPDX-License-Identifier: MIT
# The death tests of pools, with .start = TINE_FORKSERVER.
method=forkserver
. "$srcdir/tests/kill/by_method.sh"
