/* SPDX-License-Identifier: MIT */
/*
 * Log: what the library notices and cannot return as a result code.
 *
 * It is off unless the environment says TINE_LOG=error, warning, info or debug (each includes those
 * before it), or the program calls tine_log_set_level. Lines go to standard error, one write each,
 * as "tine[PID] warning: text", or to the program's own sink:
 *
 *     static void to_syslog(int level, const char *text, void *context)
 *     {
 *         syslog(level <= TINE_LOG_WARNING ? LOG_WARNING : LOG_DEBUG, "%s", text);
 *     }
 *     …
 *     tine_log_set_sink(to_syslog, NULL);
 *     tine_log_set_level(TINE_LOG_INFO);
 *
 * Workers and processes inherit level and sink as they were when the pool was opened or the process
 * started. What is no fork of the program (TINE_SPAWN, TINE_FORKSERVER) has the sink if its
 * function lies in the program or a library that both have loaded, and its context is NULL or
 * memory of tine_alloc(); otherwise its lines go to standard error, as do those of the forkserver
 * itself. While off, a log statement costs one load. A process killed while it logs leaves at most
 * half a line.
 */
#ifndef TINE_LOG_H
#define TINE_LOG_H

#include <tine/base.h>

TINE_BEGIN_DECLS

enum {
    TINE_LOG_OFF = 0,
    TINE_LOG_ERROR = 1,   /* a promise could not be kept */
    TINE_LOG_WARNING = 2, /* the program, or its surroundings, should be changed */
    TINE_LOG_INFO = 3,    /* rare events: a worker died, a pool was opened */
    TINE_LOG_DEBUG = 4    /* whatever helps to find a fault */
};

/* Takes one line without line end. `text` is borrowed for the call. It may not call tine. */
typedef void tine_log_sink(int level, const char *text, void *context);

/**
 * tine_log_set_sink - choose where log lines go
 *
 * In:      sink     called for each line, in the thread and process that logs; kept until replaced;
 *                   NULL for standard error
 *          context  handed to the sink; kept as long as it
 * Out:     none
 * Shape:   one line a call, at most 1023 bytes, without line end
 * Units:   none
 * Returns: nothing
 * Handle:  none
 * Give up: none
 * Blocks:  no
 * Safety:  thread one | process owner | fork child may call | signal no
 * Death:   none
 * Source:  lib/log.c; follows the log sinks of libnbd and nng; differs: a sink runs in forked
 *          workers too, so it may use only what is safe there
 * Since:   0.1
 */
TINE_API void tine_log_set_sink(tine_log_sink *sink, void *context);

/**
 * tine_log_set_level - choose how much is logged, in place of the environment's TINE_LOG
 *
 * In:      level  TINE_LOG_OFF … TINE_LOG_DEBUG; a lower number is taken for off, a higher for
 *                 debug
 * Out:     none
 * Shape:   none
 * Units:   none
 * Returns: the level before the call
 * Handle:  none
 * Give up: none
 * Blocks:  no
 * Safety:  thread any | process owner | fork child may call | signal no
 * Death:   none
 * Source:  lib/log.c; follows multiprocessing.log_to_stderr of Python; differs: off by default
 * Since:   0.1
 */
TINE_API int tine_log_set_level(int level);

TINE_END_DECLS

#endif
