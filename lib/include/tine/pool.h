/* SPDX-License-Identifier: MIT */
/*
 * Pool: worker processes that share a stream of jobs.
 *
 *     open ──► running ──► join (no new work, all of it done, workers gone)
 *                 │  └───► terminate (everything killed, unfinished jobs -ECANCELED)
 *                 └──────► broken (the nursery died: running jobs TINE_EWORKER, later ones TINE_EBROKEN;
 *                                  or workers die and die and nothing gets done, or none can be
 *                                  started: TINE_EBROKEN; tine_pool_failure() says why)
 *     close: ends what still runs as terminate does, and frees the handle; from every state
 *
 * The canonical use:
 *
 *     static int square(size_t begin, size_t end, void *context)
 *     {
 *         double *const *values = context;
 *         for (size_t i = begin; i < end; i++)
 *             (*values)[i] *= (*values)[i];
 *         return 0;
 *     }
 *
 *     double *values = tine_calloc(n, sizeof *values);
 *     tine_pool_open(&pool, NULL);
 *     tine_pool_for(pool, n, square, &(tine_job_options){.context = &values, .context_size = sizeof values});
 *     tine_pool_close(pool);
 *
 * Workers are processes, children of a small one, the nursery, which replaces the dead ones; the
 * program itself sees one child at most, and only the pool's end makes it exit. Where they come
 * from is .start (tine/process.h):
 *
 *     TINE_FORK        forks of the program as it was at tine_pool_open(): they see its functions,
 *                      globals and descriptors of that moment, not what is changed later
 *     TINE_FORKSERVER  forks of the program as it was in tine_init(), and
 *     TINE_SPAWN       of the program executed anew: clean and small, so that replacing one costs
 *                      the same whatever the program's size. They see functions, globals of their
 *                      own as those were at that time, and no descriptors but the standard ones and
 *                      those that tasks are sent
 *
 * Memory of tine_alloc() is shared by all. Or (.kind) there are no processes:
 *
 *     TINE_THREADS     workers are threads of the program, with its signals blocked: they see all
 *                      that it sees, and what a task crashes, it crashes. Nothing can be killed:
 *                      what is cancelled while it runs, takes too long, or has its pool terminated,
 *                      goes on to its end and keeps its thread so long. It is over for who waits
 *                      (-ECANCELED, -ETIMEDOUT), and what it was given by pointer, the arrays of a
 *                      map in the heap as well, must stay until tine_pool_join() or
 *                      tine_pool_close() have returned, which wait for it. pthread_exit() in a task
 *                      ends as much as exit() in a process does: TINE_EWORKER, or another try at
 *                      once (.retries), and a new thread
 *     TINE_INLINE      a job runs in the call that submits it, and is done when that returns: for
 *                      debugging. Its timeout is not kept. A task may submit to its own pool, and
 *                      not end its thread
 *
 * Both refuse what takes a kill, or a nursery: .task_kill_ns, .stop_signal, .idle_timeout_ns,
 * .max_…_per_worker, .sandbox and tine_pool_resize() are -ENOTSUP; a soft limit is kept. A task of
 * a pool of threads that waits for another one of the same pool may wait for ever, as in Python;
 * tine_pool_join() and close are not for tasks.
 *
 * When a worker dies, the item that it was
 * running fails with TINE_EWORKER (or runs again: .retries), every other item gets its result, and
 * a new worker takes its place. A task may open a pool of its own. All pools of a family, of
 * processes and of threads, share one CPU budget: while there are several, they run together as
 * many tasks as there are usable CPUs, but each pool at least one; workers that sleep count for
 * none, whatever they wait for. The CPUs are counted anew while workers wait for one, so a change
 * of a control group or CPU set is followed; TINE_CPU_COUNT stands. Pools without workers take no
 * part. When the program dies, its workers and the nursery are killed.
 *
 * An item may have a limit of time, soft (.task_timeout_ns: the task is told, and ends by itself)
 * or hard (.task_kill_ns: its worker is killed), or both. It counts from when a worker begins with
 * the item, and goes on while that is stopped (Ctrl-Z).
 * A worker may be replaced after so many items (.max_tasks_per_worker), or when it has grown too
 * much: then it leaves between two items, and nothing fails. Memory is what it shares with nobody
 * else: neither the family heap nor files; but what the program had, when it was forked, counts.
 *
 * Calls (submit, apply) with the same .key run in one worker, one after the other, in the order of
 * their submission, so that what that worker keeps (tine_worker_state(), an open file) is of use to
 * the next. They wait for it, behind a loop that it works on too, while others may be idle;
 * .priority does not count between them. When it has died or left, another worker has the key from
 * then on, and goes on in the same order: a call that runs again (.retries) still comes before
 * those behind it. New keys are spread evenly over as many workers as there are; several keys may
 * share one.
 */
