/* SPDX-License-Identifier: MIT */
/*
 * Credentials that cannot be read, or given up: then nothing is started that could have more rights
 * than its starter. --wrap puts the functions below in the way (module.mk), in this program and in
 * what it executes.
 */
#include <tine/process.h>

#include <errno.h>
#include <grp.h>
#include <stdlib.h>
#include <unistd.h>

#include <tine/heap.h>

#include "lib/credentials.h"
#include "lib/sys.h"
#include "tests/pool/processes.h"
#include "tests/support/children.h"
#include "tests/support/proc.h"
#include "tests/support/suite.h"
#include "tests/support/wait.h"
#include "tests/support/wrap.h"

#define GROUPS      100                     /* more than are first asked for */
#define SET_REFUSED "TINE_TEST_SET_REFUSED" /* also in what is executed */

/* In this process. */
static bool get_fails, groups_fail, memory_fails;

WRAP(get_fails, int, tine__sys_capget, -EPERM, (void *header, void *data), (header, data))
WRAP(getenv(SET_REFUSED) != NULL, int, tine__sys_capset, -EPERM, (void *header, const void *data),
     (header, data))
WRAP(groups_fail, int, getgroups, (errno = EPERM, -1), (int size, gid_t *list), (size, list))
WRAP(memory_fails, void *, malloc, (errno = ENOMEM, NULL), (size_t size), (size))

/* What is given up here is given up for good. */
static void run(void (*body)(void *))
{
    struct child child = child_start(body, NULL);

    child_join(&child);
}

static bool is_root(void)
{
    return geteuid() == 0;
}

/* ---- what is read ---------------------------------------------------------------------------- */

TEST(what_cannot_be_read_is_told)
{
    struct tine__credentials credentials;
    struct tine__capabilities capabilities;

    ck_assert_rc(tine__credentials_read(&credentials), 0);
    get_fails = true;
    ck_assert_rc(tine__credentials_read(&credentials), -EPERM);
    ck_assert_rc(tine__capabilities_read(&capabilities), -EPERM);
    get_fails = false;
    groups_fail = true;
    ck_assert_rc(tine__credentials_read(&credentials), -EPERM);
    groups_fail = false;
    ck_assert_rc(tine__credentials_read(&credentials), 0);
}

static void read_many_groups(void *unused)
{
    struct tine__credentials before, after;
    gid_t groups[GROUPS];
    int rc;

    (void)unused;
    for (gid_t i = 0; i < GROUPS; i++)
        groups[i] = 1000 + i;
    ck_assert_int_eq(setgroups(GROUPS, groups), 0);
    memory_fails = true;
    rc = tine__credentials_read(&before);
    memory_fails = false;
    ck_assert_rc(rc, -ENOMEM);
    ck_assert_rc(tine__credentials_read(&before), 0);
    ck_assert_int_eq(before.group_count, GROUPS);
    groups[GROUPS - 1]++;
    ck_assert_int_eq(setgroups(GROUPS, groups), 0);
    ck_assert_rc(tine__credentials_read(&after), 0);
    ck_assert(!tine__credentials_same(&before, &after));
}

TEST(many_groups_are_read_or_not_at_all)
{
    if (!is_root())
        SKIP("not root");
    run(read_many_groups);
}

/* Those but one of its own that are in force. */
static void leave_one_out(struct tine__capabilities *fewer)
{
    ck_assert_rc(tine__capabilities_read(fewer), 0);
    fewer->effective &= fewer->effective - 1;
}

