/* SPDX-License-Identifier: MIT */
/*
 * Values: one number or one struct that the whole family shares.
 *
 * A value lies in the family heap. Its pointer is good in every process of the family, and it is
 * everybody's until one of them closes it.
 *
 *     tine_value *hits;
 *     int rc = tine_value_open(&hits, 'q', NULL);         zero
 *     ... in any process:
 *     rc = tine_value_add_int(hits, 1, NULL);
 *     ...
 *     rc = tine_value_load_int(hits, &total);
 *     tine_value_close(hits);
 *
 * A number has a type letter of Python's struct and array: ? b B h H i I q Q for integers, f d for
 * floating point. Each operation on it is one atomic step: no lock, no torn number, nothing for a
 * death to leave half done. Several together are not; for them every value has a tine_rlock,
 * tine_value_lock(), which the operations themselves do not take: it excludes only those who take
 * it too.
 *
 * A struct of any size is written as a whole, tine_value_write(), into the slot that nobody reads,
 * and published by one store. Readers never wait and never see half of it; a writer that is killed
 * leaves the struct as it was, or as it shall be. Writers take the value's lock, so that
 * read, change, write under the lock is safe as well.
 */
#ifndef TINE_VALUE_H
#define TINE_VALUE_H

#include <tine/base.h>
#include <tine/lock.h>
#include <tine/time.h>

TINE_BEGIN_DECLS

/* Only `kind` and `cell` of a 'q' are used outside of the library, by tine_value_add_int(). */
typedef struct tine_value {
    uint64_t kind;
    int64_t cell;
    uint64_t opaque[6];
} tine_value;

#define TINE_VALUE_KIND_Q UINT64_C(0x0065756c61760071)

/* Options of a value; zero in a field means its default. */
typedef struct tine_value_options {
    size_t size;          /* bytes of a struct, when the type is 0 */
    tine_rlock *lock;     /* to use, in the family heap; default: one of its own */
    bool no_lock;         /* none: writers of a struct must exclude each other by themselves */
    bool reserved0[7];
    uint64_t reserved[4]; /* must be zero */
} tine_value_options;

/**
 * tine_value_open - make a value that the family shares
 *
 * In:      type     letter of a number: ? b B h H i I q Q f d; or 0: a struct of options.size bytes
 *          options  NULL for defaults
 * Out:     value    the value, zero, given to the family until tine_value_close()
 * Shape:   one number, or a struct aligned to 16
 * Units:   options.size bytes
 * Returns: 0, or a negative code; *value is set only for 0
 * Handle:  -ENOMEM
 * Give up: -EINVAL (no such type, a size with a letter, none without one, lock and no_lock), -E2BIG
 *          (reserved not zero)
 * Blocks:  only for the heap's own short lock
 * Safety:  thread any | process shared | fork child may call | signal no
 * Death:   a process killed in the call leaks at most the value
 * Source:  shm/value.c; follows Python 3.13 multiprocessing.Value; differs: numbers need no lock
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_value_open(tine_value **value, int type,
                                          const tine_value_options *options);

/**
 * tine_value_close - free a value, for the whole family
 *
 * In:      value  nobody uses it any more; NULL is ignored
 * Out:     none
 * Shape:   none
 * Units:   none
 * Returns: none
 * Handle:  none
 * Give up: none
 * Blocks:  only for the heap's own short lock
 * Safety:  thread one | process shared | fork child may call | signal no
 * Death:   a process killed in the call leaks at most the value
 * Source:  shm/value.c
 * Since:   0.1
 */
TINE_API void tine_value_close(tine_value *value);

