/* SPDX-License-Identifier: MIT */
/*
 * Arrays: n elements of one type that the whole family shares.
 *
 * An array lies in the family heap. Its pointer, and that to its elements, is good in every process
 * of the family; it is everybody's until one of them closes it.
 *
 *     tine_array *histogram;
 *     int rc = tine_array_open(&histogram, 'Q', 256, NULL);     all zero
 *     uint64_t *bins = tine_array_data(histogram);
 *     ... in any process:
 *     rc = tine_array_set_uint(histogram, 17, 1);               checked: type, bounds, range
 *     bins[18] = 1;                                             as fast as any memory
 *
 * Types are those of tine/value.h, or structs of any size. Access to one element never tears a
 * number and takes no lock. tine_array_read() and tine_array_write() copy many at once under the
 * array's lock, a tine_rlock; whoever changes several elements that belong together, or reads
 * before writing, holds it:
 *
 *     rc = tine_rlock_acquire(tine_array_lock(histogram), TINE_FOREVER);
 *     bins[18]++;
 *     rc = tine_rlock_release(tine_array_lock(histogram));
 *
 * A process that dies with the lock may leave such a change half done: the next one to take it gets
 * -EOWNERDEAD (tine/lock.h).
 */
#ifndef TINE_ARRAY_H
#define TINE_ARRAY_H

#include <tine/base.h>
#include <tine/lock.h>
#include <tine/time.h>

TINE_BEGIN_DECLS

typedef struct tine_array tine_array;

/* Options of an array; zero in a field means its default. */
typedef struct tine_array_options {
    size_t size;          /* bytes of an element, when the type is 0 */
    tine_rlock *lock;     /* to use, in the family heap; default: one of its own */
    bool no_lock;         /* none */
    bool reserved0[7];
    uint64_t reserved[4]; /* must be zero */
} tine_array_options;

/**
 * tine_array_open - make an array that the family shares
 *
 * In:      type     letter of its elements: ? b B h H i I q Q f d; or 0: structs of options.size
 *          bytes
 *          count    how many, 0 or more
 *          options  NULL for defaults
 * Out:     array    the array, all zero, given to the family until tine_array_close()
 * Shape:   count elements without gaps, aligned to 64
 * Units:   count elements; options.size bytes
 * Returns: 0, or a negative code; *array is set only for 0
 * Handle:  -ENOMEM
 * Give up: -EINVAL (no such type, a size with a letter, none without one, lock and no_lock),
 *          -EOVERFLOW (count * size), -E2BIG (reserved not zero)
 * Blocks:  only for the heap's own short lock
 * Safety:  thread any | process shared | fork child may call | signal no
 * Death:   a process killed in the call leaks at most the array
 * Source:  shm/array.c; follows Python 3.13 multiprocessing.Array; differs: access to an
 *          element takes no lock
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_array_open(tine_array **array, int type, size_t count,
                                          const tine_array_options *options);

/**
 * tine_array_close - free an array, for the whole family
 *
 * In:      array  nobody uses it any more; NULL is ignored
 * Out:     none
 * Shape:   none
 * Units:   none
 * Returns: none
 * Handle:  none
 * Give up: none
 * Blocks:  only for the heap's own short lock
 * Safety:  thread one | process shared | fork child may call | signal no
 * Death:   a process killed in the call leaks at most the array
 * Source:  shm/array.c
 * Since:   0.1
 */
TINE_API void tine_array_close(tine_array *array);

/**
 * tine_array_copy - make a new array with the content of another
 *
 * In:      source      an array
 *          timeout_ns  how long to wait for its lock
 * Out:     copy        the new one, with a lock of its own if source has one
 * Shape:   as source
 * Units:   timeout_ns nanoseconds (TINE_FOREVER, 0: try)
 * Returns: 0, or a negative code; *copy is set only for 0
 * Handle:  -ENOMEM; as tine_array_read()
 * Give up: -EINVAL (no array)
 * Blocks:  yes, at most timeout_ns
 * Safety:  thread any | process shared | fork child may call | signal no
 * Death:   a process killed in the call leaks at most the copy
 * Source:  shm/array.c; follows Python 3.13 multiprocessing.sharedctypes.copy
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_array_copy(tine_array *source, int64_t timeout_ns,
                                          tine_array **copy);

/**
 * tine_array_data - the elements of an array
 *
 * In:      array  an array
 * Out:     none
 * Shape:   count elements without gaps, aligned to 64; valid in the whole family until
 *          tine_array_close()
 * Units:   none
 * Returns: the first element; NULL: no array
 * Handle:  none
 * Give up: none
 * Blocks:  no
 * Safety:  thread any | process shared | fork child may call | signal yes
 * Death:   none
 * Source:  shm/array.c
 * Since:   0.1
 */
