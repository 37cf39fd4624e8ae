/* SPDX-License-Identifier: MIT */
/*
 * Shared memory of one's own: segments with a name, and segments that travel as a descriptor.
 *
 *     create ──► attach (any process) ──► detach …          the bytes live while anybody has them
 *        └──────────────► unlink: the name is gone          or the name lasts
 *
 * A named segment is what POSIX and Python mean by one: raw bytes from offset 0 under exactly the
 * name asked for, in /dev/shm. Programs that know nothing of each other meet there, and
 * SharedMemory(name=...) of Python opens the same bytes:
 *
 *     tine_shm *shm;
 *     int rc = tine_shm_create(&shm, "prices", n * sizeof(double), NULL);
 *     ...
 *     double *prices = tine_shm_data(shm);
 *     ...
 *     rc = tine_shm_unlink(shm);        the name, once
 *     rc = tine_shm_detach(shm);        this process's mapping
 *
 *     shm = SharedMemory(name="prices")                       in Python
 *     prices = numpy.ndarray(n, "d", shm.buf)
 *
 * A memfd has no name: it reaches other processes by fork, or as a descriptor over a socket, and is
 * gone with the last of them, however they end. It can be sealed, so that a receiver knows that
 * nobody will shorten it, or write to it.
 *
 * A segment appears under its name only when it is complete: with its full size, with memory behind
 * every byte, and after .init has filled it. A creator that dies at any instant leaves the whole
 * segment or nothing. What is attached stays valid when the name is unlinked and when the creator
 * dies; the named bytes stay, too, until somebody unlinks them. Memory that is not there is -ENOSPC
 * or -ENOMEM at once, never a SIGBUS later; only a process that shortens the file can cause one,
 * and tine never does.
 *
 * A tine_shm is a handle of its process; a forked child has the same mapping and a handle of its
 * own under the same pointer. Locks and other things of tine that are made for shared memory may
 * lie in a segment, and be mapped anywhere; pointers may not, for each process has its own
 * addresses.
 */
#ifndef TINE_SHM_H
#define TINE_SHM_H

#include <tine/base.h>

TINE_BEGIN_DECLS

typedef struct tine_shm tine_shm;

/* Fills a new segment, all zero until then, that nobody else can see yet. Negative: give up. */
typedef int tine_shm_init(void *data, size_t size, void *context);

/* Options of a named segment; zero in a field means its default. */
typedef struct tine_shm_options {
    size_t size_min;      /* what exists must have so many bytes; default: 1, or the size given */
    size_t reserve;       /* bytes of addresses to set aside, so that it can grow in place */
    tine_shm_init *init;  /* create: default, all zero */
    void *context;        /* passed to init */
    uint32_t mode;        /* create: permissions, whatever the umask says; default 0600 */
    bool exist_ok;        /* create: attach if the name exists */
    bool read_only;       /* attach: writing is a SIGSEGV */
    bool copy_on_write;   /* attach: what this process writes stays its own */
    bool any_owner;       /* attach: also what others own, or may write to */
    bool sparse;          /* leave memory to the first touch, at the risk of a SIGBUS */
    bool huge_pages;      /* in huge pages, as far as the kernel has them */
    uint8_t reserved8[6]; /* must be zero */
    uint64_t reserved[8]; /* must be zero */
} tine_shm_options;

/* Options of a memfd; zero in a field means its default. */
typedef struct tine_memfd_options {
    const char *label;    /* create: shown in /proc/PID/maps; default "tine" */
    size_t size_min;      /* attach: it must have so many bytes; default 1 */
    size_t reserve;       /* bytes of addresses to set aside, so that it can grow in place */
    bool growable;        /* create: without the seal against growing */
    bool read_only;       /* attach: writing is a SIGSEGV */
    bool copy_on_write;   /* attach: what this process writes stays its own */
    bool allow_unsealed;  /* attach: also what others can shorten, at the risk of a SIGBUS */
    bool sparse;          /* create: leave memory to the first touch */
    bool huge_pages;      /* in huge pages, as far as the kernel has them */
    uint8_t reserved8[2]; /* must be zero */
    uint64_t reserved[8]; /* must be zero */
} tine_memfd_options;

/* What tine_memfd_seal() can forbid, to everybody and for good. */
enum {
    TINE_SEAL_SHRINK = 1,       /* shortening; tine_memfd_create() has set it already */
    TINE_SEAL_GROW = 2,         /* lengthening; set already, except with .growable */
    TINE_SEAL_WRITE = 4,        /* writing */
    TINE_SEAL_FUTURE_WRITE = 8, /* writing, except through mappings that exist already */
    TINE_SEAL_SEAL = 16,        /* further seals */
};

