/* SPDX-License-Identifier: MIT */
/*
 * Processes: the handles, the list of those that this process has started, and starting one.
 *
 * The list is the process's own, and so is its lock: a forked process begins with new ones.
 * tine_process_start() holds the lock across its fork, so that what tine forks finds its parent's
 * list whole and can close what is in it.
 *
 * Each handle has a block of shared memory, for what it shares with a fork, if that is small. A
 * child's copies of its parent's handles have none: those are the parent's.
 *
 * Closing a process that runs leaves its handle in the list, until a later call finds it ended.
 */
#include "pool/process_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <tine/error.h>
#include <tine/heap.h>

#include "lib/at_fork.h"
#include "lib/fork.h"
#include "lib/log.h"
#include "lib/reserved.h"
#include "lib/sys.h"
#include "lib/waitable.h"
#include "pool/init.h"
#include "pool/start.h"
#include "pool/surroundings.h"
#include "shm/heap.h"
#include "shm/owner.h"

#define START_TIMEOUT_NS TINE_SEC(30)
#define NEAR             4  /* handles beside the list */
#define HANDLES          16 /* that are made at once, later */
#define BLOCK_BYTES      ((size_t)2048)
#define FEW_BYTES        ((size_t)128) /* of arguments: no memory is taken for them */

struct children {
    struct tine__fork_own made;
    struct tine__futex_lock lock;
    uint64_t started;
    struct tine_process *first; /* newest first */
    struct tine_process *spare;
    bool near_made;
    struct tine_process near[NEAR]; /* what a start writes lies on one page, mostly */
};

static struct tine__fork_own *_Atomic children;

/*
 * With blocks of shared memory for forks: a page of the family heap would cost a new process its
 * first fault there, with tables of pages that nothing else needs.
 */
static void add_spares(struct children *own, struct tine_process *made, size_t count)
{
    uint8_t *blocks = tine__sys_map_shared(count * BLOCK_BYTES);

    for (size_t i = 0; i < count; i++) {
        made[i].block = blocks == NULL ? NULL : blocks + i * BLOCK_BYTES;
        made[i].next = own->spare;
        own->spare = &made[i];
    }
}

/* This process's list; NULL: no memory for it. */
static struct children *own_children(void)
{
    return tine__fork_own(&children, sizeof(struct children), NULL);
}

/* ---- handles --------------------------------------------------------------------------------- */

int tine__process_check(const struct tine_process *process, unsigned roles)
{
    if (process == NULL)
        return -EINVAL;
    if (atomic_load_explicit(&process->magic, memory_order_acquire) != TINE__PROCESS_MAGIC)
        return -EBADF;
    if (process->generation != tine__fork_generation())
        return TINE_EFORKED;
    return (roles >> process->role & 1) != 0 ? 0 : -EINVAL;
}

/* Under the lock. The first few begin as zeros, with the list. */
static bool make_handles(struct children *own)
{
    struct tine_process *made;

    if (!own->near_made) {
        own->near_made = true;
        add_spares(own, own->near, NEAR);
        return true;
    }
    made = calloc(HANDLES, sizeof *made);
    if (made != NULL)
        add_spares(own, made, HANDLES);
    return made != NULL;
}

/* Under the lock. */
static struct tine_process *take_handle(struct children *own)
{
    struct tine_process *process;

    if (own->spare == NULL && !make_handles(own))
        return NULL;
    process = own->spare;
    own->spare = process->next;
    *process = (struct tine_process){
        .generation = own->made.generation, .pidfd = -1, .block = process->block};
    return process;
}

/* Under the lock. What it shares with the process is not touched: that may be another's to free. */
static void put_handle(struct children *own, struct tine_process *process)
{
    atomic_store_explicit(&process->magic, 0, memory_order_relaxed);
    if (process->pidfd >= 0)
        close(process->pidfd);
    process->pidfd = -1;
    process->next = own->spare;
    own->spare = process;
}

/* The child's copy: the block is the parent's. Under the lock. */
static void put_copy(struct children *own, struct tine_process *process)
{
    process->block = NULL;
    put_handle(own, process);
}

static void free_shared(const struct tine_process *process, struct tine__process_shm *shared)
{
    if ((void *)shared != process->block)
        tine_free(shared);
}

/* Frees what is closed and has ended, and reaps all that has. Under the lock. */
static void sweep(struct children *own)
{
    struct tine_process **link = &own->first;

    while (*link != NULL) {
        struct tine_process *process = *link;

        process->listed = !tine__process_reap(process) && !process->closed;
        if (process->listed || !process->closed || !process->ended) {
            link = &process->next;
            continue;
        }
        *link = process->next;
        free_shared(process, process->shared);
        put_handle(own, process);
    }
}

