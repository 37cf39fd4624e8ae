/* SPDX-License-Identifier: MIT */
#ifndef TINE_LIB_SYS_H
#define TINE_LIB_SYS_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

/*
 * Every raw system call that needs CLOEXEC, an EINTR loop or a fallback stands in lib/sys.c and
 * nowhere else, so that a fault module can fail any of them. All return -errno, never set it for
 * the caller to read; descriptors are CLOEXEC.
 */
/* A new descriptor that the system call gave, or -errno of it; moved if it is 0, 1 or 2. */
int tine__sys_above_standard(int fd);
/* Of the calling thread; header and data as in <linux/capability.h>. 0, or -errno. */
int tine__sys_capget(void *header, void *data);
int tine__sys_capset(void *header, const void *data);
int tine__sys_memfd(const char *name);
int tine__sys_resize(int fd, size_t size); /* -EFBIG at RLIMIT_FSIZE, without SIGXFSZ */
int tine__sys_seal_size(int fd);           /* nobody can change its length again */
int tine__sys_commit(int fd, size_t from,
                     size_t size); /* pages exist afterwards; -ENOSPC, -ENOMEM */
int tine__sys_punch(int fd, size_t from, size_t size); /* pages are gone and read as zero */
int tine__sys_populate(void *address, size_t size);    /* the same through a mapping (Linux 5.14) */
/* Maps fd shared, readable and writable, at exactly that address; -EEXIST when it is taken. */
int tine__sys_map_at(void *address, size_t size, int fd);
/*
 * Files with a name, by absolute path. The last component is never followed if it is a symbolic
 * link: -ELOOP. Modes are exact, whatever the umask says.
 */
int tine__sys_tmpfile(const char *directory, uint32_t mode); /* nameless; -ENOTSUP on some */
int tine__sys_create(const char *path, uint32_t mode);       /* -EEXIST */
int tine__sys_open(const char *path, bool writable);
int tine__sys_open_directory(const char *path); /* links are followed */
int tine__sys_link(int fd, const char *path);   /* names a nameless file; -EEXIST, -ENOTSUP */
int tine__sys_rename_new(const char *path, const char *wanted); /* -EEXIST */
int tine__sys_unlink(const char *path);
/* A lock of the open file: -EAGAIN while another has it. It ends with its last descriptor. */
int tine__sys_try_lock(int fd);
void tine__sys_unlock(int fd);
/* Another open file of the same inode, read-only: its locks are its own. Needs /proc. */
int tine__sys_reopen(int fd);
/*
 * Shared locks of bytes, of the open file: they live as long as any copy of the descriptor, forked
 * and in flight ones included. The query sees those of other open files; -errno.
 */
int tine__sys_share_bytes(int fd, uint64_t from, uint64_t count);
void tine__sys_unshare_bytes(int fd, uint64_t from, uint64_t count);
int tine__sys_bytes_shared(int fd, uint64_t from, uint64_t count); /* 1: some are */
/*
 * Bytes from … size-1 have memory afterwards, and the file is at least that long; all or nothing.
 * -ENOSPC, -ENOMEM; -EFBIG at RLIMIT_FSIZE, without SIGXFSZ. Signals wait until it is done, for an
 * interrupted fallocate begins anew, for ever where they come often.
 */
int tine__sys_extend(int fd, size_t from, size_t size);
int tine__sys_dup(int fd);
int tine__sys_seals(int fd); /* F_SEAL_ bits; -EINVAL: a file that has none */
int tine__sys_seal(int fd, int seals);

/* Addresses that nothing uses: no memory, no access. alignment: a power of two, at least a page. */
int tine__sys_reserve(size_t size, size_t alignment, void **address);
/* Maps a part of fd over what is there. prot and flags as of mmap. */
int tine__sys_map_over(void *address, size_t size, int prot, int flags, int fd, size_t from);
/* Zeroed memory that forked processes share. NULL: there is none. */
void *tine__sys_map_shared(size_t size);
/* Asks for huge pages, as well as they can be had. */
void tine__sys_huge(void *address, size_t size);

int tine__sys_pidfd_open(pid_t pid); /* under valgrind: of the calling process only */
/* fork() that also gives a pidfd of the child: its pid and *pidfd, 0 in the child, or -errno. */
pid_t tine__sys_fork(int *pidfd);
/* The same; `place`, from tine__sys_pidfd_open, is closed in the parent, whatever comes of it: so
   there is room for *pidfd. */
pid_t tine__sys_fork_over(int *pidfd, int place);
int tine__sys_pidfd_kill(int pidfd, int signal);
/* Reaps the child if it has ended, with what it has used: 1, 0 (it runs), -ECHILD. */
int tine__sys_reap(int pidfd, siginfo_t *info, struct rusage *usage);
/*
 * The wait status of a process that somebody has reaped (Linux 6.15). -EAGAIN: not yet, -ENOTSUP:
 * it is not known.
 */
int tine__sys_pidfd_status(int pidfd, int *status);
int tine__sys_socketpair(int fds[2]); /* AF_UNIX SOCK_SEQPACKET */
int tine__sys_socket(int domain, int type);
int tine__sys_accept(int fd); /* the next one, not blocking; -EAGAIN */
int tine__sys_epoll(void);
/* A counter that starts at 0: readable when it has been added to. */
int tine__sys_eventfd(void);
int tine__sys_poll_in(int fd, int64_t timeout_ns);     /* 1 readable or hung up, 0 timed out */
int tine__sys_poll_out(int fd, int64_t timeout_ns);    /* 1 writable or hung up, 0 timed out */
int tine__sys_close_range(unsigned from, unsigned to); /* both included; -ENOSYS under valgrind */
/* The calling thread has this descriptor from now on, and no other: those of the process are not
   its own any more. -ENOSYS before Linux 5.9, and under valgrind. */
int tine__sys_keep_only(int fd);
int tine__sys_gettid(void);
/* The code of a call on a path in /proc: -ENOTSUP for -ENOENT where there is no /proc at all. */
int tine__sys_proc_code(int code);
/* Copies from memory of this process that may not be there: -EFAULT. */
int tine__sys_read_own(uint64_t address, void *into, size_t size);

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
 * Waits while *word == expected, at most timeout_ns (negative: for ever). The word may lie in
 * memory shared between processes. 0 woken or value differed, -ETIMEDOUT; -EINTR is retried inside.
 */
int tine__sys_futex_wait(const _Atomic uint32_t *word, uint32_t expected, int64_t timeout_ns);
int tine__sys_futex_wake(const _Atomic uint32_t *word, int count); /* how many were woken */

/*
 * A memory barrier in every thread that runs, of all processes that have registered (Linux 4.16). A
 * process may do so without being registered itself. See shm/fence.h.
 */
int tine__sys_membarrier(void);
int tine__sys_membarrier_register(void);

/* One record with descriptors beside it (at most 4). Never SIGPIPE. */
ssize_t tine__sys_send_fds(int socket, const void *record, size_t size, const int *fds, int count,
                           int flags);
/*
 * *count: room in, descriptors received out. -EPROTO (and all closed) when some were cut off; the
 * record has come all the same.
 */
ssize_t tine__sys_recv_fds(int socket, void *record, size_t size, int *fds, int *count, int flags);

#endif
