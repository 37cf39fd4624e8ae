/* SPDX-License-Identifier: MIT */
/*
 * System calls that who computes only has not: each is made by a task, in a worker and in the guest
 * of an untrusted one. Arguments are such that it would do no harm without a filter; EPERM is the
 * filter's answer.
 */
#include <tine/sandbox.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <tine/pool.h>

#include "pool/guest.h"
#include "tests/pool/pools.h"
#include "tests/support/suite.h"

/* Arguments that are known in the task only. */
#define PARENT  (UINT64_C(1) << 60) /* nursery of a worker, worker of a guest */
#define ROOM    (PARENT + 1)        /* 4096 bytes, zero */
#define CLOCK   (PARENT + 2)        /* the parent's, of CPU time */
#define NOWHERE (uint64_t)(-1)      /* no descriptor; an address that nothing has */

enum {
    QUIETLY = 1, /* nobody is killed for it */
    ALONE = 2,   /* workers may, guests may not */
};

/* One a line. */
/* clang-format off */
#define CALL(name, ...)     {#name, SYS_##name, {__VA_ARGS__}, 0}
#define HOW(how, name, ...) {#name, SYS_##name, {__VA_ARGS__}, how}

static const struct forbidden {
    const char *name;
    long number;
    uint64_t args[6];
    int how;
} calls[] = {
    /* memory and registers of others */
    CALL(process_vm_readv, PARENT, 0, 0, 0, 0, 0),
    CALL(process_vm_writev, PARENT, 0, 0, 0, 0, 0),
    CALL(ptrace, 0x7fff, PARENT),
    CALL(kcmp, PARENT, PARENT, 0, 0, 0),
    CALL(move_pages, PARENT, 0, 0, 0, 0, 0),
    CALL(migrate_pages, PARENT, 0, 0, 0),
    CALL(perf_event_open, ROOM, 0, NOWHERE, NOWHERE, 0),
    CALL(userfaultfd, UINT32_MAX),
    CALL(bpf, NOWHERE, ROOM, 8),
#ifdef SYS_process_madvise
    CALL(process_madvise, NOWHERE, 0, 0, 0, 0),
#endif
#ifdef SYS_process_mrelease
    CALL(process_mrelease, NOWHERE, 0),
#endif
    /* others by a descriptor */
#ifdef SYS_pidfd_open
    CALL(pidfd_open, PARENT, 0),
    CALL(pidfd_send_signal, NOWHERE, 0, 0, 0),
#endif
#ifdef SYS_pidfd_getfd
    CALL(pidfd_getfd, NOWHERE, 0, 0),
#endif
    /* signals */
    CALL(tkill, PARENT, 0),
    CALL(tgkill, PARENT, PARENT, 0),
    CALL(rt_sigqueueinfo, PARENT, 0, ROOM),
    CALL(rt_tgsigqueueinfo, PARENT, PARENT, 0, ROOM),
    HOW(ALONE, kill, PARENT, 0),
    /* what others are and do */
    CALL(get_robust_list, PARENT, ROOM, ROOM),
    CALL(prlimit64, PARENT, RLIMIT_NOFILE, 0, ROOM),
    CALL(prlimit64, 0, RLIMIT_NOFILE, ROOM, 0),
    CALL(sched_setaffinity, PARENT, 0, ROOM),
    CALL(sched_getscheduler, PARENT),
    CALL(sched_getparam, PARENT, ROOM),
    CALL(sched_getattr, PARENT, ROOM, 48, 0),
    CALL(sched_setscheduler, PARENT, 77, ROOM),
    CALL(sched_setattr, PARENT, ROOM, 1),
    CALL(getpriority, 0, PARENT),
    CALL(setpriority, 77, PARENT, 0),
    CALL(ioprio_get, 1, PARENT),
    CALL(ioprio_set, 77, PARENT, 0),
    CALL(getpgid, PARENT),
    CALL(getsid, PARENT),
    CALL(setpgid, PARENT, NOWHERE),
    CALL(wait4, NOWHERE, 0, 1, 0),
    CALL(waitid, 77, 0, 0, 0, 0),
    HOW(QUIETLY, clock_gettime, CLOCK, ROOM),
    HOW(QUIETLY, clock_getres, CLOCK, ROOM),
    HOW(QUIETLY, clock_nanosleep, CLOCK, 0, ROOM, 0),
    /* other namespaces, rights and systems */
    CALL(clone, CLONE_THREAD | CLONE_NEWNET),
    CALL(clone, CLONE_THREAD | CLONE_NEWUSER),
    CALL(clone, CLONE_THREAD | CLONE_PTRACE),
    CALL(unshare, UINT32_C(1)),
    CALL(setns, NOWHERE, 0),
    CALL(capset, 0, 0),
    CALL(setgroups, NOWHERE, 0),
    CALL(setresuid, NOWHERE, NOWHERE, NOWHERE),
    CALL(personality, UINT32_MAX),
    CALL(seccomp, 77, 0, 0),
    CALL(keyctl, NOWHERE),
    CALL(add_key, 0, 0, 0, 0, 0),
    CALL(request_key, 0, 0, 0, 0),
    CALL(reboot, 0, 0, 0, 0),
    CALL(syslog, 77, 0, 0),
    CALL(acct, NOWHERE),
    CALL(mount, 0, 0, 0, 0, 0),
    CALL(umount2, NOWHERE, 0),
    CALL(pivot_root, NOWHERE, NOWHERE),
    CALL(chroot, NOWHERE),
    CALL(swapoff, NOWHERE),
    CALL(delete_module, NOWHERE, 0),
    CALL(sethostname, NOWHERE, 0xffff),
    CALL(clock_settime, 77, 0),
    CALL(settimeofday, NOWHERE, NOWHERE),
    CALL(madvise, 0, 0, 100), /* MADV_HWPOISON */
    CALL(madvise, 0, 0, 101), /* MADV_SOFT_OFFLINE */
    /* new descriptors */
    CALL(memfd_create, NOWHERE, 0),
    CALL(io_uring_setup, 0, 0),
    CALL(io_uring_enter, NOWHERE, 0, 0, 0, 0, 0),
    CALL(io_uring_register, NOWHERE, 0, 0, 0),
    CALL(io_setup, 0, 0),
    CALL(eventfd2, 0, 77),
    CALL(epoll_create1, 77),
    CALL(inotify_init1, 77),
    CALL(fanotify_init, 77, 0),
    CALL(signalfd4, NOWHERE, ROOM, 8, 77),
    CALL(timerfd_create, 77, 0),
    CALL(timer_create, 77, ROOM, ROOM),
    CALL(setitimer, 77, 0, 0),
    CALL(pipe2, NOWHERE, 77),
    CALL(socket, 77, 77, 77),
    CALL(socketpair, 77, 77, 77, 0),
    CALL(accept4, NOWHERE, 0, 0, 0),
    CALL(bind, NOWHERE, 0, 0),
    CALL(connect, NOWHERE, 0, 0),
    CALL(listen, NOWHERE, 0),
    CALL(setsockopt, NOWHERE, 0, 0, 0, 0),
    CALL(shutdown, NOWHERE, 0),
    CALL(getpeername, NOWHERE, 0, 0),
    CALL(splice, NOWHERE, 0, NOWHERE, 0, 1, 0),
    CALL(sendfile, NOWHERE, NOWHERE, 0, 1),
    CALL(vmsplice, NOWHERE, 0, 0, 0),
    CALL(copy_file_range, NOWHERE, 0, NOWHERE, 0, 1, 0),
    CALL(mq_open, NOWHERE, 0, 0, 0),
    CALL(shmget, 0, 0, 0),
    CALL(shmat, NOWHERE, 0, 0),
    CALL(semget, 0, NOWHERE, 0),
    CALL(msgget, 1, 0),
    /* files */
    CALL(open_by_handle_at, NOWHERE, 0, 0),
    CALL(execve, NOWHERE, 0, 0),
    CALL(execveat, NOWHERE, NOWHERE, 0, 0, 0),
    CALL(chdir, NOWHERE),
    CALL(fchdir, NOWHERE),
    CALL(getdents64, NOWHERE, 0, 0),
    CALL(truncate, NOWHERE, 0),
    CALL(unlinkat, NOWHERE, NOWHERE, 0),
    CALL(renameat2, NOWHERE, NOWHERE, NOWHERE, NOWHERE, 0),
    CALL(linkat, NOWHERE, NOWHERE, NOWHERE, NOWHERE, 0),
    CALL(symlinkat, NOWHERE, NOWHERE, NOWHERE),
    CALL(mkdirat, NOWHERE, NOWHERE, 0),
    CALL(mknodat, NOWHERE, NOWHERE, 0, 0),
    CALL(fchmod, NOWHERE, 0),
    CALL(fchown, NOWHERE, NOWHERE, NOWHERE),
    CALL(fsetxattr, NOWHERE, NOWHERE, 0, 0, 0),
    CALL(utimensat, NOWHERE, 0, 0, 0),
    CALL(flock, NOWHERE, 0),
    CALL(fstatfs, NOWHERE, NOWHERE),
#if defined(__x86_64__)
    CALL(iopl, 77),
    CALL(ioperm, NOWHERE, 1, 1),
    CALL(modify_ldt, 77, 0, 0),
#endif
    /* what the program shares with a guest: standard output and error */
    HOW(ALONE, fcntl, STDERR_FILENO, F_SETFL, O_WRONLY | O_NONBLOCK),
    HOW(ALONE, fcntl, NOWHERE, F_SETLK, NOWHERE),
    HOW(ALONE, fcntl, NOWHERE, F_DUPFD_CLOEXEC, 0),
    HOW(ALONE, dup, NOWHERE),
    HOW(ALONE, dup3, NOWHERE, 100, 0),
#if defined(__x86_64__)
    HOW(ALONE, dup2, NOWHERE, 100),
#endif
    HOW(ALONE, ftruncate, NOWHERE, 0),
    HOW(ALONE, fallocate, NOWHERE, 0, 0, 1),
    HOW(ALONE | QUIETLY, lseek, NOWHERE, 0, SEEK_SET),
    HOW(ALONE, pread64, NOWHERE, ROOM, 1, 0),
    HOW(ALONE, pwrite64, NOWHERE, ROOM, 0, 0),
    HOW(ALONE, read, STDOUT_FILENO, ROOM, 0),
    HOW(ALONE, read, STDERR_FILENO, ROOM, 0),
    HOW(ALONE, readv, STDERR_FILENO, ROOM, 0),
    HOW(ALONE, recvfrom, STDERR_FILENO, NOWHERE, 0, MSG_DONTWAIT, 0, 0),
    HOW(ALONE, sendto, STDERR_FILENO, ROOM, 0, MSG_DONTWAIT, 0, 0),
    HOW(ALONE, recvmsg, NOWHERE, NOWHERE, MSG_DONTWAIT),
    HOW(ALONE, sendmsg, NOWHERE, NOWHERE, MSG_DONTWAIT),
    HOW(ALONE, fsync, NOWHERE),
    HOW(ALONE, mmap, 0, 4096, PROT_READ, MAP_SHARED, NOWHERE, 0),
    /* and what it needs in passing */
    HOW(QUIETLY, openat, NOWHERE, NOWHERE, 0, 0),
    HOW(QUIETLY, statx, NOWHERE, NOWHERE, 0, 0, NOWHERE),
    HOW(QUIETLY, readlinkat, NOWHERE, NOWHERE, NOWHERE, 0),
    HOW(QUIETLY, ioctl, STDERR_FILENO, 0x5412, ROOM), /* TIOCSTI */
    HOW(QUIETLY, prctl, 1, 77),                       /* PR_SET_PDEATHSIG */
};
/* clang-format on */

