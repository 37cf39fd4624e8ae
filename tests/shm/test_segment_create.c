/* SPDX-License-Identifier: MIT */
/* Segments: their names, making one, on which file system, and whose files are taken for one. */
#include <tine/shm.h>

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include "tests/shm/segment_help.h"
#include "tests/support/children.h"
#include "tests/support/leaks.h"
#include "tests/support/suite.h"

/* ---- names ----------------------------------------------------------------------------------- */

TEST(a_leading_slash_changes_nothing)
{
    const char *with = leaks_shm_name("x");
    tine_shm *a, *b;

    ck_assert_rc(tine_shm_create(&a, with, 10, NULL), 0);
    ck_assert_str_eq(tine_shm_name(a), with + 1);
    ck_assert_rc(tine_shm_attach(&b, with + 1, NULL), 0);
    detach(b);
    end(a);
}

TEST(bad_names_are_refused)
{
    const char *bad[] = {"", "/", ".", "..", "/.", "a/b", "//a", "../etc/passwd", NULL};
    char long_name[257];
    tine_shm *shm = NULL;

    memset(long_name, 'n', sizeof long_name);
    long_name[256] = '\0';
    ck_assert_rc(tine_shm_create(&shm, long_name, 1, NULL), -EINVAL);
    for (const char **name = bad; *name != NULL; name++) {
        ck_assert_rc(tine_shm_create(&shm, *name, 1, NULL), -EINVAL);
        ck_assert_rc(tine_shm_attach(&shm, *name, NULL), -EINVAL);
        ck_assert_rc(tine_shm_unlink_name(*name), -EINVAL);
    }
    ck_assert_rc(tine_shm_attach(&shm, NULL, NULL), -EINVAL);
    ck_assert_ptr_null(shm);
}

TEST(a_name_may_have_255_bytes)
{
    char name[256];
    size_t length = (size_t)snprintf(name, sizeof name, "%s", name_of("x"));
    tine_shm *shm;

    memset(name + length, 'n', sizeof name - 1 - length);
    name[255] = '\0';
    ck_assert_rc(tine_shm_create(&shm, name, 1, NULL), 0);
    ck_assert_str_eq(tine_shm_name(shm), name);
    end(shm);
}

TEST(generated_names_carry_128_bits)
{
    tine_shm *a, *b;

    ck_assert_rc(tine_shm_create(&a, NULL, 1, NULL), 0);
    ck_assert_rc(tine_shm_create(&b, NULL, 1, NULL), 0);
    ck_assert_uint_eq(strlen(tine_shm_name(a)), strlen("tine-") + 32);
    ck_assert_str_ne(tine_shm_name(a), tine_shm_name(b));
    end(a);
    end(b);
}

TEST(a_taken_name_is_told)
{
    tine_shm *a = create("x", 10, NULL), *b = NULL;

    ck_assert_rc(tine_shm_create(&b, name_of("x"), 10, NULL), -EEXIST);
    ck_assert_ptr_null(b);
    end(a);
    ck_assert_rc(tine_shm_attach(&b, name_of("x"), NULL), -ENOENT);
    ck_assert_ptr_null(b);
}

TEST(the_mode_does_not_depend_on_the_umask, .loop_end = 2)
{
    const uint32_t modes[] = {0, 0640};
    mode_t before = umask(0777);
    tine_shm *shm = create("x", 1, &(tine_shm_options){.mode = modes[loop_index]});
    struct stat status;

    umask(before);
    ck_assert_int_eq(stat(path_of("x"), &status), 0);
    ck_assert_uint_eq(status.st_mode & 07777, loop_index == 0 ? 0600 : modes[loop_index]);
    end(shm);
}

/* ---- making it ------------------------------------------------------------------------------- */

static int fill(void *data, size_t size, void *context)
{
    assert_all(data, size, 0);
    ck_assert(!is_there(context));
    memset(data, 5, size);
    return 0;
}

static int refuse(void *data, size_t size, void *context)
{
    memset(data, 1, size);
    return *(int *)context;
}

