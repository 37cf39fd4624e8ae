/* SPDX-License-Identifier: MIT */
/* A segment of tine's is a SharedMemory of Python's, and the reverse. */
#include <tine/shm.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/support/leaks.h"
#include "tests/support/python.h"
#include "tests/support/suite.h"
#include "tests/support/wait.h"

static const char *name_of(const char *what)
{
    return leaks_shm_name(what) + 1;
}

static void end(tine_shm *shm)
{
    ck_assert_rc(tine_shm_unlink(shm), 0);
    ck_assert_rc(tine_shm_detach(shm), 0);
}

TEST(python_attaches_what_tine_made)
{
    struct python python;
    tine_shm *shm;

    if (!python_start(&python, NULL))
        SKIP("no python3");
    ck_assert_rc(tine_shm_create(&shm, name_of("x"), 1000, NULL), 0);
    memset(tine_shm_data(shm), 'a', 1000);
    python_do(&python, "shm = SharedMemory(name='%s')", name_of("x"));
    ck_assert_str_eq(python_ask(&python, "shm.size"), "1000");
    ck_assert_str_eq(python_ask(&python, "bytes(shm.buf) == b'a' * 1000"), "True");
    python_do(&python, "shm.buf[999] = 66");
    ck_assert_int_eq(((char *)tine_shm_data(shm))[999], 66);
    python_do(&python, "shm.close()");
    python_end(&python);
    end(shm);
}

TEST(tine_attaches_what_python_made)
{
    struct python python;
    struct stat status;
    tine_shm *shm;

    if (!python_start(&python, NULL))
        SKIP("no python3");
    python_do(&python, "shm = SharedMemory(name='%s', create=True, size=9000)", name_of("x"));
    python_do(&python, "shm.buf[:5] = b'hello'");
    ck_assert_rc(tine_shm_attach(&shm, name_of("x"), NULL), 0);
    ck_assert_uint_eq(tine_shm_size(shm), 9000);
    ck_assert_int_eq(fstat(tine_shm_fd(shm), &status), 0);
    ck_assert_int_ge(status.st_blocks * 512, 9000);
    ck_assert_int_eq(memcmp(tine_shm_data(shm), "hello", 6), 0);
    strcpy(tine_shm_data(shm), "world");
    ck_assert_str_eq(python_ask(&python, "bytes(shm.buf[:5])"), "b'world'");
    python_do(&python, "shm.close()");
    end(shm);
    python_end(&python);
}

TEST(who_unlinks_first_has_unlinked)
{
    struct python python;
    tine_shm *shm;

    if (!python_start(&python, NULL))
        SKIP("no python3");
    python_do(&python, "shm = SharedMemory(name='%s', create=True, size=10)", name_of("x"));
    ck_assert_rc(tine_shm_attach(&shm, name_of("x"), NULL), 0);
    end(shm);
    ck_assert_str_eq(python_ask(&python, "shm.unlink()"),
                     "!FileNotFoundError(2, 'No such file or directory')");
    ck_assert_rc(tine_shm_create(&shm, name_of("x"), 10, NULL), 0);
    python_do(&python, "SharedMemory(name='%s').unlink()", name_of("x"));
    ck_assert_rc(tine_shm_unlink(shm), -ENOENT);
    ck_assert_rc(tine_shm_detach(shm), 0);
    python_do(&python, "shm.close()");
    python_end(&python);
}

TEST(a_generated_name_works_in_python)
{
    struct python python;
    tine_shm *shm;

    if (!python_start(&python, NULL))
        SKIP("no python3");
    ck_assert_rc(tine_shm_create(&shm, NULL, 10, NULL), 0);
    ck_assert_str_eq(python_ask(&python, "SharedMemory(name='%s').size", tine_shm_name(shm)), "10");
    python_end(&python);
    end(shm);
}

TEST(numpy_sees_the_same_doubles)
{
    const size_t n = 100000;
    struct python python;
    tine_shm *shm;
    double *x;

    if (!python_start(&python, "numpy"))
        SKIP("no python3");
    ck_assert_rc(tine_shm_create(&shm, name_of("x"), n * sizeof *x, NULL), 0);
    x = tine_shm_data(shm);
    for (size_t i = 0; i < n; i++)
        x[i] = (double)i / 8;
    python_do(&python, "shm = SharedMemory(name='%s')", name_of("x"));
    python_do(&python, "a = numpy.ndarray(%zu, numpy.float64, shm.buf)", n);
    ck_assert_str_eq(python_ask(&python, "(a == numpy.arange(%zu) / 8).all()", n), "True");
    python_do(&python, "a *= -2");
    for (size_t i = 0; i < n; i++)
        if (x[i] != (double)i / -4)
            ck_abort_msg("double %zu is %g", i, x[i]);
    python_do(&python, "del a; shm.close()");
    python_end(&python);
    end(shm);
}

/* ---- gh-82300 -------------------------------------------------------------------------------- */

/* What a user's Python does: it attaches, and ends. */
static void attach_and_end(void *context)
{
    char program[600], name[] = "python3", option[] = "-c";
    char *arguments[] = {name, option, program, NULL};
    const char *how = context;
    int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

    snprintf(program, sizeof program,
             "import sys\n"
             "from multiprocessing import resource_tracker\n"
             "from multiprocessing.shared_memory import SharedMemory\n"
             "track = {'track': False} if sys.version_info >= (3, 13) and %s else {}\n"
             "shm = SharedMemory(name='%s', **track)\n"
             "if %s and not track: resource_tracker.unregister('/' + shm.name, 'shared_memory')\n"
             "shm.close()\n",
             how, name_of("x"), how);
    dup2(null, STDERR_FILENO); /* the tracker complains of what it takes for a leak */
    python_exec(NULL, arguments);
    _exit(127);
}

static unsigned names_of(const tine_shm *shm)
{
    struct stat status;

    ck_assert_int_eq(fstat(tine_shm_fd(shm), &status), 0);
    return (unsigned)status.st_nlink;
}

TEST(a_python_that_only_attached_unlinks_the_name_unless_told_not_to, .loop_end = 2)
{
    static char *untracked[] = {"False", "True"};
    struct python python;
    struct child child;
    tine_shm *shm;

    if (!python_start(&python, NULL))
        SKIP("no python3");
    python_end(&python);
    ck_assert_rc(tine_shm_create(&shm, name_of("x"), 10, NULL), 0);
    child = child_start(attach_and_end, untracked[loop_index]);
    child_join(&child);
    if (loop_index == 0) /* by a process of its own, after the end of the first */
        ck_assert_eventually(names_of(shm) == 0);
    ck_assert_rc(tine_shm_unlink(shm), loop_index == 0 ? -ENOENT : 0);
    ck_assert_rc(tine_shm_detach(shm), 0);
}

SUITE("shm/segment_python")
