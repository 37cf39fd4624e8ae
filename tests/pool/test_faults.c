/* SPDX-License-Identifier: MIT */
/*
 * Every allocation, fork and descriptor of a pool's calls fails once: the k-th for k = 1, 2, …
 * until a run needs fewer. The linker's --wrap puts the functions below in the way (module.mk). Not
 * malloc: libcheck calls it for each assertion.
 */
#include <tine/imap.h>

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <tine/codec.h>
#include <tine/heap.h>

#include "lib/sys.h"
#include "tests/pool/pools.h"
#include "tests/support/suite.h"
#include "tests/support/wait.h"
#include "tests/support/wrap.h"

#define ITEMS 200

/* What shall fail: the next-but-… call in the program, or in any of the pool's processes. */
struct plan {
    pid_t program;
    _Atomic int in_program, in_family; /* calls until the one that fails; 0: none */
    _Atomic bool in_exit;              /* the next on_exit() fails */
};

static struct plan *plan;

static bool must_fail(void)
{
    _Atomic int *left;
    int before;

    if (plan == NULL)
        return false;
    left = getpid() == plan->program ? &plan->in_program : &plan->in_family;
    before = atomic_load(left);
    while (before > 0 && !atomic_compare_exchange_weak(left, &before, before - 1))
        continue;
    return before == 1;
}

WRAP(must_fail(), void *, calloc, NULL, (size_t count, size_t size), (count, size))
WRAP(must_fail(), void *, realloc, NULL, (void *block, size_t size), (block, size))
WRAP(must_fail(), void *, tine_alloc, NULL, (size_t size), (size))
WRAP(must_fail(), void *, tine_calloc, NULL, (size_t count, size_t size), (count, size))
WRAP(must_fail(), void *, tine_aligned_alloc, NULL, (size_t alignment, size_t size),
     (alignment, size))
WRAP(must_fail(), pid_t, fork, (errno = EAGAIN, -1), (void), ())
WRAP(plan != NULL && atomic_exchange(&plan->in_exit, false), int, on_exit, -1,
     (void (*handler)(int, void *), void *argument), (handler, argument))
WRAP(must_fail(), int, tine__sys_pidfd_open, -EMFILE, (pid_t pid), (pid))
WRAP(must_fail(), int, tine__sys_socketpair, -ENFILE, (int fds[2]), (fds))
WRAP(must_fail(), ssize_t, tine__sys_send_fds, -ETOOMANYREFS,
     (int socket, const void *record, size_t size, const int *fds, int count, int flags),
     (socket, record, size, fds, count, flags))

/* ---- what is done ---------------------------------------------------------------------------- */

static int use_for(tine_pool *pool, tine_failure *failure)
{
    struct tally *tally = __real_tine_calloc(1, sizeof *tally + ITEMS);
    tine_job_options options = {
        .context = &tally, .context_size = sizeof tally, .failure = failure};
    int rc;

    ck_assert_ptr_nonnull(tally);
    tally->n = ITEMS;
    rc = tine_pool_for(pool, ITEMS, tally_count, &options);
    if (rc == 0)
        tally_assert_once(tally);
    tine_free(tally);
    return rc;
}

static int square(const void *in, void *out, void *context)
{
    (void)context;
    *(uint32_t *)out = *(const uint32_t *)in * *(const uint32_t *)in;
    return 0;
}

static int use_map(tine_pool *pool, tine_failure *failure)
{
    static uint32_t in[ITEMS], out[ITEMS];
    tine_map map = {.item = square, .in = in, .in_size = 4, .out = out, .out_size = 4, .n = ITEMS};
    int rc;

    for (uint32_t i = 0; i < ITEMS; i++)
        in[i] = i;
    rc = tine_pool_map(pool, &map, &(tine_job_options){.failure = failure});
    for (uint32_t i = 0; rc == 0 && i < ITEMS; i++)
        ck_assert_uint_eq(out[i], i * i);
    return rc;
}

static int add_range(size_t begin, size_t end, void *accumulator, void *context)
{
    (void)context;
    for (size_t i = begin; i < end; i++)
        *(uint64_t *)accumulator += i;
    return 0;
}

static void add_parts(void *into, const void *from, void *context)
{
    (void)context;
    *(uint64_t *)into += *(const uint64_t *)from;
}

static int use_reduce(tine_pool *pool, tine_failure *failure)
{
    uint64_t sum = 0;
    int rc = tine_pool_reduce(pool, ITEMS, add_range, add_parts, &sum, sizeof sum,
                              &(tine_job_options){.failure = failure});

    ck_assert_uint_eq(sum, rc == 0 ? ITEMS * (ITEMS - 1) / 2 : 0);
    return rc;
}

