/* SPDX-License-Identifier: MIT */
#include <tine/error.h>

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/suite.h"

#define LAST_KERNEL_ERRNO 4095

TEST(success_has_a_name)
{
    ck_assert_str_eq(tine_strerror(0), "success");
    ck_assert_str_eq(tine_errname(0), "OK");
    ck_assert_str_eq(tine_errname(123456), "OK");
}

TEST(an_errno_is_known_with_either_sign)
{
    ck_assert_str_eq(tine_errname(-ETIMEDOUT), "ETIMEDOUT");
    ck_assert_str_eq(tine_errname(ETIMEDOUT), "ETIMEDOUT");
    ck_assert_str_eq(tine_strerror(-ETIMEDOUT), "timed out");
}

TEST(aliases_share_one_entry)
{
    ck_assert_str_eq(tine_errname(-EWOULDBLOCK), "EAGAIN");
    ck_assert_str_eq(tine_errname(-EOPNOTSUPP), tine_errname(-ENOTSUP));
}

TEST(what_nothing_returns_is_unknown)
{
    ck_assert_str_eq(tine_errname(-4000), "UNKNOWN");
    ck_assert_str_eq(tine_strerror(-999999), "unknown error");
    ck_assert_str_eq(tine_errname(INT_MIN), "UNKNOWN");
    ck_assert_str_eq(tine_strerror(INT_MIN), "unknown error");
    ck_assert_ptr_nonnull(tine_strerror(INT_MAX));
}

/* Every number from the kernel's first errno to beyond our last code: names and texts are unique.
 */
TEST(no_two_codes_share_a_name_or_a_text)
{
    const int last = 5000;

    for (int a = 1; a < last; a++) {
        if (strcmp(tine_errname(-a), "UNKNOWN") == 0)
            continue;
        ck_assert_msg(tine_strerror(-a)[0] != '\0', "%s has no text", tine_errname(-a));
        for (int b = a + 1; b < last; b++) {
            ck_assert_str_ne(tine_errname(-a), tine_errname(-b));
            if (strcmp(tine_errname(-b), "UNKNOWN") != 0)
                ck_assert_str_ne(tine_strerror(-a), tine_strerror(-b));
        }
    }
}

/* "    TINE_EEOF = -4097, …" → the name and the number; false for other lines. */
static bool parse_code(char *line, const char **name, int *code)
{
    char *start = line + strspn(line, " ");
    size_t length = strcspn(start, " =");

    if (strncmp(start, "TINE_E", 6) != 0 || sscanf(start + length, " = %d", code) != 1)
        return false;
    start[length] = '\0';
    *name = start;
    return true;
}

TEST(every_code_of_the_header_is_in_the_table)
{
    const char *source = getenv("srcdir"), *name;
    char path[512], line[256];
    FILE *header;
    int codes = 0, code;

    snprintf(path, sizeof path, "%s/lib/include/tine/error.h", source == NULL ? "." : source);
    header = fopen(path, "re");
    if (header == NULL)
        SKIP("no source tree: %s", path);
    while (fgets(line, sizeof line, header) != NULL) {
        if (!parse_code(line, &name, &code))
            continue;
        ck_assert_str_eq(tine_errname(code), name);
        ck_assert_msg(code < -LAST_KERNEL_ERRNO, "%s collides with errno", name);
        codes++;
    }
    fclose(header);
    ck_assert_int_gt(codes, 5);
}

SUITE("lib/error")
