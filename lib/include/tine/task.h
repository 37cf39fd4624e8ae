/* SPDX-License-Identifier: MIT */
/*
 * Tasks: what a function sees that runs elsewhere, and how failures come back.
 *
 * A task is `int task(tine_call *call)`. It unpacks its arguments, works, packs one result and
 * returns 0; or it returns a negative code, best through tine_fail(), which adds a sentence:
 *
 *     static int power(tine_call *call)
 *     {
 *         int64_t base, exponent;
 *         int rc = tine_args(call, "qq", &base, &exponent);
 *         if (rc < 0)
 *             return rc;
 *         if (exponent < 0)
 *             return tine_fail(call, -EDOM, "exponent %" PRId64 " is negative", exponent);
 *         return tine_return(call, "q", ipow(base, exponent));
 *     }
 *
 * A call object lives in the worker and only while the task runs. Strings and arrays that
 * tine_args() hands out point into the arguments and are valid until the task returns, and so are
 * descriptors, connections and queues: they are closed then, so dup() a descriptor that is to be
 * kept or given to fdopen(). Whatever becomes of the task, its caller gets either the result or a
 * tine_failure; when the worker dies in the middle, the failure says so (TINE_EWORKER) and nothing
 * of a half-written result is seen.
 */
#ifndef TINE_TASK_H
#define TINE_TASK_H

#include <tine/base.h>

TINE_BEGIN_DECLS

typedef struct tine_call tine_call;

/* A task: 0 or positive = done, negative = failed with this code. */
typedef int tine_function(tine_call *call);

/* How a job failed: plain data, filled for the failure with the lowest index. */
typedef struct tine_failure {
    int32_t code;        /* TINE_EREMOTE, TINE_EWORKER, TINE_ELIMIT, TINE_EFORMAT, -ECANCELED … */
    int32_t error;       /* TINE_EREMOTE: the code that the task gave; else 0 */
    int32_t pid;         /* the worker's process; 0 when it never reached one */
    int32_t worker;      /* its index in the pool; -1 when it never reached one */
    int32_t signal;      /* TINE_EWORKER, TINE_ELIMIT: the signal that ended the worker, or 0 */
    int32_t exit_status; /* TINE_EWORKER: its exit status when it exited by itself, else -1 */
    uint64_t index;      /* the item, or the first index of the chunk */
    uint64_t count;      /* 1 for an item, the length of the chunk for tine_pool_for and reduce */
    char task[64];       /* symbol of the function where the object file names it, else
                            object+offset */
    char message[160];   /* a sentence, NUL-terminated: of tine_fail(), or what is known */
} tine_failure;

/**
 * tine_args - unpack the arguments of the running task
 *
 * In:      call    the call that the task was given
 *          format  one letter an argument, as tine_unpack() has them, without the outer brackets;
 *                  and `F` for a descriptor, `oc` for a connection, `oq` for a queue, `c`
 *                  for a function
 * Out:     ...     one pointer (or pair) a letter, as for tine_unpack(), int * for `F`; strings,
 *                  arrays, descriptors, connections and queues are borrowed until the task
 *                  returns
 * Shape:   all arguments, in order: a format that names fewer or more does not match
 * Units:   none
 * Returns: 0, or a negative code; nothing is written through the pointers on failure
 * Handle:  -EMFILE, -ETOOMANYREFS (`F`, `o`: no room for it here or on its way), -ENOENT (`c`: its
 *          object file is not loaded in this worker, or is another build of it)
 * Give up: TINE_EFORMAT (the arguments have another shape), -ERANGE (a number does not fit its
 *          letter), -EINVAL (bad format), -EBADF (`F`, `o` in bytes from elsewhere); return the
 *          code from the task
 * Blocks:  no; with `F` or `o` until the nursery has sent it, the first time
 * Safety:  thread one | process owner | fork child must not | signal no
 * Death:   TINE_EBROKEN for an `F` or `o` when the nursery dies; the worker is killed at the same
 *          time
 * Source:  pool/task.c; the role of a Python function's parameter list; `F` follows
 *          multiprocessing.reduction.DupFd, differs: borrowed
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_args(tine_call *call, const char *format, ...);

/**
 * tine_args_packed - the arguments of the running task as msgpack bytes
 *
 * In:      call   the call that the task was given
 * Out:     bytes  one msgpack array, borrowed until the task returns
 *          size   its length
 * Shape:   one value: an array with one element an argument
 * Units:   size bytes
 * Returns: 0, or -EINVAL when a pointer is NULL
 * Handle:  none
 * Give up: -EINVAL
 * Blocks:  no
 * Safety:  thread one | process owner | fork child must not | signal no
 * Death:   none
 * Source:  pool/task.c
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_args_packed(tine_call *call, const void **bytes, size_t *size);

/**
 * tine_return - pack the result of the running task
 *
 * In:      call    the call that the task was given
 *          format  exactly one value, as tine_pack() has it: "q", "s", "[qd]", "ad" …
 *          ...     its parts
 * Out:     none
 * Shape:   one msgpack value; a second call replaces the first; a task that never calls it returns
 *          nil
 * Units:   none
 * Returns: 0, or a negative code: return it from the task
 * Handle:  none
 * Give up: -ENOMEM, -EINVAL (bad format or not one value), TINE_ELIMIT (larger than
 *          .result_bytes_max)
 * Blocks:  no
 * Safety:  thread one | process owner | fork child must not | signal no
 * Death:   a worker that dies before its task has returned leaves no result, whatever it packed
 * Source:  pool/task.c
 * Since:   0.1
 */
