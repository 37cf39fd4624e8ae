#!/bin/sh
# SPDX-License-Identifier: MIT
# examples/rpc serves several clients at once, and goes when it is told to.
set -eu
name=unix:@tine-example-rpc-$$
examples/rpc serve $name &
server=$!

want="word: 1
600851475143: 6857
1: 1
97: 97
0: 0 has no prime factors
1000000007: 1000000007"
[ "$(examples/rpc call $name word 600851475143 1 97 0 1000000007)" = "$want" ]
for i in 1 2 3 4; do
    examples/rpc call $name word 1000003 >/dev/null &
    clients="${clients-} $!"
done
for client in $clients; do
    wait "$client"
done
[ "$(examples/rpc call $name word)" = "word: 6" ]
examples/rpc stop $name
wait $server
