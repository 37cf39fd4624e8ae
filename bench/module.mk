# tine-bench: tine beside its peers. `make bench` runs every case; `make check` a quick one.
noinst_PROGRAMS += %D%/tine-bench
%C%_tine_bench_SOURCES = \
	%D%/bench.h %D%/work.h \
	%D%/heap.c \
	%D%/load.c \
	%D%/main.c \
	%D%/measure.c \
	%D%/pass.c
%C%_tine_bench_LDADD = libtine.la
# The program executes itself for each pass, so it must not be libtool's wrapper script.
%C%_tine_bench_LDFLAGS = $(AM_LDFLAGS) -no-install

dist_check_SCRIPTS += %D%/quick.sh
TESTS += %D%/quick.sh

.PHONY: bench
bench: %D%/tine-bench
	%D%/tine-bench
