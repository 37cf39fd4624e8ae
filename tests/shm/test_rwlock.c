/* SPDX-License-Identifier: MIT */
/* Reader-writer locks: who may enter when, between threads and processes, and after deaths. */
#include <tine/heap.h>
#include <tine/rwlock.h>

#include <errno.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/sys.h"
#include "shm/heap.h"
#include "shm/owner.h"
#include "shm/rwlock.h"
#include "tests/shm/heap_help.h"
#include "tests/support/children.h"
#include "tests/support/proc.h"
#include "tests/support/wait.h"

HEAP_BEFORE_TESTS

struct stage {
    tine_rwlock lock;
    tine_rwlock *other; /* at another address */
    struct gate *gate, *end;
    _Atomic int32_t tid;
    _Atomic int order, reader, writer;
};

static struct stage *stage_new(int32_t prefer_writers)
{
    struct stage *stage = shared_memory(sizeof *stage);
    tine_rwlock_options options = {.prefer_writers = prefer_writers};

    stage->gate = gate_new();
    stage->end = gate_new();
    ck_assert_ok(tine_rwlock_init(&stage->lock, &options));
    return stage;
}

static tine_rwlock_counts counts(const struct stage *stage)
{
    tine_rwlock_counts counts;

    ck_assert_ok(tine_rwlock_stats(&stage->lock, &counts));
    return counts;
}

static void read_until_end(void *context)
{
    struct stage *stage = context;

    ck_assert_ok(tine_rwlock_acquire_read(&stage->lock, TINE_FOREVER));
    gate_raise(stage->gate);
    gate_await(stage->end, 1);
    ck_assert_ok(tine_rwlock_release_read(&stage->lock));
}

static void write_until_end(void *context)
{
    struct stage *stage = context;

    ck_assert_ok(tine_rwlock_acquire_write(&stage->lock, TINE_FOREVER));
    gate_raise(stage->gate);
    gate_await(stage->end, 1);
    ck_assert_ok(tine_rwlock_release_write(&stage->lock));
}

static struct child start_and_await(void (*body)(void *), struct stage *stage)
{
    uint32_t before = stage->gate->raised;
    struct child child = child_start(body, stage);

    gate_await(stage->gate, before + 1);
    return child;
}

/* ---- one process ----------------------------------------------------------------------------- */

TEST(many_read_or_one_writes)
{
    struct stage *stage = stage_new(0);
    struct child reader;

    ck_assert_ok(tine_rwlock_acquire_read(&stage->lock, TINE_FOREVER));
    ck_assert_ok(tine_rwlock_acquire_read(&stage->lock, 0));
    reader = start_and_await(read_until_end, stage);
    ck_assert_rc(tine_rwlock_readers(&stage->lock), 3);
    ck_assert_rc(tine_rwlock_acquire_write(&stage->lock, 0), -EAGAIN);
    ck_assert_ok(tine_rwlock_release_read(&stage->lock));
    ck_assert_ok(tine_rwlock_release_read(&stage->lock));
    ck_assert_rc(tine_rwlock_acquire_write(&stage->lock, TINE_MS(1)), -ETIMEDOUT);
    gate_raise(stage->end);
    child_join(&reader);
    ck_assert_ok(tine_rwlock_acquire_write(&stage->lock, 0));
    ck_assert_rc(tine_rwlock_readers(&stage->lock), 0);
    ck_assert_ok(tine_rwlock_release_write(&stage->lock));
}

TEST(the_writer_is_refused_a_second_time)
{
    struct stage *stage = stage_new(0);

    ck_assert_ok(tine_rwlock_acquire_write(&stage->lock, TINE_FOREVER));
    ck_assert_rc(tine_rwlock_acquire_write(&stage->lock, TINE_FOREVER), -EDEADLK);
    ck_assert_rc(tine_rwlock_acquire_write(&stage->lock, 0), -EDEADLK);
    ck_assert_rc(tine_rwlock_acquire_read(&stage->lock, TINE_FOREVER), -EDEADLK);
    ck_assert_ok(tine_rwlock_release_write(&stage->lock));
}

