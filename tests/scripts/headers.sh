#!/bin/sh
# SPDX-License-Identifier: MIT
# Each public header compiles alone, as strict C11 and as C++17, without feature macros.
include="-I${srcdir:-.}/lib/include -Ilib/include"
strict='-fsyntax-only -Wall -Wextra -Wconversion -Wshadow -Wundef -pedantic-errors -Werror'
faults=0

for path in "${srcdir:-.}"/lib/include/tine.h "${srcdir:-.}"/lib/include/tine/*.h \
    lib/include/tine/version.h; do
    header=${path##*lib/include/}
    # Twice: the guard must hold. A C file may not be empty.
    program="#include <$header>
#include <$header>
extern int nothing;"
    printf '%s\n' "$program" | ${CC:-cc} -x c -std=c11 $strict $include - ||
        { echo "$header is no C11 by itself"; faults=1; }
    [ -z "$CXX" ] && continue
    printf '%s\n' "$program" | $CXX -x c++ -std=c++17 $strict $include - ||
        { echo "$header is no C++17 by itself"; faults=1; }
done
[ -z "$CXX" ] && echo "no C++ compiler: C++17 was not tried"
exit $faults
