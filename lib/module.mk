# The base layer, the public headers, and the library itself.
#
# All objects go into libtinecore.la, which tests link so that internals can be tested;
# libtine.la is the same objects behind the export map.
noinst_LTLIBRARIES += libtinecore.la
libtinecore_la_SOURCES =
libtinecore_la_LIBADD = $(SODIUM_LIBS) $(MSGPACK_LIBS) -lpthread -ldl

lib_LTLIBRARIES += libtine.la
libtine_la_SOURCES =
libtine_la_LIBADD = libtinecore.la
# -version-info CURRENT:REVISION:AGE.  CURRENT counts interfaces ever published, AGE how many of
# them before the newest still work, REVISION the releases since the interface last changed.
# Any release: REVISION+1.  Symbols added: CURRENT+1, REVISION=0, AGE+1.  Symbols removed or
# changed: CURRENT+1, REVISION=0, AGE=0.
libtine_la_LDFLAGS = $(AM_LDFLAGS) -version-info 0:0:0 \
	-Wl,--version-script=$(top_srcdir)/%D%/tine.map
libtine_la_DEPENDENCIES = libtinecore.la $(top_srcdir)/%D%/tine.map
EXTRA_DIST += %D%/tine.map

pkgconfig_DATA = %D%/tine.pc

tineincludedir = $(includedir)/tine
include_HEADERS = %D%/include/tine.h
tineinclude_HEADERS = \
	%D%/include/tine/array.h \
	%D%/include/tine/barrier.h \
	%D%/include/tine/base.h \
	%D%/include/tine/codec.h \
	%D%/include/tine/condition.h \
	%D%/include/tine/cpu.h \
	%D%/include/tine/dict.h \
	%D%/include/tine/error.h \
	%D%/include/tine/event.h \
	%D%/include/tine/fork.h \
	%D%/include/tine/future.h \
	%D%/include/tine/heap.h \
	%D%/include/tine/imap.h \
	%D%/include/tine/listener.h \
	%D%/include/tine/lock.h \
	%D%/include/tine/log.h \
	%D%/include/tine/once.h \
	%D%/include/tine/pipe.h \
	%D%/include/tine/pool.h \
	%D%/include/tine/process.h \
	%D%/include/tine/queue.h \
	%D%/include/tine/rpc.h \
	%D%/include/tine/rwlock.h \
	%D%/include/tine/sandbox.h \
	%D%/include/tine/semaphore.h \
	%D%/include/tine/shareable_list.h \
	%D%/include/tine/shm.h \
	%D%/include/tine/task.h \
	%D%/include/tine/time.h \
	%D%/include/tine/value.h \
	%D%/include/tine/wait.h \
	%D%/include/tine/worker.h
nodist_tineinclude_HEADERS = %D%/include/tine/version.h
BUILT_SOURCES += %D%/include/tine/version.h

libtinecore_la_SOURCES += \
	%D%/asleep.c %D%/asleep.h \
	%D%/at_fork.c %D%/at_fork.h \
	%D%/auto.h \
	%D%/buffer.c \
	%D%/checked.h \
	%D%/checksum.c %D%/checksum.h \
	%D%/clock.c %D%/clock.h \
	%D%/codec.c %D%/codec.h \
	%D%/confine.c %D%/confine.h \
	%D%/copy.c %D%/copy.h \
	%D%/cpu.c %D%/cpu.h \
	%D%/credentials.c %D%/credentials.h \
	%D%/error.c \
	%D%/explain.c %D%/explain.h \
	%D%/fork.c %D%/fork.h \
	%D%/function.c %D%/function.h \
	%D%/futex_lock.h \
	%D%/handle.c %D%/handle.h \
	%D%/hash.c %D%/hash.h \
	%D%/log.c %D%/log.h \
	%D%/mapped.c \
	%D%/msgpack_head.h \
	%D%/objects.c %D%/objects.h \
	%D%/pack.c \
	%D%/pickle.c %D%/pickle.h \
	%D%/prescan.c \
	%D%/random.c %D%/random.h \
	%D%/reader.c \
	%D%/record.c %D%/record.h \
	%D%/reserved.h \
	%D%/rights.c %D%/rights.h \
	%D%/sender.c %D%/sender.h \
	%D%/shape.c %D%/shape.h \
	%D%/shared.c %D%/shared.h \
	%D%/sig.c %D%/sig.h \
	%D%/sodium.c %D%/sodium.h \
	%D%/sys.c %D%/sys.h \
	%D%/sys_pidfd.c \
	%D%/sys_poll.c %D%/sys_poll.h \
	%D%/unpack.c \
	%D%/unpack_short.c \
	%D%/version.c \
	%D%/waitable.h