/* Gives its string three times over, so that the result needs memory of its own. */
static int triple(tine_call *call)
{
    const char *text;
    int rc = tine_args(call, "s", &text);

    return rc < 0 ? rc : tine_return(call, "[sss]", text, text, text);
}

static const char some_text[] = "a text that is long enough to be no small thing in any buffer";

static int read_triple(const tine_results *results, size_t index)
{
    const char *texts[3];
    int rc = tine_results_get(results, index, "[sss]", &texts[0], &texts[1], &texts[2]);

    for (size_t i = 0; rc == 0 && i < 3; i++)
        ck_assert_str_eq(texts[i], some_text);
    return rc;
}

static int use_starmap(tine_pool *pool, tine_failure *failure)
{
    tine_buffer args = {0};
    tine_results *results = NULL;
    int rc = 0;

    for (int i = 0; rc == 0 && i < 10; i++)
        rc = tine_pack(&args, "[s]", some_text);
    if (rc == 0)
        rc = tine_pool_starmap(&results, pool, triple, &args,
                               &(tine_job_options){.failure = failure});
    for (size_t i = 0; rc == 0 && i < 10; i++)
        rc = read_triple(results, i);
    tine_results_close(results);
    tine_buffer_free(&args);
    return rc;
}

static int use_apply(tine_pool *pool, tine_failure *failure)
{
    tine_results *results = NULL;
    int rc = tine_pool_apply(&results, pool, triple, &(tine_job_options){.failure = failure}, "s",
                             some_text);

    if (rc == 0)
        rc = read_triple(results, 0);
    tine_results_close(results);
    return rc;
}

static int use_submit(tine_pool *pool, tine_failure *failure)
{
    const tine_results *results;
    tine_future *future = NULL;
    int rc = tine_pool_submit(&future, pool, triple, &(tine_job_options){.failure = failure}, "s",
                              some_text);

    if (rc == 0)
        rc = tine_future_results(future, TINE_FOREVER, &results);
    if (rc == 0)
        rc = read_triple(results, 0);
    tine_future_close(future);
    return rc;
}

static void count_call(tine_future *future, void *user)
{
    tine_future_close(future);
    ++*(int *)user;
}

static int use_callback(tine_pool *pool, tine_failure *failure)
{
    int calls = 0, rc;
    tine_future *future = NULL;

    rc = tine_pool_submit(&future, pool, triple, &(tine_job_options){.failure = failure}, "s",
                          some_text);
    if (rc == 0)
        rc = tine_future_wait(future, TINE_FOREVER);
    if (rc == 0)
        rc = tine_future_result(future, 0, NULL);
    if (rc == 0)
        rc = tine_future_add_done_callback(future, count_call, &calls);
    if (rc < 0)
        tine_future_close(future);
    ck_assert_int_eq(calls, rc == 0);
    return rc;
}

static int use_completed(tine_pool *pool, tine_failure *failure)
{
    tine_job_options options = {.failure = failure};
    tine_as_completed *iterator = NULL;
    tine_future *futures[2] = {NULL}, *first;
    int rc = tine_pool_submit(&futures[0], pool, triple, &options, "s", some_text);

    if (rc == 0)
        rc = tine_pool_submit(&futures[1], pool, triple, &options, "s", some_text);
    if (rc == 0)
        rc = tine_wait_futures(futures, 2, TINE_FIRST_COMPLETED, TINE_FOREVER);
    if (rc >= 1)
        rc = tine_as_completed_open(&iterator, futures, 2);
    for (int i = 0; i < 2 && rc >= 0; i++) {
        rc = tine_as_completed_next(iterator, TINE_FOREVER, &first);
        if (rc == 1)
            rc = tine_future_result(first, 0, NULL);
    }
    tine_as_completed_close(iterator);
    tine_future_close(futures[0]);
    tine_future_close(futures[1]);
    return rc;
}

static int next_text(tine_buffer *args, void *user)
{
    int *left = user;
    int rc;

    if (*left == 0)
        return 0;
    --*left;
    rc = tine_pack(args, "[s]", some_text);
    return rc < 0 ? rc : 1;
}

/* The stream ends where memory is short, with what was pulled before. */
static int use_imap(tine_pool *pool, tine_failure *failure)
{
    int left = 20, context = 7, got = 0;
    tine_job_options job = {
        .failure = failure, .chunk = 3, .context = &context, .context_size = sizeof context};
    tine_source source = {.next = next_text, .user = &left};
    tine_imap *imap = NULL;
    int rc = tine_pool_imap_unordered(&imap, pool, triple, &source,
                                      &(tine_imap_options){.job = &job, .window = 6});

    while (rc >= 0) {
        rc = tine_imap_next(imap, TINE_FOREVER, NULL);
        if (rc == 0)
            break;
        got += rc == 1;
    }
    ck_assert(rc < 0 || got == 20);
    tine_imap_close(imap);
    return rc;
}

