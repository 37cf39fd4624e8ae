/* SPDX-License-Identifier: MIT */
/*
 * Codec: C values to msgpack bytes and back.
 *
 *     tine_buffer buffer = {0};
 *     int rc = tine_pack(&buffer, "[qsd]", (int64_t)7, "seven", 7.0);
 *     ...
 *     int64_t i;
 *     char *text;
 *     double x;
 *     rc = tine_unpack(buffer.data, buffer.size, "[qsd]", &i, &text, &x);
 *     if (rc == 0)
 *         free(text);
 *     tine_buffer_free(&buffer);
 *
 * A format holds one letter a value (spaces are skipped). Packing takes the C type in the third
 * column, after C's own promotions; unpacking takes a pointer to it. No conversion happens on the
 * way: an int given for `q` must be cast to int64_t, as everywhere in variadic C.
 *
 *     ?           bool           bool
 *     b B h H     8 and 16 bits  int8_t uint8_t int16_t uint16_t
 *     i I q Q     32 and 64 bits int32_t uint32_t int64_t uint64_t
 *     f d         floating       float double
 *     s           string         const char *; unpacking: char ** (see below)
 *     y           bytes          const void *, size_t; unpacking: const void **, size_t *
 *     v           packed value   const void *, size_t; unpacking: const void **, size_t *
 *     n           nil            nothing
 *     aT          C array        const T *, size_t; unpacking: const void **, size_t *; T one of
 *                                bBhHiIqQfd; the count is in elements
 *     p           pointer into the family heap, or NULL: const void *; unpacking: void **
 *     c           function, or NULL: tine_any_function *; unpacking: tine_any_function **; taken out
 *                                only of what comes from the family (see below)
 *     F           descriptor     int; only in the arguments of tine_pool_apply(),
 *                                tine_pool_submit() and tine_process_start(), in tine_args(),
 *                                through a pipe, and through a connection of a listener on a unix
 *                                socket
 *     oc          connection, or NULL: tine_connection *; unpacking: tine_connection **; where
 *                                `F` may be, but within the family
 *     oq          queue, or NULL: tine_queue *; unpacking: tine_queue **; likewise
 *     [...]       array          the values inside
 *     {...}       map            key, value, key, value, ...
 *
 * Unpacking is all or nothing: the bytes are checked against the whole format first, and outputs
 * are written only when everything fits. An output pointer may be NULL: the value is then checked
 * and dropped. A number fits when its value does, whatever its width on the wire; floating letters
 * also take integers that they hold exactly, `f` rounds.
 *
 * What `y`, `v` and `a` give points into the input and lives as long as it. `s` cannot: a msgpack
 * string has no byte behind it that could be NUL, and the input is not ours to write. So `s` gives
 * a NUL-terminated copy, the caller's to free(), and refuses strings with a NUL inside. Where the
 * copy is too much or NULs are welcome, `y` takes strings as well as bytes. Elements that `a` gives
 * lie where the message put them, not aligned for their type: memcpy() them out, or be sure.
 *
 * A function travels as the id of its object file and its place there, so static ones do as well,
 * and nobody registers any; it arrives wherever that same build is loaded, at whatever address. `c`
 * takes every type of function, by a cast to tine_any_function * and, to be called, back to its
 * own:
 *
 *     int rc = tine_pool_apply(&results, pool, task, NULL, "cq", (tine_any_function *)square, n);
 *     ...
 *     rc = tine_args(call, "cq", &any, &n);
 *     if (rc == 0)
 *         rc = tine_return(call, "q", ((int64_t(*)(int64_t))any)(n));
 *
 * Bytes that name a function are a wish to have it called, so only they are believed that cannot be
 * from outside the family: arguments and results of tasks, items of queues, messages of pipes.
 * tine_unpack() knows nothing of where its bytes are from and takes no `c`.
 */
#ifndef TINE_CODEC_H
#define TINE_CODEC_H

#include <stdarg.h>

#include <tine/base.h>

TINE_BEGIN_DECLS

