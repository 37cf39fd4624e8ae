/* SPDX-License-Identifier: MIT */
/* Waiting for many objects of many kinds at once, and descriptors of them for other loops. */
#include <tine/wait.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <tine/event.h>
#include <tine/heap.h>
#include <tine/listener.h>
#include <tine/pipe.h>
#include <tine/queue.h>
#include <tine/semaphore.h>
#include <tine/time.h>

#include "lib/clock.h"
#include "lib/sys.h"
#include "shm/event.h"
#include "shm/heap.h"
#include "tests/support/children.h"
#include "tests/support/proc.h"
#include "tests/support/step.h"
#include "tests/support/suite.h"
#include "tests/support/wait.h"

/* Its descriptor is no leak of a test's. */
__attribute__((constructor)) static void open_heap_first(void)
{
    if (tine__heap_open() < 0)
        _exit(99);
}

#define MANY 1000

static _Atomic unsigned interruptions;

static tine_event *event_new(void)
{
    tine_event *event = tine_alloc(sizeof *event);

    ck_assert_ptr_nonnull(event);
    ck_assert_rc(tine_event_init(event, NULL), 0);
    return event;
}

static tine_semaphore *semaphore_new(int64_t value)
{
    tine_semaphore *semaphore = tine_alloc(sizeof *semaphore);

    ck_assert_ptr_nonnull(semaphore);
    ck_assert_rc(tine_semaphore_init(semaphore, value, NULL), 0);
    return semaphore;
}

static void pair_new(int fds[2])
{
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
}

static void pair_free(const int fds[2])
{
    close(fds[0]);
    close(fds[1]);
}

static void write_byte(int fd)
{
    ck_assert_int_eq(write(fd, "x", 1), 1);
}

/* ---- descriptors ----------------------------------------------------------------------------- */

TEST(all_descriptors_that_are_ready_are_marked)
{
    tine_waitable on[4];
    int fds[4][2];

    for (int i = 0; i < 4; i++) {
        pair_new(fds[i]);
        on[i] = tine_fd_waitable(fds[i][0], TINE_READABLE);
    }
    ck_assert_rc(tine_wait(on, 4, 0), 0);
    write_byte(fds[1][1]);
    write_byte(fds[3][1]);
    ck_assert_rc(tine_wait(on, 4, TINE_FOREVER), 2);
    ck_assert_uint_eq(on[0].ready, 0);
    ck_assert_uint_eq(on[1].ready, TINE_READABLE);
    ck_assert_uint_eq(on[2].ready, 0);
    ck_assert_uint_eq(on[3].ready, TINE_READABLE);
    for (int i = 0; i < 4; i++)
        pair_free(fds[i]);
}

TEST(what_is_asked_for_is_what_is_told)
{
    tine_waitable on[2];
    int fds[2];

    pair_new(fds);
    on[0] = tine_fd_waitable(fds[0], TINE_READABLE | TINE_WRITABLE);
    on[1] = tine_fd_waitable(fds[0], TINE_READABLE); /* the same descriptor once more */
    ck_assert_rc(tine_wait(on, 2, TINE_FOREVER), 1);
    ck_assert_uint_eq(on[0].ready, TINE_WRITABLE);
    write_byte(fds[1]);
    ck_assert_rc(tine_wait(on, 2, TINE_FOREVER), 2);
    ck_assert_uint_eq(on[0].ready, TINE_READABLE | TINE_WRITABLE);
    ck_assert_uint_eq(on[1].ready, TINE_READABLE);
    pair_free(fds);
}

TEST(a_closed_peer_is_ready)
{
    tine_waitable on;
    int fds[2];

    pair_new(fds);
    on = tine_fd_waitable(fds[0], TINE_READABLE);
    close(fds[1]);
    ck_assert_rc(tine_wait(&on, 1, TINE_FOREVER), 1);
    ck_assert_uint_eq(on.ready, TINE_READABLE | TINE_HUNGUP);
    close(fds[0]);
    ck_assert_rc(tine_wait(&on, 1, TINE_FOREVER), 1); /* as in Python */
    ck_assert_uint_eq(on.ready, TINE_NOFD);
}

