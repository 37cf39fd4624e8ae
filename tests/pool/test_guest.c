/* SPDX-License-Identifier: MIT */
/* A pool is a polite guest: what the program, its children and its workers keep to themselves. */
#include <tine/pool.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <tine/heap.h>

#include "tests/pool/pools.h"
#include "tests/support/children.h"
#include "tests/support/files.h"
#include "tests/support/proc.h"
#include "tests/support/suite.h"
#include "tests/support/wait.h"

static int do_nothing(size_t begin, size_t end, void *context)
{
    (void)begin, (void)end, (void)context;
    return 0;
}

static int return_pid(tine_call *call)
{
    return tine_return(call, "q", (int64_t)getpid());
}

static void assert_works(tine_pool *pool)
{
    struct tally *tally = tally_new(1000);
    tine_job_options options = {.context = &tally, .context_size = sizeof tally};

    ck_assert_rc(tine_pool_for(pool, tally->n, tally_count, &options), 0);
    tally_assert_once(tally);
    tine_free(tally);
}

/* The task's own verdict; a failed ck_assert in it is the test's as well. */
static void run_in_worker(tine_function *task)
{
    tine_pool *pool = pool_of(1);
    tine_results *results;

    ck_assert_rc(tine_pool_apply(&results, pool, task, NULL, ""), 0);
    tine_results_close(results);
    tine_pool_close(pool);
}

/* ---- memory ---------------------------------------------------------------------------------- */

static int global = 1;
static int *shared;

static int return_both(tine_call *call)
{
    return tine_return(call, "[ii]", global, *shared);
}

TEST(workers_see_globals_as_they_were_and_the_heap_as_it_is)
{
    tine_results *results;
    int32_t copied, seen;
    tine_pool *pool;

    shared = tine_alloc(sizeof *shared);
    ck_assert_ptr_nonnull(shared);
    *shared = 1;
    pool = pool_of(2);
    for (int i = 2; i < 50; i++) {
        global = *shared = i;
        ck_assert_rc(tine_pool_apply(&results, pool, return_both, NULL, ""), 0);
        ck_assert_rc(tine_results_get(results, 0, "[ii]", &copied, &seen), 0);
        ck_assert_int_eq(copied, 1);
        ck_assert_int_eq(seen, i);
        tine_results_close(results);
    }
    tine_pool_close(pool);
    tine_free(shared);
}

static int allocate_and_return(tine_call *call)
{
    char *text = tine_alloc(100);

    if (text == NULL)
        return -ENOMEM;
    strcpy(text, "from the worker's heap");
    return tine_return(call, "p", text);
}

TEST(a_pointer_into_the_heap_means_the_same_everywhere)
{
    tine_pool *pool = pool_of(1);
    tine_results *results;
    void *text;

    ck_assert_rc(tine_pool_apply(&results, pool, allocate_and_return, NULL, ""), 0);
    ck_assert_rc(tine_results_get(results, 0, "p", &text), 0);
    tine_results_close(results);
    tine_pool_close(pool);
    ck_assert_str_eq(text, "from the worker's heap");
    tine_free(text);
}

/* ---- children and signals -------------------------------------------------------------------- */

static _Atomic int children_seen;

static void count_child(int sig)
{
    (void)sig;
    atomic_fetch_add(&children_seen, 1);
}

static int leave_at_five(size_t begin, size_t end, void *context)
{
    (void)end, (void)context;
    if (begin == 5)
        _exit(3);
    return 0;
}

TEST(a_program_that_reaps_everything_sees_no_worker, .own_signals = true)
{
    struct sigaction action = {.sa_handler = count_child};
    tine_failure failure;
    tine_pool *pool;

    ck_assert_int_eq(sigaction(SIGCHLD, &action, NULL), 0);
    pool = pool_of(3);
    for (int i = 0; i < 10; i++) {
        ck_assert_rc(tine_pool_for(pool, 10, leave_at_five,
                                   &(tine_job_options){.chunk = 1, .failure = &failure}),
                     TINE_EWORKER);
        ck_assert_int_eq(failure.exit_status, 3);
        ck_assert_uint_eq(failure.index, 5);
        ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), 0); /* there is a child, and it runs */
        ck_assert_int_eq(waitpid(failure.pid, NULL, WNOHANG), -1);
        ck_assert_int_eq(errno, ECHILD);
    }
    ck_assert_uint_eq(pool_counts(pool).deaths, 10);
    ck_assert_int_eq(children_seen, 0);
    tine_pool_close(pool);
    ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1);
    ck_assert_int_eq(errno, ECHILD);
    ck_assert_int_le(children_seen, 1);
}

static void *reap_one(void *unused)
{
    pid_t pid;

    (void)unused;
    do
        pid = waitpid(-1, NULL, 0);
    while (pid < 0 && errno == EINTR);
    ck_assert_int_gt(pid, 0);
    return NULL;
}

