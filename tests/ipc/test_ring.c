/* SPDX-License-Identifier: MIT */
/*
 * The ring by itself: what goes in comes out, once, whole and in order, from and to any number of
 * processes and threads; full, empty, ended; memory that is not there. The program is linked so
 * that allocations, membarrier and the judgement of lives come here first (ld --wrap).
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "lib/clock.h"
#include "tests/ipc/ring_help.h"
#include "tests/support/children.h"
#include "tests/support/proc.h"
#include "tests/support/random.h"
#include "tests/support/wait.h"

HEAP_BEFORE_TESTS

static int until_failure; /* of an allocation; 0: none fails */
static bool no_membarrier;

void *__real_tine_aligned_alloc(size_t alignment, size_t size);
void *__wrap_tine_aligned_alloc(size_t alignment, size_t size);
void *__wrap_tine_aligned_alloc(size_t alignment, size_t size)
{
    if (until_failure > 0 && --until_failure == 0)
        return NULL;
    return __real_tine_aligned_alloc(alignment, size);
}

int __real_tine__sys_membarrier(void);
int __wrap_tine__sys_membarrier(void);
int __wrap_tine__sys_membarrier(void)
{
    return no_membarrier ? -ENOSYS : __real_tine__sys_membarrier();
}

int __real_tine__sys_membarrier_register(void);
int __wrap_tine__sys_membarrier_register(void);
int __wrap_tine__sys_membarrier_register(void)
{
    return no_membarrier ? -ENOSYS : __real_tine__sys_membarrier_register();
}

static _Thread_local void (*between)(void); /* called once, after the next look at a lane */

bool __real_tine__lane_peek(struct tine__lane_shm *lane, struct tine__record *record);
bool __wrap_tine__lane_peek(struct tine__lane_shm *lane, struct tine__record *record);
bool __wrap_tine__lane_peek(struct tine__lane_shm *lane, struct tine__record *record)
{
    bool found = __real_tine__lane_peek(lane, record);
    void (*call)(void) = between;

    between = NULL;
    if (call != NULL)
        call();
    return found;
}

/* ---- one record ------------------------------------------------------------------------------ */

TEST(a_record_comes_out_as_it_went_in)
{
    struct tine__ring ring = ring_new(SMALL);
    unsigned char sent[400], got[400];
    size_t needed;

    for (uint32_t size = 0; size <= 400; size++) {
        for (uint32_t i = 0; i < size; i++)
            sent[i] = (unsigned char)(size + i);
        ck_assert_rc(send_whole(&ring, sent, size, 0), 0);
        memset(got, 0, sizeof got);
        ck_assert_rc(recv_whole(&ring, got, sizeof got, 0, &needed), size);
        ck_assert_int_eq(memcmp(sent, got, size), 0);
    }
    ring_free(&ring);
}

TEST(parts_become_one_record)
{
    struct tine__ring ring = ring_new(NULL);
    static char sent[3000], got[3000];
    size_t needed;

    for (size_t i = 0; i < sizeof sent; i++)
        sent[i] = (char)random_u64();
    for (int turn = 0; turn < 2000; turn++) {
        struct iovec parts[5];
        char *from = sent;

        for (int i = 0; i < 5; i++) {
            parts[i] = (struct iovec){from, random_below(i == 3 ? 600 : 12)};
            from += parts[i].iov_len;
        }
        ck_assert_rc(tine__ring_send(&ring, parts, 5, 0), 0);
        ck_assert_rc(recv_whole(&ring, got, sizeof got, 0, &needed), from - sent);
        ck_assert_int_eq(memcmp(sent, got, (size_t)(from - sent)), 0);
    }
    ring_free(&ring);
}

TEST(what_is_too_large_is_refused)
{
    struct tine__ring ring = ring_new(SMALL);
    char bytes[401] = {0};
    struct iovec parts[2] = {{bytes, 400}, {bytes, 1}};

    ck_assert_uint_eq(tine__ring_record_max(ring.shared), 400);
    ck_assert_rc(send_whole(&ring, bytes, 401, 0), -EMSGSIZE);
    ck_assert_rc(tine__ring_send(&ring, parts, 2, 0), -EMSGSIZE);
    ck_assert_rc(tine__ring_poll(&ring, 0), -EAGAIN);
    ring_free(&ring);
}

