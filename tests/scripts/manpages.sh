#!/bin/sh
# SPDX-License-Identifier: MIT
# Every manual page formats without a warning, refers to pages that exist, and every exported
# function has one.
command -v groff >/dev/null || { echo "groff is not installed"; exit 77; }
faults=0

for page in man/man3/*.3 "${srcdir:-.}/man/tine.7"; do
    warnings=$(groff -mdoc -ww -Tutf8 -z "$page" 2>&1)
    [ -z "$warnings" ] || { printf '%s:\n%s\n' "$page" "$warnings"; faults=1; }
    for reference in $(sed -n 's/.*\.Xr \(tine[a-z0-9_.]*\) 3.*/\1/p' "$page" | sort -u); do
        [ -f "man/man3/$reference.3" ] ||
            { echo "$page refers to $reference(3), which does not exist"; faults=1; }
    done
done

for function in $(sed -n 's/^[[:space:]]*\(tine_[a-z0-9_]*\);.*/\1/p' "${srcdir:-.}/lib/tine.map"); do
    [ -s "man/man3/$function.3" ] || { echo "$function has no page"; faults=1; }
done
exit $faults
