/* SPDX-License-Identifier: MIT */
/* tine_pipe: options, and two connections over the ends of one transport. */
#include <tine/pipe.h>

#include <errno.h>

#include "ipc/connection.h"
#include "ipc/transport_ring.h"
#include "ipc/transport_socket.h"
#include "lib/reserved.h"
#include "shm/heap.h"

#define MESSAGE_MAX ((uint64_t)1 << 32)

static int check_options(const tine_pipe_options *options)
{
    if (TINE__RESERVED_SET(options->reserved) || options->reserved32 != 0)
        return -E2BIG;
    if ((options->simplex & ~1u) != 0 || options->check < TINE_CHECK_DEFAULT ||
        options->check > TINE_CHECK_FULL || options->message_bytes_max > MESSAGE_MAX ||
        options->transport < 0 || options->transport > TINE_RING)
        return -EINVAL;
    return 0;
}

static int make_ends(struct tine__transport *ends[2], const tine_pipe_options *options)
{
    uint64_t most = options->message_bytes_max != 0 ? options->message_bytes_max : MESSAGE_MAX;

    if (options->transport == TINE_RING)
        return tine__transport_ring_pair(ends, !options->simplex, options->check, most);
    return tine__transport_socket_pair(ends, options->check, most);
}

int tine_pipe(tine_connection **a, tine_connection **b, const tine_pipe_options *options)
{
    static const tine_pipe_options defaults;
    const tine_pipe_options *o = options != NULL ? options : &defaults;
    struct tine__transport *ends[2];
    tine_connection *first, *second;
    bool duplex = !o->simplex;
    int rc = a == NULL || b == NULL ? -EINVAL : check_options(o);

    if (rc == 0)
        rc = tine__heap_open(); /* first, for it says more than that there is no memory */
    if (rc < 0)
        return rc;
    rc = make_ends(ends, o);
    if (rc < 0)
        return rc;
    rc = tine__connection_open(&first, ends[0], true, duplex);
    if (rc < 0) {
        ends[1]->ops->close(ends[1]);
        return rc;
    }
    rc = tine__connection_open(&second, ends[1], duplex, true);
    if (rc < 0) {
        tine_connection_close(first);
        return rc;
    }
    *a = first;
    *b = second;
    return 0;
}