TINE__EARLY void tine__children_forget(void)
{
    struct children *of_parent =
        (struct children *)atomic_load_explicit(&children, memory_order_relaxed);
    struct tine_process *process = of_parent->first, *next;
    struct children *own = process == NULL ? NULL : own_children();

    for (; own != NULL && process != NULL; process = next) {
        next = process->next;
        put_copy(own, process);
    }
}

/* ---- starting -------------------------------------------------------------------------------- */

static int check_options(const tine_process_options *options)
{
    if (TINE__RESERVED_SET(options->reserved) || options->reserved0 != 0)
        return -E2BIG;
    if (options->start < TINE_START_DEFAULT || options->start > TINE_FORKSERVER ||
        options->daemon < TINE_DAEMON_INHERIT || options->daemon > TINE_NO_DAEMON ||
        (options->flags & ~(uint32_t)TINE_PROCESS_NO_STDIN) != 0 || options->start_timeout_ns < 0 ||
        options->fd_count > TINE_PROCESS_FDS_MAX || (options->fds == NULL && options->fd_count > 0))
        return -EINVAL;
    if (options->name != NULL &&
        strnlen(options->name, TINE_PROCESS_NAME_MAX + 1) > TINE_PROCESS_NAME_MAX)
        return -EINVAL;
    return 0;
}

/* What tine_process_start() was given, and what becomes of it. */
struct wish {
    tine_function *function;
    const tine_process_options *options;
    int32_t start;
    tine_buffer args;
    tine_buffer environment; /* TINE_FORKSERVER */
    char *path;              /* of the function's object file; NULL: that of the program */
    struct tine__carried carried;
    struct tine_process *made;
    struct tine__process_shm *shared;
    int parent; /* pidfd of this process, for the new one */
    tine__deadline deadline;
};

/* Where a process that does not have the function's object finds it. */
static int find_path(struct wish *wish)
{
    return wish->start == TINE_FORK
               ? 0
               : tine__function_path((tine_any_function *)wish->function, &wish->path);
}

static int list_descriptors(struct tine__process_shm *shared, const tine_process_options *options)
{
    struct tine__listed *listed = tine__process_listed(shared);

    for (size_t i = 0; i < options->fd_count; i++) {
        int flags = fcntl(options->fds[i], F_GETFD);

        if (flags < 0)
            return -EBADF;
        if (options->fds[i] <= STDERR_FILENO)
            return -EINVAL;
        listed[i] = (struct tine__listed){.fd = options->fds[i], .flags = (uint32_t)flags};
    }
    return 0;
}

/* What the new process is told, but for who it is. */
static int fill_shared(struct tine__process_shm *shared, const struct wish *wish)
{
    int rc = tine__function_describe((tine_any_function *)wish->function, &shared->function);

    memcpy(shared->args, wish->args.data, wish->args.size);
    shared->carried_count = wish->carried.count;
    if (wish->start != TINE_FORK)
        tine__launch_tell_log(shared);
    shared->start_method = tine__start_method_chosen();
    if (rc == 0)
        rc = list_descriptors(shared, wish->options);
    if (rc == 0 && wish->path != NULL)
        strcpy(tine__process_path(shared), wish->path);
    if (wish->environment.size > 0)
        memcpy(tine__process_environment(shared), wish->environment.data, wish->environment.size);
    return rc;
}

static struct tine__process_shm *take_shared(const struct wish *wish, uint64_t size)
{
    if (wish->start != TINE_FORK || wish->made->block == NULL || size > BLOCK_BYTES)
        return tine_calloc(1, size);
    return memset(wish->made->block, 0, size);
}

static int make_shared(struct wish *wish)
{
    struct tine__process_shm sizes = {.args_size = wish->args.size,
                                      .path_size = wish->path != NULL ? strlen(wish->path) : 0,
                                      .environment_size = wish->environment.size,
                                      .listed_count = (uint32_t)wish->options->fd_count};
    int rc;

    wish->shared = take_shared(wish, tine__process_bytes(&sizes));
    if (wish->shared == NULL)
        return -ENOMEM;
    wish->shared->args_size = sizes.args_size;
    wish->shared->path_size = sizes.path_size;
    wish->shared->environment_size = sizes.environment_size;
    wish->shared->listed_count = sizes.listed_count;
    rc = fill_shared(wish->shared, wish);
    return rc;
}

