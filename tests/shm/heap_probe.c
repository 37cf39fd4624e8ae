/* SPDX-License-Identifier: MIT */
/*
 * A fresh program, as a spawned child would be: test_heap_limits.c executes it with the name of one
 * scenario, which it plays in a process that has no heap yet. Exit status 0, or 1 with a reason.
 */
#include <tine/heap.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "shm/heap.h"

#define WANT(condition)                                                                            \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "heap_probe:%d: %s\n", __LINE__, #condition);                          \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

static const rlim_t MIB = 1 << 20;

static void want_sound(void)
{
    tine_heap_report report;

    if (tine_heap_check(&report) != 0) {
        fprintf(stderr, "heap_probe: %s (page %jd)\n", report.first, (intmax_t)report.first_page);
        exit(1);
    }
}

/* Allocates blocks, each linked to the one before and written to its end, until there are no
   more. */
static size_t fill(void **chain, size_t size, size_t most)
{
    size_t count = 0;

    for (; count < most; count++) {
        void **block = tine_alloc(size);

        if (block == NULL)
            break;
        memset(block, 0x5a, size);
        *block = *chain;
        *chain = block;
    }
    return count;
}

static void drain(void **chain)
{
    while (*chain != NULL) {
        void **block = *chain;

        *chain = *block;
        tine_free(block);
    }
}

static rlim_t set_soft(int resource, rlim_t soft)
{
    struct rlimit limit;
    rlim_t before;

    WANT(getrlimit((__rlimit_resource_t)resource, &limit) == 0);
    before = limit.rlim_cur;
    limit.rlim_cur = soft;
    WANT(setrlimit((__rlimit_resource_t)resource, &limit) == 0);
    return before;
}

static rlim_t address_space_used(void)
{
    FILE *file = fopen("/proc/self/statm", "re");
    unsigned long long pages = 0;

    WANT(file != NULL && fscanf(file, "%llu", &pages) == 1);
    fclose(file);
    return (rlim_t)pages * (rlim_t)sysconf(_SC_PAGESIZE);
}

static void map(void)
{
    char *block;

    WANT(tine__heap_open() == 0);
    block = tine_alloc(100);
    WANT(block != NULL);
    memset(block, 1, 100);
#ifdef __x86_64__
    WANT((uint64_t)(uintptr_t)block - tine__heap_offset(block) == UINT64_C(0x551000000000));
#endif
}

static void bad_sizes(void)
{
    static const char *const bad[] = {"",     "x",   "12Q",    "-1",  "1",  "99999T",
                                      "1 M ", "8MM", "0x1000", "+8M", "M8", "99999999999999999999"};
    tine_heap_counts counts;

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        setenv("TINE_HEAP_SIZE", bad[i], 1);
        WANT(tine__heap_open() == -EINVAL);
        WANT(tine_alloc(1) == NULL);
        WANT(tine_calloc(1, 100000) == NULL);
        WANT(tine_heap_stats(&counts) == -EINVAL);
        WANT(tine_heap_check(NULL) == -EINVAL);
        tine_free(&counts); /* ignored, there being no heap */
    }
    setenv("TINE_HEAP_SIZE", "8m", 1);
    WANT(tine_alloc(1) != NULL);
    WANT(tine_heap_stats(&counts) == 0 && counts.reserved_bytes == 8 * MIB);
}

static void small_heap(void)
{
    static const size_t sizes[] = {16, 100, 5000, 65536, 65537, 300000};
    void *chain = NULL;

    setenv("TINE_HEAP_SIZE", "4M", 1);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        size_t count = fill(&chain, sizes[i], SIZE_MAX);
        void *last = chain;

        WANT(count > 0 && count * sizes[i] > 3 * MIB / 2);
        WANT(tine_alloc(sizes[i]) == NULL);
        WANT(tine_realloc(last, 3 * MIB) == NULL);
        want_sound();
        chain = *(void **)last;
        tine_free(last);
        WANT(fill(&chain, sizes[i], 1) == 1); /* one place was free again */
        drain(&chain);
        want_sound();
    }
    WANT(fill(&chain, 3 * MIB, 1) == 1); /* and all of it, for a block of another kind */
}

