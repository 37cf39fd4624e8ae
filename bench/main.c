/* SPDX-License-Identifier: MIT */
/*
 * tine-bench: tine beside its peers, one tab-separated line a case:
 *
 *     case  value  unit  peer  peer_value  ratio
 *
 * value and peer_value are medians over the passes; "-" where what the case needs is not there.
 * ratio says how many times better tine is (1 = equal); it is the median of the ratios of the
 * single passes, because the machine's speed drifts between passes, and the two sides of one pass
 * run directly one after the other.
 */
#include "bench/bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PASSES_MIN     3
#define PASSES_DEFAULT 5
#define PASSES_MAX     99

static const struct bench_group *const groups[] = {
    &bench_for,     &bench_nested,    &bench_reduce,  &bench_job,       &bench_submit,
    &bench_futures, &bench_starmap,   &bench_map,     &bench_primes,    &bench_open,
    &bench_heap,    &bench_limit,     &bench_lock,    &bench_semaphore, &bench_rwlock,
    &bench_barrier, &bench_condition, &bench_dict,    &bench_value,     &bench_pack,
    &bench_wait,    &bench_queue,     &bench_pipe,    &bench_ring,      &bench_listener,
    &bench_rpc,     &bench_process,   &bench_replace,
};
#define GROUP_COUNT (sizeof groups / sizeof groups[0])

struct options {
    bool quick, list;
    const char *pass; /* hidden: the side to run in this process */
    int passes;
};

static const struct bench_case *find_case(const char *name)
{
    for (size_t g = 0; g < GROUP_COUNT; g++)
        for (size_t i = 0; i < groups[g]->count; i++)
            if (strcmp(groups[g]->cases[i].name, name) == 0)
                return &groups[g]->cases[i];
    return NULL;
}

static void list_cases(FILE *to)
{
    for (size_t g = 0; g < GROUP_COUNT; g++)
        for (size_t i = 0; i < groups[g]->count; i++)
            fprintf(to, "%s\n", groups[g]->cases[i].name);
}

static int usage(void)
{
    fprintf(stderr,
            "usage: tine-bench [--quick] [--passes=%d…%d] [--list] [CASE…]\n"
            "cases:\n",
            PASSES_MIN, PASSES_MAX);
    list_cases(stderr);
    return 2;
}

/* ---- one case -------------------------------------------------------------------------------- */

struct samples {
    double tine[PASSES_MAX], peer[PASSES_MAX], ratio[PASSES_MAX];
    bool missing; /* what the case needs, on either side */
    bool peer_missing;
    int second_attempts; /* in all; at most as many as passes */
    int disturbed;       /* passes that count although others disturbed them */
};

static int sample(const struct bench_case *c, const struct options *o, struct samples *s, int i)
{
    int rc = bench_pass_run(c, false, o->quick, &s->tine[i]);

    s->missing = rc == BENCH_MISSING;
    if (rc != 0 || s->peer_missing)
        return rc;
    rc = bench_pass_run(c, true, o->quick, &s->peer[i]);
    if (rc == 0)
        s->ratio[i] = c->more_is_better ? s->tine[i] / s->peer[i] : s->peer[i] / s->tine[i];
    s->peer_missing = rc == BENCH_MISSING;
    return s->peer_missing ? 0 : rc;
}

static void print_line(const struct bench_case *c, struct samples *s, size_t count)
{
    printf("%s\t%.3f\t%s\t%s\t", c->name, bench_median(s->tine, count), c->unit, c->peer);
    if (s->peer_missing)
        printf("-\t-\n");
    else
        printf("%.3f\t%.3f\n", bench_median(s->peer, count), bench_median(s->ratio, count));
}

/* A pass that others disturb is taken again, while the case has attempts left; then it counts. */
static int sample_quietly(const struct bench_case *c, const struct options *o, struct samples *s,
                          int i)
{
    struct bench_load before, after;

    for (;;) {
        int rc;

        bench_load_read(&before);
        rc = sample(c, o, s, i);
        bench_load_read(&after);
        if (rc != 0 || o->quick || !bench_load_foreign(&before, &after))
            return rc;
        if (s->second_attempts == o->passes)
            break;
        s->second_attempts++;
    }
    s->disturbed++;
    return 0;
}