TEST(a_nursery_reaped_by_somebody_else_breaks_nothing, .loop_end = 2)
{
    tine_pool *pool = pool_of(2);
    pthread_t reaper;

    ck_assert_int_eq(pthread_create(&reaper, NULL, reap_one, NULL), 0);
    assert_works(pool);
    if (loop_index == 0)
        ck_assert_rc(tine_pool_join(pool, TINE_FOREVER), 0);
    else
        ck_assert_rc(tine_pool_terminate(pool), 0);
    pthread_join(reaper, NULL);
    tine_pool_close(pool);
}

TEST(a_program_that_ignores_its_children_has_pools, .own_signals = true)
{
    tine_pool *pool;

    signal(SIGCHLD, SIG_IGN);
    pool = pool_of(2);
    assert_works(pool);
    ck_assert_rc(
        tine_pool_for(pool, 10, leave_at_five, &(tine_job_options){.chunk = 1, .retries = 1}),
        TINE_EWORKER);
    assert_works(pool);
    tine_pool_close(pool);
}

static int check_signals(tine_call *call)
{
    struct sigaction action;
    sigset_t mask;

    (void)call;
    pthread_sigmask(SIG_BLOCK, NULL, &mask);
    ck_assert_int_eq(sigismember(&mask, SIGUSR1), 1);
    ck_assert_int_eq(sigismember(&mask, SIGUSR2), 0);
    ck_assert_int_eq(sigismember(&mask, SIGTERM), 0);
    sigaction(SIGUSR2, NULL, &action);
    ck_assert(action.sa_handler == SIG_DFL);
    sigaction(SIGTERM, NULL, &action);
    ck_assert(action.sa_handler == SIG_DFL);
    sigaction(SIGINT, NULL, &action);
    ck_assert(action.sa_handler == SIG_IGN);
    return 0;
}

static void ignore_it(int sig)
{
    (void)sig;
}

TEST(workers_have_the_mask_of_the_program_but_not_its_handlers, .own_signals = true)
{
    sigset_t mask;

    sigemptyset(&mask);
    sigaddset(&mask, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &mask, NULL);
    signal(SIGUSR2, ignore_it);
    signal(SIGTERM, ignore_it);
    run_in_worker(check_signals);
    pthread_sigmask(SIG_BLOCK, NULL, &mask);
    ck_assert_int_eq(sigismember(&mask, SIGUSR1), 1);
    ck_assert_int_eq(sigismember(&mask, SIGCHLD), 0);
}

static void *count_signal(void *stop)
{
    for (int i = 0; atomic_load((_Atomic bool *)stop) == false; i++)
        kill(getpid(), SIGUSR1);
    return NULL;
}

TEST(calls_are_not_interrupted_by_signals, .own_signals = true)
{
    struct sigaction action = {.sa_handler = ignore_it}; /* no SA_RESTART */
    _Atomic bool stop = false;
    tine_pool *pool;
    pthread_t sender;

    ck_assert_int_eq(sigaction(SIGUSR1, &action, NULL), 0);
    ck_assert_int_eq(pthread_create(&sender, NULL, count_signal, &stop), 0);
    for (int i = 0; i < 5; i++) {
        pool = pool_of(2);
        assert_works(pool);
        ck_assert_rc(tine_pool_join(pool, TINE_FOREVER), 0);
        tine_pool_close(pool);
    }
    atomic_store(&stop, true);
    pthread_join(sender, NULL);
}

/* ---- descriptors, standard streams, exit handlers -------------------------------------------- */

static int read_stdin(tine_call *call)
{
    char byte;

    (void)call;
    ck_assert_int_eq(read(STDIN_FILENO, &byte, 1), 0);
    return 0;
}

TEST(workers_read_nothing_from_the_programs_input)
{
    int ends[2], saved = dup(STDIN_FILENO);
    char byte;

    ck_assert_int_eq(pipe(ends), 0);
    ck_assert_int_eq(write(ends[1], "x", 1), 1);
    ck_assert_int_eq(dup2(ends[0], STDIN_FILENO), STDIN_FILENO);
    run_in_worker(read_stdin);
    ck_assert_int_eq(read(STDIN_FILENO, &byte, 1), 1);
    ck_assert_int_eq(byte, 'x');
    ck_assert_int_eq(dup2(saved, STDIN_FILENO), STDIN_FILENO);
    close(saved);
    close(ends[0]);
    close(ends[1]);
}

