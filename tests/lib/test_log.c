/* SPDX-License-Identifier: MIT */
#include "lib/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/support/children.h"
#include "tests/support/suite.h"

struct capture {
    int lines;
    int level;
    char text[2048];
};

static void capture_line(int level, const char *text, void *context)
{
    struct capture *capture = context;

    capture->lines++;
    capture->level = level;
    snprintf(capture->text, sizeof capture->text, "%s", text);
}

TEST(nothing_is_logged_by_default)
{
    struct capture capture = {.lines = 0};

    unsetenv("TINE_LOG");
    tine_log_set_sink(capture_line, &capture);
    tine__log_error("lost");
    ck_assert_int_eq(capture.lines, 0);
    ck_assert(!tine__log_wanted(TINE_LOG_ERROR));
}

TEST(the_environment_sets_the_level, .loop_end = 5)
{
    static const char *const names[] = {"off", "error", "warning", "info", "debug"};
    struct capture capture = {.lines = 0};

    setenv("TINE_LOG", names[loop_index], 1);
    tine_log_set_sink(capture_line, &capture);
    tine__log_error("1");
    tine__log_warning("2");
    tine__log_info("3");
    tine__log_debug("4");
    ck_assert_int_eq(capture.lines, loop_index);
    ck_assert_int_eq(capture.level, loop_index);
}

TEST(an_unknown_level_is_reported_once_and_logs_nothing)
{
    struct capture capture = {.lines = 0};

    setenv("TINE_LOG", "loud", 1);
    tine_log_set_sink(capture_line, &capture);
    tine__log_error("first");
    tine__log_error("second");
    ck_assert_int_eq(capture.lines, 1);
    ck_assert_int_eq(capture.level, TINE_LOG_WARNING);
    ck_assert_str_eq(capture.text, "TINE_LOG=loud is none of off, error, warning, info, debug");
}

TEST(an_empty_level_is_off_without_a_word)
{
    struct capture capture = {.lines = 0};

    setenv("TINE_LOG", "", 1);
    tine_log_set_sink(capture_line, &capture);
    tine__log_error("lost");
    ck_assert_int_eq(capture.lines, 0);
}

TEST(the_program_overrides_the_environment)
{
    struct capture capture = {.lines = 0};

    setenv("TINE_LOG", "error", 1);
    tine_log_set_sink(capture_line, &capture);
    ck_assert_int_eq(tine_log_set_level(TINE_LOG_DEBUG), TINE_LOG_ERROR);
    tine__log_debug("%s %d", "value", 7);
    ck_assert_str_eq(capture.text, "value 7");
    ck_assert_int_eq(tine_log_set_level(TINE_LOG_OFF), TINE_LOG_DEBUG);
    tine__log_error("lost");
    ck_assert_int_eq(capture.lines, 1);
}

TEST(levels_beyond_the_range_are_clamped)
{
    tine_log_set_level(1000);
    ck_assert_int_eq(tine_log_set_level(-1000), TINE_LOG_DEBUG);
    ck_assert_int_eq(tine_log_set_level(TINE_LOG_INFO), TINE_LOG_OFF);
}

TEST(a_long_text_is_cut)
{
    static struct capture capture;
    static char text[3000];

    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    tine_log_set_sink(capture_line, &capture);
    tine_log_set_level(TINE_LOG_ERROR);
    tine__log_error("%s", text);
    ck_assert_uint_eq(strlen(capture.text), 1023);
}

TEST(errno_is_kept)
{
    tine_log_set_level(TINE_LOG_ERROR);
    close(STDERR_FILENO);
    errno = ERANGE;
    tine__log_error("nobody hears it");
    ck_assert_int_eq(errno, ERANGE);
    ck_assert_int_eq(dup2(STDOUT_FILENO, STDERR_FILENO), STDERR_FILENO);
}

static void log_in_child(void *unused)
{
    (void)unused;
    tine__log_warning("from a child");
}

TEST(stderr_lines_name_the_process_that_logs)
{
    char line[256] = "", expected[256];
    int ends[2], saved = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0);
    struct child child;
    pid_t pid;

    ck_assert_int_eq(pipe(ends), 0);
    ck_assert_int_ge(dup2(ends[1], STDERR_FILENO), 0);
    tine_log_set_sink(NULL, NULL);
    tine_log_set_level(TINE_LOG_WARNING);
    child = child_start(log_in_child, NULL);
    pid = child.pid;
    child_join(&child);
    ck_assert_int_ge(dup2(saved, STDERR_FILENO), 0);
    ck_assert_int_gt(read(ends[0], line, sizeof line - 1), 0);
    snprintf(expected, sizeof expected, "tine[%d] warning: from a child\n", (int)pid);
    ck_assert_str_eq(line, expected);
    close(saved);
    close(ends[0]);
    close(ends[1]);
}

SUITE("lib/log")
