/* SPDX-License-Identifier: MIT */
#ifndef TINE_POOL_NURSERY_H
#define TINE_POOL_NURSERY_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "pool/layout.h"
#include "pool/threads.h"

struct tine_process;

/* What the nursery tells about a started worker; its pidfd travels beside. */
struct tine__nursery_note {
    uint32_t worker;
    int32_t pid;
};

/* The program's hold on the nursery and, through it, on the workers. */
struct tine__nursery {
    pid_t pid; /* 0: there is no such process */
    int pidfd;
    int socket;
    struct tine__threads *threads; /* instead of a nursery; then pidfd tells that they have left */
    struct tine_process *launched; /* whose pidfd that is, where it is no fork; else NULL */
    uint32_t workers;
    struct tine__child {
        pid_t pid;
        int pidfd; /* -1: none known */
    } * children;  /* by worker index, as last told by the nursery */
};

/* Starts the nursery by this method (TINE_FORK …), which starts the pool's workers. */
int tine__nursery_start(struct tine__nursery *nursery, struct tine__pool_shm *pool, int32_t method);
/* For a pool of this many threads, or none: jobs run in their callers. */
int tine__nursery_start_threads(struct tine__nursery *nursery, struct tine__pool_shm *pool,
                                uint32_t threads);
/* Takes in what the nursery has told about started workers. Never blocks. */
void tine__nursery_listen(struct tine__nursery *nursery);
/*
 * Has the nursery keep a copy of the descriptor under this number, which stands in pool->kept. 0,
 * -EBADF, -EAGAIN (it does not listen), TINE_EBROKEN (it has ended).
 */
int tine__nursery_keep(struct tine__nursery *nursery, uint64_t number, int fd);
/* Has it ended? Waits at most timeout_ns. */
bool tine__nursery_ended(struct tine__nursery *nursery, int64_t timeout_ns);
/* Has it look at the state of the pool and at what it keeps. */
void tine__nursery_nudge(struct tine__nursery *nursery);
/* Kills the workers and ends the nursery, waits at most timeout_ns; true when all are known to be
   gone. */
bool tine__nursery_kill(struct tine__nursery *nursery, struct tine__pool_shm *pool,
                        int64_t timeout_ns);
/* Kills the worker if it is still the process `pid`. */
void tine__nursery_kill_worker(struct tine__nursery *nursery, uint32_t worker, pid_t pid);
/* In a forked child: the nursery, and what it shares with the program, are the parent's. */
void tine__nursery_forget(struct tine__nursery *nursery);
/* Reaps an ended nursery and frees what this process holds of it. */
void tine__nursery_fini(struct tine__nursery *nursery);

/* ---- nursery_launch.c: nurseries that are no forks of the program ---------------------------- */

/* Starts one by TINE_SPAWN or TINE_FORKSERVER, with its end of the socket. */
int tine__nursery_launch(struct tine__nursery *nursery, struct tine__pool_shm *pool, int32_t method,
                         int socket);
/* Reaps it, once it has ended, and frees the handle. */
void tine__nursery_bury(struct tine_process *launched);
/* Its life, in a process with one thread; program: a pidfd; blocked: in
   workers, bit n - 1 is signal n. Returns only what keeps it from living. */
int tine__nursery_live(struct tine__pool_shm *pool, int program, int socket, uint64_t blocked);

#endif