#ifndef TINE_POOL_H
#define TINE_POOL_H

#include <tine/base.h>
#include <tine/future.h>
#include <tine/sandbox.h>
#include <tine/task.h>
#include <tine/time.h>
#include <tine/worker.h>

TINE_BEGIN_DECLS

typedef struct tine_pool tine_pool;
typedef struct tine_buffer tine_buffer; /* tine/codec.h */

#define TINE_UNLIMITED       ((int32_t)-1) /* for .retries */
#define TINE_WORKERS_MAX     1024          /* workers in one pool */
#define TINE_PRIORITY_MIN    ((int32_t)-8) /* for .priority: the most urgent, */
#define TINE_PRIORITY_MAX    ((int32_t)7)  /* and the least */
#define TINE_SHUTDOWN_CANCEL 1u            /* for tine_pool_shutdown() */

/* Options of a pool; zero in a field means its default. */
typedef struct tine_pool_options {
    int32_t workers;     /* 1 … TINE_WORKERS_MAX; default: tine_cpu_count() */
    uint32_t flags;      /* TINE_POOL_… */
    int32_t kind;        /* TINE_PROCESSES … */
    int32_t start;       /* TINE_FORK … (tine/process.h); default: tine_get_start_method() */
    int32_t workers_min; /* with .idle_timeout_ns: so many stay, idle or not; default 1 */
    int32_t workers_max; /* places, up to TINE_WORKERS_MAX: tine_pool_resize() goes no further;
                            default: twice .workers, and 8 at least */
    /* An idle worker leaves after this, and is started again when there is work for it. With
       .workers_max the pool also grows that far beyond .workers while jobs wait. Default: all
       stay. */
    int64_t idle_timeout_ns;
    tine_initializer *initializer; /* run by each worker first; if it fails, the pool is broken */
    tine_finalizer *finalizer;     /* run by each worker that leaves in order */
    const void *context;           /* copied by value; passed to both */
    size_t context_size;           /* bytes */
    tine_worker_exit_cb *on_worker_exit; /* called as callbacks of futures are (tine_pool_run()) */
    void *on_worker_exit_user;
    uint64_t max_tasks_per_worker;  /* items (chunks, in for and reduce) after which a worker is
                                       replaced by a new one; default: it stays */
    uint64_t max_memory_per_worker; /* bytes; a worker that has more is replaced between two items,
                                       one that has a fourth more is killed: TINE_ELIMIT; default:
                                       no limit */
    uint64_t max_growth_per_worker; /* bytes beyond what it began with: replaced between two
                                       items */
    int64_t task_timeout_ns; /* of an item (chunk, in for and reduce), soft: tine_should_stop()
                                turns true in it; default: no limit */
    int64_t task_kill_ns; /* hard: its worker is killed, the item fails with TINE_ELIMIT; default:
                             no limit */
    int32_t stop_signal;  /* sent to the worker, too, at the soft limit; 0: none */
    uint32_t reserved0;
    const tine_sandbox *sandbox; /* what workers may not do (tine/sandbox.h); NULL: as the
                                    program */
    uint64_t reserved[8];        /* must be zero */
} tine_pool_options;

/* Kinds of workers. */
enum {
    TINE_PROCESSES = 0,
    TINE_THREADS = 1, /* threads of the program */
    TINE_INLINE = 2,  /* none: a job runs in the call that submits it */
};

enum {
    TINE_POOL_NO_SPIN = 1,    /* idle workers and waiting callers sleep at once */
    TINE_POOL_ACCOUNTING = 2, /* times and costs of jobs are taken: one or two microseconds a call
                                 or chunk */
    TINE_POOL_NO_BUDGET = 4,  /* the workers take no part in the family's CPU budget */
    /* A thread of the pool's own runs its callbacks, and no other does; it has all signals
       blocked. */
    TINE_POOL_CALLBACK_THREAD = 8,
    TINE_POOL_UNTRUSTED = 16, /* tasks run in processes without the family heap, see
                                 tine/sandbox.h */
};