/**
 * tine_shm_create - make a segment of shared memory under a name
 *
 * In:      name     at most 255 bytes without a slash (one at the front is ignored), not "." or
 *                   ".."; NULL: "tine-" and 128 random bits in hexadecimal
 *          size     bytes, at least 1
 *          options  NULL for defaults; .init and its context are used during the call only
 * Out:     shm      the segment, attached, to be given back with tine_shm_detach()
 * Shape:   size bytes, zero or as .init left them, aligned to a page
 * Units:   size, options.size_min, options.reserve bytes
 * Returns: 0 made, 1 (with .exist_ok) attached to what was there, or a negative code; *shm is set
 *          unless negative
 * Handle:  -EEXIST, -ENOSPC (/dev/shm is full), -ENOMEM, what .init returned; with .exist_ok also
 *          -EACCES, -EAGAIN and -EPROTO as of tine_shm_attach()
 * Give up: -EINVAL (bad name, size 0, mode beyond 0666, an option of attach, .exist_ok without a
 *          name), -E2BIG (reserved not zero), -EFBIG (RLIMIT_FSIZE), -EMFILE, -ENFILE, -ENOTSUP (no
 *          /dev/shm, a file system there that cannot allocate, or no /proc)
 * Blocks:  no
 * Safety:  thread any | process owner | fork child may call | signal no
 * Death:   leaves the complete segment under its name, or nothing; where the kernel has no nameless
 *          files in /dev/shm, perhaps a file .tine-... that nobody attaches
 * Source:  shm/segment.c; follows Python 3.13 multiprocessing.shared_memory.SharedMemory and
 *          shm_open(3); differs: the name appears with the complete segment, memory is allocated at
 *          once, the mode does not depend on the umask, nothing is unlinked at exit
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_shm_create(tine_shm **shm, const char *name, size_t size,
                                          const tine_shm_options *options);

/**
 * tine_shm_attach - map a segment that exists
 *
 * In:      name     as of tine_shm_create(), whoever made it, in whatever language
 *          options  NULL for defaults: for reading and writing
 * Out:     shm      the segment, to be given back with tine_shm_detach()
 * Shape:   all bytes that it has now, aligned to a page
 * Units:   options.size_min, options.reserve bytes
 * Returns: 0, or a negative code; *shm is set only for 0
 * Handle:  -ENOENT, -EAGAIN (it has no size yet: made by other means, in two steps), -EPROTO
 *          (smaller than .size_min)
 * Give up: -EACCES (no permission; or owned by another user, writable for others, or no regular
 *          file with one name: see .any_owner), -ENOSPC, -ENOMEM (it was made sparse, and there is
 *          no memory for the rest), -EINVAL (bad name, an option of create, .read_only with
 *          .copy_on_write), -E2BIG, -EMFILE, -ENFILE
 * Blocks:  no
 * Safety:  thread any | process owner | fork child may call | signal no
 * Death:   none
 * Source:  shm/segment.c; follows Python 3.13 SharedMemory(name); differs: checks the owner, fills
 *          what was made sparse, so that touching it is no SIGBUS. A Python before 3.13 that
 *          attaches unlinks the name when it exits (gh-82300) unless told not to: SharedMemory has
 *          track=False from 3.13 on, resource_tracker.unregister("/" + name, "shared_memory")
 *          before
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_shm_attach(tine_shm **shm, const char *name,
                                          const tine_shm_options *options);

/**
 * tine_shm_grow - make a segment longer
 *
 * In:      shm   attached for reading and writing
 *          size  bytes that it shall have at least; a segment never becomes shorter
 * Out:     none
 * Shape:   the new bytes are zero; what was there stays
 * Units:   size bytes
 * Returns: 0, or a negative code: nothing has changed
 * Handle:  -ENOSPC, -ENOMEM (no memory, or no addresses)
 * Give up: -EACCES (attached read-only or copy-on-write), -EPERM (sealed), -EFBIG (RLIMIT_FSIZE),
 *          -EBUSY (it would have to move, and this process holds a lock in it), -EINVAL (shm is
 *          NULL)
 * Blocks:  no
 * Safety:  thread one; without .reserve the address may change, and no other thread may be using
 *          the bytes | process shared | fork child may call | signal no
 * Death:   the segment has the old size or the new one
 * Source:  shm/segment.c; Python has none. Others see the new size by tine_shm_refresh(), or when
 *          they attach anew
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_shm_grow(tine_shm *shm, size_t size);

/**
 * tine_shm_refresh - map what others have added to a segment
 *
 * In:      shm  attached
 * Out:     none
 * Shape:   as tine_shm_size() says afterwards
 * Units:   none
 * Returns: 0, or a negative code: the mapping is as before
 * Handle:  -ENOMEM (no addresses; copy-on-write beyond its .reserve)
 * Give up: -EBUSY (it would have to move, and this process holds a lock in it), -EPERM (sealed
 *          against writing), -EINVAL (shm is NULL)
 * Blocks:  no
 * Safety:  thread one; without .reserve the address may change, and no other thread may be using
 *          the bytes | process owner | fork child may call | signal no
 * Death:   none
 * Source:  shm/segment.c
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_shm_refresh(tine_shm *shm);

/**
 * tine_shm_data - where the bytes of a segment are in this process
 *
 * In:      shm  attached
 * Out:     none
 * Shape:   tine_shm_size() bytes, aligned to a page
 * Units:   none
 * Returns: the first byte, borrowed until tine_shm_detach(); it changes only in tine_shm_grow() and
 *          tine_shm_refresh() beyond .reserve. NULL for NULL
 * Handle:  none
 * Give up: none
 * Blocks:  no
 * Safety:  thread any | process owner | fork child may call | signal yes
 * Death:   none
 * Source:  shm/segment.c; follows Python 3.13 SharedMemory.buf
 * Since:   0.1
 */
