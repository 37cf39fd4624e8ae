/* SPDX-License-Identifier: MIT */
/* The object files that this process has loaded: which one has a piece of code, and where it
   lies. */
#ifndef TINE_LIB_OBJECTS_H
#define TINE_LIB_OBJECTS_H

#include <link.h>
#include <stddef.h>
#include <stdint.h>

/* What tells an object file from all others; doc/wire.md has it. */
enum {
    TINE__OBJECT_NAMELESS = 0, /* nothing does, but the base */
    TINE__OBJECT_BUILD_ID = 1,
    TINE__OBJECT_FILE = 2, /* device, inode, size, time in ns of the last change: the linker left
                              no id */
};

struct tine__object_id {
    uint8_t kind;
    uint8_t size; /* of bytes; those behind are 0 */
    uint8_t unused[6];
    uint8_t bytes[32];
};

/* One executable segment of an object. */
struct tine__object {
    struct tine__object_id id;
    uint64_t base;       /* to which its own addresses are added */
    uint64_t begin, end; /* of the segment, such addresses */
    uint64_t proof_at;   /* bytes of it in memory that another object would not have there */
    uint32_t proof_size; /* 0: none is needed, or to be had */
    uint8_t proof[32];
};

/*
 * Finds the segment that an address lies in, or that has this offset in the object with this id; of
 * several such objects that at `base` is preferred. 0, -ENOENT (there is none), -ENOMEM,
 * -ENOTSUP (none is known, and in a fork without /proc none can be looked for).
 */
int tine__object_at(uint64_t address, struct tine__object *object);
int tine__object_with(const struct tine__object_id *id, uint64_t base, uint64_t offset,
                      struct tine__object *object);

/* Before a fork: the child then knows them without asking. Nothing depends on it but time. */
void tine__objects_note(void);
/* Before /proc is lost: what has been loaded by now will be known. */
void tine__objects_learn(void);

/*
 * dl_iterate_phdr as the kernel knows the objects, without the loader's lock: name, base and
 * program headers. 0, or the first other value that `look` returned; -ENOSYS without /proc.
 */
int tine__mapped_objects(int (*look)(struct dl_phdr_info *info, size_t size, void *data),
                         void *data);

#endif
