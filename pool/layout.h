/* SPDX-License-Identifier: MIT */
/* clang-format off: it takes the table for a paragraph. */
/*
 * What a pool keeps in the family heap. All of it lies at the same address in every process, so
 * plain heap addresses (uint64_t) link it. doc/process-model.md tells the story; the rules:
 *
 * field group        who writes                 who reads           a stale read costs
 * -----------------  -------------------------  ------------------  --------------------------------
 * pool.state         program; nursery ENDING,   everyone            a late look at the end
 *                    when it breaks the pool
 * pool.failure       nursery, before `broken`   program             (cannot be: published by it)
 * pool.cpu_ns …      nursery; started also a    program             —
 * started, retried … pool of threads
 * pool.exits         nursery pushes; program    program             a late callback
 *                    takes all
 * pool.spin_ns       program                    everyone            a spin too short
 * pool.size          program (its pool mutex)   everyone            a worker too many for a moment
 * pool.wanted        nursery, where idle ones   everyone            likewise; a needless nudge
 *                    leave; else program
 * pool.born          nursery, only ever up      everyone            see tine__born
 * pool.demand        program 1, nursery 0       both                (exchanged)
 * pool.sleeping,     each worker its own bit;   publishers,         a worker woken too many; a lost
 * spinning           the waker and the nursery  nursery             wake-up: see pool/stream.c
 *                    clear it
 * pool.cpus          program                    workers, nursery    see pool/budget.h
 * pool.lanes, mask   program (its pool mutex)   workers, nursery    (cannot be: mask, then tail)
 * lane.tail, seg.    program (its pool mutex)   workers, nursery    a late claim
 * pool.described     program (its pool mutex)   nursery once it is  nothing: death orders it
 *                                               dead
 * job.owned          program                    likewise            likewise
 * pool.tracks        program (its pool mutex)   workers, nursery    (cannot be: before any is given)
 * track.tail, ring   program (its pool mutex)   owner, nursery      a late start
 * track.head, due    owner; the nursery while   program; owner      a ring that is larger than it need be
 *                    it has none
 * track.owner, next  nursery; of threads the    program; owner      see pool/sticky.c
 *                    program, once
 * pool.settlements   nursery                    program             a job is freed a little later
 * pool.kept          program, where 0; anyone   nursery             a descriptor is closed a little
 *                    by CAS to 0                                    later
 * claims.cursor      any worker, by CAS         workers, nursery    the CAS fails
 * claims.slots[w]    worker w; for its held     everyone            see pool/claim.h
 *                    unit also any claimer
 * redo.word          nursery READY; a worker    everyone            the CAS fails
 *                    READY→TAKEN→FREE
 * pool.redo_sequence nursery                    workers             a rest is taken a little later
 * pool.redo_used     nursery, only ever up      everyone            see pool/redo.c
 * redo.others        nursery, while no worker   the taker           (cannot be: published by READY)
 *                    can take the entry
 * worker line 1      worker w; `job` is also    nursery once w is   nothing: death, or `leave`,
 *                    condemned by the program   dead, or left;      orders it (progress: an old
 *                                               program             count)
 * worker.tracks      nursery; of threads the    worker w            a call is begun a little later
 *                    program, once
 * worker.leave       nursery, worker w; by CAS  both                the worker leaves an item later
 * worker line 2      anyone (doorbell), nursery worker w, nursery   a needless look for work
 *                    (pid); stage: nursery 0,
 *                    then worker w
 * worker word, token worker w                   its siblings        one more works, or fewer
 * pool.pass          as a token: pool/budget.h
 * said[w]            worker w                   nursery once w is   nothing: death orders it
 *                                               dead
 * worker line 3      see pool/limit.c
 * job.stop           anyone, only ever 1        everyone            a unit too many
 * job.had_death      nursery                    who completes it    (cannot be: before the claim is
 *                                                                   done)
 * job.deaths, …      nursery                    program             an old count
 * job.waiting        nursery                    who completes or    (raised before the claim is done,
 *                                               frees the job       lowered after the rest is put up)
 * pool.watch_at      nursery                    workers             a needless nudge
 * job, constant part program before publishing  workers, nursery    (cannot be: published by tail)
 * job's account      workers that have a part   program             — (complete once DONE)
 *                    of it; nursery
 * job.state          anyone, by RMW; DONE once  everyone            a late wake-up (50 ms look)
 * pool.told          who ends a job             program             a late wake-up (40 ms look)
 * job.failure        anyone, by CAS to lower    program after DONE  —
 * outcomes           who holds the item's unit  program, nursery    an outcome is not there yet
 */
