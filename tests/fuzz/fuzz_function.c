/* SPDX-License-Identifier: MIT */
/*
 * The bytes that name a function, hostile or nearly right: 1 byte that says which fields of a good
 * reference stay, then what the others are. Whatever is found is code of a loaded object.
 */
#include "lib/function.h"

#include <errno.h>
#include <link.h>
#include <stdbool.h>
#include <string.h>

#include <tine/error.h>

#include "tests/fuzz/fuzz.h"

struct search {
    uintptr_t address;
    bool found;
};

static int find_code(struct dl_phdr_info *info, size_t size, void *data)
{
    struct search *search = data;

    (void)size;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &info->dlpi_phdr[i];

        if (part->p_type == PT_LOAD && (part->p_flags & PF_X) != 0 &&
            search->address - info->dlpi_addr - part->p_vaddr < part->p_memsz)
            search->found = true;
    }
    return 0;
}

static void resolve(const void *bytes, size_t size)
{
    tine_any_function *function = NULL;
    int rc = tine__function_resolve(bytes, size, &function);
    struct search search = {.address = (uintptr_t)function};

    if (rc < 0) {
        REQUIRE(function == NULL && (rc == TINE_EFORMAT || rc == -ENOENT));
        return;
    }
    REQUIRE(rc == 0);
    dl_iterate_phdr(find_code, &search);
    REQUIRE(search.found);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tine__function_wire good, wire;

    if (size == 0)
        return 0;
    resolve(data + 1, size - 1);
    REQUIRE(tine__function_describe((tine_any_function *)LLVMFuzzerTestOneInput, &good) == 0);
    wire = good;
    memcpy(&wire, data + 1, size - 1 < sizeof wire ? size - 1 : sizeof wire);
    if (data[0] & 1)
        wire.base = good.base;
    if (data[0] & 2)
        wire.offset = good.offset;
    if (data[0] & 4)
        wire.offset %= UINT64_C(1) << 22;
    if (data[0] & 8)
        wire.id = good.id;
    resolve(&wire, sizeof wire);
    return 0;
}