TEST(every_descriptor_of_a_pool_is_closed_on_exec)
{
    tine_pool *pool = pool_of(2);
    bool before[256];

    tine_pool_close(pool);
    for (int fd = 0; fd < 256; fd++)
        before[fd] = fcntl(fd, F_GETFD) >= 0;
    pool = pool_of(2);
    assert_works(pool);
    for (int fd = 0; fd < 256; fd++)
        ck_assert(before[fd] || fcntl(fd, F_GETFD) < 0 || fcntl(fd, F_GETFD) == FD_CLOEXEC);
    tine_pool_close(pool);
}

static _Atomic int *handlers_run;

static void note_exit(void)
{
    atomic_fetch_add(handlers_run, 1);
}

static int call_exit(tine_call *call)
{
    (void)call;
    exit(7);
}

TEST(exit_handlers_of_the_program_do_not_run_in_workers)
{
    tine_failure failure;
    tine_results *results = NULL;
    tine_pool *pool;

    handlers_run = shared_memory(sizeof *handlers_run);
    ck_assert_int_eq(atexit(note_exit), 0);
    pool = pool_of(2);
    assert_works(pool);
    ck_assert_rc(
        tine_pool_apply(&results, pool, call_exit, &(tine_job_options){.failure = &failure}, ""),
        TINE_EWORKER);
    ck_assert_int_eq(failure.exit_status, 7);
    ck_assert_int_eq(failure.signal, 0);
    tine_pool_close(pool);
    ck_assert_int_eq(atomic_load(handlers_run), 0);
}

static int print_index(tine_call *call)
{
    printf("task %zu\n", tine_call_index(call));
    return 0;
}

/* In a process whose standard output is a file; what is buffered there must come out once. */
static void print_from_everywhere(void *path)
{
    tine_results *results;
    tine_pool *pool;

    ck_assert_ptr_nonnull(freopen(path, "w", stdout));
    printf("before\n");
    pool = pool_of(1);
    printf("while\n");
    ck_assert_rc(tine_pool_apply(&results, pool, print_index, NULL, ""), 0);
    tine_results_close(results);
    fflush(stdout);
    tine_pool_close(pool);
    printf("after\n");
    fflush(stdout);
}

TEST(what_is_printed_comes_out_once)
{
    struct files files;
    struct child child;
    char path[300], text[200] = "";
    FILE *file;

    files_begin(&files);
    snprintf(path, sizeof path, "%s", files_path(&files, "output"));
    child = child_start(print_from_everywhere, path);
    child_join(&child);
    file = fopen(path, "re");
    ck_assert_ptr_nonnull(file);
    ck_assert_uint_gt(fread(text, 1, sizeof text - 1, file), 0);
    fclose(file);
    files_end(&files);
    ck_assert_str_eq(text, "before\nwhile\ntask 0\nafter\n");
}

TEST(a_pool_has_no_thread_in_the_program)
{
    int before = proc_threads();
    tine_pool *pool = pool_of(2);

    assert_works(pool);
    ck_assert_int_eq(proc_threads(), before);
    tine_pool_close(pool);
}

/* ---- the program's own children -------------------------------------------------------------- */

struct handles {
    tine_pool *pool;
    tine_future *future;
};

static void use_parents_handles(const struct handles *handles)
{
    tine_results *results = NULL;
    const tine_results *borrowed = NULL;
    tine_future *future = NULL;
    tine_pool_counts counts;

    ck_assert_rc(tine_pool_for(handles->pool, 10, do_nothing, NULL), TINE_EFORKED);
    ck_assert_rc(tine_pool_for(handles->pool, 0, do_nothing, NULL), TINE_EFORKED);
    ck_assert_rc(tine_pool_apply(&results, handles->pool, return_pid, NULL, ""), TINE_EFORKED);
    ck_assert_rc(tine_pool_submit(&future, handles->pool, return_pid, NULL, ""), TINE_EFORKED);
    ck_assert_rc(tine_pool_stats(handles->pool, &counts), TINE_EFORKED);
    ck_assert_rc(tine_pool_join(handles->pool, 0), TINE_EFORKED);
    ck_assert_rc(tine_pool_terminate(handles->pool), TINE_EFORKED);
    ck_assert_rc(tine_future_wait(handles->future, 0), TINE_EFORKED);
    ck_assert_rc(tine_future_result(handles->future, 0, NULL), TINE_EFORKED);
    ck_assert_rc(tine_future_results(handles->future, 0, &borrowed), TINE_EFORKED);
    ck_assert(!tine_future_done(handles->future));
}

/* The child of a program with a pool: the pool is not its own, the heap and new pools are. */
static void be_the_child(void *context)
{
    struct handles *handles = context;
    tine_pool *own;
    void *block;

    use_parents_handles(handles);
    block = tine_alloc(1000);
    ck_assert_ptr_nonnull(block);
    tine_free(block);
    own = pool_of(2);
    assert_works(own);
    tine_future_close(handles->future);
    tine_pool_close(handles->pool);
    assert_works(own);
    tine_pool_close(own);
}