static void exit_at_once(void *context)
{
    (void)context;
}

TEST(a_process_is_ready_when_it_has_ended)
{
    struct child child = child_start(exit_at_once, NULL);
    int fd = tine__sys_pidfd_open(child.pid);
    tine_waitable on = tine_fd_waitable(fd, TINE_READABLE);

    ck_assert_int_ge(fd, 0);
    ck_assert_rc(tine_wait(&on, 1, TINE_FOREVER), 1);
    child_join(&child);
    close(fd);
}

/* ---- time, arguments ------------------------------------------------------------------------- */

TEST(it_ends_with_its_timeout)
{
    tine_event *event = event_new();
    tine_waitable on[2] = {tine_event_waitable(event)};
    int64_t begin = tine__now_ns();
    int fds[2];

    ck_assert_rc(tine_wait(on, 2, 0), 0);
    ck_assert_rc(tine_wait(on, 2, TINE_MS(110)), 0);
    ck_assert_int_ge(tine__now_ns() - begin, TINE_MS(110));
    pair_new(fds);
    on[0] = tine_fd_waitable(fds[0], TINE_READABLE);
    begin = tine__now_ns();
    ck_assert_rc(tine_wait(on, 1, TINE_MS(70)), 0);
    ck_assert_int_ge(tine__now_ns() - begin, TINE_MS(70));
    begin = tine__now_ns();
    ck_assert_rc(tine_wait(NULL, 0, TINE_MS(20)), 0);
    ck_assert_int_ge(tine__now_ns() - begin, TINE_MS(20));
    pair_free(fds);
    tine_free(event);
}

static void interrupt_for_ever(void *context)
{
    for (;; sched_yield())
        (void)kill(*(pid_t *)context, SIGUSR1);
}

static void count_signal(int signal)
{
    (void)signal;
    interruptions++;
}

TEST(signals_do_not_shorten_it, .own_signals = true)
{
    pid_t *self = shared_memory(sizeof *self);
    tine_event *event = event_new();
    tine_waitable on = tine_event_waitable(event);
    int64_t begin = tine__now_ns();
    struct child child;

    *self = getpid();
    ck_assert(signal(SIGUSR1, count_signal) != SIG_ERR);
    child = child_start(interrupt_for_ever, self);
    ck_assert_rc(tine_wait(&on, 1, TINE_MS(60)), 0);
    ck_assert_int_ge(tine__now_ns() - begin, TINE_MS(60));
    child_kill(&child);
    ck_assert_uint_gt(interruptions, 0);
    tine_free(event);
}

TEST(what_cannot_be_waited_for_is_refused)
{
    tine_event *event = event_new();
    tine_waitable on[3] = {tine_event_waitable(event), {.ready = 77}};

    on[0].ready = 55;
    ck_assert_rc(tine_wait(NULL, 1, 0), -EINVAL);
    ck_assert_rc(tine_wait(NULL, 0, TINE_FOREVER), -EINVAL);
    ck_assert_rc(tine_wait(&on[1], 2, TINE_FOREVER), -EINVAL); /* entries to be passed over */
    on[2] = tine_fd_waitable(-1, TINE_READABLE);
    ck_assert_rc(tine_wait(on, 3, 0), -EBADF);
    ck_assert_rc(tine_waitable_fd(&on[2]), -EBADF);
    for (uint32_t events = 0; events < 16; events += 4) {
        on[2] = tine_fd_waitable(0, events);
        ck_assert_rc(tine_wait(on, 3, 0), -EINVAL);
    }
    on[2] = tine_event_waitable(NULL);
    ck_assert_rc(tine_wait(on, 3, 0), -EINVAL);
    on[2] = tine_semaphore_waitable(NULL);
    ck_assert_rc(tine_wait(on, 3, 0), -EINVAL);
    ck_assert_rc(tine_waitable_fd(&on[2]), -EINVAL);
    ck_assert_rc(tine_waitable_fd(&on[1]), -EINVAL);
    ck_assert_rc(tine_waitable_fd(NULL), -EINVAL);
    ck_assert_uint_eq(on[0].ready, 55);
    ck_assert_uint_eq(on[1].ready, 77);
    tine_event_fini(event);
    ck_assert_rc(tine_wait(on, 2, TINE_FOREVER), -EINVAL);
    tine_waitable_close(-1);
    tine_waitable_close(12345);
    tine_free(event);
}

