/* SPDX-License-Identifier: MIT */
/*
 * The life of a process that tine_process_start() has made: who it is, its function, its exit.
 *
 * It leaves by exit(), whoever calls that, and so through leave() below, which was registered first
 * and runs last: handlers that the function has registered run, those of the program, which are a
 * forked process's as well, do not. What the process leaves in shared memory is only what it says
 * of itself; how it ended is the kernel's to say.
 */
#include "pool/begin.h"

#include <errno.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <tine/error.h>

#include "lib/at_fork.h"
#include "lib/fork.h"
#include "lib/log.h"
#include "pool/daemon.h"
#include "pool/start.h"
#include "pool/task.h"

#define RESULT_BYTES_MAX (UINT64_C(1) << 30)

/* This process's own, if it is of that generation: its forks have none. */
static struct tine__process_shm *shared;
static uint64_t generation;

/* Most have printed nothing, and need no page of the stream's code for it: the C library's own
   headers look at these members as well. */
TINE__EARLY static bool has_pending(FILE *stream)
{
#ifdef __GLIBC__
    if (stream->_mode <= 0)
        return stream->_IO_write_ptr != stream->_IO_write_base;
#endif
    return __fpending(stream) > 0;
}

TINE__EARLY static void flush(FILE *stream)
{
    if (has_pending(stream))
        fflush(stream);
}

TINE__EARLY static _Noreturn void leave(int status, void *unused)
{
    (void)unused;
    flush(stdout);
    flush(stderr);
    if (generation == tine__fork_generation())
        /* release: all that this process has done is seen by who reads it */
        atomic_store_explicit(&shared->left, TINE__LEFT | ((uint32_t)status & 0xff),
                              memory_order_release);
    _exit(status);
}

static void say_failure(int code, const char *message)
{
    tine_failure *failure = &shared->failure;

    *failure = (tine_failure){.code = TINE_EREMOTE, .error = code, .exit_status = -1};
    tine__call_tell(failure->message, sizeof failure->message, code, message);
    /* pairs with the acquire in tine_process_failure */
    atomic_store_explicit(&shared->failed, 1, memory_order_release);
    tine__log_info("%s failed: %s (%s)", shared->name, failure->message, tine_errname(code));
}

TINE__EARLY static int run(const struct tine__birth *birth)
{
    static struct tine__job_shm job = {.result_bytes_max = RESULT_BYTES_MAX}; /* no job at all */
    struct tine_call call;
    int rc;

    tine__call_init(&call, -1);
    call.texts.descriptors = &birth->carried->hooks;
    call.job = &job;
    call.args = shared->args;
    call.args_size = shared->args_size;
    rc = birth->function(&call);
    if (generation != tine__fork_generation())
        _exit(0); /* a fork that the function made, and that came back from it */
    tine__call_returned(&call, rc);
    if (rc < 0)
        say_failure(rc, call.message);
    return rc < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* Before the function has begun: what runs at exit is not there yet, or the program's. */
static _Noreturn void give_up(int code, const char *message)
{
    say_failure(code, message);
    leave(EXIT_FAILURE, NULL);
}

TINE__EARLY _Noreturn void tine__begin(const struct tine__birth *birth)
{
    int rc = 0;

    shared = birth->shared;
    generation = tine__fork_generation();
    tine__current_become(shared, birth->parent);
    if (on_exit(leave, NULL) != 0)
        give_up(-ENOMEM, "no memory for a handler of its exit");
    if (shared->named)
        prctl(PR_SET_NAME, shared->name);
    if ((shared->flags & TINE_PROCESS_NO_STDIN) != 0)
        tine__start_without_stdin();
    if (shared->daemon)
        rc = tine__daemon_begin(birth->parent, shared->parent);
    if (rc < 0)
        give_up(rc, "no thread can be had to watch the parent");
    tine__at_fork_in_child(shared->what);
    exit(run(birth));
}
