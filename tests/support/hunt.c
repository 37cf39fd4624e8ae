/* SPDX-License-Identifier: MIT */
#include "tests/support/hunt.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <tine/time.h>

#include "lib/clock.h"
#include "lib/sys.h"
#include "tests/support/proc.h"
#include "tests/support/random.h"
#include "tests/support/suite.h"
#include "tests/support/wait.h"

#define WAKE_NS 80000 /* a sleep may end so much late: the rest is spun */

int64_t now_ns(void)
{
    return tine__now_ns();
}

void pause_randomly(int64_t max_ns)
{
    int64_t ns = (int64_t)random_below((uint64_t)max_ns + 1), end = now_ns() + ns;
    struct timespec coarse = tine__timespec(ns - WAKE_NS);

    if (ns > 2 * WAKE_NS)
        nanosleep(&coarse, NULL);
    while (now_ns() < end)
        tine__cpu_relax();
}

/* ---- finding --------------------------------------------------------------------------------- */

/* For kernels without CONFIG_PROC_CHILDREN. */
static int scan_children(pid_t parent, pid_t *pids, int room)
{
    DIR *directory = opendir("/proc");
    struct proc proc;
    int pid, count = 0;

    ck_assert_ptr_nonnull(directory);
    while (count < room && (pid = proc_next(directory)) >= 0)
        if (proc_read(pid, &proc) && proc.parent == parent)
            pids[count++] = pid;
    closedir(directory);
    return count;
}

int hunt_children(pid_t parent, pid_t *pids, int room)
{
    char path[64];
    FILE *file;
    int count = 0;

    snprintf(path, sizeof path, "/proc/%d/task/%d/children", parent, parent);
    file = fopen(path, "re");
    if (file == NULL)
        return scan_children(parent, pids, room);
    while (count < room && fscanf(file, "%d", &pids[count]) == 1)
        count++;
    fclose(file);
    return count;
}

/* One of that name that lives; 0: there is none. */
static pid_t find_child(pid_t parent, const char *name)
{
    pid_t children[HUNT_WORKERS_MAX];
    int count = hunt_children(parent, children, HUNT_WORKERS_MAX);
    struct proc proc;

    for (int i = 0; i < count; i++)
        if (proc_read(children[i], &proc) && strcmp(proc.name, name) == 0 && proc.state != 'Z')
            return children[i];
    return 0;
}

static pid_t server; /* 0: there is none */

void hunt_below(pid_t pid)
{
    server = pid;
}

static bool find_nursery(struct hunt *hunt, pid_t program)
{
    hunt->keeper = program;
    hunt->nursery = find_child(program, "tine-nursery");
    if (hunt->nursery != 0)
        return true;
    hunt->keeper = server;
    hunt->nursery = server == 0 ? 0 : find_child(server, "tine-nursery");
    return hunt->nursery != 0;
}

void hunt_begin(struct hunt *hunt, pid_t program)
{
    memset(hunt, 0, sizeof *hunt);
    ck_assert_eventually(find_nursery(hunt, program));
}

/* Or does its number belong to another process, when the pool has ended? */
static bool is_nursery(const struct hunt *hunt)
{
    struct proc proc;

    return proc_read(hunt->nursery, &proc) && proc.parent == hunt->keeper &&
           strcmp(proc.name, "tine-nursery") == 0;
}

pid_t hunt_worker(const struct hunt *hunt)
{
    pid_t workers[HUNT_WORKERS_MAX];
    int count = hunt_children(hunt->nursery, workers, HUNT_WORKERS_MAX);

    return count == 0 ? 0 : workers[random_below((uint64_t)count)];
}

/* ---- killing --------------------------------------------------------------------------------- */

/* A pidfd of a living child of that parent, or -1: it is gone, or was someone else's. */
static int grasp(pid_t parent, pid_t pid)
{
    int pidfd = tine__sys_pidfd_open(pid);
    struct proc proc;

    if (pidfd < 0)
        return -1;
    if (proc_read(pid, &proc) && proc.parent == parent && tine__sys_poll_in(pidfd, 0) == 0)
        return pidfd;
    close(pidfd);
    return -1;
}

