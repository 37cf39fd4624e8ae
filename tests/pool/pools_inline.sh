#!/bin/sh
# SPDX-License-Identifier: MIT
# The tests of pools, with .kind = TINE_INLINE.
kind=inline
. "$srcdir/tests/pool/by_kind.sh"
