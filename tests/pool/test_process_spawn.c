/* SPDX-License-Identifier: MIT */
/*
 * Processes that are executed anew, and those of the forkserver: a clean state, no descriptors but
 * those listed, functions of plugins, and what becomes of a start that cannot succeed.
 */
#include <tine/process.h>

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <tine/heap.h>
#include <tine/log.h>
#include <tine/pool.h>

#include "tests/pool/processes.h"
#include "tests/support/children.h"
#include "tests/support/files.h"
#include "tests/support/proc.h"
#include "tests/support/suite.h"
#include "tests/support/wait.h"

static const tine_process_options spawned = {.start = TINE_SPAWN};

/* What holds for both ways that do not copy the program, with .loop_end = CLEAN. */
#define CLEAN 2
static const tine_process_options clean[CLEAN] = {{.start = TINE_SPAWN},
                                                  {.start = TINE_FORKSERVER}};

static int do_nothing(tine_call *call)
{
    (void)call;
    return 0;
}

/* ---- state ----------------------------------------------------------------------------------- */

static int global = 1;

static int check_state(tine_call *call)
{
    char *cwd, here[512];
    uint64_t address;
    int32_t level;

    ck_assert_rc(tine_args(call, "sQi", &cwd, &address, &level), 0);
    ck_assert_int_eq(global, 1);
    ck_assert_str_eq(getcwd(here, sizeof here), cwd);
    ck_assert_int_eq(tine_log_set_level(TINE_LOG_OFF), level);
    ck_assert_int_eq(tine_get_start_method(), TINE_FORKSERVER);
    return 0;
}

TEST(the_state_is_a_fresh_programs, .loop_end = CLEAN)
{
    struct files files;
    tine_process *process;
    int before = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);

    files_begin(&files);
    ck_assert_int_eq(chdir(files.directory), 0);
    global = 2;
    tine_log_set_level(TINE_LOG_ERROR);
    ck_assert_rc(tine_process_start(&process, check_state, &clean[loop_index], "sQi",
                                    files.directory, (uint64_t)(uintptr_t)&global, TINE_LOG_ERROR),
                 0);
    tine_log_set_level(TINE_LOG_OFF);
    ck_assert_int_eq(fchdir(before), 0);
    close(before);
    ck_assert_int_eq(process_end(process), 0);
    files_end(&files);
}

/* ---- where there is no /proc ----------------------------------------------------------------- */

static void spawn_without_proc(void *directory)
{
    tine_process *process = NULL;
    tine_pool *pool = NULL;

    if (chroot(directory) < 0)
        return; /* not here */
    ck_assert_rc(tine_process_start(&process, do_nothing, &spawned, ""), -ENOTSUP);
    ck_assert_rc(tine_pool_open(&pool, &(tine_pool_options){.start = TINE_SPAWN}), -ENOTSUP);
    ck_assert(process == NULL && pool == NULL);
}

TEST(without_proc_nothing_is_executed_anew)
{
    struct files files;
    struct child child;

    files_begin(&files);
    child = child_start(spawn_without_proc, files.directory);
    child_join(&child);
    files_end(&files);
}

/* ---- the log --------------------------------------------------------------------------------- */

static int sunk;

static void sink_line(int level, const char *text, void *context)
{
    (void)text;
    sunk += level == TINE_LOG_WARNING && (context == NULL || *(int *)context == 42);
}

/* Logs a line, here; how many came to the sink. */
static int log_a_line(tine_call *call)
{
    (void)call;
    tine_free(&sunk);
    return sunk == 1 ? 0 : -EIO;
}

static int logs_to_sink(const tine_process_options *options, void *context)
{
    tine_process *process;

    tine_log_set_sink(sink_line, context);
    ck_assert_int_eq(tine_log_set_level(TINE_LOG_WARNING), TINE_LOG_OFF);
    ck_assert_rc(tine_process_start(&process, log_a_line, options, ""), 0);
    tine_log_set_level(TINE_LOG_OFF);
    tine_log_set_sink(NULL, NULL);
    return process_end(process) == 0;
}

