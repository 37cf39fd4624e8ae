# Processes and work.
libtinecore_la_SOURCES += \
	%D%/claim.c %D%/claim.h \
	%D%/descriptor.c %D%/descriptor.h \
	%D%/future.c \
	%D%/job.c %D%/job.h \
	%D%/layout.h \
	%D%/loop.c \
	%D%/nursery.c %D%/nursery.h \
	%D%/outcome.c %D%/outcome.h \
	%D%/pool.c %D%/pool_impl.h \
	%D%/progress.c \
	%D%/redo.c %D%/redo.h \
	%D%/results.c \
	%D%/settle.c %D%/settle.h \
	%D%/starmap.c \
	%D%/stream.c %D%/stream.h \
	%D%/submit.c \
	%D%/task.c %D%/task.h \
	%D%/tuples.c %D%/tuples.h \
	%D%/worker.c %D%/worker.h
