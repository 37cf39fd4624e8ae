/* SPDX-License-Identifier: MIT */
/*
 * Tasks take their own worker down: segfault, abort, exit, a signal, out of memory, with and
 * without a core dump. The item is named with what ended its worker; retries count.
 */
#include <tine.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/kill/load.h"
#include "tests/kill/methods.h"
#include "tests/support/files.h"
#include "tests/support/random.h"
#include "tests/support/samples.h"
#include "tests/support/suite.h"

#define KILLS   200
#define WORKERS 3

/* ---- ways to die ----------------------------------------------------------------------------- */

static void die_by_segfault(void)
{
    volatile char *page = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    signal(SIGSEGV, SIG_DFL); /* a sanitizer's handler would exit instead */
    *page = 1;
}

static void die_by_abort(void)
{
    signal(SIGABRT, SIG_DFL);
    abort();
}

static void die_by_exit_at_once(void)
{
    _exit(3);
}

static void die_by_exit(void)
{
    exit(4);
}

static void die_by_kill(void)
{
    kill(getpid(), SIGKILL);
}

static void die_by_term(void)
{
    raise(SIGTERM);
}

static const struct way {
    const char *name;
    void (*die)(void);
    int signal, exit_status;
} ways[] = {
    {"segfault", die_by_segfault, SIGSEGV, -1}, {"abort", die_by_abort, SIGABRT, -1},
    {"_exit", die_by_exit_at_once, 0, 3},       {"exit", die_by_exit, 0, 4},
    {"kill", die_by_kill, SIGKILL, -1},         {"term", die_by_term, SIGTERM, -1},
};
#define WAYS ((int)(sizeof ways / sizeof ways[0]))

static void allow_cores(rlim_t bytes)
{
    struct rlimit limit;

    ck_assert_int_eq(getrlimit(RLIMIT_CORE, &limit), 0);
    limit.rlim_cur = bytes < limit.rlim_max ? bytes : limit.rlim_max;
    ck_assert_int_eq(setrlimit(RLIMIT_CORE, &limit), 0);
}

/* One job in which an item dies `deaths` times, with so many retries. */
static void run_fatal(tine_pool *pool, const struct way *way, int32_t deaths, int32_t retries)
{
    enum load_kind kind = (enum load_kind)random_below(LOAD_KINDS);
    struct plan plan = {.fatal = random_below(load_size(kind)), .deaths = deaths, .die = way->die};
    struct load load;

    load_start_plan(&load, kind, pool, &(tine_job_options){.retries = retries}, &plan);
    load_finish(&load);
    if (retries >= 0 && deaths > retries) {
        const tine_failure *failure = &load.failures[kind == LOAD_SUBMIT ? plan.fatal : 0];

        load_check_fatal(&load, (uint32_t)retries + 1);
        ck_assert_int_eq(failure->signal, way->signal);
        ck_assert_int_eq(failure->exit_status, way->exit_status);
    } else {
        load_check_whole(&load);
        ck_assert_uint_le(load_repeats(&load), (uint64_t)deaths * load.chunk);
    }
    load_free(&load);
}

TEST(the_item_is_named_with_what_ended_its_worker, .kills = KILLS / WAYS, .timeout_s = 60,
     .loop_end = WAYS)
{
    size_t kills = kills_wanted(KILLS / WAYS), died = 0;
    struct load_heap heap = load_heap_begin();
    tine_pool *pool;

    allow_cores(0);
    pool = load_pool(WORKERS);
    while (died < kills) {
        int32_t retries = (int32_t)random_below(4) - 1; /* TINE_UNLIMITED, 0, 1, 2 */
        int32_t deaths = 1 + (int32_t)random_below(4);
        int32_t tries = retries >= 0 && deaths > retries ? retries + 1 : deaths;

        run_fatal(pool, &ways[loop_index], deaths, retries);
        died += (size_t)tries;
        load_await_size(pool, died);
    }
    tine_pool_close(pool);
    load_heap_end(&heap, died);
}

/* Every item of a job is fatal: the pool must not take that for workers that cannot start. */
static int die_in_item(const void *in, void *out, void *context)
{
    (void)in, (void)out, (void)context;
    _exit(5);
}

TEST(a_job_of_fatal_items_only_ends, .kills = KILLS, .timeout_s = 60)
{
    size_t kills = kills_wanted(KILLS);
    tine_pool *pool = load_pool(WORKERS);
    tine_map map = {.item = die_in_item, .n = kills};
    tine_failure failure;

    ck_assert_rc(tine_pool_map(pool, &map, &(tine_job_options){.failure = &failure}), TINE_EWORKER);
    ck_assert_uint_eq(failure.index, 0);
    ck_assert_int_eq(failure.exit_status, 5);
    load_await_size(pool, kills);
    tine_pool_close(pool);
}

/* ---- out of memory --------------------------------------------------------------------------- */