static void release_either(void *context)
{
    struct stage *stage = context;

    ck_assert_rc(tine_rwlock_release_read(&stage->lock), -EPERM);
    ck_assert_rc(tine_rwlock_release_write(&stage->lock), -EPERM);
    ck_assert_rc(tine_rwlock_recover(&stage->lock), -EPERM);
}

static void *release_write_in_thread(void *context)
{
    ck_assert_rc(tine_rwlock_release_write(&((struct stage *)context)->lock), -EPERM);
    return NULL;
}

TEST(what_one_does_not_hold_one_cannot_release)
{
    struct stage *stage = stage_new(0);
    struct child child;
    pthread_t thread;

    release_either(stage);
    ck_assert_ok(tine_rwlock_acquire_read(&stage->lock, 0));
    ck_assert_rc(tine_rwlock_release_write(&stage->lock), -EPERM);
    child = child_start(release_either, stage);
    child_join(&child);
    ck_assert_ok(tine_rwlock_release_read(&stage->lock));
    ck_assert_rc(tine_rwlock_release_read(&stage->lock), -EPERM);
    ck_assert_ok(tine_rwlock_acquire_write(&stage->lock, 0));
    ck_assert_rc(tine_rwlock_release_read(&stage->lock), -EPERM);
    child = child_start(release_either, stage);
    child_join(&child);
    ck_assert_int_eq(pthread_create(&thread, NULL, release_write_in_thread, stage), 0);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert_ok(tine_rwlock_release_write(&stage->lock));
}

TEST(a_timeout_is_kept)
{
    struct stage *stage = stage_new(0);
    struct child writer = start_and_await(write_until_end, stage);
    int64_t start = tine__now_ns();

    ck_assert_rc(tine_rwlock_acquire_read(&stage->lock, TINE_MS(60)), -ETIMEDOUT);
    ck_assert_rc(tine_rwlock_acquire_write(&stage->lock, TINE_MS(60)), -ETIMEDOUT);
    ck_assert_int_ge(tine__now_ns() - start, TINE_MS(120));
    ck_assert_rc(tine_rwlock_acquire_read(&stage->lock, 0), -EAGAIN);
    gate_raise(stage->end);
    child_join(&writer);
    ck_assert_uint_eq(counts(stage).contended, 2);
    ck_assert_uint_eq(counts(stage).writes, 1);
}

TEST(there_can_be_so_many_readings_and_no_more)
{
    struct stage *stage = stage_new(0);

    for (int i = 0; i < TINE_RWLOCK_READERS_MAX; i++)
        if (tine_rwlock_acquire_read(&stage->lock, 0) != 0)
            ck_abort_msg("reading %d", i);
    ck_assert_rc(tine_rwlock_acquire_read(&stage->lock, TINE_FOREVER), -EOVERFLOW);
    for (int i = 0; i < TINE_RWLOCK_READERS_MAX; i++)
        if (tine_rwlock_release_read(&stage->lock) != 0)
            ck_abort_msg("end of reading %d", i);
    ck_assert_ok(tine_rwlock_acquire_write(&stage->lock, 0));
}