/**
 * tine_value_copy - make a new value with the content of another
 *
 * In:      source  a value
 * Out:     copy    the new one, with a lock of its own if source has one
 * Shape:   as source
 * Units:   none
 * Returns: 0, or a negative code; *copy is set only for 0
 * Handle:  -ENOMEM
 * Give up: -EINVAL (no value)
 * Blocks:  no, but for the heap's own short lock
 * Safety:  thread any | process shared | fork child may call | signal no
 * Death:   a process killed in the call leaks at most the copy
 * Source:  shm/value.c; follows Python 3.13 multiprocessing.sharedctypes.copy
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_value_copy(tine_value **copy, const tine_value *source);

/**
 * tine_value_lock - the lock of a value
 *
 * In:      value  a value
 * Out:     none
 * Shape:   none
 * Units:   none
 * Returns: its own lock or the one that it was given; NULL: it has none, or is no value
 * Handle:  none
 * Give up: none
 * Blocks:  no
 * Safety:  thread any | process shared | fork child may call | signal yes
 * Death:   as of any tine_rlock
 * Source:  shm/value.c; follows Python 3.13 SynchronizedBase.get_lock
 * Since:   0.1
 */
TINE_API tine_rlock *tine_value_lock(tine_value *value);

/**
 * tine_value_load_int - read an integer
 *
 * In:      value   of type ? b B h H i I q Q
 * Out:     number  what it is
 * Shape:   none
 * Units:   none
 * Returns: 0, or a negative code; *number is set only for 0
 * Handle:  -ERANGE (does not fit an int64_t: of a Q)
 * Give up: -EINVAL (no value, or none of ? b B h H i I q Q)
 * Blocks:  no
 * Safety:  thread any | process shared | fork child may call | signal yes
 * Death:   none
 * Source:  shm/value.c; follows C11 atomic_load, sequentially consistent
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_value_load_int(const tine_value *value, int64_t *number);

/**
 * tine_value_store_int - set an integer
 *
 * In:      value   of type ? b B h H i I q Q
 *          number  what it shall be
 * Out:     none
 * Shape:   none
 * Units:   none
 * Returns: 0, or a negative code
 * Handle:  -ERANGE (does not fit the value's type; nothing is stored)
 * Give up: -EINVAL (no value, or none of ? b B h H i I q Q)
 * Blocks:  no
 * Safety:  thread any | process shared | fork child may call | signal yes
 * Death:   it is as before, or set
 * Source:  shm/value.c; follows C11 atomic_store, sequentially consistent
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_value_store_int(tine_value *value, int64_t number);

/**
 * tine_value_exchange_int - set an integer and learn what it was
 *
 * In:      value   of type ? b B h H i I q Q
 *          number  what it shall be
 * Out:     before  what it was
 * Shape:   none
 * Units:   none
 * Returns: 0, or a negative code; *before is set only for 0
 * Handle:  -ERANGE (does not fit the value's type, or what it was does not fit an int64_t; nothing
 *          is stored)
 * Give up: -EINVAL (no value, or none of ? b B h H i I q Q)
 * Blocks:  no
 * Safety:  thread any | process shared | fork child may call | signal yes
 * Death:   it is as before, or set
 * Source:  shm/value.c; follows C11 atomic_exchange, sequentially consistent
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_value_exchange_int(tine_value *value, int64_t number,
                                                  int64_t *before);

/**
 * tine_value_compare_exchange_int - set an integer if it is what one thinks
 *
 * In:      value     of type ? b B h H i I q Q
 *          expected  what it should be
 *          number    what it shall be then
 * Out:     expected  what it is, if it was something else
 * Shape:   none
 * Units:   none
 * Returns: 1: set; 0: it was something else, *expected says what; or a negative code
 * Handle:  -ERANGE (number does not fit the value's type, or what it is does not fit an int64_t)
 * Give up: -EINVAL (no value, or none of ? b B h H i I q Q)
 * Blocks:  no
 * Safety:  thread any | process shared | fork child may call | signal yes
 * Death:   it is as before, or set
 * Source:  shm/value.c; follows C11 atomic_compare_exchange, sequentially consistent
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_value_compare_exchange_int(tine_value *value, int64_t *expected,
                                                          int64_t number);

/**
 * tine_value_add_checked - add to an integer of any type; tine_value_add_int() calls it
 *
 * In:      value  of type ? b B h H i I q Q
 *          delta  what to add
 * Out:     sum    what it is then; NULL if not wanted
 * Shape:   none
 * Units:   none
 * Returns: 0, or a negative code; *sum is set only for 0
 * Handle:  -ERANGE (the sum does not fit the value's type, or an int64_t; nothing is added)
 * Give up: -EINVAL (no value, or none of ? b B h H i I q Q)
 * Blocks:  no
 * Safety:  thread any | process shared | fork child may call | signal yes
 * Death:   it is as before, or added
 * Source:  shm/value.c; a loop of compare_exchange; differs from add_int: a q does not wrap around
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_value_add_checked(tine_value *value, int64_t delta, int64_t *sum);

/**
 * tine_value_add_int - add to an integer
 *
 * In:      value  of type ? b B h H i I q Q
 *          delta  what to add
 * Out:     sum    what it is then; NULL if not wanted
 * Shape:   none
 * Units:   none
 * Returns: 0, or a negative code; *sum is set only for 0
 * Handle:  -ERANGE (the sum does not fit the value's type; nothing is added; a q wraps around
 *          instead)
 * Give up: -EINVAL (no value, or none of ? b B h H i I q Q)
 * Blocks:  no
 * Safety:  thread any | process shared | fork child may call | signal yes
 * Death:   it is as before, or added
 * Source:  here, one instruction for a q; else shm/value.c; follows C11 atomic_fetch_add
 * Since:   0.1
 */