/* clang-format on */
#ifndef TINE_POOL_LAYOUT_H
#define TINE_POOL_LAYOUT_H

#include <stdalign.h>
#include <stdatomic.h>
#include <stdint.h>

#include <tine/sandbox.h>
#include <tine/task.h>
#include <tine/worker.h>

#include "lib/function.h"
#include "shm/waiters.h"

#define TINE__LINE           64
#define TINE__SEGMENT_BITS   10 /* tickets in a segment: 1024 */
#define TINE__SEGMENTS       4096
#define TINE__SEGMENT_MASK   ((UINT64_C(1) << TINE__SEGMENT_BITS) - 1)
#define TINE__LANES          16 /* one for each priority */
#define TINE__REDOS_A_WORKER (2 * (TINE__LANES + 2))
#define TINE__LANE_USUAL     8
#define TINE__KEPT_MAX       256 /* descriptors of unfinished calls at a time */
#define TINE__MARK_EVERY     64 /* tuples of a starmap */
#define TINE__JOB_BLOCKS     4  /* of a job, beside its own */

/* One worker's place in a claims table. */
struct tine__slot_shm {
    _Atomic uint64_t ledger; /* (unit + 1) << 1 | held: the last unit that this worker claimed */
    _Atomic uint64_t items;  /* indices of finished units, for progress */
};

/* Units 0, 1, 2 … are claimed one by one; see pool/claim.h. */
struct tine__claims_shm {
    _Atomic uint64_t cursor; /* units claimed << 13 | closed << 12 | last claimer + 1 */
    uint64_t unused; /* the first three slots share the cursor's line: one transfer a claim */
    struct tine__slot_shm slots[];
};

/* The time of an item that is limited: who writes what when stands in pool/limit.c. */
struct tine__alarm_shm {
    _Atomic uint64_t word;            /* items begun under a limit << 3 | state */
    _Atomic int64_t stop_at, kill_at; /* CLOCK_MONOTONIC, ns; INT64_MAX: never */
    uint64_t bytes;                   /* by the nursery: memory for which the worker is killed */
};

/* One process that works; its index is its claimer number. */
struct tine__worker_shm {
    alignas(TINE__LINE)
    /* The job looked at or worked on: it is not freed meanwhile. Bit 0: condemned, the worker dies
       when it leaves. */
    _Atomic uint64_t job;
    /* 0 between units; else index << 2 | 2 | running. Indices below are done; running: user code
       has this one. */
    _Atomic uint64_t at;
    /* Units done, for the nursery: does this worker get anything done? */
    _Atomic uint64_t finished;
    _Atomic uint32_t leave; /* TINE__STAYS … */
    /* Calls with keys: the track in hand + 1, and the first that it has + 1; 0: none. */
    _Atomic uint32_t keyed, tracks;
    uint32_t turn; /* the last track in hand + 1 */
    alignas(TINE__LINE) _Atomic uint32_t doorbell; /* futex: bumped to wake the worker */
    _Atomic uint32_t pid;                          /* 0: none at present */
    _Atomic uint32_t stage;                        /* TINE__STAGE_…, of the present process */
    _Atomic uint64_t word;  /* of the thread that works, once it had to wait for a token */
    _Atomic uint32_t token; /* the number of its token + 1, unless that was taken away; 0: none */
    uint64_t exit_room; /* the nursery's own: tine__exit_shm for the end of this worker, or 0 */
    alignas(TINE__LINE) struct tine__alarm_shm alarm;
};

/* How far a worker is with its beginning. */
enum { TINE__STAGE_BORN, TINE__STAGE_BEGINNING, TINE__STAGE_READY };

/* What a worker has to say of its initializer's failure. */
struct tine__said_shm {
    int32_t code; /* 0: nothing */
    char message[sizeof((tine_failure *)0)->message];
};

#define TINE__SANDBOX_LIMITS 16 /* RLIM_NLIMITS */

/* What workers may not do; see pool/sandbox.c. */
struct tine__sandbox_shm {
    uint64_t size; /* of all this */
    uint32_t flags;
    int32_t nice;
    uint32_t limit_count, has_cpus;
    uint32_t alone, unused;      /* 1: of guests (pool/guest.h) */
    uint64_t readable, writable; /* how many paths */
    tine_sandbox_limit limits[TINE__SANDBOX_LIMITS];
    uint64_t cpus[1024 / 64];
    char paths[]; /* one behind the other, each with its NUL: the readable ones first */
};

