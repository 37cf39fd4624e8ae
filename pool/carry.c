/* SPDX-License-Identifier: MIT */
/* Descriptors that a new process gets; see pool/carry.h. Private to one thread. */
#include "pool/carry.h"

#include <errno.h>
#include <unistd.h>

#include "ipc/handles.h"
#include "lib/fork.h"
#include "lib/sys.h"

static int keep(struct tine__descriptors *hooks, int fd, uint64_t *number)
{
    struct tine__carried *carried = (struct tine__carried *)hooks;
    int copy = carried->count == TINE__CARRIED_MAX ? -EMFILE : tine__sys_dup(fd);

    if (copy < 0)
        return copy;
    carried->fds[carried->count++] = copy;
    *number = carried->count;
    return 0;
}

static int fetch(struct tine__descriptors *hooks, uint64_t number, int *fd)
{
    const struct tine__carried *carried = (const struct tine__carried *)hooks;

    if (number == 0 || number > carried->count)
        return -EBADF;
    *fd = carried->fds[number - 1];
    return 0;
}

TINE__EARLY void tine__carried_init(struct tine__carried *carried)
{
    carried->hooks = (struct tine__descriptors){
        .keep = keep, .fetch = fetch, .borrow = fetch, .handle_kinds = tine__handle_kinds};
    carried->count = 0;
}

void tine__carried_close(struct tine__carried *carried)
{
    while (carried->count > 0)
        close(carried->fds[--carried->count]);
}
