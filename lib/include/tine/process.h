/* SPDX-License-Identifier: MIT */
/*
 * Processes: a function that runs in a process of its own, as Python's multiprocessing.Process.
 *
 *     start ──► running ──► ended (exit code known)
 *       close: frees the handle, from every state; what runs goes on, and is reaped when it has ended
 *
 *     static int work(tine_call *call)
 *     {
 *         int64_t n;
 *         const char *name;
 *         int rc = tine_args(call, "qs", &n, &name);
 *         return rc < 0 ? rc : do_it(n, name);
 *     }
 *
 *     tine_process *process;
 *     int exitcode, rc = tine_process_start(&process, work, NULL, "qs", INT64_C(3), "three");
 *     if (rc == 0)
 *         rc = tine_process_join(process, TINE_SEC(10));
 *     if (rc == 0)
 *         rc = tine_process_exitcode(process, &exitcode);
 *     tine_process_close(process);
 *
 * The exit code is 0 when the function has returned 0 or more, 1 when it has returned a negative
 * code (tine_process_failure() has the code and the sentence of tine_fail(); nothing is printed), n
 * after exit(n), and -n when signal n has ended the process. What tine_return() packs is dropped:
 * queues and pipes carry results.
 *
 * There are three ways to start one:
 *
 *     TINE_FORK        a copy of the program as it is: it sees its functions, globals and
 *                      descriptors of that moment, with its handlers of signals back at their
 *                      defaults. Costs 8 ms for each GB of the program's; what its threads had locked in other libraries stays locked in the copy
 *     TINE_FORKSERVER  a copy of the program as it was in tine_init(), made by a small server
 *                      process that that call starts: clean, without threads, in the same short
 *                      time whatever the program's size
 *     TINE_SPAWN       the program executed anew
 *
 * The last two have standard streams, working directory, umask, environment, resource limits,
 * niceness, CPUs and signal mask as the program has them at the start, no other descriptors but
 * those that are passed or listed, and memory of tine_alloc() in common with it, but globals of
 * their own. They are of the user and the groups of the thread that starts them, in its namespaces
 * and below its root directory; one of TINE_FORKSERVER has no capability that the thread has not,
 * while executing gives root, as always, all that its bounding set allows. Who has given up rights
 * since the forkserver began gets another, at the next start; the one of before refuses it.
 * Processes and pools that run keep their rights, and who shares the heap with them can harm them:
 * a program that goes on to run what it does not trust ends them before. A program that its file
 * gives rights (set-user-ID, set-group-ID, capabilities) is not executed again: anybody could tell
 * it what to run, and it would have again what it has given up. There TINE_SPAWN is -ENOTSUP. They
 * need a main that begins with
 *
 *     int main(int argc, char **argv)
 *     {
 *         if (tine_init(&argc, &argv) < 0)
 *             return 1;
 *
 * In a process that is executed anew this call runs the function and never returns. Nothing may use
 * tine before it, in constructors neither. Where it has been called TINE_FORKSERVER is the default,
 * else TINE_FORK.
 *
 * Handlers of atexit() that the program has registered do not run in a process, its own do;
 * standard output and error are flushed before and after.
 *
 * Whatever becomes of a process, others see it by its pidfd: join returns, the exit code says how
 * it ended. A daemon is killed when its parent dies, however that dies; all others go on.
 */
#ifndef TINE_PROCESS_H
#define TINE_PROCESS_H

#include <sys/types.h>

#include <tine/base.h>
#include <tine/task.h>
#include <tine/time.h>
#include <tine/wait.h>

TINE_BEGIN_DECLS

typedef struct tine_process tine_process;

/* How a process comes into being. */
enum {
    TINE_START_DEFAULT = 0,
    TINE_FORK = 1,       /* a copy of the program as it is */
    TINE_SPAWN = 2,      /* the program executed anew: tine_init() */
    TINE_FORKSERVER = 3, /* a fork of a small copy of the program: tine_init() */
};

/* For .daemon */
enum {
    TINE_DAEMON_INHERIT = 0, /* as the process that starts it; the program itself is none */
    TINE_DAEMON = 1,
    TINE_NO_DAEMON = 2,
};

