/* SPDX-License-Identifier: MIT */
/*
 * The shared dictionary: keys to values, for any number of reading and writing processes.
 *
 * It lies in the family heap. What tine_dict_open() gives is a plain pointer that every process of
 * the family can use, whichever made it and whenever: store it, send it, capture it before a fork.
 *
 *     tine_dict *dict;
 *     int64_t hits;
 *     double mean;
 *     int rc = tine_dict_open(&dict, NULL);
 *
 *     rc = tine_dict_put(dict, "seven", "qd", (int64_t)7, 7.0);
 *     ... in any process ...
 *     rc = tine_dict_get(dict, "seven", "qd", &hits, &mean);
 *     ... when nobody uses it any more ...
 *     tine_dict_close(dict);
 *
 * A key is any bytes, also none; a value is any number of msgpack values, as tine/codec.h packs and
 * unpacks them. Each call is atomic for its key, and calls for one key have one order that all
 * processes agree on. Reads are lock-free: they wait for nobody and allocate nothing but the copies
 * of `s`. Writes are lock-free but for the heap's own short lock, and for a share of the work while
 * the dictionary grows.
 *
 * Nothing here is locked, so nobody can die with a lock. A process killed at any instant of any
 * call has made its change or has not; all others go on at once, and what it had set aside is swept
 * up by them. At most the one block that was on its way from or to the heap's allocator is lost. A
 * process that is stopped (SIGSTOP) in a call or with an iteration open only delays the freeing of
 * what others replace meanwhile.
 */
#ifndef TINE_DICT_H
#define TINE_DICT_H

#include <sys/types.h>

#include <tine/base.h>
#include <tine/codec.h>

TINE_BEGIN_DECLS

typedef struct tine_dict tine_dict;

/* As the length of a key: the key ends before its first NUL, as a string does. */
#define TINE_KEY_STRING ((size_t)-1)

typedef struct tine_dict_options {
    uint64_t capacity;    /* keys to make room for at once; 0: few. It grows by itself */
    uint32_t flags;       /* 0 */
    uint32_t reserved32;  /* 0 */
    uint64_t reserved[6]; /* 0 */
} tine_dict_options;

typedef struct tine_dict_item {
    const void *key;
    size_t key_len;
    const void *value; /* packed */
    size_t value_len;
} tine_dict_item;

/* An iteration in progress; the content is the library's. */
typedef struct tine_dict_iter {
    uint64_t opaque[8];
} tine_dict_iter;

typedef struct tine_dict_counts {
    uint64_t keys;
    uint64_t cells;      /* of the table; it grows when 3/4 of them are used */
    uint64_t cells_used; /* by keys, and by removed ones until the next table */
    uint64_t resizes;    /* new tables so far */
    uint64_t epoch;      /* advances so that what was replaced can be freed */
    uint64_t swept;      /* places of dead processes that others took over */
    uint32_t seats;      /* places for calls in progress, never fewer than there were at once */
    uint32_t reserved32;
    uint64_t reserved[5];
} tine_dict_counts;

/*
 * Makes a new value out of the one that is there. value is NULL where the key is not there, and is
 * borrowed. Whatever is packed into out, which comes empty, becomes the value if the call returns
 * 0; a negative code gives up and is passed on. It runs again when another process was quicker, so
 * it should have no effect but on out and on what context keeps for the last run. It must return:
 * a thread that leaves it by longjmp() or pthread_exit() stays in the call until its process ends.
 */
typedef int tine_dict_updater(const void *value, size_t value_len, tine_buffer *out, void *context);

