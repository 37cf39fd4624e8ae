/* SPDX-License-Identifier: MIT */
/* What the tests of dictionaries share. */
#ifndef TINE_TESTS_SHM_DICT_HELP_H
#define TINE_TESTS_SHM_DICT_HELP_H

#include <tine/dict.h>

#include <inttypes.h>
#include <stdio.h>

#include "shm/dict_impl.h"
#include "tests/shm/heap_help.h"

static inline tine_dict *open_dict(void)
{
    tine_dict *dict;

    ck_assert_ok(tine_dict_open(&dict, NULL));
    return dict;
}

static inline const char *name(uint64_t number)
{
    static _Thread_local char text[32];

    snprintf(text, sizeof text, "key %" PRIu64, number);
    return text;
}

static inline int64_t number_at(tine_dict *dict, const char *key)
{
    int64_t number = 0;

    ck_assert_ok(tine_dict_get(dict, key, "q", &number));
    return number;
}

#endif
