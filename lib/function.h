/* SPDX-License-Identifier: MIT */
/*
 * Functions as values: which function it is, in bytes that every process of the family understands
 * that has its object file loaded, wherever that lies there. The letter `c` (lib/codec.h) does all
 * this for values; doc/wire.md has the bytes.
 */
#ifndef TINE_LIB_FUNCTION_H
#define TINE_LIB_FUNCTION_H

#include <stddef.h>
#include <stdint.h>

#include <tine/codec.h>

#include "lib/objects.h"

struct tine__function_wire {
    uint64_t base;   /* of the object in the sender: of two with the same id, that one is meant */
    uint64_t offset; /* from the base */
    struct tine__object_id id;
};

/*
 * 0, -EINVAL (no code of a loaded object), -ENOMEM. Never waits for a lock that a fork left taken,
 * nor does the other.
 */
int tine__function_describe(tine_any_function *function, struct tine__function_wire *wire);

/*
 * The function that bytes from inside the family name: always one in the code of an object that
 * this process has. 0, TINE_EFORMAT (no such bytes), -ENOENT (that object is not loaded here, or is
 * another build of it), -ENOMEM.
 */
int tine__function_resolve(const void *bytes, size_t size, tine_any_function **function);

/*
 * Where a process that does not have the function's object finds it: *path is the caller's to free;
 * NULL: it is the program itself, or its file is gone. 0, -ENOMEM.
 */
int tine__function_path(tine_any_function *function, char **path);
/* tine__function_resolve(), for which an object that is missing is loaded from its path ("":
   none). */
int tine__function_load(const struct tine__function_wire *wire, const char *path,
                        tine_any_function **function);

#endif
