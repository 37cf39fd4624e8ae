/* SPDX-License-Identifier: MIT */
/*
 * TINE_SANDBOX_COMPUTE_ONLY: a seccomp filter with a list of what is allowed.
 *
 * There are two boxes. Everybody may do what the C library's malloc, threads and stdio need;
 * workers also what their loop, the family heap, locks and queues of tine need, and what one does
 * with open descriptors. A guest (pool/guest.h) is alone: it has the standard descriptors and its
 * socket, and no way to another one, so they are known by their numbers. It may write to all, but
 * read only its input and its socket: outputs are open file descriptions that it shares with the
 * program, whose mode, position and size are none of its business, and a terminal could be read by
 * them, too.
 *
 * Several calls are allowed with certain arguments only, so that nobody is signalled, looked at or
 * moved into another namespace by them: see write_arguments(). clone3(), whose arguments lie in
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
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/confine.h"
#include "pool/guest.h"

#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCH AUDIT_ARCH_AARCH64
#endif

#ifdef ARCH

#ifndef SECCOMP_RET_KILL_PROCESS
#define SECCOMP_RET_KILL_PROCESS 0x80000000U /* Linux 4.14 */
#endif

#ifndef MADV_HWPOISON
#define MADV_HWPOISON 100
#endif
#ifndef MADV_SOFT_OFFLINE
#define MADV_SOFT_OFFLINE 101
#endif

#define NUMBER         ((uint32_t)offsetof(struct seccomp_data, nr))
#define ARCHITECTURE   ((uint32_t)offsetof(struct seccomp_data, arch))
#define LOW(argument)  ((uint32_t)offsetof(struct seccomp_data, args[argument])) /* little-endian */
#define HIGH(argument) (LOW(argument) + 4)
#define ROOM           384
#define COUNT(array)   (sizeof(array) / sizeof((array)[0]))

/* Clocks of a process have its number in all bits but these (linux/posix-timers.h); those of a
   thread, with this one, are for its siblings only. */
#define CLOCK_BITS           UINT32_C(7)
#define CLOCK_OF_A_THREAD    UINT32_C(4)
#define CLOCKS_OF(process)   (~(uint32_t)(process) << 3)
#define CLOCKS_OF_THE_SYSTEM UINT32_C(0), UINT32_C(8) /* 0 … 15 */

#define THREAD_FLAGS                                                                               \
    (CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM |            \
     CLONE_SETTLS | CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID | CLONE_CHILD_SETTID |              \
     CLONE_DETACHED | CLONE_UNTRACED | CLONE_IO)

static const uint16_t allowed[] = {
    /* memory */
    SYS_munmap,
    SYS_mremap,
    SYS_mprotect,
    SYS_brk,
    SYS_mincore,
    /* open descriptors */
    SYS_write,
    SYS_writev,
    SYS_fstat,
    SYS_close,
    SYS_ppoll,
    SYS_pselect6,
    /* threads and waiting */
    SYS_futex,
    SYS_set_robust_list,
    SYS_set_tid_address,
    SYS_sched_yield,
    SYS_sched_getaffinity, /* pthread_getattr_np() asks for each thread by its number */
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
    SYS_poll,
    SYS_select,
    SYS_time,
#endif
};

