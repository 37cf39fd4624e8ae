# Tests of pool/: one program a source file, as in tests/lib/module.mk
