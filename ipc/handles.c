/* SPDX-License-Identifier: MIT */
/* The second letters of `o`. */
#include "ipc/handles.h"

#include <stddef.h>

#include "ipc/connection.h"

const struct tine__handle_kind *const tine__handle_kinds[] = {
    &tine__connection_kind, /* oc */
    NULL,
};