/* Not to guests. */
static const uint16_t allowed_to_workers[] = {
    SYS_mmap,      SYS_msync,  SYS_ftruncate, SYS_fallocate, SYS_read,    SYS_readv,
    SYS_pread64,   SYS_lseek,  SYS_pwrite64,  SYS_dup,       SYS_dup3,    SYS_fsync,
    SYS_fdatasync, SYS_sendto, SYS_sendmsg,   SYS_recvfrom,  SYS_recvmsg,
#if defined(__x86_64__)
    SYS_dup2,
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

/* The C library looks where a stream is. */
static const uint16_t refused_quietly_to_guests[] = {SYS_lseek};

struct program {
    struct sock_filter code[ROOM];
    uint16_t length;
    uint16_t call;    /* the instruction at which the present call was begun */
    uint32_t refusal; /* what is done about all that is not allowed */
};

static void add(struct program *program, uint16_t code, uint32_t k, uint8_t yes, uint8_t no)
{
    program->code[program->length++] = (struct sock_filter){code, yes, no, k};
}

static void load(struct program *program, uint32_t offset)
{
    add(program, BPF_LD | BPF_W | BPF_ABS, offset, 0, 0);
}

static void give(struct program *program, uint32_t action)
{
    add(program, BPF_RET | BPF_K, action, 0, 0);
}

/* If what was loaded is this. */
static void give_if(struct program *program, uint32_t value, uint32_t action)
{
    add(program, BPF_JMP | BPF_JEQ | BPF_K, value, 0, 1);
    give(program, action);
}

static void give_to_all(struct program *program, const uint16_t *numbers, size_t count,
                        uint32_t action)
{
    for (size_t i = 0; i < count; i++)
        give_if(program, numbers[i], action);
}

/* ---- calls with certain arguments ------------------------------------------------------------ */

/* All that is added up to end_call() is for the call with this number. */
static void begin_call(struct program *program, uint32_t number)
{
    program->call = program->length;
    add(program, BPF_JMP | BPF_JEQ | BPF_K, number, 0, 0);
}

static void end_call(struct program *program, uint32_t otherwise)
{
    give(program, otherwise);
    program->code[program->call].jf = (uint8_t)(program->length - program->call - 1);
}

static void allow_if_any(struct program *program, unsigned argument, const uint32_t *values,
                         size_t count)
{
    load(program, LOW(argument));
    for (size_t i = 0; i < count; i++)
        give_if(program, values[i], SECCOMP_RET_ALLOW);
}

static void allow_if(struct program *program, unsigned argument, uint32_t value)
{
    allow_if_any(program, argument, &value, 1);
}

/* Of what was loaded no bit. */
static void allow_without(struct program *program, uint32_t bits)
{
    add(program, BPF_JMP | BPF_JSET | BPF_K, bits, 1, 0);
    give(program, SECCOMP_RET_ALLOW);
}

static void allow_with(struct program *program, uint32_t bits)
{
    add(program, BPF_JMP | BPF_JSET | BPF_K, bits, 0, 1);
    give(program, SECCOMP_RET_ALLOW);
}

/* Only looks at its own: the new ones are a null pointer. */
static void allow_reading_limits(struct program *program)
{
    begin_call(program, SYS_prlimit64);
    load(program, LOW(0));
    add(program, BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 5);
    load(program, HIGH(2));
    add(program, BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 3);
    allow_if(program, 2, 0);
    end_call(program, program->refusal);
}

/* Clocks of other processes tell what those do. */
static void allow_clocks(struct program *program, uint32_t number)
{
    const uint32_t clocks[] = {CLOCKS_OF_THE_SYSTEM, CLOCKS_OF(0), CLOCKS_OF(getpid())};

    begin_call(program, number);
    load(program, LOW(0));
    allow_with(program, CLOCK_OF_A_THREAD);
    add(program, BPF_ALU | BPF_AND | BPF_K, ~CLOCK_BITS, 0, 0);
    for (size_t i = 0; i < COUNT(clocks); i++)
        give_if(program, clocks[i], SECCOMP_RET_ALLOW);
    end_call(program, SECCOMP_RET_ERRNO | EPERM);
}

/* No new namespaces, no strange children. */
static void allow_threads(struct program *program)
{
    begin_call(program, SYS_clone);
    load(program, LOW(0));
    add(program, BPF_JMP | BPF_JSET | BPF_K, CLONE_THREAD, 0, 2);
    allow_without(program, ~(uint32_t)THREAD_FLAGS);
    end_call(program, program->refusal);
#ifdef SYS_clone3
    give_if(program, SYS_clone3, SECCOMP_RET_ERRNO | ENOSYS);
#endif
}

/* Whoever is root could take pages from the machine. */
static void allow_advice(struct program *program)
{
    begin_call(program, SYS_madvise);
    load(program, LOW(2));
    give_if(program, MADV_HWPOISON, program->refusal);
    give_if(program, MADV_SOFT_OFFLINE, program->refusal);
    end_call(program, SECCOMP_RET_ALLOW);
}

static void write_arguments(struct program *program)
{
    const uint32_t self = (uint32_t)getpid();

    begin_call(program, SYS_tgkill); /* abort() */
    allow_if(program, 0, self);
    end_call(program, program->refusal);
    begin_call(program, SYS_process_vm_readv); /* is its own memory still there? (lib/objects.c) */
    allow_if(program, 0, self);
    end_call(program, program->refusal);
    allow_reading_limits(program);
    allow_clocks(program, SYS_clock_gettime);
    allow_clocks(program, SYS_clock_getres);
    allow_clocks(program, SYS_clock_nanosleep);
    allow_threads(program);
    allow_advice(program);
}

/* Commands by which nobody else is signalled, nor kept from what is his: by F_SETOWN, F_SETSIG and
   O_ASYNC the kernel would kill whom it is told to. */
static const uint32_t commands[] = {
    F_DUPFD, F_DUPFD_CLOEXEC, F_GETFD,     F_SETFD,     F_GETFL,      F_GETLK,
    F_SETLK, F_SETLKW,        F_OFD_GETLK, F_OFD_SETLK, F_OFD_SETLKW, F_GETPIPE_SZ,
};

static void write_arguments_of_workers(struct program *program)
{
    begin_call(program, SYS_kill); /* who sleeps on a lock asks whether its holder lives */
    allow_if(program, 1, 0);
    end_call(program, program->refusal);
    begin_call(program, SYS_fcntl);
    allow_if_any(program, 1, commands, COUNT(commands));
    add(program, BPF_JMP | BPF_JEQ | BPF_K, F_SETFL, 0, 3);
    load(program, LOW(2));
    allow_without(program, O_ASYNC);
    end_call(program, program->refusal);
}

static const uint32_t guest_commands[] = {F_GETFD, F_SETFD, F_GETFL};
static const uint32_t guest_inputs[] = {STDIN_FILENO, TINE__GUEST_SOCKET};

static void write_arguments_of_guests(struct program *program)
{
    begin_call(program, SYS_mmap); /* of no file */
    load(program, LOW(3));
    allow_with(program, MAP_ANONYMOUS);
    end_call(program, program->refusal);
    begin_call(program, SYS_fcntl);
    allow_if_any(program, 1, guest_commands, COUNT(guest_commands));
    end_call(program, program->refusal);
    begin_call(program, SYS_read);
    allow_if_any(program, 0, guest_inputs, COUNT(guest_inputs));
    end_call(program, program->refusal);
    begin_call(program, SYS_readv);
    allow_if_any(program, 0, guest_inputs, COUNT(guest_inputs));
    end_call(program, program->refusal);
    begin_call(program, SYS_recvfrom);
    allow_if(program, 0, TINE__GUEST_SOCKET);
    end_call(program, program->refusal);
    begin_call(program, SYS_sendto);
    allow_if(program, 0, TINE__GUEST_SOCKET);
    end_call(program, program->refusal);
}

/* ---- the whole ------------------------------------------------------------------------------- */

static void write_program(struct program *program, bool alone)
{
    load(program, ARCHITECTURE);
    add(program, BPF_JMP | BPF_JEQ | BPF_K, ARCH, 1, 0);
    give(program, SECCOMP_RET_KILL_PROCESS);
    load(program, NUMBER);
    give_to_all(program, allowed, COUNT(allowed), SECCOMP_RET_ALLOW);
    if (!alone)
        give_to_all(program, allowed_to_workers, COUNT(allowed_to_workers), SECCOMP_RET_ALLOW);
    else
        give_to_all(program, refused_quietly_to_guests, COUNT(refused_quietly_to_guests),
                    SECCOMP_RET_ERRNO | EPERM);
    give_to_all(program, refused_quietly, COUNT(refused_quietly), SECCOMP_RET_ERRNO | EPERM);
    write_arguments(program);
    if (alone)
        write_arguments_of_guests(program);
    else
        write_arguments_of_workers(program);
    give(program, program->refusal);
}

_Static_assert(2 * (COUNT(allowed) + COUNT(allowed_to_workers) + COUNT(refused_quietly) +
                    COUNT(commands)) +
                       100 <=
                   ROOM,
               "the program fits");

int tine__compute_probe(void)
{
    return tine__seccomp_has(SECCOMP_RET_KILL_PROCESS) && tine__seccomp_has(SECCOMP_RET_ERRNO)
               ? 0
               : -ENOTSUP;
}

int tine__compute_only(bool kill, bool alone)
{
    static struct program program;

    program.length = 0;
    program.refusal = kill ? SECCOMP_RET_KILL_PROCESS : SECCOMP_RET_ERRNO | EPERM;
    write_program(&program, alone);
    return tine__seccomp_filter(
        &(struct sock_fprog){.len = program.length, .filter = program.code});
}

#else /* numbers and arguments of system calls are not known here */

int tine__compute_probe(void)
{
    return -ENOTSUP;
}

int tine__compute_only(bool kill, bool alone)
{
    (void)kill, (void)alone;
    return -ENOTSUP;
}

#endif