enum {
    TINE_PROCESS_NO_STDIN = 1, /* standard input is /dev/null */
};

#define TINE_PROCESS_NAME_MAX 63  /* bytes */
#define TINE_PROCESS_FDS_MAX  256 /* descriptors in .fds */

/* Options of a process; zero in a field means its default. */
typedef struct tine_process_options {
    const char *name; /* copied; default: "Process-1", its second child "Process-1:2", … */
    const int *fds;  /* descriptors above 2 that it has under the same numbers; TINE_FORK has all */
    size_t fd_count; /* how many, at most TINE_PROCESS_FDS_MAX */
    int64_t start_timeout_ns; /* until it is ready, default 30 s; not for TINE_FORK */
    int32_t start;            /* TINE_FORK …; default: tine_get_start_method() */
    int32_t daemon;           /* TINE_DAEMON … */
    uint32_t flags;           /* TINE_PROCESS_… */
    uint32_t reserved0;       /* must be zero */
    uint64_t reserved[8];     /* must be zero */
} tine_process_options;

/**
 * tine_init - where executed processes begin; to be called first of all in main
 *
 * In:      argc  of main
 *          argv  of main
 * Out:     none
 * Shape:   both are left as they are
 * Units:   none
 * Returns: 0, or a negative code; in a process that tine_process_start() or tine_pool_open() has
 *          executed it does not return
 * Handle:  none
 * Give up: -EINVAL (NULL, no argv[0])
 * Blocks:  until the forkserver runs, about a millisecond
 * Safety:  thread one | process owner | fork child may call | signal no
 * Death:   the forkserver ends with the program, however that ends, and is no child of it; where it
 *          dies first the next start makes another, and the processes that it had forked go on:
 *          their exit code is 255
 * Source:  pool/init.c; the role of Python's `if __name__ == "__main__"` and freeze_support();
 *          differs: main is entered, and left here; no environment variable is used
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_init(int *argc, char ***argv);

/* Runs in a forkserver before it forks. */
typedef void tine_preload(void *context);

/**
 * tine_set_forkserver_preload - have something done once in the forkserver, so that processes find it done
 *
 * In:      hook     loads tables, libraries and the like; NULL: nothing. It must leave one thread
 *          context  for the hook, as it is in main before tine_init()
 * Out:     none
 * Shape:   to be called before tine_init(), which starts the server; one that is executed anew does
 *          the same
 * Units:   none
 * Returns: nothing
 * Handle:  none
 * Give up: none
 * Blocks:  no
 * Safety:  thread one | process owner | fork child may call | signal no
 * Death:   none
 * Source:  pool/init.c; follows multiprocessing.set_forkserver_preload
 * Since:   0.1
 */
TINE_API void tine_set_forkserver_preload(tine_preload *hook, void *context);

/**
 * tine_set_start_method - choose how processes, and workers of pools, start whose options do not say it
 *
 * In:      method  TINE_FORK, TINE_SPAWN or TINE_FORKSERVER
 *          force   also when it has been chosen already
 * Out:     none
 * Shape:   none
 * Units:   none
 * Returns: 0, or a negative code
 * Handle:  -EBUSY (it has been chosen, and not force), -ENOTSUP (tine_init() has not been called)
 * Give up: -EINVAL
 * Blocks:  no
 * Safety:  thread one | process owner | fork child may call | signal no
 * Death:   none
 * Source:  pool/init.c; follows multiprocessing.set_start_method: processes that are started later
 *          have it chosen as well
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_set_start_method(int32_t method, bool force);

/**
 * tine_get_start_method - how processes, and workers of pools, start whose options do not say it
 *
 * In:      none
 * Out:     none
 * Shape:   none
 * Units:   none
 * Returns: the one that was chosen; else TINE_FORKSERVER after tine_init(), TINE_FORK without it
 * Handle:  none
 * Give up: none
 * Blocks:  no
 * Safety:  thread any | process owner | fork child may call | signal yes
 * Death:   none
 * Source:  pool/init.c; follows multiprocessing.get_start_method
 * Since:   0.1
 */
TINE_API int32_t tine_get_start_method(void);