/**
 * tine_dict_open - make an empty dictionary in the family heap
 *
 * In:      options  NULL: all defaults
 * Out:     dict     a pointer that is good in every process of the family, until tine_dict_close()
 * Shape:   none
 * Units:   capacity keys
 * Returns: 0, or a negative code
 * Handle:  none
 * Give up: -EINVAL (dict is NULL, unknown flags), -E2BIG (options newer than this library),
 *          -ENOMEM; -EADDRINUSE, -EMFILE, -ENFILE (no heap)
 * Blocks:  only for the heap's own short lock
 * Safety:  thread any | process shared | fork child may call | signal no
 * Death:   a process killed in the call leaks at most the blocks of the new dictionary
 * Source:  shm/dict.c; the place of Python's Manager().dict(); differs: no server process
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_dict_open(tine_dict **dict, const tine_dict_options *options);

/**
 * tine_dict_close - free a dictionary with all that is in it, for all processes
 *
 * In:      dict  given; nobody may be in a call of it or use it later; NULL is ignored
 * Out:     none
 * Shape:   none
 * Units:   none
 * Returns: none
 * Handle:  none
 * Give up: none
 * Blocks:  only for the heap's own short lock
 * Safety:  thread one | process shared | fork child may call | signal no
 * Death:   what the dead had set aside is freed as well; a process killed in the call leaks what it
 *          has not freed yet
 * Source:  shm/dict.c
 * Since:   0.1
 */
TINE_API void tine_dict_close(tine_dict *dict);

