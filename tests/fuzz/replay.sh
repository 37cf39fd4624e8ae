# Every fuzz target over its committed corpus.
for target in frame unpack reader pickle function handshake rpc stream; do
    echo "== $target"
    ./tests/fuzz/fuzz_$target -runs=0 "$srcdir/tests/fuzz/corpus/$target" || exit 1
done