/**
 * tine_process_start - run a function in a process of its own
 *
 * In:      function  the task
 *          options   NULL for defaults
 *          format    one letter an argument, as tine_pool_submit() has them, `F`, `o`, `c` and `p`
 *                    included
 *          ...       the arguments; a descriptor (int) or handle is the caller's again when the
 *                    call returns
 * Out:     process   to be freed with tine_process_close()
 * Shape:   none
 * Units:   none
 * Returns: 0, or a negative code; *process is set only for 0
 * Handle:  -EAGAIN (process limit), -EMFILE (also for more than 16 `F`; an `oc` counts as two),
 *          -ENFILE. Not TINE_FORK: -ENOTSUP (tine_init() has not been called; there is no /proc;
 *          TINE_SPAWN: the program's file gives it rights), -ENOENT (the function's object file
 *          cannot be loaded there, or is another build by now), -ETIMEDOUT, TINE_EBROKEN (it ended
 *          before it was ready: main does not call tine_init(), or something killed it), -EPERM
 *          (TINE_FORKSERVER: rights are given up all the time). What a hook refuses
 *          the fork with (tine_register_at_fork())
 * Give up: -EINVAL (bad format or options, name too long, no function of a loaded object file),
 *          -E2BIG (reserved not zero), -EBADF (`F`, .fds), -ENOMEM, -ERANGE, TINE_EFORMAT,
 *          TINE_EFORKED (`o`), -EADDRINUSE (the family heap's address is taken; TINE_SPAWN: three
 *          times in the new process), -EPROTO (the new process has another version of the library)
 * Blocks:  for one fork: about 8 ms for each GB of private memory; else until the process is ready,
 *          at most .start_timeout_ns
 * Safety:  thread any | process owner | fork child may call | signal no
 * Death:   none
 * Source:  pool/process.c; follows Python 3.13 multiprocessing.Process and its start();
 *          differs: a daemon may start processes, which are daemons unless asked otherwise; the
 *          function's failure is data, not text on standard error
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_process_start(tine_process **process, tine_function *function,
                                             const tine_process_options *options,
                                             const char *format, ...);

/**
 * tine_process_join - wait until a process has ended
 *
 * In:      process     a process, or the parent
 *          timeout_ns  how long to wait
 * Out:     none
 * Shape:   none
 * Units:   timeout_ns nanoseconds (TINE_FOREVER, 0 = look)
 * Returns: 0 when it has ended, however it ended; also when repeated
 * Handle:  -ETIMEDOUT, -EAGAIN (timeout 0 and it runs)
 * Give up: -EINVAL, -EBADF (closed), TINE_EFORKED, -EDEADLK (the caller itself)
 * Blocks:  yes, at most timeout_ns; not interrupted by signals
 * Safety:  thread any | process owner | fork child must not | signal no
 * Death:   this is how a death is seen; all who wait return
 * Source:  pool/reap.c; follows Process.join; differs: says whether it has ended; any number of
 *          threads may wait at once; the host's own waitpid(-1) does no harm
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_process_join(tine_process *process, int64_t timeout_ns);

/**
 * tine_process_is_alive - does the process still run?
 *
 * In:      process  any process
 * Out:     none
 * Shape:   none
 * Units:   none
 * Returns: 1 it runs, 0 it has ended, or a negative code
 * Handle:  none
 * Give up: -EINVAL, -EBADF, TINE_EFORKED
 * Blocks:  no
 * Safety:  thread any | process owner | fork child must not | signal no
 * Death:   none
 * Source:  pool/reap.c; follows Process.is_alive
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_process_is_alive(tine_process *process);

/**
 * tine_process_exitcode - how the process has ended
 *
 * In:      process   a process that the caller has started
 * Out:     exitcode  0 … 255 as it exited, or -n when signal n has ended it
 * Shape:   none
 * Units:   none
 * Returns: 0, or a negative code
 * Handle:  -EAGAIN (it runs)
 * Give up: -EINVAL (NULL, the parent or the caller itself), -EBADF, TINE_EFORKED
 * Blocks:  no
 * Safety:  thread any | process owner | fork child must not | signal no
 * Death:   where the host has reaped it first: what the kernel still knows (Linux 6.15), else what
 *          it left when it exited by itself, else 255
 * Source:  pool/reap.c; follows Process.exitcode
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_process_exitcode(tine_process *process, int *exitcode);

/**
 * tine_process_failure - what the function of an ended process said when it failed
 *
 * In:      process  a process that the caller has started
 * Out:     failure  .code TINE_EREMOTE, .error the code that the function returned, .message; or
 *                   .code TINE_EWORKER, with .signal or .exit_status
 * Shape:   none
 * Units:   none
 * Returns: 1 and *failure when the exit code is not 0; 0 and nothing written when it is
 * Handle:  -EAGAIN (it runs)
 * Give up: -EINVAL, -EBADF, TINE_EFORKED
 * Blocks:  no
 * Safety:  thread any | process owner | fork child must not | signal no
 * Death:   one that a signal has ended says nothing of itself: TINE_EWORKER
 * Source:  pool/reap.c; the role of the traceback that Python prints
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_process_failure(tine_process *process, tine_failure *failure);

/**
 * tine_process_terminate - send SIGTERM
 *
 * In:      process  a process that the caller has started
 * Out:     none
 * Shape:   none
 * Units:   none
 * Returns: 0, also when it has ended already; or a negative code
 * Handle:  none
 * Give up: -EINVAL (the parent or the caller itself), -EBADF, TINE_EFORKED, -EPERM (it runs as
 *          another user)
 * Blocks:  no
 * Safety:  thread any | process owner | fork child must not | signal no
 * Death:   never hits another process that has the same pid by now; processes that it has started
 *          go on
 * Source:  pool/process.c; follows Process.terminate
 * Since:   0.1
 */
