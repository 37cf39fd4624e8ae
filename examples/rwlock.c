/* SPDX-License-Identifier: MIT */
/*
 * rwlock: accounts that many read and few change. A writer is killed between the two halves of a
 * payment; nobody reads the half, the next one undoes it and goes on.
 */
#include <tine.h>

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define TOTAL 1000

struct bank {
    tine_rwlock lock;
    int from, to; /* TOTAL together */
    int was;      /* what `from` was before the payment that is going on */
};

static int pay(struct bank *bank, int amount, bool die)
{
    int rc = tine_rwlock_acquire_write(&bank->lock, TINE_SEC(10));

    if (rc == -EOWNERDEAD) {
        bank->from = bank->was;
        bank->to = TOTAL - bank->was;
        printf("undone: a payment whose writer died\n");
        rc = tine_rwlock_recover(&bank->lock);
    }
    if (rc < 0)
        return rc;
    bank->was = bank->from;
    bank->from -= amount;
    if (die)
        kill(getpid(), SIGKILL);
    bank->to += amount;
    return tine_rwlock_release_write(&bank->lock);
}

static int look(struct bank *bank, int *total)
{
    int rc = tine_rwlock_acquire_read(&bank->lock, TINE_SEC(10));

    if (rc < 0)
        return rc;
    *total = bank->from + bank->to;
    return tine_rwlock_release_read(&bank->lock);
}

int main(void)
{
    struct bank *bank = tine_calloc(1, sizeof *bank);
    int rc, total = 0;
    pid_t pid;

    if (!bank || tine_rwlock_init(&bank->lock, NULL) < 0)
        return EXIT_FAILURE;
    bank->from = TOTAL;
    rc = pay(bank, 100, false);
    pid = fork();
    if (pid == 0)
        _exit(pay(bank, 200, true) < 0);
    if (rc < 0 || pid < 0 || waitpid(pid, NULL, 0) != pid)
        return EXIT_FAILURE;

    rc = look(bank, &total);
    printf("to read after the death: %s\n", rc == -EOWNERDEAD ? "refused" : tine_strerror(rc));
    rc = pay(bank, 50, false);
    if (rc == 0)
        rc = look(bank, &total);
    printf("%d + %d = %d\n", bank->from, bank->to, total);
    tine_rwlock_fini(&bank->lock);
    tine_free(bank);
    return rc == 0 && total == TOTAL ? EXIT_SUCCESS : EXIT_FAILURE;
}
