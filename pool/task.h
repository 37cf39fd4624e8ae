/* SPDX-License-Identifier: MIT */
#ifndef TINE_POOL_TASK_H
#define TINE_POOL_TASK_H

#include <stdbool.h>

#include <tine/codec.h>
#include <tine/task.h>

#include "lib/codec.h"
#include "pool/descriptor.h"
#include "pool/layout.h"

/* A running task, in its worker. Reused from task to task so that its buffers stay warm. */
struct tine_call {
    struct tine__job_shm *job;
    uint64_t function; /* the task, or body of a loop, at its address in this process */
    uint64_t index;
    const void *args;
    uint64_t args_size;
    tine_buffer result;           /* what tine_return packed */
    struct tine__texts texts;     /* strings that tine_args handed out, */
    struct tine__fetched fetched; /* and descriptors */
    int32_t failed;               /* code of tine_fail, or 0 */
    int32_t explained;            /* code of tine_args that `message` explains, or 0 */
    bool by_guest;                /* tasks run in the worker's guest (pool/guest.h) */
    char message[sizeof((tine_failure *)0)->message];
};

/* Calls call->function, the job's task, on one tuple: 0 (call->result holds one value) or a
   negative code. */
int tine__call_run(struct tine_call *call, struct tine__job_shm *job, uint64_t index,
                   const void *args, uint64_t args_size);
void tine__call_init(struct tine_call *call, int control);
void tine__call_fini(struct tine_call *call);
/* The task has returned rc: drops an explanation that is of something else. */
void tine__call_returned(struct tine_call *call, int rc);
/* Why a task that has returned this code failed: what it has said, or only that it did. */
void tine__call_tell(char *text, size_t room, int code, const char *said);

/* ---- which function is it? ------------------------------------------------------------------- */

/* The program's notes of the functions that it has sent to one pool. Guarded by the pool's mutex.
 */
struct tine__tasks {
    struct tine__known_task {
        const void
            *function; /* NULL with a task: its object file is gone, but jobs may refer to it */
        struct tine__task_shm *task;
    } * known; /* open addressing by function */
    size_t room, count;
    uint64_t *newest; /* in the pool: they are linked there, too; NULL: they are not */
    bool with_paths; /* the workers are no forks: they load what they do not have */
};

/* To be called before the workers are forked: they inherit what is known of the loaded objects. */
void tine__tasks_init(struct tine__tasks *tasks, bool with_paths);

/* Describes a function for the workers; *task stays valid until tine__tasks_fini. */
int tine__task_describe(struct tine__tasks *tasks, const void *function,
                        struct tine__task_shm **task);
void tine__tasks_fini(struct tine__tasks *tasks);
/* The address of the described function in this process; 0: it is not there, and cannot be
   loaded. */
uint64_t tine__task_find(const struct tine__task_shm *task);

/* What a worker knows of the last tasks. Zeroed at first. */
struct tine__tasks_seen {
    struct {
        const struct tine__task_shm *task;
        uint64_t function;
    } present[16];
    const struct tine__task_shm *absent;
};

/* tine__task_find(), mostly from memory: descriptions live as long as the pool, so each needs one
   look. */
static inline uint64_t tine__task_look_up(struct tine__tasks_seen *seen,
                                          const struct tine__task_shm *task)
{
    uint64_t hash = TINE__ADDRESS(task) * UINT64_C(0x9e3779b97f4a7c15) >> 60, function;

    if (seen->present[hash].task == task)
        return seen->present[hash].function;
    function = seen->absent == task ? 0 : tine__task_find(task);
    if (function == 0) { /* a plugin loaded after the pool was opened is not in its workers */
        seen->absent = task;
        return 0;
    }
    seen->present[hash].task = task;
    seen->present[hash].function = function;
    return function;
}

#endif
