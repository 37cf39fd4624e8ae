/* SPDX-License-Identifier: MIT */
/* What a task sees and says: arguments, result, failure, and which function it is at all. */
#include <tine/task.h>

#include <dlfcn.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <tine/codec.h>
#include <tine/heap.h>
#include <tine/pool.h>

#include "lib/sys.h"
#include "pool/task.h"
#include "tests/pool/pools.h"
#include "tests/support/loader.h"
#include "tests/support/suite.h"

/* Runs the task with one string; its code and its failure. */
static int run(tine_pool *pool, tine_function *task, const char *text, tine_failure *failure)
{
    tine_job_options options = {.failure = failure};
    tine_results *results;
    int rc = tine_pool_apply(&results, pool, task, &options, "s", text);

    if (rc == 0)
        tine_results_close(results);
    return rc;
}

/* ---- arguments ------------------------------------------------------------------------------- */

static const char *wanted[] = {
    "qq", "sb", "si", "sQ", "sf", "sq?", "sqd", "sqn", "s[qq]", "s", "sz", "sF", "vad", "sqad",
};

/* Returns what tine_args says of the format that its context names. */
static int take_wrong(tine_call *call)
{
    void *room[4];
    int rc = tine_args(call, wanted[*(int *)tine_call_context(call)], &room[0], &room[1], &room[2],
                       &room[3]);

    return rc < 0 ? rc : tine_fail(call, -EPROTO, "this format fits");
}

static void assert_told(tine_pool *pool, int which, const char *expected)
{
    tine_failure failure;
    tine_job_options options = {
        .failure = &failure, .context = &which, .context_size = sizeof which};
    tine_results *results;

    ck_assert_rc(
        tine_pool_apply(&results, pool, take_wrong, &options, "sq", "text", INT64_C(-4000000000)),
        failure.code);
    ck_assert_int_lt(failure.code, 0);
    ck_assert_str_eq(failure.message, expected);
}

TEST(arguments_of_another_shape_are_told_in_words)
{
    static const char *const expected[] = {
        "argument 1: 'q' wanted, found a string",
        "argument 2: 'b' wanted, found -4000000000, which is out of its range",
        "argument 2: 'i' wanted, found -4000000000, which is out of its range",
        "argument 2: 'Q' wanted, found -4000000000, which is out of its range",
        "argument 2: 'f' wanted, found -4000000000, which is out of its range",
        "argument 3: '?' wanted, there are only 2",
        "argument 3: 'd' wanted, there are only 2",
        "argument 3: 'n' wanted, there are only 2",
        "argument 2: '[' wanted, found an integer",
        "1 arguments wanted, there are 2",
        "argument 2: 'z' wanted, which is no letter of a format",
        "argument 2: 'F' wanted, found an integer",
        "argument 2: 'ad' wanted, found an integer",
        "argument 3: 'ad' wanted, there are only 2",
    };
    tine_pool *pool = pool_of(1);

    for (int i = 0; i < (int)(sizeof expected / sizeof expected[0]); i++)
        assert_told(pool, i, expected[i]);
    tine_pool_close(pool);
}

/* Tries, and fails for another reason. */
static int try_then_fail(tine_call *call)
{
    int32_t number;

    ck_assert_rc(tine_args(call, "i", &number), TINE_EFORMAT);
    return -EDOM;
}

TEST(only_what_a_task_fails_of_is_told)
{
    tine_pool *pool = pool_of(1);
    tine_failure failure;

    ck_assert_rc(run(pool, try_then_fail, "text", &failure), TINE_EREMOTE);
    ck_assert_str_eq(failure.message, "the task returned -33 (EDOM)");
    tine_pool_close(pool);
}

static int take_arguments(tine_call *call)
{
    int64_t number, wrong = 5;
    const char *text;
    double real;
    bool flag;
    const void *bytes;
    size_t size;

    ck_assert_rc(tine_args(call, "q", &wrong), TINE_EFORMAT);
    ck_assert_rc(tine_args(call, "qsd?yq", &number, &text, &real, &flag, &bytes, &size, &wrong),
                 TINE_EFORMAT);
    ck_assert_rc(tine_args(call, "qsd?", &number, &text, &real, &flag), TINE_EFORMAT);
    ck_assert_rc(tine_args(call, "ssd?y", &text, &text, &real, &flag, &bytes, &size), TINE_EFORMAT);
    ck_assert_int_eq(wrong, 5);
    ck_assert_rc(tine_args(call, "qsd?y", &number, &text, &real, &flag, &bytes, &size), 0);
    ck_assert_int_eq(number, INT64_MIN);
    ck_assert_str_eq(text, "grüße");
    ck_assert_double_eq(real, -0.25);
    ck_assert(flag);
    ck_assert_uint_eq(size, 3);
    ck_assert_mem_eq(bytes, "\0\1\2", 3);
    return 0;
}

