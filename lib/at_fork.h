/* SPDX-License-Identifier: MIT */
/* The embedder's hooks around a fork of tine's; see tine/fork.h. `what` is TINE_FORKED_… */
#ifndef TINE_LIB_AT_FORK_H
#define TINE_LIB_AT_FORK_H

#include <sys/types.h>

#include <tine/fork.h>

/* 0; or the code of a hook that refuses: then there is no fork, and nothing else to be called. */
int tine__at_fork_before(int32_t what);
/* In the same thread, without locks, whether the fork succeeded or not. */
void tine__at_fork_in_parent(int32_t what);
/* tine__sys_fork() between those two. */
pid_t tine__hooked_fork(int32_t what, int *pidfd);
/* In the new process, when it is ready for code that is not ours. Also where it was executed. */
void tine__at_fork_in_child(int32_t what);

#endif