/* What each worker does first and last, where anything was asked for. */
struct tine__initialize_shm {
    uint64_t initializer, finalizer; /* tine__task_shm, or 0 */
    uint64_t context, context_size;  /* in the heap, or 0 */
    uint64_t sandbox;                /* tine__sandbox_shm, or 0 */
    struct tine__said_shm said[];    /* one a worker */
};

/* The end of a worker, on its way to the program. */
struct tine__exit_shm {
    uint64_t older; /* address of the one that ended before */
    tine_worker_exit exit;
};

/*
 * worker.leave: is the worker to leave its place? Only the nursery dismisses and takes that back,
 * only the worker idles and leaves, dismissed or of itself (pool/recycle.c); a new one starts as
 * one that stays. What leaves is as good as gone: nothing calls it back.
 */
enum {
    TINE__STAYS,
    TINE__IDLES,     /* has had nothing to do for pool.idle_ns */
    TINE__DISMISSED, /* is to leave when it has no unit in hand */
    TINE__LEAVES,    /* exits now; its end is no death */
    TINE__HANDED,    /* and what it has in hand is the nursery's already */
};

/* A unit, or a rest of one, that a dead worker left; taken before new work. */
enum { TINE__REDO_FREE, TINE__REDO_READY, TINE__REDO_TAKEN };

struct tine__redo_shm {
    _Atomic uint64_t word; /* generation << 16 | claimer << 2 | TINE__REDO_… */
    _Atomic uint64_t job; /* may be read while the entry changes hands: then the word has changed */
    uint64_t begin, end; /* may be empty: then only "help with this job" */
    uint64_t unit;       /* that the range belongs to (where results go) */
    uint64_t attempts;   /* deaths of the item `begin` so far */
};

enum tine__job_kind {
    TINE__JOB_FOR,
    TINE__JOB_REDUCE,
    TINE__JOB_MAP,
    TINE__JOB_STARMAP,
    TINE__JOB_CALL, /* one tuple, one ticket, no claims table */
};

/*
 * Bits of job.state, none of which is ever taken back but RUNNING. Whoever sets CANCELLED before a
 * worker has set RUNNING keeps a call from ever being begun; it is over for the program then,
 * although its ticket still leads to it.
 */
enum {
    TINE__JOB_WAITED = 1,     /* somebody may sleep on the state */
    TINE__JOB_WATCHED = 2,    /* bells are to be rung for it (shm/watch.h) */
    TINE__JOB_TOLD = 4,       /* pool.told is to be woken */
    TINE__JOB_RUNNING = 8,    /* of calls: a worker has it in hand */
    TINE__JOB_CANCELLED = 16, /* by the program */
    TINE__JOB_DONE = 32,
    TINE__JOB_ABANDONED = 64, /* over for the program, although a thread may go on with it */
};

/* A function as the program has it, and by which a worker finds its own. */
struct tine__task_shm {
    uint64_t older;    /* the one that the program described before; constant */
    uint64_t function; /* in the program */
    struct tine__function_wire reference;
    char name[64];
    char path[]; /* of its object file, for workers that are no forks of the program; or "" */
};

/* A failure on the stack of a job: only ever one with a lower index is pushed. */
struct tine__failure_shm {
    uint64_t older; /* address of the one that it replaced: others may be reading it */
    tine_failure failure;
};

/* What one item of a starmap gave; see pool/outcome.c. */
struct tine__outcome_shm {
    uint64_t words[2];
};

/* Room for results that find none in their slots. */
struct tine__values_shm {
    uint64_t older; /* the unit's block before this one */
    uint64_t capacity, used;
    uint8_t bytes[];
};

/* job.limited */
enum {
    TINE__LIMITED_ALARM = 1, /* items are timed: pool/limit.c */
    TINE__LIMITED_WEAR = 2,  /* items are counted: pool/recycle.c */
    TINE__LIMITED_RETRY = 4, /* rests wait before they run again: pool/backoff.c */
};

/* What few jobs ask for. Constant once the job is published. */
struct tine__limits_shm {
    int64_t task_timeout_ns, task_kill_ns; /* of an item (chunk, in for and reduce); 0: none */
    int64_t backoff_ns;     /* before the first time that an item runs again */
    uint64_t retry_limited; /* 1: what a limit has ended counts among .retries */
};

