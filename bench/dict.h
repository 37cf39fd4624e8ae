/* SPDX-License-Identifier: MIT */
/* What the dictionary's cases share with their peer LMDB. */
#ifndef BENCH_DICT_H
#define BENCH_DICT_H

#include "bench/bench.h"

#define BENCH_DICT_NAME 16

/* n random keys among n, and the values that belong to them. */
struct bench_dict_keys {
    size_t n;
    uint64_t *numbers;
    char (*names)[BENCH_DICT_NAME];
};

int bench_dict_keys(struct bench_dict_keys *keys, size_t n);
void bench_dict_name(char name[BENCH_DICT_NAME], uint64_t number);

/* How a process reads from a store that another one has filled. */
struct bench_dict_side {
    int (*attach)(void **reader, void *store, const struct bench_dict_keys *keys);
    int (*get_all)(void *reader); /* one repetition */
};

/* BENCH_WORKERS processes read at once: millions of gets a second, of one of them. */
int bench_dict_rate(const struct bench_pass *pass, const struct bench_dict_side *side, void *store,
                    double *rate);

#endif