/* Under the lock. */
static void introduce(struct tine__process_shm *shared, struct children *own,
                      const tine_process_options *options)
{
    const struct tine_process *self = tine_process_current();
    const char *above = tine__current_identity();

    snprintf(shared->identity, sizeof shared->identity, "%.*s%s%llu", TINE__IDENTITY_MAX - 21,
             above, above[0] == '\0' ? "" : ":", (unsigned long long)++own->started);
    if (options->name != NULL)
        snprintf(shared->name, sizeof shared->name, "%s", options->name);
    else
        snprintf(shared->name, sizeof shared->name, "Process-%.*s", TINE_PROCESS_NAME_MAX - 8,
                 shared->identity);
    shared->named = options->name != NULL;
    shared->what = TINE_FORKED_PROCESS;
    shared->flags = options->flags;
    shared->daemon =
        options->daemon == TINE_DAEMON_INHERIT ? self->daemon : options->daemon == TINE_DAEMON;
    shared->parent_daemon = self->daemon;
    shared->parent_pid = self->pid;
    shared->parent = tine__owner_word();
    memcpy(shared->parent_name, self->name, sizeof shared->parent_name);
}

static void adopt(struct children *own, struct tine_process *process,
                  struct tine__process_shm *shared)
{
    process->shared = shared;
    process->daemon = shared->daemon != 0;
    memcpy(process->name, shared->name, sizeof process->name);
    memcpy(process->identity, shared->identity, sizeof process->identity);
    process->next = own->first;
    own->first = process;
    atomic_store_explicit(&process->magic, TINE__PROCESS_MAGIC, memory_order_release);
}

/* Without the lock, but for a fork: nobody knows the handle yet. */
static int start_unlisted(struct children *own, struct tine_process *process, struct wish *wish)
{
    struct tine__birth birth = {.shared = wish->shared,
                                .function = wish->function,
                                .carried = &wish->carried,
                                .parent = wish->parent};
    int rc;

    if (wish->start == TINE_FORK) {
        wish->parent = -1;
        return tine__start_fork(process, &birth);
    }
    tine__futex_unlock(&own->lock);
    rc = (wish->start == TINE_SPAWN ? tine__start_spawn : tine__start_forkserver)(
        process, &birth, wish->options->fds, wish->deadline);
    wish->shared = birth.shared;
    tine__futex_lock(&own->lock);
    return rc;
}

/* Under the lock: the process is started and in the list, or nothing has changed. */
static int start_listed(struct children *own, struct wish *wish, tine_process **process)
{
    int rc;

    introduce(wish->shared, own, wish->options);
    rc = start_unlisted(own, wish->made, wish);
    if (rc < 0)
        return rc;
    adopt(own, wish->made, wish->shared);
    *process = wish->made;
    return 0;
}

static int start_locked(struct children *own, struct wish *wish, tine_process **process)
{
    int rc;

    tine__futex_lock(&own->lock);
    rc = start_listed(own, wish, process);
    tine__futex_unlock(&own->lock);
    return rc;
}

/* The program's hooks run outside the lock: they may start processes. */
static int start_hooked(struct children *own, struct wish *wish, tine_process **process)
{
    int rc;

    if (wish->start != TINE_FORK)
        return start_locked(own, wish, process);
    rc = tine__at_fork_before(TINE_FORKED_PROCESS);
    if (rc < 0)
        return rc;
    rc = start_locked(own, wish, process);
    tine__at_fork_in_parent(TINE_FORKED_PROCESS);
    return rc;
}

static int start_shared(struct children *own, struct wish *wish, tine_process **process)
{
    int rc = make_shared(wish);

    if (rc < 0)
        return rc;
    wish->parent = tine__sys_pidfd_open(getpid());
    if (wish->parent < 0)
        return wish->parent;
    rc = start_hooked(own, wish, process);
    if (wish->parent >= 0)
        close(wish->parent);
    return rc;
}

static int start_handled(struct wish *wish, tine_process **process)
{
    struct children *own = own_children();
    int rc;

    if (own == NULL)
        return -ENOMEM;
    tine__futex_lock(&own->lock);
    sweep(own);
    wish->made = take_handle(own);
    tine__futex_unlock(&own->lock);
    if (wish->made == NULL)
        return -ENOMEM;
    rc = start_shared(own, wish, process);
    if (rc == 0)
        return 0;
    free_shared(wish->made, wish->shared);
    tine__futex_lock(&own->lock);
    put_handle(own, wish->made);
    tine__futex_unlock(&own->lock);
    return rc;
}

static int start(struct wish *wish, tine_process **process)
{
    int rc = find_path(wish);

    if (rc == 0 && wish->start == TINE_FORKSERVER)
        rc = tine__environment_pack(&wish->environment);
    if (rc == 0)
        rc = start_handled(wish, process);
    if (wish->path != NULL)
        free(wish->path);
    tine_buffer_free(&wish->environment);
    return rc;
}

