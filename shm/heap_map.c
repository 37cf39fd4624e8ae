/* SPDX-License-Identifier: MIT */
/*
 * The heap's mapping: one sealed sparse memfd, reserved at the same address in every process.
 *
 * The file gets its full length at once (a sparse file costs nothing), so RLIMIT_FSIZE can only
 * shrink the reservation, never hurt later; the seals keep anybody from shortening it under us.
 * Nothing beyond the committed pages is ever touched, so no access can end in SIGBUS.
 *
 * A fork may happen while another thread is in here. `opening` therefore holds the fork generation
 * of the opener: the child of such a fork sees a foreign number, drops what was half made and goes
 * on.
 */
#include "shm/heap.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/codec.h"
#include "lib/fork.h"
#include "lib/sys.h"
#include "shm/heap_impl.h"

/* An address that a fresh program can map as well: not where the loader, the stack, ASLR or a
 * sanitizer's shadow go. The first is proven by tests/shm/test_heap_address.c in every build. */
#if defined(__x86_64__)
#define HEAP_BASE      UINT64_C(0x551000000000)
#define SIZE_MAX_BYTES ((size_t)4 << 40) /* up to where position-independent programs begin */
#elif defined(__aarch64__) || defined(__powerpc64__) || defined(__s390x__) || defined(__loongarch64)
#define HEAP_BASE      UINT64_C(0x100000000000)
#define SIZE_MAX_BYTES ((size_t)4 << 40)
#else /* 39 bits of address: riscv64 */
#define HEAP_BASE      UINT64_C(0x1000000000)
#define SIZE_MAX_BYTES ((size_t)64 << 30)
#endif

#define SIZE_DEFAULT        ((size_t)256 << 30)
#define SIZE_UNDER_VALGRIND ((size_t)1 << 30)
#define SIZE_MIN            ((size_t)1 << 20)
#define FIRST_BYTES         ((size_t)12288) /* header and the first owner rows */
#define FIRST_OWNER_ROWS                                                                           \
    ((uint32_t)((FIRST_BYTES - HEAP_OWNERS_AT) / sizeof(struct tine__owner_shm)))

_Static_assert(sizeof(struct heap_page_shm) == 576, "doc/shm-layout.md");
_Static_assert(sizeof(struct tine__owner_shm) == 32, "doc/shm-layout.md");
_Static_assert(sizeof(struct heap_shm) <= HEAP_OWNERS_AT, "the header ends where the owners begin");
_Static_assert(HEAP_OWNERS_AT + HEAP_OWNERS * sizeof(struct tine__owner_shm) <= HEAP_RECORDS_AT,
               "the owners end where the records begin");

struct heap_local tine__heap = {.fd = -1};

static _Atomic bool opened;
static _Atomic uint64_t opening; /* generation of the opener, 0 for none */
static struct half {
    int fd;
    size_t mapped;
} half = {-1, 0}; /* what an opener has in hand */

/* Valgrind keeps a record of every mapped page, in use or not: over a second for each GiB. */
static size_t default_size(void)
{
    const char *preload = getenv("LD_PRELOAD");

    if (preload != NULL && strstr(preload, "/vgpreload_") != NULL)
        return SIZE_UNDER_VALGRIND;
    return SIZE_DEFAULT < SIZE_MAX_BYTES ? SIZE_DEFAULT : SIZE_MAX_BYTES;
}

/* TINE_HEAP_SIZE: a number of bytes, or with one of the suffixes K M G T. */
static int wanted_size(size_t *size)
{
    static const char suffixes[] = "KMGT";
    const char *text = getenv("TINE_HEAP_SIZE");
    unsigned shift = 0;
    char *end;
    unsigned long long number;

    *size = default_size();
    if (text == NULL)
        return 0;
    if (*text < '0' || *text > '9')
        return -EINVAL;
    errno = 0;
    number = strtoull(text, &end, 10);
    for (unsigned i = 0; suffixes[i] != '\0' && shift == 0; i++)
        if ((*end & ~0x20) == suffixes[i])
            shift = 10 * (i + 1);
    if (shift != 0)
        end++;
    if (errno != 0 || *end != '\0' || number > SIZE_MAX_BYTES >> shift)
        return -EINVAL;
    *size = ((size_t)number << shift) & ~(HEAP_PAGE - 1);
    return *size < SIZE_MIN ? -EINVAL : 0;
}

