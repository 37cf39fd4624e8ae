/* SPDX-License-Identifier: MIT */
/* Sandboxes: limits, niceness, CPUs, privileges, files; and kernels that lack one. */
#include <tine/sandbox.h>

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <tine/pool.h>

#include "lib/confine.h"
#include "tests/pool/boxed.h"
#include "tests/pool/pools.h"
#include "tests/support/suite.h"
#include "tests/support/wait.h"

/* ---- what the kernel has --------------------------------------------------------------------- */

static int landlock_is; /* 0: as it is; else the answer */
static bool seccomp_lacks;

int __real_tine__landlock_version(void);
bool __real_tine__seccomp_has(uint32_t action);
int __wrap_tine__landlock_version(void);
bool __wrap_tine__seccomp_has(uint32_t action);

int __wrap_tine__landlock_version(void)
{
    return landlock_is != 0 ? landlock_is : __real_tine__landlock_version();
}

bool __wrap_tine__seccomp_has(uint32_t action)
{
    return !seccomp_lacks && __real_tine__seccomp_has(action);
}

/* ---- limits, niceness, CPUs, privileges ------------------------------------------------------ */

static int open_too_many(const char *path)
{
    int fds[64], count = 0, error = 0;

    (void)path;
    while (count < 64 && (fds[count] = dup(STDERR_FILENO)) >= 0)
        count++;
    error = errno;
    while (count > 0)
        close(fds[--count]);
    return error;
}

static int has_no_core(const char *path)
{
    struct rlimit limit;

    (void)path;
    getrlimit(RLIMIT_CORE, &limit);
    return limit.rlim_cur == 0 && limit.rlim_max == 0 ? 0 : ERANGE;
}

TEST(limits_hold)
{
    static const tine_sandbox_limit limits[] = {{.resource = RLIMIT_NOFILE, .soft = 32, .hard = 32},
                                                {.resource = RLIMIT_CORE, .soft = 0, .hard = 0}};
    tine_sandbox sandbox = {.limits = limits, .limit_count = 2};
    tine_pool *pool = open_boxed(1, &sandbox);

    ck_assert_int_eq(try_in(pool, open_too_many, NULL, NULL), EMFILE);
    ck_assert_int_eq(try_in(pool, has_no_core, NULL, NULL), 0);
    tine_pool_close(pool);
}

static int niceness(const char *path)
{
    (void)path;
    return getpriority(PRIO_PROCESS, 0) + 100;
}

TEST(workers_are_nicer)
{
    int before = niceness(NULL), wanted = before + 3 > 119 ? 119 : before + 3;
    tine_pool *pool = open_boxed(1, &(tine_sandbox){.nice = 3});

    ck_assert_int_eq(try_in(pool, niceness, NULL, NULL), wanted);
    ck_assert_int_eq(niceness(NULL), before);
    tine_pool_close(pool);
}

static int only_cpu(const char *path)
{
    cpu_set_t set;

    (void)path;
    if (sched_getaffinity(0, sizeof set, &set) < 0 || CPU_COUNT(&set) != 1)
        return -1;
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET((size_t)cpu, &set))
            return cpu;
    return -1;
}

TEST(workers_run_on_the_cpus_that_are_named)
{
    int32_t last = -1;
    cpu_set_t set;
    tine_pool *pool;

    ck_assert_int_eq(sched_getaffinity(0, sizeof set, &set), 0);
    for (int32_t cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET((size_t)cpu, &set))
            last = cpu;
    pool = open_boxed(2, &(tine_sandbox){.cpus = &last, .cpu_count = 1});
    ck_assert_int_eq(try_in(pool, only_cpu, NULL, NULL), last);
    tine_pool_close(pool);
}

static int has_no_new_privs(const char *path)
{
    (void)path;
    return prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0);
}

TEST(no_new_privileges_are_to_be_had)
{
    tine_pool *pool = open_boxed(1, &(tine_sandbox){.flags = TINE_SANDBOX_NO_NEW_PRIVS});

    ck_assert_int_eq(try_in(pool, has_no_new_privs, NULL, NULL), 1);
    ck_assert_int_eq(has_no_new_privs(NULL), 0);
    tine_pool_close(pool);
}

/* ---- files ----------------------------------------------------------------------------------- */

/* A directory with two below it, `in` and `out`, and a file `f` in each. */
static char base[64];

static const char *under(const char *name)
{
    static char path[200];

    snprintf(path, sizeof path, "%s/%s", base, name);
    return path;
}

static void make_file(const char *name)
{
    FILE *file = fopen(under(name), "we");

    ck_assert_ptr_nonnull(file);
    fputs("text", file);
    fclose(file);
}

