/* SPDX-License-Identifier: MIT */
/*
 * TINE_FORKSERVER: the process is forked by the forkserver (pool/forkserver.c).
 *
 * What a process knows of its server is its own, as the list of its children is: a fork takes over
 * the socket and makes a lock of its own. A server that is dead when it is asked is replaced by one
 * that is executed anew; one that dies after it has been asked may have forked or not, so what it
 * shares with the process is left alone for ever, and the next try has a copy.
 *
 * A program that has given up rights since its server began must not get processes that have them:
 * that server is left to its processes, and replaced as a dead one is.
 */
#include "pool/start.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <tine/error.h>
#include <tine/heap.h>

#include "lib/at_fork.h"
#include "lib/credentials.h"
#include "lib/fork.h"
#include "lib/log.h"
#include "lib/sender.h"
#include "lib/sig.h"
#include "lib/sys.h"
#include "pool/forkserver.h"
#include "pool/init.h"
#include "pool/launch.h"
#include "pool/surroundings.h"
#include "shm/heap.h"
#include "shm/owner.h"

#define ATTEMPTS 3
#define HELLO_NS TINE_SEC(10)
#define TOLD_NS  TINE_MS(100)
#define LOOK_NS  TINE_MS(1) /* whether the server still lives */

struct server {
    struct tine__fork_own made;
    struct tine__futex_lock lock;
    int socket;                           /* to it; -1: there is none */
    uint64_t word;                        /* its tine__owner_word */
    struct tine__credentials credentials; /* of the thread that began it, then */
    bool known;                           /* all of them */
};

static struct tine__fork_own *_Atomic server;

/* A forked process goes on with its parent's server. */
static void begin_own(void *made, const void *of_parent)
{
    struct server *own = made;
    const struct server *parents = of_parent;

    own->socket = parents != NULL ? parents->socket : -1;
    own->word = parents != NULL ? parents->word : 0;
    if (parents != NULL)
        own->credentials = parents->credentials;
    own->known = parents != NULL && parents->known;
}

static struct server *own_server(void)
{
    return tine__fork_own(&server, sizeof(struct server), begin_own);
}

/* ---- having one ------------------------------------------------------------------------------ */

/* Under the lock. */
static void drop(struct server *own)
{
    int socket = own->socket;

    own->socket =
        -1; /* before it is closed: a fork must not find a number that is another file's */
    if (socket >= 0)
        close(socket);
}

/* Takes the socket over once the server has spoken. */
static int await_hello(struct server *own, int socket, tine__deadline deadline)
{
    struct tine__hello_wire hello;
    int count = 0;
    ssize_t size = -ETIMEDOUT;

    if (tine__sys_poll_in(socket, tine__deadline_left(deadline)) > 0)
        size = tine__sys_recv_fds(socket, &hello, sizeof hello, NULL, &count, MSG_DONTWAIT);
    if (size != (ssize_t)sizeof hello || hello.magic != TINE__SERVER_MAGIC) {
        close(socket);
        return size < 0 && size != -ECONNRESET ? (int)size : TINE_EBROKEN;
    }
    own->word = hello.word;
    own->socket = socket;
    return 0;
}

/* The step between: leaves at once, and is reaped here. 0, or -ETIMEDOUT: it has not, and was
   killed. */
static int reap_step(int pidfd, tine__deadline deadline)
{
    bool late = tine__sys_poll_in(pidfd, tine__deadline_left(deadline)) <= 0;
    siginfo_t info;

    if (late)
        tine__sys_pidfd_kill(pidfd, SIGKILL);
    while (waitid(P_PIDFD, (id_t)pidfd, &info, WEXITED) < 0 && errno == EINTR)
        continue;
    close(pidfd);
    return late ? -ETIMEDOUT : 0;
}

static int fork_step(int sockets[2], int program, tine__deadline deadline)
{
    sigset_t saved;
    int pidfd;
    pid_t pid;

    tine__sig_block(&saved); /* no handler of the program's runs in the child */
    pid = tine__hooked_fork(TINE_FORKED_SERVER, &pidfd);
    if (pid == 0) {
        tine__sig_default(tine__sig_handled());
        tine__sig_restore(&saved);
        close(sockets[0]);
        _exit(tine__forkserver_detach(sockets[1], program) < 0);
    }
    tine__sig_restore(&saved);
    if (pid == TINE_EBROKEN)
        return 0; /* the step has left, and was reaped, by the program; the server will speak */
    if (pid < 0)
        return pid;
    return reap_step(pidfd, deadline);
}