static void address_limit(void)
{
    tine_heap_counts counts;
    void *chain = NULL;
    rlim_t before, used = address_space_used();

    before = set_soft(RLIMIT_AS, used + MIB / 2);
    WANT(tine__heap_open() == -ENOMEM);
    WANT(tine_alloc(10) == NULL);
    /* Relief, though not for all of the usual reservation. */
    set_soft(RLIMIT_AS, used + 100 * MIB);
    WANT(tine_alloc(10) != NULL);
    WANT(tine_heap_stats(&counts) == 0 && counts.reserved_bytes < 100 * MIB);
    WANT(fill(&chain, 100000, SIZE_MAX) > 0);
    drain(&chain);
    set_soft(RLIMIT_AS, before);
    want_sound();
}

static void file_limit(void)
{
    tine_heap_counts counts;
    void *chain = NULL;
    rlim_t before = set_soft(RLIMIT_FSIZE, 1000);

    WANT(tine__heap_open() == -ENOMEM);
    WANT(tine_alloc(10) == NULL);
    set_soft(RLIMIT_FSIZE, 16 * MIB);
    WANT(tine_alloc(10) != NULL);
    WANT(tine_heap_stats(&counts) == 0 && counts.reserved_bytes <= 16 * MIB);
    set_soft(RLIMIT_FSIZE, 1000); /* later limits do not matter: the file has its length */
    WANT(fill(&chain, 100000, SIZE_MAX) > 50);
    drain(&chain);
    WANT(fill(&chain, 100000, 50) == 50);
    set_soft(RLIMIT_FSIZE, before);
    want_sound();
}

/* In a memory cgroup whose limit is 256 MiB; argument: its directory and the name of its limit. */
static void in_cgroup(char **arguments)
{
    char path[512], text[32];
    void *chain = NULL;
    size_t first;
    int fd;

    first = fill(&chain, MIB, 1000);
    WANT(first > 30 && first < 256);
    WANT(tine_alloc((size_t)300 << 20) == NULL);
    want_sound();
    drain(&chain);
    WANT(fill(&chain, MIB, first / 2) == first / 2);
    drain(&chain);
    snprintf(path, sizeof path, "%s/%s", arguments[0], arguments[1]);
    fd = open(path, O_WRONLY | O_CLOEXEC);
    snprintf(text, sizeof text, "%ju", (uintmax_t)(512 * MIB));
    WANT(fd >= 0 && write(fd, text, strlen(text)) > 0);
    close(fd);
    first += first / 2; /* relief, though a sanitizer needs memory of its own beside each block */
    WANT(fill(&chain, MIB, first) == first);
    drain(&chain);
    want_sound();
}

/* Without standard files the heap's descriptor must not become one of them. */
static void closed_standard_files(void)
{
    close(STDIN_FILENO);
    close(STDOUT_FILENO);
    WANT(tine_alloc(10) != NULL);
    WANT(fcntl(STDIN_FILENO, F_GETFD) < 0 && fcntl(STDOUT_FILENO, F_GETFD) < 0);
}

/* A program that closes all it does not know, and opens files of its own under the same numbers. */
static void closed_descriptor(void)
{
    char name[] = "/tmp/tine-heap-probe-XXXXXX", byte;
    void *chain = NULL;
    int file, others[20];

    WANT(tine_alloc(10) != NULL);
    for (int fd = 3; fd < 64; fd++)
        close(fd);
    file = mkstemp(name);
    WANT(file >= 0 && unlink(name) == 0 && write(file, "precious", 8) == 8);
    for (int i = 0; i < 20; i++)
        WANT((others[i] = dup(file)) >= 0);
    WANT(fill(&chain, 2 * MIB, 80) == 80);
    drain(&chain);
    want_sound();
    WANT(lseek(file, 0, SEEK_END) == 8 && pread(file, &byte, 1, 7) == 1 && byte == 's');
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*play)(void);
    } scenarios[] = {
        {"map", map},
        {"bad_sizes", bad_sizes},
        {"small_heap", small_heap},
        {"address_limit", address_limit},
        {"file_limit", file_limit},
        {"closed_standard_files", closed_standard_files},
        {"closed_descriptor", closed_descriptor},
    };

    if (argc == 4 && strcmp(argv[1], "in_cgroup") == 0) {
        in_cgroup(argv + 2);
        return 0;
    }
    for (size_t i = 0; argc == 2 && i < sizeof scenarios / sizeof scenarios[0]; i++)
        if (strcmp(argv[1], scenarios[i].name) == 0) {
            scenarios[i].play();
            return 0;
        }
    fprintf(stderr, "usage: heap_probe SCENARIO\n");
    return 2;
}
