/* SPDX-License-Identifier: MIT */
/*
 * Launching: what a process that is no fork of the program is told over its control socket, and
 * what it answers. Everything but descriptors lies in the family heap, which it maps first.
 *
 *     starter ──launch: heap, parent, carried, listed, surroundings──► process
 *             ◄──answer: 0 and its pidfd, or why it cannot──
 */
#ifndef TINE_POOL_LAUNCH_H
#define TINE_POOL_LAUNCH_H

#include <stdint.h>

#include "lib/clock.h"
#include "pool/begin.h"

#define TINE__CONTROL_FD  3   /* in a program that was executed for us */
#define TINE__EXIT_UNBORN 255 /* a process that does not come to be */

enum {
    TINE__LAUNCH_PROCESS = 1,
    TINE__LAUNCH_SERVER = 2, /* to become the forkserver (pool/start_forkserver.c) */
};

#define TINE__SURROUNDINGS_MAX 4 /* working directory and the standard streams */
#define TINE__LUGGAGE_MAX      (2 + TINE__CARRIED_MAX + TINE_PROCESS_FDS_MAX + TINE__SURROUNDINGS_MAX)

/* Descriptors to be sent, in the order of the picture above. */
struct tine__luggage {
    uint32_t count;
    int fds[TINE__LUGGAGE_MAX];
};

/*
 * Has a process launched: 0, -EMFILE and the like. 0 also where nobody listens any more: why, its
 * answer may still tell.
 */
int tine__launch_send(int socket, uint32_t kind, struct tine__process_shm *shared,
                      const struct tine__luggage *luggage);
/*
 * Its answer, with its pid and pidfd: 0; the code that it gave, with its pid, or 0 from the
 * forkserver; -ETIMEDOUT, TINE_EBROKEN (it has ended).
 */
int tine__launch_await(int socket, tine__deadline deadline, pid_t *pid, int *pidfd);
/* Level and sink of the log, for a process that is no fork. */
void tine__launch_tell_log(struct tine__process_shm *shared);
/*
 * The starter gives up: the process will not run the function. False: it does already.
 */
bool tine__launch_cancel(struct tine__process_shm *shared);

/* Heap and parent, then what this birth carries, then the listed ones. 0, -EBADF (heap). */
int tine__luggage_pack(struct tine__luggage *luggage, const struct tine__birth *birth,
                       const int *listed);

/* Who cannot make the process says so in its stead. */
void tine__launch_refuse(int socket, int code);
/* In the new process: launched by what comes over the socket. The end of it, if nothing does. */
_Noreturn void tine__launch_receive(int socket);

#endif
