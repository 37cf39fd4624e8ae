/* SPDX-License-Identifier: MIT */
/* Functions as values; lib/objects.c knows the objects. No state. */
#include "lib/function.h"

#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <tine/error.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the bytes are those of the struct");
_Static_assert(sizeof(struct tine__function_wire) == 56, "no padding");

int tine__function_describe(tine_any_function *function, struct tine__function_wire *wire)
{
    uint64_t address = (uint64_t)(uintptr_t)function;
    struct tine__object object;
    int rc = tine__object_at(address, &object);

    if (rc < 0)
        return rc == -ENOENT ? -EINVAL : rc;
    *wire = (struct tine__function_wire){
        .base = object.base, .offset = address - object.base, .id = object.id};
    return 0;
}

static bool is_zero(const uint8_t *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (bytes[i] != 0)
            return false;
    return true;
}

static bool is_id(const struct tine__object_id *id)
{
    if (id->size > sizeof id->bytes || !is_zero(id->unused, sizeof id->unused) ||
        !is_zero(id->bytes + id->size, sizeof id->bytes - id->size))
        return false;
    switch (id->kind) {
    case TINE__OBJECT_NAMELESS:
        return id->size == 0;
    case TINE__OBJECT_BUILD_ID:
        return id->size > 0;
    case TINE__OBJECT_FILE:
        return id->size == sizeof id->bytes;
    default:
        return false;
    }
}

int tine__function_resolve(const void *bytes, size_t size, tine_any_function **function)
{
    struct tine__function_wire wire;
    struct tine__object object;
    int rc;

    if (size != sizeof wire)
        return TINE_EFORMAT;
    memcpy(&wire, bytes, sizeof wire);
    if (!is_id(&wire.id))
        return TINE_EFORMAT;
    rc = tine__object_with(&wire.id, wire.base, wire.offset, &object);
    if (rc == 0)
        *function = (tine_any_function *)(uintptr_t)(object.base + wire.offset);
    return rc;
}

int tine__function_path(tine_any_function *function, char **path)
{
    struct link_map *map = NULL;
    Dl_info info;

    *path = NULL;
    if (dladdr1((const void *)(uintptr_t)function, &info, (void **)&map, RTLD_DL_LINKMAP) == 0 ||
        map == NULL || map->l_name[0] == '\0')
        return 0;
    *path = realpath(map->l_name, NULL);
    return *path == NULL && errno == ENOMEM ? -ENOMEM : 0;
}

int tine__function_load(const struct tine__function_wire *wire, const char *path,
                        tine_any_function **function)
{
    int rc = tine__function_resolve(wire, sizeof *wire, function);

    if (rc == -ENOENT && path[0] != '\0' && dlopen(path, RTLD_NOW | RTLD_GLOBAL) != NULL)
        rc = tine__function_resolve(wire, sizeof *wire, function);
    return rc;
}