TEST(arguments_arrive_and_other_shapes_do_not_match)
{
    tine_pool *pool = pool_of(1);
    tine_results *results;

    ck_assert_rc(tine_pool_apply(&results, pool, take_arguments, NULL, "qsd?y", INT64_MIN, "grüße",
                                 -0.25, true, "\0\1\2", (size_t)3),
                 0);
    tine_results_close(results);
    tine_pool_close(pool);
}

static int take_small(tine_call *call)
{
    uint8_t small;

    return tine_args(call, "B", &small);
}

TEST(a_number_that_does_not_fit_its_letter_is_out_of_range)
{
    tine_pool *pool = pool_of(1);
    tine_failure failure;
    tine_job_options options = {.failure = &failure};
    tine_results *results = NULL;

    ck_assert_rc(tine_pool_apply(&results, pool, take_small, &options, "q", INT64_C(256)),
                 TINE_EREMOTE);
    ck_assert_int_eq(failure.error, -ERANGE);
    ck_assert_ptr_null(results);
    ck_assert_rc(tine_pool_apply(&results, pool, take_small, &options, "q", INT64_C(255)), 0);
    tine_results_close(results);
    tine_pool_close(pool);
}

static int take_nothing(tine_call *call)
{
    const void *bytes;
    size_t size;

    ck_assert_rc(tine_args(call, ""), 0);
    ck_assert_rc(tine_args_packed(call, &bytes, &size), 0);
    ck_assert_uint_eq(size, 1);
    ck_assert_uint_eq(*(const uint8_t *)bytes, 0x90); /* an empty array */
    ck_assert_uint_eq(tine_call_index(call), 0);
    ck_assert_ptr_null(tine_call_context(call));
    return 0;
}

TEST(no_arguments_are_an_empty_array)
{
    tine_pool *pool = pool_of(1);
    tine_results *results;

    ck_assert_rc(tine_pool_apply(&results, pool, take_nothing, NULL, ""), 0);
    tine_results_close(results);
    tine_pool_close(pool);
}

static int misuse_the_call(tine_call *call)
{
    const void *bytes;
    size_t size;
    int64_t number;

    ck_assert_rc(tine_args(NULL, "q", &number), -EINVAL);
    ck_assert_rc(tine_args(call, NULL), -EINVAL);
    ck_assert_rc(tine_args(call, "!"), -EINVAL);
    ck_assert_rc(tine_args_packed(NULL, &bytes, &size), -EINVAL);
    ck_assert_rc(tine_args_packed(call, NULL, &size), -EINVAL);
    ck_assert_rc(tine_args_packed(call, &bytes, NULL), -EINVAL);
    ck_assert_rc(tine_return(NULL, "q", INT64_C(1)), -EINVAL);
    ck_assert_rc(tine_return(call, NULL), -EINVAL);
    ck_assert_rc(tine_return_packed(NULL, "", 1), -EINVAL);
    ck_assert_rc(tine_return_packed(call, NULL, 1), -EINVAL);
    ck_assert_rc(tine_fail(NULL, -EIO, "x"), -EINVAL);
    ck_assert_rc(tine_fail(call, 0, "x"), -EINVAL);
    ck_assert_rc(tine_fail(call, 3, "x"), -EINVAL);
    ck_assert_uint_eq(tine_call_index(NULL), 0);
    ck_assert_ptr_null(tine_call_context(NULL));
    return tine_return(call, "s", "none of this did any harm");
}

TEST(null_and_absurd_arguments_within_a_task_are_refused)
{
    tine_pool *pool = pool_of(1);
    const char *text;
    tine_results *results;

    ck_assert_rc(tine_pool_apply(&results, pool, misuse_the_call, NULL, ""), 0);
    ck_assert_rc(tine_results_get(results, 0, "s", &text), 0);
    ck_assert_str_eq(text, "none of this did any harm");
    tine_results_close(results);
    tine_pool_close(pool);
}

