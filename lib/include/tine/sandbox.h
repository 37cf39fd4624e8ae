/* SPDX-License-Identifier: MIT */
/*
 * Sandbox: what the workers of a pool may not do.
 *
 *     static const char *const data[] = {"/srv/data"};
 *
 *     tine_pool_open(&pool, &(tine_pool_options){.sandbox = &(tine_sandbox){
 *         .flags = TINE_SANDBOX_LISTED | TINE_SANDBOX_NO_NEW_PRIVS,
 *         .readable = data, .readable_count = 1,
 *         .limits = &(tine_sandbox_limit){RLIMIT_CORE, 0, 0, 0}, .limit_count = 1}});
 *
 * Each worker steps into the box after it has been started, before its initializer and its first
 * task, and never comes out again; processes that it starts are in it, too. The program and the
 * nursery stay outside. Descriptors that were open at tine_pool_open() can still be used, whatever
 * they lead to, and the family heap can be written: a box holds off what runs wild, and what is
 * tricked by its input. It is no wall against a task that is out to harm the program through the
 * memory that they share; that is what TINE_POOL_UNTRUSTED is for.
 *
 * Where tasks themselves are not trusted, open the pool with TINE_POOL_UNTRUSTED. Each worker then
 * has a guest, a process that has neither the family heap, nor anything else that is mapped as
 * shared, nor any descriptor but the standard ones and a socket to its worker; it runs
 * initializer, tasks and finalizer, and is in the box, which is COMPUTE_ONLY at least. Arguments,
 * context and results are copied, and checked when they come back: a guest that dies, or sends what
 * is no reply, fails its item and no other; a pointer, function or handle in a result is no reply.
 * A task costs about ten microseconds more.
 * What needs shared memory gives -ENOTSUP: loops over arrays and indices, the letters p, c, F and
 * o, and soft limits of time; tine_alloc() gives NULL in a guest, and locks and queues cannot be
 * used. Accounts and limits of memory see the worker; .limits of the box are the guest's. A guest
 * has a copy of the program's private memory as it was when the pool was opened (none of it with
 * TINE_SPAWN), so nothing that is secret belongs there.
 *
 * Of the standard descriptors of a guest the input is empty; output and error are the program's own
 * files, terminals or pipes, but a guest can only write to them, and close them for itself. It
 * cannot read, lock, cut or map what they lead to, nor move in it, nor change their mode. It can
 * fill a disk, or a pipe that nobody reads, and print what looks like the program's words: where
 * that matters, lead them elsewhere before the pool is opened. exit() in a guest flushes these two
 * and runs none of the program's handlers.
 *
 * A guest that never answers is a task that never ends: hard limits of time and cancelling help, as
 * always. One whose worker is to leave (tine_pool_join(), tine_pool_resize(), .max_tasks_per_worker
 * and the like) has as long for its finalizer as a task of its pool may take (.task_kill_ns), or
 * five seconds; then it is killed, and that counts as a death. An initializer has no limit of time,
 * here as in other pools.
 *
 * A kernel or machine that cannot have the box as asked for gives -ENOTSUP at once: there is no
 * weaker box. If a worker cannot step in (a limit above the program's own, say), the pool is
 * broken, as by an initializer that fails, and tine_pool_failure() says why. What a box forbids
 * fails with EPERM or EACCES in the task; a worker that dies of it (TINE_SANDBOX_KILL, RLIMIT_CPU)
 * costs its item, as always.
 */
#ifndef TINE_SANDBOX_H
#define TINE_SANDBOX_H

#include <tine/base.h>

TINE_BEGIN_DECLS

/* Of .flags. */
enum {
    /* Programs that are executed gain no rights: no setuid, no file capabilities. Implied by all
       below. */
    TINE_SANDBOX_NO_NEW_PRIVS = 1,
    /* Landlock: files are only read; but what .writable names, and all beneath, may be changed. */
    TINE_SANDBOX_READ_ONLY = 2,
    /* Landlock: of all files only .readable may be read and executed, and .writable read and
       changed. */
    TINE_SANDBOX_LISTED = 4,
    /* seccomp: computing, memory, threads, time, and reading and writing open descriptors; no new
       files, sockets, processes, namespaces, nor looks at others (but whether they live, and on
       which CPUs they may run). Plugins cannot be loaded: those that are loaded when a pool by
       TINE_FORK is opened are there. All else fails with EPERM. x86-64 and aarch64. */
    TINE_SANDBOX_COMPUTE_ONLY = 8,
    /* The worker is killed instead (SIGSYS), and the item fails with TINE_EWORKER. Looking for
       files and at clocks of others, ioctl() and prctl() still only fail: libraries try that in
       passing. */
    TINE_SANDBOX_KILL = 16,
};

/* A resource limit, as setrlimit() has it; UINT64_MAX: none. */
typedef struct tine_sandbox_limit {
    int32_t resource; /* RLIMIT_… */
    uint32_t reserved0; /* must be zero */
    uint64_t soft, hard;
} tine_sandbox_limit;

/*
 * All is copied by tine_pool_open(). Paths are looked up when the pool is opened, to see that they
 * are there, and by each new worker. Landlock keeps neither from looking at names and sizes nor
 * from changing modes, owners, times and attributes of files that the user may change.
 */
typedef struct tine_sandbox {
    uint32_t flags;                   /* TINE_SANDBOX_… */
    int32_t nice;                     /* added to the program's own niceness: 0 … 39 */
    const tine_sandbox_limit *limits; /* at most one for each resource */
    size_t limit_count;
    const int32_t *cpus; /* numbers of those on which workers may run; none: as the program */
    size_t cpu_count;
    const char *const *readable; /* files and directories, with TINE_SANDBOX_LISTED */
    size_t readable_count;
    const char *const *writable; /* with TINE_SANDBOX_LISTED or READ_ONLY */
    size_t writable_count;
    uint64_t reserved[8]; /* must be zero */
} tine_sandbox;

TINE_END_DECLS

#endif