TINE_API void *tine_shm_data(const tine_shm *shm);

/**
 * tine_shm_size - how many bytes of a segment are mapped in this process
 *
 * In:      shm  attached
 * Out:     none
 * Shape:   none
 * Units:   bytes
 * Returns: the size, not rounded; 0 for NULL
 * Handle:  none
 * Give up: none
 * Blocks:  no
 * Safety:  thread any | process owner | fork child may call | signal yes
 * Death:   none
 * Source:  shm/segment.c; follows Python 3.13 SharedMemory.size
 * Since:   0.1
 */
TINE_API size_t tine_shm_size(const tine_shm *shm);

/**
 * tine_shm_name - under which name a segment was made or found
 *
 * In:      shm  attached
 * Out:     none
 * Shape:   a string without a leading slash
 * Units:   none
 * Returns: the name, borrowed until tine_shm_detach(); NULL for a memfd, and for NULL
 * Handle:  none
 * Give up: none
 * Blocks:  no
 * Safety:  thread any | process owner | fork child may call | signal yes
 * Death:   none
 * Source:  shm/segment.c; follows Python 3.13 SharedMemory.name
 * Since:   0.1
 */
TINE_API const char *tine_shm_name(const tine_shm *shm);

/**
 * tine_shm_fd - the descriptor of a segment, to be passed to another process
 *
 * In:      shm  attached
 * Out:     none
 * Shape:   none
 * Units:   none
 * Returns: the descriptor, borrowed until tine_shm_detach(), closed on exec; or a negative code
 * Handle:  none
 * Give up: -EINVAL (shm is NULL)
 * Blocks:  no
 * Safety:  thread any | process owner | fork child may call | signal yes
 * Death:   none
 * Source:  shm/segment.c
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_shm_fd(const tine_shm *shm);

/**
 * tine_shm_detach - give this process's mapping of a segment back, and the handle
 *
 * In:      shm  attached, given unless -EBUSY; NULL is ignored
 * Out:     none
 * Shape:   none
 * Units:   none
 * Returns: 0, or a negative code
 * Handle:  -EBUSY (a thread of this process holds a lock in the segment: nothing has changed)
 * Give up: none
 * Blocks:  no
 * Safety:  thread one | process owner | fork child may call; the parent keeps its own | signal no
 * Death:   none; the kernel detaches what dies
 * Source:  shm/segment.c; follows Python 3.13 SharedMemory.close; differs: refused while a lock in
 *          it is held, for the kernel could then not free that lock, nor others, when the process
 *          dies
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_shm_detach(tine_shm *shm);

/**
 * tine_shm_unlink - take the name of this very segment away
 *
 * In:      shm  attached; stays so
 * Out:     none
 * Shape:   none
 * Units:   none
 * Returns: 0, or a negative code
 * Handle:  -ENOENT (somebody was faster; a new segment under the same name is left alone), -EBUSY
 *          (another process stands still in the midst of unlinking it: try again)
 * Give up: -EACCES, -EPERM (another user's), -EINVAL (a memfd, or NULL), -EMFILE, -ENFILE
 * Blocks:  only for another tine_shm_unlink() of the same segment, at most 1 s
 * Safety:  thread any | process shared | fork child may call | signal no
 * Death:   the name is there or not
 * Source:  shm/segment.c; follows Python 3.13 SharedMemory.unlink; differs: of all processes that
 *          unlink one segment by tine exactly one succeeds, and none takes a later one of that
 *          name. (A program that unlinks by other means and makes it anew in between can still lose
 *          it.)
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_shm_unlink(const tine_shm *shm);

/**
 * tine_shm_unlink_name - take a name away, whatever segment bears it
 *
 * In:      name  as of tine_shm_create()
 * Out:     none
 * Shape:   none
 * Units:   none
 * Returns: 0, or a negative code
 * Handle:  -ENOENT, -EBUSY as of tine_shm_unlink()
 * Give up: -EINVAL (bad name), -EACCES, -EPERM (another user's, no file), -EMFILE, -ENFILE
 * Blocks:  only for another tine_shm_unlink() of the same segment, at most 1 s
 * Safety:  thread any | process shared | fork child may call | signal no
 * Death:   the name is there or not
 * Source:  shm/segment.c; follows shm_unlink(3)
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_shm_unlink_name(const char *name);

/**
 * tine_memfd_create - make a segment without a name, to be passed by its descriptor
 *
 * In:      size     bytes, at least 1
 *          options  NULL for defaults
 * Out:     shm      the segment, attached, sealed against shrinking and growing, to be given back
 *                   with tine_shm_detach(); all other calls for segments take it, too
 * Shape:   size bytes, all zero, aligned to a page
 * Units:   size, options.reserve bytes
 * Returns: 0, or a negative code; *shm is set only for 0
 * Handle:  -ENOMEM, -ENOSPC
 * Give up: -EINVAL (size 0, an option of attach, a label beyond 249 bytes), -E2BIG (reserved not
 *          zero), -EFBIG (RLIMIT_FSIZE), -EMFILE, -ENFILE
 * Blocks:  no
 * Safety:  thread any | process owner | fork child may call | signal no
 * Death:   the memory goes with the last process that has it
 * Source:  shm/memfd.c; follows memfd_create(2)
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_memfd_create(tine_shm **shm, size_t size,
                                            const tine_memfd_options *options);

/**
 * tine_memfd_attach - map a memfd that came from another process
 *
 * In:      fd       of a memfd, borrowed: the handle has a descriptor of its own
 *          options  NULL for defaults: for reading and writing
 * Out:     shm      the segment, to be given back with tine_shm_detach()
 * Shape:   all bytes that it has now, aligned to a page
 * Units:   options.size_min, options.reserve bytes
 * Returns: 0, or a negative code; *shm is set only for 0
 * Handle:  -EPERM (not sealed against shrinking, so that its owner could make any access a SIGBUS,
 *          see .allow_unsealed; or sealed against writing: attach .read_only or .copy_on_write),
 *          -EPROTO (smaller than .size_min)
 * Give up: -EBADF, -EACCES (the descriptor is for reading only), -EINVAL (no regular file, an
 *          option of create, .read_only with .copy_on_write), -E2BIG, -ENOMEM, -EMFILE
 * Blocks:  no
 * Safety:  thread any | process owner | fork child may call | signal no
 * Death:   none
 * Source:  shm/memfd.c
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_memfd_attach(tine_shm **shm, int fd,
                                            const tine_memfd_options *options);

/**
 * tine_memfd_seal - forbid shortening, lengthening or writing a memfd, to everybody and for good
 *
 * In:      shm    made with tine_memfd_create(), or attached for writing
 *          seals  TINE_SEAL_..., one or several
 * Out:     none
 * Shape:   with TINE_SEAL_WRITE this process's mapping becomes read-only, at the same address; with
 *          TINE_SEAL_FUTURE_WRITE mappings that exist go on as they are, and no new one may write
 * Units:   none
 * Returns: 0, or a negative code: nothing is sealed
 * Handle:  -EBUSY (TINE_SEAL_WRITE while another mapping can write, or while this process holds a
 *          lock in it)
 * Give up: -EPERM (sealed against seals, or not open for writing), -EINVAL (unknown seals, none, no
 *          memfd), -ENOMEM
 * Blocks:  no
 * Safety:  thread one; with TINE_SEAL_WRITE no other thread may be writing | process shared
 *          | fork child may call | signal no
 * Death:   the seals are set or not
 * Source:  shm/memfd.c; follows F_ADD_SEALS of fcntl(2)
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_memfd_seal(tine_shm *shm, uint32_t seals);

TINE_END_DECLS

#endif