static int read_context(tine_call *call)
{
    const char *context = tine_call_context(call);

    return strcmp(context, "by value") == 0 ? 0 : -EINVAL;
}

TEST(a_task_sees_the_context_of_its_job)
{
    tine_pool *pool = pool_of(1);
    tine_job_options options = {.context = "by value", .context_size = 9};
    tine_results *results;

    ck_assert_rc(tine_pool_apply(&results, pool, read_context, &options, ""), 0);
    tine_results_close(results);
    tine_pool_close(pool);
}

/* ---- results --------------------------------------------------------------------------------- */

/* The first argument says which of these ways of returning is meant. */
static int return_somehow(tine_call *call)
{
    static const uint8_t deep[70] = {[0 ... 68] = 0x91, [69] = 0xc0};
    const char *how;
    int rc = tine_args(call, "s", &how);

    ck_assert_rc(rc, 0);
    if (strcmp(how, "twice") == 0) {
        ck_assert_rc(tine_return(call, "q", INT64_C(1)), 0);
        return tine_return(call, "s", "the second");
    }
    if (strcmp(how, "two values") == 0)
        return tine_return(call, "qq", INT64_C(1), INT64_C(2));
    if (strcmp(how, "no value") == 0)
        return tine_return(call, "");
    if (strcmp(how, "bad format") == 0)
        return tine_return(call, "[q", INT64_C(1));
    if (strcmp(how, "garbage") == 0)
        return tine_return_packed(call, "\xc1", 1);
    if (strcmp(how, "cut short") == 0)
        return tine_return_packed(call, "\xdb\xff\xff\xff\xff", 5);
    if (strcmp(how, "too much") == 0)
        return tine_return_packed(call, "\x01\x02", 2);
    if (strcmp(how, "nothing") == 0)
        return tine_return_packed(call, "", 0);
    if (strcmp(how, "too deep") == 0)
        return tine_return_packed(call, deep, sizeof deep);
    if (strcmp(how, "ignored") == 0) {
        (void)tine_return_packed(call, "\xc1", 1);
        return 0;
    }
    return strcmp(how, "positive") == 0 ? 17 : -ENOSYS;
}

static const struct bad_return {
    const char *how;
    int code, error;
} bad_returns[] = {
    {"two values", TINE_EREMOTE, -EINVAL}, {"no value", TINE_EREMOTE, -EINVAL},
    {"bad format", TINE_EREMOTE, -EINVAL}, {"garbage", TINE_EFORMAT, 0},
    {"cut short", TINE_EFORMAT, 0},        {"too much", TINE_EFORMAT, 0},
    {"nothing", TINE_EFORMAT, 0},          {"too deep", TINE_EFORMAT, 0},
    {"ignored", TINE_EFORMAT, 0},          {"unknown", TINE_EREMOTE, -ENOSYS},
};

TEST(what_is_no_result_fails_the_task, .loop_end = sizeof bad_returns / sizeof bad_returns[0])
{
    const struct bad_return *bad = &bad_returns[loop_index];
    tine_pool *pool = pool_of(1);
    tine_failure failure;

    ck_assert_rc(run(pool, return_somehow, bad->how, &failure), bad->code);
    ck_assert_int_eq(failure.code, bad->code);
    ck_assert_int_eq(failure.error, bad->error);
    ck_assert_uint_eq(failure.index, 0);
    ck_assert_uint_eq(failure.count, 1);
    ck_assert_rc(run(pool, return_somehow, "positive", &failure), 0);
    tine_pool_close(pool);
}

TEST(a_second_result_replaces_the_first)
{
    tine_pool *pool = pool_of(1);
    tine_results *results;
    const char *text;

    ck_assert_rc(tine_pool_apply(&results, pool, return_somehow, NULL, "s", "twice"), 0);
    ck_assert_rc(tine_results_get(results, 0, "s", &text), 0);
    ck_assert_str_eq(text, "the second");
    tine_results_close(results);
    tine_pool_close(pool);
}

TEST(a_task_that_returns_nothing_returns_nil)
{
    tine_pool *pool = pool_of(1);
    tine_results *results;
    const void *bytes;
    size_t size;

    ck_assert_rc(tine_pool_apply(&results, pool, return_somehow, NULL, "s", "positive"), 0);
    ck_assert_rc(tine_results_get(results, 0, "n"), 0);
    ck_assert_rc(tine_results_packed(results, 0, &bytes, &size), 0);
    ck_assert_uint_eq(size, 1);
    ck_assert_uint_eq(*(const uint8_t *)bytes, 0xc0);
    tine_results_close(results);
    tine_pool_close(pool);
}

