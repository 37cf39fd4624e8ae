/* SPDX-License-Identifier: MIT */
/*
 * Handles as values, put together and taken apart. What was taken is noted in the context's list,
 * by the number of its first descriptor, because unpacking asks twice; whoever has the context
 * closes it, or hands it over. Owned by one thread; nothing is shared.
 */
#include "lib/handle.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <tine/error.h>

#include "lib/codec.h"

_Static_assert(sizeof(struct tine__handle_wire) == 72, "no padding");

struct tine__taken {
    struct tine__taken *next;
    const struct tine__handle_kind *kind;
    uint64_t number;
    void *handle;
};

static const struct tine__handle_kind *kind_of(const struct tine__descriptors *descriptors,
                                               char letter)
{
    const struct tine__handle_kind *const *kind =
        descriptors == NULL ? NULL : descriptors->handle_kinds;

    while (kind != NULL && *kind != NULL && (*kind)->letter != letter)
        kind++;
    return kind != NULL ? *kind : NULL;
}

int tine__handle_pack(struct tine__descriptors *descriptors, char letter, const void *handle,
                      struct tine__handle_wire *wire)
{
    const struct tine__handle_kind *kind = kind_of(descriptors, letter);
    struct tine__handle_parts parts = {.fd_count = 0};
    int rc = kind == NULL ? -EINVAL : kind->give(handle, &parts);

    memset(wire, 0, sizeof *wire);
    wire->letter = (uint8_t)letter;
    for (uint32_t i = 0; i < parts.fd_count && rc == 0; i++)
        rc = descriptors->keep(descriptors, parts.fds[i], &wire->numbers[i]);
    if (rc < 0)
        return rc;
    wire->fd_count = (uint8_t)parts.fd_count;
    memcpy(wire->words, parts.words, sizeof wire->words);
    return 0;
}

/* ---- unpacking ------------------------------------------------------------------------------- */

static bool is_well_formed(const struct tine__handle_wire *wire, char letter)
{
    static const uint8_t zeros[sizeof wire->unused];

    return wire->letter == (uint8_t)letter && wire->fd_count > 0 &&
           wire->fd_count <= TINE__HANDLE_FDS && memcmp(wire->unused, zeros, sizeof zeros) == 0;
}

static int take(struct tine__descriptors *descriptors, const struct tine__handle_kind *kind,
                const struct tine__handle_wire *wire, void **handle)
{
    struct tine__handle_parts parts = {.fd_count = wire->fd_count};
    int rc = 0;

    memcpy(parts.words, wire->words, sizeof parts.words);
    for (uint32_t i = 0; i < parts.fd_count && rc == 0; i++)
        rc = descriptors->borrow(descriptors, wire->numbers[i], &parts.fds[i]);
    return rc < 0 ? rc : kind->take(&parts, handle);
}

static int take_anew(struct tine__descriptors *descriptors, const struct tine__handle_kind *kind,
                     const struct tine__handle_wire *wire, struct tine__taken **taken)
{
    struct tine__taken *made = malloc(sizeof *made);
    int rc;

    if (made == NULL)
        return -ENOMEM;
    *made =
        (struct tine__taken){.next = descriptors->taken, .kind = kind, .number = wire->numbers[0]};
    rc = take(descriptors, kind, wire, &made->handle);
    if (rc < 0) {
        free(made);
        return rc;
    }
    descriptors->taken = *taken = made;
    return 0;
}

int tine__handle_unpack(struct tine__descriptors *descriptors, char letter, const void *bytes,
                        size_t size, void **handle)
{
    const struct tine__handle_kind *kind = kind_of(descriptors, letter);
    struct tine__handle_wire wire;
    struct tine__taken *taken;
    int rc;

    if (kind == NULL)
        return -EINVAL;
    if (size != sizeof wire)
        return TINE_EFORMAT;
    memcpy(&wire, bytes, sizeof wire);
    if (!is_well_formed(&wire, letter))
        return TINE_EFORMAT;
    for (taken = descriptors->taken; taken != NULL; taken = taken->next)
        if (taken->number == wire.numbers[0])
            break;
    if (taken != NULL && taken->kind != kind)
        return TINE_EFORMAT;
    rc = taken != NULL ? 0 : take_anew(descriptors, kind, &wire, &taken);
    if (rc == 0)
        *handle = taken->handle;
    return rc;
}

static void forget(struct tine__descriptors *descriptors, bool with_close)
{
    struct tine__taken *next;

    for (struct tine__taken *taken = descriptors->taken; taken != NULL; taken = next) {
        next = taken->next;
        if (with_close)
            taken->kind->close(taken->handle);
        free(taken);
    }
    descriptors->taken = NULL;
}

void tine__handles_hand_over(struct tine__descriptors *descriptors)
{
    forget(descriptors, false);
}

void tine__handles_close(struct tine__descriptors *descriptors)
{
    forget(descriptors, true);
}
