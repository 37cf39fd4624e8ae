/* SPDX-License-Identifier: MIT */
/*
 * The start of libsodium. sodium_init takes a lock, and a child that was forked while another
 * thread had it would wait for ever. So only the first comer of a program calls it; whoever comes
 * meanwhile, in this process or in a child that was forked just then, goes on with the code that
 * libsodium begins with, which is slower and does the same.
 */
#include "lib/sodium.h"

#include <sodium.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "lib/log.h"

void tine__sodium_start(void)
{
    static atomic_bool begun;

    /* relaxed: it guards nothing */
    if (atomic_load_explicit(&begun, memory_order_relaxed) ||
        atomic_exchange_explicit(&begun, true, memory_order_relaxed))
        return;
    if (sodium_init() < 0)
        tine__log_warning("libsodium does not start: %s", "checksums and encryption are slow");
}
