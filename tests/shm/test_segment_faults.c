/* SPDX-License-Identifier: MIT */
/*
 * Calls that fail under segments: the k-th, for every k until all goes well; and a kernel that has
 * no nameless files. The program is linked so that the calls come here first (ld --wrap).
 */
#include <tine/shm.h>

#include <tine/shareable_list.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/sys.h"
#include "shm/memory_left.h"
#include "tests/support/failing.h"
#include "tests/support/leaks.h"
#include "tests/support/suite.h"

static bool nameless = true; /* the kernel has nameless files */
static size_t left = SIZE_MAX;

FAILING_AS(int, tine__sys_create, -ENOMEM, (const char *path, uint32_t mode), (path, mode))
FAILING_AS(int, tine__sys_dup, -ENOMEM, (int fd), (fd))
FAILING_AS(int, tine__sys_extend, -ENOMEM, (int fd, size_t from, size_t size), (fd, from, size))
FAILING_AS(int, tine__sys_link, -ENOMEM, (int fd, const char *path), (fd, path))
FAILING_AS(int, tine__sys_map_over, -ENOMEM,
           (void *address, size_t size, int prot, int flags, int fd, size_t from),
           (address, size, prot, flags, fd, from))
FAILING_AS(int, tine__sys_memfd, -ENOMEM, (const char *name), (name))
FAILING_AS(int, tine__sys_open, -ENOMEM, (const char *path, bool writable), (path, writable))
FAILING_AS(int, tine__sys_rename_new, -ENOMEM, (const char *path, const char *wanted),
           (path, wanted))
FAILING_AS(int, tine__sys_reserve, -ENOMEM, (size_t size, size_t alignment, void **address),
           (size, alignment, address))
FAILING_AS(int, tine__sys_resize, -ENOMEM, (int fd, size_t size), (fd, size))
FAILING_AS(int, tine__sys_seal, -ENOMEM, (int fd, int seals), (fd, seals))

int __real_tine__sys_tmpfile(const char *directory, uint32_t mode);
int __wrap_tine__sys_tmpfile(const char *directory, uint32_t mode);
int __wrap_tine__sys_tmpfile(const char *directory, uint32_t mode)
{
    if (!nameless)
        return -ENOTSUP;
    return failing_now() ? -ENOMEM : __real_tine__sys_tmpfile(directory, mode);
}

size_t __wrap_tine__memory_left(void);
size_t __wrap_tine__memory_left(void)
{
    return left;
}

FAILING(calloc, (size_t count, size_t size), (count, size))

static const char *name(void)
{
    return leaks_shm_name("x") + 1;
}

/* A file of ours that waits for its name. */
static bool litter(void)
{
    DIR *directory = opendir("/dev/shm");
    struct dirent *entry;
    bool found = false;

    ck_assert_ptr_nonnull(directory);
    while ((entry = readdir(directory)) != NULL)
        found = found || strncmp(entry->d_name, ".tine-", 6) == 0;
    closedir(directory);
    return found;
}

static bool is_there(void)
{
    char path[256];

    snprintf(path, sizeof path, "/dev/shm/%s", name());
    return access(path, F_OK) == 0;
}

/* Each gives 0 when all went well, and leaves nothing in any case. */
typedef int operation(void);

static int make(void)
{
    tine_shm *shm = NULL;
    int rc = tine_shm_create(&shm, name(), 100, NULL), rc2;

    if (rc < 0) {
        ck_assert_ptr_null(shm);
        ck_assert(!is_there());
        return rc;
    }
    rc = tine_shm_grow(shm, 100000);
    ck_assert_uint_eq(tine_shm_size(shm), rc == 0 ? 100000 : 100);
    memset(tine_shm_data(shm), 1, tine_shm_size(shm));
    rc2 = tine_shm_unlink(shm);
    if (rc2 < 0)
        ck_assert_rc(tine_shm_unlink(shm), 0);
    ck_assert_rc(tine_shm_detach(shm), 0);
    return rc < 0 ? rc : rc2;
}

static int make_sparse_and_attach(void)
{
    tine_shm *a, *b = NULL;
    int rc = tine_shm_create(&a, name(), 100, &(tine_shm_options){.sparse = true});

    if (rc < 0)
        return rc;
    rc = tine_shm_attach(&b, name(), &(tine_shm_options){.read_only = true});
    if (rc == 0)
        ck_assert_rc(tine_shm_detach(b), 0);
    else
        ck_assert_ptr_null(b);
    failing.until = 0;
    ck_assert_rc(tine_shm_unlink(a), 0);
    ck_assert_rc(tine_shm_detach(a), 0);
    return rc;
}