/* When a job began and ended, and what it cost; see pool/account.c. */
struct tine__account_shm {
    int64_t queued_ns; /* CLOCK_MONOTONIC, all three */
    _Atomic uint64_t started_ns, ended_ns;
    _Atomic uint64_t cpu_ns, peak_rss_bytes;
};

struct tine__job_shm {
    alignas(TINE__LINE) _Atomic uint32_t state; /* futex: TINE__JOB_… */
    _Atomic uint32_t stop;                      /* 1: start nothing more of this job */
    _Atomic uint32_t had_death;                 /* 1: the redo table may hold parts of it */
    uint8_t kind;              /* TINE__JOB_FOR … */
    uint8_t lane;              /* its priority's */
    uint8_t limited;           /* TINE__LIMITED_… */
    uint8_t accounted;         /* 1: has an account; see pool/account.h */
    uint64_t serial;           /* unique in the pool, from 1 */
    _Atomic uint64_t failure;  /* newest tine__failure_shm */
    _Atomic int32_t bare_code; /* failure for whose record there was no memory */
    int32_t retries;
    int32_t fail_fast;
    uint32_t workers;
    uint64_t task; /* tine__task_shm */
    uint64_t context, context_size;
    uint64_t result_bytes_max;
    uint64_t limits;           /* tine__limits_shm, or 0 */
    uint64_t account;          /* tine__account_shm, or 0 */
    _Atomic uint32_t deaths;
    _Atomic uint32_t retried;  /* items that ran again */
    _Atomic uint64_t waiting;  /* rests that the nursery keeps for later: pool/backoff.c */
    /* loops */
    uint64_t n, units;
    uint64_t chunk;                      /* 0: the boundaries stand in `bounds` */
    uint64_t bounds;                     /* uint64_t[units + 1] */
    uint64_t claims;                     /* tine__claims_shm */
    uint64_t in, in_size, out, out_size; /* map; reduce: out = partial results, out_size = their
                                            stride, in = the initial value, in_size = its size;
                                            starmap: in = packed tuples, out =
                                            tine__outcome_shm[n] */
    /* starmap */
    uint64_t marks;  /* uint64_t[]: where in `in` every TINE__MARK_EVERY-th tuple begins */
    uint64_t tags;   /* _Atomic uint8_t[n], of the outcomes */
    uint64_t blocks; /* _Atomic uint64_t[units]: the newest tine__values_shm of each */
    /* call */
    uint64_t args, args_size;
    uint64_t kept, kept_count;    /* uint64_t[]: the numbers of its descriptors */
    uint64_t result, result_size; /* in the heap, or 0 and in `small` */
    uint8_t small[64];
    uint64_t owned[TINE__JOB_BLOCKS]; /* what else the program allocated for it; 0: no more */
};

/* A sequence of tickets: pool/stream.c. */
struct tine__lane_shm {
    alignas(TINE__LINE) _Atomic uint64_t tail; /* tickets published */
    uint64_t claims;                           /* tine__claims_shm whose units are tickets */
    alignas(TINE__LINE) _Atomic uint64_t segments[TINE__SEGMENTS]; /* _Atomic uint64_t[1024] each */
};

/* Calls with keys, in order, for one worker: pool/sticky.c. */
struct tine__track_shm {
    alignas(TINE__LINE) _Atomic uint64_t tail; /* calls entered */
    _Atomic uint64_t ring;                     /* tine__track_ring_shm; 0: none has been entered */
    _Atomic uint32_t owner;                    /* place + 1 of its worker; 0: it has none */
    uint32_t next;                             /* of the same worker: track + 1 */
    alignas(TINE__LINE) _Atomic uint64_t head; /* calls that are over */
    _Atomic int64_t due; /* CLOCK_MONOTONIC, ns: the first one waits to run again; 0: it does not */
    /* The nursery's own: */
    uint64_t tried, attempts; /* number + 1 of a call that took workers down; how many */
};

