/* SPDX-License-Identifier: MIT */
/*
 * Keys in memory: pages of their own between two that nobody may touch, never swapped out, never in
 * a core file, read-only once filled, and wiped by the kernel in a forked child. A child that could
 * use the wiped bytes would authenticate everybody who guesses zeros, so the first word of the
 * pages says whether the key is there; it is wiped along with it.
 *
 * Private to the process. The handle itself holds no part of the key.
 */
#include "ipc/auth_secret.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/checked.h"
#include "lib/log.h"

#define PRESENT UINT64_C(0x79656b2079656b20)

struct tine__secret {
    uint8_t *mapping; /* guard, pages, guard */
    size_t mapped, page, size;
};

static uint8_t *pages_of(const struct tine__secret *secret)
{
    return secret->mapping + secret->page;
}

static int map_pages(struct tine__secret *secret)
{
    size_t whole;
    void *mapping;

    secret->page = (size_t)sysconf(_SC_PAGESIZE);
    if (!tine__add_size(secret->size, sizeof(uint64_t) + 2 * secret->page, &whole) ||
        !tine__round_up(whole, secret->page, &whole))
        return -ENOMEM;
    mapping = mmap(NULL, whole, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapping == MAP_FAILED)
        return -errno;
    secret->mapping = mapping;
    secret->mapped = whole;
    whole -= 2 * secret->page;
    if (mprotect(pages_of(secret), whole, PROT_READ | PROT_WRITE) < 0)
        return -errno;
    if (madvise(pages_of(secret), whole, MADV_WIPEONFORK) < 0)
        tine__log_warning("key: forked children keep a copy (%s)", "MADV_WIPEONFORK is refused");
    (void)madvise(pages_of(secret), whole, MADV_DONTDUMP);
    if (mlock(pages_of(secret), whole) < 0)
        tine__log_warning("key: it may be swapped out, for RLIMIT_MEMLOCK is reached");
    return 0;
}

int tine__secret_open(struct tine__secret **secret, const void *key, size_t size)
{
    const uint64_t present = PRESENT;
    struct tine__secret *made = calloc(1, sizeof *made);
    int rc;

    if (made == NULL)
        return -ENOMEM;
    made->size = size;
    rc = map_pages(made);
    if (rc < 0) {
        tine__secret_close(made);
        return rc;
    }
    if (size > 0)
        memcpy(pages_of(made) + sizeof present, key, size);
    memcpy(pages_of(made), &present, sizeof present);
    (void)mprotect(pages_of(made), made->mapped - 2 * made->page, PROT_READ);
    *secret = made;
    return 0;
}

void tine__secret_close(struct tine__secret *secret)
{
    if (secret == NULL)
        return;
    /* The kernel zeroes pages before it gives them to anybody else. */
    if (secret->mapping != NULL)
        munmap(secret->mapping, secret->mapped);
    free(secret);
}

const void *tine__secret_key(const struct tine__secret *secret, size_t *size)
{
    uint64_t present;

    memcpy(&present, pages_of(secret), sizeof present);
    if (present != PRESENT)
        return NULL;
    *size = secret->size;
    return pages_of(secret) + sizeof present;
}
