/* SPDX-License-Identifier: MIT */
#ifndef TINE_LIB_LOG_H
#define TINE_LIB_LOG_H

#include <stdatomic.h>
#include <stdbool.h>
#include <tine/log.h>

/* Lines above this level are dropped. Higher than any level until the environment has been read. */
extern _Atomic int tine__log_limit;

static inline bool tine__log_wanted(int level)
{
    /* Relaxed: nothing is published with the level; a line too many or too few does no harm. */
    return level <= atomic_load_explicit(&tine__log_limit, memory_order_relaxed);
}

/*
 * One line of the log, without line end. Allocates nothing, takes no lock, keeps errno: usable in a
 * forked child of a threaded program.
 */
#define tine__log(level, ...)                                                                      \
    do {                                                                                           \
        if (tine__log_wanted(level))                                                               \
            tine__log_write(level, __VA_ARGS__);                                                   \
    } while (0)

#define tine__log_error(...)   tine__log(TINE_LOG_ERROR, __VA_ARGS__)
#define tine__log_warning(...) tine__log(TINE_LOG_WARNING, __VA_ARGS__)
#define tine__log_info(...)    tine__log(TINE_LOG_INFO, __VA_ARGS__)
#define tine__log_debug(...)   tine__log(TINE_LOG_DEBUG, __VA_ARGS__)

/* The program's, and its context; NULL: standard error. */
tine_log_sink *tine__log_sink(void **context);

void tine__log_write(int level, const char *format, ...) TINE_PRINTF(2, 3);

#endif
