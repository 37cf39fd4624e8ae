/* SPDX-License-Identifier: MIT */
/* Shareable lists with the name of the test. */
#ifndef TINE_TESTS_SHM_SHAREABLE_HELP_H
#define TINE_TESTS_SHM_SHAREABLE_HELP_H

#include <tine/shareable_list.h>

#include <tine/codec.h>

#include <string.h>

#include "tests/support/leaks.h"
#include "tests/support/suite.h"
#include "tests/support/wait.h"

static inline const char *name_of(const char *what)
{
    return leaks_shm_name(what) + 1;
}

static inline tine_shareable_list *create(const tine_shareable_item *items, size_t n)
{
    tine_shareable_list *list;

    ck_assert_rc(tine_shareable_list_create(&list, name_of("l"), items, n, NULL), 0);
    return list;
}

static inline tine_shareable_list *attach(void)
{
    tine_shareable_list *list;

    ck_assert_rc(tine_shareable_list_attach(&list, name_of("l"), NULL), 0);
    return list;
}

static inline void detach(tine_shareable_list *list)
{
    ck_assert_rc(tine_shareable_list_detach(list), 0);
}

static inline void end(tine_shareable_list *list)
{
    ck_assert_rc(tine_shm_unlink(tine_shareable_list_shm(list)), 0);
    detach(list);
}

static inline bool same(const tine_shareable_item *a, const tine_shareable_item *b)
{
    if (a->type != b->type || a->size != b->size)
        return false;
    switch (a->type) {
    case TINE_SHAREABLE_BOOL:
        return a->value.boolean == b->value.boolean;
    case TINE_SHAREABLE_INT:
        return a->value.integer == b->value.integer;
    case TINE_SHAREABLE_FLOAT:
        return memcmp(&a->value.number, &b->value.number, sizeof(double)) == 0;
    case TINE_SHAREABLE_STR:
    case TINE_SHAREABLE_BYTES:
        return memcmp(a->value.bytes, b->value.bytes, a->size) == 0;
    default:
        return true;
    }
}

static inline void assert_item(const tine_shareable_list *list, size_t index,
                               const tine_shareable_item *wanted)
{
    tine_buffer buffer = {0};
    tine_shareable_item item;

    ck_assert_rc(tine_shareable_list_get(list, index, &buffer, &item), 0);
    ck_assert_msg(same(&item, wanted), "item %zu: type %d, %zu bytes", index, item.type, item.size);
    if (item.type >= TINE_SHAREABLE_STR)
        ck_assert_int_eq(((const char *)item.value.bytes)[item.size], '\0');
    tine_buffer_free(&buffer);
}

#endif
