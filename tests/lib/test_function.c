/* SPDX-License-Identifier: MIT */
/* Functions as values: which are known by what, what is refused, and the loader's lock left
   alone. */
#include "lib/function.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/codec.h"
#include "lib/fork.h"
#include "lib/sys.h"
#include "tests/support/children.h"
#include "tests/support/loader.h"
#include "tests/support/suite.h"

static int64_t square(int64_t number)
{
    return number * number;
}

static int static_data = 1;

#define ANY(function) ((tine_any_function *)(function))

static void assert_round_trip(tine_any_function *function)
{
    struct tine__function_wire wire;
    tine_any_function *found = NULL;

    ck_assert_rc(tine__function_describe(function, &wire), 0);
    ck_assert_rc(tine__function_resolve(&wire, sizeof wire, &found), 0);
    ck_assert(found == function);
}

/* ---- plugins --------------------------------------------------------------------------------- */

#define WITH_ID    "../pool/.libs/plugin.so"
#define WITHOUT_ID ".libs/plain.so"

struct plugin {
    void *handle;
    tine_any_function *function;
};

static struct plugin plugin_load(const char *name)
{
    char path[2048];
    ssize_t length = readlink("/proc/self/exe", path, sizeof path - 64);
    union {
        void *data;
        tine_any_function *function;
    } symbol;
    struct plugin plugin;

    ck_assert_int_gt(length, 0);
    path[length] = '\0';
    snprintf(strrchr(path, '/'), 64, "/%s", name);
    plugin.handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    ck_assert_msg(plugin.handle != NULL, "%s", dlerror());
    symbol.data = dlsym(plugin.handle, "plugin_task");
    plugin.function = symbol.function;
    ck_assert(plugin.function != NULL);
    return plugin;
}

/* Does dlclose unload at all? Not under sanitizers and valgrind. */
static bool is_gone(const struct plugin *plugin)
{
    uint8_t byte;

    return tine__sys_read_own((uint64_t)(uintptr_t)plugin->function, &byte, 1) == -EFAULT;
}

static void come_and_go(const char *name, int kind)
{
    struct plugin plugin = plugin_load(name);
    struct tine__function_wire wire;
    tine_any_function *found = NULL;

    assert_round_trip(plugin.function);
    assert_round_trip(ANY(square));
    ck_assert_rc(tine__function_describe(plugin.function, &wire), 0);
    ck_assert_int_eq(wire.id.kind, kind);
    dlclose(plugin.handle);
    if (!is_gone(&plugin))
        return;
    ck_assert_rc(tine__function_resolve(&wire, sizeof wire, &found), -ENOENT);
    ck_assert_rc(tine__function_describe(plugin.function, &(struct tine__function_wire){0}),
                 -EINVAL);
    plugin = plugin_load(name);
    ck_assert_rc(tine__function_resolve(&wire, sizeof wire, &found), 0);
    ck_assert(found == plugin.function);
    dlclose(plugin.handle);
}

/* ---- which functions ------------------------------------------------------------------------- */

static void send_all_kinds(void *unused)
{
    (void)unused;
    assert_round_trip(ANY(square));
    assert_round_trip(ANY(tine__function_resolve));
    assert_round_trip(ANY(qsort));
    assert_round_trip(ANY(sodium_init));
    come_and_go(WITH_ID, TINE__OBJECT_BUILD_ID);
    come_and_go(WITHOUT_ID, TINE__OBJECT_FILE);
}

/* As most programs are: it asks the loader. */
TEST(functions_of_the_program_its_libraries_and_plugins_are_found_again)
{
    ck_assert_uint_eq(tine__fork_generation(), 1);
    send_all_kinds(NULL);
}

/* It must not, and asks the kernel; with a table that it has inherited, and without one. */
TEST(and_so_they_are_in_a_forked_process, .loop_end = 2)
{
    struct child child;

    ck_assert_uint_eq(tine__fork_generation(), 1);
    if (loop_index == 1)
        tine__objects_note();
    child = child_start(send_all_kinds, NULL);
    child_join(&child);
}

TEST(a_function_that_arrives_can_be_called)
{
    struct tine__function_wire wire;
    tine_any_function *found = NULL;

    ck_assert_rc(tine__function_describe(ANY(square), &wire), 0);
    ck_assert_rc(tine__function_resolve(&wire, sizeof wire, &found), 0);
    ck_assert_int_eq(((int64_t(*)(int64_t))found)(7), 49);
}

TEST(what_is_no_code_of_an_object_is_refused)
{
    struct tine__function_wire wire, before;

    memset(&wire, 0x5a, sizeof wire);
    before = wire;
    ck_assert_rc(tine__function_describe(NULL, &wire), -EINVAL);
    ck_assert_rc(tine__function_describe(ANY((uintptr_t)4096), &wire), -EINVAL);
    ck_assert_rc(tine__function_describe(ANY((uintptr_t)&static_data), &wire), -EINVAL);
    ck_assert_rc(tine__function_describe(ANY((uintptr_t)&wire), &wire), -EINVAL);
    ck_assert_mem_eq(&wire, &before, sizeof wire);
}