TEST(a_record_larger_than_the_buffer_stays)
{
    struct tine__ring ring = ring_new(NULL);
    size_t needed = 0;
    char got[8];

    ck_assert_rc(send_whole(&ring, "12345678", 8, 0), 0);
    ck_assert_rc(recv_whole(&ring, got, 7, TINE_FOREVER, &needed), -EMSGSIZE);
    ck_assert_uint_eq(needed, 8);
    ck_assert_rc(recv_whole(&ring, got, 8, 0, &needed), 8);
    ck_assert_mem_eq(got, "12345678", 8);
    ring_free(&ring);
}

TEST(options_are_checked)
{
    static const struct tine__ring_options bad[] = {
        {.capacity = 1000},     {.capacity = 128},
        {.start = 8},           {.capacity = 1024, .record_max = 449},
        {.capacity = 1u << 31},
    };
    struct tine__ring_shm *shared = NULL;

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        ck_assert_rc(tine__ring_create(&shared, &bad[i]), -EINVAL);
    ck_assert_ptr_null(shared);
}

/* Positions of the smallest ring pass 2^32 and 2^64, and its end at every place. */
TEST(counters_wrap, .loop_end = 3)
{
    static const uint64_t starts[] = {0, ((uint64_t)1 << 32) - 4096, (uint64_t)0 - 4096};
    struct tine__ring ring = ring_new(&(struct tine__ring_options){
        .capacity = 1024, .record_max = 448, .start = starts[loop_index]});
    uint64_t in = 0, out = 0;
    char buffer[448];
    size_t needed;

    while (out < 20000) {
        struct mark mark = {.size = 16 + (uint32_t)random_below(433), .number = in};
        ssize_t size;
        int rc;

        build(buffer, mark);
        rc = send_whole(&ring, buffer, mark.size, 0);
        if (rc == 0) {
            in++;
            continue;
        }
        ck_assert_rc(rc, -EAGAIN);
        ck_assert_uint_gt(in, out);
        for (uint64_t count = random_below(in - out) + 1; count > 0; count--) {
            size = recv_whole(&ring, buffer, sizeof buffer, 0, &needed);
            ck_assert_ok(size);
            ck_assert_uint_eq(check_built(buffer, (size_t)size).number, out++);
        }
    }
    ring_free(&ring);
}

/* ---- full and empty -------------------------------------------------------------------------- */

TEST(empty_and_full_do_not_wait_when_asked_not_to)
{
    struct tine__ring ring = ring_new(SMALL);
    uint64_t sent = 0;
    int rc;

    ck_assert_rc(tine__ring_poll(&ring, 0), -EAGAIN);
    ck_assert_rc(tine__ring_poll_writable(&ring, 0), 0);
    while ((rc = send_number(&ring, sent, 0)) == 0)
        sent++;
    ck_assert_rc(rc, -EAGAIN);
    ck_assert_uint_ge(sent, (1024 - 32) / 32);
    ck_assert_rc(tine__ring_poll_writable(&ring, 0), -EAGAIN);
    ck_assert_rc(tine__ring_poll(&ring, 0), 0);
    for (uint64_t i = 0; i < sent; i++)
        ck_assert_uint_eq(recv_number(&ring), i);
    ck_assert_rc(tine__ring_poll(&ring, 0), -EAGAIN);
    ck_assert_uint_eq(tine__ring_used(ring.shared), 0);
    ring_free(&ring);
}

TEST(timeouts_are_kept)
{
    struct tine__ring ring = ring_new(SMALL);
    int64_t begun = tine__now_ns();
    uint64_t number;
    size_t needed;

    ck_assert_rc(recv_whole(&ring, &number, 8, TINE_MS(3), &needed), -ETIMEDOUT);
    ck_assert_rc(tine__ring_poll(&ring, until(TINE_MS(3))), -ETIMEDOUT);
    while (send_number(&ring, 1, 0) == 0)
        ;
    ck_assert_rc(send_number(&ring, 1, TINE_MS(3)), -ETIMEDOUT);
    ck_assert_rc(tine__ring_poll_writable(&ring, until(TINE_MS(3))), -ETIMEDOUT);
    ck_assert_int_ge(tine__now_ns() - begun, TINE_MS(12));
    ring_free(&ring);
}

TEST(a_receiver_sleeps_until_there_is_something, .loop_end = 2)
{
    struct tine__ring ring = ring_new(NULL);
    struct child child;

    no_membarrier = loop_index == 1;
    child = child_start(recv_one, &ring);
    ck_assert_eventually(proc_asleep(child.pid));
    ck_assert_rc(send_number(&ring, 7, 0), 0);
    child_join(&child);
    ring_free(&ring);
}

static void send_one(void *context)
{
    ck_assert_rc(send_number(context, 7, TINE_FOREVER), 0);
}