static int run_case(const struct bench_case *c, const struct options *o)
{
    struct samples s = {.peer_missing = false};

    for (int i = 0; i < o->passes && !s.missing; i++)
        if (sample_quietly(c, o, &s, i) != 0 && !s.missing)
            return EXIT_FAILURE;
    if (s.missing) {
        printf("%s\t-\t%s\t%s\t-\t-\n", c->name, c->unit, c->peer);
        return EXIT_SUCCESS;
    }
    if (s.disturbed)
        printf("# %s: %d of %d passes beside others that used our CPUs\n", c->name, s.disturbed,
               o->passes);
    print_line(c, &s, (size_t)o->passes);
    fflush(stdout);
    return EXIT_SUCCESS;
}

/* ---- arguments ------------------------------------------------------------------------------- */

/* Takes one option; false when it is none that exists. */
static bool take_option(struct options *o, const char *text)
{
    if (strcmp(text, "--quick") == 0)
        o->quick = true;
    else if (strcmp(text, "--list") == 0)
        o->list = true;
    else if (strcmp(text, "--pass=tine") == 0 || strcmp(text, "--pass=peer") == 0)
        o->pass = text + strlen("--pass=");
    else if (strncmp(text, "--passes=", strlen("--passes=")) == 0)
        o->passes = atoi(text + strlen("--passes="));
    else
        return false;
    return o->passes >= PASSES_MIN && o->passes <= PASSES_MAX;
}

static bool take_arguments(struct options *o, const struct bench_case **chosen, int argc,
                           char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (argv[i][0] == '-') {
            if (!take_option(o, argv[i]))
                return false;
        } else if (!(*chosen++ = find_case(argv[i]))) {
            fprintf(stderr, "tine-bench: no case %s\n", argv[i]);
            return false;
        }
    }
    return true;
}

static int run_all(const struct options *o)
{
    int status = EXIT_SUCCESS;

    for (size_t g = 0; g < GROUP_COUNT; g++)
        for (size_t i = 0; i < groups[g]->count; i++)
            status |= run_case(&groups[g]->cases[i], o);
    return status;
}

static int run_chosen(const struct bench_case *const *chosen, const struct options *o)
{
    int status = EXIT_SUCCESS;

    bench_load_confine();
    printf("# case\tvalue\tunit\tpeer\tpeer_value\tratio\n");
    if (!*chosen)
        return run_all(o);
    for (; *chosen; chosen++)
        status |= run_case(*chosen, o);
    return status;
}

/* Only for the cases that need it: it starts a process. */
static bool wants_init(int argc, char **argv)
{
    return argc > 1 &&
           (strncmp(argv[1], "--tine-", 7) == 0 ||
            (strcmp(argv[1], "--pass=tine") == 0 && argc > 2 &&
             (strncmp(argv[2], "process.", 8) == 0 || strncmp(argv[2], "pool.replace.", 13) == 0)));
}

int main(int argc, char **argv)
{
    struct options o = {.passes = PASSES_DEFAULT};
    const struct bench_case **chosen;
    int status = EXIT_SUCCESS;

    if (wants_init(argc, argv) && tine_init(&argc, &argv) < 0)
        return EXIT_FAILURE;
    if (argc == 2 && strcmp(argv[1], BENCH_NOTHING) == 0)
        return EXIT_SUCCESS;
    chosen = calloc((size_t)argc, sizeof *chosen);
    if (!chosen)
        return EXIT_FAILURE;
    if (!take_arguments(&o, chosen, argc, argv))
        status = usage();
    else if (o.list)
        list_cases(stdout);
    else if (o.pass)
        status = *chosen ? bench_pass_main(*chosen, strcmp(o.pass, "peer") == 0, o.quick) : usage();
    else
        status = run_chosen(chosen, &o);
    free(chosen);
    return status;
}