/* Which way, and until when. */
static int prepare(struct wish *wish)
{
    int64_t timeout_ns = wish->options->start_timeout_ns;
    int rc = check_options(wish->options);

    if (rc < 0)
        return rc;
    wish->deadline = tine__deadline_after(timeout_ns > 0 ? timeout_ns : START_TIMEOUT_NS);
    wish->start = wish->options->start;
    if (wish->start == TINE_START_DEFAULT)
        wish->start = tine__start_method();
    if (wish->start != TINE_FORK && tine__program_name() == NULL) {
        tine__log_warning(
            "process: only a program that calls tine_init() first can be executed again");
        return -ENOTSUP;
    }
    if (wish->start == TINE_SPAWN && tine__program_is_privileged()) {
        tine__log_warning("process: a program that gets rights by being executed is not, again");
        return -ENOTSUP;
    }
    return tine__heap_open();
}

int tine_process_start(tine_process **process, tine_function *function,
                       const tine_process_options *options, const char *format, ...)
{
    static const tine_process_options defaults;
    uint8_t few[FEW_BYTES];
    struct wish wish = {.function = function,
                        .options = options != NULL ? options : &defaults,
                        .args = tine__buffer_lent(few, sizeof few)};
    struct tine__arguments args = {.descriptors = &wish.carried.hooks};
    int rc;

    if (process == NULL || function == NULL || format == NULL)
        return -EINVAL;
    rc = prepare(&wish);
    if (rc < 0)
        return rc;
    tine__carried_init(&wish.carried);
    va_start(args.list, format);
    rc = tine__pack(&wish.args, format, true, &args);
    va_end(args.list);
    if (rc == 0)
        rc = start(&wish, process);
    tine__carried_close(&wish.carried);
    tine_buffer_free(&wish.args);
    return rc;
}

/* ---- signals --------------------------------------------------------------------------------- */

static int send_signal(tine_process *process, int signal)
{
    int rc = tine__process_check(process, 1 << TINE__CHILD);

    if (rc == 0)
        rc = tine__sys_pidfd_kill(process->pidfd, signal);
    return rc == -ESRCH ? 0 : rc;
}

int tine_process_terminate(tine_process *process)
{
    return send_signal(process, SIGTERM);
}

int tine_process_kill(tine_process *process)
{
    return send_signal(process, SIGKILL);
}

int tine_process_interrupt(tine_process *process)
{
    return send_signal(process, SIGINT);
}

/* ---- end ------------------------------------------------------------------------------------- */

/* A copy of the parent's handle: its list is not ours, nor is what the process shares with it. */
static void close_copy(struct tine_process *process)
{
    struct children *own = own_children();

    if (own == NULL)
        return;
    tine__futex_lock(&own->lock);
    put_copy(own, process);
    tine__futex_unlock(&own->lock);
}

void tine_process_close(tine_process *process)
{
    int rc = tine__process_check(process, 1 << TINE__CHILD);
    struct children *own;

    if (rc == TINE_EFORKED && process->role == TINE__CHILD)
        close_copy(process);
    if (rc < 0)
        return;
    own = own_children();
    tine__futex_lock(&own->lock);
    process->closed = true;
    atomic_store_explicit(&process->magic, 0, memory_order_relaxed);
    sweep(own);
    tine__futex_unlock(&own->lock);
}

int tine_process_active_children(tine_process **active, size_t room)
{
    struct children *own = own_children();
    size_t count = 0, at;

    if (active == NULL && room > 0)
        return -EINVAL;
    if (own == NULL)
        return -ENOMEM;
    tine__futex_lock(&own->lock);
    sweep(own);
    for (struct tine_process *p = own->first; p != NULL; p = p->next)
        count += p->listed;
    at = count; /* the list is newest first */
    for (struct tine_process *p = own->first; p != NULL; p = p->next)
        if (p->listed && --at < room)
            active[at] = p;
    tine__futex_unlock(&own->lock);
    return (int)count;
}

/* ---- what is known --------------------------------------------------------------------------- */

static int sentinel_of(const struct tine_process *process)
{
    int rc = tine__process_check(process, 1 << TINE__CHILD | 1 << TINE__PARENT);

    return rc < 0 ? rc : process->pidfd;
}

int tine_process_sentinel(const tine_process *process)
{
    return sentinel_of(process);
}

static int descriptor(const tine_waitable *waitable)
{
    return sentinel_of(waitable->object);
}

tine_waitable tine_process_waitable(tine_process *process)
{
    static const struct tine__waitable_kind kind = {.descriptor = descriptor};

    return (tine_waitable){.kind = &kind, .object = process, .events = TINE_READABLE};
}

/* For what a forked child may ask as well. */
static int check_open(const tine_process *process)
{
    int rc = tine__process_check(process, ~0u);

    return rc == TINE_EFORKED ? 0 : rc;
}

pid_t tine_process_pid(const tine_process *process)
{
    int rc = check_open(process);

    return rc < 0 ? rc : process->pid;
}

const char *tine_process_name(const tine_process *process)
{
    return check_open(process) < 0 ? NULL : process->name;
}

int tine_process_is_daemon(const tine_process *process)
{
    int rc = check_open(process);

    return rc < 0 ? rc : process->daemon;
}