/* Half of an address space limit at most: the program needs some, too. */
static size_t below_address_limit(size_t size)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_AS, &limit) < 0 || limit.rlim_cur == RLIM_INFINITY)
        return size;
    while (size > limit.rlim_cur / 2 && size > SIZE_MIN)
        size /= 2;
    return size;
}

/* Maps as much of the wish as the limits allow. */
static int reserve(int fd, size_t size, size_t *mapped)
{
    for (size = below_address_limit(size); size >= SIZE_MIN; size /= 2) {
        int rc = tine__sys_resize(fd, size);

        if (rc == 0)
            rc = tine__sys_map_at((void *)HEAP_BASE, size, fd);
        if (rc == 0) {
            *mapped = size;
            return 0;
        }
        if (rc == -EEXIST)
            return -EADDRINUSE;
        if (rc != -EFBIG && rc != -ENOMEM && rc != -EINVAL)
            return rc;
    }
    return -ENOMEM;
}

/* Never 0, 1 or 2: a program that runs without them would take it for its standard files. */
static int heap_file(void)
{
    int fd = tine__sys_memfd("tine-heap");
    int higher;

    if (fd < 0 || fd > STDERR_FILENO)
        return fd;
    higher = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    if (higher < 0)
        higher = -errno;
    close(fd);
    return higher;
}

static int write_header(size_t size)
{
    struct heap_shm *shared = (struct heap_shm *)HEAP_BASE;
    size_t pages =
        (size - HEAP_RECORDS_AT - HEAP_PAGE) / (HEAP_PAGE + sizeof(struct heap_page_shm));
    size_t data = HEAP_RECORDS_AT + pages * sizeof(struct heap_page_shm);

    shared->magic = HEAP_MAGIC;
    shared->format = HEAP_FORMAT;
    shared->page_limit = (uint32_t)pages;
    shared->size = size;
    shared->data_offset = (data + HEAP_PAGE - 1) & ~(HEAP_PAGE - 1);
    shared->owner_count = FIRST_OWNER_ROWS;
    shared->piece = 1;
    return tine__robust_init(&shared->lock);
}

static void adopt(int fd, const struct stat *status)
{
    struct heap_shm *shared = (struct heap_shm *)HEAP_BASE;

    tine__heap.shared = shared;
    tine__heap.owners = (struct tine__owner_shm *)(HEAP_BASE + HEAP_OWNERS_AT);
    tine__heap.pages = (struct heap_page_shm *)(HEAP_BASE + HEAP_RECORDS_AT);
    tine__heap.data = (char *)(HEAP_BASE + shared->data_offset);
    tine__heap.fd = fd;
    tine__heap.size = shared->size;
    tine__heap.page_limit = shared->page_limit;
    tine__heap.device = status->st_dev;
    tine__heap.inode = status->st_ino;
}

static int offset_of(const void *pointer, uint64_t *offset)
{
    if (!tine__heap_contains(pointer, 1))
        return -EINVAL;
    *offset = tine__heap_offset(pointer);
    return 0;
}

static int pointer_at(uint64_t offset, void **pointer)
{
    void *found = tine__heap_pointer(offset);

    if (found == NULL)
        return -EINVAL;
    *pointer = found;
    return 0;
}

/* The letter `p` of the codec, which knows no heap. */
static const struct tine__pointers codec_pointers = {offset_of, pointer_at};

static void drop_half(void)
{
    if (half.mapped != 0)
        munmap((void *)HEAP_BASE, half.mapped);
    if (half.fd >= 0)
        close(half.fd);
    half = (struct half){-1, 0};
}

/* What is mapped by halves is the heap now. */
static void publish(const struct stat *status)
{
    /* No promise: an old kernel or a tool may refuse, and the heap still works. */
    (void)madvise((void *)HEAP_BASE, half.mapped, MADV_DONTDUMP);
    adopt(half.fd, status);
    tine__codec_set_pointers(&codec_pointers);
    half = (struct half){-1, 0};
    /* pairs with the acquire in tine__heap_open */
    atomic_store_explicit(&opened, true, memory_order_release);
}

