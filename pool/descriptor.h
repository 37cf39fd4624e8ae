/* SPDX-License-Identifier: MIT */
/* Descriptors as arguments of a task; pool/descriptor.c tells their way. */
#ifndef TINE_POOL_DESCRIPTOR_H
#define TINE_POOL_DESCRIPTOR_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/codec.h"
#include "pool/layout.h"

#define TINE__CALL_DESCRIPTORS_MAX 16

/* The numbers of one call's descriptors. */
struct tine__numbers {
    uint64_t count;
    uint64_t at[TINE__CALL_DESCRIPTORS_MAX];
};

/* A copy, to be used when the job may be gone. */
void tine__numbers_of(const struct tine__job_shm *job, struct tine__numbers *numbers);
/* The nursery need not keep them any more. Was one still kept? Then it wants to be nudged. */
bool tine__numbers_release(struct tine__pool_shm *pool, const struct tine__numbers *numbers);

/* ---- the program's side: `F` while a call's arguments are packed ----------------------------- */

struct tine__keeping {
    struct tine__descriptors hooks;
    struct tine_pool *pool;
    struct tine__numbers numbers;
};

void tine__keeping_begin(struct tine__keeping *keeping, struct tine_pool *pool);
/* The call is not made after all. */
void tine__keeping_drop(struct tine__keeping *keeping);

/* ---- a worker's side: `F` while a task takes its arguments ----------------------------------- */

struct tine__fetched {
    struct tine__descriptors hooks;
    int control;                   /* socket, to the nursery; or -1, and */
    struct tine__threads *threads; /* these, who keep them */
    uint32_t count;
    struct {
        uint64_t number;
        int fd;
    } got[TINE__CALL_DESCRIPTORS_MAX];
};

void tine__fetched_init(struct tine__fetched *fetched, int control);
/* Closes what the task was given. */
void tine__fetched_close(struct tine__fetched *fetched);
/* By its worker: completes a call, whose descriptors are let go of after the end, for until then it
   may
 * have to run again. */
void tine__job_end_call(struct tine__pool_shm *pool, struct tine__job_shm *job,
                        const struct tine__fetched *fetched);

/* ---- the nursery's side ---------------------------------------------------------------------- */

struct tine__kept {
    uint32_t count;
    struct {
        uint64_t number; /* 0: none */
        int fd;          /* or why there is none */
    } at[TINE__KEPT_MAX];
};

/* From now on fd is kept, or closed if it is not wanted any more; negative: why it did not come. */
void tine__kept_add(struct tine__kept *kept, const struct tine__pool_shm *pool, uint64_t number,
                    int fd);
/* What is kept under this number, or why there is none. */
int tine__kept_find(const struct tine__kept *kept, uint64_t number);
/* Closes what was released. */
void tine__kept_sweep(struct tine__kept *kept, const struct tine__pool_shm *pool);
/* In a newborn worker: they are not its own. */
void tine__kept_close(const struct tine__kept *kept);
/* Answers what a worker has asked on its control socket; false: that socket is of no use any
   more. */
bool tine__kept_answer(const struct tine__kept *kept, int control);

#endif
