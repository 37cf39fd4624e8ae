/* SPDX-License-Identifier: MIT */
#ifndef TINE_LIB_SODIUM_H
#define TINE_LIB_SODIUM_H

/*
 * Lets libsodium pick its fastest code for this CPU; any number of times, and never waiting.
 * Without it all results are the same. Thread any, fork child may call.
 */
void tine__sodium_start(void);

#endif
