/* SPDX-License-Identifier: MIT */
#include "tests/kill/load.h"

#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/support/random.h"
#include "tests/support/suite.h"
#include "tests/support/wait.h"

#define N           300
#define SUBMITTED   64
#define CHUNK       16
#define TURNS_MAX   60000 /* some 20 us */
#define PAGE_OF_64K UINT64_C(65536)

/* ---- what the workers do --------------------------------------------------------------------- */

static int64_t value_of(int64_t i)
{
    return i * i + 1;
}

static void spend_time(int turns)
{
    for (volatile int i = 0; i < turns; i++)
        ;
}

static void die_by(const struct book *book)
{
    ((void (*)(void))((intptr_t)spend_time + book->die))();
}

static int64_t work(struct book *book, int64_t i)
{
    struct mark *mark = &book->marks[i];
    int64_t value;

    atomic_fetch_add_explicit(&mark->begun, 1, memory_order_relaxed);
    if ((size_t)i == book->fatal &&
        atomic_fetch_sub_explicit(&book->deaths, 1, memory_order_relaxed) > 0) {
        atomic_store_explicit(&book->victim, getpid(), memory_order_relaxed);
        die_by(book);
    }
    spend_time(book->turns);
    value = value_of(i);
    atomic_fetch_add_explicit(&mark->ended, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&book->calls, 1, memory_order_relaxed);
    return value;
}

static int work_on_item(const void *in, void *out, void *context)
{
    struct book *book = *(struct book **)context;
    int64_t i = *(const int64_t *)in;

    *(int64_t *)out = value_of(i);
    return work(book, i) < 0;
}

static int work_on_range(size_t begin, size_t end, void *context)
{
    struct book *book = *(struct book **)context;

    for (size_t i = begin; i < end; i++) {
        book->out[i] = value_of((int64_t)i);
        work(book, (int64_t)i);
    }
    return 0;
}

static int add_range(size_t begin, size_t end, void *accumulator, void *context)
{
    struct book *book = *(struct book **)context;
    int64_t *sum = accumulator;

    for (size_t i = begin; i < end; i++)
        *sum += work(book, (int64_t)i);
    return 0;
}

static void add(void *into, const void *from, void *context)
{
    (void)context;
    *(int64_t *)into += *(const int64_t *)from;
}

static int work_on_tuple(tine_call *call)
{
    struct book *book = *(struct book **)tine_call_context(call);
    int64_t i;
    int rc = tine_args(call, "q", &i);

    return rc < 0 ? rc : tine_return(call, "q", work(book, i));
}

/* ---- starting and ending --------------------------------------------------------------------- */

static size_t count_futures(const struct load *load)
{
    return load->kind == LOAD_SUBMIT ? load->n : 1;
}

static void *zeroed(size_t count, size_t size)
{
    void *memory = calloc(count, size);

    ck_assert_ptr_nonnull(memory);
    return memory;
}

static void *shared(size_t count, size_t size)
{
    void *memory = tine_calloc(count, size);

    ck_assert_ptr_nonnull(memory);
    return memory;
}

static void start_map(struct load *load, tine_pool *pool)
{
    tine_map map = {.item = work_on_item,
                    .in = load->in,
                    .in_size = sizeof *load->in,
                    .out = load->book->out,
                    .out_size = sizeof *load->book->out,
                    .n = load->n};

    ck_assert_ok(tine_pool_map_async(load->futures, pool, &map, &load->options));
}

static void start_starmap(struct load *load, tine_pool *pool)
{
    tine_buffer args = {0};

    for (size_t i = 0; i < load->n; i++)
        ck_assert_ok(tine_pack(&args, "[q]", (int64_t)i));
    ck_assert_ok(
        tine_pool_starmap_async(load->futures, pool, work_on_tuple, &args, &load->options));
    tine_buffer_free(&args);
}

static void start_calls(struct load *load, tine_pool *pool)
{
    for (size_t i = 0; i < load->n; i++) {
        load->options.failure = &load->failures[i];
        ck_assert_ok(tine_pool_submit(&load->futures[i], pool, work_on_tuple, &load->options, "q",
                                      (int64_t)i));
    }
}