TEST(the_name_appears_with_the_content)
{
    tine_shm *shm =
        create("x", 3000, &(tine_shm_options){.init = fill, .context = (void *)(uintptr_t) "x"});

    ck_assert(is_there("x"));
    assert_all(tine_shm_data(shm), 3000, 5);
    end(shm);
}

TEST(an_init_that_gives_up_leaves_nothing)
{
    int code = -EXFULL;
    tine_shm_options options = {.init = refuse, .context = &code};
    tine_shm *shm = NULL;

    ck_assert_rc(tine_shm_create(&shm, name_of("x"), 10, &options), -EXFULL);
    ck_assert_ptr_null(shm);
    ck_assert(!is_there("x"));
    code = 3;
    ck_assert_rc(tine_shm_create(&shm, name_of("x"), 10, &options), 0);
    end(shm);
}

TEST(open_or_create_says_which)
{
    tine_shm_options options = {.exist_ok = true};
    tine_shm *a, *b;

    ck_assert_rc(tine_shm_create(&a, name_of("x"), 10, &options), 0);
    strcpy(tine_shm_data(a), "first");
    ck_assert_rc(tine_shm_create(&b, name_of("x"), 5, &options), 1);
    ck_assert_uint_eq(tine_shm_size(b), 10);
    ck_assert_str_eq(tine_shm_data(b), "first");
    detach(b);
    b = NULL;
    ck_assert_rc(tine_shm_create(&b, name_of("x"), 11, &options), -EPROTO);
    ck_assert_ptr_null(b);
    end(a);
}

TEST(a_file_without_size_is_not_yet_a_segment)
{
    int fd = open(path_of("x"), O_CREAT | O_RDWR | O_CLOEXEC, 0600);
    tine_shm *shm = NULL;

    close(fd);
    ck_assert_rc(tine_shm_attach(&shm, name_of("x"), NULL), -EAGAIN);
    ck_assert_rc(tine_shm_create(&shm, name_of("x"), 1, &(tine_shm_options){.exist_ok = true}),
                 -EAGAIN);
    ck_assert_ptr_null(shm);
    ck_assert_rc(tine_shm_unlink_name(name_of("x")), 0);
}

TEST(wrong_options_are_refused)
{
    const tine_shm_options no_create[] = {
        {.read_only = true}, {.copy_on_write = true}, {.mode = 0700}};
    const tine_shm_options no_attach[] = {{.mode = 0600},
                                          {.exist_ok = true},
                                          {.init = fill},
                                          {.read_only = true, .copy_on_write = true}};
    const tine_shm_options newer[] = {{.reserved8 = {0, 0, 0, 0, 0, 1}}, {.reserved = {[7] = 1}}};
    tine_shm *shm = NULL;

    for (size_t i = 0; i < sizeof no_create / sizeof no_create[0]; i++)
        ck_assert_rc(tine_shm_create(&shm, name_of("x"), 1, &no_create[i]), -EINVAL);
    for (size_t i = 0; i < sizeof no_attach / sizeof no_attach[0]; i++)
        ck_assert_rc(tine_shm_attach(&shm, name_of("x"), &no_attach[i]), -EINVAL);
    for (size_t i = 0; i < sizeof newer / sizeof newer[0]; i++) {
        ck_assert_rc(tine_shm_create(&shm, name_of("x"), 1, &newer[i]), -E2BIG);
        ck_assert_rc(tine_shm_attach(&shm, name_of("x"), &newer[i]), -E2BIG);
    }
    ck_assert_rc(tine_shm_create(&shm, name_of("x"), 0, NULL), -EINVAL);
    ck_assert_rc(tine_shm_create(&shm, NULL, 1, &(tine_shm_options){.exist_ok = true}), -EINVAL);
    ck_assert_rc(tine_shm_create(NULL, name_of("x"), 1, NULL), -EINVAL);
    ck_assert_rc(tine_shm_attach(NULL, name_of("x"), NULL), -EINVAL);
    ck_assert_ptr_null(shm);
    ck_assert(!is_there("x"));
}

