/* SPDX-License-Identifier: MIT */
/* The second letters of `o`. */
#include "ipc/handles.h"

#include <stddef.h>

#include "ipc/connection.h"
#include "ipc/queue_impl.h"

const struct tine__handle_kind *const tine__handle_kinds[] = {
    &tine__connection_kind, /* oc */
    &tine__queue_kind,      /* oq */
    NULL,
};