TEST(in_a_forked_child_the_pool_is_another_processes)
{
    struct handles handles = {.pool = pool_of(2)};
    struct child child;
    int64_t pid;

    ck_assert_rc(tine_pool_submit(&handles.future, handles.pool, return_pid, NULL, ""), 0);
    for (int i = 0; i < 3; i++) {
        child = child_start(be_the_child, &handles);
        assert_works(handles.pool);
        child_join(&child);
    }
    ck_assert_rc(tine_future_result(handles.future, TINE_FOREVER, "q", &pid), 0);
    tine_future_close(handles.future);
    assert_works(handles.pool);
    ck_assert_uint_eq(pool_counts(handles.pool).deaths, 0);
    tine_pool_close(handles.pool);
}

static int fork_in_task(tine_call *call)
{
    pid_t pid = fork();
    int status;

    if (pid == 0)
        _exit(9);
    if (pid < 0 || waitpid(pid, &status, 0) != pid)
        return -ECHILD;
    return tine_return(call, "i", WEXITSTATUS(status));
}

TEST(a_task_may_fork)
{
    tine_pool *pool = pool_of(1);
    tine_results *results;
    int32_t status;

    ck_assert_rc(tine_pool_apply(&results, pool, fork_in_task, NULL, ""), 0);
    ck_assert_rc(tine_results_get(results, 0, "i", &status), 0);
    ck_assert_int_eq(status, 9);
    tine_results_close(results);
    assert_works(pool);
    tine_pool_close(pool);
}

/* ---- pools in tasks -------------------------------------------------------------------------- */

static tine_pool *outer;

/* A pool of the task's own; the program's pool is not the worker's. */
static int nest(tine_call *call)
{
    struct tally *tally = tally_new(100);
    tine_job_options options = {.context = &tally, .context_size = sizeof tally};
    int index = tine_worker_index();
    tine_pool *pool = pool_of(2);

    ck_assert_rc(tine_pool_for(pool, tally->n, tally_count, &options), 0);
    tally_assert_once(tally);
    tine_free(tally);
    tine_pool_close(pool);
    ck_assert_int_eq(tine_worker_index(), index);
    return tine_return(call, "i", index);
}

TEST(pools_nest)
{
    tine_future *futures[8];
    int32_t index;

    outer = pool_of(3);
    for (size_t i = 0; i < 8; i++)
        ck_assert_rc(tine_pool_submit(&futures[i], outer, nest, NULL, ""), 0);
    for (size_t i = 0; i < 8; i++) {
        ck_assert_rc(tine_future_result(futures[i], TINE_FOREVER, "i", &index), 0);
        ck_assert(index >= 0 && index < 3);
        tine_future_close(futures[i]);
    }
    tine_pool_close(outer);
}

/* ---- half a CPU ------------------------------------------------------------------------------ */

static bool write_file(const char *directory, const char *name, const char *text)
{
    char path[300];
    int fd;
    bool written;

    snprintf(path, sizeof path, "%s/%s", directory, name);
    fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    written = write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    close(fd);
    return written;
}

static int burn(size_t begin, size_t end, void *accumulator, void *context)
{
    uint64_t *sum = accumulator;

    (void)context;
    for (size_t i = begin; i < end; i++)
        *sum += i * i % 7;
    return 0;
}

static void add_sums(void *into, const void *from, void *context)
{
    (void)context;
    *(uint64_t *)into += *(const uint64_t *)from;
}

static void work_with_half_a_cpu(void *directory)
{
    size_t n = is_instrumented() ? 1000000 : 100000000;
    uint64_t sum = 0, serial = 0;
    tine_pool *pool;

    ck_assert(write_file(directory, "cgroup.procs", "0"));
    pool = pool_of(2);
    ck_assert_rc(tine_pool_reduce(pool, n, burn, add_sums, &sum, sizeof sum, NULL), 0);
    tine_pool_close(pool);
    (void)burn(0, n, &serial, NULL);
    ck_assert_uint_eq(sum, serial);
}

TEST(two_workers_with_half_a_cpu, .timeout_s = 60)
{
    char directory[200];
    struct child child;

    snprintf(directory, sizeof directory, "/sys/fs/cgroup/cpu/tine-test-%d", (int)getpid());
    if (mkdir(directory, 0755) < 0)
        SKIP("%s: %s", directory, strerror(errno));
    if (!write_file(directory, "cpu.cfs_period_us", "100000") ||
        !write_file(directory, "cpu.cfs_quota_us", "50000")) {
        rmdir(directory);
        SKIP("%s takes no quota: %s", directory, strerror(errno));
    }
    child = child_start(work_with_half_a_cpu, directory);
    child_join(&child);
    ck_assert_eventually(rmdir(directory) == 0);
}

SUITE_OF_POOLS("pool/guest")
