#!/bin/sh
# SPDX-License-Identifier: MIT
# The tests of pools, with .kind = TINE_THREADS.
kind=threads
. "$srcdir/tests/pool/by_kind.sh"
