/* SPDX-License-Identifier: MIT */
/*
 * dict.get: gets of random keys among n, by BENCH_WORKERS processes at once; the rate of one of
 * them. Against LMDB, which reads in one long transaction without any lock (bench/lmdb.c).
 *
 * dict.get.python: n gets among n keys by one process, against a Manager().dict() of Python's.
 */
#include "bench/dict.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

int bench_dict_keys(struct bench_dict_keys *keys, size_t n)
{
    uint64_t state = 1;

    keys->n = n;
    keys->numbers = calloc(n, sizeof *keys->numbers);
    keys->names = calloc(n, sizeof *keys->names);
    if (!keys->numbers || !keys->names)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++) {
        state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        keys->numbers[i] = (state >> 33) % n;
        bench_dict_name(keys->names[i], keys->numbers[i]);
    }
    return 0;
}

void bench_dict_name(char name[BENCH_DICT_NAME], uint64_t number)
{
    snprintf(name, BENCH_DICT_NAME, "key-%08u", (unsigned)number);
}

/* ---- readers --------------------------------------------------------------------------------- */

/* One reader: a process of its own, that says how long a repetition takes. */
static void read_in_child(const struct bench_pass *pass, const struct bench_dict_side *side,
                          void *store, double *seconds)
{
    struct bench_dict_keys keys;
    void *reader = NULL;
    int rc = bench_dict_keys(&keys, pass->n);

    if (rc == 0)
        rc = side->attach(&reader, store, &keys);
    if (rc == 0)
        rc =
            bench_seconds(pass, &(struct bench_work){.run = side->get_all, .arg = reader}, seconds);
    _exit(rc == 0 ? EXIT_SUCCESS : EXIT_FAILURE);
}

int bench_dict_rate(const struct bench_pass *pass, const struct bench_dict_side *side, void *store,
                    double *rate)
{
    double *seconds = mmap(NULL, sizeof *seconds * BENCH_WORKERS, PROT_READ | PROT_WRITE,
                           MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    double sum = 0;
    int status, rc = seconds == MAP_FAILED ? -ENOMEM : 0;

    for (int i = 0; i < BENCH_WORKERS && rc == 0; i++)
        if (fork() == 0)
            read_in_child(pass, side, store, &seconds[i]);
    while (rc == 0 && wait(&status) > 0)
        if (status != 0)
            rc = BENCH_WRONG;
    for (int i = 0; i < BENCH_WORKERS && rc == 0; i++)
        sum += seconds[i];
    *rate = (double)pass->n * BENCH_WORKERS / sum / 1e6;
    return rc;
}

/* ---- tine ------------------------------------------------------------------------------------ */

struct reader {
    tine_dict *dict;
    const struct bench_dict_keys *keys;
};

static int attach(void **reader, void *store, const struct bench_dict_keys *keys)
{
    struct reader *made = malloc(sizeof *made);

    if (!made)
        return -ENOMEM;
    *made = (struct reader){store, keys};
    *reader = made;
    return 0;
}

static int get_all(void *arg)
{
    const struct reader *reader = arg;
    const struct bench_dict_keys *keys = reader->keys;

    for (size_t i = 0; i < keys->n; i++) {
        int64_t number;
        int rc = tine_dict_get(reader->dict, keys->names[i], "q", &number);

        if (rc < 0)
            return rc;
        if ((uint64_t)number != keys->numbers[i])
            return BENCH_WRONG;
    }
    return 0;
}

static const struct bench_dict_side tine_dict_side = {attach, get_all};

static int fill(tine_dict **dict, size_t n)
{
    char name[BENCH_DICT_NAME];
    int rc = tine_dict_open(dict, NULL);

    for (uint64_t i = 0; i < n && rc == 0; i++) {
        bench_dict_name(name, i);
        rc = tine_dict_put(*dict, name, "q", (int64_t)i);
    }
    return rc;
}

static int tine_rate(const struct bench_pass *pass, double *value)
{
    tine_dict *dict = NULL;
    int rc = fill(&dict, pass->n);

    if (rc == 0)
        rc = bench_dict_rate(pass, &tine_dict_side, dict, value);
    tine_dict_close(dict);
    return rc;
}

static int tine_alone(const struct bench_pass *pass, double *value)
{
    struct bench_dict_keys keys = {0};
    struct reader reader = {NULL, &keys};
    double seconds = 0;
    int rc = fill(&reader.dict, pass->n);

    if (rc == 0)
        rc = bench_dict_keys(&keys, pass->n);
    if (rc == 0)
        rc = bench_seconds(pass, &(struct bench_work){.run = get_all, .arg = &reader}, &seconds);
    *value = seconds / (double)pass->n * 1e6;
    tine_dict_close(reader.dict);
    free(keys.numbers);
    free(keys.names);
    return rc;
}

static const struct bench_case cases[] = {
    {
        .name = "dict.get",
        .unit = "M gets/s a process",
        .peer = "LMDB",
        .tine_side = tine_rate,
        .peer_side = bench_lmdb_get,
        .n = 1000000,
        .n_quick = 1000,
        .repetitions = 3,
        .more_is_better = true,
    },
    {
        .name = "dict.get.python",
        .unit = "us/get",
        .peer = "Python Manager().dict()",
        .tine_side = tine_alone,
        .peer_side = bench_python,
        .n = 20000,
        .n_quick = 100,
        .repetitions = 3,
    },
};

const struct bench_group bench_dict = BENCH_GROUP(cases);
