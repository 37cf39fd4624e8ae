/* SPDX-License-Identifier: MIT */
/*
 * semaphore: four processes, of which at most two are inside at once. One is killed in there; its
 * permit comes back, and the others go on.
 */
#include <tine.h>

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define WORKERS 4
#define INSIDE  2
#define ROUNDS  1000

struct shared {
    tine_semaphore permits;
    _Atomic int inside;
    _Atomic int too_many; /* times that somebody saw more inside than there are permits */
};

static void work(struct shared *shared, int worker)
{
    for (int round = 0; round < ROUNDS; round++) {
        if (tine_semaphore_acquire(&shared->permits, TINE_FOREVER) < 0)
            _exit(EXIT_FAILURE);
        if (atomic_fetch_add(&shared->inside, 1) >= INSIDE)
            atomic_fetch_add(&shared->too_many, 1);
        atomic_fetch_sub(&shared->inside, 1);
        if (worker == 0 && round == ROUNDS / 2)
            kill(getpid(), SIGKILL); /* with its permit */
        tine_semaphore_release(&shared->permits);
    }
    _exit(EXIT_SUCCESS);
}

static pid_t start(struct shared *shared, int worker)
{
    pid_t pid = fork();

    if (pid == 0)
        work(shared, worker);
    return pid;
}

int main(void)
{
    struct shared *shared = tine_calloc(1, sizeof *shared);
    int finished = 0, killed = 0, status, back = 0;
    int rc = !shared ? -1
                     : tine_semaphore_init(&shared->permits, INSIDE,
                                           &(tine_semaphore_options){.bounded = 1});

    for (int i = 0; i < WORKERS && rc == 0; i++)
        if (start(shared, i) < 0)
            rc = -1;
    if (rc < 0)
        return EXIT_FAILURE;
    while (wait(&status) > 0) {
        finished += WIFEXITED(status) && WEXITSTATUS(status) == EXIT_SUCCESS;
        killed += WIFSIGNALED(status);
    }
    while (tine_semaphore_acquire(&shared->permits, TINE_MS(200)) == 0)
        back++;
    printf("%d workers finished, %d was killed inside\n", finished, killed);
    printf("times with more than %d inside: %d\n", INSIDE, shared->too_many);
    printf("permits at the end: %d\n", back);
    tine_semaphore_fini(&shared->permits);
    tine_free(shared);
    return finished == WORKERS - 1 && killed == 1 && back == INSIDE ? EXIT_SUCCESS : EXIT_FAILURE;
}
