/* SPDX-License-Identifier: MIT */
/*
 * Launching a process that is no fork of the program, at both ends; see pool/launch.h.
 *
 * Whether the function runs is decided once, by a CAS of the gate in the shared block: the process
 * opens it when it is ready, or its starter cancels because it has waited long enough. So a start
 * that failed never runs late, and one that runs has never failed.
 *
 * The bytes on the socket are the family's own, but checked: a program may be executed by hand with
 * anything as descriptor 3.
 */
#include "pool/launch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <tine/error.h>
#include <tine/heap.h>

#include "lib/credentials.h"
#include "lib/fork.h"
#include "lib/function.h"
#include "lib/log.h"
#include "lib/record.h"
#include "lib/sys.h"
#include "pool/forkserver.h"
#include "pool/init.h"
#include "pool/start.h"
#include "pool/surroundings.h"
#include "shm/heap.h"

#define MAGIC  UINT64_C(0x1e656e6974686372)
#define FORMAT 1

struct launch_wire {
    uint64_t magic;
    uint32_t format, kind;
    uint64_t shared; /* address of a tine__process_shm; 0 for a server */
    uint32_t fd_count, unused;
    struct tine__capabilities most; /* of a server: root gets all again when it executes */
};

struct answer_wire {
    uint64_t magic;
    int32_t code, pid;
};

/* ---- the starter's side ---------------------------------------------------------------------- */

int tine__luggage_pack(struct tine__luggage *luggage, const struct tine__birth *birth,
                       const int *listed)
{
    int heap = tine__heap_file();

    if (heap < 0)
        return heap;
    luggage->count = 0;
    luggage->fds[luggage->count++] = heap;
    luggage->fds[luggage->count++] = birth->parent;
    for (uint32_t i = 0; i < birth->carried->count; i++)
        luggage->fds[luggage->count++] = birth->carried->fds[i];
    for (uint32_t i = 0; i < birth->shared->listed_count; i++)
        luggage->fds[luggage->count++] = listed[i];
    return 0;
}

int tine__launch_send(int socket, uint32_t kind, struct tine__process_shm *shared,
                      const struct tine__luggage *luggage)
{
    struct launch_wire launch = {.magic = MAGIC,
                                 .format = FORMAT,
                                 .kind = kind,
                                 .shared = (uint64_t)(uintptr_t)shared,
                                 .fd_count = luggage->count};
    struct iovec part = {.iov_base = &launch, .iov_len = sizeof launch};
    uint32_t sent = 0;
    int rc = kind == TINE__LAUNCH_SERVER ? tine__capabilities_read(&launch.most) : 0;

    while (sent < luggage->count && rc == 0) {
        uint32_t left = luggage->count - sent;
        uint32_t now = left < TINE__RECORD_FDS ? left : TINE__RECORD_FDS;

        rc = tine__record_send(socket, &part, 1, luggage->fds + sent, now, MSG_DONTWAIT);
        sent += now;
    }
    return rc == -EPIPE || rc == -ECONNRESET ? 0 : rc;
}

int tine__launch_await(int socket, tine__deadline deadline, pid_t *pid, int *pidfd)
{
    int64_t left = deadline == TINE__NEVER ? -1 : tine__deadline_left(deadline);
    struct answer_wire answer;
    int fd = -1, count = 1;
    ssize_t size;

    if (tine__sys_poll_in(socket, left) <= 0)
        return -ETIMEDOUT;
    size = tine__sys_recv_fds(socket, &answer, sizeof answer, &fd, &count, MSG_DONTWAIT);
    /* It has left before it had read all, and what it said stands behind this error. */
    if (size == -ECONNRESET)
        size = tine__sys_recv_fds(socket, &answer, sizeof answer, &fd, &count, MSG_DONTWAIT);
    if (size == -EPROTO)
        return -EMFILE; /* no room here for its pidfd */
    if (size != (ssize_t)sizeof answer || answer.magic != MAGIC ||
        (count == 1) != (answer.code == 0)) {
        if (size > 0 && count == 1)
            close(fd);
        return TINE_EBROKEN;
    }
    *pid = answer.pid;
    if (answer.code != 0)
        return answer.code;
    *pidfd = fd;
    return 0;
}

bool tine__launch_cancel(struct tine__process_shm *shared)
{
    uint32_t shut = TINE__GATE_SHUT;

    /* nothing is published by it: it forbids */
    return atomic_compare_exchange_strong_explicit(&shared->gate, &shut, TINE__GATE_CANCELLED,
                                                   memory_order_acq_rel, memory_order_acquire);
}

