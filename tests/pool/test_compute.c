/* SPDX-License-Identifier: MIT */
/* Workers that compute only: what they may not, what they may. */
#include <tine/sandbox.h>

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <tine/cpu.h>
#include <tine/heap.h>
#include <tine/pool.h>
#include <tine/semaphore.h>
#include <tine/worker.h>

#include "pool/pool_impl.h"
#include "tests/pool/boxed.h"
#include "tests/pool/pools.h"
#include "tests/support/suite.h"
#include "tests/support/wait.h"

static int execute(const char *path)
{
    (void)path;
    execl("/bin/true", "true", (char *)NULL);
    return errno;
}

static int look_at_time(const char *path)
{
    struct timespec time;

    (void)path;
    return clock_getres(CLOCK_REALTIME, &time) < 0 || clock_gettime(CLOCK_REALTIME, &time) < 0
               ? errno
               : 0;
}

static int make_socket(const char *path)
{
    (void)path;
    return error_of(socket(AF_INET, SOCK_STREAM, 0));
}

static int fork_it(const char *path)
{
    pid_t pid = fork();

    (void)path;
    if (pid == 0)
        _exit(0);
    return error_of(pid);
}

static int end_nursery(const char *path)
{
    (void)path;
    return error_of(kill(getppid(), SIGTERM));
}

static int trace(const char *path)
{
    (void)path;
    return error_of(ptrace(PTRACE_ATTACH, getppid(), NULL, NULL));
}

static int raise_limit(const char *path)
{
    struct rlimit limit = {.rlim_cur = 7, .rlim_max = 7};

    (void)path;
    return error_of(setrlimit(RLIMIT_CORE, &limit));
}

static int change_directory(const char *path)
{
    (void)path;
    return error_of(chdir("/"));
}

static int make_memfd(const char *path)
{
    (void)path;
    return error_of(memfd_create("x", MFD_CLOEXEC));
}

static int make_ring(const char *path)
{
    (void)path;
    return error_of(syscall(425, 1, NULL)); /* io_uring_setup */
}

static int look_at_file(const char *path)
{
    struct stat status;

    return error_of(stat(path, &status));
}

static int open_root(const char *path)
{
    (void)path;
    return open_with("/", O_RDONLY);
}

static int remove_it(const char *path)
{
    return error_of(unlink(path));
}

static int own_by_nursery(const char *path)
{
    (void)path;
    return error_of(fcntl(STDERR_FILENO, F_SETOWN, getppid()));
}

static int own_by_other_thread(const char *path)
{
    (void)path;
    return error_of(fcntl(STDERR_FILENO, F_SETOWN_EX, NULL));
}

static int signal_when_ready(const char *path)
{
    (void)path;
    return error_of(fcntl(STDERR_FILENO, F_SETSIG, SIGKILL));
}

static int be_told_when_ready(const char *path)
{
    (void)path;
    return error_of(fcntl(STDERR_FILENO, F_SETFL, O_ASYNC));
}

static const struct forbidden {
    try_function *function;
    bool quietly; /* never kills */
} forbidden[] = {
    {open_root, true},
    {look_at_file, true},
    {make_socket, false},
    {fork_it, false},
    {execute, false},
    {end_nursery, false},
    {trace, false},
    {remove_it, false},
    {raise_limit, false},
    {make_ring, false},
    {change_directory, false},
    {make_memfd, false},
    {own_by_nursery, false},
    {own_by_other_thread, false},
    {signal_when_ready, false},
    {be_told_when_ready, false},
};

#define FORBIDDEN (sizeof forbidden / sizeof forbidden[0])

TEST(what_is_no_computing_is_refused)
{
    tine_pool *pool = open_boxed(1, &(tine_sandbox){.flags = TINE_SANDBOX_COMPUTE_ONLY});

    for (size_t i = 0; i < FORBIDDEN; i++) {
        int got = try_in(pool, forbidden[i].function, "/tmp", NULL);

        ck_assert_msg(got == EPERM, "attempt %zu: %s", i, strerror(got));
    }
    tine_pool_close(pool);
}