TEST(the_log_goes_to_the_programs_sink, .loop_end = CLEAN)
{
    tine_process_options options = clean[loop_index];
    int *shared = tine_alloc(sizeof *shared), own = 42;

    *shared = 42;
    ck_assert(logs_to_sink(&options, NULL));
    ck_assert(logs_to_sink(&options, shared));
    ck_assert(!logs_to_sink(&options, &own)); /* which is not there */
    ck_assert_int_eq(sunk, 0);
    tine_free(shared);
}

static int worker_logs(tine_call *call)
{
    return log_a_line(call);
}

TEST(the_log_of_workers_goes_to_the_programs_sink, .loop_end = CLEAN)
{
    tine_pool_options options = {.workers = 1, .start = clean[loop_index].start};
    tine_results *results;
    tine_pool *pool;

    tine_log_set_sink(sink_line, NULL);
    tine_log_set_level(TINE_LOG_WARNING);
    ck_assert_rc(tine_pool_open(&pool, &options), 0);
    tine_log_set_level(TINE_LOG_OFF);
    tine_log_set_sink(NULL, NULL);
    ck_assert_rc(tine_pool_apply(&results, pool, worker_logs, NULL, ""), 0);
    tine_results_close(results);
    tine_pool_close(pool);
}

/* ---- descriptors ----------------------------------------------------------------------------- */

struct open_files {
    int count;
    struct {
        int fd;
        char target[100];
    } at[64];
};

static int list_files(tine_call *call)
{
    struct open_files *files;
    DIR *directory = opendir("/proc/self/fd");
    int fd;

    ck_assert_rc(tine_args(call, "p", &files), 0);
    while ((fd = proc_next(directory)) >= 0) {
        char path[64];

        if (fd == dirfd(directory) || files->count == 64)
            continue;
        files->at[files->count].fd = fd;
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        ck_assert_int_gt(readlink(path, files->at[files->count].target, 99), 0);
        files->count++;
    }
    closedir(directory);
    return 0;
}

static bool is_own(const char *target)
{
    return strstr(target, "tine-heap") != NULL || strstr(target, "pidfd") != NULL;
}

/* The standard three and those listed; of tine's own the heap's file and the parent's pidfd. */
TEST(descriptors_are_exactly_those_listed, .loop_end = CLEAN)
{
    struct open_files *files = tine_calloc(1, sizeof *files);
    int ends[2], high, own = 0, others = 0;
    tine_process_options options = clean[loop_index];
    tine_process *process;

    ck_assert_int_eq(pipe(ends), 0); /* would be inherited by a plain exec */
    high = fcntl(ends[1], F_DUPFD_CLOEXEC, 200);
    ck_assert_int_ge(high, 200);
    options.fds = (int[]){ends[0], high};
    options.fd_count = 2;
    ck_assert_rc(tine_process_start(&process, list_files, &options, "p", files), 0);
    ck_assert_int_eq(process_end(process), 0);
    for (int i = 0; i < files->count; i++) {
        if (files->at[i].fd <= 2)
            continue;
        own += is_own(files->at[i].target);
        if (is_own(files->at[i].target))
            continue;
        ck_assert_msg(files->at[i].fd == ends[0] || files->at[i].fd == high, "%d: %s",
                      files->at[i].fd, files->at[i].target);
        ck_assert_ptr_nonnull(strstr(files->at[i].target, "pipe:"));
        others++;
    }
    ck_assert_int_eq(others, 2);
    ck_assert_int_eq(own, 2);
    close(high);
    close(ends[0]);
    close(ends[1]);
    tine_free(files);
}

static int count_listed(tine_call *call)
{
    uint32_t first, count;

    ck_assert_rc(tine_args(call, "II", &first, &count), 0);
    for (uint32_t i = 0; i < count; i++)
        ck_assert_int_eq(fcntl((int)(first + i), F_GETFD), i % 2 == 0 ? FD_CLOEXEC : 0);
    return 0;
}

