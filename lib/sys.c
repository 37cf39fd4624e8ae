/* SPDX-License-Identifier: MIT */
/* The one file of raw system calls; see lib/sys.h. No state, no locks, safe in a forked child. */
#include "lib/sys.h"

#include "lib/asleep.h"

#include "lib/clock.h"
#include "lib/fork.h"
#include "lib/rights.h"
#include "lib/sig.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <linux/membarrier.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define FDS_MAX 4

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* Linux 5.14 */
#endif

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25 /* Linux 6.1 */
#endif

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U /* Linux 6.3; older kernels refuse the bit with EINVAL */
#endif

/*
 * What a system call returned, as a descriptor or -errno. A program may run with its standard
 * streams closed; a descriptor of ours in their place would be printed to, and a worker would lose
 * it to /dev/null.
 */
static int above_standard(int fd)
{
    int moved;

    if (fd < 0)
        return -errno;
    if (fd > STDERR_FILENO)
        return fd;
    moved = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    if (moved < 0)
        moved = -errno;
    close(fd);
    return moved;
}

int tine__sys_above_standard(int fd)
{
    return above_standard(fd);
}

int tine__sys_capget(void *header, void *data)
{
    return syscall(SYS_capget, header, data) < 0 ? -errno : 0;
}

int tine__sys_capset(void *header, const void *data)
{
    return syscall(SYS_capset, header, data) < 0 ? -errno : 0;
}

int tine__sys_memfd(const char *name)
{
    int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);

    if (fd < 0 && errno == EINVAL)
        fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    return above_standard(fd);
}

/* Beyond the limit the kernel would send SIGXFSZ. */
static bool may_be_so_long(size_t size)
{
    struct rlimit limit;

    return size <= INT64_MAX && (getrlimit(RLIMIT_FSIZE, &limit) < 0 ||
                                 limit.rlim_cur == RLIM_INFINITY || size <= limit.rlim_cur);
}

int tine__sys_resize(int fd, size_t size)
{
    if (!may_be_so_long(size))
        return -EFBIG;
    while (ftruncate(fd, (off_t)size) < 0)
        if (errno != EINTR)
            return -errno;
    return 0;
}

int tine__sys_seal_size(int fd)
{
    return tine__sys_seal(fd, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
}

static int allocate(int fd, int mode, size_t from, size_t size)
{
    while (fallocate(fd, mode, (off_t)from, (off_t)size) < 0)
        if (errno != EINTR)
            return -errno;
    return 0;
}

int tine__sys_commit(int fd, size_t from, size_t size)
{
    return allocate(fd, 0, from, size);
}

int tine__sys_punch(int fd, size_t from, size_t size)
{
    return allocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, from, size);
}

int tine__sys_populate(void *address, size_t size)
{
    size_t before = (uintptr_t)address & ((size_t)sysconf(_SC_PAGESIZE) - 1);

    address = (char *)address - before;
    size += before;
    while (madvise(address, size, MADV_POPULATE_WRITE) < 0)
        if (errno != EINTR)
            return errno == EFAULT ? -ENOMEM : -errno;
    return 0;
}

int tine__sys_map_at(void *address, size_t size, int fd)
{
    void *got =
        mmap(address, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED_NOREPLACE, fd, 0);

    if (got == MAP_FAILED)
        return -errno;
    if (got == address)
        return 0;
    /* Linux before 4.17 and some tools take the address for a hint. */
    munmap(got, size);
    return -EEXIST;
}

static int with_mode(int fd, uint32_t mode)
{
    int rc;

    if (fd < 0)
        return fd;
    rc = fchmod(fd, mode) < 0 ? -errno : 0;
    if (rc < 0)
        close(fd);
    return rc < 0 ? rc : fd;
}

int tine__sys_tmpfile(const char *directory, uint32_t mode)
{
    int fd = above_standard(open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, mode));

    return fd == -EISDIR ? -ENOTSUP : with_mode(fd, mode);
}

int tine__sys_create(const char *path, uint32_t mode)
{
    int flags = O_CREAT | O_EXCL | O_RDWR | O_NOFOLLOW | O_CLOEXEC;
    int fd = above_standard(open(path, flags, mode));
    int rc = with_mode(fd, mode);

    if (fd >= 0 && rc < 0)
        unlink(path);
    return rc;
}

int tine__sys_open(const char *path, bool writable)
{
    /* O_NONBLOCK: a FIFO in its place is opened and then refused, not waited for. */
    int flags = (writable ? O_RDWR : O_RDONLY) | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;

    return above_standard(open(path, flags));
}

