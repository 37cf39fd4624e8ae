#!/bin/sh
# SPDX-License-Identifier: MIT
# The picture that examples/mandelbrot has written, read back, is what one process renders alone.
set -eu

if ! grep -q "^HAVE_PNG_TRUE=''" config.log; then
    echo "skipped: libpng is missing"
    exit 77
fi
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

examples/mandelbrot -v "$scratch/mandelbrot.png"

# A file that cannot be written is a failure, not a crash.
if examples/mandelbrot "$scratch/absent/mandelbrot.png"; then
    echo "no failure though nothing was written"
    exit 1
fi