/* ---- objects in memory ----------------------------------------------------------------------- */

struct scene {
    tine_event *event;
    tine_semaphore *semaphore;
    struct gate *begun, *done;
    int fds[2];
    int error;
};

static struct scene scene_new(void)
{
    struct scene scene = {event_new(), semaphore_new(0), gate_new(), gate_new(), {-1, -1}, 0};

    pair_new(scene.fds);
    return scene;
}

static void scene_free(struct scene *scene)
{
    pair_free(scene->fds);
    tine_free(scene->event);
    tine_free(scene->semaphore);
}

static void entries_of(const struct scene *scene, tine_waitable on[3])
{
    on[0] = tine_event_waitable(scene->event);
    on[1] = tine_semaphore_waitable(scene->semaphore);
    on[2] = tine_fd_waitable(scene->fds[0], TINE_READABLE);
}

/* Ends when the event is set; takes permits and bytes until then. */
static void wait_for_all_kinds(void *context)
{
    struct scene *scene = context;
    tine_waitable on[3];
    char byte;

    entries_of(scene, on);
    gate_raise(scene->begun);
    do {
        ck_assert_int_ge(tine_wait(on, 3, TINE_FOREVER), 1);
        if (on[1].ready && tine_semaphore_acquire(scene->semaphore, 0) == 0)
            gate_raise(scene->done);
        if (on[2].ready && recv(scene->fds[0], &byte, 1, MSG_DONTWAIT) == 1)
            gate_raise(scene->done);
    } while (!on[0].ready);
}

TEST(objects_of_all_kinds_wake)
{
    struct scene scene = scene_new();
    struct child child = child_start(wait_for_all_kinds, &scene);
    uint32_t done = 0;

    gate_await(scene.begun, 1);
    for (int i = 0; i < 50; i++) {
        ck_assert_rc(tine_semaphore_release(scene.semaphore), 0);
        gate_await(scene.done, ++done);
        write_byte(scene.fds[1]);
        gate_await(scene.done, ++done);
    }
    ck_assert_rc(tine_event_set(scene.event), 0);
    child_join(&child);
    scene_free(&scene);
}

TEST(several_waiters_share_what_there_is)
{
    struct scene scene = scene_new();
    struct child children[4];

    for (int i = 0; i < 4; i++)
        children[i] = child_start(wait_for_all_kinds, &scene);
    gate_await(scene.begun, 4);
    for (int i = 0; i < 200; i++)
        ck_assert_rc(tine_semaphore_release(scene.semaphore), 0);
    gate_await(scene.done, 200);
    ck_assert_rc(tine_semaphore_value(scene.semaphore), 0);
    ck_assert_rc(tine_event_set(scene.event), 0);
    for (int i = 0; i < 4; i++)
        child_join(&children[i]);
    scene_free(&scene);
}

static void *wait_in_thread(void *context)
{
    wait_for_all_kinds(context);
    return NULL;
}

TEST(threads_wait_each_with_its_own_bell)
{
    struct scene scene = scene_new();
    pthread_t threads[4];

    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, wait_in_thread, &scene), 0);
    gate_await(scene.begun, 4);
    for (int i = 0; i < 100; i++)
        ck_assert_rc(tine_semaphore_release(scene.semaphore), 0);
    gate_await(scene.done, 100);
    ck_assert_rc(tine_event_set(scene.event), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    scene_free(&scene);
}

