/* SPDX-License-Identifier: MIT */
/*
 * The forkserver: a small process with one thread that forks clean processes.
 *
 *     program ──fork──► (a step between, which leaves) ──fork──► forkserver ──fork──► processes
 *             ──request + control socket──────────────────────►
 *             ──launch (pool/launch.h)───────────────────────────────────────────────►
 *
 * It is nobody's child, so the program's own wait() never meets it. It knows of each process a
 * pidfd and the shared block, in which it leaves the status when it has reaped it. It ends with the
 * program that started it, or, when nobody holds the other end of its socket, with the last of its
 * processes. It refuses who has not all of its rights (pool/asker.h). When it is killed, its
 * processes go on; how they end is not known then.
 *
 * It is a fork of the program as that was in tine_init(), or of a program that was executed anew,
 * and maps the family heap. All descriptors but its own are closed.
 */
#include "pool/forkserver.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/at_fork.h"
#include "lib/fork.h"
#include "lib/log.h"
#include "lib/objects.h"
#include "lib/sender.h"
#include "lib/sig.h"
#include "lib/sys.h"
#include "lib/sys_poll.h"
#include "pool/asker.h"
#include "pool/init.h"
#include "pool/launch.h"
#include "shm/heap.h"
#include "shm/owner.h"

#define EVENTS 16

/* One process. */
struct ward {
    pid_t pid; /* 0: this place is free */
    int pidfd;
    struct tine__process_shm *shared;
};

/* The server's own state, private to its process. */
struct keeper {
    int socket, program, poll;
    int alarm; /* wakes the server, should it be stopped, when the program has ended; -1: not */
    uint32_t count, running;
    bool retired; /* nobody can ask any more */
    struct ward *wards;
    struct tine__asker_rule rule;
    struct sigaction interrupt; /* what SIGINT does in processes */
};

enum { EVENT_SOCKET = UINT32_MAX, EVENT_PROGRAM = UINT32_MAX - 1 };