TEST(what_cannot_be_had_is_told_and_leaves_nothing)
{
    tine_shm *shm = NULL;

    ck_assert_rc(tine_shm_create(&shm, name_of("x"), SIZE_MAX, NULL), -ENOMEM);
    ck_assert_rc(tine_shm_create(&shm, name_of("x"), SIZE_MAX, &(tine_shm_options){.sparse = true}),
                 -EFBIG);
    ck_assert_rc(tine_shm_create(&shm, name_of("x"), 1, &(tine_shm_options){.reserve = SIZE_MAX}),
                 -ENOMEM);
    ck_assert_rc(tine_shm_create(&shm, name_of("x"), (size_t)1 << 50, NULL), -ENOMEM);
    ck_assert_ptr_null(shm);
    ck_assert(!is_there("x"));
}

static void create_beyond_file_limit(void *unused)
{
    const struct rlimit limit = {MIB, MIB};
    tine_shm *shm;

    (void)unused;
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    ck_assert_rc(tine_shm_create(&shm, name_of("x"), MIB + 1, NULL), -EFBIG);
    ck_assert_rc(tine_shm_create(&shm, name_of("x"), MIB, NULL), 0);
    ck_assert_rc(tine_shm_grow(shm, MIB + 1), -EFBIG);
    end(shm);
}

TEST(the_limit_of_file_sizes_is_a_code_and_no_signal)
{
    struct child child = child_start(create_beyond_file_limit, NULL);

    child_join(&child);
}

static _Atomic int alarms;

static void count_alarm(int signal)
{
    (void)signal;
    alarms++;
}

/* An interrupted fallocate begins anew: with a timer faster than it, it would never end. */
TEST(frequent_signals_do_not_keep_it_from_being_made, .own_signals = true)
{
    const struct itimerval often = {{0, 200}, {0, 200}}, never = {0};
    tine_shm *shm;

    signal(SIGALRM, count_alarm);
    ck_assert_int_eq(setitimer(ITIMER_REAL, &often, NULL), 0);
    shm = create("x", 64 * MIB, NULL);
    ck_assert_int_eq(setitimer(ITIMER_REAL, &never, NULL), 0);
    ck_assert_int_ge(alarms, 1);
    end(shm);
}

/* ---- other file systems ---------------------------------------------------------------------- */

/* A small file system over a directory, for this process only. */
static bool mount_small(const char *where)
{
    return unshare(CLONE_NEWNS) == 0 &&
           mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) == 0 &&
           mount("tine-test", where, "tmpfs", 0, "size=1m") == 0;
}

static void try_to_mount(void *where)
{
    _exit(mount_small(where) ? 0 : 1);
}

static bool may_mount(char *where)
{
    struct child child = child_start(try_to_mount, where);

    return child_wait(&child) == 0;
}

static void on_a_small_file_system(void *where)
{
    tine_shm *shm, *other = NULL;
    int fd;

    ck_assert(mount_small(where));
    ck_assert_rc(tine_shm_create(&other, name_of("y"), 16 * MIB, NULL), -ENOSPC);
    ck_assert_int_eq(access(path_of("y"), F_OK), -1);

    shm = create("x", MIB / 2, NULL);
    memset(tine_shm_data(shm), 9, MIB / 2);
    ck_assert_rc(tine_shm_grow(shm, 2 * MIB), -ENOSPC);
    ck_assert_uint_eq(tine_shm_size(shm), MIB / 2);
    ck_assert_rc(tine_shm_grow(shm, MIB), 0);
    memset(tine_shm_data(shm), 9, MIB);

    fd = open(path_of("y"), O_CREAT | O_RDWR | O_CLOEXEC, 0600);
    ck_assert_int_eq(ftruncate(fd, (off_t)(16 * MIB)), 0);
    close(fd);
    ck_assert_rc(tine_shm_attach(&other, name_of("y"), NULL), -ENOSPC);
    ck_assert_rc(tine_shm_attach(&other, name_of("y"), &(tine_shm_options){.read_only = true}),
                 -ENOSPC);
    ck_assert_ptr_null(other);
    ck_assert_rc(tine_shm_unlink_name(name_of("y")), 0);
    assert_all(tine_shm_data(shm), MIB, 9);
    end(shm);
}

