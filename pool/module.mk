# Processes and work.
libtinecore_la_SOURCES += \
	%D%/account.c %D%/account.h \
	%D%/asker.c %D%/asker.h \
	%D%/backoff.c %D%/backoff.h \
	%D%/begin.c %D%/begin.h \
	%D%/budget.c %D%/budget.h \
	%D%/callback.c \
	%D%/caller.c %D%/caller.h \
	%D%/cancel.c \
	%D%/carry.c %D%/carry.h \
	%D%/claim.c %D%/claim.h \
	%D%/completed.c \
	%D%/compute.c %D%/compute.h \
	%D%/current.c \
	%D%/daemon.c %D%/daemon.h \
	%D%/descriptor.c %D%/descriptor.h \
	%D%/environment.c %D%/environment.h \
	%D%/exit.c %D%/exit.h \
	%D%/failure.c %D%/failure.h \
	%D%/forkserver.c %D%/forkserver.h \
	%D%/future.c \
	%D%/guest.c %D%/guest.h \
	%D%/imap.c \
	%D%/init.c %D%/init.h \
	%D%/initialize.c %D%/initialize.h \
	%D%/job.c %D%/job.h \
	%D%/launch.c %D%/launch.h \
	%D%/layout.h \
	%D%/limit.c %D%/limit.h \
	%D%/loop.c \
	%D%/nursery.c %D%/nursery.h \
	%D%/nursery_hold.c \
	%D%/nursery_launch.c \
	%D%/orphans.c %D%/orphans.h \
	%D%/outcome.c %D%/outcome.h \
	%D%/place.c %D%/place.h \
	%D%/polled.c %D%/polled.h \
	%D%/pool.c %D%/pool_impl.h \
	%D%/priority.c \
	%D%/process.c %D%/process_impl.h \
	%D%/progress.c \
	%D%/reap.c \
	%D%/recycle.c %D%/recycle.h \
	%D%/redo.c %D%/redo.h \
	%D%/release.c \
	%D%/remains.c %D%/remains.h \
	%D%/resize.c %D%/resize.h \
	%D%/restart.c %D%/restart.h \
	%D%/results.c \
	%D%/runner.c %D%/runner.h \
	%D%/sandbox.c %D%/sandbox.h \
	%D%/settle.c %D%/settle.h \
	%D%/spares.c %D%/spares.h \
	%D%/starmap.c \
	%D%/start.c %D%/start.h \
	%D%/start_fork.c \
	%D%/start_forkserver.c \
	%D%/start_spawn.c \
	%D%/sticky.c %D%/sticky.h \
	%D%/stream.c %D%/stream.h \
	%D%/submit.c \
	%D%/surroundings.c %D%/surroundings.h \
	%D%/task.c %D%/task.h \
	%D%/threads.c %D%/threads.h \
	%D%/token.c \
	%D%/tuples.c %D%/tuples.h \
	%D%/worker.c %D%/worker.h