TEST(many_descriptors_may_be_listed, .loop_end = CLEAN)
{
    int fds[TINE_PROCESS_FDS_MAX + 1];
    tine_process_options options = {.start = clean[loop_index].start, .fds = fds};
    tine_process *process = NULL;

    for (int i = 0; i <= TINE_PROCESS_FDS_MAX; i++)
        fds[i] = fcntl(STDERR_FILENO, i % 2 == 0 ? F_DUPFD_CLOEXEC : F_DUPFD, 300 + i);
    options.fd_count = TINE_PROCESS_FDS_MAX + 1;
    ck_assert_rc(tine_process_start(&process, do_nothing, &options, ""), -EINVAL);
    options.fd_count = TINE_PROCESS_FDS_MAX;
    ck_assert_rc(
        tine_process_start(&process, count_listed, &options, "II", 300, TINE_PROCESS_FDS_MAX), 0);
    ck_assert_int_eq(process_end(process), 0);
    for (int i = 0; i <= TINE_PROCESS_FDS_MAX; i++)
        close(fds[i]);
    options.fd_count = 1;
    ck_assert_rc(tine_process_start(&process, do_nothing, &options, ""), -EBADF);
    options.fds = (int[]){2};
    ck_assert_rc(tine_process_start(&process, do_nothing, &options, ""), -EINVAL);
    options.fds = NULL;
    ck_assert_rc(tine_process_start(&process, do_nothing, &options, ""), -EINVAL);
}

/* In the new process there is no number above it, to which the others could be moved. */
TEST(the_last_descriptor_of_all_is_too_many)
{
    struct rlimit before, few;
    tine_process_options options = {.start = TINE_SPAWN, .fds = (int[]){63}, .fd_count = 1};
    tine_process *process = NULL;

    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
    few = (struct rlimit){.rlim_cur = 64, .rlim_max = before.rlim_max};
    ck_assert_int_eq(dup2(STDERR_FILENO, 63), 63);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
    ck_assert_rc(tine_process_start(&process, do_nothing, &options, ""), -EMFILE);
    ck_assert_ptr_null(process);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
    close(63);
}

/* ---- plugins --------------------------------------------------------------------------------- */

#define PLUGIN "tests/pool/.libs/plugin.so"

static tine_function *plugin_task(void *plugin)
{
    tine_function *task = (tine_function *)(uintptr_t)dlsym(plugin, "plugin_task");

    ck_assert_ptr_nonnull(task);
    return task;
}

TEST(a_function_of_a_plugin_is_found_there, .loop_end = CLEAN)
{
    void *plugin = dlopen(PLUGIN, RTLD_NOW);
    tine_process *process;

    ck_assert_ptr_nonnull(plugin);
    ck_assert_rc(tine_process_start(&process, plugin_task(plugin), &clean[loop_index], ""), 0);
    ck_assert_int_eq(process_end(process), 0);
    dlclose(plugin);
}

static void copy_file(const char *from, const char *to)
{
    char bytes[1024];
    FILE *in = fopen(from, "re"), *out = fopen(to, "we");
    size_t size;

    ck_assert_ptr_nonnull(in);
    ck_assert_ptr_nonnull(out);
    while ((size = fread(bytes, 1, sizeof bytes, in)) > 0)
        ck_assert_uint_eq(fwrite(bytes, 1, size, out), size);
    fclose(in);
    fclose(out);
}

/* Gone, or something else by now. */
TEST(another_build_of_a_plugin_is_refused, .loop_end = CLEAN)
{
    struct files files;
    tine_process *process = NULL;
    uint64_t blocks = heap_blocks();
    const char *path;
    void *plugin;

    files_begin(&files);
    files_write(&files, "plugin.so", "");
    path = files_path(&files, "plugin.so");
    copy_file(PLUGIN, path);
    plugin = dlopen(path, RTLD_NOW);
    ck_assert_ptr_nonnull(plugin);
    ck_assert_int_eq(unlink(path), 0);
    ck_assert_rc(tine_process_start(&process, plugin_task(plugin), &clean[loop_index], ""),
                 -ENOENT);
    files_write(&files, "plugin.so", "no plugin");
    ck_assert_rc(tine_process_start(&process, plugin_task(plugin), &clean[loop_index], ""),
                 -ENOENT);
    ck_assert_ptr_null(process);
    ck_assert_uint_le(heap_blocks(), blocks);
    dlclose(plugin);
    files_end(&files);
}

