#!/bin/sh
# SPDX-License-Identifier: MIT
# examples/shared_image and the Python in its comment work on the same doubles.
set -eu

for python in /usr/bin/python3 python3 ''; do
    [ -n "$python" ] || break
    "$python" -c 'import numpy' 2>/dev/null && break
done
if [ -z "$python" ]; then
    command -v python3 >/dev/null || { echo "no python3"; exit 77; }
    echo "python3 has no numpy: ./bootstrap check installs it"
    exit 1
fi

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
name=tine-test-$TINE_TEST_TAG-image
source=${srcdir:-.}/examples/shared_image.c

# The program stands between "import numpy" and the end of the comment.
sed -n '/import numpy/,/close()/s/^ \*     //p' "$source" |
    sed "s/NAME/$name/; s/HEIGHT/20/; s/WIDTH/30/" >"$scratch/double.py"
[ "$(wc -l <"$scratch/double.py")" -eq 9 ]

mkfifo "$scratch/go"
examples/shared_image "$name" 30 20 <"$scratch/go" >"$scratch/printed" &
image=$!
exec 9>"$scratch/go" # it runs from here on, and waits
while [ ! -s "$scratch/printed" ] && kill -0 "$image"; do
    sleep 0.01 # until it has said that the segment is there
done
"$python" "$scratch/double.py"
echo >&9
wait "$image"
[ ! -e "/dev/shm/$name" ]
printf '600 pixels, sum 14400\nsum 28800\n' | cmp - "$scratch/printed"

examples/shared_image a/b 1 1 2>/dev/null && exit 1
examples/shared_image "$name" 0 1 2>/dev/null && exit 1
exit 0