int tine__sys_open_directory(const char *path)
{
    return above_standard(open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
}

int tine__sys_link(int fd, const char *path)
{
    char self[32];

    snprintf(self, sizeof self, "/proc/self/fd/%d", fd);
    if (linkat(AT_FDCWD, self, AT_FDCWD, path, AT_SYMLINK_FOLLOW) == 0)
        return 0;
    if (errno != ENOENT) /* without /proc it takes a right, before Linux 6.10 */
        return -errno;
    if (linkat(fd, "", AT_FDCWD, path, AT_EMPTY_PATH) == 0)
        return 0;
    return errno == ENOENT ? -ENOTSUP : -errno;
}

int tine__sys_rename_new(const char *path, const char *wanted)
{
    return renameat2(AT_FDCWD, path, AT_FDCWD, wanted, RENAME_NOREPLACE) < 0 ? -errno : 0;
}

int tine__sys_unlink(const char *path)
{
    return unlink(path) < 0 ? -errno : 0;
}

int tine__sys_try_lock(int fd)
{
    while (flock(fd, LOCK_EX | LOCK_NB) < 0)
        if (errno != EINTR)
            return -errno;
    return 0;
}

void tine__sys_unlock(int fd)
{
    flock(fd, LOCK_UN); /* not left to close: a forked child may have the descriptor, too */
}

int tine__sys_proc_code(int code)
{
    return code == -ENOENT && access("/proc/self", F_OK) < 0 ? -ENOTSUP : code;
}

int tine__sys_reopen(int fd)
{
    char path[32];
    int copy;

    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    do
        copy = open(path, O_RDONLY | O_CLOEXEC);
    while (copy < 0 && errno == EINTR);
    return tine__sys_proc_code(above_standard(copy));
}

static int ofd_lock(int fd, int command, struct flock *lock)
{
    int rc;

    do
        rc = fcntl(fd, command, lock);
    while (rc < 0 && errno == EINTR);
    return rc < 0 ? -errno : 0;
}

int tine__sys_share_bytes(int fd, uint64_t from, uint64_t count)
{
    struct flock lock = {
        .l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = (off_t)from, .l_len = (off_t)count};

    return ofd_lock(fd, F_OFD_SETLK, &lock);
}

void tine__sys_unshare_bytes(int fd, uint64_t from, uint64_t count)
{
    struct flock lock = {
        .l_type = F_UNLCK, .l_whence = SEEK_SET, .l_start = (off_t)from, .l_len = (off_t)count};

    (void)ofd_lock(fd, F_OFD_SETLK, &lock);
}

int tine__sys_bytes_shared(int fd, uint64_t from, uint64_t count)
{
    struct flock lock = {
        .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = (off_t)from, .l_len = (off_t)count};
    int rc = ofd_lock(fd, F_OFD_GETLK, &lock);

    return rc < 0 ? rc : lock.l_type != F_UNLCK;
}

int tine__sys_extend(int fd, size_t from, size_t size)
{
    sigset_t saved;
    int rc;

    if (!may_be_so_long(size))
        return -EFBIG;
    tine__sig_block(&saved);
    rc = allocate(fd, 0, from, size - from);
    tine__sig_restore(&saved);
    return rc;
}

int tine__sys_dup(int fd)
{
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);

    return copy < 0 ? -errno : copy;
}

int tine__sys_seals(int fd)
{
    int seals = fcntl(fd, F_GET_SEALS);

    return seals < 0 ? -errno : seals;
}

int tine__sys_seal(int fd, int seals)
{
    return fcntl(fd, F_ADD_SEALS, seals) < 0 ? -errno : 0;
}

int tine__sys_reserve(size_t size, size_t alignment, void **address)
{
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    size_t whole = size + alignment, before, after;
    char *got;

    if (whole < size)
        return -ENOMEM;
    got = mmap(NULL, whole, PROT_NONE, flags, -1, 0);
    if (got == MAP_FAILED)
        return -errno;
    before = (alignment - ((uintptr_t)got & (alignment - 1))) & (alignment - 1);
    after = alignment - before;
    if (before > 0)
        munmap(got, before);
    if (after > 0)
        munmap(got + before + size, after);
    *address = got + before;
    return 0;
}

int tine__sys_map_over(void *address, size_t size, int prot, int flags, int fd, size_t from)
{
    void *got = mmap(address, size, prot, flags | MAP_FIXED, fd, (off_t)from);

    return got == MAP_FAILED ? -errno : 0;
}

void *tine__sys_map_shared(size_t size)
{
    void *got = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    return got == MAP_FAILED ? NULL : got;
}

void tine__sys_huge(void *address, size_t size)
{
    /* The first is for pages to come, the second for those that are there; both may be refused. */
    (void)madvise(address, size, MADV_HUGEPAGE);
    (void)madvise(address, size, MADV_COLLAPSE);
}

int tine__sys_socketpair(int fds[2])
{
    int made[2];

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, made) < 0)
        return -errno;
    made[0] = above_standard(made[0]);
    made[1] = above_standard(made[1]);
    if (made[0] < 0 || made[1] < 0) {
        close(made[0] < 0 ? made[1] : made[0]);
        return made[0] < 0 ? made[0] : made[1];
    }
    fds[0] = made[0];
    fds[1] = made[1];
    return 0;
}

int tine__sys_socket(int domain, int type)
{
    return above_standard(socket(domain, type | SOCK_CLOEXEC, 0));
}

