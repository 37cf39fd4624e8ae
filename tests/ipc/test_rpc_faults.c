/* SPDX-License-Identifier: MIT */
/*
 * Request and reply when the system gives nothing: every function that may fail is made to fail at
 * its k-th call, for every k until all goes well (ld --wrap), in the thread that serves and calls.
 * Every call ends, with its result or a code; later ones go well; nothing is left behind.
 */
#include <tine/rpc.h>

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "lib/sys.h"
#include "lib/sys_poll.h"
#include "tests/ipc/meet.h"
#include "tests/support/suite.h"
#include "tests/support/wait.h"
#include "tests/support/wrap.h"

enum { MALLOC, CALLOC, REALLOC, STRDUP, EPOLL, EPOLL_ADD, EPOLL_CTL, TIMER, TIMER_SET, FUNCTIONS };

static _Thread_local int failing;       /* one of these */
static _Thread_local int until_failure; /* calls of it; 0: none fails */
static _Thread_local bool in_library;   /* libcheck's own calls never fail */

static bool fails(int function)
{
    return in_library && function == failing && until_failure > 0 && --until_failure == 0;
}

static void enter(void)
{
    in_library = true;
}

static int leave(int rc)
{
    in_library = false;
    return rc;
}

#define TRY(call) leave((enter(), (call)))

WRAP(fails(MALLOC), void *, malloc, NULL, (size_t size), (size))
WRAP(fails(CALLOC), void *, calloc, NULL, (size_t count, size_t size), (count, size))
WRAP(fails(REALLOC), void *, realloc, NULL, (void *memory, size_t size), (memory, size))
WRAP(fails(STRDUP), char *, strdup, NULL, (const char *text), (text))
WRAP(fails(EPOLL), int, tine__sys_epoll, -EMFILE, (void), ())
WRAP(fails(EPOLL_ADD), int, tine__sys_epoll_add, -ENOSPC, (int epoll, int fd, uint64_t cookie),
     (epoll, fd, cookie))
WRAP(fails(EPOLL_CTL), int, epoll_ctl, (errno = ENOSPC, -1),
     (int epoll, int what, int fd, struct epoll_event *event), (epoll, what, fd, event))
WRAP(fails(TIMER), int, tine__sys_timer, -ENFILE, (void), ())
WRAP(fails(TIMER_SET), int, tine__sys_timer_set, -EINVAL, (int fd, int64_t ns), (fd, ns))

struct scene {
    tine_listener *listener;
    tine_rpc_server *server;
    tine_rpc_request *kept;
    tine_rpc *rpc;
};

static int echo(tine_rpc_request *request, void *context)
{
    char *text;
    int rc = tine_rpc_args(request, "s", &text);

    (void)context;
    return rc < 0 ? rc : tine_rpc_reply(request, "s", text);
}

static int keep(tine_rpc_request *request, void *context)
{
    struct scene *scene = context;

    scene->kept = request;
    return 0;
}

static bool is_failure(int rc)
{
    return rc == -ENOMEM || rc == TINE_EREMOTE || rc == TINE_EEOF;
}

static void answer_kept(struct scene *scene)
{
    int rc = scene->kept == NULL ? 0 : TRY(tine_rpc_reply(scene->kept, "s", "later"));

    ck_assert(rc == 0 || rc == -ENOMEM);
    if (rc == 0)
        scene->kept = NULL;
}

/* Until the call has ended; the server runs in between. */
static void end_call(struct scene *scene, tine_rpc_future *future)
{
    struct patience patience = patience_begin();
    char *text = NULL;
    int rc;

    do {
        ck_assert_ok(TRY(tine_rpc_server_run(scene->server, 0)));
        answer_kept(scene);
        rc = TRY(tine_rpc_future_wait(future, 0));
        ck_assert(rc >= 0 || patience_pause(&patience));
    } while (rc < 0);
    rc = TRY(tine_rpc_future_result(future, 0, "s", &text));
    ck_assert(rc == 0 || is_failure(rc));
    if (rc == 0)
        ck_assert(strcmp(text, "now") == 0 || strcmp(text, "later") == 0);
    tine_rpc_future_close(future);
}

static void make_call(struct scene *scene, const char *name)
{
    tine_rpc_future *future;
    int rc = TRY(tine_rpc_submit(&future, scene->rpc, 0, name, "s", "now"));

    if (rc == 0)
        end_call(scene, future);
    else
        ck_assert(is_failure(rc));
}

static void cancel_call(struct scene *scene)
{
    tine_rpc_future *future;
    int rc = TRY(tine_rpc_submit(&future, scene->rpc, 0, "echo", "s", "now"));

    ck_assert(rc == 0 || is_failure(rc));
    if (rc < 0)
        return;
    rc = TRY(tine_rpc_future_cancel(future));
    ck_assert(rc == 0 || rc == -EALREADY);
    tine_rpc_future_close(future);
    ck_assert_ok(TRY(tine_rpc_server_run(scene->server, 0)));
}

static void talk(struct scene *scene, tine_connection *connection)
{
    int rc = TRY(tine_rpc_open(&scene->rpc, connection));

    if (rc < 0) {
        ck_assert_rc(rc, -ENOMEM);
        tine_connection_close(connection);
        return;
    }
    make_call(scene, "echo");
    make_call(scene, "keep");
    make_call(scene, "nobody");
    rc = TRY(tine_rpc_notify(scene->rpc, 0, "echo", "s", "notice"));
    ck_assert(rc == 0 || is_failure(rc));
    cancel_call(scene);
    tine_rpc_close(scene->rpc);
    ck_assert_ok(TRY(tine_rpc_server_run(scene->server, 0)));
}

/*
 * The dialling thread has no faults. Beside it somebody says nothing, so that the listener has a
 * time to watch for between two calls.
 */
static void meet_server(struct scene *scene)
{
    int mute = stranger(scene->listener);
    struct dialling dialling;

    dialling_start(&dialling, scene->listener, NULL);
    do
        ck_assert_ok(TRY(tine_rpc_server_run(scene->server, TINE_MS(1))));
    while (pthread_tryjoin_np(dialling.thread, NULL) != 0);
    close(mute);
    if (dialling.rc == 0)
        talk(scene, dialling.connection);
    else
        ck_assert_rc(dialling.rc, -ECONNRESET);
}

static int add_functions(tine_rpc_server *server, struct scene *scene)
{
    int rc = TRY(tine_rpc_server_add(server, "echo", echo, NULL));

    return rc < 0 ? rc : TRY(tine_rpc_server_add(server, "keep", keep, scene));
}

static void perform(struct scene *scene)
{
    int rc = TRY(tine_rpc_server_open(&scene->server, scene->listener, NULL));

    if (rc < 0) {
        tine_listener_close(scene->listener);
        return;
    }
    if (add_functions(scene->server, scene) == 0)
        meet_server(scene);
    tine_rpc_server_close(scene->server);
}

TEST(whatever_fails_every_call_ends, .loop_end = FUNCTIONS, .timeout_s = 60)
{
    int failures = 0;
    bool failed;

    do {
        struct scene scene = {.kept = NULL};

        ck_assert_rc(tine_listener_open(&scene.listener, NULL, NULL), 0);
        failing = loop_index;
        until_failure = ++failures;
        perform(&scene);
        failed = until_failure == 0;
        until_failure = 0;
    } while (failed);
    ck_assert_int_gt(failures, loop_index == STRDUP ? 2 : 1);
}

SUITE("ipc/rpc under faults")
