/* SPDX-License-Identifier: MIT */
/* Two processes and the messages between them; see bench/line.h. */
#include "bench/line.h"
#include "bench/work.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define CACHE_LINE 64

/* ---- ways ------------------------------------------------------------------------------------ */

int bench_line_send_tine(struct line *line, const void *bytes, size_t size)
{
    return tine_connection_send_bytes(line->handles[line->me], bytes, size, TINE_FOREVER);
}

void bench_line_look_at(const struct line *line, const void *bytes, size_t size)
{
    uint8_t sum = 0;

    if (!line->look)
        return;
    for (size_t i = 0; i < size; i += CACHE_LINE)
        sum = (uint8_t)(sum + ((const uint8_t *)bytes)[i]);
    work_use(&sum);
}

int bench_line_receive_tine(struct line *line, size_t size)
{
    size_t got;
    int rc = tine_connection_recv_bytes_into(line->handles[line->me], line->room, size,
                                             TINE_FOREVER, &got);

    return rc == 0 && got != size ? BENCH_WRONG : rc;
}

static int open_records(struct line *line)
{
    return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, line->fds) < 0 ? -errno : 0;
}

static int send_bare(struct line *line, const void *bytes, size_t size)
{
    return send(line->fds[line->me], bytes, size, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

static int receive_bare(struct line *line, size_t size)
{
    ssize_t got = recv(line->fds[line->me], line->room, size, 0);

    return got < 0 ? -errno : (size_t)got == size ? 0 : BENCH_WRONG;
}

const struct way bench_line_records = {open_records, send_bare, receive_bare, NULL, NULL};

/* ---- two processes --------------------------------------------------------------------------- */

/* To the first or second core of those that we may use. */
static void pin(int which)
{
    cpu_set_t usable, one;

    if (sched_getaffinity(0, sizeof usable, &usable) != 0 || CPU_COUNT(&usable) < 2)
        return;
    CPU_ZERO(&one);
    for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, &usable) && which-- == 0)
            CPU_SET(cpu, &one);
    sched_setaffinity(0, sizeof one, &one);
}

/* The process at the other end: sends, or answers, until it is killed. */
static void be_other(struct line *line)
{
    void *bytes = malloc(line->size);
    int rc = bytes == NULL ? -ENOMEM : 0;

    prctl(PR_SET_PDEATHSIG, SIGKILL); /* it has both ends, so nobody else would tell it */
    if (getppid() != line->other)
        _exit(1);
    pin(line->one_core ? 0 : 1);
    line->me = 1;
    if (rc == 0)
        memset(bytes, 1, line->size);
    if (rc == 0 && line->way->begin != NULL)
        rc = line->way->begin(line);
    while (rc == 0) {
        if (line->echo)
            rc = line->way->receive(line, line->size);
        if (rc == 0)
            rc = line->way->send(line, bytes, line->size);
    }
    _exit(1);
}

static int take_all(void *arg)
{
    struct line *line = arg;
    int rc = 0;

    for (size_t i = line->n; i > 0 && rc == 0; i--) {
        if (line->echo)
            rc = line->way->send(line, line->room, line->size);
        if (rc == 0)
            rc = line->way->receive(line, line->size);
    }
    return rc;
}

/* Only the time from sending to the answer counts: the rest is waiting until the other sleeps. */
static int take_from_sleepers(const struct bench_pass *pass, struct line *line, double *value)
{
    double times[16], begun;
    int count = pass->repetitions < 16 ? pass->repetitions : 16, rc = 0;

    for (int i = 0; i < count && rc == 0; i++) {
        times[i] = 0;
        for (size_t n = line->n; n > 0 && rc == 0; n--) {
            rc = bench_await_sleep(line->other);
            begun = bench_now();
            if (rc == 0)
                rc = line->way->send(line, line->room, line->size);
            if (rc == 0)
                rc = line->way->receive(line, line->size);
            times[i] += bench_now() - begun;
        }
    }
    *value = bench_median(times, (size_t)count);
    return rc;
}

static int measure_open(const struct bench_pass *pass, struct line *line, double *value)
{
    pid_t pid;
    int rc;

    line->other = getpid(); /* seen from the other one */
    pid = fork();
    if (pid == 0)
        be_other(line);
    if (pid < 0)
        return -errno;
    line->other = pid;
    pin(0);
    rc = line->way->begin != NULL ? line->way->begin(line) : 0;
    if (rc == 0 && line->asleep)
        rc = take_from_sleepers(pass, line, value);
    else if (rc == 0)
        rc = bench_seconds(pass, &(struct bench_work){.run = take_all, .arg = line}, value);
    kill(line->other, SIGKILL);
    waitpid(line->other, NULL, 0);
    return rc;
}

static int seconds_per_message(const struct bench_pass *pass, struct line *line, double *value)
{
    int rc = line->way->open(line);

    if (rc != 0)
        return rc;
    line->n = pass->n;
    line->room = malloc(line->size);
    if (line->room == NULL)
        return -ENOMEM;
    memset(line->room, 1, line->size);
    rc = measure_open(pass, line, value);
    if (line->way->close != NULL)
        line->way->close(line);
    for (int i = 0; i < 2; i++)
        tine_connection_close(line->handles[i]);
    free(line->room);
    *value /= (double)pass->n;
    return rc;
}

/* ---- a case ---------------------------------------------------------------------------------- */

bool bench_line_has(const struct bench_pass *pass, const char *part)
{
    return strstr(pass->name, part) != NULL;
}

static size_t size_of(const struct bench_pass *pass)
{
    if (bench_line_has(pass, ".64K"))
        return (size_t)64 << 10;
    if (bench_line_has(pass, "64"))
        return 64;
    return bench_line_has(pass, ".16M") ? (size_t)16 << 20 : (size_t)1 << 20;
}

int bench_line_measure(const struct bench_pass *pass, const struct way *way, double *value)
{
    struct line line = {
        .way = way,
        .size = size_of(pass),
        .echo = bench_line_has(pass, ".rtt"),
        .look = bench_line_has(pass, ".view"),
        .one_core = bench_line_has(pass, ".1core"),
        .asleep = bench_line_has(pass, ".asleep"),
    };
    double seconds = 0;
    int rc = seconds_per_message(pass, &line, &seconds);

    if (line.echo)
        *value = seconds * 1e6;
    else if (line.size == 64)
        *value = 1e-6 / seconds;
    else
        *value = (double)line.size / seconds * 1e-9;
    return rc;
}
