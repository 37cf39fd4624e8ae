/* SPDX-License-Identifier: MIT */
#ifndef TINE_SHM_HEAP_H
#define TINE_SHM_HEAP_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Makes the family heap, once per family; the first allocation does it as well. 0, -EINVAL for a
 * bad TINE_HEAP_SIZE, -EADDRINUSE, -ENOMEM, -EMFILE, -ENFILE. After a failure the next call tries
 * again. */
int tine__heap_open(void);

/*
 * In a program that was executed by a process of the family: maps that family's heap, before
 * anything else has made one. The file stays the caller's. 0, -EADDRINUSE (another heap, or
 * something else, is there), -EPROTO (no heap, or another version's), -ENOMEM, -EMFILE.
 */
int tine__heap_adopt(int fd);

/*
 * In a forked child that is not to have it: the heap is no longer mapped. Its file is still open:
 * the caller closes all descriptors that it does not know.
 */
void tine__heap_leave(void);

/* Does the range lie in pages that the heap has handed out or could hand out? */
bool tine__heap_contains(const void *pointer, size_t size);
uint64_t tine__heap_offset(const void *pointer); /* of a contained pointer, from the heap's base */
void *tine__heap_pointer(uint64_t offset);       /* NULL unless the heap contains it */

/* The heap's file, or -EBADF: the program has closed it. */
int tine__heap_file(void);
bool tine__heap_is_file(int fd); /* or another descriptor of that file */
/* A word of the family's, 0 at first, for the address of what that holds; the heap is open. */
enum { TINE__ROOT_KEPT = 0, TINE__ROOT_WATCHES = 1, TINE__ROOT_BUDGET = 2 };
_Atomic uint64_t *tine__heap_root(int which);

/* This process's row in the family's table of processes: >= 0, or -ENOLCK, -ENOMEM. */
int tine__owner_self(void);
bool tine__owner_alive(uint32_t row);
/* Releases what dead processes held: their slabs and runs in transit, their rows. */
int tine__owner_sweep_dead(void);
/* The same for one process that the caller has reaped. */
int tine__heap_sweep_process(pid_t pid);

#endif
