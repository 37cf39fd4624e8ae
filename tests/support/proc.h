/* SPDX-License-Identifier: MIT */
/* What the tests read from /proc. Every process may vanish while it is looked at. */
#ifndef TINE_TESTS_PROC_H
#define TINE_TESTS_PROC_H

#include <dirent.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct proc {
    char name[32]; /* comm */
    char state;    /* R, S, D, T, Z … */
    pid_t parent;
    pid_t group;
};

bool proc_read(int tid, struct proc *proc); /* a process or any thread; false: there is none */
bool proc_asleep(int tid);                  /* waits in the kernel: it has reached its wait */
uint64_t proc_delay_ns(int tid);            /* so long it has waited for a CPU; 0: unknown */
int proc_next(DIR *directory);              /* next entry that is a number, -1 at the end */
int proc_files(pid_t pid);                  /* its open descriptors */
int proc_threads(void);                     /* threads of the caller's process */

#endif
