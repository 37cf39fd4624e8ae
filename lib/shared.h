/* SPDX-License-Identifier: MIT */
#ifndef TINE_LIB_SHARED_H
#define TINE_LIB_SHARED_H

/*
 * Unmaps all memory that this process shares with others, by whatever library it was mapped.
 * Negative errno where it cannot be found out; some may be gone then.
 */
int tine__shared_leave(void);

#endif
