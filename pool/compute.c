/* SPDX-License-Identifier: MIT */
/*
 * TINE_SANDBOX_COMPUTE_ONLY: a seccomp filter with a list of what is allowed.
 *
 * The list is what a worker's loop, the family heap, locks and queues of tine, the C library's
 * malloc, threads and stdio on open descriptors need. Five calls are allowed with certain arguments
 * only: kill() to ask whether a process lives (who sleeps on a lock does), tgkill() at itself
 * (abort), prlimit64() to read, clone() for threads, and fcntl() for all but signals: by F_SETOWN,
 * F_SETSIG and O_ASYNC the kernel would kill whom it is told to. clone3(), whose arguments lie in
 * memory where no filter can see them, is said not to exist, so that the C library takes clone().
 *
 * Calls of another architecture's numbering (int 0x80 in a 64-bit program) kill the worker: their
 * numbers mean something else. Those of x32 have a bit in the number, and so are on no list.
 */
#include "pool/compute.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/confine.h"

#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCH AUDIT_ARCH_AARCH64
#endif

#ifdef ARCH

#ifndef SECCOMP_RET_KILL_PROCESS
#define SECCOMP_RET_KILL_PROCESS 0x80000000U /* Linux 4.14 */
#endif

#define NUMBER         ((uint32_t)offsetof(struct seccomp_data, nr))
#define ARCHITECTURE   ((uint32_t)offsetof(struct seccomp_data, arch))
#define LOW(argument)  ((uint32_t)offsetof(struct seccomp_data, args[argument])) /* little-endian */
#define HIGH(argument) (LOW(argument) + 4)
#define ROOM           256

static const uint16_t allowed[] = {
    /* memory */
    SYS_mmap,
    SYS_munmap,
    SYS_mremap,
    SYS_mprotect,
    SYS_madvise,
    SYS_brk,
    SYS_mincore,
    SYS_msync,
    SYS_ftruncate,
    SYS_fallocate,
    /* open descriptors */
    SYS_read,
    SYS_write,
    SYS_readv,
    SYS_writev,
    SYS_pread64,
    SYS_pwrite64,
    SYS_lseek,
    SYS_fstat,
    SYS_close,
    SYS_dup,
    SYS_dup3,
    SYS_fsync,
    SYS_fdatasync,
    SYS_ppoll,
    SYS_pselect6,
    SYS_sendto,
    SYS_recvfrom,
    SYS_sendmsg,
    SYS_recvmsg,
    /* threads and waiting */
    SYS_futex,
    SYS_set_robust_list,
    SYS_get_robust_list,
    SYS_set_tid_address,
    SYS_sched_yield,
    SYS_sched_getaffinity,
    SYS_getcpu,
    SYS_membarrier,
    SYS_exit,
    SYS_exit_group,
    SYS_restart_syscall,
#ifdef SYS_rseq
    SYS_rseq,
#endif
#ifdef SYS_futex_waitv
    SYS_futex_waitv,
#endif
    /* time */
    SYS_clock_gettime,
    SYS_clock_getres,
    SYS_clock_nanosleep,
    SYS_nanosleep,
    SYS_gettimeofday,
    SYS_times,
    /* signals of its own */
    SYS_rt_sigaction,
    SYS_rt_sigprocmask,
    SYS_rt_sigreturn,
    SYS_rt_sigpending,
    SYS_rt_sigtimedwait,
    SYS_rt_sigsuspend,
    SYS_sigaltstack,
    /* who and where it is */
    SYS_getpid,
    SYS_getppid,
    SYS_gettid,
    SYS_getuid,
    SYS_geteuid,
    SYS_getgid,
    SYS_getegid,
    SYS_getrusage,
    SYS_sysinfo,
    SYS_uname,
    SYS_getrandom,
#if defined(__x86_64__)
    SYS_dup2,
    SYS_poll,
    SYS_select,
    SYS_time,
#endif
};

/*
 * What libraries, and tine, try in passing and can do without: a look at /proc or at what kind of
 * file an open descriptor is. Refused, but nobody is killed for it.
 */
static const uint16_t refused_quietly[] = {
    SYS_openat, SYS_newfstatat, SYS_statx, SYS_readlinkat, SYS_faccessat, SYS_ioctl, SYS_prctl,
#if defined(__x86_64__)
    SYS_open,   SYS_stat,       SYS_lstat, SYS_readlink,   SYS_access,
#endif
};

struct program {
    struct sock_filter code[ROOM];
    uint16_t length;
};

static void add(struct program *program, uint16_t code, uint32_t k, uint8_t yes, uint8_t no)
{
    program->code[program->length++] = (struct sock_filter){code, yes, no, k};
}

static void load(struct program *program, uint32_t offset)
{
    add(program, BPF_LD | BPF_W | BPF_ABS, offset, 0, 0);
}

