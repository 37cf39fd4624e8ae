/* SPDX-License-Identifier: MIT */
/*
 * event: runners wait for the start, which a signal handler gives. One of them is killed while it
 * waits: the others run all the same.
 */
#include <tine.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { RUNNERS = 4 };

/* In the family heap: the forked runners have it at the same address. */
static struct race {
    tine_event start, finish[RUNNERS];
    uint64_t sum[RUNNERS];
} * race;

static void give_start(int signal)
{
    (void)signal;
    if (tine_event_set(&race->start) < 0)
        abort();
}

static int run(int runner)
{
    if (tine_event_wait(&race->start, TINE_SEC(10)) < 0)
        return EXIT_FAILURE;
    for (uint64_t i = 1; i <= 1000; i++)
        race->sum[runner] += i;
    return tine_event_set(&race->finish[runner]) < 0;
}

static int make_race(void)
{
    int rc;

    race = tine_calloc(1, sizeof *race);
    if (race == NULL)
        return -1;
    rc = tine_event_init(&race->start, NULL);
    for (int i = 0; i < RUNNERS && rc == 0; i++)
        rc = tine_event_init(&race->finish[i], NULL);
    return rc;
}

int main(void)
{
    pid_t pids[RUNNERS];

    if (make_race() < 0)
        return EXIT_FAILURE;
    for (int i = 0; i < RUNNERS; i++)
        if ((pids[i] = fork()) == 0)
            _exit(run(i));
    kill(pids[0], SIGKILL);
    waitpid(pids[0], NULL, 0);
    signal(SIGUSR1, give_start);
    raise(SIGUSR1);
    for (int i = 0; i < RUNNERS; i++) {
        int rc = tine_event_wait(&race->finish[i], i == 0 ? 0 : TINE_SEC(10));

        printf("runner %d: %s, sum %d\n", i, rc == 0 ? "finished" : tine_errname(rc),
               (int)race->sum[i]);
    }
    while (wait(NULL) > 0)
        ;
    tine_free(race);
    return EXIT_SUCCESS;
}
