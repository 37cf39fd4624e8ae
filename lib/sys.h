/* SPDX-License-Identifier: MIT */
#ifndef TINE_LIB_SYS_H
#define TINE_LIB_SYS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * Every raw system call that needs CLOEXEC, an EINTR loop or a fallback stands in lib/sys.c and
 * nowhere else, so that a fault module can fail any of them. All return -errno, never set it for the
 * caller to read; descriptors are CLOEXEC.
 */
int tine__sys_memfd(const char *name);
int tine__sys_resize(int fd, size_t size); /* -EFBIG at RLIMIT_FSIZE, without SIGXFSZ */
int tine__sys_seal_size(int fd);           /* nobody can change its length again */
int tine__sys_commit(int fd, size_t from,
                     size_t size); /* pages exist afterwards; -ENOSPC, -ENOMEM */
int tine__sys_punch(int fd, size_t from, size_t size); /* pages are gone and read as zero */
int tine__sys_populate(void *address, size_t size);    /* the same through a mapping (Linux 5.14) */
/* Maps fd shared, readable and writable, at exactly that address; -EEXIST when it is taken. */
int tine__sys_map_at(void *address, size_t size, int fd);
int tine__sys_pidfd_open(pid_t pid); /* under valgrind: of the calling process only */
/* fork() that also gives a pidfd of the child: its pid and *pidfd, 0 in the child, or -errno. */
pid_t tine__sys_fork(int *pidfd);
int tine__sys_pidfd_kill(int pidfd, int signal);
int tine__sys_socketpair(int fds[2]);              /* AF_UNIX SOCK_SEQPACKET */
int tine__sys_poll_in(int fd, int64_t timeout_ns); /* 1 readable or hung up, 0 timed out */
int tine__sys_gettid(void);

/* One turn of a spinning wait: lets the other hardware thread run, and saves power. */
static inline void tine__cpu_relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/*
 * Waits while *word == expected, at most timeout_ns (negative: for ever). The word may lie in memory
 * shared between processes. 0 woken or value differed, -ETIMEDOUT; -EINTR is retried inside.
 */
int tine__sys_futex_wait(const _Atomic uint32_t *word, uint32_t expected, int64_t timeout_ns);
int tine__sys_futex_wake(const _Atomic uint32_t *word, int count); /* how many were woken */

/* One record with descriptors beside it (at most 4). Never SIGPIPE. */
ssize_t tine__sys_send_fds(int socket, const void *record, size_t size, const int *fds, int count,
                           int flags);
/* *count: room in, descriptors received out. -EPROTO (and all closed) when some were cut off. */
ssize_t tine__sys_recv_fds(int socket, void *record, size_t size, int *fds, int *count, int flags);

#endif
