/* SPDX-License-Identifier: MIT */
/* Named segments: names, sizes, owners, growth, detaching and unlinking. */
#include <tine/shm.h>

#include <tine/lock.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/clock.h"
#include "tests/shm/segment_help.h"
#include "tests/support/children.h"
#include "tests/support/suite.h"
#include "tests/support/wait.h"

/* The kernel refuses to write where the process could not. */
static bool is_writable(void *address)
{
    int zero = open("/dev/zero", O_RDONLY | O_CLOEXEC);
    ssize_t got = read(zero, address, 1);

    close(zero);
    return got == 1;
}

/* ---- the bytes ------------------------------------------------------------------------------- */

TEST(what_one_writes_another_reads)
{
    tine_shm *a = create("x", 100, NULL), *b = attach("x", NULL);

    ck_assert_uint_eq(tine_shm_size(a), 100);
    ck_assert_uint_eq(tine_shm_size(b), 100);
    ck_assert_ptr_ne(tine_shm_data(a), tine_shm_data(b));
    assert_all(tine_shm_data(a), 100, 0);
    strcpy(tine_shm_data(a), "tine");
    ck_assert_str_eq(tine_shm_data(b), "tine");
    detach(b);
    end(a);
}

TEST(the_file_is_the_bytes_from_offset_0_and_nothing_else)
{
    tine_shm *shm = create("x", 1000, NULL);
    unsigned char bytes[1001];
    int fd;

    memset(tine_shm_data(shm), 7, 1000);
    fd = open(path_of("x"), O_RDONLY | O_CLOEXEC);
    ck_assert_int_eq(read(fd, bytes, sizeof bytes), 1000);
    assert_all(bytes, 1000, 7);
    close(fd);
    end(shm);
}

TEST(every_byte_has_memory_from_the_start)
{
    tine_shm *shm = create("x", 3 * MIB + 1, NULL);
    struct stat status;

    ck_assert_int_eq(fstat(tine_shm_fd(shm), &status), 0);
    ck_assert_int_ge(status.st_blocks * 512, (int64_t)(3 * MIB + 1));
    end(shm);
}

TEST(a_sparse_one_costs_nothing_until_it_is_touched)
{
    tine_shm *shm = create("x", 100 * MIB, &(tine_shm_options){.sparse = true});
    struct stat status;

    ck_assert_int_eq(fstat(tine_shm_fd(shm), &status), 0);
    ck_assert_int_lt(status.st_blocks * 512, (int64_t)MIB);
    end(shm);
}

TEST(what_others_made_sparse_is_filled_when_it_is_attached)
{
    int fd = open(path_of("x"), O_CREAT | O_RDWR | O_CLOEXEC, 0600);
    struct stat status;
    tine_shm *shm;

    ck_assert_int_eq(ftruncate(fd, (off_t)MIB), 0);
    detach(attach("x", &(tine_shm_options){.sparse = true}));
    ck_assert_int_eq(fstat(fd, &status), 0);
    ck_assert_int_eq(status.st_blocks, 0);
    shm = attach("x", &(tine_shm_options){.read_only = true});
    ck_assert_int_eq(fstat(fd, &status), 0);
    ck_assert_int_eq(status.st_blocks * 512, (int64_t)MIB);
    close(fd);
    end(shm);
}

TEST(the_bytes_outlive_the_name_and_the_creator)
{
    tine_shm *a = create("x", 10, NULL), *b = attach("x", NULL);

    end(a);
    ck_assert(!is_there("x"));
    strcpy(tine_shm_data(b), "still");
    ck_assert_str_eq(tine_shm_data(b), "still");
    ck_assert_rc(tine_shm_unlink(b), -ENOENT);
    detach(b);
}

static void write_in_child(void *context)
{
    tine_shm *shm = context;

    strcpy(tine_shm_data(shm), "child");
    ck_assert_rc(tine_shm_detach(shm), 0);
}

TEST(a_forked_child_has_the_mapping_and_gives_back_its_own)
{
    tine_shm *shm = create("x", 10, NULL);
    struct child child = child_start(write_in_child, shm);

    child_join(&child);
    ck_assert_str_eq(tine_shm_data(shm), "child");
    end(shm);
}

/* ---- ways to map it -------------------------------------------------------------------------- */

