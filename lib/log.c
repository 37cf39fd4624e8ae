/* SPDX-License-Identifier: MIT */
/*
 * The log: a level, a sink, one line a write. Level and sink are the only state; the level is read
 * from the environment at the first line that wants to be logged, and by whoever comes first: all
 * find the same. Nothing here allocates or locks, so a forked child may log.
 */
#include "lib/log.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define UNREAD INT_MAX

/* What a sink may be given, end included; a longer text is cut. */
#define TEXT_SIZE 1024

_Atomic int tine__log_limit = UNREAD;

static void to_stderr(int level, const char *text, void *context);

/* Written by tine_log_set_sink alone, which the program calls while no other thread logs. */
static tine_log_sink *current_sink = to_stderr;
static void *sink_context;

static const char *const level_names[] = {"off", "error", "warning", "info", "debug"};

static void to_stderr(int level, const char *text, void *context)
{
    char line[TEXT_SIZE + 64];
    int length =
        snprintf(line, sizeof line, "tine[%d] %s: %s\n", (int)getpid(), level_names[level], text);

    (void)context;
    /* One write, so that lines of different processes do not mix; who has no stderr has no log. */
    if (write(STDERR_FILENO, line, (size_t)length) < 0)
        return;
}

/* TINE_LOG_… for a name, or -1. */
static int level_of(const char *name)
{
    for (int level = TINE_LOG_OFF; level <= TINE_LOG_DEBUG; level++)
        if (strcmp(name, level_names[level]) == 0)
            return level;
    return -1;
}

/* Takes TINE_LOG unless the level stands already. A wrong value is said once: it asked for a log.
 */
static void read_environment(void)
{
    const char *name = secure_getenv("TINE_LOG");
    bool given = name != NULL && name[0] != '\0';
    int level = given ? level_of(name) : TINE_LOG_OFF, unread = UNREAD;

    if (!atomic_compare_exchange_strong(&tine__log_limit, &unread,
                                        level < 0 ? TINE_LOG_OFF : level))
        return;
    if (level < 0) {
        char text[128];

        snprintf(text, sizeof text, "TINE_LOG=%.32s is none of off, error, warning, info, debug",
                 name);
        current_sink(TINE_LOG_WARNING, text, sink_context);
    }
}

void tine__log_write(int level, const char *format, ...)
{
    int saved_errno = errno;
    char text[TEXT_SIZE];
    va_list arguments;

    if (atomic_load_explicit(&tine__log_limit, memory_order_relaxed) == UNREAD)
        read_environment();
    if (tine__log_wanted(level)) {
        va_start(arguments, format);
        vsnprintf(text, sizeof text, format, arguments);
        va_end(arguments);
        current_sink(level, text, sink_context);
    }
    errno = saved_errno;
}

tine_log_sink *tine__log_sink(void **context)
{
    *context = sink_context;
    return current_sink == to_stderr ? NULL : current_sink;
}

void tine_log_set_sink(tine_log_sink *sink, void *context)
{
    current_sink = sink == NULL ? to_stderr : sink;
    sink_context = context;
}

int tine_log_set_level(int level)
{
    if (level < TINE_LOG_OFF)
        level = TINE_LOG_OFF;
    if (level > TINE_LOG_DEBUG)
        level = TINE_LOG_DEBUG;
    if (atomic_load_explicit(&tine__log_limit, memory_order_relaxed) == UNREAD)
        read_environment();
    return atomic_exchange_explicit(&tine__log_limit, level, memory_order_relaxed);
}
