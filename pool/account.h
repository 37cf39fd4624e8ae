/* SPDX-License-Identifier: MIT */
#ifndef TINE_POOL_ACCOUNT_H
#define TINE_POOL_ACCOUNT_H

#include <stdint.h>
#include <sys/resource.h>

#include "pool/layout.h"

/* ---- the program's side ---------------------------------------------------------------------- */

/* Begins the account of a job, at a place behind it, when it is submitted. */
void tine__account_open(struct tine__job_shm *job, uint64_t place);

/* ---- a worker's side: of jobs that have an account ------------------------------------------- */

/* Before and after a part of the job; the latter before the part is marked done. */
void tine__account_begin(struct tine__job_shm *job, bool thread, int64_t *cpu_ns);
void tine__account_end(struct tine__job_shm *job, bool thread, int64_t cpu_ns);

/* ---- the nursery's side ---------------------------------------------------------------------- */

int64_t tine__account_cpu_ns(const struct rusage *usage);
/* What a worker has used in all, when it is dead. */
void tine__account_worker(struct tine__pool_shm *pool, const struct rusage *usage);
/* A dead worker's part of the job has ended. */
void tine__account_settle(struct tine__job_shm *job);

#endif