TEST(read_only_means_it)
{
    tine_shm *a = create("x", 10, NULL), *b = attach("x", &(tine_shm_options){.read_only = true});

    ck_assert(is_writable(tine_shm_data(a)));
    ck_assert(!is_writable(tine_shm_data(b)));
    strcpy(tine_shm_data(a), "seen");
    ck_assert_str_eq(tine_shm_data(b), "seen");
    ck_assert_rc(tine_shm_grow(b, 20), -EACCES);
    detach(b);
    end(a);
}

TEST(copies_on_write_are_seen_by_nobody_else)
{
    tine_shm *a = create("x", 10, NULL);
    tine_shm *b = attach("x", &(tine_shm_options){.copy_on_write = true, .reserve = MIB});

    strcpy(tine_shm_data(a), "all");
    ck_assert_str_eq(tine_shm_data(b), "all");
    strcpy(tine_shm_data(b), "mine");
    ck_assert_str_eq(tine_shm_data(a), "all");
    ck_assert_rc(tine_shm_grow(b, 20), -EACCES);
    ck_assert_rc(tine_shm_grow(a, MIB / 2), 0);
    ck_assert_rc(tine_shm_refresh(b), 0);
    ck_assert_uint_eq(tine_shm_size(b), MIB / 2);
    ck_assert_str_eq(tine_shm_data(b), "mine");
    ck_assert_rc(tine_shm_grow(a, 2 * MIB), 0);
    ck_assert_rc(tine_shm_refresh(b), -ENOMEM);
    ck_assert_uint_eq(tine_shm_size(b), MIB / 2);
    detach(b);
    end(a);
}

/* How much of the mapping at that address is in huge pages, in KiB; -1: not known. */
static long huge_kib(const void *address)
{
    FILE *maps = fopen("/proc/self/smaps", "re");
    char line[512];
    bool here = false;
    long kib = -1;

    ck_assert_ptr_nonnull(maps);
    while (fgets(line, sizeof line, maps) != NULL) {
        uintptr_t from, to;

        if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
            here = from == (uintptr_t)address;
        if (here)
            sscanf(line, "ShmemPmdMapped: %ld", &kib);
    }
    fclose(maps);
    return kib;
}

TEST(huge_pages_come_where_the_kernel_has_them)
{
    tine_shm *shm = create("x", 8 * MIB, &(tine_shm_options){.huge_pages = true});
    long kib;

    ck_assert_uint_eq((uintptr_t)tine_shm_data(shm) % (2 * MIB), 0);
    assert_all(tine_shm_data(shm), 8 * MIB, 0);
    kib = huge_kib(tine_shm_data(shm));
    end(shm);
    if (kib <= 0)
        SKIP("this kernel gave no huge pages");
    ck_assert_int_le(kib, 8192);
}

/* ---- growing --------------------------------------------------------------------------------- */

TEST(with_room_it_grows_in_place_and_others_follow)
{
    tine_shm *a = create("x", 100, &(tine_shm_options){.reserve = 8 * MIB});
    tine_shm *b = attach("x", &(tine_shm_options){.reserve = 8 * MIB});
    void *data_a = tine_shm_data(a), *data_b = tine_shm_data(b);

    memset(data_a, 3, 100);
    for (size_t size = 200; size <= 8 * MIB; size *= 3) {
        ck_assert_rc(tine_shm_grow(a, size), 0);
        ck_assert_uint_eq(tine_shm_size(a), size);
        ck_assert_ptr_eq(tine_shm_data(a), data_a);
        assert_all((unsigned char *)data_a + 100, size - 100, 0);
        ck_assert_rc(tine_shm_refresh(b), 0);
        ck_assert_uint_eq(tine_shm_size(b), size);
        ck_assert_ptr_eq(tine_shm_data(b), data_b);
        ((char *)data_b)[size - 1] = 1;
        ck_assert_int_eq(((char *)data_a)[size - 1], 1);
        ((char *)data_b)[size - 1] = 0;
    }
    assert_all(data_b, 100, 3);
    detach(b);
    end(a);
}

TEST(without_room_it_moves_and_keeps_its_bytes)
{
    tine_shm *shm = create("x", 4096, NULL);

    memset(tine_shm_data(shm), 3, 4096);
    ck_assert_rc(tine_shm_grow(shm, 5 * MIB), 0);
    ck_assert_uint_eq(tine_shm_size(shm), 5 * MIB);
    assert_all(tine_shm_data(shm), 4096, 3);
    assert_all((unsigned char *)tine_shm_data(shm) + 4096, 5 * MIB - 4096, 0);
    end(shm);
}

