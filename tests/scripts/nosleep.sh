#!/bin/sh
# SPDX-License-Identifier: MIT
# Tests wait for events; a script that paces its kills may sleep, and says so in that line.
# tests/support has the one pause (in ck_assert_eventually), and the one way to include libcheck,
# without which an assertion in a forked process would be lost.
cd "${srcdir:-.}" || exit 99
faults=0

forbid() # WHY REGEX
{
    lines=$(grep -rnE --include='*.[ch]' --include='*.sh' "$2" tests | grep -vE '^tests/(support|scripts)/')
    [ -z "$lines" ] && return
    printf '%s:\n%s\n' "$1" "$lines"
    faults=1
}
forbid 'wait for an event (tests/support/wait.h), do not sleep' \
    '(^|[^_a-z])((u|nano|clock_nano)?sleep|thrd_sleep) *\(|^ *sleep [^#]*$'
forbid 'include "tests/support/suite.h"' '# *include <check\.h>'
forbid 'a poll of nothing is a sleep' '(poll|select) *\((NULL|0), *(NULL|0),'
exit $faults
