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
 * sizeof(T) bytes, little-endian Units:   sizes in bytes, counts of `aT` in elements Returns: 0, or
 * a negative code Handle:  -ERANGE (a number too large for its letter) Give up: -EINVAL (bad
 * format; NULL for `s`, or for `y v a` with a size; `p` outside the family heap; buffer not
 * initialised), -EOVERFLOW (one string, bytes or array beyond 4 GiB), -ENOMEM, TINE_EFORMAT (`v` is
 * not exactly one msgpack value), -ELOOP (brackets nested deeper than 32) Blocks:  no Safety:
 * thread one | process owner | fork child may call | signal no Death:   none Source:  lib/pack.c;
 * letters follow Python's struct and array; bytes follow the msgpack specification Since:   0.1
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
 * free() Units:   sizes in bytes, counts of `aT` in elements Returns: 0, or a negative code: that
 * of the first letter that does not fit Handle:  TINE_EFORMAT (no msgpack, another type or count
 * than the format's, bytes left over or too few, a NUL inside an `s`, an array whose size is no
 * multiple of its element's, a `p` outside the heap), -ERANGE (a number too large for its letter)
 * Give up: -EINVAL (bad format), -ENOMEM (copies of `s`), -ELOOP (brackets nested deeper than 32)
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

TINE_END_DECLS

#endif