/* Bytes that grow. All zero is an empty one; data[0 .. size) are the bytes, owned by the buffer. */
typedef struct tine_buffer {
    uint8_t *data;
    size_t size;
    size_t capacity;
    uint64_t reserved; /* 0 */
} tine_buffer;

/* What a decoder accepts before it looks closer. Zero in a field is the default. */
typedef struct tine_limits {
    uint32_t depth;       /* arrays and maps inside each other: 32; at most TINE_DEPTH_MAX */
    uint32_t flags;       /* 0 */
    uint64_t elements;    /* values in all, keys included: 65,536; UINT64_MAX: any number */
    uint64_t bytes;       /* 64 MiB; UINT64_MAX: any number */
    uint64_t reserved[5]; /* 0 */
} tine_limits;

enum {
    TINE_DEPTH_MAX = 64,
};

/* Any function, as void is any object: for `c`, to be cast back before it is called. */
typedef void tine_any_function(void);

/**
 * tine_buffer_free - give the memory of a buffer back; it is empty afterwards and can be used again
 *
 * In:      buffer  any buffer, or NULL
 * Out:     none
 * Shape:   none
 * Units:   none
 * Returns: none
 * Handle:  none
 * Give up: none
 * Blocks:  no
 * Safety:  thread one | process owner | fork child may call | signal no
 * Death:   none
 * Source:  lib/buffer.c
 * Since:   0.1
 */
TINE_API void tine_buffer_free(tine_buffer *buffer);

/**
 * tine_buffer_clear - empty a buffer and keep its memory for the next use
 *
 * In:      buffer  any buffer
 * Out:     none
 * Shape:   none
 * Units:   none
 * Returns: none
 * Handle:  none
 * Give up: none
 * Blocks:  no
 * Safety:  thread one | process owner | fork child may call | signal no
 * Death:   none
 * Source:  lib/buffer.c
 * Since:   0.1
 */
TINE_API void tine_buffer_clear(tine_buffer *buffer);