/* ---- failures -------------------------------------------------------------------------------- */

static int fail_at_length(tine_call *call)
{
    const char *text;
    int rc = tine_args(call, "s", &text);

    return rc < 0 ? rc : tine_fail(call, -EDOM, "no good: %s", text);
}

TEST(a_failure_names_task_worker_and_reason)
{
    tine_pool *pool = pool_of(1);
    tine_failure failure;
    char longer[1000];

    ck_assert_rc(run(pool, fail_at_length, "a string", &failure), TINE_EREMOTE);
    ck_assert_int_eq(failure.error, -EDOM);
    ck_assert_str_eq(failure.message, "no good: a string");
    ck_assert_int_eq(failure.worker, 0);
    ck_assert_int_gt(failure.pid, 0);
    ck_assert_int_ne(failure.pid, getpid());
    /* a static function has no symbol: the object file and the offset */
    ck_assert_ptr_nonnull(strstr(failure.task, "test_task+0x"));
    memset(longer, 'x', sizeof longer);
    longer[sizeof longer - 1] = '\0';
    ck_assert_rc(run(pool, fail_at_length, longer, &failure), TINE_EREMOTE);
    ck_assert_uint_eq(strlen(failure.message), sizeof failure.message - 1);
    tine_pool_close(pool);
}

static int fail_with_own_code(tine_call *call)
{
    (void)call;
    return -123456;
}

TEST(a_task_may_fail_with_a_code_of_its_own)
{
    tine_pool *pool = pool_of(1);
    tine_failure failure;

    ck_assert_rc(run(pool, fail_with_own_code, "", &failure), TINE_EREMOTE);
    ck_assert_int_eq(failure.error, -123456);
    ck_assert_str_eq(failure.message, "the task returned -123456");
    tine_pool_close(pool);
}

static int fail_with_library_code(tine_call *call)
{
    (void)call;
    return TINE_EBROKEN;
}

static int fail_with_seven(tine_call *call)
{
    (void)call;
    return -7;
}

/* "option struct is newer than this library" is not what such a task means. */
TEST(what_a_task_has_not_said_is_not_said_for_it)
{
    tine_pool *pool = pool_of(1);
    tine_failure failure;

    ck_assert_rc(run(pool, fail_with_seven, "", &failure), TINE_EREMOTE);
    ck_assert_str_eq(failure.message, "the task returned -7 (E2BIG)");
    ck_assert_rc(run(pool, fail_with_library_code, "", &failure), TINE_EREMOTE);
    ck_assert_str_eq(failure.message, "the task returned TINE_EBROKEN (broken)");
    tine_pool_close(pool);
}

/* ---- which function -------------------------------------------------------------------------- */

struct plugin {
    void *handle;
    tine_function *task;
    tine_body *body;
    tine_item *item;
};

/* dlsym gives a pointer to data; a union is how C makes it one to a function. */
union symbol {
    void *data;
    tine_function *task;
    tine_body *body;
    tine_item *item;
};

static struct plugin plugin_load(void)
{
    char path[2048];
    ssize_t length = readlink("/proc/self/exe", path, sizeof path - 32);
    struct plugin plugin;
    union symbol symbol;

    ck_assert_int_gt(length, 0);
    path[length] = '\0';
    strcpy(strrchr(path, '/'), "/.libs/plugin.so");
    plugin.handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    ck_assert_msg(plugin.handle != NULL, "%s", dlerror());
    symbol.data = dlsym(plugin.handle, "plugin_task");
    plugin.task = symbol.task;
    symbol.data = dlsym(plugin.handle, "plugin_body");
    plugin.body = symbol.body;
    symbol.data = dlsym(plugin.handle, "plugin_item");
    plugin.item = symbol.item;
    ck_assert(plugin.task != NULL && plugin.body != NULL && plugin.item != NULL);
    return plugin;
}

TEST(a_plugin_loaded_before_the_pool_works)
{
    struct plugin plugin = plugin_load();
    tine_pool *pool = pool_of(2);
    tine_failure failure;
    int out[3] = {0};

    ck_assert_rc(run(pool, plugin.task, "", &failure), 0);
    ck_assert_rc(tine_pool_for(pool, 100, plugin.body, NULL), 0);
    ck_assert_rc(
        tine_pool_map(pool,
                      &(tine_map){.item = plugin.item, .out = out, .out_size = sizeof *out, .n = 3},
                      NULL),
        0);
    ck_assert_int_eq(out[2], 7);
    tine_pool_close(pool);
    dlclose(plugin.handle);
}