/* A third each of events, semaphores, descriptors; every seventh is made ready. */
static void make_many(tine_waitable *on, int (*fds)[2])
{
    for (int i = 0; i < MANY; i++) {
        pair_new(fds[i]);
        if (i % 3 == 0)
            on[i] = tine_event_waitable(event_new());
        else if (i % 3 == 1)
            on[i] = tine_semaphore_waitable(semaphore_new(0));
        else
            on[i] = tine_fd_waitable(fds[i][0], TINE_READABLE);
    }
}

static void make_ready(const tine_waitable *on, int (*fds)[2], int i)
{
    if (i % 3 == 0)
        ck_assert_rc(tine_event_set(on[i].object), 0);
    else if (i % 3 == 1)
        ck_assert_rc(tine_semaphore_release(on[i].object), 0);
    else
        write_byte(fds[i][1]);
}

struct many {
    tine_waitable on[MANY];
    int fds[MANY][2];
};

static void make_last_ready(void *context)
{
    struct many *many = context;

    make_ready(many->on, many->fds, MANY - 1);
    make_ready(many->on, many->fds, MANY - 2);
}

TEST(a_thousand_objects_of_several_kinds)
{
    struct rlimit files = {.rlim_cur = 0};
    struct many *many = shared_memory(sizeof *many);
    struct child child;
    int expected = 0;

    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max < 4096 ? files.rlim_max : 4096;
    if (files.rlim_cur < 2 * MANY + 50)
        SKIP("too few descriptors");
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &files), 0);
    make_many(many->on, many->fds);
    child = child_start(make_last_ready, many);
    ck_assert_int_ge(tine_wait(many->on, MANY, TINE_FOREVER), 1);
    child_join(&child);
    ck_assert_rc(tine_wait(many->on, MANY, TINE_FOREVER), 2);
    ck_assert(many->on[MANY - 1].ready && many->on[MANY - 2].ready);
    for (int i = 0; i < MANY - 2; i += 7)
        make_ready(many->on, many->fds, i);
    for (int i = 0; i < MANY; i++)
        expected += i >= MANY - 2 || i % 7 == 0;
    ck_assert_rc(tine_wait(many->on, MANY, TINE_FOREVER), expected);
    for (int i = 0; i < MANY; i++) {
        ck_assert_int_eq(many->on[i].ready != 0, i >= MANY - 2 || i % 7 == 0);
        pair_free(many->fds[i]);
        tine_free(many->on[i].object);
    }
}

/* ---- outside of the heap ---------------------------------------------------------------------- */

static void set_after_gate(void *context)
{
    struct scene *scene = context;

    gate_await(scene->begun, 1);
    ck_assert_rc(tine_event_set(scene->event), 0);
}

TEST(an_event_in_other_memory_is_waited_for_too)
{
    struct scene scene = {.event = shared_memory(sizeof *scene.event), .begun = gate_new()};
    tine_waitable on;
    struct child child;

    ck_assert_rc(tine_event_init(scene.event, NULL), 0);
    on = tine_event_waitable(scene.event);
    ck_assert_rc(tine_waitable_fd(&on), -ENOTSUP);
    child = child_start(set_after_gate, &scene);
    ck_assert_rc(tine_wait(&on, 1, TINE_MS(30)), 0);
    gate_raise(scene.begun);
    ck_assert_rc(tine_wait(&on, 1, TINE_FOREVER), 1);
    child_join(&child);
}

/* With no descriptor left there is no bell: it looks again and again. */
TEST(without_descriptors_it_waits_all_the_same)
{
    struct scene scene = scene_new();
    struct rlimit files, none;
    tine_waitable on[3];
    struct child child = child_start(set_after_gate, &scene);

    entries_of(&scene, on);
    getrlimit(RLIMIT_NOFILE, &files);
    none = (struct rlimit){3, files.rlim_max};
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    gate_raise(scene.begun);
    ck_assert_int_ge(tine_wait(on, 2, TINE_FOREVER), 1);
    ck_assert_int_lt(tine_waitable_fd(&on[0]), 0);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &files), 0);
    ck_assert(on[0].ready);
    child_join(&child);
    scene_free(&scene);
}

