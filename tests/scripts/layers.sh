#!/bin/sh
# SPDX-License-Identifier: MIT
# Who includes what: pool → ipc → shm → lib, each third-party header in its few owners only,
# public headers self-sufficient, programs against the public interface only.
cd "${srcdir:-.}" || exit 99
faults=0

fault() # TEXT LINES
{
    [ -z "$2" ] && return
    printf '%s:\n%s\n' "$1" "$2"
    faults=1
}

# FILE:LINE:HEADER of each #include "HEADER" or <HEADER> in the named folders.
quoted() { grep -rnE --include='*.[ch]' '^# *include "' "$@" | sed 's/# *include "\([^"]*\)".*/\1/'; }
angled() { grep -rnE --include='*.[ch]' '^# *include <' "$@" | sed 's/# *include <\([^>]*\)>.*/\1/'; }

# LAYER may include the private headers of LAYER… only, by their path from the top.
only() # LAYER LAYER…
{
    layer=$1
    [ -d "$layer" ] || return
    shift
    fault "$layer/ may include \"$(echo "$@" | tr ' ' '|')/…\" only" \
        "$(quoted "$layer" | grep -vE ":($(echo "$@" | tr ' ' '|'))/[^/]*$")"
}
only lib lib
only shm shm lib
only ipc ipc shm lib
only pool pool ipc shm lib
only tests/lib tests/lib tests/support lib
only tests/shm tests/shm tests/support shm lib
only tests/ipc tests/ipc tests/support ipc shm lib
only tests/pool tests/pool tests/support pool ipc shm lib
only tests/kill tests/kill tests/support
only examples examples
only bench bench

# A header of another library has owners; everyone else goes through them.
owned() # REGEX OWNER…
{
    regex=$1
    shift
    fault "<$regex> belongs to $*" "$(angled lib shm ipc pool | grep -E ":$regex\$" |
        grep -vE "^($(echo "$@" | tr ' ' '|')):")"
}
owned 'sodium.*' lib/checksum.c lib/random.c lib/sodium.c ipc/auth.c ipc/encrypt.c
owned 'msgpack.*' lib/pack.c
# (pool_impl.h: the mutex between the threads of one program, private to a handle.)
# (pool/worker.c: what runs where a task ends its thread.)
# pool/daemon.c pool/threads.c: the one thread that a process may get from tine.
owned 'pthread.h' lib/fork.c 'shm/[a-z_]*.[ch]' pool/pool_impl.h pool/daemon.c pool/threads.c pool/worker.c

fault "public headers include C's basic headers and each other only" \
    "$(angled lib/include | grep -vE ':(std(int|def|bool|arg)\.h|sys/types\.h|tine/[a-z_]+\.h)$')"

exit $faults
