/* SPDX-License-Identifier: MIT */
#include <tine/version.h>

const char *tine_version(void)
{
    return TINE_VERSION;
}
