#!/bin/sh
# SPDX-License-Identifier: MIT
# examples/download, where libcurl is there: every way brings all pages, and each page reports itself.
set -eu

[ -x examples/download ] || exit 77
expected='serially: 15 pages, 120000 bytes
by threads: 15 pages, 120000 bytes
by processes: 15 pages, 120000 bytes
as completed: 15 pages, 120000 bytes'
got=$(examples/download 2>download.log)
reported=$(grep -c '^  page [0-9]*: [0-9]*000 bytes$' download.log)
rm -f download.log
[ "$got" = "$expected" ] || { printf 'it printed:\n%s\n' "$got"; exit 1; }
[ "$reported" -eq 15 ] || { echo "$reported pages have reported themselves"; exit 1; }
