/* SPDX-License-Identifier: MIT */
/*
 * Tasks: the call object that a running task sees, and the identity of functions.
 *
 * A function is sent as its address together with the object file that it lies in: base address and
 * build id, or device, inode, size and time of the file where the linker left no id. A worker has
 * the same address if and only if it has the same file loaded at the same base; a plugin loaded
 * after the pool was opened is not there, and another one may lie in its place. Objects that were
 * loaded before are there without a look: new ones come last in the loader's list, so while nothing
 * was unloaded, the first of them are those.
 */
#include "pool/task.h"

#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <link.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <tine/error.h>
#include <tine/heap.h>

/* ---- calls ----------------------------------------------------------------------------------- */

int tine_args(tine_call *call, const char *format, ...)
{
    va_list args;
    int rc;

    if (call == NULL || format == NULL)
        return -EINVAL;
    va_start(args, format);
    rc = tine__vunpack(call->args, call->args_size, format, true, args, &call->texts);
    va_end(args);
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
    tine_function *function =
        TINE__AT(tine_function, TINE__AT(struct tine__task_shm, job->task)->function);
    int rc;

    call->job = job;
    call->index = index;
    call->args = args;
    call->args_size = args_size;
    call->failed = 0;
    call->message[0] = '\0';
    call->result.size = 0;
    rc = function(call);
    if (call->texts.first != NULL)
        tine__texts_free(&call->texts);
    tine__fetched_close(&call->fetched);
    if (rc >= 0 && call->failed != 0 && call->result.size == 0)
        rc = call->failed; /* a refused result whose code the task ignored */
    if (rc < 0)
        return rc;
    return call->result.size > 0 ? 0 : tine_return(call, "n");
}

void tine__call_init(struct tine_call *call, int control)
{
    *call = (struct tine_call){.texts = {.descriptors = &call->fetched.hooks}};
    tine__fetched_init(&call->fetched, control);
}

void tine__call_fini(struct tine_call *call)
{
    tine__texts_free(&call->texts);
    tine_buffer_free(&call->result);
}

/* ---- identity of functions ------------------------------------------------------------------- */

struct search {
    uintptr_t address;
    struct tine__task_shm *task;
    char path[256];
    size_t position;            /* of the object in the loader's list */
    unsigned long long unloads; /* so far */
    bool found;
};

static bool covers(const struct dl_phdr_info *info, uintptr_t address)
{
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &info->dlpi_phdr[i];

        if (part->p_type == PT_LOAD && address >= info->dlpi_addr + part->p_vaddr &&
            address - (info->dlpi_addr + part->p_vaddr) < part->p_memsz)
            return true;
    }
    return false;
}

/* The id in one note segment, if it has one. */
static void read_notes(const uint8_t *at, size_t size, struct tine__task_shm *task)
{
    while (size >= sizeof(ElfW(Nhdr))) {
        const ElfW(Nhdr) *note = (const void *)at;
        size_t name = (note->n_namesz + 3U) & ~3U, text = (note->n_descsz + 3U) & ~3U;
        const uint8_t *content = at + sizeof *note + name;

        if (sizeof *note + name + text > size)
            return;
        if (note->n_type == NT_GNU_BUILD_ID && note->n_namesz == 4 &&
            memcmp(at + sizeof *note, "GNU", 4) == 0 && note->n_descsz <= sizeof task->build_id) {
            memcpy(task->build_id, content, note->n_descsz);
            task->build_id_size = note->n_descsz;
            return;
        }
        at = content + text;
        size -= sizeof *note + name + text;
    }
}

static int look_at_object(struct dl_phdr_info *info, size_t size, void *data)
{
    struct search *search = data;

    (void)size;
    if (!covers(info, search->address)) {
        search->position++;
        return 0;
    }
    search->found = true;
    search->unloads = info->dlpi_subs;
    search->task->base = info->dlpi_addr;
    snprintf(search->path, sizeof search->path, "%s",
             info->dlpi_name[0] != '\0' ? info->dlpi_name : "/proc/self/exe");
    for (int i = 0; i < info->dlpi_phnum; i++)
        if (info->dlpi_phdr[i].p_type == PT_NOTE)
            read_notes((const uint8_t *)(info->dlpi_addr + info->dlpi_phdr[i].p_vaddr),
                       info->dlpi_phdr[i].p_memsz, search->task);
    return 1;
}