static inline int tine_value_add_int(tine_value *value, int64_t delta, int64_t *sum)
{
#if defined(__GNUC__)
    if (value && value->kind == TINE_VALUE_KIND_Q) {
        int64_t after = __atomic_add_fetch(&value->cell, delta, __ATOMIC_SEQ_CST);

        if (sum)
            *sum = after;
        return 0;
    }
#endif
    return tine_value_add_checked(value, delta, sum);
}

/**
 * tine_value_load_uint - read an unsigned integer
 *
 * In:      value   of type ? b B h H i I q Q
 * Out:     number  what it is
 * Shape:   none
 * Units:   none
 * Returns: 0, or a negative code; *number is set only for 0
 * Handle:  -ERANGE (it is negative)
 * Give up: -EINVAL (no value, or none of ? b B h H i I q Q)
 * Blocks:  no
 * Safety:  thread any | process shared | fork child may call | signal yes
 * Death:   none
 * Source:  shm/value.c; follows C11 atomic_load, sequentially consistent
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_value_load_uint(const tine_value *value, uint64_t *number);

/**
 * tine_value_store_uint - set an unsigned integer
 *
 * In:      value   of type ? b B h H i I q Q
 *          number  what it shall be
 * Out:     none
 * Shape:   none
 * Units:   none
 * Returns: 0, or a negative code
 * Handle:  -ERANGE (does not fit the value's type; nothing is stored)
 * Give up: -EINVAL (no value, or none of ? b B h H i I q Q)
 * Blocks:  no
 * Safety:  thread any | process shared | fork child may call | signal yes
 * Death:   it is as before, or set
 * Source:  shm/value.c; follows C11 atomic_store, sequentially consistent
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_value_store_uint(tine_value *value, uint64_t number);

/**
 * tine_value_load_double - read a floating-point number
 *
 * In:      value   of type f d
 * Out:     number  what it is
 * Shape:   none
 * Units:   none
 * Returns: 0, or a negative code; *number is set only for 0
 * Handle:  none
 * Give up: -EINVAL (no value, or none of f d)
 * Blocks:  no
 * Safety:  thread any | process shared | fork child may call | signal yes
 * Death:   none
 * Source:  shm/value.c; follows C11 atomic_load, sequentially consistent
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_value_load_double(const tine_value *value, double *number);

/**
 * tine_value_store_double - set a floating-point number
 *
 * In:      value   of type f d
 *          number  what it shall be
 * Out:     none
 * Shape:   none
 * Units:   none
 * Returns: 0, or a negative code
 * Handle:  -ERANGE (finite, and too large for an f; nothing is stored)
 * Give up: -EINVAL (no value, or none of f d)
 * Blocks:  no
 * Safety:  thread any | process shared | fork child may call | signal yes
 * Death:   it is as before, or set
 * Source:  shm/value.c; follows C11 atomic_store, sequentially consistent
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_value_store_double(tine_value *value, double number);

/**
 * tine_value_exchange_double - set a floating-point number and learn what it was
 *
 * In:      value   of type f d
 *          number  what it shall be
 * Out:     before  what it was
 * Shape:   none
 * Units:   none
 * Returns: 0, or a negative code; *before is set only for 0
 * Handle:  -ERANGE (finite, and too large for an f; nothing is stored)
 * Give up: -EINVAL (no value, or none of f d)
 * Blocks:  no
 * Safety:  thread any | process shared | fork child may call | signal yes
 * Death:   it is as before, or set
 * Source:  shm/value.c; follows C11 atomic_exchange, sequentially consistent
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_value_exchange_double(tine_value *value, double number,
                                                     double *before);

/**
 * tine_value_compare_exchange_double - set a floating-point number if it is what one thinks
 *
 * In:      value     of type f d
 *          expected  what it should be; bit by bit: 0.0 is not -0.0, and a NaN is itself
 *          number    what it shall be then
 * Out:     expected  what it is, if it was something else
 * Shape:   none
 * Units:   none
 * Returns: 1: set; 0: it was something else, *expected says what; or a negative code
 * Handle:  -ERANGE (finite, and too large for an f; nothing is stored)
 * Give up: -EINVAL (no value, or none of f d)
 * Blocks:  no
 * Safety:  thread any | process shared | fork child may call | signal yes
 * Death:   it is as before, or set
 * Source:  shm/value.c; follows C11 atomic_compare_exchange, sequentially consistent
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_value_compare_exchange_double(tine_value *value, double *expected,
                                                             double number);

/**
 * tine_value_add_double - add to a floating-point number
 *
 * In:      value  of type f d
 *          delta  what to add
 * Out:     sum    what it is then; NULL if not wanted
 * Shape:   none
 * Units:   none
 * Returns: 0, or a negative code; *sum is set only for 0
 * Handle:  -ERANGE (the sum is finite, and too large for an f; nothing is added)
 * Give up: -EINVAL (no value, or none of f d)
 * Blocks:  no
 * Safety:  thread any | process shared | fork child may call | signal yes
 * Death:   it is as before, or added
 * Source:  shm/value.c; a loop of compare_exchange
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_value_add_double(tine_value *value, double delta, double *sum);

/**
 * tine_value_read - copy a struct out of its value
 *
 * In:      value  of type 0
 * Out:     data   the struct
 * Shape:   options.size bytes
 * Units:   none
 * Returns: 0, or a negative code; *data is set only for 0
 * Handle:  none
 * Give up: -EINVAL (no value, or a number; data is NULL)
 * Blocks:  no; reads again when it has been written twice meanwhile
 * Safety:  thread any | process shared | fork child may call | signal no
 * Death:   of a writer: the struct is as before it wrote, or after
 * Source:  shm/value.c; a sequence lock over two slots
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_value_read(const tine_value *value, void *data);

/**
 * tine_value_write - write a struct as a whole
 *
 * In:      value       of type 0
 *          data        the struct
 *          timeout_ns  how long to wait for the value's lock
 * Out:     none
 * Shape:   options.size bytes
 * Units:   timeout_ns nanoseconds (TINE_FOREVER, 0: try)
 * Returns: 0: written; or a negative code: not written
 * Handle:  -ETIMEDOUT, -EAGAIN (another holds the lock), -EOWNERDEAD: somebody died with it;
 *          the caller holds it now, as after tine_rlock_acquire(): repair what it guards beside
 *          this struct, tine_rlock_recover(), write again, tine_rlock_release()
 * Give up: -EINVAL (no value, or a number; data is NULL), -ENOTRECOVERABLE (the lock is lost),
 *          -ENOLCK, -EOVERFLOW, -ENOMEM
 * Blocks:  yes, at most timeout_ns
 * Safety:  thread any | process shared | fork child may call | signal no
 * Death:   in this call: written or not, never half; the next to take the lock gets -EOWNERDEAD
 * Source:  shm/value.c; follows assignment to a Python Value; differs: a death never tears it
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_value_write(tine_value *value, const void *data, int64_t timeout_ns);

TINE_END_DECLS

#endif
