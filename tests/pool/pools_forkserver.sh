#!/bin/sh
# SPDX-License-Identifier: MIT
# The tests of pools, with .start = TINE_FORKSERVER.
kind=forkserver
. "$srcdir/tests/pool/by_kind.sh"
