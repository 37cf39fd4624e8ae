/* SPDX-License-Identifier: MIT */
#include "tests/support/suite.h"

#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/sys.h"
#include "tests/support/leaks.h"
#include "tests/support/random.h"
#include "tests/support/samples.h"
#include "tests/support/verdict.h"
#include "tests/support/watchdog.h"

#define TIMEOUT_S 20
/* Of a machine that has others to serve as well. It only takes longer until a hang is told. */
#define BUSY    3
#define SKIPPED 77
/* The watchdog speaks after this part of a test's time. */
#define WATCH_PART 0.8

static struct test *first_test, **next_test = &first_test;
static const struct test *current;
static pid_t test_process;
static void (*before_test)(void), (*after_test)(void);

/* libcheck's own functions, behind the macros that redirect its assertions to here. */
#undef _ck_assert_failed
#undef _mark_point

void suite_add(struct test *test)
{
    *next_test = test;
    next_test = &test->next;
}

const struct test *suite_current(void)
{
    return current;
}

double suite_slowness(void)
{
    const char *given = getenv("CK_TIMEOUT_MULTIPLIER");
    double factor = given == NULL ? 1 : strtod(given, NULL);

    return factor < 1 ? 1 : factor;
}

bool suite_under_tsan(void)
{
#if defined(__SANITIZE_THREAD__) /* gcc */
    return true;
#elif defined(__has_feature) /* clang */
    return __has_feature(thread_sanitizer);
#else
    return false;
#endif
}

bool suite_under_valgrind(void)
{
    const char *preload = getenv("LD_PRELOAD");

    return preload != NULL && strstr(preload, "/vgpreload_") != NULL;
}

/* A failing descendant says what and ends; in the test itself, libcheck records it. */
void suite_failed(const char *file, int line, const char *expression, const char *format, ...)
{
    char text[1024];
    const char *first;
    va_list arguments;

    va_start(arguments, format);
    if (format != NULL)
        vsnprintf(text, sizeof text, format, arguments);
    else
        snprintf(text, sizeof text, "%s", expression);
    va_end(arguments);
    if (getpid() != test_process) {
        verdict_fail(file, line, text);
        _exit(VERDICT_FAILED);
    }
    first = verdict_text();
    _ck_assert_failed(file, line, expression, "%s%s%s", text,
                      first == NULL ? "" : "; before that, ", first == NULL ? "" : first);
}

/* Each mark is a write to libcheck's file: a loop of assertions makes one, not millions. */
void suite_mark(const char *file, int line)
{
    static const char *last_file;
    static int last_line;

    if (tine__sys_gettid() != test_process || (line == last_line && file == last_file))
        return;
    last_file = file;
    last_line = line;
    _mark_point(file, line);
}

void suite_skip(const char *format, ...)
{
    va_list arguments;

    verdict_count_skip();
    printf("skipped %s: ", current->name);
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    printf("\n");
    fflush(stdout);
}

/* libcheck lets its handlers for these be inherited; they would kill the whole group. */
static void reset_signals(void)
{
    signal(SIGALRM, SIG_DFL);
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
}

static double seconds(const struct test *test)
{
    double usual = BUSY * (test->timeout_s == 0 ? TIMEOUT_S : test->timeout_s);
    double more = test->kills == 0 ? 1 : (double)kills_wanted(test->kills) / test->kills;

    return more < 1 ? usual : usual * more;
}

static void begin(const struct test *test)
{
    current = test;
    test_process = getpid();
    verdict_reset();
    verdict_count_run();
    reset_signals();
    random_restart(test->name);
    watchdog_watch(test->name, seconds(test) * suite_slowness() * WATCH_PART);
    if (before_test != NULL)
        before_test();
    leaks_begin();
}

static void end(const struct test *test)
{
    const char *failure = verdict_text();

    if (failure != NULL)
        _ck_assert_failed(__FILE__, __LINE__, "Failed", "%s", failure);
    if (after_test != NULL)
        after_test();
    leaks_end(test->own_signals, test->may_orphan);
    watchdog_rest();
}

/* Not a checked fixture of libcheck's: that knows neither the test nor its options. */
void suite_run(const struct test *test, int loop_index)
{
    begin(test);
    if (test->exempt != NULL)
        suite_skip("%s", test->exempt);
    else
        test->body(loop_index);
    end(test);
}

void suite_exempt(const char *name, const char *reason)
{
    struct test *test = first_test;

    while (test != NULL && strcmp(test->name, name) != 0)
        test = test->next;
    if (test == NULL) {
        fprintf(stderr, "no test is called %s\n", name);
        exit(EXIT_FAILURE);
    }
    test->exempt = reason;
}

void suite_around(void (*before)(void), void (*after)(void))
{
    before_test = before;
    after_test = after;
}

static bool is_wanted(const struct test *test, int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], test->name) == 0)
            return true;
    return argc < 2;
}

static Suite *build(const char *title, int argc, char **argv)
{
    Suite *suite = suite_create(title);

    for (const struct test *test = first_test; test != NULL; test = test->next) {
        TCase *tcase;

        if (!is_wanted(test, argc, argv))
            continue;
        tcase = tcase_create(test->name);
        tcase_set_timeout(tcase, seconds(test));
        tcase_add_loop_test(tcase, test->check, 0, test->loop_end == 0 ? 1 : test->loop_end);
        suite_add_tcase(suite, tcase);
    }
    return suite;
}

int suite_main(const char *title, int argc, char **argv)
{
    SRunner *runner;
    int failed;

    if (argc == 2 && strcmp(argv[1], "--list") == 0) {
        for (const struct test *test = first_test; test != NULL; test = test->next)
            puts(test->name);
        return EXIT_SUCCESS;
    }
    printf("%s: TINE_SEED=%#" PRIx64 "\n", title, random_seed());
    verdict_open();
    watchdog_start();
    runner = srunner_create(build(title, argc, argv));
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    watchdog_stop();
    if (failed > 0)
        return EXIT_FAILURE;
    return verdict_all_skipped() ? SKIPPED : EXIT_SUCCESS;
}