static void start(struct load *load, tine_pool *pool)
{
    switch (load->kind) {
    case LOAD_MAP:
        start_map(load, pool);
        break;
    case LOAD_STARMAP:
        start_starmap(load, pool);
        break;
    case LOAD_FOR:
        ck_assert_ok(
            tine_pool_for_async(load->futures, pool, load->n, work_on_range, &load->options));
        break;
    case LOAD_REDUCE:
        ck_assert_ok(tine_pool_reduce_async(load->futures, pool, load->n, add_range, add,
                                            &load->sum, sizeof load->sum, &load->options));
        break;
    case LOAD_SUBMIT:
    case LOAD_KINDS:
        start_calls(load, pool);
        break;
    }
}

static void make_book(struct load *load, const struct plan *plan)
{
    struct book *book = load->book = shared(1, sizeof *book);

    book->marks = shared(load->n, sizeof *book->marks);
    book->out = shared(load->n, sizeof *book->out);
    /* From no work, where what is hit is the pool's own, to work that is hit nearly always. */
    book->turns = plan->light ? 0 : (int)(TURNS_MAX >> random_below(6));
    book->fatal = plan->fatal;
    book->die = (intptr_t)plan->die - (intptr_t)spend_time;
    atomic_init(&book->deaths, plan->deaths);
    load->options.context = &load->book;
    load->options.context_size = sizeof load->book;
}

size_t load_size(enum load_kind kind)
{
    return kind == LOAD_SUBMIT ? SUBMITTED : N;
}

void load_start(struct load *load, enum load_kind kind, tine_pool *pool,
                const tine_job_options *options)
{
    load_start_plan(load, kind, pool, options, &(struct plan){.n = 0});
}

void load_start_plan(struct load *load, enum load_kind kind, tine_pool *pool,
                     const tine_job_options *options, const struct plan *plan)
{
    *load = (struct load){.kind = kind, .n = plan->n != 0 ? plan->n : load_size(kind), .chunk = 1};
    load->options = *options;
    if (kind == LOAD_FOR || kind == LOAD_REDUCE)
        load->options.chunk = load->chunk = options->chunk != 0 ? options->chunk : CHUNK;
    load->in = shared(load->n, sizeof *load->in);
    load->futures = zeroed(load->n, sizeof(tine_future *));
    load->failures = zeroed(load->n, sizeof *load->failures);
    load->codes = zeroed(load->n, sizeof *load->codes);
    for (size_t i = 0; i < load->n; i++)
        load->in[i] = (int64_t)i;
    make_book(load, plan);
    load->options.failure = load->failures;
    start(load, pool);
}

void load_finish(struct load *load)
{
    for (size_t i = 0; i < count_futures(load); i++)
        load->codes[i] = tine_future_result(load->futures[i], TINE_FOREVER, NULL);
    if (load->kind == LOAD_STARMAP)
        ck_assert_rc(tine_future_results(load->futures[0], 0, &load->results), load->codes[0]);
}

void load_free(struct load *load)
{
    for (size_t i = 0; i < count_futures(load); i++)
        tine_future_close(load->futures[i]);
    tine_free(load->book->marks);
    tine_free(load->book->out);
    tine_free(load->book);
    tine_free(load->in);
    free(load->futures);
    free(load->failures);
    free(load->codes);
}

/* ---- looking at what came out ---------------------------------------------------------------- */

static uint32_t begun(const struct load *load, size_t i)
{
    return atomic_load_explicit(&load->book->marks[i].begun, memory_order_relaxed);
}

static uint32_t ended(const struct load *load, size_t i)
{
    return atomic_load_explicit(&load->book->marks[i].ended, memory_order_relaxed);
}

void load_await_place(const struct load *load)
{
    uint64_t place = random_below(load->n);
    size_t last = load->kind == LOAD_SUBMIT ? load->n - 1 : 0;

    while (atomic_load_explicit(&load->book->calls, memory_order_relaxed) < place &&
           !tine_future_done(load->futures[last]))
        sched_yield();
    pause_randomly(TINE_US(5));
}

size_t load_done(const struct load *load)
{
    size_t done = 0;

    for (size_t i = 0; i < load->n; i++)
        done += ended(load, i) > 0;
    return done;
}

/* The code of one item, where the kind of job tells it; what it returned must be right. */
static int code_of(const struct load *load, size_t i)
{
    int64_t value = 0;
    int code;

    if (load->kind == LOAD_STARMAP)
        code = tine_results_get(load->results, i, "q", &value);
    else
        code = load->codes[i] < 0 ? load->codes[i]
                                  : tine_future_result(load->futures[i], 0, "q", &value);
    if (code == 0)
        ck_assert_int_eq(value, value_of((int64_t)i));
    return code;
}