struct tine__pool_shm {
    alignas(TINE__LINE) _Atomic uint32_t state; /* enum tine__pool_state */
    _Atomic uint32_t redo_sequence;             /* bumped when an entry becomes READY */
    uint32_t workers; /* places: there can never be more workers */
    _Atomic uint32_t spin_ns;
    _Atomic uint32_t lane_mask; /* of the lanes that have been made, but the usual one; never
                                   less */
    _Atomic uint32_t redo_used; /* entries of `redos` that have ever been used: those below this */
    uint64_t redos;  /* tine__redo_shm[redo_count] */
    uint64_t redo_count;
    uint64_t slots; /* tine__worker_shm[workers + 1]; the last one is the nursery's */
    /* How many workers there may be at present; there are to be: as many, or fewer where idle ones
       leave. */
    _Atomic uint32_t size, wanted;
    _Atomic uint32_t born;   /* places that have ever had a worker: those below this */
    _Atomic uint32_t demand; /* 1: the nursery has been asked for more workers */
    int64_t idle_ns;         /* after which an idle worker leaves; 0: never */
    uint32_t least;          /* workers that never leave so */
    uint64_t initialize;     /* tine__initialize_shm, or 0 */
    _Atomic uint64_t exits;  /* newest tine__exit_shm that the program has not taken */
    uint32_t tells_exits;    /* 1: somebody wants to know of them */
    _Atomic uint32_t broken; /* 1: `failure` says why the nursery ended the pool */
    tine_failure failure;
    struct tine__limits_shm limits; /* of jobs that do not say otherwise */
    int32_t stop_signal;            /* 0: none */
    uint32_t unused;
    int64_t memory_at;        /* by the nursery: when it looks at the memory of workers again */
    uint64_t max_tasks, max_memory, max_growth; /* of a worker: items, bytes; 0: no limit */
    _Atomic int64_t watch_at; /* when the nursery looks at the alarms next; INT64_MAX: not at all */
    _Atomic uint64_t started, died;
    _Atomic uint64_t retried;                /* items that ran again, of all jobs */
    _Atomic uint64_t cpu_ns, peak_rss_bytes; /* of workers that have ended: sum, and largest */
    uint32_t accounts;                       /* 1: jobs have accounts */
    uint32_t untrusted;                      /* 1: tasks run in guests (pool/guest.h) */
    _Atomic uint64_t recycled;
    struct tine__waiters_shm told; /* who waits for one of many jobs: TINE__JOB_TOLD */
    _Atomic uint32_t settlements; /* begun and ended ones together: odd while one goes on */
    uint32_t unbudgeted;          /* 1: claims are not gated (pool/budget.h) */
    _Atomic uint32_t cpus;        /* usable ones; 0: not counted yet, or no matter */
    _Atomic uint64_t tracks;      /* tine__track_shm[workers]; 0: no key has been used */
    _Atomic uint64_t pass;        /* owner word of the worker that runs by it; 0: none does */
    uint64_t opener;    /* owner word of the program; constant */
    uint64_t described; /* newest tine__task_shm; for who frees what a dead program leaves */
    alignas(TINE__LINE) _Atomic uint64_t lanes[TINE__LANES]; /* tine__lane_shm, most urgent first */
    alignas(TINE__LINE) _Atomic uint64_t sleeping[1024 / 64];
    _Atomic uint64_t spinning[1024 / 64];
    alignas(TINE__LINE) _Atomic uint64_t kept[TINE__KEPT_MAX]; /* see pool/descriptor.c */
    struct tine__lane_shm usual;
};

enum tine__pool_state {
    TINE__POOL_RUNNING,
    TINE__POOL_LEAVING, /* workers leave when they find no work */
    TINE__POOL_ENDING,  /* the nursery kills and reaps the workers */
};

/* A heap address as a pointer. */
#define TINE__AT(type, address) ((type *)(uintptr_t)(address))
#define TINE__ADDRESS(pointer)  ((uint64_t)(uintptr_t)(pointer))

/*
 * Places from here on have never had a worker. Who has seen what a worker did (acquire) sees its
 * birth here; and who publishes something before reading this (both seq_cst) is seen by a worker
 * that is not counted yet.
 */
static inline uint32_t tine__born(const struct tine__pool_shm *pool)
{
    return atomic_load_explicit(&pool->born, memory_order_seq_cst);
}

/* One that has been made. */
static inline struct tine__lane_shm *tine__lane_at(const struct tine__pool_shm *pool, uint32_t lane)
{
    /* acquire: it was made before it was entered here */
    return TINE__AT(struct tine__lane_shm,
                    atomic_load_explicit(&pool->lanes[lane], memory_order_acquire));
}

static inline struct tine__worker_shm *tine__worker_at(const struct tine__pool_shm *pool,
                                                       uint32_t index)
{
    return &TINE__AT(struct tine__worker_shm, pool->slots)[index];
}

#endif
