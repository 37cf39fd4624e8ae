/* SPDX-License-Identifier: MIT */
#ifndef TINE_POOL_INIT_H
#define TINE_POOL_INIT_H

#include <stdbool.h>
#include <stdint.h>

/* What the program is executed with, as argv[1] and nothing behind it, to become … */
#define TINE__MARK_PROCESS "--tine-process"
#define TINE__MARK_SERVER  "--tine-forkserver"

/* argv[0] of the program; NULL: tine_init has not been called. */
const char *tine__program_name(void);
/* Its file gives it rights that who executes it has not, as set-user-ID and capabilities do: what
   it is executed with is a stranger's, and executed again it has all that it may have given up. */
bool tine__program_is_privileged(void);
/* This process is called as the program is. */
void tine__program_take_name(void);
/* What the program wants done in a forkserver before it forks. */
void tine__preload(void);
/* TINE_FORK …, of which the program has said that it is the default, or which is so by itself. */
int32_t tine__start_method(void);
/* Only what the program has said: else 0. It goes on to the processes that it starts. */
int32_t tine__start_method_chosen(void);
void tine__start_method_take(int32_t method);

#endif
