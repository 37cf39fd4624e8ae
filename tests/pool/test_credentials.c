/* SPDX-License-Identifier: MIT */
/* A program that has given up rights after tine_init() gets no process, and no worker, that has
   them. */
#include <tine/process.h>

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <tine/heap.h>
#include <tine/pool.h>

#include "lib/credentials.h"
#include "pool/forkserver.h"
#include "tests/pool/processes.h"
#include "tests/support/children.h"
#include "tests/support/files.h"
#include "tests/support/hunt.h"
#include "tests/support/proc.h"
#include "tests/support/suite.h"
#include "tests/support/wait.h"
#include "tests/support/wrap.h"

#define NOBODY 65534

static int method; /* of the test that runs, for its child */
static bool blind; /* credentials are never different */

WRAP(blind, bool, tine__credentials_same, true,
     (const struct tine__credentials *a, const struct tine__credentials *b), (a, b))

static bool is_root(void)
{
    return geteuid() == 0;
}

static void become_nobody(void)
{
    ck_assert_int_eq(setgroups(0, NULL), 0);
    ck_assert_int_eq(setresgid(NOBODY, NOBODY, NOBODY), 0);
    ck_assert_int_eq(setresuid(NOBODY, NOBODY, NOBODY), 0);
}

static int check_root(tine_call *call)
{
    (void)call;
    ck_assert(is_root());
    return 0;
}

/* Its files may lie where nobody can read them. */
static void list_as_nobody(void *unused)
{
    int null = open("/dev/null", O_RDWR);

    (void)unused;
    become_nobody();
    dup2(null, STDOUT_FILENO);
    dup2(null, STDERR_FILENO);
    execl("/proc/self/exe", "test_credentials", "--list", (char *)NULL);
    _exit(1);
}

static bool can_be_nobody(void)
{
    struct child child;

    if (!is_root())
        return false;
    child = child_start(list_as_nobody, NULL);
    return child_wait(&child) == 0;
}

/* In a child, which alone gives them up. */
static void run(void (*body)(void *), int loop_index)
{
    struct child child;

    method = start_method(loop_index);
    child = child_start(body, NULL);
    child_join(&child);
}

/* ---- who it is ------------------------------------------------------------------------------- */

static int check_nobody(tine_call *call)
{
    uid_t users[3];
    gid_t groups[3];

    (void)call;
    ck_assert_int_eq(getresuid(&users[0], &users[1], &users[2]), 0);
    ck_assert_int_eq(getresgid(&groups[0], &groups[1], &groups[2]), 0);
    for (int i = 0; i < 3; i++) {
        ck_assert_uint_eq(users[i], NOBODY);
        ck_assert_uint_eq(groups[i], NOBODY);
    }
    ck_assert_int_eq(getgroups(0, NULL), 0);
    return 0;
}

static void start_as_nobody(void *unused)
{
    (void)unused;
    become_nobody();
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(process_end(process_of(check_nobody, method)), 0);
}

TEST(a_process_is_of_the_user_who_starts_it, .loop_end = START_METHODS)
{
    if (!can_be_nobody())
        SKIP("not root, or others cannot execute this program");
    run(start_as_nobody, loop_index);
}

static void open_as_nobody(void *unused)
{
    tine_results *results;
    tine_pool *pool;

    (void)unused;
    become_nobody();
    ck_assert_rc(tine_pool_open(&pool, &(tine_pool_options){.workers = 2, .start = method}), 0);
    for (int i = 0; i < 4; i++) {
        ck_assert_rc(tine_pool_apply(&results, pool, check_nobody, NULL, ""), 0);
        tine_results_close(results);
    }
    tine_pool_close(pool);
}

TEST(workers_are_of_the_user_who_opens_the_pool, .loop_end = START_METHODS)
{
    if (!can_be_nobody())
        SKIP("not root, or others cannot execute this program");
    run(open_as_nobody, loop_index);
}

static int check_groups(tine_call *call)
{
    int64_t expected;
    gid_t group;

    ck_assert_rc(tine_args(call, "q", &expected), 0);
    ck_assert_int_eq(getgroups(1, &group), 1);
    ck_assert_int_eq(group, expected);
    return 0;
}