static void identify_file(struct tine__task_shm *task, const char *path)
{
    struct stat file;

    if (stat(path, &file) < 0)
        return;
    task->device = file.st_dev;
    task->inode = file.st_ino;
    task->bytes = (uint64_t)file.st_size;
    task->mtime_ns = (uint64_t)file.st_mtim.tv_sec * 1000000000 + (uint64_t)file.st_mtim.tv_nsec;
}

/* Fills in everything but the name. False when no loaded object has the address. */
static bool identify(struct search *search, const void *function, struct tine__task_shm *task)
{
    *search = (struct search){.address = (uintptr_t)function, .task = task};
    memset(task, 0, sizeof *task);
    task->function = TINE__ADDRESS(function);
    dl_iterate_phdr(look_at_object, search);
    if (search->found && task->build_id_size == 0)
        identify_file(task, search->path);
    return search->found;
}

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
             file == NULL ? info.dli_fname : file + 1,
             (unsigned long long)(task->function - task->base));
}

static int count_changes(struct dl_phdr_info *info, size_t size, void *data)
{
    (void)size;
    *(unsigned long long *)data = info->dlpi_adds + info->dlpi_subs;
    return 1; /* the counters are the same in every entry */
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

/* After a dlopen or dlclose: forgets the functions whose object file is no longer what it was. */
static void forget_unloaded(struct tine__tasks *tasks)
{
    unsigned long long objects = 0;

    dl_iterate_phdr(count_changes, &objects);
    if (objects == tasks->objects)
        return;
    for (size_t i = 0; i < tasks->room; i++)
        if (tasks->known[i].function != NULL && !tine__task_present(tasks->known[i].task))
            tasks->known[i].function = NULL;
    tasks->objects = objects;
}

static int count_objects(struct dl_phdr_info *info, size_t size, void *data)
{
    struct tine__tasks *tasks = data;

    (void)size;
    tasks->objects_at_open++;
    tasks->unloads_at_open = info->dlpi_subs;
    return 0;
}

void tine__tasks_init(struct tine__tasks *tasks)
{
    memset(tasks, 0, sizeof *tasks);
    dl_iterate_phdr(count_objects, tasks);
}

static int describe(const struct tine__tasks *tasks, const void *function,
                    struct tine__task_shm **task)
{
    struct tine__task_shm *made = tine_alloc(sizeof *made);
    struct search search;

    if (made == NULL)
        return -ENOMEM;
    if (!identify(&search, function, made)) {
        tine_free(made);
        return -EINVAL;
    }
    made->inherited =
        search.position < tasks->objects_at_open && search.unloads == tasks->unloads_at_open;
    name_function(made);
    *task = made;
    return 0;
}

int tine__task_describe(struct tine__tasks *tasks, const void *function,
                        struct tine__task_shm **task)
{
    struct tine__known_task *place;
    int rc = make_room(tasks);

    if (rc < 0)
        return rc;
    forget_unloaded(tasks);
    place = place_of(tasks, function);
    if (place->task == NULL) {
        rc = describe(tasks, function, &place->task);
        if (rc < 0)
            return rc;
        place->function = function;
        tasks->count++;
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

bool tine__task_present(const struct tine__task_shm *task)
{
    struct tine__task_shm here;
    struct search search;

    if (!identify(&search, TINE__AT(const void, task->function), &here) ||
        here.base != task->base || here.build_id_size != task->build_id_size)
        return false;
    if (here.build_id_size > 0)
        return memcmp(here.build_id, task->build_id, here.build_id_size) == 0;
    return here.device == task->device && here.inode == task->inode && here.bytes == task->bytes &&
           here.mtime_ns == task->mtime_ns;
}
