/* SPDX-License-Identifier: MIT */
#ifndef TINE_POOL_DAEMON_H
#define TINE_POOL_DAEMON_H

#include <stdint.h>

/*
 * From now on the calling process is killed when its parent has ended: by its pidfd, and its
 * tine__owner_word, should the program close the pidfd. 0, -EAGAIN, -ENOMEM.
 */
int tine__daemon_begin(int parent, uint64_t parent_word);

#endif