TEST(it_never_becomes_shorter)
{
    tine_shm *a = create("x", 4096, NULL), *b = attach("x", NULL);

    ck_assert_rc(tine_shm_grow(a, 10), 0);
    ck_assert_uint_eq(tine_shm_size(a), 4096);
    ck_assert_rc(tine_shm_grow(b, 9000), 0);
    ck_assert_rc(tine_shm_grow(a, 5000), 0);
    ck_assert_uint_eq(tine_shm_size(a), 9000);
    ck_assert_rc(tine_shm_refresh(a), 0);
    detach(b);
    end(a);
}

/* ---- detaching and unlinking ----------------------------------------------------------------- */

static int make_lock(void *data, size_t size, void *context)
{
    (void)size, (void)context;
    return tine_lock_init(data, NULL);
}

TEST(it_is_not_detached_nor_moved_while_a_lock_in_it_is_held)
{
    tine_shm *shm = create("x", 5000, &(tine_shm_options){.init = make_lock, .reserve = MIB});
    tine_lock *lock = tine_shm_data(shm);

    ck_assert_rc(tine_lock_acquire(lock, 0), 0);
    ck_assert_rc(tine_shm_detach(shm), -EBUSY);
    ck_assert_rc(tine_shm_grow(shm, MIB), 0);
    ck_assert_rc(tine_shm_grow(shm, 2 * MIB), -EBUSY);
    ck_assert_uint_eq(tine_shm_size(shm), MIB);
    ck_assert_rc(tine_shm_unlink(shm), 0);
    ck_assert_rc(tine_lock_release(lock), 0);
    ck_assert_rc(tine_shm_grow(shm, 2 * MIB), 0);
    detach(shm);
}

static void hold(void *context)
{
    tine_shm *shm = attach("x", NULL);

    ck_assert_rc(tine_lock_acquire(tine_shm_data(shm), 0), 0);
    gate_raise(context);
    pause();
}

TEST(a_lock_in_it_is_one_at_every_address_and_survives_its_holder)
{
    tine_shm *a = create("x", 1000, &(tine_shm_options){.init = make_lock});
    tine_shm *b = attach("x", NULL);
    tine_lock *lock = tine_shm_data(b);
    struct gate *held = gate_new();
    struct child child = child_start(hold, held);

    ck_assert_ptr_ne(tine_shm_data(a), lock);
    gate_await(held, 1);
    ck_assert_rc(tine_lock_acquire(lock, 0), -EAGAIN);
    child_kill(&child);
    ck_assert_rc(tine_lock_acquire(lock, TINE_SEC(600)), -EOWNERDEAD);
    ck_assert_rc(tine_lock_acquire(tine_shm_data(a), 0), -EDEADLK);
    ck_assert_rc(tine_shm_detach(b), -EBUSY);
    ck_assert_rc(tine_lock_recover(lock), 0);
    ck_assert_rc(tine_lock_release(lock), 0);
    detach(b);
    end(a);
}

TEST(nothing_is_detached_as_well)
{
    ck_assert_rc(tine_shm_detach(NULL), 0);
    ck_assert_ptr_null(tine_shm_data(NULL));
    ck_assert_ptr_null(tine_shm_name(NULL));
    ck_assert_uint_eq(tine_shm_size(NULL), 0);
    ck_assert_rc(tine_shm_fd(NULL), -EINVAL);
    ck_assert_rc(tine_shm_grow(NULL, 1), -EINVAL);
    ck_assert_rc(tine_shm_refresh(NULL), -EINVAL);
    ck_assert_rc(tine_shm_unlink(NULL), -EINVAL);
}

TEST(the_name_of_a_later_segment_is_left_alone)
{
    tine_shm *a = create("x", 1, NULL), *b;

    ck_assert_rc(tine_shm_unlink_name(name_of("x")), 0);
    ck_assert_rc(tine_shm_unlink_name(name_of("x")), -ENOENT);
    b = create("x", 1, NULL);
    ck_assert_rc(tine_shm_unlink(a), -ENOENT);
    ck_assert(is_there("x"));
    detach(a);
    end(b);
}

TEST(a_stopped_unlinker_holds_up_others_for_a_while_only)
{
    tine_shm *shm = create("x", 1, NULL);
    int fd = open(path_of("x"), O_RDONLY | O_CLOEXEC);
    int64_t start = tine__now_ns();

    ck_assert_int_eq(flock(fd, LOCK_EX), 0);
    ck_assert_rc(tine_shm_unlink(shm), -EBUSY);
    ck_assert_int_ge(tine__now_ns() - start, 1000000000);
    close(fd);
    end(shm);
}

SUITE("shm/segment")
