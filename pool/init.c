/* SPDX-License-Identifier: MIT */
/*
 * tine_init: where executed processes enter; and which way to start is the default.
 *
 * A program that is executed again for us has a mark for its only argument and a socket for its descriptor
 * 3. Both have to be there: a user who types the mark gets the program as ever. The program
 * that executes has called tine_init() itself, so main is never run twice by mistake.
 *
 * All is written by tine_init() and tine_set_start_method(), before threads exist; forks inherit it.
 */
#include "pool/init.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include <tine/process.h>

#include "pool/launch.h"
#include "lib/sys.h"

static const char *name;
static int32_t chosen;

const char *tine__program_name(void)
{
    return name;
}

int32_t tine__start_method(void)
{
    return chosen != TINE_START_DEFAULT ? chosen : TINE_FORK;
}

static bool is_control_socket(int fd)
{
    int domain = 0, type = 0;
    socklen_t size = sizeof domain;

    return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 && domain == AF_UNIX &&
           getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_SEQPACKET;
}

/* It was executed as /proc/self/exe, and has that for its name. */
static void take_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    prctl(PR_SET_NAME, slash == NULL ? path : slash + 1);
}

int tine_init(int *argc, char ***argv)
{
    if (argc == NULL || argv == NULL || *argv == NULL || *argc < 1)
        return -EINVAL;
    name = (*argv)[0];
    if (*argc == 2 && strcmp((*argv)[1], TINE__MARK_PROCESS) == 0 &&
        is_control_socket(TINE__CONTROL_FD)) {
        take_name(name);
        tine__launch_receive(TINE__CONTROL_FD);
    }
    return 0;
}

int tine_set_start_method(int32_t method, bool force)
{
    if (method <= TINE_START_DEFAULT || method > TINE_SPAWN)
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
