#!/bin/sh
# SPDX-License-Identifier: MIT
# Every manual page formats without a warning, refers to pages that exist, and every exported
# function has one.
command -v groff >/dev/null || { echo "groff is not installed"; exit 77; }
faults=0
source=${srcdir:-.}

# One groff for all: it takes longer to start than to format a page. The warnings name the page.
warnings=$(groff -mdoc -ww -Tutf8 -z man/man3/*.3 "$source/man/tine.7" 2>&1) || faults=1
[ -z "$warnings" ] || { printf '%s\n' "$warnings"; faults=1; }

# Prints a complaint about each reference to a page that is not among the arguments.
awk '
    FNR == 1 { page = FILENAME; sub(/.*\//, "", page); there[page] = 1 }
    /\.Xr tine[a-z0-9_.]* 3/ {
        match($0, /\.Xr tine[a-z0-9_.]* 3/)
        split(substr($0, RSTART, RLENGTH), word, " ")
        wanted[word[2] ".3"] = wanted[word[2] ".3"] " " page
    }
    END {
        for (page in wanted)
            if (!(page in there)) {
                print page " does not exist; refer to it:" wanted[page]
                bad = 1
            }
        exit bad
    }' man/man3/*.3 "$source/man/tine.7" || faults=1

for function in $(sed -n 's/^[[:space:]]*\(tine_[a-z0-9_]*\);.*/\1/p' "$source/lib/tine.map"); do
    [ -s "man/man3/$function.3" ] || { echo "$function has no page"; faults=1; }
done
exit $faults