TEST(a_sender_sleeps_until_there_is_room)
{
    struct tine__ring ring = ring_new(SMALL);
    struct child child;
    uint64_t sent = 0;

    while (send_number(&ring, 1, 0) == 0)
        sent++;
    /* The child, another producer, has a lane of its own: it fills that, too. */
    child = child_start(send_one, &ring);
    child_join(&child);
    for (; sent > 0; sent--)
        ck_assert_uint_eq(recv_number(&ring), 1);
    ck_assert_uint_eq(recv_number(&ring), 7);
    ring_free(&ring);
}

struct flow {
    struct tine__ring ring;
    uint64_t count;
};

static void send_numbers(void *context)
{
    struct flow *flow = context;

    for (uint64_t i = 0; i < flow->count; i++)
        ck_assert_rc(send_number(&flow->ring, i, TINE_FOREVER), 0);
}

/* A full lane: the sender waits each time. */
TEST(a_slow_receiver_gets_all, .loop_end = 2)
{
    struct flow flow = {.ring = ring_new(SMALL), .count = 20000};
    struct child child;

    no_membarrier = loop_index == 1;
    child = child_start(send_numbers, &flow);
    for (uint64_t i = 0; i < flow.count; i++) {
        if (i % 1000 == 0)
            ck_assert_eventually(proc_asleep(child.pid) || i + 100 > flow.count);
        ck_assert_uint_eq(recv_number(&flow.ring), i);
    }
    child_join(&child);
    ring_free(&flow.ring);
}

/* ---- order ----------------------------------------------------------------------------------- */

TEST(what_a_sender_knew_of_comes_first)
{
    struct flow flow = {.ring = ring_new(NULL), .count = 50};
    uint64_t expected = 0;

    for (int i = 0; i < 10; i++) {
        struct child child;

        ck_assert_rc(send_number(&flow.ring, 1000, 0), 0);
        child = child_start(send_numbers, &flow);
        child_join(&child);
        ck_assert_rc(send_number(&flow.ring, 2000, 0), 0);
    }
    for (int i = 0; i < 10; i++) {
        ck_assert_uint_eq(recv_number(&flow.ring), 1000);
        for (expected = 0; expected < flow.count; expected++)
            ck_assert_uint_eq(recv_number(&flow.ring), expected);
        ck_assert_uint_eq(recv_number(&flow.ring), 2000);
    }
    ring_free(&flow.ring);
}

#define CHAIN 4

struct chain {
    struct tine__ring ring;
    struct gate *passed; /* how many have been sent */
    uint32_t rounds;
};

struct link {
    struct chain *chain;
    uint32_t place;
};

/* Each sends when it has learnt that the one before has. */
static void send_in_turn(void *context)
{
    struct link *link = context;
    struct chain *chain = link->chain;

    for (uint32_t round = 0; round < chain->rounds; round++) {
        uint32_t number = round * CHAIN + link->place;

        while (atomic_load_explicit(&chain->passed->raised, memory_order_relaxed) < number)
            gate_await(chain->passed, number);
        ck_assert_rc(send_number(&chain->ring, number, TINE_FOREVER), 0);
        gate_raise(chain->passed);
    }
}

TEST(producers_that_know_of_each_other_keep_their_order)
{
    struct chain chain = {.ring = ring_new(NULL), .passed = gate_new(), .rounds = 1000};
    struct child children[CHAIN];

    for (uint32_t i = 0; i < CHAIN; i++)
        children[i] = child_start(send_in_turn, &(struct link){&chain, i});
    for (uint32_t i = 0; i < chain.rounds * CHAIN; i++)
        ck_assert_uint_eq(recv_number(&chain.ring), i);
    for (int i = 0; i < CHAIN; i++)
        child_join(&children[i]);
    ring_free(&chain.ring);
}

/* Producers that do it when told. */
struct told {
    struct tine__ring ring;
    struct gate *go[2], *done[2];
};

static struct told *told;
static uint32_t rounds;

static void send_when_told(void *context)
{
    uint32_t me = *(uint32_t *)context;

    for (uint32_t i = 1; i <= 3; i++) {
        gate_await(told->go[me], i);
        ck_assert_rc(send_number(&told->ring, me, TINE_FOREVER), 0);
        gate_raise(told->done[me]);
    }
}

static void tell(uint32_t who)
{
    gate_raise(told->go[who]);
    gate_await(told->done[who], rounds);
}

static void tell_both(void)
{
    tell(0);
    tell(1);
}