enum {
    TINE_JOB_RETRY_LIMITED = 1, /* .retries also for an item that was ended at a limit */
};

/* How far a job is; counts are of indices or items. */
typedef struct tine_progress {
    uint64_t done;
    uint64_t total;
    uint64_t deaths;    /* workers that died with a part of this job */
    int64_t elapsed_ns; /* since the job was submitted */
} tine_progress;

typedef void tine_progress_cb(const tine_progress *progress, void *user);

/* Options of a job; zero in a field means its default. */
typedef struct tine_job_options {
    const void *context;        /* copied by value when the job is submitted; passed to every
                                   call */
    size_t context_size;        /* bytes */
    uint64_t chunk;             /* indices a claim; default: self-scheduling, large chunks first */
    int32_t retries;            /* how often an item (chunk, in for and reduce) that took its worker
                                   down runs again; default 0, or TINE_UNLIMITED */
    int32_t fail_fast;          /* 1: after the first failure claim nothing more */
    int64_t timeout_ns;         /* of a blocking call, after which what still runs is killed;
                                   default: for ever */
    uint64_t result_bytes_max;  /* limit of one packed result; default 1 GiB */
    tine_progress_cb *progress; /* called about ten times a second and at the end, by the waiting
                                   thread */
    void *progress_user;
    tine_failure *failure;   /* written when the job failed; of _async forms: when its end is
                                   seen */
    uint32_t flags;          /* TINE_JOB_… */
    int32_t priority;        /* TINE_PRIORITY_MIN … MAX: jobs with smaller numbers are begun, and
                                   gone on with, first; equal ones in order of submission; default
                                   0 */
    int64_t task_timeout_ns; /* instead of the pool's; TINE_FOREVER: no limit */
    int64_t task_kill_ns;    /* instead of the pool's; TINE_FOREVER: no limit */
    int64_t backoff_ns;      /* an item waits so long before it runs again (.retries), twice as
                                   long before the next time, and so on; what is left of its chunk
                                   waits with it; default: it runs again at once */
    uint64_t key;            /* of calls only, or -EINVAL: those of one key run in one worker,
                                   one after the other; default 0: none */
    uint64_t reserved[8];    /* must be zero */
} tine_job_options;

/* A range of a loop: indices begin … end-1. 0 or positive = done, negative = failed with this
   code. */
typedef int tine_body(size_t begin, size_t end, void *context);
/* A range of a reduction: adds begin … end-1 to the accumulator. */
typedef int tine_reduce_body(size_t begin, size_t end, void *accumulator, void *context);
/* Adds the partial result `from` to `into`. */
typedef void tine_combine(void *into, const void *from, void *context);
/* One item of a map: reads *in, writes *out. */
typedef int tine_item(const void *in, void *out, void *context);

/* A map over C arrays. Arrays in the family heap are used in place, others are copied in and
   back. */
typedef struct tine_map {
    tine_item *item;
    const void *in; /* n items of in_size bytes; NULL where in_size is 0 */
    size_t in_size;
    void *out; /* n items of out_size bytes; NULL where out_size is 0 */
    size_t out_size;
    size_t n;
} tine_map;

/* What tine_pool_stats() reports. */
typedef struct tine_pool_counts {
    int32_t workers;    /* the pool's size now */
    int32_t alive;      /* workers that run at this moment */
    uint64_t started;   /* workers started so far */
    uint64_t deaths;    /* workers that died without being asked to leave */
    uint64_t recycled;  /* workers that left their place to a new one, as options.max_… asked */
    uint64_t submitted; /* jobs accepted */
    uint64_t done;      /* jobs ended, however */
    uint64_t retries;   /* items that ran again, their worker having died */
    int64_t cpu_ns;     /* CPU time of all workers, those that have ended included */
    uint64_t peak_rss_bytes; /* most memory that a worker had which has ended */
    /* with TINE_POOL_ACCOUNTING, over the jobs whose end the program has seen: */
    uint64_t bytes_in;  /* arguments, arrays and contexts */
    uint64_t bytes_out; /* results */
    int64_t waited_ns;  /* from submission to the first start, summed up */
    int64_t ran_ns;     /* from there to the end */
    uint64_t reserved[8];
} tine_pool_counts;