TEST(a_plugin_loaded_after_the_pool_is_loaded_by_workers_that_are_no_forks)
{
    tine_pool *pool = pool_of(2);
    struct plugin plugin = plugin_load();
    tine_failure failure;

    for (int i = 0; i < 4; i++)
        ck_assert_rc(run(pool, plugin.task, "", &failure), 0);
    ck_assert_rc(tine_pool_for(pool, 100, plugin.body, NULL), 0);
    ck_assert_uint_eq(pool_counts(pool).deaths, 0);
    tine_pool_close(pool);
    dlclose(plugin.handle);
}

static void assert_not_there(const tine_failure *failure, const char *symbol)
{
    ck_assert_int_eq(failure->code, TINE_EREMOTE);
    ck_assert_int_eq(failure->error, -ENOENT);
    ck_assert_str_eq(failure->task, symbol);
    ck_assert_ptr_nonnull(strstr(failure->message, "not loaded"));
}

TEST(a_plugin_loaded_after_the_pool_is_reported_and_crashes_nobody)
{
    tine_pool *pool = pool_of(2);
    struct plugin plugin = plugin_load();
    tine_failure failure;
    tine_job_options options = {.failure = &failure};
    tine_buffer args = {0};
    tine_results *results = NULL;
    int out[3];
    tine_map map = {.item = plugin.item, .out = out, .out_size = sizeof *out, .n = 3};

    ck_assert_rc(run(pool, plugin.task, "", &failure), TINE_EREMOTE);
    assert_not_there(&failure, "plugin_task");
    ck_assert_rc(tine_pool_for(pool, 100, plugin.body, &options), TINE_EREMOTE);
    assert_not_there(&failure, "plugin_body");
    ck_assert_uint_eq(failure.index, 0);
    ck_assert_rc(tine_pool_map(pool, &map, &options), TINE_EREMOTE);
    assert_not_there(&failure, "plugin_item");
    for (int i = 0; i < 3; i++)
        ck_assert_rc(tine_pack(&args, "[]"), 0);
    ck_assert_rc(tine_pool_starmap(&results, pool, plugin.task, &args, &options), TINE_EREMOTE);
    assert_not_there(&failure, "plugin_task");
    ck_assert_uint_eq(tine_results_count(results), 3);
    ck_assert_int_lt(tine_results_get(results, 1, "n"), 0);
    tine_results_close(results);
    tine_buffer_free(&args);
    ck_assert_uint_eq(pool_counts(pool).deaths, 0);
    ck_assert_rc(run(pool, return_somehow, "positive", &failure), 0);
    tine_pool_close(pool);
    dlclose(plugin.handle);
}

TEST(a_plugin_that_was_unloaded_is_no_function_any_more)
{
    struct plugin plugin = plugin_load();
    tine_pool *pool = pool_of(1);
    tine_failure failure;

    ck_assert_rc(run(pool, plugin.task, "", &failure), 0);
    dlclose(plugin.handle);
    if (dlopen("plugin.so", RTLD_NOW | RTLD_NOLOAD) == NULL)
        ck_assert_rc(run(pool, plugin.task, "", &failure), -EINVAL);
    tine_pool_close(pool);
}

/* ---- functions as values --------------------------------------------------------------------- */

static int64_t square(int64_t number)
{
    return number * number;
}

static int64_t twice(int64_t number)
{
    return 2 * number;
}

/* Applies the function that it is given to the number, and gives the function back. */
static int apply_to(tine_call *call)
{
    tine_any_function *function = NULL;
    int64_t number = 0;
    int rc = tine_args(call, "cq", &function, &number);

    if (rc < 0)
        return rc;
    return tine_return(call, "[qc]", ((int64_t(*)(int64_t))function)(number), function);
}