static bool has_codes(const struct load *load)
{
    return load->kind == LOAD_STARMAP || load->kind == LOAD_SUBMIT;
}

static bool has_array(const struct load *load)
{
    return load->kind == LOAD_MAP || load->kind == LOAD_FOR;
}

void load_check_whole(const struct load *load)
{
    int64_t sum = 0;

    for (size_t i = 0; i < count_futures(load); i++)
        ck_assert_msg(load->codes[i] == 0, "job of kind %d failed: %s: %s", load->kind,
                      tine_errname(load->codes[i]), load->failures[i].message);
    for (size_t i = 0; i < load->n; i++) {
        ck_assert_uint_ge(ended(load, i), 1);
        if (has_codes(load))
            ck_assert_rc(code_of(load, i), 0);
        if (has_array(load))
            ck_assert_int_eq(load->book->out[i], value_of((int64_t)i));
        sum += value_of((int64_t)i);
    }
    if (load->kind == LOAD_REDUCE)
        ck_assert_int_eq(load->sum, sum);
}

static void check_failure(const tine_failure *failure, const struct load *load,
                          const struct hunt *hunt)
{
    uint64_t left = load->n - failure->index;

    ck_assert_rc(failure->code, TINE_EWORKER);
    ck_assert_msg(hunt_killed(hunt, failure->pid), "%d was not killed: %s", failure->pid,
                  failure->message);
    ck_assert_int_eq(failure->signal, 9);
    ck_assert_int_eq(failure->exit_status, -1);
    ck_assert_int_ge(failure->worker, 0);
    if (load->kind == LOAD_SUBMIT) {
        ck_assert_uint_eq(failure->index, 0);
        return;
    }
    ck_assert_uint_lt(failure->index, load->n);
    ck_assert_uint_eq(failure->index % load->chunk, 0);
    ck_assert_uint_eq(failure->count, left < load->chunk ? left : load->chunk);
}

/* Items whose own code says that they are lost; the lowest must be the job's failure. */
static uint64_t check_codes(const struct load *load, const struct hunt *hunt)
{
    uint64_t lost = 0;

    for (size_t i = 0; i < load->n; i++) {
        int code = code_of(load, i);

        if (code == 0) {
            ck_assert_uint_eq(ended(load, i), 1);
            continue;
        }
        ck_assert_rc(code, TINE_EWORKER);
        if (load->kind == LOAD_SUBMIT)
            check_failure(&load->failures[i], load, hunt);
        else if (lost == 0)
            ck_assert_uint_eq(load->failures[0].index, i);
        lost++;
    }
    return lost;
}

/* Chunks that did not end, from the book alone. */
static uint64_t check_book(const struct load *load, bool one_victim)
{
    const tine_failure *failure = &load->failures[0];
    uint64_t lost = 0, last = UINT64_MAX;

    for (size_t i = 0; i < load->n; i++) {
        uint64_t chunk = i / load->chunk;

        if (ended(load, i) == 1 && has_array(load))
            ck_assert_int_eq(load->book->out[i], value_of((int64_t)i));
        if (ended(load, i) == 1)
            continue;
        ck_assert_int_ne(load->codes[0], 0);
        ck_assert_uint_ge(i, failure->index);
        if (one_victim)
            ck_assert_uint_eq(chunk, failure->index / load->chunk);
        if (chunk != last)
            lost++;
        last = chunk;
    }
    return lost;
}

void load_check_lost(const struct load *load, const struct hunt *hunt)
{
    uint64_t lost;

    for (size_t i = 0; i < load->n; i++) {
        ck_assert_msg(begun(load, i) <= 1, "item %zu ran %u times", i, begun(load, i));
        ck_assert_uint_le(ended(load, i), begun(load, i));
    }
    lost = has_codes(load) ? check_codes(load, hunt) : check_book(load, hunt->count == 1);
    ck_assert_msg(lost <= hunt->count, "%ju lost, but only %u killed", (uintmax_t)lost,
                  hunt->count);
    if (load->kind == LOAD_SUBMIT)
        return;
    if (load->codes[0] == 0)
        load_check_whole(load);
    else
        check_failure(&load->failures[0], load, hunt);
}