static int watch(const struct keeper *keeper, int fd, uint32_t what)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = what};

    return epoll_ctl(keeper->poll, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

/* ---- processes ------------------------------------------------------------------------------- */

TINE__EARLY static _Noreturn void become_process(const struct keeper *keeper, int control)
{
    close(keeper->socket);
    close(keeper->program);
    close(keeper->poll);
    close(keeper->alarm);
    for (uint32_t i = 0; i < keeper->count; i++)
        if (keeper->wards[i].pid != 0)
            close(keeper->wards[i].pidfd);
    sigaction(SIGINT, &keeper->interrupt, NULL);
    tine__program_take_name();
    tine__launch_receive(control);
}

/* A free place; NULL: no memory. */
static struct ward *make_room(struct keeper *keeper)
{
    uint32_t room = keeper->count == 0 ? 16 : 2 * keeper->count;
    struct ward *wards;

    for (uint32_t i = 0; i < keeper->count; i++)
        if (keeper->wards[i].pid == 0)
            return &keeper->wards[i];
    wards = realloc(keeper->wards, room * sizeof *wards);
    if (wards == NULL)
        return NULL;
    for (uint32_t i = keeper->count; i < room; i++)
        wards[i] = (struct ward){.pid = 0};
    keeper->wards = wards;
    wards += keeper->count;
    keeper->count = room;
    return wards;
}

static void reap(struct keeper *keeper, struct ward *ward, int flags)
{
    siginfo_t info = {.si_pid = 0};
    uint32_t status;

    while (waitid(P_PIDFD, (id_t)ward->pidfd, &info, WEXITED | flags) < 0)
        if (errno != EINTR)
            return;
    if (info.si_pid == 0)
        return;
    status = info.si_code == CLD_EXITED ? (uint32_t)info.si_status << 8 : (uint32_t)info.si_status;
    /* release: pairs with the acquire of who waits for it */
    atomic_store_explicit(&ward->shared->told, TINE__TOLD | status, memory_order_release);
    tine__sys_futex_wake(&ward->shared->told, INT32_MAX);
    /* by hand: a process that has just been forked may still have copies of both */
    (void)epoll_ctl(keeper->poll, EPOLL_CTL_DEL, ward->pidfd, NULL);
    close(ward->pidfd);
    ward->pid = 0;
    keeper->running--;
}

TINE__EARLY static int start_process(struct keeper *keeper, int control,
                                     struct tine__process_shm *shared)
{
    struct ward *ward = make_room(keeper);
    int pidfd, rc;
    pid_t pid;

    if (ward == NULL)
        return -ENOMEM;
    pid = tine__hooked_fork(shared->what, &pidfd);
    if (pid == 0)
        become_process(keeper, control);
    if (pid < 0)
        return pid;
    *ward = (struct ward){.pid = pid, .pidfd = pidfd, .shared = shared};
    keeper->running++;
    rc = watch(keeper, pidfd, (uint32_t)(ward - keeper->wards));
    if (rc == 0)
        return 0;
    tine__sys_pidfd_kill(pidfd, SIGKILL); /* its end would never be seen */
    reap(keeper, ward, 0);
    return rc == -ENOSPC ? -EAGAIN : rc; /* of what can be watched there is a limit, too */
}

/* What becomes of the processes that run is still to be told. */
static void retire(struct keeper *keeper)
{
    keeper->retired = true;
    (void)epoll_ctl(keeper->poll, EPOLL_CTL_DEL, keeper->socket, NULL);
}

TINE__EARLY static void answer_request(struct keeper *keeper)
{
    struct tine__request_wire request;
    struct tine__process_shm *shared;
    struct ucred sender;
    int control, rc;
    ssize_t size = tine__sender_recv(keeper->socket, &request, sizeof request, &control, &sender);

    if (size == 0)
        retire(keeper);
    if (size <= 0)
        return;
    shared = (struct tine__process_shm *)(uintptr_t)request.shared;
    if (size != (ssize_t)sizeof request || request.magic != TINE__SERVER_MAGIC ||
        !tine__heap_contains(shared, sizeof *shared)) {
        close(control);
        return;
    }
    rc = tine__asker_check(&keeper->rule, &sender, request.tid);
    if (rc == 0)
        rc = start_process(keeper, control, shared);
    else if (rc == -EPERM)
        rc = TINE__SERVER_REFUSES;
    if (rc < 0)
        tine__launch_refuse(control, rc);
    close(control);
}

/* ---- the loop -------------------------------------------------------------------------------- */

TINE__EARLY static _Noreturn void serve(struct keeper *keeper)
{
    struct epoll_event events[EVENTS];

    for (;;) {
        int n = epoll_wait(keeper->poll, events, EVENTS, -1);

        for (int i = 0; i < n; i++) {
            uint32_t what = events[i].data.u32;

            if (what == EVENT_PROGRAM)
                _exit(0);
            if (what == EVENT_SOCKET)
                answer_request(keeper);
            else if (what < keeper->count && keeper->wards[what].pid != 0)
                reap(keeper, &keeper->wards[what], WNOHANG);
        }
        if (keeper->retired && keeper->running == 0)
            _exit(0);
    }
}

/* The standard streams stay: processes that are started get the program's of that moment. */
static void close_all_but(const int *kept, size_t count)
{
    unsigned from = STDERR_FILENO + 1;

    for (;;) {
        unsigned next = ~0u;

        for (size_t i = 0; i < count; i++)
            if ((unsigned)kept[i] >= from && (unsigned)kept[i] < next)
                next = (unsigned)kept[i];
        if (next > from)
            (void)tine__sys_close_range(from, next == ~0u ? next : next - 1);
        if (next == ~0u)
            return;
        from = next + 1;
    }
}

/* As many as the program may have; processes get the limits of the program at their start. */
static void allow_many_files(void)
{
    struct rlimit most;

    if (getrlimit(RLIMIT_NOFILE, &most) < 0)
        return;
    most.rlim_cur = most.rlim_max;
    setrlimit(RLIMIT_NOFILE, &most);
}

/*
 * The end for writing travels in a message that the program never takes in. When the program, and
 * whoever else has its end of the socket, is gone, so is that message.
 */
static void arm_alarm(struct keeper *keeper)
{
    int ends[2];

    keeper->alarm = -1;
    if (tine__sys_signalling_pipe(ends, SIGCONT) < 0)
        return;
    (void)tine__sys_send_fds(keeper->socket, "", 1, &ends[1], 1, MSG_DONTWAIT);
    close(ends[1]);
    keeper->alarm = ends[0];
}

/* The program waits for the hello, so what is seen of it is what it is. */
static void begin_rule(struct keeper *keeper)
{
    struct ucred program;
    socklen_t size = sizeof program;

    if (getsockopt(keeper->socket, SOL_SOCKET, SO_PEERCRED, &program, &size) < 0)
        _exit(1);
    tine__asker_begin(&keeper->rule, program.pid);
}

static void listen_from_now_on(struct keeper *keeper)
{
    struct tine__hello_wire hello = {.magic = TINE__SERVER_MAGIC, .word = tine__owner_word()};
    struct sigaction ignore = {.sa_handler = SIG_IGN};

    prctl(PR_SET_NAME, "tine-forkserver");
    close_all_but((int[]){keeper->socket, keeper->program, tine__heap_file()}, 3);
    sigaction(SIGINT, &ignore, &keeper->interrupt); /* Ctrl-C is the program's to handle */
    signal(SIGCHLD, SIG_DFL);                       /* ignored, it would let statuses be lost */
    allow_many_files();
    keeper->poll = tine__sys_epoll();
    if (keeper->poll < 0 || tine__sender_ask(keeper->socket) < 0 ||
        watch(keeper, keeper->socket, EVENT_SOCKET) < 0 ||
        watch(keeper, keeper->program, EVENT_PROGRAM) < 0)
        _exit(1);
    tine__at_fork_in_child(TINE_FORKED_SERVER);
    tine__preload();
    begin_rule(keeper);
    if (tine__sys_send_fds(keeper->socket, &hello, sizeof hello, NULL, 0, 0) < 0)
        _exit(1);
    arm_alarm(keeper);
    tine__objects_note(); /* once here, behind the preload, and not in each process */
}

TINE__EARLY int tine__forkserver_detach(int socket, int program)
{
    struct keeper keeper = {.socket = socket, .program = program};
    pid_t pid = fork();

    if (pid != 0)
        return pid < 0 ? -errno : 0;
    listen_from_now_on(&keeper);
    serve(&keeper);
}
