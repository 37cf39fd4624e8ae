# Tests of shm/: one program a source file, as in tests/lib/module.mk
