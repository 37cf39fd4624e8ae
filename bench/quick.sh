#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Smoke test of tine-bench: every case runs, every line has its six fields, wrong arguments are refused.
set -eu

bench=bench/tine-bench
output=$(mktemp)
trap 'rm -f "$output"' EXIT

die()
{
    printf 'quick.sh: %s\n' "$*" >&2
    cat "$output" >&2
    exit 1
}

# Values are positive numbers, or all "-" where the machine lacks what the case needs; ratio and peer_value
# are both a number or both "-".
check_lines()
{
    awk -F'\t' '
        function number(text) { return text ~ /^[0-9]+\.[0-9]+$/ }
        /^#/ { next }
        { missing = $2 == "-" && $5 == "-" }
        NF != 6 || !(number($2) || missing) || $3 == "" || $4 == "" { bad = 1; print "bad line: " $0 }
        !(number($5) && number($6)) && !($5 == "-" && $6 == "-") { bad = 1; print "bad peer: " $0 }
        { print $1 > names }
        END { exit bad }' names="$output.names" "$output"
}

"$bench" --quick >"$output" || die "a case failed"
check_lines || die "wrong format"
"$bench" --list | cmp - "$output.names" || die "not every case is in the table"
rm -f "$output.names"

status=0
"$bench" no.such.case >"$output" 2>&1 || status=$?
[ "$status" -eq 2 ] || die "an unknown case gives exit status $status"
grep -q '^for\.default$' "$output" || die "an unknown case does not list those that exist"