TINE_API int tine_return(tine_call *call, const char *format, ...);

/**
 * tine_return_packed - give msgpack bytes as the result of the running task
 *
 * In:      call   the call that the task was given
 *          bytes  one msgpack value, made by any implementation; copied
 *          size   its length
 * Out:     none
 * Shape:   one value, as tine_return()
 * Units:   size bytes
 * Returns: 0, or a negative code: return it from the task
 * Handle:  none
 * Give up: TINE_EFORMAT (not exactly one well-formed value), TINE_ELIMIT (larger than
 *          .result_bytes_max), -ENOMEM, -EINVAL (NULL)
 * Blocks:  no
 * Safety:  thread one | process owner | fork child must not | signal no
 * Death:   as tine_return()
 * Source:  pool/task.c
 * Since:   0.1
 */
TINE_API int tine_return_packed(tine_call *call, const void *bytes, size_t size);

/**
 * tine_fail - say why the running task fails
 *
 * In:      call    the call that the task was given
 *          code    a negative code, an errno or one of the task's own
 *          format  printf format of a sentence for people, cut to fit tine_failure.message
 * Out:     none
 * Shape:   none
 * Units:   none
 * Returns: code, so that a task ends with `return tine_fail(call, -EDOM, "…")`; -EINVAL for a code
 *          >= 0
 * Handle:  none
 * Give up: none
 * Blocks:  no
 * Safety:  thread one | process owner | fork child must not | signal no
 * Death:   none
 * Source:  pool/task.c; the role of Python's raise
 * Since:   0.1
 */
TINE_API int tine_fail(tine_call *call, int code, const char *format, ...) TINE_PRINTF(3, 4);

/**
 * tine_call_index - which item of a starmap this is
 *
 * In:      call  the call that the task was given
 * Out:     none
 * Shape:   none
 * Units:   none
 * Returns: index of the argument tuple, from 0; 0 for apply and submit
 * Handle:  none
 * Give up: none
 * Blocks:  no
 * Safety:  thread one | process owner | fork child must not | signal no
 * Death:   none
 * Source:  pool/task.c
 * Since:   0.1
 */
TINE_API size_t tine_call_index(const tine_call *call);

/**
 * tine_call_context - the job's context, as the job options gave it
 *
 * In:      call  the call that the task was given
 * Out:     none
 * Shape:   .context_size bytes, copied when the job was submitted; shared by all tasks of the job
 * Units:   none
 * Returns: the context in the family heap, or NULL when the job has none
 * Handle:  none
 * Give up: none
 * Blocks:  no
 * Safety:  thread one | process owner | fork child must not | signal no
 * Death:   none
 * Source:  pool/task.c
 * Since:   0.1
 */
TINE_API void *tine_call_context(const tine_call *call);

/**
 * tine_should_stop - is the soft time limit of the running item over?
 *
 * In:      none
 * Out:     none
 * Shape:   none
 * Units:   none
 * Returns: whether; once true, until the item (chunk, for tine_pool_for and reduce) has ended.
 *          False where there is no limit, and outside of a task
 * Handle:  none; what the task does about it is its affair: `return TINE_ELIMIT` fails the item
 *          with that code, a result counts as any other
 * Give up: none
 * Blocks:  no: one load
 * Safety:  thread any | process shared | fork child may call | signal yes
 * Death:   none
 * Source:  pool/limit.c; the part of billiard's SoftTimeLimitExceeded; differs: asked for, not
 *          thrown
 * Since:   0.1
 */
TINE_API bool tine_should_stop(void);

/**
 * tine_worker_index - which worker of its pool this process is
 *
 * In:      none
 * Out:     none
 * Shape:   none
 * Units:   none
 * Returns: 0 … workers-1 inside a task, an initializer or a finalizer; -1 elsewhere. In a pool
 *          whose size changes: below the largest that it has had, for those who leave are those who
 *          have nothing to do
 * Handle:  none
 * Give up: none
 * Blocks:  no
 * Safety:  thread any | process shared | fork child may call | signal yes
 * Death:   the worker that replaces a dead one takes over its index
 * Source:  pool/place.c; as omp_get_thread_num
 * Since:   0.1
 */
TINE_API int tine_worker_index(void);

/**
 * tine_worker_count - how many workers the pool of the running task has
 *
 * In:      none
 * Out:     none
 * Shape:   none
 * Units:   none
 * Returns: the pool's size at present inside a task; 0 outside of one
 * Handle:  none
 * Give up: none
 * Blocks:  no
 * Safety:  thread any | process shared | fork child may call | signal yes
 * Death:   dead workers that are being replaced count
 * Source:  pool/place.c; as omp_get_num_threads; differs: tine_pool_resize() changes it at any time
 * Since:   0.1
 */
TINE_API int tine_worker_count(void);

TINE_END_DECLS

#endif