/* A peer that has left meanwhile is no news: the next one is. */
int tine__sys_accept(int fd)
{
    int accepted;

    do
        accepted = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    while (accepted < 0 && (errno == EINTR || errno == ECONNABORTED));
    return above_standard(accepted);
}

int tine__sys_eventfd(void)
{
    return above_standard(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
}

int tine__sys_epoll(void)
{
    return above_standard(epoll_create1(EPOLL_CLOEXEC));
}

static int poll_for(int fd, short events, int64_t timeout_ns)
{
    tine__deadline deadline = tine__deadline_after(timeout_ns);
    struct pollfd set = {.fd = fd, .events = events};

    for (;;) {
        struct timespec left = tine__timespec(tine__deadline_left(deadline));
        int rc;

        if (timeout_ns != 0)
            tine__asleep_say(true);
        rc = ppoll(&set, 1, deadline == TINE__NEVER ? NULL : &left, NULL);
        if (timeout_ns != 0)
            tine__asleep_say(false);
        if (rc >= 0)
            return rc;
        if (errno != EINTR)
            return -errno;
    }
}

int tine__sys_poll_in(int fd, int64_t timeout_ns)
{
    return poll_for(fd, POLLIN, timeout_ns);
}

int tine__sys_poll_out(int fd, int64_t timeout_ns)
{
    return poll_for(fd, POLLOUT, timeout_ns);
}

int tine__sys_read_own(uint64_t address, void *into, size_t size)
{
    struct iovec to = {.iov_base = into, .iov_len = size};
    struct iovec from = {.iov_base = (void *)(uintptr_t)address, .iov_len = size};
    ssize_t copied = process_vm_readv(getpid(), &to, 1, &from, 1, 0);

    if (copied < 0)
        return -errno;
    return (size_t)copied == size ? 0 : -EFAULT;
}

int tine__sys_close_range(unsigned from, unsigned to)
{
    return close_range(from, to, 0) < 0 ? -errno : 0;
}

int tine__sys_keep_only(int fd)
{
    if (close_range((unsigned)fd + 1, ~0u, CLOSE_RANGE_UNSHARE) < 0)
        return -errno;
    return fd == 0 ? 0 : tine__sys_close_range(0, (unsigned)fd - 1);
}

int tine__sys_gettid(void)
{
    return (int)syscall(SYS_gettid);
}

int tine__sys_futex_wait(const _Atomic uint32_t *word, uint32_t expected, int64_t timeout_ns)
{
    /* FUTEX_WAIT_BITSET takes an absolute CLOCK_MONOTONIC time: a retry keeps the deadline. */
    tine__deadline deadline = tine__deadline_after(timeout_ns);
    struct timespec until = tine__timespec(deadline);

    for (;;) {
        long rc;

        tine__asleep_say(true);
        rc = syscall(SYS_futex, word, FUTEX_WAIT_BITSET, expected,
                     deadline == TINE__NEVER ? NULL : &until, NULL, FUTEX_BITSET_MATCH_ANY);
        tine__asleep_say(false);
        if (rc == 0 || errno == EAGAIN)
            return 0;
        if (errno != EINTR)
            return -errno;
    }
}

int tine__sys_futex_wake(const _Atomic uint32_t *word, int count)
{
    long rc = syscall(SYS_futex, word, FUTEX_WAKE, count, NULL, NULL, 0);

    return rc < 0 ? -errno : (int)rc;
}

static int membarrier(int command)
{
    return syscall(SYS_membarrier, command, 0, 0) < 0 ? -errno : 0;
}

int tine__sys_membarrier(void)
{
    return membarrier(MEMBARRIER_CMD_GLOBAL_EXPEDITED);
}

int tine__sys_membarrier_register(void)
{
    return membarrier(MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED);
}

ssize_t tine__sys_send_fds(int socket, const void *record, size_t size, const int *fds, int count,
                           int flags)
{
    union tine__rights rights;
    struct iovec part = {.iov_base = (void *)(uintptr_t)record, .iov_len = size};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};

    if (count < 0 || count > FDS_MAX)
        return -EINVAL;
    tine__rights_attach(&message, &rights, fds, (uint32_t)count);
    for (;;) {
        ssize_t sent = sendmsg(socket, &message, flags | MSG_NOSIGNAL);

        if (sent >= 0)
            return sent;
        if (errno != EINTR)
            return -errno;
    }
}

ssize_t tine__sys_recv_fds(int socket, void *record, size_t size, int *fds, int *count, int flags)
{
    union tine__rights rights;
    struct iovec part = {.iov_base = record, .iov_len = size};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    ssize_t received;
    int came;

    tine__rights_expect(&message, &rights);
    do
        received = recvmsg(socket, &message, flags | MSG_CMSG_CLOEXEC);
    while (received < 0 && errno == EINTR);
    if (received < 0)
        return -errno;
    came = (int)tine__rights_detach(&message, fds, (uint32_t)*count);
    if (came > *count || (message.msg_flags & (MSG_CTRUNC | MSG_TRUNC)) != 0) {
        for (int i = 0; i < came && i < *count; i++)
            close(fds[i]);
        return -EPROTO;
    }
    *count = came;
    return received;
}