TEST(what_cannot_be_given_up_is_told)
{
    struct tine__capabilities own, fewer, after;

    if (!is_root())
        SKIP("not root");
    leave_one_out(&fewer);
    ck_assert_rc(tine__capabilities_read(&own), 0);
    get_fails = true;
    ck_assert_rc(tine__capabilities_lower(&fewer), -EPERM);
    get_fails = false;
    ck_assert_int_eq(setenv(SET_REFUSED, "1", 1), 0);
    ck_assert_rc(tine__capabilities_lower(&fewer), -EPERM);
    ck_assert_rc(tine__capabilities_lower(&own), 0); /* nothing is to be given up */
    ck_assert_int_eq(unsetenv(SET_REFUSED), 0);
    ck_assert_rc(tine__capabilities_read(&after), 0);
    ck_assert_uint_eq(after.effective, own.effective);
}

/* ---- what is started ------------------------------------------------------------------------- */

/* It has no capability that its starter has not. */
static int check_rights(tine_call *call)
{
    const struct tine__capabilities *most;
    struct tine__capabilities own;

    ck_assert_rc(tine_args(call, "p", &most), 0);
    ck_assert_rc(tine__capabilities_read(&own), 0);
    ck_assert_uint_eq(own.effective & ~most->effective, 0);
    return 0;
}

static int start(const struct tine__capabilities *most)
{
    tine_process_options options = {.start = TINE_FORKSERVER};
    tine_process *process;
    int rc = tine_process_start(&process, check_rights, &options, "p", most);

    if (rc == 0)
        ck_assert_int_eq(process_end(process), 0);
    return rc;
}

static struct tine__capabilities *own_rights(void)
{
    struct tine__capabilities *own = tine_calloc(1, sizeof *own);

    ck_assert_ptr_nonnull(own);
    ck_assert_rc(tine__capabilities_read(own), 0);
    return own;
}

/* Whether the server may be asked cannot be known, nor what another one may have. */
static void start_unknown(void *unused)
{
    struct tine__capabilities *own = own_rights();

    (void)unused;
    ck_assert_rc(start(own), 0);
    for (int i = 0; i < 2; i++) {
        get_fails = true;
        ck_assert_rc(start(own), -EPERM);
        get_fails = false;
        ck_assert_rc(start(own), 0);
    }
    tine_free(own);
}

TEST(who_does_not_know_its_capabilities_starts_nothing_by_a_server)
{
    run(start_unknown);
}

static int await_gate(tine_call *call)
{
    struct gate *gate;

    ck_assert_rc(tine_args(call, "p", &gate), 0);
    gate_await(gate, 1);
    return 0;
}

/* Another server each time, made with the groups that there are then. */
static void start_without_groups(void *unused)
{
    struct gate *gate = heap_gate();
    tine_process *processes[3];
    pid_t servers[3];

    (void)unused;
    groups_fail = true;
    for (int i = 0; i < 3; i++) {
        struct proc proc;

        processes[i] = process_with(await_gate, TINE_FORKSERVER, gate);
        ck_assert(proc_read(tine_process_pid(processes[i]), &proc));
        servers[i] = proc.parent;
        for (int k = 0; k < i; k++)
            ck_assert_int_ne(servers[i], servers[k]);
    }
    groups_fail = false;
    gate_raise(gate);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(process_end(processes[i]), 0);
    tine_free(gate);
}

TEST(who_does_not_know_its_groups_has_a_new_server_each_time)
{
    run(start_without_groups);
}

static void start_unlowered(void *unused)
{
    struct tine__capabilities *fewer = own_rights();

    (void)unused;
    leave_one_out(fewer);
    ck_assert_rc(tine__capabilities_lower(fewer), 0);
    ck_assert_int_eq(setenv(SET_REFUSED, "1", 1), 0);
    ck_assert_rc(start(fewer), TINE_EBROKEN);
    ck_assert_int_eq(unsetenv(SET_REFUSED), 0);
    ck_assert_rc(start(fewer), 0);
    tine_free(fewer);
}

/* Executed, root's programs have all rights again. */
TEST(a_server_that_cannot_give_up_what_its_starter_has_not_is_none)
{
    if (!is_root())
        SKIP("not root");
    run(start_unlowered);
}

SUITE_WITH_INIT("pool/credentials_faults")
