/* SPDX-License-Identifier: MIT */
/*
 * wait.turn: two processes take turns; each waits for its own event and for a socket where nothing
 * comes, then gives the turn to the other. Counted is a turn of each. wait.turn.1000: each waits
 * for 1000 events. The peer has eventfds, inherited, and poll.
 *
 * wait.fds1000: wait for 1000 pipes of which the last one is readable.
 */
#include "bench/bench.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define MANY 1000

struct side {
    size_t n;
    size_t count;          /* of events that each of the two waits for, its own first */
    tine_event *events[2]; /* [count] each, in the heap */
    int fds[2][MANY];      /* eventfds; also the pipes' ends */
    int idle[2];           /* a socket pair */
    tine_waitable on[MANY + 1];
    struct pollfd polled[MANY + 1];
};

/* ---- turns ----------------------------------------------------------------------------------- */

static int tine_turns(struct side *side, unsigned me)
{
    int rc = 0;

    for (size_t i = 0; i < side->count; i++)
        side->on[i] = tine_event_waitable(&side->events[me][i]);
    side->on[side->count] = tine_fd_waitable(side->idle[0], TINE_READABLE);
    for (size_t i = side->n; i > 0 && rc >= 0; i--) {
        rc = tine_wait(side->on, side->count + 1, TINE_FOREVER);
        if (rc >= 0)
            rc = tine_event_clear(&side->events[me][0]);
        if (rc >= 0)
            rc = tine_event_set(&side->events[!me][0]);
    }
    return rc < 0 ? rc : 0;
}

static int poll_turns(struct side *side, unsigned me)
{
    uint64_t one = 1;

    for (size_t i = 0; i < side->count; i++)
        side->polled[i] = (struct pollfd){.fd = side->fds[me][i], .events = POLLIN};
    side->polled[side->count] = (struct pollfd){.fd = side->idle[0], .events = POLLIN};
    for (size_t i = side->n; i > 0; i--)
        if (poll(side->polled, side->count + 1, -1) < 0 ||
            read(side->fds[me][0], &one, sizeof one) < 0 ||
            write(side->fds[!me][0], &one, sizeof one) < 0)
            return -errno;
    return 0;
}

static int play(struct side *side, int (*turns)(struct side *, unsigned))
{
    pid_t pid = fork();
    int status = 0, rc;

    if (pid < 0)
        return -errno;
    if (pid == 0)
        _exit(turns(side, 1) == 0 ? 0 : 1);
    rc = turns(side, 0);
    if (waitpid(pid, &status, 0) < 0)
        return -errno;
    return status != 0 ? -ECHILD : rc;
}

static int tine_play(void *arg)
{
    return play(arg, tine_turns);
}

static int poll_play(void *arg)
{
    return play(arg, poll_turns);
}

static int us_per_turn(const struct bench_pass *pass, struct side *side, int (*run)(void *),
                       double *value)
{
    side->n = pass->n;
    return bench_each(pass, &(struct bench_work){.run = run, .arg = side}, 1e6, value);
}

static struct side *new_side(size_t count)
{
    struct rlimit files;
    struct side *side = calloc(1, sizeof *side);

    if (side == NULL || getrlimit(RLIMIT_NOFILE, &files) < 0)
        return NULL;
    files.rlim_cur = files.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &files);
    side->count = count;
    return socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, side->idle) < 0 ? NULL : side;
}

/* The first turn is that of the first. */
static int make_events(struct side *side)
{
    int rc = 0;

    for (int k = 0; k < 2; k++) {
        side->events[k] = tine_calloc(side->count, sizeof(tine_event));
        if (side->events[k] == NULL)
            return -ENOMEM;
        for (size_t i = 0; i < side->count && rc == 0; i++)
            rc = tine_event_init(&side->events[k][i], NULL);
    }
    return rc < 0 ? rc : tine_event_set(&side->events[0][0]);
}

static int make_eventfds(struct side *side)
{
    for (int k = 0; k < 2; k++)
        for (size_t i = 0; i < side->count; i++) {
            side->fds[k][i] = eventfd(k == 0 && i == 0, EFD_CLOEXEC);
            if (side->fds[k][i] < 0)
                return -errno;
        }
    return 0;
}