/* The first lane is found empty; then both get a record, that of the first before. */
TEST(what_comes_during_a_look_keeps_its_order)
{
    struct child children[2];

    told = shared_memory(sizeof *told);
    told->ring = ring_new(NULL);
    for (uint32_t i = 0; i < 2; i++) {
        told->go[i] = gate_new();
        told->done[i] = gate_new();
        children[i] = child_start(send_when_told, &i);
    }
    rounds = 1;
    tell_both(); /* the first one gets the first lane */
    ck_assert_uint_eq(recv_number(&told->ring), 0);
    ck_assert_uint_eq(recv_number(&told->ring), 1);
    for (rounds = 2; rounds <= 3; rounds++) {
        between = tell_both;
        ck_assert_uint_eq(recv_number(&told->ring), 0);
        ck_assert_uint_eq(recv_number(&told->ring), 1);
    }
    for (int i = 0; i < 2; i++)
        child_join(&children[i]);
    ring_free(&told->ring);
}

/* ---- many ------------------------------------------------------------------------------------ */

#define PARTIES 3
#define EACH    6000

struct crowd {
    struct tine__ring ring;
    _Atomic uint8_t taken[PARTIES][EACH];
    _Atomic uint32_t next_party;
    _Atomic uint32_t left;
};

static void crowd_produce(struct crowd *crowd)
{
    uint32_t me = atomic_fetch_add(&crowd->next_party, 1);
    char buffer[2000];

    random_fork(me);
    for (uint32_t i = 0; i < EACH; i++) {
        struct mark mark = {.producer = me,
                            .number = i,
                            .size = 16 + (uint32_t)random_below(i % 50 == 0 ? 1900 : 100)};

        build(buffer, mark);
        ck_assert_rc(send_whole(&crowd->ring, buffer, mark.size, TINE_FOREVER), 0);
    }
    if (atomic_fetch_sub(&crowd->left, 1) == 1)
        tine__ring_end(crowd->ring.shared, TINE__RING_WRITERS);
}

static void crowd_consume(struct crowd *crowd)
{
    uint64_t last[PARTIES] = {0};
    char buffer[2000];
    size_t needed;
    ssize_t size;

    while ((size = recv_whole(&crowd->ring, buffer, sizeof buffer, TINE_FOREVER, &needed)) !=
           TINE_EEOF) {
        struct mark mark;

        ck_assert_ok(size);
        mark = check_built(buffer, (size_t)size);
        ck_assert_uint_lt(mark.producer, PARTIES);
        ck_assert_uint_lt(mark.number, EACH);
        ck_assert_uint_ge(mark.number + 1, last[mark.producer] + 1);
        last[mark.producer] = mark.number;
        ck_assert_uint_eq(atomic_fetch_add(&crowd->taken[mark.producer][mark.number], 1), 0);
    }
}

static struct crowd *crowd_new(void)
{
    struct crowd *crowd = shared_memory(sizeof *crowd);

    crowd->ring = ring_new(&(struct tine__ring_options){.capacity = 8192, .record_max = 2000});
    crowd->left = PARTIES;
    return crowd;
}

static void crowd_check(struct crowd *crowd)
{
    for (int producer = 0; producer < PARTIES; producer++)
        for (int i = 0; i < EACH; i++)
            ck_assert_uint_eq(crowd->taken[producer][i], 1);
    ring_free(&crowd->ring);
}

static void crowd_process(void *context)
{
    crowd_produce(context);
}

static void crowd_other_process(void *context)
{
    struct crowd *crowd = context;

    /* A handle of its own, as each process has. */
    struct tine__ring ring;

    tine__ring_open(&ring, crowd->ring.shared, NULL, NULL);
    crowd_consume(crowd);
}

TEST(each_record_reaches_one_consumer_process)
{
    struct crowd *crowd = crowd_new();
    struct child producers[PARTIES], consumers[PARTIES];

    for (int i = 0; i < PARTIES; i++) {
        consumers[i] = child_start(crowd_other_process, crowd);
        producers[i] = child_start(crowd_process, crowd);
    }
    for (int i = 0; i < PARTIES; i++) {
        child_join(&producers[i]);
        child_join(&consumers[i]);
    }
    crowd_check(crowd);
}

static void *produce_in_thread(void *context)
{
    crowd_produce(context);
    return NULL;
}

static void *consume_in_thread(void *context)
{
    crowd_consume(context);
    return NULL;
}

TEST(each_record_reaches_one_consumer_thread)
{
    struct crowd *crowd = crowd_new();
    pthread_t producers[PARTIES], consumers[PARTIES];

    for (int i = 0; i < PARTIES; i++) {
        ck_assert_int_eq(pthread_create(&producers[i], NULL, produce_in_thread, crowd), 0);
        ck_assert_int_eq(pthread_create(&consumers[i], NULL, consume_in_thread, crowd), 0);
    }
    for (int i = 0; i < PARTIES; i++) {
        ck_assert_int_eq(pthread_join(producers[i], NULL), 0);
        ck_assert_int_eq(pthread_join(consumers[i], NULL), 0);
    }
    crowd_check(crowd);
}

