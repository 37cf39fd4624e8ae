/* SPDX-License-Identifier: MIT */
/*
 * The peer Python: this process becomes python3 with peer.py, which prints the number itself.
 */
#include "bench/bench.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

int bench_python(const struct bench_pass *pass, double *value)
{
    char n[32], repetitions[32];

    (void)value;
    snprintf(n, sizeof n, "%zu", pass->n);
    snprintf(repetitions, sizeof repetitions, "%d", pass->repetitions);
    execlp("python3", "python3", BENCH_DIR "/peer.py", pass->name, n, repetitions, NULL);
    return errno == ENOENT ? BENCH_MISSING : -errno;
}
