/* SPDX-License-Identifier: MIT */
/*
 * Tasks: the call object that a running task sees, and which function a job runs.
 *
 * A function is sent as what lib/function.c says of it, and each worker finds its own. A plugin
 * that was loaded after the pool was opened is not in the forks of the program; workers that are
 * none load it.
 */
#include "pool/task.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <tine/error.h>
#include <tine/heap.h>

#include "lib/explain.h"
#include "lib/fork.h"
#include "lib/function.h"
#include "pool/guest.h"

/* ---- calls ----------------------------------------------------------------------------------- */

/* Which argument it was, should the task return this very code; unless it has said more itself. */
static void explain(tine_call *call, const char *format, int code)
{
    if (call->failed != 0 || code == -ENOMEM)
        return;
    tine__explain_arguments(call->args, call->args_size, format, call->message,
                            sizeof call->message);
    call->explained = code;
}

void tine__call_returned(struct tine_call *call, int rc)
{
    if (call->explained != 0 && call->explained != rc)
        call->message[0] = '\0';
}

int tine_args(tine_call *call, const char *format, ...)
{
    va_list args;
    int rc;

    if (call == NULL || format == NULL)
        return -EINVAL;
    va_start(args, format);
    rc = tine__vunpack(call->args, call->args_size, format, true, args, &call->texts);
    va_end(args);
    if (rc < 0)
        explain(call, format, rc);
    return rc;
}

int tine_args_packed(tine_call *call, const void **bytes, size_t *size)
{
    if (call == NULL || bytes == NULL || size == NULL)
        return -EINVAL;
    *bytes = call->args;
    *size = call->args_size;
    return 0;
}

/* What a failed return leaves: the task fails with this code even if it ignores it. */
static int refuse(tine_call *call, int code)
{
    tine_buffer_clear(&call->result);
    return tine_fail(call, code, "result: %s", tine_strerror(code));
}

/* One letter is one value; any other format is believed only after a look at what it packed. */
static bool is_one_value(const char *format, const tine_buffer *packed)
{
    size_t size;

    if (format[0] != '\0' && format[1] == '\0')
        return true;
    return tine__value_size(packed->data, packed->size, &tine__limits_depth_only, &size) == 0 &&
           size == packed->size;
}

int tine_return(tine_call *call, const char *format, ...)
{
    struct tine__arguments args;
    int rc;

    if (call == NULL || format == NULL)
        return -EINVAL;
    call->result.size = 0;
    args.descriptors = NULL;
    va_start(args.list, format);
    rc = tine__pack(&call->result, format, false, &args);
    va_end(args.list);
    if (rc == 0 && !is_one_value(format, &call->result))
        rc = -EINVAL;
    if (rc == 0 && call->result.size > call->job->result_bytes_max)
        rc = TINE_ELIMIT;
    return rc < 0 ? refuse(call, rc) : 0;
}

int tine_return_packed(tine_call *call, const void *bytes, size_t size)
{
    size_t one;
    int rc;

    if (call == NULL || bytes == NULL)
        return -EINVAL;
    if (size > call->job->result_bytes_max)
        return refuse(call, TINE_ELIMIT);
    if (tine__value_size(bytes, size, &tine__limits_depth_only, &one) < 0 || one != size)
        return refuse(call, TINE_EFORMAT);
    tine_buffer_clear(&call->result);
    rc = tine__buffer_reserve(&call->result, size);
    if (rc < 0)
        return refuse(call, rc);
    memcpy(call->result.data, bytes, size);
    call->result.size = size;
    return 0;
}

int tine_fail(tine_call *call, int code, const char *format, ...)
{
    va_list args;

    if (call == NULL || format == NULL || code >= 0)
        return -EINVAL;
    call->failed = code;
    call->explained = 0;
    va_start(args, format);
    vsnprintf(call->message, sizeof call->message, format, args);
    va_end(args);
    return code;
}

size_t tine_call_index(const tine_call *call)
{
    return call == NULL ? 0 : call->index;
}

void *tine_call_context(const tine_call *call)
{
    return call == NULL ? NULL : TINE__AT(void, call->job->context);
}

int tine__call_run(struct tine_call *call, struct tine__job_shm *job, uint64_t index,
                   const void *args, uint64_t args_size)
{
    int rc;

    call->job = job;
    call->index = index;
    call->args = args;
    call->args_size = args_size;
    call->failed = 0;
    call->explained = 0;
    call->message[0] = '\0';
    call->result.size = 0;
    rc = call->by_guest ? tine__guest_call(call) : TINE__AT(tine_function, call->function)(call);
    if (call->texts.first != NULL)
        tine__texts_free(&call->texts);
    tine__fetched_close(&call->fetched);
    if (rc >= 0 && call->failed != 0 && call->result.size == 0)
        rc = call->failed; /* a refused result whose code the task ignored */
    tine__call_returned(call, rc);
    if (rc < 0)
        return rc;
    return call->result.size > 0 ? 0 : tine_return(call, "n");
}

TINE__EARLY void tine__call_init(struct tine_call *call, int control)
{
    *call = (struct tine_call){.texts = {.descriptors = &call->fetched.hooks, .family = true}};
    tine__fetched_init(&call->fetched, control);
}

