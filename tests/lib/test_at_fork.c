/* SPDX-License-Identifier: MIT */
/* Hooks around forks: their order, and those that refuse, fork themselves or come late. */
#include "lib/at_fork.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "tests/support/children.h"
#include "tests/support/suite.h"

static char seen[64]; /* what was called, in order */
static int refusal;

static void note(char what)
{
    size_t length = strlen(seen);

    ck_assert_uint_lt(length + 1, sizeof seen);
    seen[length] = what;
    seen[length + 1] = '\0';
}

static int before(void *context, int32_t what)
{
    ck_assert_int_eq(what, TINE_FORKED_WORKER);
    note(*(const char *)context);
    return *(const char *)context == 'b' ? refusal : 0;
}

static void in_parent(void *context, int32_t what)
{
    ck_assert_int_eq(what, TINE_FORKED_WORKER);
    note((char)(*(const char *)context - 'a' + 'A'));
}

static void in_child(void *context, int32_t what)
{
    ck_assert_int_eq(what, TINE_FORKED_WORKER);
    note((char)(*(const char *)context - 'a' + '1'));
}

static void add(const char *name)
{
    ck_assert_rc(tine_register_at_fork(&(tine_fork_hooks){.before = before,
                                                          .after_in_parent = in_parent,
                                                          .after_in_child = in_child,
                                                          .context = (void *)(uintptr_t)name}),
                 0);
}

TEST(bad_ones_are_refused)
{
    ck_assert_rc(tine_register_at_fork(NULL), -EINVAL);
    ck_assert_rc(tine_register_at_fork(&(tine_fork_hooks){.reserved = {[3] = 1}}), -E2BIG);
}

TEST(without_hooks_nothing_happens)
{
    ck_assert_rc(tine__at_fork_before(TINE_FORKED_WORKER), 0);
    tine__at_fork_in_parent(TINE_FORKED_WORKER);
    tine__at_fork_in_child(TINE_FORKED_WORKER);
}

TEST(before_goes_backwards_and_after_forwards)
{
    add("a");
    add("b");
    ck_assert_rc(tine_register_at_fork(&(tine_fork_hooks){.context = NULL}), 0); /* none at all */
    add("c");
    ck_assert_rc(tine__at_fork_before(TINE_FORKED_WORKER), 0);
    tine__at_fork_in_parent(TINE_FORKED_WORKER);
    ck_assert_str_eq(seen, "cbaABC");
    tine__at_fork_in_parent(TINE_FORKED_WORKER); /* no fork was made */
    ck_assert_str_eq(seen, "cbaABC");
}

TEST(who_had_run_when_one_refuses_hears_of_it)
{
    add("a");
    add("b");
    add("c");
    add("d");
    refusal = -EBUSY;
    ck_assert_rc(tine__at_fork_before(TINE_FORKED_WORKER), -EBUSY);
    ck_assert_str_eq(seen, "dcbCD");
    tine__at_fork_in_parent(TINE_FORKED_WORKER);
    ck_assert_str_eq(seen, "dcbCD");
    refusal = 1; /* no refusal */
    ck_assert_rc(tine__at_fork_before(TINE_FORKED_WORKER), 0);
}

TEST(who_comes_between_is_not_called_after)
{
    add("a");
    ck_assert_rc(tine__at_fork_before(TINE_FORKED_WORKER), 0);
    add("b");
    tine__at_fork_in_parent(TINE_FORKED_WORKER);
    ck_assert_str_eq(seen, "aA");
}

/* As one that was executed. */
TEST(without_a_fork_of_its_own_a_child_has_them_all)
{
    add("a");
    add("b");
    tine__at_fork_in_child(TINE_FORKED_WORKER);
    ck_assert_str_eq(seen, "12");
}

static pid_t fork_hooked(void)
{
    int pidfd;
    pid_t pid = tine__hooked_fork(TINE_FORKED_WORKER, &pidfd);

    if (pid > 0)
        close(pidfd);
    return pid;
}

static void await(pid_t pid)
{
    ck_assert_int_gt(pid, 0);
    ck_assert_int_eq(child_wait(&(struct child){.pid = pid}), 0);
}

static void fork_one(void)
{
    pid_t pid = fork_hooked();

    if (pid == 0) {
        add("c"); /* is this process's alone */
        tine__at_fork_in_child(TINE_FORKED_WORKER);
        _exit(strcmp(seen, "ba12") == 0 ? 0 : 1);
    }
    await(pid);
    ck_assert_str_eq(seen, "baAB");
}

TEST(each_side_has_its_own)
{
    add("a");
    add("b");
    fork_one();
    seen[0] = '\0';
    fork_one();
}

/* ---- hooks that fork ------------------------------------------------------------------------- */

static int fork_inside(void *context, int32_t what)
{
    pid_t pid = fork_hooked();

    (void)context;
    (void)what;
    if (pid == 0) {
        tine__at_fork_in_child(TINE_FORKED_WORKER);
        _exit(seen[0] == '\0' ? 0 : 1);
    }
    await(pid);
    return 0;
}

TEST(what_a_hook_forks_has_no_hooks)
{
    ck_assert_rc(tine_register_at_fork(&(tine_fork_hooks){.after_in_parent = in_parent,
                                                          .after_in_child = in_child,
                                                          .context = (void *)(uintptr_t) "a"}),
                 0);
    ck_assert_rc(tine_register_at_fork(&(tine_fork_hooks){.before = fork_inside}), 0);
    ck_assert_rc(tine__at_fork_before(TINE_FORKED_WORKER), 0);
    ck_assert_str_eq(seen, "");
    tine__at_fork_in_parent(TINE_FORKED_WORKER);
    ck_assert_str_eq(seen, "A");
}

SUITE("lib/at_fork")