/* ---- deaths ---------------------------------------------------------------------------------- */

static void acquire_and_pause(void *context)
{
    struct scene *scene = context;

    ck_assert_rc(tine_semaphore_acquire(scene->semaphore, TINE_FOREVER), 0);
    gate_raise(scene->begun);
    pause();
}

TEST(a_permit_of_the_dead_is_found)
{
    struct scene scene = scene_new();
    tine_waitable on[3];
    struct child child;

    ck_assert_rc(tine_semaphore_release(scene.semaphore), 0);
    child = child_start(acquire_and_pause, &scene);
    gate_await(scene.begun, 1);
    entries_of(&scene, on);
    ck_assert_rc(tine_wait(on, 3, TINE_MS(10)), 0);
    child_kill(&child);
    ck_assert_rc(tine_wait(on, 3, TINE_FOREVER), 1);
    ck_assert_uint_eq(on[1].ready, TINE_READABLE);
    scene_free(&scene);
}

TEST(a_setter_that_told_nobody_is_made_good)
{
    struct scene scene = scene_new();
    struct child child = child_start(wait_for_all_kinds, &scene);

    gate_await(scene.begun, 1);
    ck_assert_eventually(proc_asleep(child.pid));
    atomic_fetch_add(&((struct tine__event_shm *)scene.event)->changes, 1);
    child_join(&child);
    scene_free(&scene);
}

TEST(killed_waiters_keep_nobody_waiting, .kills = 50, .loop_end = 10)
{
    struct scene scene = scene_new();
    struct child children[4];

    for (int i = 0; i < 4; i++)
        children[i] = child_start(wait_for_all_kinds, &scene);
    gate_await(scene.begun, 4);
    for (int i = 0; i < 3; i++) {
        ck_assert_rc(tine_semaphore_release(scene.semaphore), 0);
        child_kill(&children[i]);
    }
    ck_assert_rc(tine_event_set(scene.event), 0);
    child_join(&children[3]);
    scene_free(&scene);
}

static struct scene stepped;

static void set_stepped(void *context)
{
    (void)context;
    ck_assert_rc(tine_event_set(stepped.event), 0);
}

static struct child waiter;

static void start_waiter(void *context)
{
    (void)context;
    ck_assert_rc(tine_event_clear(stepped.event), 0);
    waiter = child_start(wait_for_all_kinds, &stepped);
    ck_assert_eventually(proc_asleep(waiter.pid) &&
                         ((struct tine__event_shm *)stepped.event)->waiters.waiting != 0);
}

/* If the flag is set, the waiter returns, whether it was rung for or not. */
static void check_waiter(long steps, pid_t victim, void *context)
{
    (void)steps;
    (void)victim;
    (void)context;
    if (tine_event_is_set(stepped.event) == 0)
        ck_assert_rc(tine_event_set(stepped.event), 0);
    child_join(&waiter);
}

TEST(a_setter_killed_after_every_instruction, .timeout_s = 300)
{
    stepped = scene_new();
    step_kill_everywhere(
        &(struct step){.before = start_waiter, .run = set_stepped, .check = check_waiter}, 20);
    scene_free(&stepped);
}

static void wait_a_moment(void *context)
{
    tine_waitable on[3];

    (void)context;
    entries_of(&stepped, on);
    ck_assert_rc(tine_wait(on, 3, TINE_MS(1)), 0);
}

static void check_nothing_left(long steps, pid_t victim, void *context)
{
    tine_waitable on = tine_event_waitable(stepped.event);

    (void)steps;
    (void)victim;
    (void)context;
    ck_assert_rc(tine_event_set(stepped.event), 0);
    ck_assert_rc(tine_wait(&on, 1, 0), 1);
    ck_assert_rc(tine_event_clear(stepped.event), 0);
    ck_assert_rc(tine_wait(&on, 1, TINE_MS(1)), 0);
}

