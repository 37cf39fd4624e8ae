/* SPDX-License-Identifier: MIT */
/*
 * What a process of the forkserver's has of its starter as that is at the start, as a fork of it
 * would: working directory, standard streams, umask, environment, resource limits, niceness, CPUs,
 * signal mask. An executed one has them by itself.
 */
#ifndef TINE_POOL_SURROUNDINGS_H
#define TINE_POOL_SURROUNDINGS_H

#include "lib/codec.h"
#include "pool/launch.h"

/* ---- the starter's side ---------------------------------------------------------------------- */

/* Appends the environment, each string with its end. Nobody may change it meanwhile, as for
   getenv(). */
int tine__environment_pack(tine_buffer *buffer);
/* All else. The working directory's descriptor, to be closed when it has been sent; -EMFILE and the
   like. */
int tine__surroundings_pack(struct tine__luggage *luggage, struct tine__process_shm *shared);

/* ---- the process's side ---------------------------------------------------------------------- */

/* All but the limits; their descriptors are taken. 0 or a negative code. */
int tine__surroundings_take(const struct tine__process_shm *shared, const int *fds);
/* Last, for what they forbid may be needed to get ready. */
int tine__surroundings_limit(const struct tine__process_shm *shared);

#endif
