/* SPDX-License-Identifier: MIT */
/* Who is told when a thread sleeps; see lib/asleep.h. */
#include "lib/asleep.h"

tine__asleep_hook *_Atomic tine__asleep;