static void make_files(void)
{
    strcpy(base, "/tmp/tine-sandbox-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(base));
    ck_assert_int_eq(mkdir(under("in"), 0700), 0);
    ck_assert_int_eq(mkdir(under("out"), 0700), 0);
    make_file("in/f");
    make_file("out/f");
}

static void remove_files(void)
{
    (void)unlink(under("in/f"));
    (void)unlink(under("out/f"));
    (void)rmdir(under("in"));
    (void)rmdir(under("out"));
    ck_assert_int_eq(rmdir(base), 0);
}

static int read_file(const char *path)
{
    return open_with(path, O_RDONLY);
}

static int write_file(const char *path)
{
    return open_with(path, O_WRONLY);
}

static int cut_file(const char *path)
{
    return error_of(truncate(path, 1));
}

static int make_and_remove(const char *path)
{
    int error;

    if (unlink(path) < 0)
        return errno;
    error = open_with(path, O_WRONLY | O_CREAT | O_EXCL);
    return error;
}

static int make_directory(const char *path)
{
    char name[256];

    snprintf(name, sizeof name, "%s.d", path);
    return mkdir(name, 0700) < 0 ? errno : error_of(rmdir(name));
}

static int move_file(const char *path)
{
    char name[256];

    snprintf(name, sizeof name, "%s.new", path);
    return rename(path, name) < 0 ? errno : error_of(rename(name, path));
}

static int execute(const char *path)
{
    (void)path;
    execl("/bin/true", "true", (char *)NULL);
    return errno;
}

static try_function *const changes[] = {write_file, cut_file, make_and_remove, make_directory,
                                        move_file};

#define CHANGES (sizeof changes / sizeof changes[0])

static void assert_changes(tine_pool *pool, const char *name, int error)
{
    for (size_t i = 0; i < CHANGES; i++) {
        int got = try_in(pool, changes[i], under(name), NULL);

        ck_assert_msg(got == error, "change %zu of %s: %s, not %s", i, name, strerror(got),
                      strerror(error));
    }
}

TEST(files_can_only_be_read)
{
    tine_pool *pool;

    make_files();
    pool = open_boxed(1, &(tine_sandbox){.flags = TINE_SANDBOX_READ_ONLY});
    ck_assert_int_eq(try_in(pool, read_file, under("in/f"), NULL), 0);
    ck_assert_int_eq(try_in(pool, read_file, "/", NULL), 0);
    assert_changes(pool, "in/f", EACCES);
    tine_pool_close(pool);
    ck_assert_int_eq(write_file(under("in/f")), 0);
    remove_files();
}

TEST(but_those_that_are_named_can_be_written)
{
    const char *writable[1];
    tine_pool *pool;

    make_files();
    writable[0] = strdup(under("out"));
    pool = open_boxed(1, &(tine_sandbox){.flags = TINE_SANDBOX_READ_ONLY,
                                         .writable = writable,
                                         .writable_count = 1});
    assert_changes(pool, "in/f", EACCES);
    assert_changes(pool, "out/f", 0);
    tine_pool_close(pool);
    free((void *)(uintptr_t)writable[0]);
    remove_files();
}

TEST(of_a_list_of_files_each_can_be_used_as_it_says)
{
    const char *readable[1], *writable[1];
    tine_pool *pool;

    make_files();
    readable[0] = strdup(under("in/f")); /* a file, not a directory */
    writable[0] = strdup(under("out"));
    pool = open_boxed(1, &(tine_sandbox){.flags = TINE_SANDBOX_LISTED,
                                         .readable = readable,
                                         .readable_count = 1,
                                         .writable = writable,
                                         .writable_count = 1});
    ck_assert_int_eq(try_in(pool, read_file, under("in/f"), NULL), 0);
    ck_assert_int_eq(try_in(pool, read_file, under("out/f"), NULL), 0);
    ck_assert_int_eq(try_in(pool, read_file, under("in"), NULL), EACCES);
    ck_assert_int_eq(try_in(pool, read_file, "/etc/passwd", NULL), EACCES);
    ck_assert_int_eq(try_in(pool, execute, NULL, NULL), EACCES);
    assert_changes(pool, "in/f", EACCES);
    assert_changes(pool, "out/f", 0);
    tine_pool_close(pool);
    free((void *)(uintptr_t)readable[0]);
    free((void *)(uintptr_t)writable[0]);
    remove_files();
}

static int die(tine_call *call)
{
    (void)call;
    raise(SIGKILL);
    return 0;
}

TEST(a_worker_that_cannot_enter_breaks_the_pool)
{
    const char *readable[] = {base};
    tine_sandbox sandbox = {
        .flags = TINE_SANDBOX_LISTED, .readable = readable, .readable_count = 1};
    tine_failure failure;
    tine_results *results;
    tine_pool *pool;

    make_files();
    pool = open_boxed(1, &sandbox);
    ck_assert_int_eq(try_in(pool, read_file, under("in/f"), NULL), 0);
    remove_files();
    ck_assert_rc(tine_pool_apply(&results, pool, die, NULL, ""), TINE_EWORKER);
    ck_assert_eventually(tine_pool_failure(pool, &failure) == 1);
    ck_assert_int_eq(failure.error, -ENOENT);
    ck_assert_msg(strstr(failure.message, "the sandbox cannot be entered: files:") != NULL, "%s",
                  failure.message);
    tine_pool_close(pool);
}

/* ---- refusals -------------------------------------------------------------------------------- */

static int open_code(const tine_sandbox *sandbox)
{
    tine_pool *pool = NULL;
    int rc = tine_pool_open(&pool, &(tine_pool_options){.workers = 1, .sandbox = sandbox});

    ck_assert_int_eq(rc < 0, pool == NULL);
    tine_pool_close(pool);
    return rc;
}

TEST(without_landlock_there_is_no_weaker_box)
{
    static const int answers[] = {-ENOSYS, -EOPNOTSUPP, 1, 2};

    for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++) {
        landlock_is = answers[i];
        ck_assert_rc(open_code(&(tine_sandbox){.flags = TINE_SANDBOX_READ_ONLY}), -ENOTSUP);
        ck_assert_rc(open_code(&(tine_sandbox){.flags = TINE_SANDBOX_LISTED}), -ENOTSUP);
        ck_assert_rc(open_code(&(tine_sandbox){.flags = TINE_SANDBOX_NO_NEW_PRIVS}), 0);
    }
}