TEST(a_waiter_killed_after_every_system_call, .timeout_s = 300)
{
    stepped = scene_new();
    step_kill_everywhere(
        &(struct step){.run = wait_a_moment, .check = check_nothing_left, .system_calls = true},
        40);
    scene_free(&stepped);
}

/* ---- messages -------------------------------------------------------------------------------- */

TEST(a_connection_is_ready_for_a_message_and_for_the_end)
{
    tine_connection *a, *b;
    tine_waitable on[2];
    char byte;
    size_t size;

    ck_assert_ok(tine_pipe(&a, &b, NULL));
    on[0] = tine_connection_waitable(a);
    on[1] = tine_connection_waitable(b);
    ck_assert_rc(tine_wait(on, 2, 0), 0);
    ck_assert_ok(tine_connection_send_bytes(b, "message", 7, TINE_FOREVER));
    ck_assert_rc(tine_wait(on, 2, TINE_FOREVER), 1);
    ck_assert_uint_eq(on[0].ready, TINE_READABLE);
    ck_assert_rc(tine_connection_recv_bytes_into(a, &byte, 1, 0, &size), -EMSGSIZE);
    ck_assert_rc(tine_wait(on, 2, TINE_FOREVER), 1); /* kept by the handle, not in the socket */
    ck_assert_uint_eq(on[0].ready, TINE_READABLE);
    ck_assert_int_eq(tine_waitable_fd(&on[1]), tine_connection_fileno(b));
    tine_connection_close(a);
    ck_assert_rc(tine_wait(&on[1], 1, TINE_FOREVER), 1);
    tine_connection_close(b);
    on[0] = tine_connection_waitable(NULL);
    ck_assert_rc(tine_wait(on, 1, 0), -EINVAL);
}

TEST(an_end_that_only_sends_is_refused)
{
    tine_connection *reader, *writer;
    tine_waitable on[2];

    ck_assert_ok(tine_pipe(&reader, &writer, &(tine_pipe_options){.simplex = 1}));
    on[0] = tine_connection_waitable(reader);
    on[1] = tine_connection_waitable(writer);
    ck_assert_rc(tine_wait(on, 1, 0), 0);
    ck_assert_rc(tine_wait(on, 2, 0), -EBADF);
    tine_connection_close(reader);
    tine_connection_close(writer);
}

static void hold_and_pause(void *context)
{
    struct gate *begun = context;

    gate_raise(begun);
    pause();
}

static const int32_t transports[] = {TINE_SOCKET, TINE_RING};

TEST(the_end_by_death_is_found_among_other_things, .loop_end = 2)
{
    tine_pipe_options options = {.transport = transports[loop_index]};
    struct scene scene = scene_new();
    tine_connection *a, *b;
    struct child child;
    tine_waitable on[4];

    ck_assert_ok(tine_pipe(&a, &b, &options));
    child = child_start(hold_and_pause, scene.begun);
    gate_await(scene.begun, 1);
    tine_connection_close(b);
    entries_of(&scene, on);
    on[3] = tine_connection_waitable(a);
    ck_assert_rc(tine_wait(on, 4, TINE_MS(1)), 0);
    child_kill(&child);
    ck_assert_rc(tine_wait(on, 4, TINE_FOREVER), 1);
    ck_assert_uint_ne(on[3].ready, 0);
    tine_connection_close(a);
    scene_free(&scene);
}

static void dial(void *context)
{
    tine_connection *connection;

    ck_assert_ok(tine_dial(&connection, context, NULL));
    tine_connection_close(connection);
}

