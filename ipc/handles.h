/* SPDX-License-Identifier: MIT */
#ifndef TINE_IPC_HANDLES_H
#define TINE_IPC_HANDLES_H

#include "lib/handle.h"

/* All kinds of handles that can travel, for struct tine__descriptors. */
extern const struct tine__handle_kind *const tine__handle_kinds[];

#endif