void load_check_fatal(const struct load *load, uint32_t tries)
{
    size_t fatal = load->book->fatal;
    const tine_failure *failure = &load->failures[load->kind == LOAD_SUBMIT ? fatal : 0];
    size_t first = fatal - fatal % load->chunk;

    ck_assert_uint_eq(begun(load, fatal), tries);
    ck_assert_rc(failure->code, TINE_EWORKER);
    ck_assert_int_eq(failure->pid, atomic_load(&load->book->victim));
    ck_assert_uint_eq(failure->index, load->kind == LOAD_SUBMIT ? 0 : first);
    for (size_t i = 0; i < load->n; i++) {
        if (i >= first && i < first + load->chunk) {
            if (has_codes(load))
                ck_assert_rc(code_of(load, i), TINE_EWORKER);
            continue;
        }
        ck_assert_uint_eq(begun(load, i), 1);
        ck_assert_uint_eq(ended(load, i), 1);
        if (has_codes(load))
            ck_assert_rc(code_of(load, i), 0);
        if (has_array(load))
            ck_assert_int_eq(load->book->out[i], value_of((int64_t)i));
    }
}

bool load_check_broken(const struct load *load)
{
    bool failed = false;

    for (size_t i = 0; i < count_futures(load); i++) {
        failed |= load->codes[i] != 0;
        if (load->codes[i] != 0)
            ck_assert_rc(load->codes[i], TINE_EWORKER);
        else if (load->kind == LOAD_SUBMIT)
            ck_assert_rc(code_of(load, i), 0);
    }
    for (size_t i = 0; i < load->n; i++) {
        ck_assert_uint_le(begun(load, i), 1);
        if (ended(load, i) == 1 && has_array(load))
            ck_assert_int_eq(load->book->out[i], value_of((int64_t)i));
    }
    if (!failed)
        load_check_whole(load);
    return failed;
}

uint64_t load_repeats(const struct load *load)
{
    uint64_t repeats = 0;

    for (size_t i = 0; i < load->n; i++)
        repeats += begun(load, i) > 1 ? begun(load, i) - 1 : 0;
    return repeats;
}

/* ---- the pool and the heap ------------------------------------------------------------------- */

void load_await_size(tine_pool *pool, uint64_t deaths)
{
    struct patience patience = patience_begin();
    tine_pool_counts counts;

    for (bool goes_on = true;; goes_on = patience_pause(&patience)) {
        ck_assert_ok(tine_pool_stats(pool, &counts));
        ck_assert_uint_le(counts.deaths, deaths);
        if (counts.deaths == deaths && counts.alive == counts.workers)
            return;
        if (!goes_on)
            break;
    }
    ck_abort_msg("%ju of %ju deaths are known, %d of %d workers alive, %ju started",
                 (uintmax_t)counts.deaths, (uintmax_t)deaths, counts.alive, counts.workers,
                 (uintmax_t)counts.started);
}

tine_pool *load_pool(int workers)
{
    tine_pool *pool;

    ck_assert_ok(tine_pool_open(&pool, &(tine_pool_options){.workers = workers}));
    load_await_size(pool, 0);
    return pool;
}

static tine_heap_report check_heap(void)
{
    tine_heap_report report;
    int rc = tine_heap_check(&report);

    ck_assert_msg(rc == 0, "heap: %s (page %jd)", report.first, (intmax_t)report.first_page);
    ck_assert_uint_eq(report.used_bytes + report.free_bytes + report.lost_bytes,
                      report.mapped_bytes);
    return report;
}

struct load_heap load_heap_begin(void)
{
    tine_heap_report report = check_heap();

    return (struct load_heap){.used_blocks = report.used_blocks, .lost_bytes = report.lost_bytes};
}

void load_heap_end(const struct load_heap *before, uint64_t lost)
{
    tine_heap_report report = check_heap();

    ck_assert_uint_le(report.used_blocks, before->used_blocks + lost);
    ck_assert_uint_le(report.lost_bytes, before->lost_bytes + lost * PAGE_OF_64K);
}

void load_under_kill(tine_pool *pool, struct hunt *hunt, int64_t within_ns)
{
    struct load load;

    hunt_forget(hunt);
    load_start(&load, (enum load_kind)random_below(LOAD_KINDS), pool,
               &(tine_job_options){.retries = TINE_UNLIMITED});
    hunt_kill(hunt, within_ns);
    load_finish(&load);
    load_check_whole(&load);
    load_free(&load);
}