TEST(the_base_chooses_between_equals_and_is_else_of_no_importance)
{
    struct tine__function_wire wire;
    tine_any_function *found = NULL;

    ck_assert_rc(tine__function_describe(ANY(square), &wire), 0);
    wire.base += 0x1000; /* as another process may have loaded it */
    ck_assert_rc(tine__function_resolve(&wire, sizeof wire, &found), 0);
    ck_assert(found == ANY(square));
}

/* ---- a program that is executed anew --------------------------------------------------------- */

#define SENT "TINE_TEST_FUNCTION"

/* There: the function that the environment names is the same one, wherever it lies now. */
__attribute__((constructor)) static void receive(void)
{
    const char *text = getenv(SENT);
    struct tine__function_wire wire;
    tine_any_function *found = NULL;

    if (text == NULL)
        return;
    if (sodium_hex2bin((unsigned char *)&wire, sizeof wire, text, strlen(text), NULL, NULL, NULL) ||
        tine__function_resolve(&wire, sizeof wire, &found) < 0)
        _exit(2);
    _exit(found == ANY(square) ? 0 : 1);
}

static void execute_anew(void *context)
{
    char text[2 * sizeof(struct tine__function_wire) + 1], path[2048] = "";

    sodium_bin2hex(text, sizeof text, context, sizeof(struct tine__function_wire));
    ck_assert_int_eq(setenv(SENT, text, 1), 0);
    if (readlink("/proc/self/exe", path, sizeof path - 1) > 0)
        execl(path, path, (char *)NULL);
    ck_abort_msg("the program cannot be executed again");
}

TEST(a_freshly_executed_program_finds_it_wherever_it_lies)
{
    struct tine__function_wire wire;

    ck_assert_rc(tine__function_describe(ANY(square), &wire), 0);
    for (int i = 0; i < 5; i++) {
        struct child child = child_start(execute_anew, &wire);

        child_join(&child);
    }
}

/* ---- hostile bytes --------------------------------------------------------------------------- */

static void assert_refused(const struct tine__function_wire *wire, size_t size, int code)
{
    tine_any_function *found = ANY(square);

    ck_assert_rc(tine__function_resolve(wire, size, &found), code);
    ck_assert(found == ANY(square));
}

TEST(another_build_and_places_beyond_the_code_are_not_found)
{
    struct tine__function_wire good, wire;

    ck_assert_rc(tine__function_describe(ANY(square), &good), 0);
    ck_assert_int_eq(good.id.kind, TINE__OBJECT_BUILD_ID);
    wire = good;
    wire.id.bytes[0] ^= 1;
    assert_refused(&wire, sizeof wire, -ENOENT);
    wire = good;
    wire.id.bytes[--wire.id.size] = 0;
    assert_refused(&wire, sizeof wire, -ENOENT);
    for (int i = 0; i < 64; i++) {
        wire = good;
        wire.offset = UINT64_MAX - (uint64_t)i;
        assert_refused(&wire, sizeof wire, -ENOENT);
    }
    wire.offset = 0; /* of the file's header, which is no code */
    assert_refused(&wire, sizeof wire, -ENOENT);
    wire.offset = (uint64_t)(uintptr_t)&static_data - good.base;
    assert_refused(&wire, sizeof wire, -ENOENT);
}

TEST(malformed_bytes_are_refused)
{
    struct tine__function_wire good, wire;

    ck_assert_rc(tine__function_describe(ANY(square), &good), 0);
    for (size_t size = 0; size < sizeof good; size++)
        assert_refused(&good, size, TINE_EFORMAT);
    assert_refused(&good, sizeof good + 1, TINE_EFORMAT);
    wire = good;
    wire.id.unused[5] = 1;
    assert_refused(&wire, sizeof wire, TINE_EFORMAT);
    for (unsigned kind = 0; kind < 256; kind++)
        for (unsigned size = 0; size < 256; size++) {
            wire = good;
            wire.id.kind = (uint8_t)kind;
            wire.id.size = (uint8_t)size;
            if (kind != TINE__OBJECT_BUILD_ID || size < good.id.size || size > 32)
                if (kind != TINE__OBJECT_FILE || size != 32)
                    assert_refused(&wire, sizeof wire, TINE_EFORMAT);
        }
    memset(&wire.id, 0, sizeof wire.id); /* nameless: only at its base, and no object here is */
    assert_refused(&wire, sizeof wire, -ENOENT);
}

/* ---- as values ------------------------------------------------------------------------------- */

static int unpack(const tine_buffer *in, struct tine__texts *texts, const char *format, ...)
{
    va_list args;
    int rc;

    va_start(args, format);
    rc = tine__vunpack(in->data, in->size, format, false, args, texts);
    va_end(args);
    return rc;
}

