/* SPDX-License-Identifier: MIT */
/*
 * queue: two processes get tasks in order of priority, each a function and its arguments, from a
 * queue that holds ten. One task kills its process; the other one gets that task, too, and join
 * returns when all are done.
 */
#include <tine.h>

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { WORKERS = 2, TASKS = 200, FATAL = 100 };

struct shared {
    tine_queue *tasks;
    _Atomic int64_t lengths, squares, again;
    _Atomic bool killed;
};

typedef void task(struct shared *shared, int64_t number, const char *text);

static void add_length(struct shared *shared, int64_t number, const char *text)
{
    (void)number;
    shared->lengths += (int64_t)strlen(text);
}

static void add_square(struct shared *shared, int64_t number, const char *text)
{
    (void)text;
    shared->squares += number * number;
}

static void kill_the_first(struct shared *shared, int64_t number, const char *text)
{
    (void)number;
    (void)text;
    if (!atomic_exchange(&shared->killed, true))
        kill(getpid(), SIGKILL); /* with the task in hand */
}

static int work(struct shared *shared)
{
    tine_queue_item *item;
    int rc;

    while ((rc = tine_queue_get_item(shared->tasks, TINE_FOREVER, &item)) == 0) {
        tine_any_function *function;
        int64_t number;
        char *text;

        rc = tine_queue_item_unpack(item, "[cqs]", &function, &number, &text);
        if (rc < 0)
            return rc;
        shared->again += tine_queue_item_deliveries(item) > 1;
        ((task *)function)(shared, number, text);
        free(text);
        tine_queue_item_done(item);
        tine_queue_item_free(item);
    }
    return rc == -ESHUTDOWN ? 0 : rc;
}

static int put_tasks(tine_queue *tasks)
{
    int rc = 0;

    for (int64_t i = 0; i < TASKS && rc == 0; i++) {
        task *function = i == FATAL ? kill_the_first : i % 2 ? add_square : add_length;

        rc = tine_queue_put_priority(tasks, i % 3, TINE_FOREVER, "[cqs]",
                                     (tine_any_function *)function, i, "some text");
    }
    return rc;
}

int main(void)
{
    struct shared *shared = tine_calloc(1, sizeof *shared);
    const tine_queue_options options = {.order = TINE_PRIORITY, .maxsize = 10, .joinable = 1};
    int killed = 0, told = 0, status, rc = -ENOMEM;

    if (shared != NULL)
        rc = tine_queue_open(&shared->tasks, &options);
    for (int i = 0; i < WORKERS && rc == 0; i++)
        if (fork() == 0)
            _exit(work(shared) == 0 ? EXIT_SUCCESS : EXIT_FAILURE);
    if (rc == 0)
        rc = put_tasks(shared->tasks);
    if (rc == 0)
        rc = tine_queue_join(shared->tasks, TINE_FOREVER, NULL);
    if (rc == 0)
        rc = tine_queue_shutdown(shared->tasks, 0);
    if (rc < 0)
        return EXIT_FAILURE;
    while (wait(&status) > 0) {
        killed += WIFSIGNALED(status);
        told += WIFEXITED(status) && WEXITSTATUS(status) == EXIT_SUCCESS;
    }
    printf("workers killed %d, told of the end %d\n", killed, told);
    printf("lengths %" PRId64 ", squares %" PRId64 ", delivered again %" PRId64 "\n",
           shared->lengths, shared->squares, shared->again);
    tine_queue_close(shared->tasks);
    tine_free(shared);
    return EXIT_SUCCESS;
}
