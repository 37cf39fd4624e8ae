/* SPDX-License-Identifier: MIT */
#ifndef TINE_POOL_FORKSERVER_H
#define TINE_POOL_FORKSERVER_H

#include <stdint.h>

#define TINE__SERVER_MAGIC   UINT64_C(0x65767265736b726f)
#define TINE__SERVER_REFUSES INT32_MIN /* who asks has not all the rights of this server */

/* What the server says first: who it is. */
struct tine__hello_wire {
    uint64_t magic;
    uint64_t word; /* tine__owner_word */
};

/* One process, please; beside it its end of the control socket that it is launched over. */
struct tine__request_wire {
    uint64_t magic;
    uint64_t shared; /* address of its tine__process_shm */
    int32_t tid;     /* of who asks */
    uint32_t unused;
};

/*
 * In a process with one thread: forks another, which serves what comes over the socket until the
 * program (a pidfd) has ended, or nobody can ask any more; the caller is to leave. 0, -EAGAIN,
 * -ENOMEM.
 */
int tine__forkserver_detach(int socket, int program);
/* In tine_init(), while the program has one thread. 0, or why there is none: the next start tries
   again. */
int tine__forkserver_begin(void);
/* This process does not use its server any more; the next start makes another. For tests. */
void tine__forkserver_forget(void);

#endif
