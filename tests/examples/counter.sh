#!/bin/sh
# SPDX-License-Identifier: MIT
# Whatever the workers of examples/counter count together is exact.
set -eu

expected='35669725 steps, 442 of them from 230631
   0+ 21661
  50+ 106243
 100+ 83713
 150+ 65871
 200+ 17905
 250+ 3875
 300+ 683
 350+ 46
 400+ 3'

counted=$(examples/counter)
[ "$counted" = "$expected" ] || { echo "$counted"; exit 1; }
