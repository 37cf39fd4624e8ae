# tine-bench: tine beside its peers. `make bench` runs every case; `make check` a quick one.
noinst_LTLIBRARIES += %D%/libpeer.la
%C%_libpeer_la_SOURCES = %D%/openmp.c
%C%_libpeer_la_CFLAGS = $(AM_CFLAGS) $(OPENMP_CFLAGS)

noinst_PROGRAMS += %D%/tine-bench
%C%_tine_bench_SOURCES = \
	%D%/bench.h %D%/dict.h %D%/work.h \
	%D%/barrier.c \
	%D%/condition.c \
	%D%/dict.c \
	%D%/for.c \
	%D%/heap.c \
	%D%/job.c \
	%D%/lmdb.c \
	%D%/load.c \
	%D%/lock.c \
	%D%/main.c \
	%D%/map.c \
	%D%/measure.c \
	%D%/open.c \
	%D%/pack.c \
	%D%/pass.c \
	%D%/primes.c \
	%D%/python.c \
	%D%/reduce.c \
	%D%/rwlock.c \
	%D%/semaphore.c \
	%D%/starmap.c \
	%D%/submit.c \
	%D%/value.c \
	%D%/wait.c
%C%_tine_bench_CPPFLAGS = $(AM_CPPFLAGS) -DBENCH_DIR='"$(abs_top_srcdir)/%D%"' $(LMDB_CFLAGS)
%C%_tine_bench_LDADD = %D%/libpeer.la libtine.la $(LMDB_LIBS) $(MSGPACK_LIBS)
# The program executes itself for each pass, so it must not be libtool's wrapper script.
%C%_tine_bench_LDFLAGS = $(AM_LDFLAGS) $(OPENMP_CFLAGS) -no-install

EXTRA_DIST += %D%/peer.py
dist_check_SCRIPTS += %D%/quick.sh
TESTS += %D%/quick.sh

.PHONY: bench
bench: %D%/tine-bench
	%D%/tine-bench