static int make_memfd(void)
{
    tine_shm *a = NULL, *b = NULL;
    int rc = tine_memfd_create(&a, 100, NULL);

    if (rc < 0) {
        ck_assert_ptr_null(a);
        return rc;
    }
    strcpy(tine_shm_data(a), "kept");
    rc = tine_memfd_attach(&b, tine_shm_fd(a), &(tine_memfd_options){.read_only = true});
    ck_assert_int_eq(rc == 0, b != NULL);
    ck_assert_rc(tine_shm_detach(b), 0);
    if (rc == 0)
        rc = tine_memfd_seal(a, TINE_SEAL_WRITE);
    ck_assert_str_eq(tine_shm_data(a), "kept");
    ck_assert_rc(tine_shm_detach(a), 0);
    return rc;
}

static int make_list(void)
{
    const tine_shareable_item item = tine_shareable_int(1);
    tine_shareable_list *a = NULL, *b = NULL;
    int rc = tine_shareable_list_create(&a, name(), &item, 1, NULL);

    if (rc < 0) {
        ck_assert_ptr_null(a);
        ck_assert(!is_there());
        return rc;
    }
    rc = tine_shareable_list_attach(&b, name(), NULL);
    ck_assert_int_eq(rc == 0, b != NULL);
    ck_assert_rc(tine_shareable_list_detach(b), 0);
    failing.until = 0;
    ck_assert_rc(tine_shm_unlink(tine_shareable_list_shm(a)), 0);
    ck_assert_rc(tine_shareable_list_detach(a), 0);
    return rc;
}

static void fail_each(operation *run)
{
    for (int k = 1;; k++) {
        int rc;

        ck_assert_int_lt(k, 100);
        failing.until = k;
        failing.failed = 0;
        rc = run();
        failing.until = 0;
        if (!failing.failed) {
            ck_assert_rc(rc, 0);
            ck_assert_int_gt(k, 3);
            break;
        }
        ck_assert(!is_there());
        ck_assert(!litter());
        ck_assert_rc(run(), 0);
    }
}

TEST(each_call_under_a_named_segment_fails_in_turn, .loop_end = 2)
{
    nameless = loop_index == 0;
    fail_each(make);
}

TEST(each_call_under_a_sparse_segment_fails_in_turn)
{
    fail_each(make_sparse_and_attach);
}

TEST(each_call_under_a_memfd_fails_in_turn)
{
    fail_each(make_memfd);
}

TEST(each_call_under_a_list_fails_in_turn)
{
    fail_each(make_list);
}

static int refuse(void *data, size_t size, void *context)
{
    (void)data, (void)size, (void)context;
    ck_assert(litter());
    ck_assert(!is_there());
    return -ECANCELED;
}

TEST(without_nameless_files_it_is_made_beside_and_renamed)
{
    tine_shm *a = NULL, *b = NULL;

    nameless = false;
    ck_assert_rc(tine_shm_create(&a, name(), 100, &(tine_shm_options){.init = refuse}), -ECANCELED);
    ck_assert(!litter());
    ck_assert_rc(tine_shm_create(&a, name(), 100, NULL), 0);
    ck_assert(!litter());
    ck_assert_rc(tine_shm_create(&b, name(), 100, NULL), -EEXIST);
    ck_assert_ptr_null(b);
    ck_assert(!litter());
    ck_assert_rc(tine_shm_attach(&b, name(), NULL), 0);
    ck_assert_rc(tine_shm_detach(b), 0);
    ck_assert_rc(tine_shm_unlink(a), 0);
    ck_assert_rc(tine_shm_detach(a), 0);
}

TEST(what_memory_does_not_allow_is_not_begun)
{
    tine_shm *shm = NULL;

    left = 3 << 20;
    ck_assert_rc(tine_shm_create(&shm, name(), 4 << 20, NULL), -ENOMEM);
    ck_assert_rc(tine_memfd_create(&shm, 4 << 20, NULL), -ENOMEM);
    ck_assert_ptr_null(shm);
    ck_assert_rc(tine_shm_create(&shm, name(), 2 << 20, NULL), 0);
    ck_assert_rc(tine_shm_grow(shm, 6 << 20), -ENOMEM);
    ck_assert_rc(tine_shm_grow(shm, 4 << 20), 0);
    ck_assert_rc(tine_shm_unlink(shm), 0);
    ck_assert_rc(tine_shm_detach(shm), 0);
}

SUITE("shm/segment_faults")