TEST(functions_are_arguments_and_results)
{
    tine_pool *pool = pool_of(2);
    tine_any_function *function = NULL;
    tine_results *results;
    tine_future *future;
    int64_t number = 0;

    ck_assert_rc(tine_pool_apply(&results, pool, apply_to, NULL, "cq", (tine_any_function *)square,
                                 (int64_t)9),
                 0);
    ck_assert_rc(tine_results_get(results, 0, "[qc]", &number, &function), 0);
    ck_assert_int_eq(number, 81);
    ck_assert(function == (tine_any_function *)square);
    tine_results_close(results);
    ck_assert_rc(tine_pool_submit(&future, pool, apply_to, NULL, "cq", (tine_any_function *)twice,
                                  (int64_t)9),
                 0);
    ck_assert_rc(tine_future_result(future, TINE_FOREVER, "[qc]", &number, &function), 0);
    ck_assert_int_eq(number, 18);
    ck_assert(function == (tine_any_function *)twice);
    tine_future_close(future);
    tine_pool_close(pool);
}

TEST(each_tuple_may_bring_another_function)
{
    tine_pool *pool = pool_of(2);
    tine_buffer args = {0};
    tine_results *results;
    int64_t number = 0;

    for (int64_t i = 0; i < 100; i++)
        ck_assert_rc(
            tine_pack(&args, "[cq]", (tine_any_function *)(i % 2 != 0 ? square : twice), i), 0);
    ck_assert_rc(tine_pool_starmap(&results, pool, apply_to, &args, NULL), 0);
    for (int64_t i = 0; i < 100; i++) {
        ck_assert_rc(tine_results_get(results, (size_t)i, "[qc]", &number, NULL), 0);
        ck_assert_int_eq(number, i % 2 != 0 ? i * i : 2 * i);
    }
    tine_results_close(results);
    tine_buffer_free(&args);
    tine_pool_close(pool);
}

TEST(a_function_that_the_worker_does_not_have_is_no_argument)
{
    tine_pool *pool = pool_of(1);
    struct plugin plugin = plugin_load();
    tine_failure failure;
    tine_job_options options = {.failure = &failure};
    tine_results *results;

    ck_assert_rc(tine_pool_apply(&results, pool, apply_to, &options, "cq",
                                 (tine_any_function *)plugin.task, (int64_t)1),
                 TINE_EREMOTE);
    ck_assert_int_eq(failure.error, -ENOENT);
    ck_assert_uint_eq(pool_counts(pool).deaths, 0);
    tine_pool_close(pool);
    dlclose(plugin.handle);
}

TEST(what_is_no_function_is_refused)
{
    static tine_function *const nowhere[] = {NULL, (tine_function *)(uintptr_t)4096};
    tine_pool *pool = pool_of(1);
    tine_failure failure;

    for (size_t i = 0; i < 2; i++)
        ck_assert_rc(run(pool, nowhere[i], "", &failure), -EINVAL);
    tine_pool_close(pool);
}

/* ---- the loader ------------------------------------------------------------------------------ */

/* The lock is copied with the process, held by a thread that the copy does not have. */
TEST(workers_do_not_wait_for_a_lock_that_the_loader_held_when_they_were_forked)
{
    struct loader loader;
    tine_failure failure;

    loader_keep_busy(&loader);
    for (int i = 0; i < 10; i++) {
        tine_pool *pool = pool_of(1);

        ck_assert_rc(run(pool, return_somehow, "positive", &failure), 0);
        tine_pool_close(pool);
    }
    loader_rest(&loader);
}

static size_t count_described(const struct tine__tasks *tasks)
{
    size_t count = 0;

    for (size_t i = 0; i < tasks->room; i++)
        count += tasks->known[i].task != NULL;
    return count;
}

TEST(descriptions_of_unloaded_functions_stay_until_the_end)
{
    struct tine__tasks tasks;
    struct tine__task_shm *task;
    const char *code = (const char *)(uintptr_t)return_somehow;
    uint64_t blocks = heap_blocks();

    tine__tasks_init(&tasks, false);
    for (int i = 0; i < 7; i++)
        ck_assert_rc(tine__task_describe(&tasks, code + i, &task), 0);
    for (size_t i = 0; i < tasks.room; i += 2) /* as if they had been unloaded */
        tasks.known[i].function = NULL;
    for (int i = 7; i < 40; i++)
        ck_assert_rc(tine__task_describe(&tasks, code + i, &task), 0);
    ck_assert_uint_eq(count_described(&tasks), 40);
    ck_assert_uint_eq(heap_blocks(), blocks + 40);
    tine__tasks_fini(&tasks);
    ck_assert_uint_eq(heap_blocks(), blocks);
}

SUITE_OF_POOLS("pool/task")
