/* SPDX-License-Identifier: MIT */
#include <tine/version.h>

#include "tests/support/suite.h"

TEST(the_library_is_the_one_of_its_headers)
{
    ck_assert_str_eq(tine_version(), TINE_VERSION);
}

SUITE("lib/version")