#define CALLS (sizeof calls / sizeof calls[0])

static uint64_t argument_of(uint64_t argument)
{
    static uint64_t room[512];
    const uint64_t clocks = ~(uint64_t)getppid() << 3; /* as clock_getcpuclockid() makes them */

    memset(room, 0, sizeof room);
    if (argument == PARENT)
        return (uint64_t)getppid();
    if (argument == ROOM)
        return (uint64_t)(uintptr_t)room;
    return argument == CLOCK ? (clocks | 2) & UINT32_MAX : argument;
}

static int make_call(tine_call *call)
{
    uint64_t args[6];
    int64_t which;
    long got;
    int rc = tine_args(call, "q", &which);

    if (rc < 0)
        return rc;
    for (int i = 0; i < 6; i++)
        args[i] = argument_of(calls[which].args[i]);
    got = syscall(calls[which].number, args[0], args[1], args[2], args[3], args[4], args[5]);
    return tine_return(call, "q", (int64_t)(got < 0 ? errno : 0));
}

static int64_t result_of(tine_pool *pool, size_t which, tine_failure *failure)
{
    tine_job_options options = {.failure = failure};
    tine_results *results;
    int64_t error;
    int rc = tine_pool_apply(&results, pool, make_call, &options, "q", (int64_t)which);

    if (rc < 0)
        return rc;
    ck_assert_rc(tine_results_get(results, 0, "q", &error), 0);
    tine_results_close(results);
    return error;
}

