/* SPDX-License-Identifier: MIT */
/*
 * pipe: two processes read one end of a pipe and answer through it. Each question goes to exactly
 * one of them, whole; when one is killed, the other goes on.
 */
#include <tine.h>

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { READERS = 2, UNDER_WAY = 20, LAST = 3000 };

/* Until nobody has the other end any more. */
static int answer(tine_connection *end)
{
    int64_t number;
    int rc;

    do {
        rc = tine_connection_recv(end, TINE_FOREVER, "q", &number);
        if (rc == 0)
            rc = tine_connection_send(end, TINE_FOREVER, "q", number * number);
    } while (rc == 0);
    return rc == TINE_EEOF ? 0 : rc;
}

static pid_t start_reader(tine_connection *here, tine_connection *there)
{
    pid_t pid = fork();

    if (pid == 0) {
        tine_connection_close(here); /* or it would never see the end */
        _exit(answer(there) == 0 ? EXIT_SUCCESS : EXIT_FAILURE);
    }
    return pid;
}

/* Asks for all numbers, some ahead of the answers. */
static int ask(tine_connection *end, int64_t from, int64_t to, int64_t *sum)
{
    int64_t asked = from, square = 0;
    int rc = 0;

    for (int64_t answered = from; rc == 0 && answered < to; answered++) {
        while (rc == 0 && asked < to && asked - answered < UNDER_WAY)
            rc = tine_connection_send(end, TINE_FOREVER, "q", asked++);
        if (rc == 0)
            rc = tine_connection_recv(end, TINE_SEC(10), "q", &square);
        *sum += square;
    }
    return rc;
}

int main(void)
{
    tine_connection *here, *there;
    pid_t readers[READERS];
    int64_t sum = 0;
    int statuses[READERS] = {0}, rc = tine_pipe(&here, &there, NULL);

    if (rc < 0)
        return EXIT_FAILURE;
    for (int i = 0; i < READERS; i++)
        readers[i] = start_reader(here, there);
    tine_connection_close(there);
    rc = ask(here, 0, LAST / 2, &sum);
    kill(readers[0], SIGKILL);            /* it waits for a question: none is lost with it, */
    waitpid(readers[0], &statuses[0], 0); /* unless one comes while it is dying */
    if (rc == 0)
        rc = ask(here, LAST / 2, LAST, &sum);
    tine_connection_close(here);
    printf("%s, sum of squares %" PRId64 "\n", tine_errname(rc), sum);
    waitpid(readers[1], &statuses[1], 0);
    for (int i = 0; i < READERS; i++)
        printf("a reader was %s\n", WIFSIGNALED(statuses[i]) ? "killed" : "told of the end");
    return rc == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