TEST(or_kills_the_worker)
{
    tine_pool *pool =
        open_boxed(1, &(tine_sandbox){.flags = TINE_SANDBOX_COMPUTE_ONLY | TINE_SANDBOX_KILL});
    tine_failure failure;

    for (size_t i = 0; i < FORBIDDEN; i++) {
        int got = try_in(pool, forbidden[i].function, "/tmp", &failure);

        ck_assert_msg(got == (forbidden[i].quietly ? EPERM : TINE_EWORKER), "attempt %zu: %d", i,
                      got);
        ck_assert_int_eq(got == TINE_EWORKER ? failure.signal : SIGSYS, SIGSYS);
    }
    ck_assert_int_eq(try_in(pool, look_at_time, NULL, NULL), 0);
    tine_pool_close(pool);
}

#if defined(__x86_64__)
static int call_as_32_bits(const char *path)
{
    long pid = 20; /* getpid() there; writev() here */

    (void)path;
    __asm__ volatile("int $0x80" : "+a"(pid) : : "memory");
    return 0;
}

TEST(another_numbering_of_the_calls_kills)
{
    tine_pool *pool = open_boxed(1, &(tine_sandbox){.flags = TINE_SANDBOX_COMPUTE_ONLY});
    tine_failure failure;

    ck_assert_rc(try_in(pool, call_as_32_bits, NULL, &failure), TINE_EWORKER);
    ck_assert(failure.signal == SIGSYS || failure.signal == SIGSEGV); /* no such numbering */
    tine_pool_close(pool);
}
#endif

static void *double_it(void *number)
{
    *(int *)number *= 2;
    return number;
}

static int start_thread(const char *path)
{
    pthread_t thread;
    int number = 21, rc = pthread_create(&thread, NULL, double_it, &number);

    (void)path;
    if (rc == 0)
        rc = pthread_join(thread, NULL);
    return rc != 0 ? rc : number == 42 ? 0 : ERANGE;
}

static int use_memory(const char *path)
{
    char *own = malloc(64 << 20), *shared = tine_alloc(4 << 20);

    (void)path;
    if (own == NULL || shared == NULL)
        return ENOMEM;
    memset(own, 1, 64 << 20);
    memset(shared, 1, 4 << 20);
    free(own);
    tine_free(shared);
    return 0;
}

static int print(const char *path)
{
    (void)path;
    fprintf(stderr, "%s", "");
    return fflush(stderr) == 0 && printf("%s", "") >= 0 ? 0 : errno;
}

static try_function *const computing[] = {start_thread, use_memory, look_at_time, print};

TEST(computing_goes_on)
{
    tine_pool *pool =
        open_boxed(2, &(tine_sandbox){.flags = TINE_SANDBOX_COMPUTE_ONLY | TINE_SANDBOX_KILL});
    struct tally *tally = tally_new(1000);
    tine_job_options options = {.context = &tally, .context_size = sizeof tally};

    for (size_t i = 0; i < sizeof computing / sizeof computing[0]; i++)
        ck_assert_int_eq(try_in(pool, computing[i], NULL, NULL), 0);
    ck_assert_rc(tine_pool_for(pool, tally->n, tally_count, &options), 0);
    tally_assert_once(tally);
    ck_assert_rc(tine_pool_join(pool, TINE_FOREVER), 0);
    ck_assert_uint_eq(pool_counts(pool).deaths, 0);
    tine_pool_close(pool);
    tine_free(tally);
}