static void start_in_groups(void *unused)
{
    tine_process_options options = {.start = method};

    (void)unused;
    for (gid_t group = 1000; group < 1003; group++) {
        tine_process *process;

        ck_assert_int_eq(setgroups(1, &group), 0);
        ck_assert_rc(tine_process_start(&process, check_groups, &options, "q", (int64_t)group), 0);
        ck_assert_int_eq(process_end(process), 0);
    }
}

TEST(it_has_the_groups_of_its_starter, .loop_end = START_METHODS)
{
    if (!is_root())
        SKIP("not root");
    run(start_in_groups, loop_index);
}

/* ---- what it may ----------------------------------------------------------------------------- */

static int check_capabilities(tine_call *call)
{
    const struct tine__capabilities *expected;
    struct tine__capabilities own;

    ck_assert_rc(tine_args(call, "p", &expected), 0);
    ck_assert_rc(tine__capabilities_read(&own), 0);
    ck_assert_uint_eq(own.permitted, expected->permitted);
    ck_assert_uint_eq(own.effective, expected->effective);
    return 0;
}

static void start_with_fewer(void *unused)
{
    struct tine__capabilities *fewer = tine_calloc(1, sizeof *fewer);

    (void)unused;
    ck_assert_rc(tine__capabilities_read(fewer), 0);
    for (int i = 0; i < 2; i++) {
        fewer->effective &= fewer->effective - 1;
        ck_assert_rc(tine__capabilities_lower(fewer), 0);
        ck_assert_int_eq(process_end(process_with(check_capabilities, method, fewer)), 0);
        fewer->permitted = fewer->effective;
    }
    tine_free(fewer);
}

/* An executed program of root's has all again: that is what executing means. */
TEST(it_has_no_capability_that_its_starter_has_not)
{
    if (!is_root())
        SKIP("not root");
    run(start_with_fewer, 0);
    run(start_with_fewer, 2);
}

static int check_no_new_privs(tine_call *call)
{
    (void)call;
    ck_assert_int_eq(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), 1);
    return 0;
}

static void start_without_new_privs(void *unused)
{
    (void)unused;
    ck_assert_int_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    ck_assert_int_eq(process_end(process_of(check_no_new_privs, method)), 0);
}

TEST(it_gets_no_new_privileges_either, .loop_end = START_METHODS)
{
    run(start_without_new_privs, loop_index);
}

/* ---- where it is ----------------------------------------------------------------------------- */

static uint64_t network(void)
{
    struct stat file;

    ck_assert_int_eq(stat("/proc/self/ns/net", &file), 0);
    return file.st_ino;
}

static int check_network(tine_call *call)
{
    const uint64_t *expected;

    ck_assert_rc(tine_args(call, "p", &expected), 0);
    ck_assert_uint_eq(network(), *expected);
    return 0;
}

static void start_apart(void *unused)
{
    uint64_t *expected = tine_calloc(1, sizeof *expected);

    (void)unused;
    if (unshare(CLONE_NEWNET) == 0) { /* else containers forbid it */
        *expected = network();
        ck_assert_int_eq(process_end(process_with(check_network, method, expected)), 0);
    }
    tine_free(expected);
}

TEST(it_is_in_the_namespaces_of_its_starter, .loop_end = START_METHODS)
{
    if (!is_root())
        SKIP("not root");
    run(start_apart, loop_index);
}

static void enter(void *directory)
{
    struct tine__credentials before, after;

    ck_assert_rc(tine__credentials_read(&before), 0);
    ck_assert_rc(tine__credentials_read(&after), 0);
    ck_assert(tine__credentials_same(&before, &after));
    if (chroot(directory) < 0)
        return; /* not here */
    ck_assert_rc(tine__credentials_read(&after), 0);
    ck_assert(!tine__credentials_same(&before, &after));
}

TEST(another_root_directory_is_seen)
{
    struct child child;
    struct files files;

    if (!is_root())
        SKIP("not root");
    files_begin(&files);
    child = child_start(enter, files.directory);
    child_join(&child);
    files_end(&files);
}

/* ---- workers that give up rights ------------------------------------------------------------- */

struct nest {
    struct gate gate;
    pid_t worker, nursery;
};

static int begin_as_nobody(void *context, void **state)
{
    (void)context;
    (void)state;
    become_nobody();
    return 0;
}