/**
 * tine_pack - append values to a buffer as msgpack
 *
 * In:      out     a buffer; its bytes stay, the values come behind them
 *          format  letters, see the top of this header; values outside brackets follow each other
 *          ...     what the letters take; nothing may point into the buffer itself
 * Out:     out     the values appended; on failure the bytes are as before
 * Shape:   any number of values, each in msgpack's shortest form; `aT` is one bin of count *
 *          sizeof(T) bytes, little-endian
 * Units:   sizes in bytes, counts of `aT` in elements
 * Returns: 0, or a negative code
 * Handle:  -ERANGE (a number too large for its letter)
 * Give up: -EINVAL (bad format, `F`, `o`; NULL for `s`, or for `y v a` with a size; `p` outside the
 *          family heap; `c` that is no code of a loaded object file; buffer not initialised),
 *          -EOVERFLOW (one string, bytes or array beyond 4 GiB), -ENOMEM, TINE_EFORMAT (`v` is not
 *          exactly one msgpack value), -ELOOP (brackets nested deeper than 32)
 * Blocks:  no
 * Safety:  thread one | process owner | fork child may call | signal no
 * Death:   none
 * Source:  lib/pack.c; letters follow Python's struct and array; bytes follow the msgpack
 *          specification
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_pack(tine_buffer *out, const char *format, ...);

/**
 * tine_vpack - tine_pack with a va_list
 *
 * In:      out     a buffer; its bytes stay, the values come behind them
 *          format  letters, see the top of this header
 *          args    what the letters take; indeterminate afterwards, as for vprintf
 * Out:     out     the values appended; on failure the bytes are as before
 * Shape:   as tine_pack
 * Units:   as tine_pack
 * Returns: 0, or a negative code
 * Handle:  -ERANGE
 * Give up: -EINVAL, -EOVERFLOW, -ENOMEM, TINE_EFORMAT, -ELOOP; see tine_pack
 * Blocks:  no
 * Safety:  thread one | process owner | fork child may call | signal no
 * Death:   none
 * Source:  lib/pack.c
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_vpack(tine_buffer *out, const char *format, va_list args);

/**
 * tine_unpack - take values out of msgpack bytes
 *
 * In:      bytes   the values, from anywhere; nothing is trusted
 *          size    how many bytes; the format has to use up all of them
 *          format  letters, see the top of this header
 * Out:     ...     pointers that the letters name, or NULL; written only when the call returns 0
 * Shape:   outputs in the order of the letters; `y v a p` borrowed from bytes, `s` the caller's to
 *          free()
 * Units:   sizes in bytes, counts of `aT` in elements
 * Returns: 0, or a negative code: that of the first letter that does not fit
 * Handle:  TINE_EFORMAT (no msgpack, another type or count than the format's, bytes left over or
 *          too few, a NUL inside an `s`, an array whose size is no multiple of its element's, a `p`
 *          outside the heap), -ERANGE (a number too large for its letter)
 * Give up: -EINVAL (bad format, `c`, `F`, `o`), -ENOMEM (copies of `s`), -ELOOP (brackets nested
 *          deeper than 32)
 * Blocks:  no
 * Safety:  thread any | process shared | fork child may call | signal no
 * Death:   none
 * Source:  lib/unpack.c; accepts every form the msgpack specification allows for a value
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_unpack(const void *bytes, size_t size, const char *format, ...);

/**
 * tine_vunpack - tine_unpack with a va_list
 *
 * In:      bytes   the values, from anywhere; nothing is trusted
 *          size    how many bytes; the format has to use up all of them
 *          format  letters, see the top of this header
 * Out:     args    pointers that the letters name, or NULL; written only when the call returns 0
 * Shape:   as tine_unpack
 * Units:   as tine_unpack
 * Returns: 0, or a negative code: that of the first letter that does not fit
 * Handle:  TINE_EFORMAT, -ERANGE; see tine_unpack
 * Give up: -EINVAL, -ENOMEM, -ELOOP; see tine_unpack
 * Blocks:  no
 * Safety:  thread any | process shared | fork child may call | signal no
 * Death:   none
 * Source:  lib/unpack.c
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_vunpack(const void *bytes, size_t size, const char *format,
                                       va_list args);

/**
 * tine_pickle - append one packed value in an envelope that can be stored or sent anywhere
 *
 * In:      out    a buffer; its bytes stay, the pickle comes behind them
 *          value  one msgpack value, not inside out
 *          size   its size
 * Out:     out    48 bytes and the value appended; on failure the bytes are as before
 * Shape:   envelope as doc/wire.md has it: magic, version, length, BLAKE2b-256 over all of it and
 *          the value
 * Units:   size in bytes
 * Returns: 0, or a negative code
 * Handle:  none
 * Give up: TINE_EFORMAT (not exactly one msgpack value), -ENOMEM, -EINVAL (buffer not initialised)
 * Blocks:  no
 * Safety:  thread one | process owner | fork child may call | signal no
 * Death:   none
 * Source:  lib/pickle.c; the place of Python's pickle.dumps; differs: data only, never code
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_pickle(tine_buffer *out, const void *value, size_t size);

/**
 * tine_unpickle - check an envelope and what is in it, and find the value
 *
 * In:      bytes   a whole pickle, from anywhere; nothing is trusted
 *          size    its size
 *          limits  for the value, or NULL for the defaults
 * Out:     value       the packed value, for tine_unpack or tine_reader_init
 *          value_size  its size
 * Shape:   value borrowed from bytes
 * Units:   sizes in bytes
 * Returns: 0, or a negative code
 * Handle:  -EBADMSG (cut short), TINE_ECHECKSUM (damaged), TINE_EFORMAT (no pickle, more bytes than
 *          it has, value malformed or beyond a limit), -EPROTO (made by another version)
 * Give up: -EINVAL (NULL, depth beyond TINE_DEPTH_MAX), -E2BIG (limits newer than this library)
 * Blocks:  no
 * Safety:  thread any | process shared | fork child may call | signal no
 * Death:   none
 * Source:  lib/pickle.c; the place of Python's pickle.loads; differs: hostile bytes are harmless
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_unpickle(const void *bytes, size_t size, const tine_limits *limits,
                                        const void **value, size_t *value_size);

/*
 * Reader: walks values whose shape is not known beforehand, in the order in which they lie.
 *
 *     tine_reader reader;
 *     const char *key;
 *     size_t count, length;
 *     int rc = tine_reader_init(&reader, bytes, size, NULL);
 *
 *     tine_reader_map(&reader, &count);
 *     for (size_t i = 0; i < count && tine_reader_string(&reader, &key, &length) == 0; i++)
 *         tine_reader_skip(&reader);
 *     tine_reader_leave(&reader);
 *     rc = tine_reader_error(&reader);
 *
 * The first failure sticks: later calls do nothing and return it, so it can be looked at once, at
 * the end. Outputs of a failed call are not written. Nothing is allocated and nothing has to be
 * freed; the bytes must stay while the reader and what it handed out are in use.
 */

