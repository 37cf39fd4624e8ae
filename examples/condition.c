/* SPDX-License-Identifier: MIT */
/*
 * condition: numbers go through a buffer with room for four, from this process to three others. One
 * of them is killed holding the lock; the rest goes on. Whoever comes first makes lock and
 * conditions.
 */
#include <tine.h>

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CONSUMERS = 3, ROOM = 4, NUMBERS = 10000 };

struct buffer {
    tine_once once;
    tine_lock lock;
    tine_condition filled, emptied;
    uint64_t put, taken; /* so far; what lies between is in the buffer */
    uint64_t numbers[ROOM], sum;
};

static int make(void *argument)
{
    struct buffer *b = argument;

    if (tine_lock_init(&b->lock, NULL) < 0 || tine_condition_init(&b->filled, &b->lock, NULL) < 0)
        return -ENOMEM;
    return tine_condition_init(&b->emptied, &b->lock, NULL);
}

/* -EOWNERDEAD: the lock is held, and nobody dies here between two halves of a change. */
static void must(struct buffer *buffer, int rc)
{
    if (rc < 0 && (rc != -EOWNERDEAD || tine_lock_recover(&buffer->lock) < 0))
        _exit(EXIT_FAILURE);
}

static void consume(struct buffer *buffer, bool dies)
{
    must(buffer, tine_once_run(&buffer->once, make, buffer, TINE_FOREVER));
    must(buffer, tine_lock_acquire(&buffer->lock, TINE_FOREVER));
    while (buffer->taken < NUMBERS)
        if (buffer->taken == buffer->put) {
            must(buffer, tine_condition_wait(&buffer->filled, TINE_FOREVER));
        } else if (dies) {
            kill(getpid(), SIGKILL);
        } else {
            buffer->sum += buffer->numbers[buffer->taken++ % ROOM];
            tine_condition_notify(&buffer->emptied, 1);
        }
    tine_condition_notify_all(&buffer->filled); /* the others wait for what won't come */
    must(buffer, tine_lock_release(&buffer->lock));
    _exit(EXIT_SUCCESS);
}

int main(void)
{
    struct buffer *buffer = tine_calloc(1, sizeof *buffer);
    int status, killed = 0;

    if (!buffer)
        return EXIT_FAILURE;
    for (int i = 0; i < CONSUMERS; i++)
        if (fork() == 0)
            consume(buffer, i == 0);
    must(buffer, tine_once_run(&buffer->once, make, buffer, TINE_FOREVER));
    must(buffer, tine_lock_acquire(&buffer->lock, TINE_FOREVER));
    for (uint64_t i = 1; i <= NUMBERS; i++) {
        while (buffer->put - buffer->taken == ROOM)
            must(buffer, tine_condition_wait(&buffer->emptied, TINE_FOREVER));
        buffer->numbers[buffer->put++ % ROOM] = i;
        tine_condition_notify(&buffer->filled, 1);
    }
    must(buffer, tine_lock_release(&buffer->lock));
    while (wait(&status) > 0)
        killed += WIFSIGNALED(status);
    printf("%ju numbers, sum %ju, %d consumer killed\n", (uintmax_t)buffer->taken,
           (uintmax_t)buffer->sum, killed);
    tine_free(buffer);
    return EXIT_SUCCESS;
}