#define OOM_LIMIT (UINT64_C(16) << 20)
#define OOM_EATEN (UINT64_C(64) << 20)

static const struct hierarchy {
    const char *root, *limit;
} hierarchies[] = {{"/sys/fs/cgroup/memory", "memory.limit_in_bytes"},
                   {"/sys/fs/cgroup", "memory.max"}};

#define GROUP "TINE_TEST_GROUP" /* set before the pool is opened, so that workers know it */

static bool write_to_group(const char *name, uint64_t value)
{
    char path[320], text[32];
    int size = snprintf(text, sizeof text, "%ju", (uintmax_t)value);
    int fd;
    bool written;

    snprintf(path, sizeof path, "%s/%s", getenv(GROUP), name);
    fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    written = write(fd, text, (size_t)size) == size;
    close(fd);
    return written;
}

static bool make_group(void)
{
    const char *tag = getenv("TINE_TEST_TAG");
    char group[256];

    for (size_t i = 0; i < sizeof hierarchies / sizeof hierarchies[0]; i++) {
        snprintf(group, sizeof group, "%s/tine-test-%s-%d", hierarchies[i].root,
                 tag == NULL ? "run" : tag, (int)getpid());
        if (mkdir(group, 0700) != 0)
            continue;
        ck_assert_int_eq(setenv(GROUP, group, 1), 0);
        if (write_to_group(hierarchies[i].limit, OOM_LIMIT))
            return true;
        rmdir(group);
    }
    return false;
}

static void die_by_hunger(void)
{
    void *memory;

    ck_assert(write_to_group("cgroup.procs", 0));
    memory = mmap(NULL, OOM_EATEN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(memory, MAP_FAILED);
    memset(memory, 1, OOM_EATEN);
}

TEST(a_worker_out_of_memory_is_a_killed_one, .kills = KILLS / 2, .timeout_s = 60)
{
    static const struct way hunger = {"hunger", die_by_hunger, SIGKILL, -1};
    size_t kills = kills_wanted(KILLS / 2);
    tine_pool *pool;

    if (!make_group())
        SKIP("no memory cgroup can be made here: %s", strerror(errno));
    pool = load_pool(WORKERS);
    for (size_t died = 1; died <= kills; died++) {
        run_fatal(pool, &hunger, 1, died % 4 == 0 ? 1 : 0);
        load_await_size(pool, died);
    }
    tine_pool_close(pool);
    ck_assert_int_eq(rmdir(getenv(GROUP)), 0);
}

/* ---- core dumps ------------------------------------------------------------------------------ */

#define CORE_KILLS  20
#define HEAP_BYTES  (UINT64_C(64) << 20)
#define CORE_LARGER (off_t)(UINT64_C(1) << 30) /* with the heap's reservation it would be */

/* The size of the core file in the working directory, removed; -1: there is none. */
static off_t take_core(void)
{
    DIR *directory = opendir(".");
    struct dirent *entry;
    struct stat status = {.st_size = -1};

    ck_assert_ptr_nonnull(directory);
    while ((entry = readdir(directory)) != NULL)
        if (strncmp(entry->d_name, "core", 4) == 0 && stat(entry->d_name, &status) == 0)
            unlink(entry->d_name);
    closedir(directory);
    return status.st_size;
}

static int crash(tine_call *call)
{
    (void)call;
    die_by_abort();
    return 0;
}

/* Its time is dominated by the kernel's writing of private memory, so there is no promised
   bound. */
TEST(a_core_dump_leaves_the_heap_out, .kills = CORE_KILLS, .timeout_s = 60)
{
    struct samples samples = {.name = "worker.dumped.told", .bound_ns = (uint64_t)TINE_SEC(1)};
    size_t kills = kills_wanted(CORE_KILLS), cores = 0;
    char *memory = tine_alloc(HEAP_BYTES);
    tine_failure failure;
    struct files files;
    tine_pool *pool;

    ck_assert_ptr_nonnull(memory);
    memset(memory, 1, HEAP_BYTES);
    files_begin(&files);
    ck_assert_int_eq(chdir(files.directory), 0);
    allow_cores(RLIM_INFINITY);
    pool = load_pool(1);
    for (size_t i = 0; i < kills; i++) {
        tine_job_options options = {.failure = &failure};
        tine_results *results;
        int64_t begin = now_ns();
        off_t size;

        ck_assert_rc(tine_pool_apply(&results, pool, crash, &options, ""), TINE_EWORKER);
        samples_add(&samples, (uint64_t)(now_ns() - begin));
        ck_assert_int_eq(failure.signal, SIGABRT);
        size = take_core();
        ck_assert_int_lt(size, CORE_LARGER);
        cores += size > 0;
    }
    tine_pool_close(pool);
    ck_assert_int_eq(chdir("/"), 0);
    files_end(&files);
    tine_free(memory);
    printf("%zu of %zu left a core file here\n", cores, kills);
    samples_end(&samples);
}

SUITE_BY_METHOD("kill/task")