TEST(wrong_arguments_are_refused)
{
    tine_rwlock lock, zero = {{0}};
    tine_rwlock_counts counts;
    pid_t pid = 7, tid = 8;

    ck_assert_rc(tine_rwlock_init(NULL, NULL), -EINVAL);
    ck_assert_rc(tine_rwlock_init(&lock, &(tine_rwlock_options){.reserved = {1}}), -E2BIG);
    ck_assert_rc(tine_rwlock_init(&lock, &(tine_rwlock_options){.reserved0 = 1}), -E2BIG);
    ck_assert_rc(tine_rwlock_init(&lock, &(tine_rwlock_options){.flags = 1}), -EINVAL);
    ck_assert_rc(tine_rwlock_init(&lock, &(tine_rwlock_options){.prefer_writers = 2}), -EINVAL);
    ck_assert_rc(tine_rwlock_init(&lock, &(tine_rwlock_options){.processes = 1023}), -EINVAL);
    for (tine_rwlock *none = &zero;; none = NULL) {
        ck_assert_rc(tine_rwlock_acquire_read(none, 0), -EINVAL);
        ck_assert_rc(tine_rwlock_acquire_write(none, 0), -EINVAL);
        ck_assert_rc(tine_rwlock_release_read(none), -EINVAL);
        ck_assert_rc(tine_rwlock_release_write(none), -EINVAL);
        ck_assert_rc(tine_rwlock_recover(none), -EINVAL);
        ck_assert_rc(tine_rwlock_readers(none), -EINVAL);
        ck_assert_rc(tine_rwlock_holder(none, &pid, &tid), -EINVAL);
        ck_assert_rc(tine_rwlock_stats(none, &counts), -EINVAL);
        tine_rwlock_fini(none);
        if (none == NULL)
            break;
    }
    ck_assert_ok(tine_rwlock_init(&lock, NULL));
    ck_assert_rc(tine_rwlock_stats(&lock, NULL), -EINVAL);
    ck_assert_rc(tine_rwlock_recover(&lock), -EPERM);
    ck_assert_rc(tine_rwlock_holder(&lock, &pid, &tid), 0);
    ck_assert_int_eq(pid, 7);
    tine_rwlock_fini(&lock);
    ck_assert_rc(tine_rwlock_acquire_read(&lock, 0), -EINVAL);
}

TEST(the_writer_is_named)
{
    struct stage *stage = stage_new(0);
    struct child writer = start_and_await(write_until_end, stage);
    pid_t pid = 0, tid = 0;

    ck_assert_rc(tine_rwlock_holder(&stage->lock, &pid, &tid), 1);
    ck_assert_int_eq(pid, writer.pid);
    ck_assert_int_eq(tid, writer.pid);
    ck_assert_rc(tine_rwlock_holder(&stage->lock, NULL, NULL), 1);
    gate_raise(stage->end);
    child_join(&writer);
    ck_assert_rc(tine_rwlock_holder(&stage->lock, &pid, &tid), 0);
}

/* ---- waiting --------------------------------------------------------------------------------- */

static void write_in_turn(void *context)
{
    struct stage *stage = context;

    stage->tid = tine__sys_gettid();
    gate_raise(stage->gate);
    ck_assert_ok(tine_rwlock_acquire_write(&stage->lock, TINE_FOREVER));
    stage->writer = ++stage->order;
    ck_assert_ok(tine_rwlock_release_write(&stage->lock));
}

static void read_in_turn(void *context)
{
    struct stage *stage = context;

    stage->tid = tine__sys_gettid();
    gate_raise(stage->gate);
    ck_assert_ok(tine_rwlock_acquire_read(&stage->lock, TINE_FOREVER));
    stage->reader = ++stage->order;
    ck_assert_ok(tine_rwlock_release_read(&stage->lock));
}

static struct child start_until_it_sleeps(void (*body)(void *), struct stage *stage)
{
    struct child child = start_and_await(body, stage);

    ck_assert_eventually(proc_asleep(stage->tid));
    return child;
}

TEST(readers_enter_while_a_writer_waits)
{
    struct stage *stage = stage_new(0);
    struct child writer;

    ck_assert_ok(tine_rwlock_acquire_read(&stage->lock, 0));
    writer = start_until_it_sleeps(write_in_turn, stage);
    ck_assert_ok(tine_rwlock_acquire_read(&stage->lock, 0));
    ck_assert_ok(tine_rwlock_release_read(&stage->lock));
    ck_assert_ok(tine_rwlock_release_read(&stage->lock));
    child_join(&writer);
}

TEST(preferred_writers_go_first)
{
    struct stage *stage = stage_new(1);
    struct child writer, reader;

    ck_assert_ok(tine_rwlock_acquire_read(&stage->lock, 0));
    writer = start_until_it_sleeps(write_in_turn, stage);
    ck_assert_rc(tine_rwlock_acquire_read(&stage->lock, 0), -EAGAIN);
    ck_assert_rc(tine_rwlock_acquire_read(&stage->lock, TINE_MS(1)), -ETIMEDOUT);
    reader = start_until_it_sleeps(read_in_turn, stage);
    ck_assert_ok(tine_rwlock_release_read(&stage->lock));
    child_join(&writer);
    child_join(&reader);
    ck_assert_int_lt(stage->writer, stage->reader);
}

