# The examples as tests: what they print, and that deaths do not change it.
example_tests = \
	%D%/condition.sh \
	%D%/counter.sh \
	%D%/download.sh \
	%D%/epoll.sh \
	%D%/event.sh \
	%D%/heat.sh \
	%D%/mandelbrot.sh \
	%D%/pipe.sh \
	%D%/pipeline.sh \
	%D%/primes.sh \
	%D%/queue.sh \
	%D%/readme.sh \
	%D%/rpc.sh \
	%D%/rwlock.sh \
	%D%/semaphore.sh \
	%D%/shared_image.sh \
	%D%/treehash.sh \
	%D%/treehash_kill.sh \
	%D%/wordcount.sh \
	%D%/workers.sh
dist_check_SCRIPTS += $(example_tests)
TESTS += $(example_tests)