TINE_API int tine_process_terminate(tine_process *process);

/**
 * tine_process_kill - send SIGKILL
 *
 * In:      process  a process that the caller has started
 * Out:     none
 * Shape:   none
 * Units:   none
 * Returns: 0, also when it has ended already; or a negative code
 * Handle:  none
 * Give up: as tine_process_terminate()
 * Blocks:  no
 * Safety:  thread any | process owner | fork child must not | signal no
 * Death:   as tine_process_terminate()
 * Source:  pool/process.c; follows Process.kill
 * Since:   0.1
 */
TINE_API int tine_process_kill(tine_process *process);

/**
 * tine_process_interrupt - send SIGINT
 *
 * In:      process  a process that the caller has started
 * Out:     none
 * Shape:   none
 * Units:   none
 * Returns: 0, also when it has ended already; or a negative code
 * Handle:  none
 * Give up: as tine_process_terminate()
 * Blocks:  no
 * Safety:  thread any | process owner | fork child must not | signal no
 * Death:   as tine_process_terminate()
 * Source:  pool/process.c; follows Process.interrupt of Python 3.14
 * Since:   0.1
 */
TINE_API int tine_process_interrupt(tine_process *process);

/**
 * tine_process_close - free the handle of a process
 *
 * In:      process  from tine_process_start(), or NULL; the caller itself and the parent stay
 * Out:     none
 * Shape:   none
 * Units:   none
 * Returns: nothing
 * Handle:  none
 * Give up: none
 * Blocks:  no
 * Safety:  thread one | process owner | fork child may close (frees its copy only) | signal no
 * Death:   a process that still runs goes on; later calls of tine_process_start(), close() and
 *          active_children() reap it, or the end of the program does
 * Source:  pool/process.c; follows Process.close; differs: one that runs may be closed
 * Since:   0.1
 */
TINE_API void tine_process_close(tine_process *process);

/**
 * tine_process_sentinel - a descriptor that is readable when the process has ended
 *
 * In:      process  any process but the caller itself
 * Out:     none
 * Shape:   a pidfd, CLOEXEC, for poll, epoll and the like; it is the handle's, to be left open
 * Units:   none
 * Returns: the descriptor, or a negative code
 * Handle:  none
 * Give up: -EINVAL, -EBADF, TINE_EFORKED
 * Blocks:  no
 * Safety:  thread any | process owner | fork child must not | signal no
 * Death:   readable at once
 * Source:  pool/process.c; follows Process.sentinel
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_process_sentinel(const tine_process *process);

/**
 * tine_process_waitable - an entry for tine_wait(): ready when the process has ended
 *
 * In:      process  any process but the caller itself; kept until it is closed
 * Out:     none
 * Shape:   none
 * Units:   none
 * Returns: the entry
 * Handle:  none
 * Give up: none: tine_wait() refuses a bad one
 * Blocks:  no
 * Safety:  thread any | process owner | fork child must not | signal no
 * Death:   ready at once
 * Source:  pool/process.c
 * Since:   0.1
 */