static void fail_to_write(void *context)
{
    struct stage *stage = context;

    stage->tid = tine__sys_gettid();
    gate_raise(stage->gate);
    ck_assert_rc(tine_rwlock_acquire_write(&stage->lock, TINE_MS(60)), -ETIMEDOUT);
}

TEST(a_preferred_writer_that_gives_up_lets_readers_in)
{
    struct stage *stage = stage_new(1);
    struct child writer, reader;

    ck_assert_ok(tine_rwlock_acquire_read(&stage->lock, 0));
    writer = start_until_it_sleeps(fail_to_write, stage);
    reader = start_and_await(read_in_turn, stage);
    child_join(&reader);
    child_join(&writer);
    ck_assert_ok(tine_rwlock_acquire_read(&stage->lock, 0));
}

TEST(a_preferred_writer_that_dies_lets_readers_in)
{
    struct stage *stage = stage_new(1);
    struct child writer;

    ck_assert_ok(tine_rwlock_acquire_read(&stage->lock, 0));
    writer = start_until_it_sleeps(write_in_turn, stage);
    child_kill(&writer);
    ck_assert_ok(tine_rwlock_acquire_read(&stage->lock, TINE_FOREVER));
    ck_assert_uint_eq(counts(stage).deaths, 0);
}

#define WRITERS 35 /* more than can be counted as preferred */

static void *write_in_thread(void *context)
{
    struct stage *stage = context;

    ck_assert_ok(tine_rwlock_acquire_write(&stage->lock, TINE_FOREVER));
    stage->order++;
    ck_assert_ok(tine_rwlock_release_write(&stage->lock));
    return NULL;
}

TEST(more_writers_may_wait_than_are_counted)
{
    struct stage *stage = stage_new(1);
    pthread_t threads[WRITERS];

    ck_assert_ok(tine_rwlock_acquire_read(&stage->lock, 0));
    for (int i = 0; i < WRITERS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, write_in_thread, stage), 0);
    ck_assert_eventually(counts(stage).contended == WRITERS);
    ck_assert_ok(tine_rwlock_release_read(&stage->lock));
    for (int i = 0; i < WRITERS; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    ck_assert_int_eq(stage->order, WRITERS);
    ck_assert_ok(tine_rwlock_acquire_read(&stage->lock, 0));
}

/* ---- deaths ---------------------------------------------------------------------------------- */

TEST(a_dead_reader_reads_no_more)
{
    struct stage *stage = stage_new(0);
    struct child readers[2] = {start_and_await(read_until_end, stage),
                               start_and_await(read_until_end, stage)};

    child_kill(&readers[0]);
    child_kill(&readers[1]);
    ck_assert_ok(tine_rwlock_acquire_write(&stage->lock, TINE_FOREVER));
    ck_assert_ok(tine_rwlock_release_write(&stage->lock));
    readers[0] = start_and_await(read_until_end, stage);
    child_kill(&readers[0]);
    ck_assert_eventually(tine_rwlock_acquire_write(&stage->lock, 0) == 0);
}

static void be_refused_reading(void *context)
{
    struct stage *stage = context;

    stage->tid = tine__sys_gettid();
    gate_raise(stage->gate);
    ck_assert_rc(tine_rwlock_acquire_read(&stage->lock, TINE_FOREVER), -EOWNERDEAD);
}

static struct stage *stage_with_dead_writer(int32_t prefer_writers)
{
    struct stage *stage = stage_new(prefer_writers);
    struct child writer = start_and_await(write_until_end, stage);
    struct child reader = start_until_it_sleeps(be_refused_reading, stage);

    child_kill(&writer);
    child_join(&reader);
    return stage;
}