TEST(a_listener_is_ready_for_a_client)
{
    tine_connection *connection = NULL;
    tine_listener *listener;
    tine_waitable on;
    struct child child;

    ck_assert_ok(tine_listener_open(&listener, NULL, NULL));
    on = tine_listener_waitable(listener);
    ck_assert_rc(tine_wait(&on, 1, 0), 0);
    child = child_start(dial, (void *)(uintptr_t)tine_listener_address(listener));
    while (connection == NULL) {
        ck_assert_rc(tine_wait(&on, 1, TINE_FOREVER), 1);
        (void)!tine_listener_accept(listener, 0, &connection);
    }
    child_join(&child);
    tine_connection_close(connection);
    tine_listener_close(listener);
}

static const int32_t orders[] = {TINE_FIFO, TINE_LIFO, TINE_PRIORITY};

TEST(a_queue_is_ready_for_items_and_for_room, .loop_end = 3)
{
    tine_queue_options options = {.order = orders[loop_index], .maxsize = 2};
    tine_waitable on[3];
    tine_queue *queue;
    int64_t number;

    ck_assert_ok(tine_queue_open(&queue, &options));
    on[0] = tine_queue_waitable(queue, TINE_READABLE);
    on[1] = tine_queue_waitable(queue, TINE_WRITABLE);
    on[2] = tine_queue_waitable(queue, TINE_READABLE | TINE_WRITABLE);
    ck_assert_rc(tine_wait(on, 1, TINE_MS(1)), 0);
    ck_assert_rc(tine_wait(on, 3, 0), 2);
    ck_assert_ok(tine_queue_put(queue, 0, "q", INT64_C(1)));
    ck_assert_rc(tine_wait(on, 3, 0), 3);
    ck_assert_uint_eq(on[2].ready, TINE_READABLE | TINE_WRITABLE);
    ck_assert_ok(tine_queue_put(queue, 0, "q", INT64_C(2)));
    ck_assert_rc(tine_wait(on, 3, 0), 2);
    ck_assert_uint_eq(on[1].ready, 0);
    ck_assert_ok(tine_queue_get(queue, 0, "q", &number));
    ck_assert_ok(tine_queue_get(queue, 0, "q", &number));
    ck_assert_rc(tine_wait(on, 1, 0), 0);
    ck_assert_ok(tine_queue_shutdown(queue, 0));
    ck_assert_rc(tine_wait(on, 3, TINE_FOREVER), 3);
    tine_queue_close(queue);
    on[0] = tine_queue_waitable(NULL, TINE_READABLE);
    ck_assert_rc(tine_wait(on, 1, 0), -EINVAL);
}

#define NUMBERS 500

static void put_numbers(void *context)
{
    for (int64_t i = 0; i < NUMBERS; i++)
        ck_assert_ok(tine_queue_put(context, TINE_FOREVER, "q", i));
}

/* Each side waits for the other all the time: there is room for two. */
TEST(a_loop_of_its_own_gets_every_item, .loop_end = 3)
{
    tine_queue_options options = {.order = orders[loop_index], .maxsize = 2};
    int64_t sum = 0, number;
    tine_waitable on;
    tine_queue *queue;
    struct child child;
    int fd;

    ck_assert_ok(tine_queue_open(&queue, &options));
    on = tine_queue_waitable(queue, TINE_READABLE);
    fd = tine_waitable_fd(&on);
    ck_assert_ok(fd);
    child = child_start(put_numbers, queue);
    for (int got = 0; got < NUMBERS;) { /* one a turn */
        ck_assert_int_eq(tine__sys_poll_in(fd, TINE_FOREVER), 1);
        if (tine_queue_get(queue, 0, "q", &number) < 0)
            continue;
        sum += number;
        got++;
    }
    ck_assert_int_eq(sum, NUMBERS * (NUMBERS - 1) / 2);
    child_join(&child);
    tine_waitable_close(fd);
    tine_queue_close(queue);
}

static void get_numbers(void *context)
{
    int64_t number;

    for (int64_t i = 0; i < NUMBERS; i++)
        ck_assert_ok(tine_queue_get(context, TINE_FOREVER, "q", &number));
}