static int make(void)
{
    size_t size;
    struct stat status;
    int rc = wanted_size(&size);

    if (rc < 0)
        return rc;
    half.fd = heap_file();
    if (half.fd < 0)
        return half.fd;
    rc = reserve(half.fd, size, &half.mapped);
    if (rc == 0)
        rc = tine__sys_commit(half.fd, 0, FIRST_BYTES);
    if (rc == 0 && fstat(half.fd, &status) < 0)
        rc = -errno;
    if (rc == 0)
        rc = write_header(half.mapped);
    if (rc < 0)
        return rc == -ENOSPC ? -ENOMEM : rc;
    (void)tine__sys_seal_size(half.fd); /* no promise, see publish() */
    publish(&status);
    return 0;
}

/* The right to open; false when another thread of this process did it meanwhile. */
TINE__EARLY static bool enter(uint64_t generation)
{
    for (;;) {
        uint64_t holder = 0;

        if (atomic_load_explicit(&opened, memory_order_acquire))
            return false;
        if (atomic_compare_exchange_strong(&opening, &holder, generation))
            return true;
        if (holder != generation && atomic_compare_exchange_strong(&opening, &holder, generation)) {
            drop_half();
            return true;
        }
        sched_yield();
    }
}

int tine__heap_open(void)
{
    uint64_t generation;
    int rc;

    if (atomic_load_explicit(&opened, memory_order_acquire))
        return 0;
    generation = tine__fork_generation();
    if (generation == 0)
        return -ENOMEM;
    if (!enter(generation))
        return 0;
    rc = make();
    if (rc < 0)
        drop_half();
    atomic_store_explicit(&opening, 0, memory_order_release);
    return rc;
}

static bool is_heap(size_t size)
{
    const struct heap_shm *shared = (const struct heap_shm *)HEAP_BASE;

    return shared->magic == HEAP_MAGIC && shared->format == HEAP_FORMAT && shared->size == size;
}

static int map_existing(int fd, size_t size)
{
    int rc = tine__sys_map_at((void *)HEAP_BASE, size, fd);

    if (rc < 0)
        return rc == -EEXIST ? -EADDRINUSE : rc;
    half.mapped = size;
    return is_heap(size) ? 0 : -EPROTO;
}

/* As make, of a file that is there. */
static int take_over(int fd)
{
    struct stat status;
    int rc;

    if (fstat(fd, &status) < 0)
        return -errno;
    if (status.st_size < (off_t)SIZE_MIN || status.st_size > (off_t)SIZE_MAX_BYTES)
        return -EPROTO;
    half.fd = tine__sys_dup(fd);
    if (half.fd < 0)
        return half.fd;
    rc = map_existing(half.fd, (size_t)status.st_size);
    if (rc < 0)
        return rc;
    publish(&status);
    return 0;
}

TINE__EARLY int tine__heap_adopt(int fd)
{
    uint64_t generation = tine__fork_generation();
    int rc;

    if (generation == 0)
        return -ENOMEM;
    if (!enter(generation))
        return tine__heap_is_file(fd) ? 0 : -EADDRINUSE;
    rc = take_over(fd);
    if (rc < 0)
        drop_half();
    atomic_store_explicit(&opening, 0, memory_order_release);
    return rc;
}

void tine__heap_leave(void)
{
    if (!atomic_load_explicit(&opened, memory_order_acquire))
        return;
    munmap((void *)HEAP_BASE, tine__heap.size);
    tine__heap = (struct heap_local){.fd = -1};
    atomic_store_explicit(&opened, false, memory_order_release);
}

int tine__heap_lock(void)
{
    return tine__robust_lock(&tine__heap.shared->lock, tine__heap_rebuild, NULL);
}

void tine__heap_unlock(void)
{
    tine__robust_unlock(&tine__heap.shared->lock);
}

TINE__EARLY bool tine__heap_contains(const void *pointer, size_t size)
{
    size_t offset, end;

    if (!atomic_load_explicit(&opened, memory_order_acquire))
        return false;
    offset = (size_t)((uintptr_t)pointer - (uintptr_t)tine__heap.data);
    end = (size_t)heap_page_count() << HEAP_PAGE_SHIFT;
    return offset < end && size <= end - offset;
}

uint64_t tine__heap_offset(const void *pointer)
{
    return (uint64_t)(uintptr_t)pointer - HEAP_BASE;
}

_Atomic uint64_t *tine__heap_root(int which)
{
    return &tine__heap.shared->roots[which];
}

void *tine__heap_pointer(uint64_t offset)
{
    void *pointer = (void *)(uintptr_t)(HEAP_BASE + offset);

    return tine__heap_contains(pointer, 1) ? pointer : NULL;
}