static tine_pool *open_computing(bool untrusted, uint32_t flags)
{
    tine_sandbox sandbox = {.flags = TINE_SANDBOX_COMPUTE_ONLY | flags};
    tine_pool_options options = {
        .workers = 1, .sandbox = &sandbox, .flags = untrusted ? TINE_POOL_UNTRUSTED : 0};
    tine_pool *pool;
    int rc = tine_pool_open(&pool, &options);

    if (rc == -ENOTSUP)
        suite_skip("this kernel has no such sandbox");
    ck_assert_rc(rc, 0);
    return pool;
}

TEST(what_is_no_computing_is_refused, .loop_end = 2)
{
    bool untrusted = loop_index == 1;
    tine_pool *pool = open_computing(untrusted, 0);

    for (size_t i = 0; i < CALLS; i++) {
        int64_t got = result_of(pool, i, NULL);
        bool refused = untrusted || (calls[i].how & ALONE) == 0;

        ck_assert_msg((got == EPERM) == refused && got >= 0, "%zu: %s: %s", i, calls[i].name,
                      got < 0 ? tine_strerror((int)got) : strerror((int)got));
    }
    tine_pool_close(pool);
}

/* Those whose arguments are looked at, and some of the others: each costs a process. */
static bool is_to_kill(size_t which)
{
    long number = calls[which].number;

    return number == SYS_tgkill || number == SYS_kill || number == SYS_prlimit64 ||
           number == SYS_clock_gettime || number == SYS_clone || number == SYS_madvise ||
           number == SYS_fcntl || number == SYS_read || number == SYS_mmap || number == SYS_lseek ||
           number == SYS_openat;
}

TEST(or_kills_the_guest)
{
    tine_pool *pool = open_computing(true, TINE_SANDBOX_KILL);
    tine_failure failure;

    for (size_t i = 0; i < CALLS; i++) {
        bool quietly = (calls[i].how & QUIETLY) != 0;

        if (!is_to_kill(i))
            continue;
        failure.signal = SIGSYS;
        ck_assert_msg(result_of(pool, i, &failure) == (quietly ? EPERM : TINE_EWORKER), "%zu: %s",
                      i, calls[i].name);
        ck_assert_int_eq(failure.signal, SIGSYS);
    }
    tine_pool_close(pool);
}

SUITE_OF_POOLS("pool/forbidden")