/* ---- lanes ----------------------------------------------------------------------------------- */

TEST(the_lane_of_a_producer_that_has_ended_is_used_again)
{
    struct flow flow = {.ring = ring_new(NULL), .count = 10};
    uint64_t used = 0;

    for (int i = 0; i < 50; i++) {
        struct child child = child_start(send_numbers, &flow);

        child_join(&child);
        if (i == 0)
            used = heap_used();
    }
    ck_assert_uint_eq(heap_used(), used);
    for (uint64_t i = 0; i < 50 * flow.count; i++)
        ck_assert_uint_eq(recv_number(&flow.ring), i % flow.count);
    ring_free(&flow.ring);
}

static void *send_from_thread(void *context)
{
    send_numbers(context);
    return NULL;
}

TEST(the_lane_of_a_thread_that_has_ended_is_used_again)
{
    struct flow flow = {.ring = ring_new(NULL), .count = 10};
    uint64_t used = 0;

    for (int i = 0; i < 50; i++) {
        pthread_t thread;

        ck_assert_int_eq(pthread_create(&thread, NULL, send_from_thread, &flow), 0);
        ck_assert_int_eq(pthread_join(thread, NULL), 0);
        if (i == 3)
            used = heap_used();
    }
    /* The kernel may still show the one that was joined a moment ago. */
    ck_assert_uint_le(heap_used(), used + 4 * (256 << 10));
    for (uint64_t i = 0; i < 50 * flow.count; i++)
        ck_assert_uint_eq(recv_number(&flow.ring), i % flow.count);
    ring_free(&flow.ring);
}

TEST(a_lane_that_was_left_is_used_again)
{
    struct flow flow = {.ring = ring_new(NULL), .count = 10};
    uint64_t used = heap_used();
    struct child child;

    send_numbers(&flow);
    tine__ring_leave(&flow.ring);
    child = child_start(send_numbers, &flow);
    child_join(&child);
    send_numbers(&flow);
    ck_assert_uint_eq(heap_used(), used);
    for (uint64_t i = 0; i < 3 * flow.count; i++)
        ck_assert_uint_eq(recv_number(&flow.ring), i % flow.count);
    ring_free(&flow.ring);
}

TEST(a_thread_may_send_to_many_rings)
{
    struct tine__ring rings[20];
    uint64_t used;

    for (uint64_t i = 0; i < 20; i++)
        rings[i] = ring_new(SMALL);
    used = heap_used();
    for (uint64_t round = 0; round < 5; round++)
        for (uint64_t i = 0; i < 20; i++)
            ck_assert_rc(send_number(&rings[i], i, 0), 0);
    ck_assert_uint_eq(heap_used(), used);
    for (uint64_t i = 0; i < 20; i++) {
        for (uint64_t round = 0; round < 5; round++)
            ck_assert_uint_eq(recv_number(&rings[i]), i);
        ring_free(&rings[i]);
    }
}

/* ---- no memory ------------------------------------------------------------------------------- */

TEST(without_memory_nothing_is_left)
{
    struct tine__ring ring = ring_new(NULL);
    struct tine__ring_shm *shared = NULL;
    uint64_t used = heap_used();
    struct child child;

    for (int k = 1; k <= 2; k++) {
        until_failure = k;
        ck_assert_rc(tine__ring_create(&shared, NULL), -ENOMEM);
    }
    ck_assert_uint_eq(heap_used(), used);
    ck_assert_rc(send_number(&ring, 7, 0), 0);
    child = child_start(recv_one, &ring);
    child_join(&child);
    ring_free(&ring);
}

static void send_without_memory(void *context)
{
    until_failure = 1;
    ck_assert_rc(send_number(context, 7, TINE_FOREVER), -ENOMEM);
    ck_assert_rc(send_number(context, 7, TINE_FOREVER), 0);
}

TEST(a_second_producer_without_memory_may_try_again)
{
    struct tine__ring ring = ring_new(NULL);
    struct child child;

    ck_assert_rc(send_number(&ring, 6, 0), 0);
    child = child_start(send_without_memory, &ring);
    child_join(&child);
    ck_assert_uint_eq(recv_number(&ring), 6);
    ck_assert_uint_eq(recv_number(&ring), 7);
    ring_free(&ring);
}

SUITE("ipc/ring")