TEST(a_dead_writer_leaves_doubt_until_somebody_recovers, .loop_end = 2)
{
    struct stage *stage = stage_with_dead_writer(loop_index);

    ck_assert_rc(tine_rwlock_acquire_read(&stage->lock, 0), -EOWNERDEAD);
    ck_assert_rc(tine_rwlock_acquire_write(&stage->lock, 0), -EOWNERDEAD);
    ck_assert_rc(tine_rwlock_acquire_read(&stage->lock, 0), -EDEADLK);
    ck_assert_ok(tine_rwlock_recover(&stage->lock));
    ck_assert_rc(tine_rwlock_recover(&stage->lock), -EINVAL);
    ck_assert_ok(tine_rwlock_release_write(&stage->lock));
    ck_assert_ok(tine_rwlock_acquire_read(&stage->lock, 0));
    ck_assert_uint_eq(counts(stage).deaths, 1);
    ck_assert_uint_eq(counts(stage).writes, 2);
}

TEST(readers_wait_for_whoever_repairs)
{
    struct stage *stage = stage_with_dead_writer(0);
    struct child reader;

    ck_assert_rc(tine_rwlock_acquire_write(&stage->lock, TINE_FOREVER), -EOWNERDEAD);
    reader = start_until_it_sleeps(read_in_turn, stage);
    ck_assert_ok(tine_rwlock_recover(&stage->lock));
    ck_assert_ok(tine_rwlock_release_write(&stage->lock));
    child_join(&reader);
}

static void begin_to_repair(void *context)
{
    struct stage *stage = context;

    ck_assert_rc(tine_rwlock_acquire_write(&stage->lock, TINE_FOREVER), -EOWNERDEAD);
    gate_raise(stage->gate);
    pause();
}

TEST(whoever_repairs_may_die_too)
{
    struct stage *stage = stage_with_dead_writer(0);
    struct child repairer = start_and_await(begin_to_repair, stage);

    child_kill(&repairer);
    ck_assert_rc(tine_rwlock_acquire_write(&stage->lock, TINE_FOREVER), -EOWNERDEAD);
    ck_assert_ok(tine_rwlock_recover(&stage->lock));
    ck_assert_ok(tine_rwlock_release_write(&stage->lock));
    ck_assert_uint_eq(counts(stage).deaths, 2);
}

static void be_refused_for_good(void *context)
{
    struct stage *stage = context;

    stage->tid = tine__sys_gettid();
    gate_raise(stage->gate);
    ck_assert_rc(tine_rwlock_acquire_read(&stage->lock, TINE_FOREVER), -ENOTRECOVERABLE);
    ck_assert_rc(tine_rwlock_acquire_write(&stage->lock, TINE_FOREVER), -ENOTRECOVERABLE);
}

TEST(what_nobody_recovers_is_lost_for_all, .loop_end = 2)
{
    struct stage *stage = stage_with_dead_writer(loop_index);
    struct child other;

    ck_assert_rc(tine_rwlock_acquire_write(&stage->lock, TINE_FOREVER), -EOWNERDEAD);
    other = start_until_it_sleeps(be_refused_for_good, stage);
    ck_assert_ok(tine_rwlock_release_write(&stage->lock));
    child_join(&other);
    be_refused_for_good(stage);
    ck_assert_rc(tine_rwlock_release_write(&stage->lock), -EPERM);
}

/* An account under our pid, of a process that began at another time. */
TEST(a_used_pid_does_not_pass_for_the_dead_writer)
{
    struct stage *stage = stage_new(0);
    struct tine__rwlock_shm *lock = (struct tine__rwlock_shm *)&stage->lock;
    uint64_t self;

    ck_assert_ok(tine_rwlock_acquire_write(&stage->lock, 0));
    self = tine__owner_word();
    for (uint32_t i = 0; i < TINE_RWLOCK_PROCESSES; i++)
        if (tine__ledger_accounts(&lock->ledger)[i].owner == self)
            tine__ledger_accounts(&lock->ledger)[i].owner = self ^ (UINT64_C(1) << 30);
    lock->writer_thread = 0;
    ck_assert_rc(tine_rwlock_acquire_write(&stage->lock, TINE_FOREVER), -EOWNERDEAD);
    ck_assert_ok(tine_rwlock_recover(&stage->lock));
    ck_assert_ok(tine_rwlock_release_write(&stage->lock));
}