/* More workers than CPUs, in two pools: they take turns (pool/budget.h). */
TEST(two_pools_that_compute_only_share_the_cpus)
{
    tine_sandbox sandbox = {.flags = TINE_SANDBOX_COMPUTE_ONLY | TINE_SANDBOX_KILL};
    tine_pool *pools[2] = {open_boxed(3, &sandbox), open_boxed(3, &sandbox)};
    struct tally *tally = tally_new(1000);
    tine_job_options options = {.context = &tally, .context_size = sizeof tally, .chunk = 1};
    tine_future *futures[2];

    for (int i = 0; i < 20; i++) {
        memset(tally->times, 0, tally->n);
        ck_assert_rc(tine_pool_for_async(&futures[0], pools[0], tally->n, tally_count, &options),
                     0);
        ck_assert_rc(tine_pool_for_async(&futures[1], pools[1], tally->n, tally_count, &options),
                     0);
        for (int j = 0; j < 2; j++) {
            ck_assert_rc(tine_future_result(futures[j], TINE_FOREVER, NULL), 0);
            tine_future_close(futures[j]);
        }
    }
    for (int j = 0; j < 2; j++) {
        ck_assert_uint_eq(pool_counts(pools[j]).deaths, 0);
        tine_pool_close(pools[j]);
    }
    tine_free(tally);
}

/* Is it still loaded? That is asked by reading memory that may not be there. */
TEST(functions_of_plugins_are_found_inside, .loop_end = 2)
{
    tine_sandbox sandbox = {.flags = TINE_SANDBOX_COMPUTE_ONLY | TINE_SANDBOX_KILL};
    tine_pool_options options = {
        .workers = 1, .flags = loop_index == 0 ? 0 : TINE_POOL_UNTRUSTED, .sandbox = &sandbox};
    char path[2048];
    ssize_t length = readlink("/proc/self/exe", path, sizeof path - 32);
    tine_results *results;
    tine_pool *pool;
    void *handle;
    union {
        void *data;
        tine_function *task;
    } symbol;

    ck_assert_int_gt(length, 0);
    path[length] = '\0';
    tine_pool_close(open_boxed(1, &sandbox)); /* or skip */
    strcpy(strrchr(path, '/'), "/.libs/plugin.so");
    handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    ck_assert_msg(handle != NULL, "%s", dlerror());
    symbol.data = dlsym(handle, "plugin_task");
    ck_assert_rc(tine_pool_open(&pool, &options), 0);
    ck_assert_rc(tine_pool_apply(&results, pool, symbol.task, NULL, ""), 0);
    tine_results_close(results);
    tine_pool_close(pool);
    dlclose(handle);
}

static int abort_it(const char *path)
{
    (void)path;
    abort();
}

TEST(an_abort_is_one)
{
    tine_pool *pool = open_boxed(1, &(tine_sandbox){.flags = TINE_SANDBOX_COMPUTE_ONLY});
    tine_failure failure;

    ck_assert_rc(try_in(pool, abort_it, NULL, &failure), TINE_EWORKER);
    ck_assert_int_eq(failure.signal, SIGABRT);
    tine_pool_close(pool);
}

struct permits {
    tine_semaphore semaphore;
    struct gate taken;
};

static int take_and_wait(tine_call *call)
{
    struct permits *permits = *(struct permits **)tine_call_context(call);
    int rc = tine_semaphore_acquire(&permits->semaphore, TINE_FOREVER);

    gate_raise(&permits->taken);
    if (rc == 0)
        gate_await(&permits->taken, UINT32_MAX);
    return rc;
}

static int take(tine_call *call)
{
    struct permits *permits = *(struct permits **)tine_call_context(call);

    return tine_semaphore_acquire(&permits->semaphore, TINE_FOREVER);
}

/* Who sleeps looks whether the holder lives: without /proc. */
TEST(the_permits_of_the_dead_are_found_from_inside)
{
    struct permits *permits = tine_calloc(1, sizeof *permits);
    tine_job_options options = {.context = &permits, .context_size = sizeof permits};
    tine_pool *pool =
        open_boxed(2, &(tine_sandbox){.flags = TINE_SANDBOX_COMPUTE_ONLY | TINE_SANDBOX_KILL});
    tine_future *holder, *waiter;

    ck_assert_ptr_nonnull(permits);
    ck_assert_rc(tine_semaphore_init(&permits->semaphore, 1, NULL), 0);
    ck_assert_rc(tine_pool_submit(&holder, pool, take_and_wait, &options, ""), 0);
    gate_await(&permits->taken, 1);
    ck_assert_rc(tine_pool_submit(&waiter, pool, take, &options, ""), 0);
    ck_assert_rc(tine_future_cancel(holder, TINE_CANCEL_RUNNING), 1);
    ck_assert_rc(tine_future_result(waiter, TINE_FOREVER, NULL), 0);
    tine_future_close(holder);
    tine_future_close(waiter);
    tine_pool_close(pool);
    tine_free(permits);
}

