/* SPDX-License-Identifier: MIT */
/*
 * What every public header needs: the export mark and a few attributes.
 *
 * Nothing here is an API of its own. The macros expand to nothing where the compiler lacks them.
 */
#ifndef TINE_BASE_H
#define TINE_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define TINE_API                     __attribute__((visibility("default")))
#define TINE_CHECKED                 __attribute__((warn_unused_result))
#define TINE_PRINTF(text, first)     __attribute__((format(printf, text, first)))
#else
#define TINE_API
#define TINE_CHECKED
#define TINE_PRINTF(text, first)
#endif

#ifdef __cplusplus
#define TINE_BEGIN_DECLS extern "C" {
#define TINE_END_DECLS   }
#else
#define TINE_BEGIN_DECLS
#define TINE_END_DECLS
#endif

#endif