/* ---- many ------------------------------------------------------------------------------------ */

#define MEMBERS 4
#define ROUNDS  3000

struct pair {
    uint64_t a, b; /* plain: only the lock keeps them equal */
};

static void read_and_write(void *context)
{
    struct stage *stage = context;
    struct pair *pair = (struct pair *)(stage + 1);

    for (int i = 0; i < ROUNDS; i++)
        if (i % 4 == 0) {
            ck_assert(tine_rwlock_acquire_write(stage->other, TINE_FOREVER) == 0);
            pair->a++;
            pair->b++;
            ck_assert(tine_rwlock_release_write(stage->other) == 0);
        } else {
            ck_assert(tine_rwlock_acquire_read(stage->other, TINE_FOREVER) == 0);
            ck_assert(pair->a == pair->b);
            ck_assert(tine_rwlock_release_read(stage->other) == 0);
        }
}

static void *read_and_write_in_thread(void *context)
{
    read_and_write(context);
    return NULL;
}

TEST(threads_and_processes_share_it, .loop_end = 2, .timeout_s = 60)
{
    tine_rwlock_options options = {.prefer_writers = loop_index};
    struct stage *stage = shared_memory(sizeof *stage + sizeof(struct pair));
    struct pair *pair = (struct pair *)(stage + 1);
    struct child children[MEMBERS];
    pthread_t threads[MEMBERS];

    stage->other = &stage->lock;
    ck_assert_ok(tine_rwlock_init(&stage->lock, &options));
    for (int i = 0; i < MEMBERS; i++)
        children[i] = child_start(read_and_write, stage);
    for (int i = 0; i < MEMBERS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, read_and_write_in_thread, stage), 0);
    for (int i = 0; i < MEMBERS; i++) {
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
        child_join(&children[i]);
    }
    ck_assert_uint_eq(pair->a, 2 * MEMBERS * ROUNDS / 4);
    ck_assert_uint_eq(counts(stage).writes, pair->a);
    ck_assert_rc(tine_rwlock_readers(&stage->lock), 0);
}

TEST(it_works_in_the_family_heap_and_with_room_for_more)
{
    tine_rwlock *lock = tine_alloc(TINE_RWLOCK_SIZE(200));

    ck_assert_ptr_nonnull(lock);
    ck_assert_ok(tine_rwlock_init(lock, &(tine_rwlock_options){.processes = 200}));
    ck_assert_ok(tine_rwlock_acquire_read(lock, 0));
    ck_assert_rc(tine_rwlock_acquire_write(lock, 0), -EAGAIN);
    ck_assert_ok(tine_rwlock_release_read(lock));
    ck_assert_ok(tine_rwlock_acquire_write(lock, 0));
    tine_rwlock_fini(lock);
    tine_free(lock);
}

static void *write_there(void *context)
{
    ck_assert_ok(tine_rwlock_acquire_write(context, TINE_FOREVER));
    ck_assert_ok(tine_rwlock_release_write(context));
    return NULL;
}

TEST(it_works_at_two_addresses)
{
    int fd = tine__sys_memfd("test");
    tine_rwlock *here, *there;
    pthread_t thread;

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(ftruncate(fd, 4096), 0);
    here = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    there = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    ck_assert(here != MAP_FAILED && there != MAP_FAILED);
    ck_assert_ok(tine_rwlock_init(here, NULL));
    ck_assert_ok(tine_rwlock_acquire_read(here, 0));
    ck_assert_int_eq(pthread_create(&thread, NULL, write_there, there), 0);
    ck_assert_ok(tine_rwlock_release_read(here));
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert_ok(tine_rwlock_acquire_write(here, 0));
    ck_assert_rc(tine_rwlock_acquire_write(there, TINE_FOREVER), -EDEADLK);
    ck_assert_ok(tine_rwlock_release_write(there));
    munmap(here, 4096);
    munmap(there, 4096);
}

SUITE("shm/rwlock")