/* ---- starts that fail ------------------------------------------------------------------------ */

TEST(a_program_that_gets_the_mark_by_hand_goes_on)
{
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        dup2(open("/dev/null", O_WRONLY), STDOUT_FILENO);
        execl("/proc/self/exe", "test", "--tine-process", NULL);
        _exit(127);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFEXITED(status));
    ck_assert_int_ne(WEXITSTATUS(status), 127); /* it is a test's name that there is not */
    ck_assert_int_ne(WEXITSTATUS(status), 255);
}

/* In the new process: as a main that ends, or never comes to tine_init(). Before main, in both. */
__attribute__((constructor)) static void misbehave(void)
{
    const char *how = getenv("TEST_MISBEHAVE");

    if (how != NULL && strcmp(how, "exit") == 0)
        _exit(3);
    if (how != NULL && strcmp(how, "stay") == 0)
        for (;;)
            pause();
    if (how != NULL && strcmp(how, "heap") == 0)
        tine_free(tine_alloc(1));
}

static int start_misbehaving(const char *how, int64_t timeout_ns)
{
    tine_process_options options = {.start = TINE_SPAWN, .start_timeout_ns = timeout_ns};
    uint64_t blocks = heap_blocks();
    tine_process *process = NULL;
    int rc;

    setenv("TEST_MISBEHAVE", how, 1);
    rc = tine_process_start(&process, do_nothing, &options, "");
    unsetenv("TEST_MISBEHAVE");
    ck_assert_ptr_null(process);
    ck_assert_uint_le(heap_blocks(), blocks);
    return rc;
}

TEST(a_process_that_never_comes_to_tine_init_is_an_error)
{
    tine_process *process = NULL;

    ck_assert_rc(start_misbehaving("exit", 0), TINE_EBROKEN);
    ck_assert_rc(start_misbehaving("stay", TINE_MS(20)), -ETIMEDOUT);
    ck_assert_rc(start_misbehaving("heap", 0), -EADDRINUSE);
    ck_assert_rc(tine_process_start(&process, do_nothing, &spawned, ""), 0);
    ck_assert_int_eq(process_end(process), 0);
}

TEST(a_start_method_is_chosen_once)
{
    tine_process *process;

    ck_assert_int_eq(tine_get_start_method(), TINE_FORKSERVER);
    ck_assert_rc(tine_set_start_method(0, false), -EINVAL);
    ck_assert_rc(tine_set_start_method(99, false), -EINVAL);
    ck_assert_rc(tine_set_start_method(TINE_SPAWN, false), 0);
    ck_assert_rc(tine_set_start_method(TINE_FORK, false), -EBUSY);
    ck_assert_int_eq(tine_get_start_method(), TINE_SPAWN);
    ck_assert_rc(tine_process_start(&process, do_nothing, NULL, ""), 0);
    ck_assert_int_eq(process_end(process), 0);
    ck_assert_rc(tine_set_start_method(TINE_FORK, true), 0);
    ck_assert_int_eq(tine_get_start_method(), TINE_FORK);
}

static int check_chosen(tine_call *call)
{
    (void)call;
    ck_assert_int_eq(tine_get_start_method(), TINE_SPAWN);
    ck_assert_rc(tine_set_start_method(TINE_FORK, false), -EBUSY);
    return 0;
}

/* As the rest of what it has of its starter: the one of that moment. */
TEST(the_chosen_start_method_is_inherited, .loop_end = START_METHODS)
{
    int32_t method = start_method(loop_index);
    tine_results *results;
    tine_pool *pool;

    ck_assert_rc(tine_set_start_method(TINE_SPAWN, false), 0);
    ck_assert_int_eq(process_end(process_of(check_chosen, method)), 0);
    ck_assert_rc(tine_pool_open(&pool, &(tine_pool_options){.workers = 1, .start = method}), 0);
    ck_assert_rc(tine_pool_apply(&results, pool, check_chosen, NULL, ""), 0);
    tine_results_close(results);
    tine_pool_close(pool);
}

SUITE_WITH_INIT("pool/process_spawn")