static int say_pids(tine_call *call)
{
    struct nest *nest;

    ck_assert_rc(tine_args(call, "p", &nest), 0);
    nest->worker = getpid();
    nest->nursery = getppid();
    return 0;
}

static void open_nest(void *context)
{
    tine_pool_options options = {.workers = 1, .start = method, .initializer = begin_as_nobody};
    struct nest *nest = context;
    tine_results *results;
    tine_pool *pool;

    ck_assert_rc(tine_pool_open(&pool, &options), 0);
    ck_assert_rc(tine_pool_apply(&results, pool, say_pids, NULL, "p", nest), 0);
    tine_results_close(results);
    gate_raise(&nest->gate);
    for (;;)
        pause();
}

static bool is_gone(pid_t pid)
{
    struct proc proc;

    return !proc_read(pid, &proc) || proc.state == 'Z';
}

/* The kernel forgets the parent-death signal of who changes his user. */
TEST(they_end_with_their_nursery_all_the_same, .loop_end = START_METHODS)
{
    struct nest *nest = tine_calloc(1, sizeof *nest);
    struct child child;

    if (!can_be_nobody()) {
        tine_free(nest);
        SKIP("not root, or others cannot execute this program");
    }
    method = start_method(loop_index);
    orphans_adopt();
    child = child_start(open_nest, nest);
    gate_await(&nest->gate, 1);
    child_stop(&child); /* it would end the pool by itself */
    ck_assert_int_eq(kill(nest->nursery, SIGKILL), 0);
    ck_assert_eventually(is_gone(nest->worker));
    child_kill(&child);
    orphans_reap();
    tine_free(nest);
}

/* ---- who does not look ----------------------------------------------------------------------- */

/* The lowest of all that there are. */
static void start_with_less(void *unused)
{
    struct tine__capabilities *less = tine_calloc(1, sizeof *less);

    (void)unused;
    ck_assert_rc(tine__capabilities_read(less), 0);
    less->effective &= less->effective - 1;
    less->permitted = less->effective;
    ck_assert_rc(tine__capabilities_lower(less), 0);
    ck_assert_int_eq(process_end(process_with(check_capabilities, method, less)), 0);
    tine_free(less);
}

/* A program that somebody has taken over asks its server of before. */
TEST(the_server_itself_refuses_who_has_fewer_rights)
{
    static void (*const bodies[])(void *) = {start_as_nobody, open_as_nobody,
                                             start_with_less, start_without_new_privs,
                                             start_in_groups, start_apart};

    if (!can_be_nobody())
        SKIP("not root, or others cannot execute this program");
    blind = true;
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++)
        run(bodies[i], 2);
    ck_assert_int_eq(process_end(process_of(check_root, TINE_FORKSERVER)), 0);
}

static void wait_as_nobody(void *gate)
{
    become_nobody();
    gate_raise(gate);
    gate_await(gate, 2);
}

TEST(rights_are_those_of_a_thread_that_has_them_all)
{
    struct tine__credentials own, other;
    struct gate *gate = gate_new();
    struct child child;

    ck_assert_rc(tine__credentials_of(getpid(), getpid(), &own), 0);
    ck_assert(tine__credentials_has_place(&own));
    ck_assert(tine__credentials_within(&own, &own));
    ck_assert_rc(tine__credentials_of(getpid(), 1, &other), getpid() == 1 ? 0 : -ENOENT);
    if (!is_root())
        return;
    child = child_start(wait_as_nobody, gate);
    gate_await(gate, 1);
    ck_assert_rc(tine__credentials_of(child.pid, child.pid, &other), 0);
    ck_assert(!tine__credentials_within(&own, &other));
    gate_raise(gate);
    child_join(&child);
}

/* ---- the server of before -------------------------------------------------------------------- */

static int await_gate(tine_call *call)
{
    struct gate *gate;

    ck_assert_rc(tine_args(call, "p", &gate), 0);
    gate_raise(gate);
    gate_await(gate, 2);
    raise(SIGTERM);
    return 0;
}

static pid_t server_of(const tine_process *process)
{
    struct proc proc;

    ck_assert(proc_read(tine_process_pid(process), &proc));
    return proc.parent;
}

