/* SPDX-License-Identifier: MIT */
/*
 * Untrusted workers: a worker that claims and settles as every other does, and a guest, its child,
 * that runs the tasks and has neither the family heap, nor any other shared memory, nor any
 * descriptor but the standard ones and a socket to the worker. Guests compute only
 * (pool/compute.h), so they cannot get at either from outside.
 *
 * The worker believes nothing of what comes over the socket: a reply has the magic, the number of
 * the request, a size within the limit, and a result that is one msgpack value without anything of
 * the family's; else the item fails with TINE_EFORMAT and the guest is replaced. A guest that dies
 * takes its worker with it, by the same signal or status, so the nursery settles that as any death.
 * A worker's death kills its guest (parent-death signal). One that is to leave and does not is
 * killed after a while; until then only limits of time and cancelling help against one that hangs.
 *
 * exit() in a guest is as in a worker: leave_at_exit (pool/nursery.c), which it has inherited,
 * comes before the program's handlers.
 *
 * All here is private to the worker, or to the guest; requests and replies are copies.
 */
#include "pool/guest.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <tine/codec.h>
#include <tine/error.h>
#include <tine/time.h>

#include "lib/codec.h"
#include "lib/random.h"
#include "lib/shared.h"
#include "lib/sys.h"
#include "pool/initialize.h"
#include "pool/place.h"
#include "pool/sandbox.h"
#include "pool/start.h"
#include "shm/heap.h"

#define RECORD   ((size_t)32 << 10) /* the socket keeps boundaries: both ends cut alike */
#define LEAVE_NS TINE_SEC(5)        /* for a guest's finalizer, where tasks have no hard limit */

/* The worker's side. */
static struct host {
    struct tine__pool_shm *pool;
    uint32_t index;
    pid_t pid;
    int socket;
} host = {.socket = -1};

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* ---- bytes, at both ends --------------------------------------------------------------------- */

static int send_all(int socket, const void *bytes, size_t size)
{
    const char *next = bytes;

    while (size > 0) {
        ssize_t sent = send(socket, next, least(size, RECORD), MSG_NOSIGNAL);

        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0)
            return -errno;
        next += sent;
        size -= (size_t)sent;
    }
    return 0;
}

/* 0; TINE_EEOF: the other is gone; TINE_EFORMAT: it does not keep to the rules. */
static int receive_all(int socket, void *bytes, size_t size)
{
    char *next = bytes;

    while (size > 0) {
        size_t part = least(size, RECORD);
        ssize_t got = recv(socket, next, part, 0);

        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return TINE_EEOF;
        if ((size_t)got != part)
            return TINE_EFORMAT;
        next += part;
        size -= part;
    }
    return 0;
}

/* ---- the guest ------------------------------------------------------------------------------- */

/* What a guest keeps of the family heap, copied while it has it. */
struct luggage {
    struct tine__sandbox_shm *sandbox;
    struct tine__task_shm *initializer, *finalizer; /* or NULL */
    void *context;
};

static void *copy(uint64_t address, size_t size)
{
    void *made;

    if (address == 0)
        return NULL;
    made = malloc(size);
    if (made == NULL)
        _exit(EXIT_FAILURE);
    return memcpy(made, TINE__AT(const void, address), size);
}

static void *copy_task(uint64_t address)
{
    return copy(address, address == 0 ? 0
                                      : sizeof(struct tine__task_shm) + 1 +
                                            strlen(TINE__AT(struct tine__task_shm, address)->path));
}

static void pack_luggage(struct luggage *luggage, const struct tine__pool_shm *pool)
{
    const struct tine__initialize_shm *made =
        TINE__AT(const struct tine__initialize_shm, pool->initialize);
    size_t size = TINE__AT(const struct tine__sandbox_shm, made->sandbox)->size;

    luggage->sandbox = copy(made->sandbox, size);
    luggage->initializer = copy_task(made->initializer);
    luggage->finalizer = copy_task(made->finalizer);
    luggage->context = copy(made->context, made->context_size);
}

/* One number for the socket; all other descriptors but the standard ones are closed. */
static void close_others(int socket)
{
    if (socket != TINE__GUEST_SOCKET && dup2(socket, TINE__GUEST_SOCKET) < 0)
        _exit(EXIT_FAILURE);
    if (tine__sys_close_range(TINE__GUEST_SOCKET + 1, UINT_MAX) < 0)
        _exit(EXIT_FAILURE);
}

static void reply(uint64_t nonce, int code, const char *message, const tine_buffer *result)
{
    struct tine__guest_reply record = {.magic = TINE__GUEST_MAGIC, .nonce = nonce, .code = code};

    snprintf(record.message, sizeof record.message, "%s", message);
    if (code >= 0 && result != NULL)
        record.size = result->size;
    if (send_all(TINE__GUEST_SOCKET, &record, sizeof record) < 0 ||
        (record.size > 0 && send_all(TINE__GUEST_SOCKET, result->data, record.size) < 0))
        _exit(EXIT_FAILURE); /* the worker is gone */
}

