/* SPDX-License-Identifier: MIT */
/* Processes that a program starts: what the files of this folder know of them. */
#ifndef TINE_POOL_PROCESS_IMPL_H
#define TINE_POOL_PROCESS_IMPL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <tine/process.h>

#include "lib/function.h"
#include "lib/futex_lock.h"

/* A descriptor that a process is to have under the number that it has in its starter. */
struct tine__listed {
    int32_t fd;
    uint32_t flags; /* FD_CLOEXEC, or 0 */
};

#define TINE__LIMITS_MAX 16
#define TINE__NO_UMASK   UINT32_MAX
#define TINE__CPU_WORDS  16 /* as cpu_set_t */

/* Of the starter at the start, for a process of the forkserver's (pool/surroundings.c). Else
   zeros. */
struct tine__surroundings_shm {
    uint32_t fd_count; /* of the working directory and the streams; 0: it has all by itself */
    uint32_t streams;  /* bit n: standard stream n is among them */
    uint32_t umask;    /* TINE__NO_UMASK: not known */
    uint32_t limit_count;
    struct {
        uint64_t soft, hard;
    } limits[TINE__LIMITS_MAX];
    uint64_t blocked; /* bit n - 1: signal n */
    int32_t niceness;
    uint32_t cpus_known; /* 1; 0: there are more than these */
    uint64_t cpus[TINE__CPU_WORDS];
};

#define TINE__IDENTITY_MAX 63 /* "1:2:3": third child of the second of the first; then it is cut */

enum {
    TINE__GATE_SHUT = 0,
    TINE__GATE_AWAITED = 1, /* the new process may sleep on it */
    TINE__GATE_OPEN = 2,
    TINE__GATE_CANCELLED = 3, /* the process must not run */
};

#define TINE__TOLD ((uint32_t)0x10000) /* with the wait status, below it */
#define TINE__LEFT ((uint32_t)0x100)   /* with the exit status, below it */

/* clang-format off: it takes the table for a paragraph. */
/*
 * What a process and the one that starts it share, in the family heap or, of a fork, in the block
 * of its handle; freed by the starter, when the process has ended.
 *
 * field          who writes          who reads         order, and what a stale read costs
 * -------------  ------------------  ----------------  ------------------------------------------
 * gate           starter             the process       release/acquire; it waits a little longer
 * left           the process, last   starter           release/acquire; read when it is dead
 * told           forkserver          starter           release/acquire; it waits a little longer
 * failed         the process         starter           release/acquire: failure is whole then
 * failure        the process, once   starter           published by failed
 * handled_told   starter             the process       release/acquire; it asks the kernel itself
 * handled        starter             the process       published by handled_told
 * all others     starter, before     the process       (cannot be: before the process is)
 */
/* clang-format on */
struct tine__process_shm {
    _Atomic uint32_t gate; /* futex: the process goes on when its starter knows it by a pidfd */
    _Atomic uint32_t left; /* 0, or TINE__LEFT + how it has exited by itself */
    _Atomic uint32_t told; /* futex: 0, or TINE__TOLD + the status that the forkserver has reaped */
    _Atomic uint32_t failed; /* 1: failure is there */
    uint32_t daemon;
    uint32_t parent_daemon;
    uint32_t flags; /* TINE_PROCESS_… */
    uint32_t named; /* 1: by the program */
    int32_t what;   /* TINE_FORKED_… */
    int32_t parent_pid;
    uint64_t parent; /* tine__owner_word */
    uint64_t args_size, path_size, environment_size;
    uint32_t carried_count, listed_count;
    struct tine__surroundings_shm surroundings;
    int32_t log_level;
    int32_t start_method;          /* as the program has chosen it; 0: it has not */
    _Atomic uint32_t handled_told; /* 1: handled is known */
    uint32_t has_sink;             /* 1: the log's, of one that is no fork */
    uint64_t sink_context;         /* an address in the heap, or 0 */
    struct tine__function_wire sink;
    uint64_t handled; /* tine__sig_handled, of a fork whose starter has one thread */
    struct tine__function_wire function;
    char name[TINE_PROCESS_NAME_MAX + 1];
    char identity[TINE__IDENTITY_MAX + 1];
    char parent_name[TINE_PROCESS_NAME_MAX + 1];
    tine_failure failure;
    /* packed; padding; tine__listed[]; the path of the function's object file; the environment */
    uint8_t args[];
};

enum tine__role {
    TINE__CHILD,  /* from tine_process_start */
    TINE__SELF,   /* the calling process */
    TINE__PARENT, /* that which started it */
};

/*
 * Handles are never given back to malloc but kept for the next processes, so that a call on a
 * closed one reads a magic number that is not there instead of foreign memory.
 */
struct tine_process {
    _Atomic uint64_t magic;
    uint64_t generation; /* of the process whose handle it is */
    enum tine__role role;
    pid_t pid;
    int pidfd; /* -1: the caller itself */
    bool daemon;
    char name[TINE_PROCESS_NAME_MAX + 1];
    char identity[TINE__IDENTITY_MAX + 1];
    /* children */
    struct tine__process_shm *shared;
    void *block;     /* shared with each fork that has the handle, in turn; NULL: there is none */
    uint64_t server; /* tine__owner_word of the forkserver that reaps it; 0: this process does */
    struct tine__futex_lock lock; /* guards ended and exitcode; never held while waiting */
    bool ended;
    int exitcode;
    bool listed; /* it was running at the last look; under the lock of the list, as closed */
    bool closed; /* the handle is gone, but the process still ran */
    struct tine_process *next;
};

#define TINE__PROCESS_MAGIC UINT64_C(0x737365636f727074)

static inline uint64_t tine__process_listed_at(const struct tine__process_shm *shared)
{
    return (shared->args_size + 7) & ~UINT64_C(7);
}

static inline struct tine__listed *tine__process_listed(const struct tine__process_shm *shared)
{
    return (struct tine__listed *)(uintptr_t)(shared->args + tine__process_listed_at(shared));
}

/* "": that of the program itself. */
static inline char *tine__process_path(const struct tine__process_shm *shared)
{
    return (char *)(tine__process_listed(shared) + shared->listed_count);
}

/* Strings with their ends, one behind the other. */
static inline char *tine__process_environment(const struct tine__process_shm *shared)
{
    return tine__process_path(shared) + shared->path_size + 1;
}

static inline uint64_t tine__process_bytes(const struct tine__process_shm *shared)
{
    return sizeof *shared + tine__process_listed_at(shared) +
           shared->listed_count * sizeof(struct tine__listed) + shared->path_size + 1 +
           shared->environment_size;
}

/* ---- process.c ------------------------------------------------------------------------------- */

/* 0, -EINVAL, -EBADF, TINE_EFORKED; only of these roles: bits 1 << TINE__CHILD … */
int tine__process_check(const struct tine_process *process, unsigned roles);
/* In a process that tine has just forked, whose parent held the lock of its list: the children of
   the parent are none of its own. */
void tine__children_forget(void);

/* ---- reap.c ---------------------------------------------------------------------------------- */

/* Has the child ended? Then it is reaped, and its exit code known. Never waits. */
bool tine__process_reap(struct tine_process *process);

/* ---- current.c ------------------------------------------------------------------------------- */

/* In a new process: who it is, and its parent's pidfd, which it keeps. */
void tine__current_become(const struct tine__process_shm *shared, int parent);
const char *tine__current_identity(void); /* "" where tine has not started the process */

#endif
