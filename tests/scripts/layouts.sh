#!/bin/sh
# SPDX-License-Identifier: MIT
# The layout tables in doc/ are those of the structs. Above such a table stands
#     <!-- layout: struct NAME in HEADER -->
# and its first three columns are offset, width and field. Each row becomes an assertion for the
# compiler.
cd "${srcdir:-.}" || exit 99
assertions=$(awk '
    /^<!-- layout: struct / {
        type = "struct " $4
        print "#include \"" $6 "\""
        next
    }
    type != "" && /^\| *[0-9]+ *\|/ {
        split($0, cell, / *\| */)
        printf "_Static_assert(offsetof(%s, %s) == %d, \"%s:%d: offset of %s\");\n",
            type, cell[4], cell[2], FILENAME, FNR, cell[4]
        printf "_Static_assert(sizeof(((%s *)0)->%s) == %d, \"%s:%d: width of %s\");\n",
            type, cell[4], cell[3], FILENAME, FNR, cell[4]
        rows++
        next
    }
    type != "" && !/^\|/ && !/^$/ { type = "" }
    END { print "extern int rows[" rows "];" }' doc/*.md)

check() # assertions on standard input
{
    { echo '#define _GNU_SOURCE 1'; echo '#include <stddef.h>'; cat; } |
        ${CC:-cc} -x c -std=gnu11 -fsyntax-only -I. -Ilib/include -
}

case $assertions in
*_Static_assert*) ;;
*) echo "no layout table found in doc/"; exit 1 ;;
esac
printf '%s\n' "$assertions" | check || exit 1
# A row that is wrong by one must be refused, or the check checks nothing.
printf '%s\n' "$assertions" | sed '0,/== \([0-9]*\)/s//== 1\1/' | check 2>/dev/null &&
    { echo "a wrong row is not found"; exit 1; }
exit 0