/**
 * tine_pool_open - start a pool of workers
 *
 * In:      options  NULL for defaults
 * Out:     pool     the pool, to be freed with tine_pool_close()
 * Shape:   none
 * Units:   options.workers processes, or threads
 * Returns: 0, or a negative code; *pool is set only for 0
 * Handle:  -EAGAIN (process limit, or no thread for callbacks), -EMFILE, -ENFILE, what a hook
 *          of tine_register_at_fork() refuses with, -ENOTSUP (TINE_SPAWN or TINE_FORKSERVER without
 *          tine_init(), or without /proc; TINE_SPAWN of a program that its file gives rights;
 *          options.sandbox: this kernel has no such box; memory is to be limited, and /proc does
 *          not tell how much a process has; an option that this .kind cannot have), -ENOENT,
 *          -EACCES … (a path in the sandbox)
 * Give up: -EINVAL (workers < 0 or > TINE_WORKERS_MAX, or not between workers_min and _max, unknown
 *          flags, kind or start, negative limits, a stop_signal that is none or cannot be handled,
 *          max_memory_per_worker below what a forked worker begins with), -E2BIG (reserved not
 *          zero), -ENOMEM, -EADDRINUSE (the family heap's address is taken, here or three times in
 *          a process executed anew), -EPERM, -EACCES … (memfd_create() is forbidden),
 *          -ETIMEDOUT (the nursery is not up after 30 s), TINE_EBROKEN (it ended before it was
 *          ready)
 * Blocks:  for one fork, or until the nursery is launched: 0.3 ms by the forkserver, a few where
 *          the program is executed; workers come up behind the call: one at once, the others after
 *          as long again (at least half a millisecond), which a pool for one small job does not
 *          live to see
 * Safety:  thread any | process owner | fork child may call | signal no
 * Death:   none
 * Source:  pool/pool.c; follows Python 3.13 multiprocessing.Pool, and its contexts as .start;
 *          differs: workers are grandchildren, a dead one is replaced and costs only the item it
 *          ran
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_pool_open(tine_pool **pool, const tine_pool_options *options);

/**
 * tine_pool_for - run body over the indices 0 … n-1 on all workers
 *
 * In:      pool     open pool
 *          n        number of indices
 *          body     called with disjoint ranges that together cover 0 … n-1
 *          options  NULL for defaults
 * Out:     none     (options->failure)
 * Shape:   each index is in exactly one call that ended well, unless the job failed
 * Units:   n and options.chunk indices, options.timeout_ns nanoseconds
 * Returns: 0, or a negative code
 * Handle:  TINE_EREMOTE (body returned a negative code), TINE_EWORKER (a worker died in body),
 *          TINE_ELIMIT (body ran longer than .task_kill_ns, took far more than
 *          .max_memory_per_worker, or returned this), -ETIMEDOUT, -ESHUTDOWN (joined or terminated
 *          before), -ECANCELED (terminated meanwhile), -EAGAIN (as tine_pool_submit())
 * Give up: -EINVAL, -EBADF (pool closed), -E2BIG, -EOVERFLOW (more than 2^60 indices or 2^50
 *          chunks), -ENOMEM, TINE_EBROKEN, TINE_EFORKED
 * Blocks:  until every chunk has ended, at most options.timeout_ns; runs callbacks
 * Safety:  thread any | process owner | fork child must not | signal no
 * Death:   the chunk in a dying worker fails, its indices are named; all others are run
 * Source:  pool/loop.c; follows OpenMP's parallel for with schedule(guided) or (dynamic, chunk)
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_pool_for(tine_pool *pool, size_t n, tine_body *body,
                                        const tine_job_options *options);

/**
 * tine_pool_reduce - fold the indices 0 … n-1 into one accumulator on all workers
 *
 * In:      pool         open pool
 *          n            number of indices
 *          body         adds a range to the accumulator it is given
 *          combine      adds one partial result to another; runs in the calling process
 *          accumulator  size bytes; its value at the call is the start of every partial result, so
 *                       it must be the operation's identity (0 for sums, 1 for products, infinity
 *                       for minima)
 *          size         of the accumulator
 *          options      NULL for defaults
 * Out:     accumulator  the result; unchanged on failure
 * Shape:   partial results are combined in the order of their ranges, and the ranges depend only on
 *          n, size, options.chunk and the number of workers: floating-point results repeat exactly
 * Units:   n and options.chunk indices, size bytes, options.timeout_ns nanoseconds
 * Returns: 0, or a negative code
 * Handle:  as tine_pool_for()
 * Give up: as tine_pool_for()
 * Blocks:  as tine_pool_for()
 * Safety:  thread any | process owner | fork child must not | signal no
 * Death:   as tine_pool_for(); a retried chunk starts again from the initial value
 * Source:  pool/loop.c; follows OpenMP's reduction; differs: fixed order
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_pool_reduce(tine_pool *pool, size_t n, tine_reduce_body *body,
                                           tine_combine *combine, void *accumulator, size_t size,
                                           const tine_job_options *options);

/**
 * tine_pool_map - call a function for each element of an array
 *
 * In:      pool     open pool
 *          map      arrays, sizes and function; map->in and map->out must not overlap unless equal
 *          options  NULL for defaults
 * Out:     map->out element i is written by the call for element i; elements whose call failed have
 *                   no defined content
 * Shape:   n inputs, n outputs; out[i] belongs to in[i]
 * Units:   sizes in bytes an element, options.chunk elements, options.timeout_ns nanoseconds
 * Returns: 0, or a negative code
 * Handle:  as tine_pool_for(); the failure's index is the element
 * Give up: as tine_pool_for(); -EOVERFLOW (n times a size does not fit)
 * Blocks:  as tine_pool_for()
 * Safety:  thread any | process owner | fork child must not | signal no
 * Death:   the element in a dying worker fails, finished ones stand, the rest is run
 * Source:  pool/loop.c; follows Python's Pool.map; differs: arrays in, arrays out, no serialization
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_pool_map(tine_pool *pool, const tine_map *map,
                                        const tine_job_options *options);

/**
 * tine_pool_starmap - call a task once for each of many argument tuples
 *
 * In:      pool      open pool
 *          function  the task
 *          args      any number of packed arrays one behind the other, each made with
 *                    tine_pack(&args, "[qs]", …)
 *          options   NULL for defaults
 * Out:     results   all results, also when some items failed (then the call returns the first
 *                    failure's code); to be freed with tine_results_close(); not set when nothing
 *                    was run
 * Shape:   n tuples give n results; result i belongs to tuple i
 * Units:   options.chunk tuples, options.timeout_ns nanoseconds
 * Returns: 0, or a negative code; *results is written for 0 and for the failure of an item:
 *          TINE_EREMOTE, TINE_EWORKER, TINE_ELIMIT, TINE_EFORMAT
 * Handle:  as tine_pool_for(), TINE_ELIMIT (or a result is larger than options.result_bytes_max)
 * Give up: as tine_pool_for(), TINE_EFORMAT (args are not arrays: *results is left alone; or a task
 *          gave what is no value, or could not read its arguments)
 * Blocks:  as tine_pool_for()
 * Safety:  thread any | process owner | fork child must not | signal no
 * Death:   the tuple in a dying worker fails, finished ones stand, the rest is run
 * Source:  pool/starmap.c; follows Python's Pool.starmap; differs: every other result is kept on
 *          failure
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_pool_starmap(tine_results **results, tine_pool *pool,
                                            tine_function *function, const tine_buffer *args,
                                            const tine_job_options *options);

/**
 * tine_pool_apply - call a task once in a worker and wait for its result
 *
 * In:      pool      open pool
 *          function  the task
 *          options   NULL for defaults
 *          format    one letter an argument, as tine_pack() has them; and `F` for a descriptor,
 *                    `oc` for a connection, `oq` for a queue
 *          ...       the arguments; a descriptor (int) or handle is the caller's again when the
 *                    call returns
 * Out:     results   one result, to be freed with tine_results_close()
 * Shape:   one tuple, one result
 * Units:   options.timeout_ns nanoseconds
 * Returns: 0, or a negative code; *results is set only for 0
 * Handle:  as tine_pool_starmap(); with `F` and `o` as tine_pool_submit()
 * Give up: as tine_pool_starmap()
 * Blocks:  as tine_pool_for()
 * Safety:  thread any | process owner | fork child must not | signal no
 * Death:   TINE_EWORKER when the worker dies with it, unless options.retries
 * Source:  pool/starmap.c; follows Python's Pool.apply
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_pool_apply(tine_results **results, tine_pool *pool,
                                          tine_function *function, const tine_job_options *options,
                                          const char *format, ...);

/**
 * tine_pool_submit - have a task called in a worker, without waiting
 *
 * In:      pool      open pool
 *          function  the task
 *          options   NULL for defaults; .timeout_ns must be 0: the wait has its own
 *          format    one letter an argument, as tine_pack() has them; and `F` for a descriptor: the
 *                    task gets the open file, whenever it was opened, and each worker that runs the
 *                    task again, too; `oc` for a connection and `oq` for a queue, likewise:
 *                    messages that the caller's handle has received and keeps stay there
 *          ...       the arguments; a descriptor (int) or handle is the caller's again when the
 *                    call returns
 * Out:     future    to be read with tine_future_result() and freed with tine_future_close()
 * Shape:   one tuple, one result
 * Units:   none
 * Returns: 0, or a negative code; *future is set only for 0
 * Handle:  -ESHUTDOWN, -EAGAIN (millions of jobs wait already, or have ended and nobody has looked
 *          at them; unfinished calls have 256 `F`, or the nursery does not listen for a second),
 *          -EBADF (`F`), -EMFILE (more than 16 `F`; an `oc` counts as two)
 * Give up: as tine_pool_starmap()
 * Blocks:  no; with `F` and `o` for a moment, when the nursery is behind with many
 * Safety:  thread any | process owner | fork child must not | signal no
 * Death:   seen in the future
 * Source:  pool/starmap.c; follows concurrent.futures Executor.submit and Pool.apply_async
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_pool_submit(tine_future **future, tine_pool *pool,
                                           tine_function *function, const tine_job_options *options,
                                           const char *format, ...);

/**
 * tine_pool_for_async - tine_pool_for() without waiting
 *
 * In:      pool, n, body, options  as tine_pool_for(); options.timeout_ns must be 0
 * Out:     future                  to be waited for with tine_future_result(future, timeout_ns,
 *                                  NULL)
 * Shape:   as tine_pool_for()
 * Units:   as tine_pool_for()
 * Returns: 0, or a negative code; *future is set only for 0
 * Handle:  -ESHUTDOWN
 * Give up: as tine_pool_for()
 * Blocks:  no
 * Safety:  thread any | process owner | fork child must not | signal no
 * Death:   seen in the future
 * Source:  pool/loop.c
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_pool_for_async(tine_future **future, tine_pool *pool, size_t n,
                                              tine_body *body, const tine_job_options *options);

/**
 * tine_pool_reduce_async - tine_pool_reduce() without waiting
 *
 * In:      pool, n, body, combine, accumulator, size, options  as tine_pool_reduce();
 *                       options.timeout_ns must be 0; the accumulator is kept until the future is
 *                       done or closed
 * Out:     future       to be waited for with tine_future_result(future, timeout_ns, NULL); the
 *                       accumulator is written by the call that sees the end
 * Shape:   as tine_pool_reduce()
 * Units:   as tine_pool_reduce()
 * Returns: 0, or a negative code; *future is set only for 0
 * Handle:  -ESHUTDOWN
 * Give up: as tine_pool_reduce()
 * Blocks:  no
 * Safety:  thread any | process owner | fork child must not | signal no
 * Death:   seen in the future
 * Source:  pool/loop.c
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_pool_reduce_async(tine_future **future, tine_pool *pool, size_t n,
                                                 tine_reduce_body *body, tine_combine *combine,
                                                 void *accumulator, size_t size,
                                                 const tine_job_options *options);

/**
 * tine_pool_map_async - tine_pool_map() without waiting
 *
 * In:      pool, map, options  as tine_pool_map(); options.timeout_ns must be 0; map->out is kept
 *                              until the future is done or closed, map->in only when it lies in the
 *                              family heap
 * Out:     future              to be waited for with tine_future_result(future, timeout_ns, NULL);
 *                              an `out` outside the heap is written by the call that sees the end
 * Shape:   as tine_pool_map()
 * Units:   as tine_pool_map()
 * Returns: 0, or a negative code; *future is set only for 0
 * Handle:  -ESHUTDOWN
 * Give up: as tine_pool_map()
 * Blocks:  no
 * Safety:  thread any | process owner | fork child must not | signal no
 * Death:   seen in the future
 * Source:  pool/loop.c; follows Python's Pool.map_async
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_pool_map_async(tine_future **future, tine_pool *pool,
                                              const tine_map *map, const tine_job_options *options);

/**
 * tine_pool_starmap_async - tine_pool_starmap() without waiting
 *
 * In:      pool, function, args, options  as tine_pool_starmap(); options.timeout_ns must be 0
 * Out:     future                         to be read with tine_future_results()
 * Shape:   as tine_pool_starmap()
 * Units:   as tine_pool_starmap()
 * Returns: 0, or a negative code; *future is set only for 0
 * Handle:  -ESHUTDOWN
 * Give up: as tine_pool_starmap()
 * Blocks:  no
 * Safety:  thread any | process owner | fork child must not | signal no
 * Death:   seen in the future
 * Source:  pool/starmap.c; follows Python's Pool.starmap_async
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_pool_starmap_async(tine_future **future, tine_pool *pool,
                                                  tine_function *function, const tine_buffer *args,
                                                  const tine_job_options *options);

/**
 * tine_pool_run - run the callbacks of futures that are done, or wait until there is one
 *
 * In:      pool        open pool
 *          timeout_ns  how long to wait for a callback to be due
 * Out:     none
 * Shape:   all that are due are run
 * Units:   timeout_ns nanoseconds (TINE_FOREVER, 0 = run what is due)
 * Returns: how many callbacks were run; 0 when none was due in time; or a negative code
 * Handle:  -ESHUTDOWN (the pool has ended, and no callback is left)
 * Give up: -EINVAL, -EBADF, TINE_EFORKED, -EDEADLK (called in a callback), -EBUSY (the pool has a
 *          thread for them: TINE_POOL_CALLBACK_THREAD)
 * Blocks:  yes, at most timeout_ns and what the callbacks take; not interrupted by signals
 * Safety:  thread any | process owner | fork child must not | signal no
 * Death:   returns within 100 ms of the death of what is waited for
 * Source:  pool/callback.c; the part that a thread of the executor has in concurrent.futures
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_pool_run(tine_pool *pool, int64_t timeout_ns);

/**
 * tine_pool_waitable - an entry for tine_wait(): ready when tine_pool_run() has a callback to run
 *
 * In:      pool  open pool
 * Out:     none
 * Shape:   none
 * Units:   none
 * Returns: the entry, good until the pool is closed
 * Handle:  none
 * Give up: none: tine_wait() refuses NULL and the pools of another process
 * Blocks:  no
 * Safety:  thread any | process owner | fork child must not | signal no
 * Death:   as tine_pool_run()
 * Source:  pool/callback.c
 * Since:   0.1
 */