/* In tine_init(), and always where the program is not to be executed again. */
static int begin(struct server *own, int program, tine__deadline deadline)
{
    int sockets[2], rc = tine__sys_socketpair(sockets);

    if (rc < 0)
        return rc;
    tine__start_warn_of_threads("forkserver");
    tine__start_flush();
    rc = fork_step(sockets, program, deadline);
    close(sockets[1]);
    if (rc < 0) {
        close(sockets[0]);
        return rc;
    }
    return await_hello(own, sockets[0], deadline);
}

/* Later: the program may have threads, and be large. */
static int begin_anew(struct server *own, int program, tine__deadline deadline)
{
    struct tine__luggage luggage = {.count = 2, .fds = {tine__heap_file(), program}};
    int socket, pidfd, rc, late;

    if (luggage.fds[0] < 0)
        return luggage.fds[0];
    rc = tine__spawn_program(TINE__MARK_SERVER, &socket, &pidfd);
    if (rc < 0)
        return rc;
    rc = tine__launch_send(socket, TINE__LAUNCH_SERVER, NULL, &luggage);
    if (rc < 0)
        close(socket); /* so it leaves: nothing will come */
    late = reap_step(pidfd, deadline);
    if (rc == 0 && late < 0)
        close(socket);
    return rc < 0 ? rc : late < 0 ? late : await_hello(own, socket, deadline);
}

typedef int way(struct server *own, int program, tine__deadline deadline);

static int begin_by(struct server *own, way *how, tine__deadline deadline)
{
    int program = tine__sys_pidfd_open(getpid()), rc;

    if (program < 0)
        return program;
    own->known = tine__credentials_read(&own->credentials) == 0;
    rc = how(own, program, deadline);
    close(program);
    return rc;
}

int tine__forkserver_begin(void)
{
    struct server *own;
    int rc = tine__heap_open();

    if (rc < 0)
        return rc;
    own = own_server();
    if (own == NULL || own->socket >= 0)
        return own == NULL ? -ENOMEM : 0;
    return begin_by(own, begin, tine__deadline_after(HELLO_NS));
}

void tine__forkserver_forget(void)
{
    struct server *own = own_server();

    if (own != NULL)
        drop(own);
}

/* ---- asking it ------------------------------------------------------------------------------- */

static bool is_gone(ssize_t rc)
{
    return rc == -EPIPE || rc == -ECONNRESET || rc == -ENOTCONN || rc == -EBADF || rc == -ENOTSOCK;
}

static ssize_t send_request(const struct server *own, const struct tine__process_shm *shared,
                            int control, tine__deadline deadline)
{
    struct tine__request_wire request = {.magic = TINE__SERVER_MAGIC,
                                         .shared = (uint64_t)(uintptr_t)shared,
                                         .tid = tine__sys_gettid()};
    ssize_t rc;

    do
        rc = tine__sender_send(own->socket, &request, sizeof request, control);
    while (rc == -EAGAIN && tine__sys_poll_out(own->socket, tine__deadline_left(deadline)) > 0);
    return rc == -EAGAIN ? -ETIMEDOUT : rc;
}

/* Under the lock. Has it rights that this thread has not, or the other way round, or is that not
   known? It ends with its processes. */
static void drop_if_other(struct server *own)
{
    struct tine__credentials now;

    if (own->socket < 0)
        return;
    if (tine__credentials_read(&now) == 0 && own->known &&
        tine__credentials_same(&own->credentials, &now))
        return;
    tine__log_info("process: the forkserver has other credentials and will be replaced");
    drop(own);
}

static int begin_next(struct server *own, tine__deadline deadline)
{
    return begin_by(own, tine__program_is_privileged() ? begin : begin_anew, deadline);
}

/* Under the lock. A server that is dead has not been asked. */
static int ask(struct server *own, const struct tine__process_shm *shared, int control,
               tine__deadline deadline)
{
    ssize_t rc = -EPIPE;

    drop_if_other(own);
    for (int i = 0; i < ATTEMPTS && is_gone(rc); i++) {
        if (own->socket < 0) {
            int begun = begin_next(own, deadline);

            if (begun == -EADDRINUSE || begun == TINE_EBROKEN)
                continue;
            if (begun < 0)
                return begun;
        }
        rc = send_request(own, shared, control, deadline);
        if (is_gone(rc)) {
            tine__log_info("process: the forkserver is dead and will be replaced");
            drop(own);
        }
    }
    return is_gone(rc) ? TINE_EBROKEN : rc < 0 ? (int)rc : 0;
}

/* Has the server seen the end of a process that did not come to be? Then the block is the
   caller's. */
