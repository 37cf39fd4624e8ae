/* SPDX-License-Identifier: MIT */
/*
 * One pass: one side of one case, in a process of its own that prints one number.
 *
 * The harness is the subreaper of its passes, and each pass leads a process group: whatever a pass
 * leaves behind, workers of a killed Python among it, is killed and reaped before the next one
 * starts, and its CPU time is counted as ours. A pass that hangs is killed after PASS_SECONDS_MAX.
 */
#include "bench/bench.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define PASS_SECONDS_MAX 120
#define EXIT_MISSING     77 /* as automake's tests say "skipped" */

/* ---- inside ---------------------------------------------------------------------------------- */

int bench_pass_main(const struct bench_case *c, bool peer, bool quick)
{
    const struct bench_pass pass = {
        .name = c->name,
        .n = quick ? c->n_quick : c->n,
        .repetitions = quick ? 1 : c->repetitions,
    };
    double value;
    int rc = (peer ? c->peer_side : c->tine_side)(&pass, &value);

    if (rc == BENCH_MISSING)
        return EXIT_MISSING;
    if (rc != 0) {
        fprintf(stderr, "%s: %s: %s\n", c->name, peer ? c->peer : "tine",
                rc == BENCH_WRONG ? "wrong result" : tine_strerror(rc));
        return EXIT_FAILURE;
    }
    printf("%.17g\n", value);
    return EXIT_SUCCESS;
}

static void become_pass(const struct bench_case *c, bool peer, bool quick, int output)
{
    char *setting = peer && c->peer_environment ? strdup(c->peer_environment) : NULL;

    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (setting)
        putenv(setting);
    if (dup2(output, STDOUT_FILENO) >= 0)
        execl("/proc/self/exe", "tine-bench", peer ? "--pass=peer" : "--pass=tine", c->name,
              quick ? "--quick" : NULL, NULL);
    _exit(EXIT_FAILURE);
}

/* ---- outside --------------------------------------------------------------------------------- */

/* The line that the pass printed; false when it printed no number, or took too long. */
static bool read_number(int input, double *value)
{
    char text[64] = "";
    size_t length = 0;
    double deadline = bench_now() + PASS_SECONDS_MAX, left;

    while (!strchr(text, '\n') && (left = deadline - bench_now()) > 0) {
        struct pollfd ready = {.fd = input, .events = POLLIN};
        ssize_t got;

        if (poll(&ready, 1, (int)(left * 1000) + 1) <= 0)
            continue;
        got = read(input, text + length, sizeof text - 1 - length);
        if (got <= 0)
            break;
        length += (size_t)got;
    }
    return sscanf(text, "%lf\n", value) == 1;
}

/* Waits for a pass that has said all, or ends it; then ends all that it left. Its exit status or
 * -1. */
static int reap(pid_t pid, bool finished)
{
    int status = -1, child_status;
    siginfo_t unused;
    pid_t child;

    if (!finished || waitid(P_PID, (id_t)pid, &unused, WEXITED | WNOWAIT) == 0)
        kill(-pid, SIGKILL);
    while ((child = waitpid(-1, &child_status, 0)) > 0)
        if (child == pid)
            status = child_status;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int verdict(const struct bench_case *c, bool peer, int status)
{
    if (status == EXIT_MISSING)
        return BENCH_MISSING;
    if (status == EXIT_SUCCESS)
        return 0;
    fprintf(stderr, "%s: the pass of %s failed (exit status %d)\n", c->name,
            peer ? c->peer : "tine", status);
    return -1;
}

int bench_pass_run(const struct bench_case *c, bool peer, bool quick, double *value)
{
    int ends[2];
    bool got_number;
    pid_t pid;

    prctl(PR_SET_CHILD_SUBREAPER, 1);
    fflush(stdout);
    if (pipe2(ends, O_CLOEXEC) != 0) {
        perror("tine-bench: pipe");
        return -1;
    }
    pid = fork();
    if (pid == 0)
        become_pass(c, peer, quick, ends[1]);
    close(ends[1]);
    got_number = pid > 0 && read_number(ends[0], value);
    close(ends[0]);
    if (pid > 0)
        return verdict(c, peer, reap(pid, got_number));
    perror("tine-bench: fork");
    return -1;
}