/**
 * tine_dict_put - set the value of a key
 *
 * In:      dict    open
 *          key     a string
 *          format  letters of the values, see tine/codec.h
 *          ...     what the letters take
 * Out:     none
 * Shape:   none
 * Units:   none
 * Returns: 0, or a negative code: then the key is as it was
 * Handle:  -ENOMEM (no memory for the value or the growing table; the dictionary is whole)
 * Give up: -EINVAL (NULL), -EBADF (closed), -EMSGSIZE (key or value of 4 GiB); those of tine_pack
 * Blocks:  only for the heap's own short lock, never for a dead or stopped process
 * Safety:  thread any | process shared | fork child may call | signal no; lock-free
 * Death:   the value is there or is not; at most one block is lost
 * Source:  shm/dict.c; follows Python's d[key] = value
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_dict_put(tine_dict *dict, const char *key, const char *format, ...);

/**
 * tine_dict_put_packed - set the value of a key of any bytes, from packed values
 *
 * In:      dict       open
 *          key        any bytes
 *          key_len    how many, or TINE_KEY_STRING
 *          value      msgpack values behind one another, perhaps none; copied
 *          value_len  their size
 * Out:     none
 * Shape:   none
 * Units:   key_len, value_len bytes
 * Returns: 0, or a negative code: then the key is as it was
 * Handle:  -ENOMEM, TINE_EFORMAT (no msgpack)
 * Give up: -EINVAL (NULL with a length), -EBADF, -EMSGSIZE; see tine_dict_put
 * Blocks:  only for the heap's own short lock, never for a dead or stopped process
 * Safety:  thread any | process shared | fork child may call | signal no; lock-free
 * Death:   the value is there or is not; at most one block is lost
 * Source:  shm/dict.c
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_dict_put_packed(tine_dict *dict, const void *key, size_t key_len,
                                               const void *value, size_t value_len);

/**
 * tine_dict_setdefault - set the value of a key unless it has one
 *
 * In:      dict    open
 *          key     a string
 *          format  letters of the values, see tine/codec.h
 *          ...     what the letters take
 * Out:     none
 * Shape:   none
 * Units:   none
 * Returns: 1 the key has this value now, 0 it had one already, or a negative code
 * Handle:  -ENOMEM
 * Give up: -EINVAL, -EBADF, -EMSGSIZE; those of tine_pack
 * Blocks:  only for the heap's own short lock, never for a dead or stopped process
 * Safety:  thread any | process shared | fork child may call | signal no; lock-free
 * Death:   the value is there or is not; at most one block is lost
 * Source:  shm/dict.c; follows Python's d.setdefault(); differs: says whether it was set, and the
 *          value is got with tine_dict_get()
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_dict_setdefault(tine_dict *dict, const char *key, const char *format,
                                               ...);

/**
 * tine_dict_setdefault_packed - set the value of a key of any bytes unless it has one
 *
 * In:      dict       open
 *          key        any bytes
 *          key_len    how many, or TINE_KEY_STRING
 *          value      msgpack values behind one another, perhaps none; copied
 *          value_len  their size
 * Out:     none
 * Shape:   none
 * Units:   key_len, value_len bytes
 * Returns: 1 the key has this value now, 0 it had one already, or a negative code
 * Handle:  -ENOMEM, TINE_EFORMAT (no msgpack)
 * Give up: -EINVAL, -EBADF, -EMSGSIZE; see tine_dict_put
 * Blocks:  only for the heap's own short lock, never for a dead or stopped process
 * Safety:  thread any | process shared | fork child may call | signal no; lock-free
 * Death:   the value is there or is not; at most one block is lost
 * Source:  shm/dict.c
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_dict_setdefault_packed(tine_dict *dict, const void *key,
                                                      size_t key_len, const void *value,
                                                      size_t value_len);

/**
 * tine_dict_get - the value of a key
 *
 * In:      dict    open
 *          key     a string
 *          format  letters of the values, without `y`, `v` and `a`: what those borrow would be gone
 *                  when the call returns; see tine_dict_get_packed
 * Out:     ...     pointers that the letters name, or NULL; written only when the call returns 0
 * Shape:   `s` the caller's to free()
 * Units:   none
 * Returns: 0, or a negative code
 * Handle:  -ENOENT (no such key), TINE_EFORMAT, -ERANGE (another value than the format's)
 * Give up: -EINVAL (NULL, `y v a` in the format, bad format), -EBADF, -ENOMEM (copies of `s`; the
 *          process's first call)
 * Blocks:  no
 * Safety:  thread any | process shared | fork child may call | signal no; lock-free
 * Death:   a process killed in the call leaves nothing
 * Source:  shm/dict.c; follows Python's d[key]
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_dict_get(tine_dict *dict, const char *key, const char *format, ...);

/**
 * tine_dict_get_packed - append the packed value of a key of any bytes to a buffer
 *
 * In:      dict     open
 *          key      any bytes
 *          key_len  how many, or TINE_KEY_STRING
 * Out:     value    a buffer; its bytes stay, the value comes behind them; for tine_unpack()
 * Shape:   none
 * Units:   key_len bytes
 * Returns: 0, or a negative code: then the buffer's bytes are as before
 * Handle:  -ENOENT (no such key)
 * Give up: -EINVAL (NULL, buffer not initialised), -EBADF, -EMSGSIZE, -ENOMEM
 * Blocks:  no
 * Safety:  thread any | process shared | fork child may call | signal no; lock-free
 * Death:   a process killed in the call leaves nothing
 * Source:  shm/dict.c
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_dict_get_packed(tine_dict *dict, const void *key, size_t key_len,
                                               tine_buffer *value);

/**
 * tine_dict_contains - is there such a key?
 *
 * In:      dict     open
 *          key      any bytes
 *          key_len  how many, or TINE_KEY_STRING
 * Out:     none
 * Shape:   none
 * Units:   key_len bytes
 * Returns: 1 yes, 0 no, or a negative code
 * Handle:  none
 * Give up: -EINVAL (NULL), -EBADF, -EMSGSIZE, -ENOMEM (the process's first call)
 * Blocks:  no
 * Safety:  thread any | process shared | fork child may call | signal no; lock-free
 * Death:   a process killed in the call leaves nothing
 * Source:  shm/dict.c; follows Python's key in d
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_dict_contains(tine_dict *dict, const void *key, size_t key_len);

/**
 * tine_dict_update - make the new value of a key out of the old one, as one step
 *
 * In:      dict     open
 *          key      any bytes
 *          key_len  how many, or TINE_KEY_STRING
 *          updater  may run several times, see its type; may call anything, this dictionary as well
 *          context  passed on
 * Out:     none
 * Shape:   one run of updater decides: no other change of the key comes between its value and what
 *          it made of it
 * Units:   key_len bytes
 * Returns: 0, or a negative code: then the key is as it was
 * Handle:  what updater returned, if negative; -ENOMEM, TINE_EFORMAT (what it packed is no msgpack)
 * Give up: -EINVAL (NULL, or updater returned a positive number), -EBADF, -EMSGSIZE;
 *          TINE_EFORKED (in a child that updater has forked: the call is the parent's)
 * Blocks:  as updater does; and for the heap's own short lock
 * Safety:  thread any | process shared | fork child may call | signal no; lock-free
 * Death:   the new value is there or is not; at most one block is lost
 * Source:  shm/dict.c; in Python a lock round d[key] = f(d[key])
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_dict_update(tine_dict *dict, const void *key, size_t key_len,
                                           tine_dict_updater *updater, void *context);

/**
 * tine_dict_add - add to an integer, as one step
 *
 * In:      dict   open
 *          key    a string; where it is not there, it counts as 0
 *          delta  what to add
 * Out:     total  the sum, if not NULL
 * Shape:   the value is one integer, as the letter `q` packs it
 * Units:   none
 * Returns: 0, or a negative code: then the key is as it was
 * Handle:  TINE_EFORMAT, -ERANGE (the value is no such integer), -EOVERFLOW, -ENOMEM
 * Give up: -EINVAL (NULL), -EBADF, -EMSGSIZE
 * Blocks:  only for the heap's own short lock, never for a dead or stopped process
 * Safety:  thread any | process shared | fork child may call | signal no; lock-free
 * Death:   the sum is there or is not; at most one block is lost
 * Source:  shm/dict.c; the place of Python's Counter
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_dict_add(tine_dict *dict, const char *key, int64_t delta,
                                        int64_t *total);

/**
 * tine_dict_remove - remove a key with its value
 *
 * In:      dict     open
 *          key      any bytes
 *          key_len  how many, or TINE_KEY_STRING
 * Out:     none
 * Shape:   none
 * Units:   key_len bytes
 * Returns: 0, or a negative code
 * Handle:  -ENOENT (no such key)
 * Give up: -EINVAL (NULL), -EBADF, -EMSGSIZE, -ENOMEM (the process's first call)
 * Blocks:  only for the heap's own short lock, never for a dead or stopped process
 * Safety:  thread any | process shared | fork child may call | signal no; lock-free
 * Death:   the key is there or is not
 * Source:  shm/dict.c; follows Python's del d[key]
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_dict_remove(tine_dict *dict, const void *key, size_t key_len);

/**
 * tine_dict_pop - remove a key and append its packed value to a buffer, as one step
 *
 * In:      dict     open
 *          key      any bytes
 *          key_len  how many, or TINE_KEY_STRING
 * Out:     value    a buffer; its bytes stay, the value comes behind them; for tine_unpack()
 * Shape:   of several that pop one value, one gets it
 * Units:   key_len bytes
 * Returns: 0, or a negative code: then the buffer's bytes are as before
 * Handle:  -ENOENT (no such key), -ENOMEM (no room in the buffer; the key stays)
 * Give up: -EINVAL (NULL, buffer not initialised), -EBADF, -EMSGSIZE
 * Blocks:  only for the heap's own short lock, never for a dead or stopped process
 * Safety:  thread any | process shared | fork child may call | signal no; lock-free
 * Death:   the key is there or is not
 * Source:  shm/dict.c; follows Python's d.pop(key)
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_dict_pop(tine_dict *dict, const void *key, size_t key_len,
                                        tine_buffer *value);

/**
 * tine_dict_count - how many keys there are
 *
 * In:      dict  open
 * Out:     none
 * Shape:   exact while nobody changes the dictionary, whoever has died in it
 * Units:   none
 * Returns: the count, or a negative code
 * Handle:  none
 * Give up: -EINVAL (NULL), -EBADF, -ENOMEM (the process's first call)
 * Blocks:  no; it looks at all cells, about 2 ns for each key
 * Safety:  thread any | process shared | fork child may call | signal no; lock-free
 * Death:   a process killed in the call leaves nothing
 * Source:  shm/dict_iter.c; follows Python's len(d); differs: its time grows with the dictionary
 * Since:   0.1
 */