static int look_at_both(tine_call *call)
{
    int fds[2], rc = tine_args(call, "FF", &fds[0], &fds[1]);

    return rc < 0 ? rc : tine_return(call, "?", fcntl(fds[1], F_GETFD) == FD_CLOEXEC);
}

static int use_descriptors(tine_pool *pool, tine_failure *failure)
{
    tine_results *results = NULL;
    int rc = tine_pool_apply(&results, pool, look_at_both, &(tine_job_options){.failure = failure},
                             "FF", STDIN_FILENO, STDERR_FILENO);
    bool open = true;

    if (rc == 0)
        rc = tine_results_get(results, 0, "?", &open);
    ck_assert(open);
    tine_results_close(results);
    return rc;
}

static int (*const uses[])(tine_pool *pool, tine_failure *failure) = {
    use_for,    use_map,      use_reduce,    use_starmap, use_apply,
    use_submit, use_callback, use_completed, use_imap,    use_descriptors,
};

#define USES (int)(sizeof uses / sizeof uses[0])

/* ---- and fails ------------------------------------------------------------------------------- */

static int keep_context(void *context, void **state)
{
    *state = context;
    return 0;
}

static void forget_context(void *context, void *state)
{
    ck_assert_ptr_eq(context, state);
}

static void see_exit(tine_pool *pool, const tine_worker_exit *exit, void *user)
{
    (void)user;
    ck_assert_ptr_nonnull(pool);
    ck_assert(exit->worker == 0 || exit->worker == 1);
}

/* Opens, uses and closes a pool. The call that must fail may be in any of the three. */
static int use_pool(int use)
{
    static const tine_sandbox sandbox = {.flags = TINE_SANDBOX_NO_NEW_PRIVS};
    tine_pool_options options = {.workers = 2,
                                 .initializer = keep_context,
                                 .finalizer = forget_context,
                                 .context = some_text,
                                 .context_size = sizeof some_text,
                                 .on_worker_exit = see_exit,
                                 .sandbox = &sandbox};
    tine_failure failure = {0};
    tine_pool *pool;
    int rc = tine_pool_open(&pool, &options);

    if (rc < 0)
        return rc;
    ck_assert_eventually(pool_counts(pool).started >= 2); /* the second one comes a little later */
    rc = uses[use](pool, &failure);
    if (rc == TINE_EREMOTE && failure.error != 0)
        rc = failure.error;
    ck_assert_uint_eq(pool_counts(pool).deaths, 0);
    tine_pool_close(pool);
    return rc;
}

static bool is_shortage(int rc)
{
    return rc == 0 || rc == -ENOMEM || rc == -EMFILE || rc == -ENFILE || rc == -EAGAIN ||
           rc == -ETOOMANYREFS;
}

/* Returns how many calls could fail. */
static int fail_each(int use, _Atomic int *left)
{
    uint64_t blocks = heap_blocks();

    for (int k = 1;; k++) {
        int rc, unused;

        atomic_store(left, k);
        rc = use_pool(use);
        unused = atomic_exchange(left, 0);
        ck_assert_msg(is_shortage(rc), "call %d failed: %d (%s)", k, rc, tine_errname(rc));
        ck_assert_msg(heap_blocks() == blocks, "call %d failed, and left something", k);
        if (unused == 0)
            continue;
        ck_assert_rc(rc, 0);
        return k - 1;
    }
}

static void make_plan(void)
{
    plan = shared_memory(sizeof *plan);
    plan->program = getpid();
}

TEST(whatever_fails_in_the_program, .loop_end = USES, .timeout_s = 60)
{
    make_plan();
    ck_assert_int_gt(fail_each(loop_index, &plan->in_program), 8);
    plan = NULL;
}

TEST(whatever_fails_in_nursery_and_workers, .loop_end = USES, .timeout_s = 60)
{
    make_plan();
    ck_assert_int_ge(fail_each(loop_index, &plan->in_family), loop_index < 3 ? 2 : 4);
    plan = NULL;
}

/* Its exit() would run the program's handlers. */
TEST(a_worker_that_could_not_leave_as_it_should_does_not_begin)
{
    tine_failure failure;
    tine_pool *pool;

    make_plan();
    atomic_store(&plan->in_exit, true);
    ck_assert_rc(tine_pool_open(&pool, &(tine_pool_options){.workers = 1}), 0);
    ck_assert_rc(use_apply(pool, &failure), 0);
    ck_assert_uint_eq(pool_counts(pool).deaths, 1);
    ck_assert(!atomic_load(&plan->in_exit));
    tine_pool_close(pool);
    plan = NULL;
}

SUITE_OF_POOLS("pool/faults")
