/* SPDX-License-Identifier: MIT */
#ifndef TINE_SHM_HANDOVER_H
#define TINE_SHM_HANDOVER_H

#include "shm/lock.h"

/*
 * A tine_lock that anybody may release. The word `process` is all of it:
 *
 *     0                           free
 *     tine__owner_word()          taken by that process
 *     tine__owner_word() | 1      taken after the death of the process before, not recovered
 *     2                           lost for ever
 */
int tine__handover_acquire(struct tine__lock_shm *lock, int64_t timeout_ns);
int tine__handover_release(struct tine__lock_shm *lock);
int tine__handover_recover(struct tine__lock_shm *lock);
int tine__handover_who(const struct tine__lock_shm *lock, pid_t *pid, pid_t *tid);

#endif