void tine__call_fini(struct tine_call *call)
{
    tine__texts_free(&call->texts);
    tine_buffer_free(&call->result);
}

/* The library's own sentence for an errno is about the library's calls, not about the task. */
void tine__call_tell(char *text, size_t room, int code, const char *said)
{
    const char *name = tine_errname(code);

    if (said[0] != '\0')
        snprintf(text, room, "%s", said);
    else if (strncmp(name, "TINE_", 5) == 0)
        snprintf(text, room, "the task returned %s (%s)", name, tine_strerror(code));
    else if (name[0] == 'E')
        snprintf(text, room, "the task returned %d (%s)", code, name);
    else
        snprintf(text, room, "the task returned %d", code);
}

/* ---- which function -------------------------------------------------------------------------- */

static void name_function(struct tine__task_shm *task)
{
    const void *function = TINE__AT(const void, task->function);
    Dl_info info;
    const char *file;

    if (dladdr(function, &info) == 0)
        return;
    if (info.dli_sname != NULL && info.dli_saddr == function) {
        snprintf(task->name, sizeof task->name, "%s", info.dli_sname);
        return;
    }
    file = strrchr(info.dli_fname, '/');
    snprintf(task->name, sizeof task->name, "%.40s+0x%llx",
             file == NULL ? info.dli_fname : file + 1, (unsigned long long)task->reference.offset);
}

/* Where the function stands, or the free place where it would; NULL: the next free place. */
static struct tine__known_task *place_of(const struct tine__tasks *tasks, const void *function)
{
    size_t at = (TINE__ADDRESS(function) * UINT64_C(0x9e3779b97f4a7c15) >> 32) & (tasks->room - 1);

    while (tasks->known[at].task != NULL &&
           (function == NULL || tasks->known[at].function != function))
        at = (at + 1) & (tasks->room - 1);
    return &tasks->known[at];
}

static int make_room(struct tine__tasks *tasks)
{
    struct tine__tasks grown = *tasks;

    if (tasks->count * 2 < tasks->room)
        return 0;
    grown.room = tasks->room == 0 ? 16 : tasks->room * 2;
    grown.known = calloc(grown.room, sizeof *grown.known);
    if (grown.known == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < tasks->room; i++)
        if (tasks->known[i].task != NULL)
            *place_of(&grown, tasks->known[i].function) = tasks->known[i];
    free(tasks->known);
    *tasks = grown;
    return 0;
}

void tine__tasks_init(struct tine__tasks *tasks, bool with_paths)
{
    *tasks = (struct tine__tasks){.with_paths = with_paths};
    tine__objects_note();
}

static struct tine__task_shm *make_task(const char *path)
{
    size_t size = path == NULL ? 0 : strlen(path);
    struct tine__task_shm *made = tine_calloc(1, sizeof *made + size + 1);

    if (made != NULL && path != NULL)
        memcpy(made->path, path, size);
    return made;
}

static int describe(const void *function, bool with_path, struct tine__task_shm **task)
{
    struct tine__task_shm *made;
    char *path = NULL;
    int rc = with_path ? tine__function_path((tine_any_function *)(uintptr_t)function, &path) : 0;

    if (rc < 0)
        return rc;
    made = make_task(path);
    free(path);
    if (made == NULL)
        return -ENOMEM;
    made->function = TINE__ADDRESS(function);
    rc = tine__function_describe((tine_any_function *)(uintptr_t)function, &made->reference);
    if (rc < 0) {
        tine_free(made);
        return rc;
    }
    name_function(made);
    *task = made;
    return 0;
}

/* In the program: is the described function the one at that address? */
static bool is_there(const struct tine__task_shm *task)
{
    tine_any_function *function;

    return tine__function_resolve(&task->reference, sizeof task->reference, &function) == 0 &&
           (uintptr_t)function == task->function;
}

int tine__task_describe(struct tine__tasks *tasks, const void *function,
                        struct tine__task_shm **task)
{
    struct tine__known_task *place;
    int rc = make_room(tasks);

    if (rc < 0)
        return rc;
    place = place_of(tasks, function);
    if (place->task != NULL && !is_there(place->task)) {
        place->function = NULL; /* unloaded, and perhaps another in its place */
        place = place_of(tasks, function);
    }
    if (place->task == NULL) {
        rc = describe(function, tasks->with_paths, &place->task);
        if (rc < 0)
            return rc;
        place->function = function;
        tasks->count++;
        if (tasks->newest != NULL) {
            place->task->older = *tasks->newest;
            *tasks->newest = TINE__ADDRESS(place->task);
        }
    }
    *task = place->task;
    return 0;
}

void tine__tasks_fini(struct tine__tasks *tasks)
{
    for (size_t i = 0; i < tasks->room; i++)
        tine_free(tasks->known[i].task);
    free(tasks->known);
    memset(tasks, 0, sizeof *tasks);
}

uint64_t tine__task_find(const struct tine__task_shm *task)
{
    tine_any_function *function;

    if (tine__function_load(&task->reference, task->path, &function) < 0)
        return 0;
    return (uintptr_t)function;
}
