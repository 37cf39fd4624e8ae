/* SPDX-License-Identifier: MIT */
#ifndef TINE_LIB_SYS_POLL_H
#define TINE_LIB_SYS_POLL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pollfd;

/*
 * The raw system calls of waiting for descriptors; the rules are those of lib/sys.h.
 *
 * A bell is a datagram socket under an abstract name made of a number: whoever knows the number and
 * its secret can ring it, that is, make it readable by a datagram, without any descriptor of it.
 */
/* How many have revents, 0: timed out; -EINVAL: more entries than RLIMIT_NOFILE. */
int tine__sys_poll(struct pollfd *fds, size_t count, int64_t timeout_ns);

int tine__sys_bell(uint64_t number, uint64_t secret); /* -EADDRINUSE: choose another */
bool tine__sys_is_bell(int fd, uint64_t number);
/*
 * Rings from that bell, or -1: from a socket made for it. 0 also when it is full of rings;
 * -ECONNREFUSED: nobody has that number; -EMFILE, -ENFILE … These three are async-signal-safe.
 */
int tine__sys_ring(int from, uint64_t number, uint64_t secret);
void tine__sys_bell_silence(int fd); /* takes a ring out, the only one as a rule */

/* Of tine__sys_epoll's. Adds fd, level-triggered, readable; `cookie` is what tine__sys_epoll_look
   gives for it. */
int tine__sys_epoll_add(int epoll, int fd, uint64_t cookie);
/* The cookies of what is readable now, at most `room`; how many. Async-signal-safe. */
int tine__sys_epoll_look(int epoll, uint64_t *cookies, int room);

/*
 * A pipe. When nobody has its end for writing, ends[1], any more, the kernel sends the signal to
 * this process, which may be stopped then.
 */
int tine__sys_signalling_pipe(int ends[2], int signal);

int tine__sys_timer(void); /* CLOCK_MONOTONIC, not armed */
/* Readable once in ns from now; not readable until then. Async-signal-safe. */
int tine__sys_timer_set(int fd, int64_t ns);

#endif