TINE_API void *tine_array_data(tine_array *array);

/**
 * tine_array_count - how many elements an array has
 *
 * In:      array  an array
 * Out:     none
 * Shape:   none
 * Units:   elements
 * Returns: the number; 0 also for what is no array
 * Handle:  none
 * Give up: none
 * Blocks:  no
 * Safety:  thread any | process shared | fork child may call | signal yes
 * Death:   none
 * Source:  shm/array.c; follows Python's len()
 * Since:   0.1
 */
TINE_API size_t tine_array_count(const tine_array *array);

/**
 * tine_array_lock - the lock of an array
 *
 * In:      array  an array
 * Out:     none
 * Shape:   none
 * Units:   none
 * Returns: its own lock or the one that it was given; NULL: it has none, or is no array
 * Handle:  none
 * Give up: none
 * Blocks:  no
 * Safety:  thread any | process shared | fork child may call | signal yes
 * Death:   as of any tine_rlock
 * Source:  shm/array.c; follows Python 3.13 SynchronizedBase.get_lock
 * Since:   0.1
 */
TINE_API tine_rlock *tine_array_lock(tine_array *array);

/**
 * tine_array_get_int - read one element
 *
 * In:      array   of type ? b B h H i I q Q
 *          index   of the element
 * Out:     number  what it is
 * Shape:   none
 * Units:   none
 * Returns: 0, or a negative code; *number is set only for 0
 * Handle:  -ERANGE (index is not below count, or a Q does not fit an int64_t)
 * Give up: -EINVAL (no array, or none of ? b B h H i I q Q; number is NULL)
 * Blocks:  no
 * Safety:  thread any | process shared | fork child may call | signal yes
 * Death:   none
 * Source:  shm/array.c; follows indexing of a Python Array; differs: without the lock
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_array_get_int(const tine_array *array, size_t index,
                                             int64_t *number);

/**
 * tine_array_set_int - set one element
 *
 * In:      array   of type ? b B h H i I q Q
 *          index   of the element
 *          number  what it shall be
 * Out:     none
 * Shape:   none
 * Units:   none
 * Returns: 0, or a negative code: nothing changed
 * Handle:  -ERANGE (index is not below count, or number does not fit the type)
 * Give up: -EINVAL (no array, or none of ? b B h H i I q Q)
 * Blocks:  no
 * Safety:  thread any | process shared | fork child may call | signal yes
 * Death:   it is as before, or set
 * Source:  shm/array.c; follows indexing of a Python Array; differs: without the lock
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_array_set_int(tine_array *array, size_t index, int64_t number);

/**
 * tine_array_get_uint - read one element
 *
 * In:      array   of type ? b B h H i I q Q
 *          index   of the element
 * Out:     number  what it is
 * Shape:   none
 * Units:   none
 * Returns: 0, or a negative code; *number is set only for 0
 * Handle:  -ERANGE (index is not below count, or the element is negative)
 * Give up: -EINVAL (no array, or none of ? b B h H i I q Q; number is NULL)
 * Blocks:  no
 * Safety:  thread any | process shared | fork child may call | signal yes
 * Death:   none
 * Source:  shm/array.c; follows indexing of a Python Array; differs: without the lock
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_array_get_uint(const tine_array *array, size_t index,
                                              uint64_t *number);

/**
 * tine_array_set_uint - set one element
 *
 * In:      array   of type ? b B h H i I q Q
 *          index   of the element
 *          number  what it shall be
 * Out:     none
 * Shape:   none
 * Units:   none
 * Returns: 0, or a negative code: nothing changed
 * Handle:  -ERANGE (index is not below count, or number does not fit the type)
 * Give up: -EINVAL (no array, or none of ? b B h H i I q Q)
 * Blocks:  no
 * Safety:  thread any | process shared | fork child may call | signal yes
 * Death:   it is as before, or set
 * Source:  shm/array.c; follows indexing of a Python Array; differs: without the lock
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_array_set_uint(tine_array *array, size_t index, uint64_t number);

/**
 * tine_array_get_double - read one element
 *
 * In:      array   of type f d
 *          index   of the element
 * Out:     number  what it is
 * Shape:   none
 * Units:   none
 * Returns: 0, or a negative code; *number is set only for 0
 * Handle:  -ERANGE (index is not below count)
 * Give up: -EINVAL (no array, or none of f d; number is NULL)
 * Blocks:  no
 * Safety:  thread any | process shared | fork child may call | signal yes
 * Death:   none
 * Source:  shm/array.c; follows indexing of a Python Array; differs: without the lock
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_array_get_double(const tine_array *array, size_t index,
                                                double *number);

/**
 * tine_array_set_double - set one element
 *
 * In:      array   of type f d
 *          index   of the element
 *          number  what it shall be
 * Out:     none
 * Shape:   none
 * Units:   none
 * Returns: 0, or a negative code: nothing changed
 * Handle:  -ERANGE (index is not below count, or number does not fit the type)
 * Give up: -EINVAL (no array, or none of f d)
 * Blocks:  no
 * Safety:  thread any | process shared | fork child may call | signal yes
 * Death:   it is as before, or set
 * Source:  shm/array.c; follows indexing of a Python Array; differs: without the lock
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_array_set_double(tine_array *array, size_t index, double number);

/**
 * tine_array_read - copy elements out of an array, under its lock
 *
 * In:      array       an array
 *          first       index of the first element
 *          count       how many
 *          timeout_ns  how long to wait for the lock
 * Out:     data        the elements
 * Shape:   count elements without gaps
 * Units:   timeout_ns nanoseconds (TINE_FOREVER, 0: try)
 * Returns: 0, or a negative code: *data is untouched
 * Handle:  -ERANGE (first + count is beyond the end), -ETIMEDOUT, -EAGAIN (another has the lock),
 *          -EOWNERDEAD: somebody died with it; the caller holds it now, as after
 *          tine_rlock_acquire(): repair, tine_rlock_recover(), call again, tine_rlock_release()
 * Give up: -EINVAL (no array, data is NULL), -ENOTRECOVERABLE (the lock is lost), -ENOLCK,
 *          -EOVERFLOW, -ENOMEM
 * Blocks:  yes, at most timeout_ns
 * Safety:  thread any | process shared | fork child may call | signal no
 * Death:   in this call: the next holder gets -EOWNERDEAD, though nothing has changed
 * Source:  shm/array.c; follows slices of a Python Array
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_array_read(tine_array *array, size_t first, size_t count,
                                          int64_t timeout_ns, void *data);

/**
 * tine_array_write - copy elements into an array, under its lock
 *
 * In:      array       an array
 *          first       index of the first element
 *          count       how many
 *          data        the elements
 *          timeout_ns  how long to wait for the lock
 * Out:     none
 * Shape:   count elements without gaps
 * Units:   timeout_ns nanoseconds (TINE_FOREVER, 0: try)
 * Returns: 0, or a negative code: nothing is written
 * Handle:  -ERANGE (first + count is beyond the end), -ETIMEDOUT, -EAGAIN (another has the lock),
 *          -EOWNERDEAD: somebody died with it; the caller holds it now, as after
 *          tine_rlock_acquire(): repair, tine_rlock_recover(), call again, tine_rlock_release()
 * Give up: -EINVAL (no array, data is NULL), -ENOTRECOVERABLE (the lock is lost), -ENOLCK,
 *          -EOVERFLOW, -ENOMEM
 * Blocks:  yes, at most timeout_ns
 * Safety:  thread any | process shared | fork child may call | signal no
 * Death:   in this call: some elements may be written, and the next holder gets -EOWNERDEAD
 * Source:  shm/array.c; follows assignment to slices of a Python Array
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_array_write(tine_array *array, size_t first, size_t count,
                                           const void *data, int64_t timeout_ns);

TINE_END_DECLS

#endif
