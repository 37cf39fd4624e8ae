#!/bin/sh
# SPDX-License-Identifier: MIT
# Three lists are one: prototypes with TINE_API in the public headers, names in lib/tine.map,
# symbols that libtine.so defines. And it is bound when it is loaded.
source=${srcdir:-.}
work=$(mktemp -d "${TMPDIR:-/tmp}/tine-test-${TINE_TEST_TAG:-run}-XXXXXX") || exit 99
trap 'rm -rf "$work"' EXIT
faults=0

# A prototype may break its lines; what follows TINE_API up to the parenthesis holds the name.
cat "$source"/lib/include/tine/*.h lib/include/tine/version.h |
    awk '/^TINE_API/ { open = 1; text = "" }
         open { text = text " " $0 }
         open && /;/ { open = 0; match(text, /tine_[a-z0-9_]+\(/); print substr(text, RSTART, RLENGTH - 1) }' |
    sort -u >"$work/headers"
sed -n '/global:/,/local:/s/^[[:space:]]*\(tine[a-z0-9_]*\);.*/\1/p' "$source/lib/tine.map" |
    sort -u >"$work/map"
# The sanitizers' and the linker's own symbols begin with underscores.
nm -D --defined-only .libs/libtine.so | awk '$2 != "A" { print $3 }' | sed 's/@.*//' |
    grep -v '^_' | sort -u >"$work/library"

compare() # A B
{
    for name in $(comm -23 "$work/$1" "$work/$2"); do
        echo "$name is in the $1, but not in the $2"
        faults=1
    done
}
compare headers map
compare map headers
compare map library
compare library map

[ -s "$work/headers" ] || { echo "no exported prototype found"; faults=1; }
[ "$(sort "$source/lib/tine.map" | uniq -d | grep -c 'tine_')" = 0 ] ||
    { echo "lib/tine.map names a symbol twice"; faults=1; }
# Else each process that is forked looks up, and pays for, what it is the first to call.
readelf -d .libs/libtine.so | grep -q NOW || { echo "the library is not bound when it is loaded"; faults=1; }
exit $faults