TEST(a_full_file_system_is_a_code_and_no_signal)
{
    static char shm[] = "/dev/shm";
    struct child child;

    if (!may_mount(shm))
        SKIP("no right to mount a small /dev/shm");
    child = child_start(on_a_small_file_system, shm);
    child_join(&child);
}

static void without_proc(void *proc)
{
    tine_shm *shm = NULL;
    int rc;

    ck_assert(mount_small(proc));
    rc = tine_shm_create(&shm, name_of("x"), 10, NULL);
    ck_assert(rc == 0 || rc == -ENOTSUP); /* it takes a right, before Linux 6.10 */
    if (rc == 0)
        end(shm);
    ck_assert(!is_there("x"));
}

TEST(without_proc_it_is_made_or_refused)
{
    static char proc[] = "/proc";
    struct child child;

    if (!may_mount(proc))
        SKIP("no right to mount something over /proc");
    child = child_start(without_proc, proc);
    child_join(&child);
}

/* ---- owners ---------------------------------------------------------------------------------- */

static void assert_refused(void)
{
    tine_shm *shm = NULL;

    ck_assert_rc(tine_shm_attach(&shm, name_of("x"), NULL), -EACCES);
    ck_assert_ptr_null(shm);
    detach(attach("x", &(tine_shm_options){.any_owner = true}));
}

TEST(what_others_may_write_to_is_refused)
{
    tine_shm *shm = create("x", 1, NULL);

    ck_assert_int_eq(chmod(path_of("x"), 0620), 0);
    assert_refused();
    ck_assert_int_eq(chmod(path_of("x"), 0602), 0);
    assert_refused();
    ck_assert_int_eq(chmod(path_of("x"), 0644), 0);
    detach(attach("x", NULL));
    end(shm);
}

TEST(what_another_user_owns_is_refused)
{
    tine_shm *shm = create("x", 1, NULL);

    if (chown(path_of("x"), geteuid() + 1, (gid_t)-1) == 0)
        assert_refused();
    end(shm);
}

TEST(a_second_name_of_a_file_is_refused)
{
    tine_shm *shm = create("x", 1, NULL);
    char second[300];

    snprintf(second, sizeof second, "%s2", path_of("x"));
    ck_assert_int_eq(link(path_of("x"), second), 0);
    assert_refused();
    unlink(second);
    end(shm);
}

TEST(what_is_no_file_is_refused, .loop_end = 3)
{
    tine_shm *shm = NULL;

    switch (loop_index) {
    case 0:
        ck_assert_int_eq(symlink("/etc/passwd", path_of("x")), 0);
        break;
    case 1:
        ck_assert_int_eq(mkfifo(path_of("x"), 0600), 0);
        break;
    default:
        ck_assert_int_eq(mkdir(path_of("x"), 0700), 0);
    }
    ck_assert_rc(tine_shm_attach(&shm, name_of("x"), NULL), -EACCES);
    ck_assert_rc(tine_shm_attach(&shm, name_of("x"), &(tine_shm_options){.read_only = true}),
                 -EACCES);
    ck_assert_rc(tine_shm_unlink_name(name_of("x")), -EACCES);
    ck_assert_ptr_null(shm);
    ck_assert_int_eq(remove(path_of("x")), 0);
}

TEST(too_small_is_told)
{
    tine_shm *a = create("x", 10, NULL), *b = NULL;

    ck_assert_rc(tine_shm_attach(&b, name_of("x"), &(tine_shm_options){.size_min = 11}), -EPROTO);
    ck_assert_ptr_null(b);
    detach(attach("x", &(tine_shm_options){.size_min = 10}));
    end(a);
}

SUITE("shm/segment_create")
