/* SPDX-License-Identifier: MIT */
/*
 * Jobs of all kinds that keep a book: how often each index was begun and ended stands in the family
 * heap, so after any number of deaths it can be told what ran, how often, and what was lost.
 *
 *     load_start(&load, LOAD_MAP, pool, &options);
 *     … kill …
 *     load_finish(&load);
 *     load_check_whole(&load);            // everything is right, or
 *     load_check_lost(&load, &hunt);      // at most what the killed had in hand is lost, and named
 *     load_free(&load);
 */
#ifndef TINE_TESTS_KILL_LOAD_H
#define TINE_TESTS_KILL_LOAD_H

#include <tine.h>

#include "tests/support/hunt.h"

enum load_kind { LOAD_MAP, LOAD_STARMAP, LOAD_FOR, LOAD_REDUCE, LOAD_SUBMIT, LOAD_KINDS };

/* One index in the book. */
struct mark {
    _Atomic uint32_t begun, ended;
};

/* In the family heap, for all workers of a job. */
struct book {
    struct mark *marks;
    int64_t *out;
    int turns;              /* how much work an index is */
    size_t fatal;           /* the index that kills its worker */
    _Atomic int32_t deaths; /* so often; 0: none does */
    intptr_t die; /* from a function here: a program that is executed anew has both elsewhere */
    _Atomic int32_t victim; /* pid of the last that died so */
    _Atomic uint64_t calls; /* finished so far */
};

struct load {
    enum load_kind kind;
    size_t n;
    uint64_t chunk; /* indices that one death may take: 1 for items; for loops .chunk, or 16 */
    struct book *book;
    int64_t *in;
    int64_t sum;
    tine_job_options options;
    tine_future **futures;  /* n of them for LOAD_SUBMIT, else one */
    tine_failure *failures; /* likewise */
    int *codes;             /* likewise, from load_finish() on */
    const tine_results *results;
};

/* Up to a few milliseconds of work for two cores. */
void load_start(struct load *load, enum load_kind kind, tine_pool *pool,
                const tine_job_options *options);
/* The same, but not as usual: zero in a field means the usual. */
struct plan {
    size_t n;       /* indices */
    bool light;     /* no work but the book-keeping */
    int32_t deaths; /* how often `fatal` kills its worker */
    size_t fatal;   /* an index below load_size() */
    void (*die)(void);
};
void load_start_plan(struct load *load, enum load_kind kind, tine_pool *pool,
                     const tine_job_options *options, const struct plan *plan);
size_t load_size(enum load_kind kind);
void load_finish(struct load *load);
void load_free(struct load *load);

/* Waits, without sleeping, until the job is at a random place of its work, or at its end. */
void load_await_place(const struct load *load);
/* Indices that have ended so far. */
size_t load_done(const struct load *load);
/* The job succeeded and every result is right. */
void load_check_whole(const struct load *load);
/*
 * Without retries: nothing ran twice, at most one item (chunk) for each victim of the hunt is lost,
 * the failure names one of them, and all other results are right.
 */
void load_check_lost(const struct load *load, const struct hunt *hunt);
/*
 * The pool broke under the job: it is whole, or it failed and what did end is right. Returns
 * whether it failed.
 */
bool load_check_broken(const struct load *load);
/* Everything but the fatal index, or its chunk, is right; that ran `tries` times and failed. */
void load_check_fatal(const struct load *load, uint32_t tries);
/* A job of any kind, during which a worker is killed within that time: with retries all of it is
   done. */
void load_under_kill(tine_pool *pool, struct hunt *hunt, int64_t within_ns);
/* How often items were run again, summed over all. */
uint64_t load_repeats(const struct load *load);

/* A pool of that many workers, with all of them up. */
tine_pool *load_pool(int workers);
/* Waits until that many workers have died since the pool was opened and all places are taken. */
void load_await_size(tine_pool *pool, uint64_t deaths);

/* The family heap before a test and after it: consistent, and at most `lost` blocks more in use. */
struct load_heap {
    uint64_t used_blocks, lost_bytes;
};
struct load_heap load_heap_begin(void);
void load_heap_end(const struct load_heap *before, uint64_t lost);

#endif