TINE_API tine_waitable tine_pool_waitable(tine_pool *pool);

/**
 * tine_pool_shutdown - accept no more work, without waiting
 *
 * In:      pool   open pool
 *          flags  0: what was submitted is done; TINE_SHUTDOWN_CANCEL: jobs that no worker has
 *                 begun with are cancelled
 * Out:     none
 * Shape:   none
 * Units:   none
 * Returns: 0, or a negative code; repeating it is no error
 * Handle:  none
 * Give up: -EINVAL (unknown flags), -EBADF, TINE_EFORKED
 * Blocks:  no; tine_pool_join() waits for the end
 * Safety:  thread any, also in a callback | process owner | fork child must not | signal no
 * Death:   none
 * Source:  pool/cancel.c; follows concurrent.futures Executor.shutdown(wait=False, cancel_futures)
 * Since:   0.1
 */
TINE_API int tine_pool_shutdown(tine_pool *pool, uint32_t flags);

/**
 * tine_pool_join - accept no more work, wait until all of it is done and the workers are gone
 *
 * In:      pool        open pool
 *          timeout_ns  how long to wait
 * Out:     none
 * Shape:   none
 * Units:   timeout_ns nanoseconds (TINE_FOREVER, 0 = poll)
 * Returns: 0, or a negative code; a second call waits on
 * Handle:  -ETIMEDOUT, -EAGAIN (timeout 0 and not ended); the pool stays shut to new work
 * Give up: -EBADF, TINE_EBROKEN (the nursery died), TINE_EFORKED
 * Blocks:  yes, at most timeout_ns; not interrupted by signals; runs callbacks of futures,
 *          or waits for the thread that does
 * Safety:  thread any | process owner | fork child must not | signal no
 * Death:   workers that die meanwhile are replaced until the work is done
 * Source:  pool/pool.c; follows Python's Pool.close() and Pool.join()
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_pool_join(tine_pool *pool, int64_t timeout_ns);

/**
 * tine_pool_terminate - kill all workers now
 *
 * In:      pool  open pool
 * Out:     none
 * Shape:   none
 * Units:   none
 * Returns: 0, or a negative code; repeating it is no error
 * Handle:  none
 * Give up: -EBADF, TINE_EFORKED
 * Blocks:  at most half a second, until the killed are gone; with much private memory they may
 *          still be exiting then, and touch nothing of the caller's any more
 * Safety:  thread any, also in a callback | process owner | fork child must not | signal no
 * Death:   unfinished jobs end with -ECANCELED; stopped and signal-ignoring workers die as well
 *          (SIGKILL)
 * Source:  pool/pool.c; follows Python's Pool.terminate(); differs: never waits for a worker's
 *          consent
 * Since:   0.1
 */
