#!/bin/sh
# SPDX-License-Identifier: MIT
# examples/treehash prints what b2sum prints: on hard names, on what it cannot read, on a real tree.
set -eu

scratch=$(mktemp -d)
trap 'chmod -R u+rwx "$scratch"; rm -rf "$scratch"' EXIT
newline='
'
return=$(printf '\r')
tab=$(printf '\t')

# Runs as in `$as treehash`; $as may take rights away from both programs.
as=

# expect STATUS DIRECTORY [OPTION...]: same output as find, sort and b2sum, and this exit status.
expect()
{
    wanted=$1 directory=$2 status=0
    shift 2
    $as find "$directory" -type f -print0 2>/dev/null | LC_ALL=C sort -z |
        $as xargs -0r b2sum >"$scratch/expected" 2>/dev/null || true
    $as "$treehash" "$@" "$directory" >"$scratch/printed" 2>"$scratch/said" || status=$?
    cmp "$scratch/expected" "$scratch/printed" && [ "$status" -eq "$wanted" ] && return 0
    echo "treehash $* $directory: exit status $status"
    cat "$scratch/said"
    exit 1
}

said()
{
    grep -q -- "$1" "$scratch/said" || { echo "not said: $1"; cat "$scratch/said"; exit 1; }
}

plant()
{
    mkdir -p "$1/deep/er/and/deeper" "$1/empty" "$1/-n"
    printf 'plain' >"$1/plain"
    printf 'dash' >"$1/-rf"
    printf 'in dash' >"$1/-n/x"
    printf 'newline' >"$1/a${newline}b"
    printf 'back' >"$1/back\\slash"
    printf 'both' >"$1/\\${newline}"
    printf 'return' >"$1/carriage${return}return"
    printf 'tab' >"$1/tab$tab space"
    printf 'utf-8' >"$1/$(printf '\303\244\342\202\254')"
    printf 'no utf-8' >"$1/$(printf '\377\200')"
    printf 'below' >"$1/deep/er/and/deeper/file"
    : >"$1/nothing"
    head -c 3000001 /dev/zero >"$1/zeros"
    ln -s plain "$1/link"
    ln -s deep "$1/linked"
    ln -s nowhere "$1/dangling"
    mkfifo "$1/fifo"
    # Byte order of whole paths, not of names: "deep.x" sorts before "deep/…".
    printf 'order' >"$1/deep.x"
}

treehash=$PWD/examples/treehash
tree=$scratch/tree
plant "$tree"

expect 0 "$tree"
said '^14 files, 30000[0-9]* bytes, .* workers$'
[ "$(wc -l <"$scratch/said")" -eq 1 ] # no bar where there is no terminal
expect 0 "$tree/"
expect 0 "$tree" -j 1
expect 0 "$tree" -j 7 -c
said 'times as fast as one$'
expect 0 "$tree/empty"
expect 0 "$tree/plain"
expect 0 "$tree/linked"
(cd "$tree" && expect 0 .)
expect 1 "$tree/absent"
said 'absent: No such file'

# Unreadable files and directories are named, and the rest goes on. Root keeps its name for this but
# gives away the right to read everything.
if [ "$(id -u)" -eq 0 ]; then
    as='setpriv --bounding-set=-dac_override,-dac_read_search'
fi
chmod 000 "$tree/plain" "$tree/deep/er"
if $as cat "$tree/plain" >/dev/null 2>&1; then
    echo "skipped: unreadable files (everything is readable here)"
else
    expect 1 "$tree"
    said 'tree/plain: Permission denied'
    said 'tree/deep/er: Permission denied'
fi
chmod 755 "$tree/plain" "$tree/deep/er"
as=

if "$treehash" "$tree" >/dev/full 2>/dev/null; then
    echo "no failure though nothing was written"
    exit 1
fi

# script(1) gives it a terminal, and thereby the bar.
if command -v script >/dev/null; then
    script -qec "'$treehash' '$tree' >'$scratch/printed'" "$scratch/said" </dev/null >/dev/null
    said ' 14/14 '
    said '^14 files'
fi

for wrong in '' '-j 0' '-j x' '-j 5x' '-j 99999999999' '-x' 'a b'; do
    status=0
    # shellcheck disable=SC2086 # words on purpose
    "$treehash" $wrong 2>/dev/null || status=$?
    [ "$status" -eq 2 ] || { echo "treehash $wrong: exit status $status, not 2"; exit 1; }
done

# A real tree; a copy, since packages may come and go meanwhile.
cp -a /usr/include "$scratch/include"
expect 0 "$scratch/include"