/* What comes next; tine_reader_type. */
enum {
    TINE_TYPE_END = 0, /* of the innermost array or map, or of the bytes */
    TINE_TYPE_NIL = 1,
    TINE_TYPE_BOOL = 2,
    TINE_TYPE_INT = 3, /* of any width and sign */
    TINE_TYPE_FLOAT = 4,
    TINE_TYPE_STRING = 5,
    TINE_TYPE_BYTES = 6,
    TINE_TYPE_EXT = 7,
    TINE_TYPE_ARRAY = 8,
    TINE_TYPE_MAP = 9,
};

/* The fields are the reader's own. */
typedef struct tine_reader {
    const uint8_t *at;
    const uint8_t *end;
    int32_t error;
    uint32_t depth;
    uint64_t left[1 + TINE_DEPTH_MAX]; /* values still to come, in each array and map around */
} tine_reader;

/**
 * tine_reader_init - start to read values from bytes
 *
 * In:      bytes   values behind one another, from anywhere; nothing is trusted; kept while the
 *                  reader is used
 *          size    their size; 0 is no value
 *          limits  for all values together, or NULL for the defaults
 * Out:     reader  stands before the first value; after a failure every call returns
 *                  its code
 * Shape:   memory of the caller's, at any address; nothing to release
 * Units:   size in bytes
 * Returns: 0, or a negative code, which sticks
 * Handle:  TINE_EFORMAT (no msgpack, cut short, beyond a limit)
 * Give up: -EINVAL (NULL, depth beyond TINE_DEPTH_MAX), -E2BIG (limits newer than this library)
 * Blocks:  no
 * Safety:  thread one | process owner | fork child may call | signal yes
 * Death:   none
 * Source:  lib/reader.c; all bytes are checked here, once
 * Since:   0.1
 */
TINE_API int tine_reader_init(tine_reader *reader, const void *bytes, size_t size,
                              const tine_limits *limits);

/**
 * tine_reader_type - the type of the next value
 *
 * In:      reader  initialised
 * Out:     none
 * Shape:   none
 * Units:   none
 * Returns: TINE_TYPE_..., TINE_TYPE_END behind the last value, or the negative code that sticks
 * Handle:  none
 * Give up: the code that sticks
 * Blocks:  no
 * Safety:  thread one | process owner | fork child may call | signal yes
 * Death:   none
 * Source:  lib/reader.c
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_reader_type(const tine_reader *reader);

/**
 * tine_reader_error - the failure that sticks
 *
 * In:      reader  initialised, or failed to be
 * Out:     none
 * Shape:   none
 * Units:   none
 * Returns: 0, or the code of the first call that failed
 * Handle:  none
 * Give up: none
 * Blocks:  no
 * Safety:  thread one | process owner | fork child may call | signal yes
 * Death:   none
 * Source:  lib/reader.c
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_reader_error(const tine_reader *reader);

/**
 * tine_reader_nil - take a nil
 *
 * In:      reader  initialised
 * Out:     none
 * Shape:   none
 * Units:   none
 * Returns: 0, or a negative code, which sticks
 * Handle:  TINE_EFORMAT (another type, or no value left)
 * Give up: the code that sticks
 * Blocks:  no
 * Safety:  thread one | process owner | fork child may call | signal yes
 * Death:   none
 * Source:  lib/reader.c
 * Since:   0.1
 */