TEST(a_loop_of_its_own_finds_all_room, .loop_end = 3)
{
    tine_queue_options options = {.order = orders[loop_index], .maxsize = 2};
    tine_queue *queue;
    tine_waitable on;
    struct child child;
    int fd;

    ck_assert_ok(tine_queue_open(&queue, &options));
    on = tine_queue_waitable(queue, TINE_WRITABLE);
    fd = tine_waitable_fd(&on);
    ck_assert_ok(fd);
    child = child_start(get_numbers, queue);
    for (int64_t put = 0; put < NUMBERS;) {
        ck_assert_int_eq(tine__sys_poll_in(fd, TINE_FOREVER), 1);
        put += tine_queue_put(queue, 0, "q", put) == 0;
    }
    child_join(&child);
    tine_waitable_close(fd);
    tine_queue_close(queue);
}

static void take_and_die(void *context)
{
    int64_t number;

    ck_assert_ok(tine_queue_get(context, TINE_FOREVER, "q", &number));
    raise(SIGKILL);
}

TEST(an_item_that_a_death_returned_is_found)
{
    tine_queue_options options = {.joinable = 1};
    tine_queue *queue;
    tine_waitable on;
    struct child child;

    ck_assert_ok(tine_queue_open(&queue, &options));
    ck_assert_ok(tine_queue_put(queue, 0, "q", INT64_C(1)));
    child = child_start(take_and_die, queue);
    ck_assert_int_ne(child_wait(&child), 0);
    on = tine_queue_waitable(queue, TINE_READABLE);
    ck_assert_rc(tine_wait(&on, 1, TINE_FOREVER), 1);
    tine_queue_close(queue);
}

/* ---- descriptors for other loops ------------------------------------------------------------- */

static int64_t poll_in(int fd, int64_t timeout_ns)
{
    return tine__sys_poll_in(fd, timeout_ns);
}

static void release_many(void *context)
{
    struct scene *scene = context;

    for (int i = 0; i < 1000; i++)
        ck_assert_rc(tine_semaphore_release(scene->semaphore), 0);
}

TEST(a_loop_of_its_own_gets_every_permit)
{
    struct scene scene = scene_new();
    struct child child = child_start(release_many, &scene);
    tine_waitable on = tine_semaphore_waitable(scene.semaphore);
    int fd = tine_waitable_fd(&on), got = 0;

    ck_assert_ok(fd);
    while (got < 1000) { /* one a turn: what is left keeps it readable */
        ck_assert_int_eq(poll_in(fd, TINE_FOREVER), 1);
        got += tine_semaphore_acquire(scene.semaphore, 0) == 0;
    }
    child_join(&child);
    tine_waitable_close(fd);
    scene_free(&scene);
}

TEST(what_is_ready_already_has_a_readable_descriptor)
{
    tine_semaphore *semaphore = semaphore_new(2);
    tine_waitable on = tine_semaphore_waitable(semaphore);
    int fds[2] = {tine_waitable_fd(&on), tine_waitable_fd(&on)};

    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(fcntl(fds[i], F_GETFD), FD_CLOEXEC);
        ck_assert_int_eq(poll_in(fds[i], 0), 1);
        ck_assert_rc(tine_semaphore_acquire(semaphore, 0), 0);
        ck_assert_int_eq(poll_in(fds[i], 0), 1);
    }
    ck_assert_rc(tine_semaphore_acquire(semaphore, 0), -EAGAIN);
    ck_assert_rc(tine_semaphore_release(semaphore), 0);
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(poll_in(fds[i], 0), 1);
        tine_waitable_close(fds[i]);
    }
    tine_free(semaphore);
}

TEST(a_descriptor_has_itself)
{
    int fds[2];
    tine_waitable on;

    pair_new(fds);
    on = tine_fd_waitable(fds[0], TINE_READABLE);
    ck_assert_int_eq(tine_waitable_fd(&on), fds[0]);
    tine_waitable_close(fds[0]);
    pair_free(fds); /* still open, so both close */
}

SUITE("ipc/wait")