/* The next `no` instructions are skipped if what was loaded is another. */
static void unless_skip(struct program *program, uint32_t value, uint8_t no)
{
    add(program, BPF_JMP | BPF_JEQ | BPF_K, value, 0, no);
}

static void give(struct program *program, uint32_t action)
{
    add(program, BPF_RET | BPF_K, action, 0, 0);
}

static void give_to_all(struct program *program, const uint16_t *numbers, size_t count,
                        uint32_t action)
{
    for (size_t i = 0; i < count; i++) {
        unless_skip(program, numbers[i], 1);
        give(program, action);
    }
}

/* The call is allowed where the low half of an argument has this value. */
static void allow_with(struct program *program, uint32_t number, unsigned argument, uint32_t value,
                       uint32_t refusal)
{
    unless_skip(program, number, 4);
    load(program, LOW(argument));
    unless_skip(program, value, 1);
    give(program, SECCOMP_RET_ALLOW);
    give(program, refusal);
}

/* Only looks at limits: the new ones are a null pointer. */
static void allow_reading_limits(struct program *program, uint32_t refusal)
{
    unless_skip(program, SYS_prlimit64, 6);
    load(program, LOW(2));
    unless_skip(program, 0, 3);
    load(program, HIGH(2));
    unless_skip(program, 0, 1);
    give(program, SECCOMP_RET_ALLOW);
    give(program, refusal);
}

/* Commands by which nobody else is signalled, nor kept from what is his. */
static const uint16_t descriptor_commands[] = {
    F_DUPFD, F_DUPFD_CLOEXEC, F_GETFD,     F_SETFD,     F_GETFL,      F_GETLK,
    F_SETLK, F_SETLKW,        F_OFD_GETLK, F_OFD_SETLK, F_OFD_SETLKW, F_GETPIPE_SZ,
};

static void allow_descriptor_commands(struct program *program, uint32_t refusal)
{
    const size_t count = sizeof descriptor_commands / sizeof descriptor_commands[0];

    unless_skip(program, SYS_fcntl, (uint8_t)(2 * count + 6));
    load(program, LOW(1));
    give_to_all(program, descriptor_commands, count, SECCOMP_RET_ALLOW);
    unless_skip(program, F_SETFL, 3);
    load(program, LOW(2));
    add(program, BPF_JMP | BPF_JSET | BPF_K, O_ASYNC, 1, 0);
    give(program, SECCOMP_RET_ALLOW);
    give(program, refusal);
}

static void allow_threads(struct program *program, uint32_t refusal)
{
    unless_skip(program, SYS_clone, 4);
    load(program, LOW(0));
    add(program, BPF_JMP | BPF_JSET | BPF_K, CLONE_THREAD, 0, 1);
    give(program, SECCOMP_RET_ALLOW);
    give(program, refusal);
#ifdef SYS_clone3
    unless_skip(program, SYS_clone3, 1);
    give(program, SECCOMP_RET_ERRNO | ENOSYS);
#endif
}

static void write_program(struct program *program, uint32_t refusal)
{
    load(program, ARCHITECTURE);
    add(program, BPF_JMP | BPF_JEQ | BPF_K, ARCH, 1, 0);
    give(program, SECCOMP_RET_KILL_PROCESS);
    load(program, NUMBER);
    give_to_all(program, allowed, sizeof allowed / sizeof allowed[0], SECCOMP_RET_ALLOW);
    give_to_all(program, refused_quietly, sizeof refused_quietly / sizeof refused_quietly[0],
                SECCOMP_RET_ERRNO | EPERM);
    allow_with(program, SYS_kill, 1, 0, refusal);
    allow_with(program, SYS_tgkill, 0, (uint32_t)getpid(), refusal);
    allow_reading_limits(program, refusal);
    allow_descriptor_commands(program, refusal);
    allow_threads(program, refusal);
    give(program, refusal);
}

_Static_assert(2 * (sizeof allowed + sizeof refused_quietly + sizeof descriptor_commands) /
                           sizeof allowed[0] +
                       40 <=
                   ROOM,
               "the program fits");

int tine__compute_probe(void)
{
    return tine__seccomp_has(SECCOMP_RET_KILL_PROCESS) && tine__seccomp_has(SECCOMP_RET_ERRNO)
               ? 0
               : -ENOTSUP;
}

int tine__compute_only(bool kill)
{
    static struct program program;

    program.length = 0;
    write_program(&program, kill ? SECCOMP_RET_KILL_PROCESS : SECCOMP_RET_ERRNO | EPERM);
    return tine__seccomp_filter(
        &(struct sock_fprog){.len = program.length, .filter = program.code});
}

#else /* numbers and arguments of system calls are not known here */

int tine__compute_probe(void)
{
    return -ENOTSUP;
}

int tine__compute_only(bool kill)
{
    (void)kill;
    return -ENOTSUP;
}

#endif