static int tine_side(const struct bench_pass *pass, size_t count, double *value)
{
    struct side *side = new_side(count);
    int rc = side == NULL ? -ENOMEM : make_events(side);

    if (rc == 0)
        rc = us_per_turn(pass, side, tine_play, value);
    free(side);
    return rc;
}

static int poll_side(const struct bench_pass *pass, size_t count, double *value)
{
    struct side *side = new_side(count);
    int rc = side == NULL ? -ENOMEM : make_eventfds(side);

    if (rc == 0)
        rc = us_per_turn(pass, side, poll_play, value);
    free(side);
    return rc;
}

static int tine_turn(const struct bench_pass *pass, double *value)
{
    return tine_side(pass, 1, value);
}

static int poll_turn(const struct bench_pass *pass, double *value)
{
    return poll_side(pass, 1, value);
}

static int tine_turn_of_many(const struct bench_pass *pass, double *value)
{
    return tine_side(pass, MANY, value);
}

static int poll_turn_of_many(const struct bench_pass *pass, double *value)
{
    return poll_side(pass, MANY, value);
}

/* ---- descriptors ----------------------------------------------------------------------------- */

static int make_pipes(struct side *side)
{
    for (size_t i = 0; i < MANY; i++) {
        int ends[2];

        if (pipe(ends) < 0)
            return -errno;
        side->fds[0][i] = ends[0];
        side->fds[1][i] = ends[1];
        side->on[i] = tine_fd_waitable(ends[0], TINE_READABLE);
        side->polled[i] = (struct pollfd){.fd = ends[0], .events = POLLIN};
    }
    return write(side->fds[1][MANY - 1], "x", 1) < 0 ? -errno : 0;
}

static int tine_fds(void *arg)
{
    struct side *side = arg;
    int rc = 1;

    for (size_t i = side->n; i > 0 && rc == 1; i--)
        rc = tine_wait(side->on, MANY, TINE_FOREVER);
    return rc == 1 && side->on[MANY - 1].ready ? 0 : BENCH_WRONG;
}

static int poll_fds(void *arg)
{
    struct side *side = arg;
    size_t ready = 0;

    for (size_t i = side->n; i > 0; i--) {
        if (poll(side->polled, MANY, -1) != 1)
            return BENCH_WRONG;
        for (ready = 0; side->polled[ready].revents == 0;)
            ready++;
    }
    return ready == MANY - 1 ? 0 : BENCH_WRONG;
}

static int fds_side(const struct bench_pass *pass, int (*run)(void *), double *value)
{
    struct side *side = new_side(0);
    int rc = side == NULL ? -ENOMEM : make_pipes(side);

    if (rc == 0)
        rc = us_per_turn(pass, side, run, value);
    free(side);
    return rc;
}

static int tine_fds_side(const struct bench_pass *pass, double *value)
{
    return fds_side(pass, tine_fds, value);
}

static int poll_fds_side(const struct bench_pass *pass, double *value)
{
    return fds_side(pass, poll_fds, value);
}

static const struct bench_case cases[] = {
    {
        .name = "wait.turn",
        .unit = "us/turns",
        .peer = "eventfd and poll",
        .tine_side = tine_turn,
        .peer_side = poll_turn,
        .n = 20000,
        .n_quick = 100,
        .repetitions = 5,
    },
    {
        .name = "wait.turn.1000",
        .unit = "us/turns",
        .peer = "eventfd and poll",
        .tine_side = tine_turn_of_many,
        .peer_side = poll_turn_of_many,
        .n = 2000,
        .n_quick = 20,
        .repetitions = 3,
    },
    {
        .name = "wait.fds1000",
        .unit = "us/call",
        .peer = "poll",
        .tine_side = tine_fds_side,
        .peer_side = poll_fds_side,
        .n = 2000,
        .n_quick = 20,
        .repetitions = 5,
    },
    {
        .name = "wait.fds1000.python",
        .unit = "us/call",
        .peer = "Python connection.wait",
        .tine_side = tine_fds_side,
        .peer_side = bench_python,
        .n = 200,
        .n_quick = 5,
        .repetitions = 3,
    },
};

const struct bench_group bench_wait = BENCH_GROUP(cases);
