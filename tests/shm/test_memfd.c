/* SPDX-License-Identifier: MIT */
/* Segments without a name: what their seals forbid, and what is refused when one is received. */
#include <tine/shm.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "shm/held.h"
#include "tests/support/leaks.h"
#include "tests/support/suite.h"

#define MIB ((size_t)1 << 20)

static tine_shm *create(size_t size, const tine_memfd_options *options)
{
    tine_shm *shm;

    ck_assert_rc(tine_memfd_create(&shm, size, options), 0);
    return shm;
}

static tine_shm *attach(const tine_shm *other, const tine_memfd_options *options)
{
    tine_shm *shm;

    ck_assert_rc(tine_memfd_attach(&shm, tine_shm_fd(other), options), 0);
    ck_assert_int_ne(tine_shm_fd(shm), tine_shm_fd(other));
    return shm;
}

static void detach(tine_shm *shm)
{
    ck_assert_rc(tine_shm_detach(shm), 0);
}

static bool is_writable(void *address)
{
    int zero = open("/dev/zero", O_RDONLY | O_CLOEXEC);
    ssize_t got = read(zero, address, 1);

    close(zero);
    return got == 1;
}

TEST(it_has_no_name_and_is_shared_through_its_descriptor)
{
    tine_shm *a = create(100, NULL), *b = attach(a, NULL);

    ck_assert_ptr_null(tine_shm_name(a));
    ck_assert_rc(tine_shm_unlink(a), -EINVAL);
    ck_assert_uint_eq(tine_shm_size(b), 100);
    strcpy(tine_shm_data(a), "shared");
    detach(a);
    ck_assert_str_eq(tine_shm_data(b), "shared");
    detach(b);
}

TEST(nobody_shortens_or_lengthens_it)
{
    tine_shm *shm = create(5000, NULL);

    ck_assert_int_eq(ftruncate(tine_shm_fd(shm), 100), -1);
    ck_assert_int_eq(ftruncate(tine_shm_fd(shm), 6000), -1);
    ck_assert_rc(tine_shm_grow(shm, 6000), -EPERM);
    ck_assert_uint_eq(tine_shm_size(shm), 5000);
    detach(shm);
}

TEST(a_growable_one_grows)
{
    tine_shm *a = create(5000, &(tine_memfd_options){.growable = true, .reserve = MIB});
    tine_shm *b = attach(a, NULL);

    ck_assert_int_eq(ftruncate(tine_shm_fd(a), 100), -1);
    ck_assert_rc(tine_shm_grow(a, MIB), 0);
    ck_assert_rc(tine_shm_refresh(b), 0);
    ck_assert_uint_eq(tine_shm_size(b), MIB);
    ck_assert_rc(tine_memfd_seal(a, TINE_SEAL_GROW), 0);
    ck_assert_rc(tine_shm_grow(b, 2 * MIB), -EPERM);
    detach(b);
    detach(a);
}

TEST(the_creator_writes_what_the_others_only_read)
{
    tine_shm *a = create(100, NULL), *b = NULL;

    ck_assert_rc(tine_memfd_seal(a, TINE_SEAL_FUTURE_WRITE | TINE_SEAL_SEAL), 0);
    ck_assert_rc(tine_memfd_attach(&b, tine_shm_fd(a), NULL), -EPERM);
    ck_assert_ptr_null(b);
    b = attach(a, &(tine_memfd_options){.read_only = true});
    strcpy(tine_shm_data(a), "news");
    ck_assert_str_eq(tine_shm_data(b), "news");
    ck_assert(!is_writable(tine_shm_data(b)));
    ck_assert_int_eq(write(tine_shm_fd(b), "x", 1), -1);
    ck_assert_int_eq(fallocate(tine_shm_fd(b), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 100),
                     -1);
    ck_assert_rc(tine_memfd_seal(b, TINE_SEAL_WRITE), -EPERM);
    detach(b);
    detach(a);
}

TEST(sealed_against_writing_nobody_writes)
{
    tine_shm *a = create(100, NULL), *b;
    void *data = tine_shm_data(a);

    strcpy(data, "final");
    ck_assert_rc(tine_memfd_seal(a, TINE_SEAL_WRITE), 0);
    ck_assert_ptr_eq(tine_shm_data(a), data);
    ck_assert_str_eq(data, "final");
    ck_assert(!is_writable(data));
    b = attach(a, &(tine_memfd_options){.read_only = true});
    ck_assert_str_eq(tine_shm_data(b), "final");
    ck_assert(!is_writable(tine_shm_data(b)));
    detach(b);
    ck_assert_rc(tine_memfd_attach(&b, tine_shm_fd(a), NULL), -EPERM);
    detach(a);
}

TEST(it_is_not_sealed_against_writing_under_a_writer)
{
    tine_shm *a = create(100, NULL), *b = attach(a, NULL);

    ck_assert_rc(tine_memfd_seal(a, TINE_SEAL_WRITE), -EBUSY);
    strcpy(tine_shm_data(a), "still");
    ck_assert_str_eq(tine_shm_data(b), "still");
    detach(b);
    tine__held_push(tine__self(), tine_shm_data(a));
    ck_assert_rc(tine_memfd_seal(a, TINE_SEAL_WRITE), -EBUSY);
    tine__held_drop(tine__self(), tine_shm_data(a));
    ck_assert(is_writable(tine_shm_data(a)));
    ck_assert_rc(tine_memfd_seal(a, TINE_SEAL_WRITE), 0);
    detach(a);
}

