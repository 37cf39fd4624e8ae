/* SPDX-License-Identifier: MIT */
/*
 * tine_init: where executed processes enter; and which way to start is the default.
 *
 * A program that is executed again for us has a mark for its only argument and a socket for its
 * descriptor 3. Both have to be there: a user who types the mark gets the program as ever. The
 * program that executes has called tine_init() itself, so main is never run twice by mistake. What
 * comes over the socket is code to run, so a program with more rights than who executes it takes
 * none.
 *
 * All is written by tine_init() and tine_set_start_method(), before threads exist; forks inherit
 * it, and other processes are told what was chosen.
 */
#include "pool/init.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <tine/error.h>
#include <tine/process.h>

#include "lib/log.h"
#include "pool/forkserver.h"
#include "pool/launch.h"

static const char *name;
static int32_t chosen;
static tine_preload *preload;
static void *preload_context;

const char *tine__program_name(void)
{
    return name;
}

int32_t tine__start_method(void)
{
    if (chosen != TINE_START_DEFAULT)
        return chosen;
    return name != NULL ? TINE_FORKSERVER : TINE_FORK;
}

int32_t tine__start_method_chosen(void)
{
    return chosen;
}

void tine__start_method_take(int32_t method)
{
    chosen = method;
}

bool tine__program_is_privileged(void)
{
    return getauxval(AT_SECURE) != 0;
}

static bool is_control_socket(int fd)
{
    int domain = 0, type = 0;
    socklen_t size = sizeof domain;

    return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 && domain == AF_UNIX &&
           getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_SEQPACKET;
}

void tine__program_take_name(void)
{
    const char *slash = strrchr(name, '/');

    prctl(PR_SET_NAME, slash == NULL ? name : slash + 1);
}

void tine__preload(void)
{
    if (preload != NULL)
        preload(preload_context);
}

void tine_set_forkserver_preload(tine_preload *hook, void *context)
{
    preload = hook;
    preload_context = context;
}

static bool is_marked(int argc, char **argv)
{
    return argc == 2 &&
           (strcmp(argv[1], TINE__MARK_PROCESS) == 0 || strcmp(argv[1], TINE__MARK_SERVER) == 0) &&
           is_control_socket(TINE__CONTROL_FD);
}

int tine_init(int *argc, char ***argv)
{
    int rc;

    if (argc == NULL || argv == NULL || *argv == NULL || *argc < 1)
        return -EINVAL;
    name = (*argv)[0];
    if (is_marked(*argc, *argv)) {
        if (tine__program_is_privileged())
            _exit(TINE__EXIT_UNBORN);
        tine__program_take_name();
        tine__launch_receive(TINE__CONTROL_FD);
    }
    rc = tine__forkserver_begin();
    if (rc < 0) /* the first start tries again, and says so */
        tine__log_warning("process: no forkserver: %s", tine_errname(rc));
    return 0;
}

int tine_set_start_method(int32_t method, bool force)
{
    if (method <= TINE_START_DEFAULT || method > TINE_FORKSERVER)
        return -EINVAL;
    if (method != TINE_FORK && name == NULL)
        return -ENOTSUP;
    if (chosen != TINE_START_DEFAULT && !force)
        return -EBUSY;
    chosen = method;
    return 0;
}

int32_t tine_get_start_method(void)
{
    return tine__start_method();
}
