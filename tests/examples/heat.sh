#!/bin/sh
# SPDX-License-Identifier: MIT
# What all workers of examples/heat compute together is, bit by bit, what one process computes alone.
set -eu

if ! grep -q "^HAVE_PNG_TRUE=''" config.log; then
    echo "skipped: libpng is missing"
    exit 77
fi
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

examples/heat --check "$scratch/heat.png"
test -s "$scratch/heat.png"

if examples/heat "$scratch/absent/heat.png"; then
    echo "no failure though nothing was written"
    exit 1
fi
