# The examples: whole programs, each of them also a test.
#
# They see nothing of the library but its public headers and exported symbols.
noinst_PROGRAMS += %D%/condition %D%/counter %D%/epoll %D%/event %D%/pipe %D%/pipeline %D%/primes %D%/queue \
	%D%/readme %D%/rpc %D%/rwlock %D%/semaphore %D%/shared_image %D%/treehash %D%/wordcount \
	%D%/workers

%C%_counter_SOURCES = %D%/counter.c
%C%_counter_LDADD = libtine.la

%C%_epoll_SOURCES = %D%/epoll.c %D%/parts.h
%C%_epoll_LDADD = libtine.la

%C%_event_SOURCES = %D%/event.c
%C%_event_LDADD = libtine.la

%C%_treehash_SOURCES = %D%/treehash.c
%C%_treehash_LDADD = libtine.la $(SODIUM_LIBS)

%C%_primes_SOURCES = %D%/primes.c
%C%_primes_LDADD = libtine.la

%C%_condition_SOURCES = %D%/condition.c
%C%_condition_LDADD = libtine.la

%C%_pipe_SOURCES = %D%/pipe.c
%C%_pipe_LDADD = libtine.la

%C%_rpc_SOURCES = %D%/rpc.c
%C%_rpc_LDADD = libtine.la

%C%_rwlock_SOURCES = %D%/rwlock.c
%C%_rwlock_LDADD = libtine.la

%C%_pipeline_SOURCES = %D%/pipeline.c
%C%_pipeline_LDADD = libtine.la

%C%_queue_SOURCES = %D%/queue.c
%C%_queue_LDADD = libtine.la

%C%_semaphore_SOURCES = %D%/semaphore.c
%C%_semaphore_LDADD = libtine.la

%C%_shared_image_SOURCES = %D%/shared_image.c
%C%_shared_image_LDADD = libtine.la

%C%_wordcount_SOURCES = %D%/wordcount.c
%C%_wordcount_LDADD = libtine.la

%C%_workers_SOURCES = %D%/workers.c
%C%_workers_LDADD = libtine.la

# The program in README.md, so that it and its output cannot go stale.
nodist_%C%_readme_SOURCES = %D%/readme.c
%C%_readme_LDADD = libtine.la
%D%/readme.c: $(top_srcdir)/README.md
	$(AM_V_at)$(MKDIR_P) %D%
	$(AM_V_GEN)$(AWK) '/^```c$$/ { on = 1; next } on && /^```/ { exit } on' $(top_srcdir)/README.md >$@
CLEANFILES += %D%/readme.c

if HAVE_UV
noinst_PROGRAMS += %D%/libuv
%C%_libuv_SOURCES = %D%/libuv.c %D%/parts.h
%C%_libuv_CFLAGS = $(AM_CFLAGS) $(UV_CFLAGS)
%C%_libuv_LDADD = libtine.la $(UV_LIBS)
endif

if HAVE_CURL
noinst_PROGRAMS += %D%/download
%C%_download_SOURCES = %D%/download.c
%C%_download_CFLAGS = $(AM_CFLAGS) $(CURL_CFLAGS)
%C%_download_LDADD = libtine.la $(CURL_LIBS)
endif

if HAVE_PNG
noinst_PROGRAMS += %D%/heat %D%/mandelbrot
%C%_heat_SOURCES = %D%/heat.c
%C%_heat_CFLAGS = $(AM_CFLAGS) $(PNG_CFLAGS)
%C%_heat_LDADD = libtine.la $(PNG_LIBS) -lm

%C%_mandelbrot_SOURCES = %D%/mandelbrot.c
%C%_mandelbrot_CFLAGS = $(AM_CFLAGS) $(PNG_CFLAGS)
%C%_mandelbrot_LDADD = libtine.la $(PNG_LIBS) -lm
endif

EXTRA_DIST += %D%/demo.sh