/* Room that grows and stays; the end of the guest where there is none. */
static void *receive_bytes(tine_buffer *room, size_t size)
{
    tine_buffer_clear(room);
    if (tine__buffer_reserve(room, size) < 0 ||
        receive_all(TINE__GUEST_SOCKET, room->data, size) < 0)
        _exit(EXIT_FAILURE);
    return size > 0 ? room->data : NULL;
}

static void run(struct tine_call *call, const struct tine__guest_request *request)
{
    static const char lacks[] = "the function's object file is not loaded in the guest";
    static tine_buffer context, args;
    struct tine__job_shm job = {.result_bytes_max = request->result_bytes_max,
                                .context_size = request->context_size};
    tine_any_function *function;
    int rc;

    job.context = TINE__ADDRESS(receive_bytes(&context, request->context_size));
    (void)receive_bytes(&args, request->args_size);
    rc = tine__function_resolve(&request->function, sizeof request->function, &function);
    if (rc < 0) {
        reply(request->nonce, rc, lacks, NULL);
        return;
    }
    call->function = (uint64_t)(uintptr_t)function;
    rc = tine__call_run(call, &job, request->index, args.data, request->args_size);
    reply(request->nonce, rc, call->message, &call->result);
}

static _Noreturn void serve(const struct luggage *luggage)
{
    struct tine__guest_request request;
    struct tine_call call;
    int rc;

    tine__call_init(&call, -1);
    call.texts.family = false;
    call.texts.descriptors = NULL;
    while ((rc = receive_all(TINE__GUEST_SOCKET, &request, sizeof request)) == 0 &&
           request.kind == TINE__GUEST_CALL)
        run(&call, &request);
    if (rc == 0)
        tine__finalizer_run(luggage->finalizer, luggage->context);
    fflush(stdout);
    fflush(stderr);
    _exit(0);
}

static _Noreturn void live(const struct tine__pool_shm *pool, uint32_t index, int socket)
{
    struct tine__said_shm said = {0};
    struct luggage luggage;
    char name[32];
    int rc;

    snprintf(name, sizeof name, "tine-guest-%u", index);
    prctl(PR_SET_NAME, name);
    tine__place_of_process((struct tine__place){.index = (int)index});
    pack_luggage(&luggage, pool);
    close_others(socket);
    tine__heap_leave();
    rc = tine__shared_leave();
    if (rc == 0)
        rc = tine__sandbox_enter(luggage.sandbox, said.message, sizeof said.message);
    if (rc == 0)
        rc = tine__initializer_run(luggage.initializer, luggage.context, &said);
    reply(0, rc, said.message, NULL);
    if (rc < 0)
        exit(EXIT_FAILURE);
    serve(&luggage);
}

/* ---- the worker ------------------------------------------------------------------------------ */

/* The guest has ended: so does its worker, in the same way, and the nursery sees to the rest. */
static _Noreturn void follow(void)
{
    struct rlimit none = {0, 0};
    siginfo_t info = {.si_pid = 0};

    close(host.socket);
    while (waitid(P_PID, (id_t)host.pid, &info, WEXITED) < 0 && errno == EINTR)
        continue;
    if (info.si_code == CLD_EXITED)
        _exit(info.si_status);
    setrlimit(RLIMIT_CORE, &none); /* there is nothing to see in it */
    signal(info.si_status, SIG_DFL);
    kill(getpid(), info.si_status);
    kill(getpid(), SIGKILL); /* that was blocked */
    _exit(EXIT_FAILURE);
}

/* It has closed its socket: it ends, or does as if. An exit that has begun keeps its status, for
   sockets are closed after that is set. */
static _Noreturn void follow_at_once(void)
{
    kill(host.pid, SIGKILL);
    follow();
}

static pid_t fork_guest(struct tine__pool_shm *pool, uint32_t index, int sockets[2])
{
    pid_t worker = getpid(), pid;

    tine__start_flush(); /* what is buffered here would be written by each guest */
    pid = fork();
    if (pid != 0)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != worker)
        _exit(0);
    live(pool, index, sockets[1]);
}

static int receive_reply(uint64_t nonce, uint64_t most, struct tine__guest_reply *record)
{
    int rc = receive_all(host.socket, record, sizeof *record);

    if (rc < 0)
        return rc;
    record->message[sizeof record->message - 1] = '\0';
    return record->magic == TINE__GUEST_MAGIC && record->nonce == nonce && record->size <= most
               ? 0
               : TINE_EFORMAT;
}