/* A sink travels where it is of any use there: as a function, with a context that is the same. */
void tine__launch_tell_log(struct tine__process_shm *shared)
{
    void *context;
    tine_log_sink *sink = tine__log_sink(&context);

    shared->log_level = atomic_load_explicit(&tine__log_limit, memory_order_relaxed);
    if (sink == NULL || (context != NULL && !tine__heap_contains(context, 1)) ||
        tine__function_describe((tine_any_function *)sink, &shared->sink) < 0)
        return;
    shared->sink_context = (uint64_t)(uintptr_t)context;
    shared->has_sink = 1;
}

/* ---- the process's side ---------------------------------------------------------------------- */

struct arrival {
    int socket;
    struct launch_wire launch;
    struct tine__luggage luggage;
    struct tine__process_shm *shared;
};

/* One record; -EBADMSG: not what the starter sends. */
TINE__EARLY static int receive_part(struct arrival *arrival, bool first)
{
    struct launch_wire launch;
    struct iovec part = {.iov_base = &launch, .iov_len = sizeof launch};
    struct tine__luggage *luggage = &arrival->luggage;
    int fds[TINE__RECORD_FDS];
    uint32_t count = TINE__RECORD_FDS, left;
    ssize_t size = tine__record_recv(arrival->socket, &part, 1, fds, &count, 0);

    if (size == -EAGAIN)
        return 0;
    if (size != (ssize_t)sizeof launch || launch.magic != MAGIC || launch.format != FORMAT ||
        launch.fd_count > TINE__LUGGAGE_MAX)
        return -EBADMSG;
    if (first)
        arrival->launch = launch;
    left = arrival->launch.fd_count - luggage->count;
    if (count > left)
        return -EBADMSG;
    for (uint32_t i = 0; i < count; i++) {
        int fd = fds[i] <= STDERR_FILENO ? tine__sys_dup(fds[i]) : fds[i];

        if (fd < 0)
            return fd;
        if (fd != fds[i])
            close(fds[i]); /* where a standard stream was closed: it stays so */
        luggage->fds[luggage->count++] = fd;
    }
    return count == (left < TINE__RECORD_FDS ? left : TINE__RECORD_FDS) ? 0 : -EMFILE;
}

TINE__EARLY static int receive(struct arrival *arrival)
{
    int rc = 0;

    do
        rc = receive_part(arrival, arrival->launch.magic == 0);
    while (rc == 0 &&
           (arrival->launch.magic == 0 || arrival->luggage.count < arrival->launch.fd_count));
    return rc == 0 && arrival->luggage.count < 2 ? -EBADMSG : rc;
}

void tine__launch_refuse(int socket, int code)
{
    struct answer_wire answer = {.magic = MAGIC, .code = code};

    (void)tine__sys_send_fds(socket, &answer, sizeof answer, NULL, 0, MSG_DONTWAIT);
}

/* The process does not come to be; its starter is told why, or sees its end. */
static _Noreturn void refuse(const struct arrival *arrival, int code)
{
    struct answer_wire answer = {.magic = MAGIC, .code = code, .pid = getpid()};

    (void)tine__sys_send_fds(arrival->socket, &answer, sizeof answer, NULL, 0, MSG_DONTWAIT);
    _exit(TINE__EXIT_UNBORN);
}

TINE__EARLY static int find_shared(struct arrival *arrival)
{
    struct tine__process_shm *shared =
        (struct tine__process_shm *)(uintptr_t)arrival->launch.shared;

    if (!tine__heap_contains(shared, sizeof *shared))
        return -EPROTO;
    arrival->shared = shared;
    return arrival->luggage.count ==
                   2 + shared->carried_count + shared->listed_count + shared->surroundings.fd_count
               ? 0
               : -EPROTO;
}

/* Out of the way of the numbers that are listed, socket included. */
TINE__EARLY static int move_above(int *fd, int above)
{
    int moved;

    if (*fd > above)
        return 0;
    moved = fcntl(*fd, F_DUPFD_CLOEXEC, above + 1);
    if (moved < 0)
        return errno == EINVAL ? -EMFILE : -errno; /* EINVAL: beyond the limit */
    close(*fd);
    *fd = moved;
    return 0;
}