static bool is_settled(const struct tine__process_shm *shared, uint64_t word)
{
    tine__deadline deadline = tine__deadline_after(TOLD_NS);

    while (atomic_load_explicit(&shared->told, memory_order_acquire) == 0) {
        int64_t left = tine__deadline_left(deadline);

        if (left == 0 || !tine__owner_word_lives(word))
            return false;
        (void)tine__sys_futex_wait(&shared->told, 0, left < LOOK_NS ? left : LOOK_NS);
    }
    return true;
}

/* The process is asked for; from here on the block is the process's as well. */
static int await_process(struct tine_process *process, struct tine__birth *birth, int control,
                         const struct tine__luggage *luggage, tine__deadline deadline)
{
    int rc = tine__launch_send(control, TINE__LAUNCH_PROCESS, birth->shared, luggage);

    if (rc == 0)
        rc = tine__launch_await(control, deadline, &process->pid, &process->pidfd);
    if (rc == 0)
        return 0;
    if (!tine__launch_cancel(birth->shared) &&
        tine__launch_await(control, 0, &process->pid, &process->pidfd) == 0)
        return 0; /* it was just ready */
    return rc;
}

/* It has rights that are not there any more: another thread has given them up a moment ago. */
static void leave_server(struct server *own, uint64_t word)
{
    tine__futex_lock(&own->lock);
    if (own->word == word)
        drop(own);
    tine__futex_unlock(&own->lock);
}

static int attempt(struct tine_process *process, struct tine__birth *birth,
                   const struct tine__luggage *luggage, tine__deadline deadline)
{
    struct server *own = own_server();
    int pair[2], rc = own == NULL ? -ENOMEM : tine__sys_socketpair(pair);

    if (rc < 0)
        return rc;
    rc = tine__futex_lock_until(&own->lock, deadline); /* another thread may have to make one */
    if (rc == 0) {
        rc = ask(own, birth->shared, pair[1], deadline);
        process->server = own->word;
        process->pid = -1;
        tine__futex_unlock(&own->lock);
    }
    close(pair[1]);
    if (rc == 0) {
        rc = await_process(process, birth, pair[0], luggage, deadline);
        if (rc == TINE__SERVER_REFUSES && process->pid == 0)
            leave_server(own, process->server);
        /* pid 0: the server has not forked at all */
        if (rc < 0 && process->pid != 0 && !is_settled(birth->shared, process->server))
            birth->shared = NULL; /* lost: a process that is late may still look at it */
    }
    close(pair[0]);
    return rc;
}

/* ---- what it takes along --------------------------------------------------------------------- */

static struct tine__process_shm *copy_of(const struct tine__process_shm *shared, size_t size)
{
    struct tine__process_shm *copy = tine_alloc(size);

    if (copy != NULL) {
        memcpy(copy, shared, size);
        atomic_store_explicit(&copy->gate, TINE__GATE_SHUT, memory_order_relaxed);
    }
    return copy;
}

/* The next try has a block that nobody else may look at, and that is not cancelled. */
static int renew(struct tine__birth *birth, const struct tine__process_shm *before, int rc)
{
    if (rc == TINE__SERVER_REFUSES)
        atomic_store_explicit(&birth->shared->gate, TINE__GATE_SHUT, memory_order_relaxed);
    else if (birth->shared == NULL)
        birth->shared = copy_of(before, tine__process_bytes(before));
    else
        return rc; /* the process itself was killed: as with spawn */
    return birth->shared == NULL ? -ENOMEM : 0;
}

static int attempt_often(struct tine_process *process, struct tine__birth *birth,
                         const struct tine__luggage *luggage, tine__deadline deadline)
{
    int rc = TINE_EBROKEN;

    for (int i = 0; i < ATTEMPTS; i++) {
        const struct tine__process_shm *before = birth->shared;
        int renewed;

        rc = attempt(process, birth, luggage, deadline);
        if (rc != TINE_EBROKEN && rc != TINE__SERVER_REFUSES)
            return rc;
        renewed = renew(birth, before, rc);
        if (renewed < 0)
            return renewed;
    }
    return rc == TINE__SERVER_REFUSES ? -EPERM : rc;
}

int tine__start_forkserver(struct tine_process *process, struct tine__birth *birth,
                           const int *listed, tine__deadline deadline)
{
    struct tine__luggage luggage;
    int rc = tine__luggage_pack(&luggage, birth, listed), here;

    if (rc < 0)
        return rc;
    here = tine__surroundings_pack(&luggage, birth->shared);
    if (here < 0)
        return here;
    tine__start_flush();
    rc = attempt_often(process, birth, &luggage, deadline);
    close(here);
    return rc;
}
