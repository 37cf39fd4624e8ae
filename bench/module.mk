# tine-bench: tine beside its peers. `make bench` runs every case; `make check` a quick one.
noinst_LTLIBRARIES += %D%/libpeer.la
%C%_libpeer_la_SOURCES = %D%/openmp.c
%C%_libpeer_la_CFLAGS = $(AM_CFLAGS) $(OPENMP_CFLAGS)

# In C++, behind an interface in C: only what needs it is linked to the C++ library.
noinst_LTLIBRARIES += %D%/libboostpeer.la
if HAVE_BOOST
%C%_libboostpeer_la_SOURCES = %D%/boost.cc
boost_libs = -lstdc++
else
%C%_libboostpeer_la_SOURCES = %D%/noboost.c
boost_libs =
endif

noinst_PROGRAMS += %D%/tine-bench
%C%_tine_bench_SOURCES = \
	%D%/bench.h %D%/dict.h %D%/line.h %D%/queue.h %D%/stream.h %D%/work.h \
	%D%/barrier.c \
	%D%/condition.c \
	%D%/dict.c \
	%D%/for.c \
	%D%/futures.c \
	%D%/heap.c \
	%D%/job.c \
	%D%/limit.c \
	%D%/line.c \
	%D%/listener.c \
	%D%/lmdb.c \
	%D%/load.c \
	%D%/lock.c \
	%D%/main.c \
	%D%/map.c \
	%D%/measure.c \
	%D%/nested.c \
	%D%/open.c \
	%D%/pack.c \
	%D%/pass.c \
	%D%/pipe.c \
	%D%/primes.c \
	%D%/process.c \
	%D%/python.c \
	%D%/queue.c \
	%D%/reduce.c \
	%D%/replace.c \
	%D%/ring.c \
	%D%/rpc.c \
	%D%/rwlock.c \
	%D%/semaphore.c \
	%D%/starmap.c \
	%D%/submit.c \
	%D%/value.c \
	%D%/wait.c \
	%D%/zmq.c
%C%_tine_bench_CPPFLAGS = $(AM_CPPFLAGS) -DBENCH_DIR='"$(abs_top_srcdir)/%D%"' $(LMDB_CFLAGS) \
	$(ZMQ_CFLAGS)
%C%_tine_bench_LDADD = %D%/libpeer.la %D%/libboostpeer.la $(boost_libs) libtine.la $(LMDB_LIBS) $(ZMQ_LIBS) $(MSGPACK_LIBS)
# The program executes itself for each pass, so it must not be libtool's wrapper script.
%C%_tine_bench_LDFLAGS = $(AM_LDFLAGS) $(OPENMP_CFLAGS) -no-install

EXTRA_DIST += %D%/peer.py
dist_check_SCRIPTS += %D%/quick.sh
TESTS += %D%/quick.sh

.PHONY: bench
bench: %D%/tine-bench
	%D%/tine-bench
