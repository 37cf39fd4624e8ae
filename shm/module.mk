# Shared memory and what lives in it.
libtinecore_la_SOURCES += \
	%D%/array.c \
	%D%/barrier.c %D%/barrier.h \
	%D%/cell.c %D%/cell.h \
	%D%/condition.c %D%/condition.h \
	%D%/dict.c \
	%D%/dict_impl.h \
	%D%/dict_iter.c \
	%D%/dict_seat.c \
	%D%/dict_table.c \
	%D%/event.c %D%/event.h \
	%D%/fence.c %D%/fence.h \
	%D%/handover.c %D%/handover.h \
	%D%/heap.c %D%/heap.h \
	%D%/heap_check.c \
	%D%/heap_commit.c \
	%D%/heap_impl.h \
	%D%/heap_large.c \
	%D%/heap_map.c \
	%D%/heap_pages.c \
	%D%/heap_slab.c %D%/heap_slab.h \
	%D%/heap_sweep.c \
	%D%/held.c %D%/held.h \
	%D%/keepalive.c %D%/keepalive.h \
	%D%/ledger.c %D%/ledger.h \
	%D%/lock.c %D%/lock.h \
	%D%/mapping.c %D%/mapping.h \
	%D%/memfd.c \
	%D%/memory_left.c %D%/memory_left.h \
	%D%/once.c %D%/once.h \
	%D%/owner.c %D%/owner.h \
	%D%/pollable.c %D%/pollable.h \
	%D%/rlock.c \
	%D%/robust.c %D%/robust.h \
	%D%/rwlock.c %D%/rwlock.h \
	%D%/segment.c %D%/segment.h \
	%D%/semaphore.c %D%/semaphore.h \
	%D%/shareable_list.c \
	%D%/spin.c %D%/spin.h \
	%D%/value.c \
	%D%/waiters.c %D%/waiters.h \
	%D%/watch.c %D%/watch.h