/* The same of a worker: as its nursery is still there, so was it when the parent was compared. */
static int grasp_worker(const struct hunt *hunt, pid_t pid)
{
    int pidfd = grasp(hunt->nursery, pid);

    if (pidfd < 0 || is_nursery(hunt))
        return pidfd;
    close(pidfd);
    return -1;
}

bool hunt_signal(pid_t parent, pid_t pid, int signal)
{
    int pidfd = grasp(parent, pid);
    bool sent = pidfd >= 0 && tine__sys_pidfd_kill(pidfd, signal) == 0;

    if (pidfd >= 0)
        close(pidfd);
    return sent;
}

static void note_death(struct hunt *hunt, pid_t pid, int pidfd)
{
    ck_assert_int_eq(tine__sys_poll_in(pidfd, -1), 1);
    hunt->death_ns = now_ns();
    ck_assert_uint_lt(hunt->count, HUNT_VICTIMS_MAX);
    hunt->victims[hunt->count++] = pid;
    hunt->total++;
    close(pidfd);
}

/* One that runs, if that is soon found: it is in the middle of something. */
static pid_t choose(const struct hunt *hunt)
{
    pid_t worker = hunt_worker(hunt);

    for (int i = 0; i < 3 && worker != 0 && proc_asleep(worker); i++)
        worker = hunt_worker(hunt);
    return worker;
}

bool hunt_aim(struct hunt *hunt)
{
    hunt->prey = choose(hunt);
    hunt->pidfd = hunt->prey == 0 ? -1 : grasp_worker(hunt, hunt->prey);
    return hunt->pidfd >= 0;
}

pid_t hunt_strike(struct hunt *hunt)
{
    tine__sys_pidfd_kill(hunt->pidfd, SIGKILL);
    note_death(hunt, hunt->prey, hunt->pidfd);
    return hunt->prey;
}

pid_t hunt_kill(struct hunt *hunt, int64_t within_ns)
{
    if (!hunt_aim(hunt))
        return 0;
    pause_randomly(within_ns);
    return hunt_strike(hunt);
}

unsigned hunt_kill_all(struct hunt *hunt)
{
    pid_t workers[HUNT_WORKERS_MAX];
    int pidfds[HUNT_WORKERS_MAX];
    int count = hunt_children(hunt->nursery, workers, HUNT_WORKERS_MAX);
    unsigned killed = 0;

    for (int i = 0; i < count; i++) {
        pidfds[i] = grasp_worker(hunt, workers[i]);
        if (pidfds[i] >= 0)
            tine__sys_pidfd_kill(pidfds[i], SIGKILL);
    }
    for (int i = 0; i < count; i++) {
        if (pidfds[i] < 0)
            continue;
        note_death(hunt, workers[i], pidfds[i]);
        killed++;
    }
    return killed;
}

int64_t hunt_kill_nursery(struct hunt *hunt)
{
    int pidfd = tine__sys_pidfd_open(hunt->nursery);

    ck_assert_int_ge(pidfd, 0);
    ck_assert_int_eq(tine__sys_pidfd_kill(pidfd, SIGKILL), 0);
    ck_assert_int_eq(tine__sys_poll_in(pidfd, -1), 1);
    close(pidfd);
    return now_ns();
}

bool hunt_killed(const struct hunt *hunt, pid_t pid)
{
    for (unsigned i = 0; i < hunt->count; i++)
        if (hunt->victims[i] == pid)
            return true;
    return false;
}

void hunt_forget(struct hunt *hunt)
{
    hunt->count = 0;
}

/* ---- orphans --------------------------------------------------------------------------------- */

void orphans_adopt(void)
{
    ck_assert_int_eq(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
}

/* The server reaps its own. */
static bool server_is_alone(void)
{
    pid_t pids[2];

    while (waitpid(-1, NULL, WNOHANG) > 0)
        continue;
    return hunt_children(server, pids, 1) == 0 && hunt_children(getpid(), pids, 2) == 1;
}

void orphans_reap(void)
{
    pid_t pid;

    if (server != 0) {
        ck_assert_eventually(server_is_alone());
        return;
    }
    do
        pid = waitpid(-1, NULL, 0);
    while (pid > 0 || errno == EINTR);
    ck_assert_int_eq(errno, ECHILD);
}