static void change_meanwhile(void *unused)
{
    struct gate *gates = tine_calloc(3, sizeof *gates);
    tine_process *processes[3];

    (void)unused;
    tine__forkserver_forget(); /* the runner could still ask that one */
    for (int i = 0; i < 3; i++) {
        processes[i] = process_with(await_gate, TINE_FORKSERVER, &gates[i]);
        gate_await(&gates[i], 1);
        ck_assert_int_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    }
    ck_assert_int_ne(server_of(processes[0]), server_of(processes[1]));
    ck_assert_int_eq(server_of(processes[1]), server_of(processes[2]));
    for (int i = 0; i < 3; i++) {
        gate_raise(&gates[i]);
        ck_assert_int_eq(process_end(processes[i]), -SIGTERM);
    }
    tine_free(gates);
}

/* The first one's server nobody can ask any more; it still tells. */
TEST(it_tells_how_its_processes_end)
{
    run(change_meanwhile, 2);
}

/* ---- a program whose file gives it rights ---------------------------------------------------- */

#define PROGRAM "privileged"

static void copy_self(const char *to)
{
    static char bytes[1 << 16];
    FILE *in = fopen("/proc/self/exe", "re"), *out = fopen(to, "we");
    size_t size;

    ck_assert(in != NULL && out != NULL);
    while ((size = fread(bytes, 1, sizeof bytes, in)) > 0)
        ck_assert_uint_eq(fwrite(bytes, 1, size, out), size);
    fclose(in);
    fclose(out);
}

/* This program, set-user-ID root. False: it would not be so here. */
static bool install(struct files *files)
{
    struct statvfs where;
    const char *path;

    files_begin(files);
    path = files_path(files, PROGRAM);
    copy_self(path);
    ck_assert_int_eq(chmod(path, 04755), 0);
    ck_assert_int_eq(chmod(files->directory, 0755), 0);
    return statvfs(path, &where) == 0 && (where.f_flag & ST_NOSUID) == 0 && is_root();
}

struct order {
    const char *path, *argument;
    int socket; /* its descriptor 3; -1: none */
};

static void execute_as_nobody(void *context)
{
    const struct order *order = context;

    become_nobody();
    if (order->socket >= 0)
        ck_assert_int_eq(dup2(order->socket, 3), 3);
    execl(order->path, PROGRAM, order->argument, (char *)NULL);
    _exit(1);
}

static int end_as_nobody(const struct files *files, const char *argument, int socket)
{
    struct order order = {files_path(files, PROGRAM), argument, socket};
    struct child child = child_start(execute_as_nobody, &order);
    int status = child_wait(&child);

    ck_assert(WIFEXITED(status));
    return WEXITSTATUS(status);
}

/* Nothing is sent, and it does not wait for anything either. */
TEST(a_stranger_does_not_tell_it_what_to_run)
{
    struct files files;
    int sockets[2];

    if (!install(&files)) {
        files_end(&files);
        SKIP("no program has more rights here than who executes it");
    }
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets), 0);
    ck_assert_int_eq(end_as_nobody(&files, "--tine-process", sockets[1]), 255);
    ck_assert_int_eq(end_as_nobody(&files, "--tine-forkserver", sockets[1]), 255);
    close(sockets[0]);
    close(sockets[1]);
    files_end(&files);
}

static void start_privileged(void *unused)
{
    tine_process_options spawned = {.start = TINE_SPAWN};
    tine_process *process = NULL;

    (void)unused;
    ck_assert_rc(tine_process_start(&process, check_nobody, &spawned, ""), -ENOTSUP);
    ck_assert_int_eq(process_end(process_of(check_root, TINE_FORKSERVER)), 0);
    become_nobody(); /* executed again, it would be root's */
    ck_assert_rc(tine_process_start(&process, check_nobody, &spawned, ""), -ENOTSUP);
    ck_assert_ptr_null(process);
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(process_end(process_of(check_nobody, TINE_FORKSERVER)), 0);
}

/* Executed by itself, with its own name for argument. */
TEST(it_is_not_executed_again_and_servers_are_forks)
{
    struct files files;

    if (getauxval(AT_SECURE) != 0) {
        run(start_privileged, 0);
        return;
    }
    if (!install(&files)) {
        files_end(&files);
        SKIP("no program has more rights here than who executes it");
    }
    ck_assert_int_eq(end_as_nobody(&files, "it_is_not_executed_again_and_servers_are_forks", -1),
                     0);
    files_end(&files);
}

SUITE_WITH_INIT("pool/credentials")
