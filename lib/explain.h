/* SPDX-License-Identifier: MIT */
#ifndef TINE_LIB_EXPLAIN_H
#define TINE_LIB_EXPLAIN_H

#include <stddef.h>

/*
 * Where the arguments of a call, an array, do not fit this format, in words. Leaves `text` empty
 * where heads and numbers do fit: then it is what they stand for that is not there.
 */
void tine__explain_arguments(const void *bytes, size_t size, const char *format, char *text,
                             size_t room);

#endif
