/* SPDX-License-Identifier: MIT */
/*
 * Hunting the processes of a pool: found through /proc as children of the program's children, or as
 * those of its forkserver; killed by pidfd, so that no stranger is hit.
 *
 *     struct hunt hunt = {0};
 *     hunt_begin(&hunt, getpid());         // the pool that this process has just opened
 *     hunt_kill(&hunt, TINE_MS(1));        // a random worker, within that time; returns when it is dead
 *     … hunt_killed(&hunt, failure.pid) …
 *     hunt_forget(&hunt);                  // the next job has its own victims
 */
#ifndef TINE_TESTS_HUNT_H
#define TINE_TESTS_HUNT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define HUNT_WORKERS_MAX 64
#define HUNT_VICTIMS_MAX 256

struct hunt {
    pid_t nursery;
    pid_t keeper; /* its parent: the program, or a forkserver */
    pid_t prey;   /* aimed at, by this pidfd */
    int pidfd;
    pid_t victims[HUNT_VICTIMS_MAX]; /* since the last hunt_forget() */
    unsigned count;
    uint64_t total;   /* since hunt_begin() */
    int64_t death_ns; /* when the last one was dead, on CLOCK_MONOTONIC */
};

/* Nurseries are children of this one, which is the caller's child, if not of the program. */
void hunt_below(pid_t server);
void hunt_begin(struct hunt *hunt, pid_t program); /* waits until the pool's nursery is there */
/* Kills a random worker at a random instant and waits for its death. 0: there is none just now. */
pid_t hunt_kill(struct hunt *hunt, int64_t within_ns);
/* The same in two steps, so that the instant is the caller's. False: there is none just now. */
bool hunt_aim(struct hunt *hunt);
pid_t hunt_strike(struct hunt *hunt);
/* Kills all workers that there are, and waits; how many they were. */
unsigned hunt_kill_all(struct hunt *hunt);
/* Kills the nursery; when it was dead. */
int64_t hunt_kill_nursery(struct hunt *hunt);
bool hunt_killed(const struct hunt *hunt, pid_t pid);
void hunt_forget(struct hunt *hunt);

/* Children of a process that its first thread made; how many were written to pids. */
int hunt_children(pid_t parent, pid_t *pids, int room);
/* A random one of the workers that there are, or 0. */
pid_t hunt_worker(const struct hunt *hunt);
/* Sends a signal to a process if it still lives and is still a child of that parent. */
bool hunt_signal(pid_t parent, pid_t pid, int signal);

/* Makes the caller the parent of all orphans among its descendants … */
void orphans_adopt(void);
/* … and waits until the last of its children, adopted ones included, is dead and reaped.
   The server of hunt_below() stays, and those that it has forked go. */
void orphans_reap(void);

/* Lets up to max_ns pass: the random instant of a kill. */
void pause_randomly(int64_t max_ns);
int64_t now_ns(void); /* CLOCK_MONOTONIC */

#endif
