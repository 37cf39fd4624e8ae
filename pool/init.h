/* SPDX-License-Identifier: MIT */
#ifndef TINE_POOL_INIT_H
#define TINE_POOL_INIT_H

#include <stdbool.h>
#include <stdint.h>

/* What the program is executed with, as argv[1] and nothing behind it, to become … */
#define TINE__MARK_PROCESS "--tine-process"

/* argv[0] of the program; NULL: tine_init has not been called. */
const char *tine__program_name(void);
/* TINE_FORK …, of which the program has said that it is the default, or which is so by itself. */
int32_t tine__start_method(void);

#endif