TINE_API int tine_reader_nil(tine_reader *reader);

/**
 * tine_reader_bool - take a bool
 *
 * In:      reader  initialised
 * Out:     value  true or false
 * Shape:   none
 * Units:   none
 * Returns: 0, or a negative code, which sticks
 * Handle:  TINE_EFORMAT (another type, or no value left)
 * Give up: the code that sticks
 * Blocks:  no
 * Safety:  thread one | process owner | fork child may call | signal yes
 * Death:   none
 * Source:  lib/reader.c
 * Since:   0.1
 */
TINE_API int tine_reader_bool(tine_reader *reader, bool *value);

/**
 * tine_reader_int - take an integer that fits int64_t
 *
 * In:      reader  initialised
 * Out:     value  the number
 * Shape:   none
 * Units:   none
 * Returns: 0, or a negative code, which sticks
 * Handle:  TINE_EFORMAT (another type, or no value left), -ERANGE
 * Give up: the code that sticks
 * Blocks:  no
 * Safety:  thread one | process owner | fork child may call | signal yes
 * Death:   none
 * Source:  lib/reader.c
 * Since:   0.1
 */
TINE_API int tine_reader_int(tine_reader *reader, int64_t *value);

/**
 * tine_reader_uint - take an integer that fits uint64_t
 *
 * In:      reader  initialised
 * Out:     value  the number
 * Shape:   none
 * Units:   none
 * Returns: 0, or a negative code, which sticks
 * Handle:  TINE_EFORMAT (another type, or no value left), -ERANGE (negative)
 * Give up: the code that sticks
 * Blocks:  no
 * Safety:  thread one | process owner | fork child may call | signal yes
 * Death:   none
 * Source:  lib/reader.c
 * Since:   0.1
 */
TINE_API int tine_reader_uint(tine_reader *reader, uint64_t *value);

/**
 * tine_reader_double - take a floating number, or an integer that a double holds exactly
 *
 * In:      reader  initialised
 * Out:     value  the number
 * Shape:   none
 * Units:   none
 * Returns: 0, or a negative code, which sticks
 * Handle:  TINE_EFORMAT (another type, or no value left), -ERANGE
 * Give up: the code that sticks
 * Blocks:  no
 * Safety:  thread one | process owner | fork child may call | signal yes
 * Death:   none
 * Source:  lib/reader.c
 * Since:   0.1
 */
TINE_API int tine_reader_double(tine_reader *reader, double *value);

/**
 * tine_reader_string - take a string
 *
 * In:      reader  initialised
 * Out:     text    not NUL-terminated; may hold NULs; UTF-8 by convention, not checked
 *          length  its length
 * Shape:   borrowed from the bytes
 * Units:   length in bytes
 * Returns: 0, or a negative code, which sticks
 * Handle:  TINE_EFORMAT (another type, or no value left)
 * Give up: the code that sticks
 * Blocks:  no
 * Safety:  thread one | process owner | fork child may call | signal yes
 * Death:   none
 * Source:  lib/reader.c
 * Since:   0.1
 */
TINE_API int tine_reader_string(tine_reader *reader, const char **text, size_t *length);

/**
 * tine_reader_bytes - take bytes
 *
 * In:      reader  initialised
 * Out:     bytes  the content
 *          size   its size
 * Shape:   borrowed from the bytes, not aligned
 * Units:   size in bytes
 * Returns: 0, or a negative code, which sticks
 * Handle:  TINE_EFORMAT (another type, or no value left)
 * Give up: the code that sticks
 * Blocks:  no
 * Safety:  thread one | process owner | fork child may call | signal yes
 * Death:   none
 * Source:  lib/reader.c
 * Since:   0.1
 */