TEST(c_carries_functions_within_the_family_only)
{
    struct tine__texts family = {.family = true}, strangers = {.family = false};
    tine_any_function *function = NULL, *none = ANY(square);
    tine_buffer buffer = {0};
    int64_t number = 0;

    ck_assert_rc(tine_pack(&buffer, "[qcc]", (int64_t)5, ANY(square), NULL), 0);
    ck_assert_rc(unpack(&buffer, &family, "[qcc]", &number, &function, &none), 0);
    ck_assert_int_eq(((int64_t(*)(int64_t))function)(number), 25);
    ck_assert(none == NULL);
    ck_assert_rc(unpack(&buffer, &family, "[qcc]", NULL, NULL, NULL), 0);
    function = NULL;
    ck_assert_rc(unpack(&buffer, &strangers, "[qcc]", &number, &function, &none), -EINVAL);
    ck_assert_rc(unpack(&buffer, NULL, "[qcc]", &number, &function, &none), -EINVAL);
    ck_assert_rc(tine_unpack(buffer.data, buffer.size, "[qcc]", &number, &function, &none),
                 -EINVAL);
    ck_assert_rc(unpack(&buffer, &family, "[ccc]", &function, &function, &none), TINE_EFORMAT);
    ck_assert_rc(unpack(&buffer, &family, "[qpc]", &number, &function, &none), TINE_EFORMAT);
    ck_assert(function == NULL);
    tine_buffer_free(&buffer);
}

TEST(a_function_takes_its_room_wherever_a_buffer_ends)
{
    struct tine__texts family = {.family = true};

    for (size_t before = 0; before < 80; before++) {
        tine_buffer buffer = {0};
        tine_any_function *function = NULL;
        uint8_t filler[80] = {0};

        ck_assert_rc(tine_pack(&buffer, "[yc]", filler, before, ANY(square)), 0);
        ck_assert_rc(unpack(&buffer, &family, "[yc]", NULL, NULL, &function), 0);
        ck_assert(function == ANY(square));
        ck_assert_rc(tine_pack(&buffer, "c", ANY((uintptr_t)1)), -EINVAL);
        tine_buffer_free(&buffer);
    }
}

TEST(strings_beside_a_function_may_be_given_away)
{
    struct tine__texts family = {.family = true, .given_away = true};
    tine_any_function *function = NULL;
    tine_buffer buffer = {0};
    char *text = NULL;

    ck_assert_rc(tine_pack(&buffer, "[sc]", "seven", ANY(square)), 0);
    ck_assert_rc(unpack(&buffer, &family, "[sc]", &text, &function), 0);
    ck_assert_str_eq(text, "seven");
    free(text);
    ck_assert_rc(unpack(&buffer, &family, "[sn]", &text, &function), TINE_EFORMAT);
    tine_buffer_clear(&buffer);
    ck_assert_rc(tine_pack(&buffer, "[s]", "eight"), 0);
    ck_assert_rc(unpack(&buffer, &family, "[s]", &text), 0);
    ck_assert_str_eq(text, "eight");
    free(text);
    ck_assert(family.first == NULL);
    tine_buffer_free(&buffer);
}

/* ---- processes and threads ------------------------------------------------------------------- */

static void use_known_and_unknown(void *context)
{
    const struct plugin *plugin = context;
    struct tine__function_wire wire;
    tine_any_function *found;

    assert_round_trip(ANY(square));
    assert_round_trip(plugin->function);
    ck_assert_rc(tine__function_describe(ANY(square), &wire), 0);
    wire.id.bytes[3] ^= 1;
    ck_assert_rc(tine__function_resolve(&wire, sizeof wire, &found), -ENOENT);
    ck_assert_rc(tine__function_describe(ANY((uintptr_t)4096), &wire), -EINVAL);
}

/* The plugin was loaded after anyone has asked, so the children have inherited nothing of it. */
TEST(forked_processes_do_not_wait_for_the_loader)
{
    struct plugin plugin;
    struct loader loader;

    tine__objects_note();
    plugin = plugin_load(WITH_ID);
    loader_keep_busy(&loader);
    for (int i = 0; i < 10; i++) {
        struct child child = child_start(use_known_and_unknown, &plugin);

        child_join(&child);
    }
    loader_rest(&loader);
    dlclose(plugin.handle);
}

static atomic_bool may_rest;

static void *round_trips(void *unused)
{
    do
        assert_round_trip(ANY(square));
    while (!atomic_load(&may_rest));
    return unused;
}

TEST(threads_ask_while_others_load_and_unload)
{
    pthread_t threads[2];

    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, round_trips, NULL), 0);
    for (int i = 0; i < 20; i++)
        come_and_go(WITH_ID, TINE__OBJECT_BUILD_ID);
    atomic_store(&may_rest, true);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
}

SUITE("lib/function")