TEST(without_seccomp_neither)
{
    uint64_t blocks = heap_blocks();

    seccomp_lacks = true;
    ck_assert_rc(open_code(&(tine_sandbox){.flags = TINE_SANDBOX_COMPUTE_ONLY}), -ENOTSUP);
    ck_assert_uint_eq(heap_blocks(), blocks);
}

static const int32_t no_cpu[] = {-1}, far_cpu[] = {CPU_SETSIZE};
static const char *const no_path[] = {NULL}, *const some_path[] = {"/"},
                         *const missing[] = {"/nowhere/at/all"};
static const tine_sandbox_limit wrong_order = {.resource = RLIMIT_CORE, .soft = 2, .hard = 1},
                                no_limit = {.resource = 99},
                                of_later = {.resource = RLIMIT_CORE, .reserved0 = 1},
                                twice[] = {{.resource = RLIMIT_CORE}, {.resource = RLIMIT_CORE}};

static const struct bad_box {
    tine_sandbox sandbox;
    int code;
} bad_boxes[] = {
    {{.reserved = {[7] = 1}}, -E2BIG},
    {{.flags = 32}, -EINVAL},
    {{.flags = TINE_SANDBOX_READ_ONLY | TINE_SANDBOX_LISTED}, -EINVAL},
    {{.flags = TINE_SANDBOX_KILL}, -EINVAL},
    {{.nice = -1}, -EINVAL},
    {{.nice = 40}, -EINVAL},
    {{.limit_count = 1}, -EINVAL},
    {{.limits = &wrong_order, .limit_count = 1}, -EINVAL},
    {{.limits = &no_limit, .limit_count = 1}, -EINVAL},
    {{.limits = twice, .limit_count = 2}, -EINVAL},
    {{.limits = &of_later, .limit_count = 1}, -E2BIG},
    {{.cpus = no_cpu, .cpu_count = 1}, -EINVAL},
    {{.cpus = far_cpu, .cpu_count = 1}, -EINVAL},
    {{.cpus = no_cpu}, -EINVAL},
    {{.readable = some_path, .readable_count = 1}, -EINVAL},
    {{.writable = some_path, .writable_count = 1}, -EINVAL},
    {{.flags = TINE_SANDBOX_READ_ONLY, .readable = some_path, .readable_count = 1}, -EINVAL},
    {{.flags = TINE_SANDBOX_LISTED, .readable = no_path, .readable_count = 1}, -EINVAL},
    {{.flags = TINE_SANDBOX_LISTED, .readable = missing, .readable_count = 1}, -ENOENT},
};

TEST(bad_boxes_are_refused, .loop_end = sizeof bad_boxes / sizeof bad_boxes[0])
{
    ck_assert_rc(open_code(&bad_boxes[loop_index].sandbox), bad_boxes[loop_index].code);
}

TEST(an_empty_box_is_none)
{
    uint64_t blocks = heap_blocks();
    tine_pool *pool = open_boxed(1, &(tine_sandbox){0});

    ck_assert_int_eq(try_in(pool, read_file, "/", NULL), 0);
    tine_pool_close(pool);
    ck_assert_uint_eq(heap_blocks(), blocks);
}

/* ---- all that is tried ----------------------------------------------------------------------- */

try_function *const tries[] = {
    open_too_many, has_no_core, niceness, only_cpu,        has_no_new_privs,
    read_file,     write_file,  cut_file, make_and_remove, make_directory,
    move_file,     execute,     NULL};

SUITE_OF_POOLS("pool/sandbox")