TINE_API TINE_CHECKED ssize_t tine_dict_count(tine_dict *dict);

/**
 * tine_dict_clear - remove every key that is there
 *
 * In:      dict  open
 * Out:     none
 * Shape:   key by key: what others put meanwhile may stay
 * Units:   none
 * Returns: 0, or a negative code: then some keys may be left
 * Handle:  none
 * Give up: -EINVAL (NULL), -EBADF, -ENOMEM (the process's first call)
 * Blocks:  only for the heap's own short lock, never for a dead or stopped process
 * Safety:  thread any | process shared | fork child may call | signal no; lock-free
 * Death:   some keys are removed, others are there
 * Source:  shm/dict_iter.c; follows Python's d.clear(); differs: not one step
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_dict_clear(tine_dict *dict);

/**
 * tine_dict_iter_init - begin a walk over all keys and values
 *
 *     tine_dict_iter iter;
 *     tine_dict_item item;
 *     int rc = tine_dict_iter_init(&iter, dict);
 *
 *     while (rc == 0 && tine_dict_iter_next(&iter, &item) == 1)
 *         use(&item);
 *     if (rc == 0)
 *         tine_dict_iter_fini(&iter);
 *
 * In:      dict  open
 * Out:     iter  memory of the caller's, to be ended with tine_dict_iter_fini() in the same process
 * Shape:   weakly consistent: a key that is there all the time comes exactly once, also while
 *          others grow the dictionary; one that comes or goes meanwhile, once or not at all; no
 *          order
 * Units:   none
 * Returns: 0, or a negative code
 * Handle:  none
 * Give up: -EINVAL (NULL), -EBADF, -ENOMEM (no place for one more call)
 * Blocks:  no
 * Safety:  thread any | process shared | fork child may call | signal no; lock-free
 * Death:   a process killed with an iteration open leaves nothing
 * Source:  shm/dict_iter.c; follows Python's d.items(); differs: the dictionary may change
 *          meanwhile
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_dict_iter_init(tine_dict_iter *iter, tine_dict *dict);

/**
 * tine_dict_iter_next - the next key with its value
 *
 * In:      iter  begun
 * Out:     item  borrowed until tine_dict_iter_fini(), whatever others do; not aligned
 * Shape:   none
 * Units:   key_len, value_len bytes
 * Returns: 1 one more, 0 there are no more, or a negative code
 * Handle:  none
 * Give up: -EINVAL (NULL, not begun), TINE_EFORKED (begun by the parent of this process)
 * Blocks:  no
 * Safety:  thread one | process owner | fork child may close | signal no; lock-free
 * Death:   a process killed in the call leaves nothing
 * Source:  shm/dict_iter.c
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_dict_iter_next(tine_dict_iter *iter, tine_dict_item *item);

/**
 * tine_dict_iter_fini - end a walk; its items are no longer there
 *
 * In:      iter  begun, or ended already; NULL is ignored
 * Out:     none
 * Shape:   none
 * Units:   none
 * Returns: none
 * Handle:  none
 * Give up: none
 * Blocks:  no
 * Safety:  thread one | process owner | fork child may close | signal no
 * Death:   none
 * Source:  shm/dict_iter.c
 * Since:   0.1
 */
TINE_API void tine_dict_iter_fini(tine_dict_iter *iter);

/**
 * tine_dict_stats - what is in a dictionary, and what has happened to it
 *
 * In:      dict   open
 * Out:     stats  counts, each at an instant of its own
 * Shape:   none
 * Units:   none
 * Returns: 0, or a negative code
 * Handle:  none
 * Give up: -EINVAL (NULL), -EBADF, -ENOMEM (the process's first call)
 * Blocks:  no; it looks at all cells, as tine_dict_count() does
 * Safety:  thread any | process shared | fork child may call | signal no; lock-free
 * Death:   a process killed in the call leaves nothing
 * Source:  shm/dict_iter.c
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_dict_stats(tine_dict *dict, tine_dict_counts *stats);

TINE_END_DECLS

#endif