TINE_API int tine_pool_terminate(tine_pool *pool);

/**
 * tine_pool_close - end a pool and free its handle
 *
 * In:      pool  a pool, or NULL
 * Out:     none
 * Shape:   none
 * Units:   none
 * Returns: nothing
 * Handle:  none
 * Give up: none
 * Blocks:  shortly: idle workers leave by themselves, a pool with unfinished work is terminated
 *          first; callbacks that are due, or run, have ended
 * Safety:  thread one, not in a callback, and no other may be in a call on the pool or wait for one
 *          of its futures: tine_pool_terminate() makes them return | process owner |
 *          fork child may close (frees its copy only) | signal no
 * Death:   unfinished jobs end with -ECANCELED; their futures stay readable
 * Source:  pool/pool.c; follows the end of Python's `with Pool()` block; differs from an
 *          executor's: whose queued work is to be done calls tine_pool_shutdown() or
 *          tine_pool_join() first, also before main returns
 * Since:   0.1
 */
TINE_API void tine_pool_close(tine_pool *pool);

/**
 * tine_pool_resize - change how many workers a pool has
 *
 * In:      pool     open pool
 *          workers  from now on, 1 … options.workers_max of tine_pool_open(); with .idle_timeout_ns
 *                   at most that many
 * Out:     none
 * Shape:   none
 * Units:   workers processes
 * Returns: 0, or a negative code
 * Handle:  -ESHUTDOWN
 * Give up: -EINVAL (workers < 1 or more than there are places for), -EBADF, TINE_EBROKEN,
 *          TINE_EFORKED
 * Blocks:  no; new workers come up behind the call, and help with loops that run; those too many
 *          leave when they have ended the item (chunk) that they run, first of all those that have
 *          none
 * Safety:  thread any, also in a callback | process owner | fork child must not | signal no
 * Death:   no work is lost by it; a worker that dies before it has left is not replaced
 * Source:  pool/resize.c; follows loky's resize and billiard's grow and shrink; differs: never
 *          waits for the pool to be idle, and never refuses because all are busy
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_pool_resize(tine_pool *pool, int32_t workers);

/**
 * tine_pool_stats - counts of a pool
 *
 * In:      pool   open pool
 * Out:     counts  a snapshot; its fields are read one by one
 * Shape:   none
 * Units:   counts
 * Returns: 0, or a negative code
 * Handle:  none
 * Give up: -EINVAL, -EBADF, TINE_EFORKED
 * Blocks:  no
 * Safety:  thread any | process owner | fork child must not | signal no
 * Death:   none
 * Source:  pool/pool.c
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_pool_stats(tine_pool *pool, tine_pool_counts *counts);

/**
 * tine_progress_bar - a progress callback that draws a bar
 *
 * In:      progress  from the pool
 *          user      a label (const char *), or NULL
 * Out:     none
 * Shape:   one line on standard error, rewritten in place; nothing when that is no terminal
 * Units:   none
 * Returns: nothing
 * Handle:  none
 * Give up: none
 * Blocks:  as writing to the terminal does
 * Safety:  thread any | process shared | fork child may call | signal no
 * Death:   none
 * Source:  pool/progress.c
 * Since:   0.1
 */
TINE_API void tine_progress_bar(const tine_progress *progress, void *user);

TINE_END_DECLS

#endif
