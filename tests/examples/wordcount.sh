#!/bin/sh
# SPDX-License-Identifier: MIT
# examples/wordcount counts as grep, sort and uniq do.
set -eu
text=${srcdir:-.}/README.md

words=$(LC_ALL=C grep -oE '[A-Za-z]+' "$text" | wc -l)
different=$(LC_ALL=C grep -oE '[A-Za-z]+' "$text" | LC_ALL=C sort -u | wc -l)
[ "$(examples/wordcount <"$text")" = "$words words, $different different" ]
[ "$(examples/wordcount </dev/null)" = "0 words, 0 different" ]
# Many times the same text: all workers count the same words.
for _ in 1 2 3 4 5 6 7 8; do
    cat "$text" "$text" "$text" "$text"
done >wordcount.txt
trap 'rm -f wordcount.txt' EXIT
[ "$(examples/wordcount <wordcount.txt)" = "$((words * 32)) words, $different different" ]