TINE_API int tine_reader_bytes(tine_reader *reader, const void **bytes, size_t *size);

/**
 * tine_reader_ext - take a value of an extension type
 *
 * In:      reader  initialised
 * Out:     type   its number; negative ones are msgpack's own, see doc/wire.md for tine's
 *          bytes  the content
 *          size   its size
 * Shape:   borrowed from the bytes, not aligned
 * Units:   size in bytes
 * Returns: 0, or a negative code, which sticks
 * Handle:  TINE_EFORMAT (another type, or no value left)
 * Give up: the code that sticks
 * Blocks:  no
 * Safety:  thread one | process owner | fork child may call | signal yes
 * Death:   none
 * Source:  lib/reader.c
 * Since:   0.1
 */
TINE_API int tine_reader_ext(tine_reader *reader, int *type, const void **bytes, size_t *size);

/**
 * tine_reader_array - enter an array
 *
 * In:      reader  initialised
 * Out:     count  its values, which come next; then tine_reader_leave
 * Shape:   none
 * Units:   count in values
 * Returns: 0, or a negative code, which sticks
 * Handle:  TINE_EFORMAT (another type, or no value left)
 * Give up: the code that sticks
 * Blocks:  no
 * Safety:  thread one | process owner | fork child may call | signal yes
 * Death:   none
 * Source:  lib/reader.c
 * Since:   0.1
 */
TINE_API int tine_reader_array(tine_reader *reader, size_t *count);

/**
 * tine_reader_map - enter a map
 *
 * In:      reader  initialised
 * Out:     count  its pairs: key, value, key, value come next; then tine_reader_leave
 * Shape:   keys may be of any type and may repeat
 * Units:   count in pairs
 * Returns: 0, or a negative code, which sticks
 * Handle:  TINE_EFORMAT (another type, or no value left)
 * Give up: the code that sticks
 * Blocks:  no
 * Safety:  thread one | process owner | fork child may call | signal yes
 * Death:   none
 * Source:  lib/reader.c
 * Since:   0.1
 */
TINE_API int tine_reader_map(tine_reader *reader, size_t *count);

/**
 * tine_reader_leave - leave the innermost array or map; what was not read of it is skipped
 *
 * In:      reader  initialised
 * Out:     none
 * Shape:   none
 * Units:   none
 * Returns: 0, or a negative code, which sticks
 * Handle:  TINE_EFORMAT (in no array or map)
 * Give up: the code that sticks
 * Blocks:  no
 * Safety:  thread one | process owner | fork child may call | signal yes
 * Death:   none
 * Source:  lib/reader.c
 * Since:   0.1
 */
TINE_API int tine_reader_leave(tine_reader *reader);

/**
 * tine_reader_skip - skip one value with everything in it
 *
 * In:      reader  initialised
 * Out:     none
 * Shape:   none
 * Units:   none
 * Returns: 0, or a negative code, which sticks
 * Handle:  TINE_EFORMAT (no value left)
 * Give up: the code that sticks
 * Blocks:  no
 * Safety:  thread one | process owner | fork child may call | signal yes
 * Death:   none
 * Source:  lib/reader.c
 * Since:   0.1
 */
TINE_API int tine_reader_skip(tine_reader *reader);

/**
 * tine_reader_value - take one value, of any type, packed
 *
 * In:      reader  initialised
 * Out:     bytes  the packed value
 *          size   its size
 * Shape:   borrowed from the bytes; for tine_unpack, `v` of tine_pack, or a further reader
 * Units:   size in bytes
 * Returns: 0, or a negative code, which sticks
 * Handle:  TINE_EFORMAT (no value left)
 * Give up: the code that sticks
 * Blocks:  no
 * Safety:  thread one | process owner | fork child may call | signal yes
 * Death:   none
 * Source:  lib/reader.c
 * Since:   0.1
 */
TINE_API int tine_reader_value(tine_reader *reader, const void **bytes, size_t *size);

TINE_END_DECLS

#endif
