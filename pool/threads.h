/* SPDX-License-Identifier: MIT */
#ifndef TINE_POOL_THREADS_H
#define TINE_POOL_THREADS_H

#include <stdbool.h>
#include <stdint.h>

#include "pool/layout.h"

/* The workers of a pool that are threads of the program. */
struct tine__threads;

/*
 * Starts that many; none for a pool whose jobs run in their callers, for which this one is made
 * ready. *ended: a descriptor that is readable when the last has left. 0, -EAGAIN, -ENOMEM,
 * -EMFILE.
 */
int tine__threads_start(struct tine__threads **threads, struct tine__pool_shm *pool, uint32_t count,
                        int *ended);
/* The state of the pool says that it ends; where there are no threads, this one sees to it. */
void tine__threads_leave(struct tine__threads *threads);
/* Have all left? Then what they did has happened; `ended` alone, which the kernel tells, does not
   order it. */
bool tine__threads_left(const struct tine__threads *threads);
/* What the initializer has left for jobs that run in their callers. */
void *tine__threads_state(const struct tine__threads *threads);
/* Closes what need not be kept any more. */
void tine__threads_sweep(struct tine__threads *threads);
/* Keeps a copy of the descriptor under this number, which stands in pool->kept. 0, -EBADF,
   -EMFILE. */
int tine__threads_keep(struct tine__threads *threads, uint64_t number, int fd);
/* A copy of what is kept under this number, or why there is none. */
int tine__threads_fetch(struct tine__threads *threads, uint64_t number, int *fd);
/* Waits for the threads, which leave because the state of the pool says so, and frees all but
   `ended`. */
/* What the thread has used so far; 0 once it has ended. */
uint64_t tine__threads_cpu_ns(struct tine__threads *threads, uint32_t index);
void tine__threads_join(struct tine__threads *threads);

#endif