/* As the program and the nursery do, which then send SIGKILL. */
static int condemn_itself(tine_call *call)
{
    struct tine__worker_shm *worker = *(struct tine__worker_shm **)tine_call_context(call);
    bool late;
    int rc = tine_args(call, "?", &late);

    if (late)
        atomic_fetch_add(&worker->alarm.word, 3); /* from armed to condemned */
    else
        atomic_fetch_or(&worker->job, 1);
    return rc;
}

static int answer(tine_call *call)
{
    (void)call;
    return 0;
}

/* It would take others' work with it when the signal arrives. */
TEST(a_condemned_worker_takes_no_more_work, .loop_end = 2)
{
    tine_pool *pool = open_boxed(1, &(tine_sandbox){.flags = TINE_SANDBOX_COMPUTE_ONLY});
    struct tine__worker_shm *worker = tine__worker_at(pool->shared, 0);
    tine_job_options options = {
        .context = &worker, .context_size = sizeof worker, .task_kill_ns = TINE_SEC(1000)};
    tine_results *results;

    if (tine_pool_apply(&results, pool, condemn_itself, &options, "?", loop_index == 1) == 0)
        tine_results_close(results);
    ck_assert_rc(tine_pool_apply(&results, pool, answer, NULL, ""), 0);
    tine_results_close(results);
    ck_assert_uint_eq(pool_counts(pool).deaths, 1);
    tine_pool_close(pool);
}

static int die(tine_call *call)
{
    (void)call;
    return raise(SIGKILL);
}

/* In a family with two pools each worker has a token; the nursery knows by its word whose it
   was. */
TEST(the_tokens_of_the_dead_are_given_back)
{
    tine_pool *pool = open_boxed(1, &(tine_sandbox){.flags = TINE_SANDBOX_COMPUTE_ONLY});
    tine_pool *other = pool_of(1);
    tine_results *results;

    for (int i = 0; i < tine_cpu_count() + 2; i++)
        ck_assert_rc(tine_pool_apply(&results, pool, die, NULL, ""), TINE_EWORKER);
    ck_assert_rc(tine_pool_apply(&results, pool, answer, NULL, ""), 0);
    tine_results_close(results);
    tine_pool_close(other);
    tine_pool_close(pool);
}

static int try_to_open(void *context, void **state)
{
    int error = open_root(NULL);

    (void)context, (void)state;
    return error == EPERM ? 0 : tine_worker_fail(-EPROTO, "%s", strerror(error));
}

TEST(the_initializer_is_inside)
{
    tine_sandbox sandbox = {.flags = TINE_SANDBOX_COMPUTE_ONLY};
    tine_pool_options options = {.workers = 1, .initializer = try_to_open, .sandbox = &sandbox};
    tine_pool *pool;

    tine_pool_close(open_boxed(1, &sandbox)); /* or skip */
    ck_assert_rc(tine_pool_open(&pool, &options), 0);
    ck_assert_int_eq(try_in(pool, start_thread, NULL, NULL), 0);
    tine_pool_close(pool);
}

/* ---- all that is tried ----------------------------------------------------------------------- */

try_function *const tries[] = {execute,
                               own_by_nursery,
                               own_by_other_thread,
                               signal_when_ready,
                               be_told_when_ready,
                               look_at_time,
                               make_socket,
                               fork_it,
                               end_nursery,
                               trace,
                               raise_limit,
                               change_directory,
                               make_memfd,
                               make_ring,
                               look_at_file,
                               open_root,
                               remove_it,
                               start_thread,
                               use_memory,
                               print,
                               abort_it,
#if defined(__x86_64__)
                               call_as_32_bits,
#endif
                               NULL};

SUITE_OF_POOLS("pool/compute")
