/* SPDX-License-Identifier: MIT */
/*
 * The robust internal lock; see shm/robust.h. Type NORMAL because glibc's recursive robust mutex
 * can admit two containers after a fork; never PI, which costs fifty times more under contention.
 */
#include "shm/robust.h"

#include <errno.h>

int tine__robust_init(struct tine__robust *robust)
{
    pthread_mutexattr_t attributes;
    int rc = pthread_mutexattr_init(&attributes);

    if (rc != 0)
        return -rc;
    rc = pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    if (rc == 0)
        rc = pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    if (rc == 0)
        rc = pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_NORMAL);
    if (rc == 0)
        rc = pthread_mutex_init(&robust->mutex, &attributes);
    pthread_mutexattr_destroy(&attributes);
    return -rc;
}

int tine__robust_lock(struct tine__robust *robust, tine__robust_repair *repair, void *context)
{
    int rc = pthread_mutex_lock(&robust->mutex);

    if (rc != EOWNERDEAD)
        return -rc;
    repair(context);
    return -pthread_mutex_consistent(&robust->mutex);
}

void tine__robust_unlock(struct tine__robust *robust)
{
    pthread_mutex_unlock(&robust->mutex);
}