TINE__EARLY static int place_listed(struct arrival *arrival)
{
    const struct tine__process_shm *shared = arrival->shared;
    const struct tine__listed *listed = tine__process_listed(shared);
    int *fds = arrival->luggage.fds + 2 + shared->carried_count, highest = 0, rc;

    for (uint32_t i = 0; i < shared->listed_count; i++)
        if (listed[i].fd > highest)
            highest = listed[i].fd;
    rc = move_above(&arrival->socket, highest);
    for (uint32_t i = 1; i < arrival->luggage.count && rc == 0; i++) /* the heap's is closed */
        rc = move_above(&arrival->luggage.fds[i], highest);
    for (uint32_t i = 0; i < shared->listed_count && rc == 0; i++) {
        rc = dup3(fds[i], listed[i].fd, listed[i].flags & FD_CLOEXEC ? O_CLOEXEC : 0) < 0 ? -errno
                                                                                          : 0;
        close(fds[i]);
    }
    return rc;
}

/* An object that the program has loaded, and this process has not yet, is loaded here, too. */
TINE__EARLY static int resolve(const struct tine__process_shm *shared, tine_function **function)
{
    tine_any_function *found;
    int rc = tine__function_load(&shared->function, tine__process_path(shared), &found);

    if (rc == 0)
        *function = (tine_function *)found;
    return rc;
}

/* A sink that is not loaded here is none: lines go to standard error. */
static void take_log(const struct tine__process_shm *shared)
{
    tine_any_function *sink;

    if (shared->log_level <= TINE_LOG_DEBUG) /* else nobody has looked yet */
        tine_log_set_level(shared->log_level);
    if (shared->has_sink && tine__function_resolve(&shared->sink, sizeof shared->sink, &sink) == 0)
        tine_log_set_sink((tine_log_sink *)sink, (void *)(uintptr_t)shared->sink_context);
}

/* The gate decides; a starter that has given up will not take the answer. */
TINE__EARLY static int say_ready(const struct arrival *arrival)
{
    struct answer_wire answer = {.magic = MAGIC, .pid = getpid()};
    uint32_t shut = TINE__GATE_SHUT;
    int self = tine__sys_pidfd_open(getpid());
    ssize_t sent;

    if (self < 0)
        return self;
    sent = tine__sys_send_fds(arrival->socket, &answer, sizeof answer, &self, 1, MSG_DONTWAIT);
    close(self);
    if (sent < 0)
        return (int)sent;
    close(arrival->socket);
    if (!atomic_compare_exchange_strong_explicit(&arrival->shared->gate, &shut, TINE__GATE_OPEN,
                                                 memory_order_acq_rel, memory_order_acquire))
        _exit(TINE__EXIT_UNBORN);
    return 0;
}

TINE__EARLY static const int *surroundings_of(const struct arrival *arrival)
{
    const struct tine__process_shm *shared = arrival->shared;

    return arrival->luggage.fds + 2 + shared->carried_count + shared->listed_count;
}

TINE__EARLY static _Noreturn void live(struct arrival *arrival)
{
    struct tine__carried carried;
    struct tine__birth birth = {.carried = &carried};
    int rc = find_shared(arrival);

    if (rc == 0)
        rc = place_listed(arrival);
    if (rc == 0)
        rc = tine__surroundings_take(arrival->shared, surroundings_of(arrival));
    if (rc == 0)
        rc = resolve(arrival->shared, &birth.function);
    if (rc == 0)
        rc = tine__surroundings_limit(arrival->shared);
    if (rc < 0)
        refuse(arrival, rc);
    take_log(arrival->shared);
    tine__start_method_take(arrival->shared->start_method);
    tine__carried_init(&carried);
    for (uint32_t i = 0; i < arrival->shared->carried_count; i++)
        carried.fds[carried.count++] = arrival->luggage.fds[2 + i];
    birth.shared = arrival->shared;
    birth.parent = arrival->luggage.fds[1];
    rc = say_ready(arrival);
    if (rc < 0)
        refuse(arrival, rc);
    tine__begin(&birth);
}

/* The step between the program and its server. */
static _Noreturn void become_server(const struct arrival *arrival)
{
    if (tine__capabilities_lower(&arrival->launch.most) < 0)
        _exit(TINE__EXIT_UNBORN);
    _exit(tine__forkserver_detach(arrival->socket, arrival->luggage.fds[1]) < 0);
}

TINE__EARLY _Noreturn void tine__launch_receive(int socket)
{
    static struct arrival arrival;
    int rc;

    arrival = (struct arrival){.socket = socket};
    rc = receive(&arrival);
    if (rc == -EBADMSG)
        _exit(TINE__EXIT_UNBORN); /* the starter is gone */
    if (rc == 0)
        rc = tine__heap_adopt(arrival.luggage.fds[0]);
    if (rc < 0)
        refuse(&arrival, rc);
    close(arrival.luggage.fds[0]);
    if (arrival.launch.kind == TINE__LAUNCH_SERVER)
        become_server(&arrival);
    live(&arrival);
}