/* For want of descriptors or processes: no fault of the pool's, and the nursery tries again. */
static _Noreturn void give_up(const struct tine__pool_shm *pool, uint32_t index)
{
    atomic_store_explicit(&tine__worker_at(pool, index)->stage, TINE__STAGE_BORN,
                          memory_order_relaxed);
    _exit(EXIT_FAILURE);
}

int tine__guest_start(struct tine__pool_shm *pool, uint32_t index, struct tine__said_shm *said)
{
    struct tine__guest_reply record;
    int sockets[2], rc;

    if (tine__sys_socketpair(sockets) < 0)
        give_up(pool, index);
    host = (struct host){.pool = pool, .index = index, .socket = sockets[0]};
    host.pid = fork_guest(pool, index, sockets);
    if (host.pid < 0)
        give_up(pool, index);
    close(sockets[1]);
    rc = receive_reply(0, 0, &record);
    if (rc == TINE_EEOF)
        follow_at_once();
    if (rc < 0)
        return rc;
    memcpy(said->message, record.message, sizeof said->message);
    return record.code;
}

static int request(const struct tine_call *call, uint64_t nonce)
{
    const struct tine__job_shm *job = call->job;
    struct tine__guest_request record = {.magic = TINE__GUEST_MAGIC,
                                         .nonce = nonce,
                                         .kind = TINE__GUEST_CALL,
                                         .index = call->index,
                                         .result_bytes_max = job->result_bytes_max,
                                         .context_size = job->context_size,
                                         .args_size = call->args_size};
    int rc;

    record.function = TINE__AT(const struct tine__task_shm, job->task)->reference;
    rc = send_all(host.socket, &record, sizeof record);
    if (rc == 0)
        rc = send_all(host.socket, TINE__AT(const void, job->context), job->context_size);
    return rc == 0 ? send_all(host.socket, call->args, call->args_size) : rc;
}

/* One value, as large as the reply says; pointers and functions of a guest's choice are none for
   the program. */
static int receive_result(struct tine_call *call, size_t size)
{
    int rc = tine__buffer_reserve(&call->result, size);

    if (rc == 0)
        rc = receive_all(host.socket, call->result.data, size);
    if (rc < 0)
        return rc;
    if (!tine__value_is_plain(call->result.data, size))
        return TINE_EFORMAT;
    call->result.size = size;
    return 0;
}

/* It does not keep to the rules, or what it says has no room here: another takes its place. */
static int replace(struct tine_call *call, int code)
{
    struct tine__said_shm said = {0};

    kill(host.pid, SIGKILL);
    close(host.socket);
    while (waitpid(host.pid, NULL, 0) < 0 && errno == EINTR)
        continue;
    if (tine__guest_start(host.pool, host.index, &said) < 0)
        _exit(EXIT_FAILURE);
    call->result.size = 0;
    return tine_fail(call, code, "%s",
                     code == TINE_EFORMAT ? "the untrusted process has sent what is no reply"
                                          : "no memory for the result");
}

int tine__guest_call(struct tine_call *call)
{
    uint64_t nonce = tine__random_u64() | 1;
    struct tine__guest_reply record;
    int rc;

    if (tine__sys_poll_in(host.socket, 0) > 0) /* said unasked, or dead */
        rc = receive_all(host.socket, &record, 1) == TINE_EEOF ? TINE_EEOF : TINE_EFORMAT;
    else
        rc = request(call, nonce);
    if (rc == 0)
        rc = receive_reply(nonce, call->job->result_bytes_max, &record);
    if (rc == 0 && record.code < 0)
        return record.size == 0 ? tine_fail(call, record.code, "%s", record.message)
                                : replace(call, TINE_EFORMAT);
    if (rc == 0)
        rc = receive_result(call, record.size);
    if (rc == TINE_EEOF || rc == -EPIPE || rc == -ECONNRESET)
        follow_at_once();
    if (rc < 0)
        return replace(call, rc);
    return 0;
}

/*
 * What a guest says to that is its end, for that closes its socket. One that says something else,
 * or nothing for too long, would keep the worker, and whoever waits for the pool: it is killed. So
 * is one that has left no room for the request.
 */
void tine__guest_end(void)
{
    struct tine__guest_request record = {.magic = TINE__GUEST_MAGIC, .kind = TINE__GUEST_LEAVE};
    int64_t limit_ns = host.pool->limits.task_kill_ns;

    if (send(host.socket, &record, sizeof record, MSG_NOSIGNAL | MSG_DONTWAIT) ==
        (ssize_t)sizeof record)
        (void)tine__sys_poll_in(host.socket, limit_ns > 0 ? limit_ns : LEAVE_NS);
    follow_at_once();
}