TINE_API tine_waitable tine_process_waitable(tine_process *process);

/**
 * tine_process_pid - the pid of a process
 *
 * In:      process  any process
 * Out:     none
 * Shape:   none
 * Units:   none
 * Returns: the pid, also after its end, when another process may have it; or a negative code
 * Handle:  none
 * Give up: -EINVAL, -EBADF
 * Blocks:  no
 * Safety:  thread any | process owner | fork child may call | signal yes
 * Death:   none
 * Source:  pool/process.c; follows Process.pid
 * Since:   0.1
 */
TINE_API pid_t tine_process_pid(const tine_process *process);

/**
 * tine_process_name - the name of a process
 *
 * In:      process  any process
 * Out:     none
 * Shape:   NUL-terminated, owned by the handle
 * Units:   none
 * Returns: the name; NULL for what is no open handle
 * Handle:  none
 * Give up: none
 * Blocks:  no
 * Safety:  thread any | process owner | fork child may call | signal yes
 * Death:   none
 * Source:  pool/process.c; follows Process.name; differs: chosen at the start
 * Since:   0.1
 */
TINE_API const char *tine_process_name(const tine_process *process);

/**
 * tine_process_is_daemon - does the process die with its parent?
 *
 * In:      process  any process
 * Out:     none
 * Shape:   none
 * Units:   none
 * Returns: 1 or 0, or a negative code
 * Handle:  none
 * Give up: -EINVAL, -EBADF
 * Blocks:  no
 * Safety:  thread any | process owner | fork child may call | signal yes
 * Death:   a daemon is killed (SIGKILL) when its parent has ended, however that ended: it has a
 *          small thread of its own that waits for that
 * Source:  pool/process.c; follows Process.daemon; differs: holds for a parent that is killed, too
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_process_is_daemon(const tine_process *process);

/**
 * tine_process_current - the calling process
 *
 * In:      none
 * Out:     none
 * Shape:   the process's own, never to be closed
 * Units:   none
 * Returns: a handle for pid, name and is_daemon; "MainProcess" where tine has not started the
 *          process
 * Handle:  none
 * Give up: none
 * Blocks:  no
 * Safety:  thread any | process owner | fork child may call | signal no
 * Death:   none
 * Source:  pool/current.c; follows multiprocessing.current_process
 * Since:   0.1
 */
TINE_API tine_process *tine_process_current(void);

/**
 * tine_process_parent - the process that has started the calling one
 *
 * In:      none
 * Out:     none
 * Shape:   the process's own, never to be closed
 * Units:   none
 * Returns: a handle for pid, name, is_daemon, is_alive, join, sentinel and waitable; NULL where
 *          tine has not started the process
 * Handle:  none
 * Give up: none
 * Blocks:  no
 * Safety:  thread any | process owner | fork child may call | signal no
 * Death:   known by a pidfd from before the start, so another with the same pid is never taken for
 *          it
 * Source:  pool/current.c; follows multiprocessing.parent_process
 * Since:   0.1
 */
TINE_API tine_process *tine_process_parent(void);

/**
 * tine_process_active_children - which processes of the caller's are running
 *
 * In:      room      handles that fit into children; 0 only counts
 * Out:     children  handles that are not closed, in the order of their start
 * Shape:   at most room of them
 * Units:   none
 * Returns: how many run and are not closed, which may be more than room; or a negative code
 * Handle:  none
 * Give up: -EINVAL, -ENOMEM
 * Blocks:  no
 * Safety:  thread any (no other may close what it gives) | process owner | fork child may call |
 *          signal no
 * Death:   reaps what has ended
 * Source:  pool/process.c; follows multiprocessing.active_children
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_process_active_children(tine_process **children, size_t room);

TINE_END_DECLS

#endif
