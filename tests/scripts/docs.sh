#!/bin/sh
# SPDX-License-Identifier: MIT
# Every exported prototype has a complete doc block; and the check itself finds what is missing.
scripts=${srcdir:-.}/tests/scripts
headers=${srcdir:-.}/lib/include/tine

awk -f "$scripts/docs.awk" "$headers"/*.h "$headers"/version.h.in || exit 1

# A block without Death, and with a parameter that nobody explains, must be refused.
broken=$(sed -e '/Death:/d' -e 's/int code/int kode/' "$headers/error.h" |
    awk -f "$scripts/docs.awk") && { echo "docs.awk accepts a block without Death"; exit 1; }
for text in 'no text for Death' 'parameter kode'; do
    case $broken in
    *"$text"*) ;;
    *) echo "docs.awk does not say '$text':"; printf '%s\n' "$broken"; exit 1 ;;
    esac
done

# Source names first the file that has the function; macros and inline functions have none.
sources()
{
    awk '/^ \* tine_[a-z0-9_]+ - / { name = $2 }
         /^ \* Source:/ { sub(/[;,]$/, "", $3); if (name != "") print name, $3; name = "" }' "$@"
}
mislaid=$(sources "$headers"/*.h | while read -r name file; do
    found=$(cd "${srcdir:-.}" && grep -lE "^[a-z].*[ *]$name\(" lib/*.c shm/*.c ipc/*.c pool/*.c)
    [ -z "$found" ] || [ "$found" = "$file" ] || echo "$name is in $found, not in $file"
done)
[ -z "$mislaid" ] || { printf '%s\n' "$mislaid"; exit 1; }
[ "$(sources "$headers"/*.h | wc -l)" -gt 200 ] || { echo "hardly any Source was found"; exit 1; }