TEST(copies_on_write_do_not_need_the_right_to_write)
{
    tine_shm *a = create(100, NULL), *b;

    strcpy(tine_shm_data(a), "all");
    ck_assert_rc(tine_memfd_seal(a, TINE_SEAL_WRITE), 0);
    b = attach(a, &(tine_memfd_options){.copy_on_write = true});
    strcpy(tine_shm_data(b), "mine");
    ck_assert_str_eq(tine_shm_data(a), "all");
    detach(b);
    detach(a);
}

TEST(what_can_be_shortened_is_refused)
{
    int fd = memfd_create("tine-test", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    tine_shm *shm = NULL;

    ck_assert_rc(tine_memfd_attach(&shm, fd, NULL), -EPERM);
    ck_assert_rc(tine_memfd_attach(&shm, fd, &(tine_memfd_options){.allow_unsealed = true}),
                 -EPROTO);
    ck_assert_int_eq(ftruncate(fd, 100), 0);
    ck_assert_rc(tine_memfd_attach(&shm, fd, NULL), -EPERM);
    ck_assert_ptr_null(shm);
    ck_assert_rc(tine_memfd_attach(&shm, fd, &(tine_memfd_options){.allow_unsealed = true}), 0);
    ck_assert_rc(tine_memfd_seal(shm, TINE_SEAL_SHRINK), 0);
    detach(shm);
    ck_assert_rc(tine_memfd_attach(&shm, fd, NULL), 0);
    detach(shm);
    close(fd);
}

TEST(what_is_no_memfd_is_refused)
{
    int ends[2];
    tine_shm *shm = NULL, *named;

    ck_assert_int_eq(pipe(ends), 0);
    ck_assert_rc(tine_memfd_attach(&shm, ends[0], NULL), -EINVAL);
    close(ends[0]);
    close(ends[1]);
    ck_assert_rc(tine_memfd_attach(&shm, -1, NULL), -EBADF);
    ck_assert_rc(tine_shm_create(&named, leaks_shm_name("x"), 10, NULL), 0);
    ck_assert_rc(tine_memfd_attach(&shm, tine_shm_fd(named), NULL), -EPERM);
    ck_assert_rc(tine_memfd_seal(named, TINE_SEAL_SHRINK), -EINVAL);
    ck_assert_rc(tine_shm_unlink(named), 0);
    detach(named);
    ck_assert_ptr_null(shm);
}

TEST(wrong_options_are_refused)
{
    const tine_memfd_options no_create[] = {
        {.size_min = 1}, {.read_only = true}, {.copy_on_write = true}, {.allow_unsealed = true}};
    const tine_memfd_options no_attach[] = {{.label = "x"},
                                            {.growable = true},
                                            {.sparse = true},
                                            {.read_only = true, .copy_on_write = true}};
    const tine_memfd_options newer[] = {{.reserved8 = {0, 1}}, {.reserved = {[7] = 1}}};
    tine_shm *good = create(1, NULL), *shm = NULL;

    for (size_t i = 0; i < sizeof no_create / sizeof no_create[0]; i++)
        ck_assert_rc(tine_memfd_create(&shm, 1, &no_create[i]), -EINVAL);
    for (size_t i = 0; i < sizeof no_attach / sizeof no_attach[0]; i++)
        ck_assert_rc(tine_memfd_attach(&shm, tine_shm_fd(good), &no_attach[i]), -EINVAL);
    for (size_t i = 0; i < sizeof newer / sizeof newer[0]; i++) {
        ck_assert_rc(tine_memfd_create(&shm, 1, &newer[i]), -E2BIG);
        ck_assert_rc(tine_memfd_attach(&shm, tine_shm_fd(good), &newer[i]), -E2BIG);
    }
    ck_assert_rc(tine_memfd_create(&shm, 0, NULL), -EINVAL);
    ck_assert_rc(tine_memfd_create(NULL, 1, NULL), -EINVAL);
    ck_assert_rc(tine_memfd_create(&shm, SIZE_MAX, NULL), -ENOMEM);
    ck_assert_rc(tine_memfd_attach(&shm, tine_shm_fd(good), &(tine_memfd_options){.size_min = 2}),
                 -EPROTO);
    ck_assert_rc(tine_memfd_seal(good, 0), -EINVAL);
    ck_assert_rc(tine_memfd_seal(good, 32), -EINVAL);
    ck_assert_rc(tine_memfd_seal(NULL, TINE_SEAL_SEAL), -EINVAL);
    ck_assert_ptr_null(shm);
    detach(good);
}

TEST(a_read_only_descriptor_is_mapped_for_reading_only)
{
    tine_shm *a = create(10, NULL), *b = NULL;
    char path[64];
    int fd;

    snprintf(path, sizeof path, "/proc/self/fd/%d", tine_shm_fd(a));
    fd = open(path, O_RDONLY | O_CLOEXEC);
    ck_assert_rc(tine_memfd_attach(&b, fd, NULL), -EACCES);
    ck_assert_rc(tine_memfd_attach(&b, fd, &(tine_memfd_options){.read_only = true}), 0);
    ck_assert_rc(tine_memfd_seal(b, TINE_SEAL_WRITE), -EPERM);
    detach(b);
    detach(a);
    close(fd);
}

SUITE("shm/memfd")
