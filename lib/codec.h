/* SPDX-License-Identifier: MIT */
/* What the rest of the library needs of the codec beyond tine/codec.h. */
#ifndef TINE_LIB_CODEC_H
#define TINE_LIB_CODEC_H

#include <stdbool.h>

#include <tine/codec.h>

enum {
    TINE__FORMAT_DEPTH = 32, /* brackets inside each other in one format */
    /* ext types, of 8 bytes unless a struct is named; doc/wire.md */
    TINE__EXT_POINTER = 1,    /* `p`: offset into the family heap */
    TINE__EXT_DESCRIPTOR = 2, /* `F`: number under which a pool's nursery keeps it */
    TINE__EXT_FUNCTION = 3,   /* `c`: struct tine__function_wire, lib/function.h */
    TINE__EXT_HANDLE = 4,     /* `o`: struct tine__handle_wire, lib/handle.h */
};

/* Makes room for `more` bytes behind those there. 0, -ENOMEM, -EINVAL (not initialised). */
int tine__buffer_reserve(tine_buffer *buffer, size_t more);

/* A buffer in memory that is lent to it, as that of an array on the stack; when it must grow, it is
   one on the C heap. It may not be given to the user. */
#define TINE__BUFFER_LENT UINT64_C(0x746e656c72656662)

static inline tine_buffer tine__buffer_lent(void *bytes, size_t size)
{
    return (tine_buffer){.data = bytes, .capacity = size, .reserved = TINE__BUFFER_LENT};
}

/* For sure; false: tine__buffer_reserve knows. */
static inline bool tine__buffer_has_room(const tine_buffer *buffer, size_t more)
{
    return buffer != NULL && buffer->data != NULL &&
           (buffer->reserved == 0 || buffer->reserved == TINE__BUFFER_LENT) &&
           buffer->size <= buffer->capacity && buffer->capacity - buffer->size >= more;
}

/* Bytes of one element of `a` followed by this letter; 0: no such array. */
size_t tine__letter_width(char letter);

/* ---- check of bytes that come from somewhere; iterative, allocates nothing ------------------- */

/*
 * The size of the first value in bytes; more may follow. 0, TINE_EFORMAT (none, cut short, beyond a
 * limit), -EINVAL or -E2BIG (bad limits). limits NULL: the defaults.
 */
int tine__value_size(const void *bytes, size_t size, const tine_limits *limits, size_t *value_size);

/* Is this one value, the whole of it, with nothing in it that only the family can mean
   (TINE__EXT_…)? */
bool tine__value_is_plain(const void *bytes, size_t size);

/* All of bytes is values, one behind the other: how many. Limits hold for them together. */
int tine__prescan(const void *bytes, size_t size, const tine_limits *limits, size_t *values);

/* The byte limit in force. */
uint64_t tine__limits_bytes(const tine_limits *limits);

/* For bytes whose counts nobody allocates from: depth TINE_DEPTH_MAX, else no limit. */
extern const tine_limits tine__limits_depth_only;

/* ---- with more choice than the public forms -------------------------------------------------- */

/*
 * `F`: descriptors travel beside the bytes, which hold numbers for them; and `o`, handles of which
 * they are parts (lib/handle.h). Who can send and fetch them passes this, in front of what it needs
 * for it; anywhere else both are -EINVAL.
 *
 * keep    packing: fd, still the caller's, is to travel under a number
 * fetch   unpacking: the descriptor with this number, for the user; in the first of two passes it
 *         may be refused, in the second (storing) it is the same
 * borrow  likewise, but it stays the context's
 */
struct tine__descriptors {
    int (*keep)(struct tine__descriptors *self, int fd, uint64_t *number);
    int (*fetch)(struct tine__descriptors *self, uint64_t number, int *fd);
    int (*borrow)(struct tine__descriptors *self, uint64_t number, int *fd);
    const struct tine__handle_kind *const *handle_kinds; /* ends with NULL; NULL: no `o` */
    struct tine__taken *taken;                           /* handles that were unpacked */
    bool storing;
};

/*
 * What the one who unpacks allows and takes over. Copies of `s` are a handle's, so that its users
 * need not free them, or given away.
 *
 * `c` is packed everywhere, for it is data; a function comes out of it only where `family` says
 * that the bytes cannot be from outside: task arguments and results, queues, connections within the
 * family. Never what came through a listener or rpc.
 *
 *     struct tine__texts texts = {.family = true, .given_away = true};
 *     rc = tine__vunpack(bytes, size, format, false, args, &texts);
 */
struct tine__texts {
    struct tine__text *first;
    struct tine__descriptors *descriptors; /* that it can fetch, or NULL */
    bool family;                           /* `c` is allowed */
    bool given_away; /* copies are the caller's to free(), and `first` stays NULL */
};
void tine__texts_free(struct tine__texts *texts);
/* Who frees the copies: a handle, or (false) the caller? */
static inline bool tine__texts_owned(const struct tine__texts *texts)
{
    return texts != NULL && !texts->given_away;
}
void tine__texts_move(struct tine__texts *from, struct tine__texts *to);
/* A copy with a NUL behind it, owned by texts, or with NULL to be given to free(). NULL: no
   memory. */
char *tine__text_copy(const void *bytes, size_t length, struct tine__texts *texts);

/*
 * A va_list to be passed on and used up. Filled by va_start and never copied: right after a
 * va_start a copy costs as much as packing a number.
 */
struct tine__arguments {
    va_list list;
    struct tine__descriptors *descriptors; /* NULL: no `F` here */
};

/*
 * tuple: the value is one array (arguments of a task), whose items the format names without
 * brackets. texts: `s` gives copies that live until tine__texts_free, unless they are given away;
 * NULL: the caller's to free(), no `F`, no `c`.
 */
int tine__pack(tine_buffer *out, const char *format, bool tuple, struct tine__arguments *args);
int tine__vunpack(const void *bytes, size_t size, const char *format, bool tuple, va_list args,
                  struct tine__texts *texts);
/* The same without the short way (lib/unpack_short.c). */
int tine__vunpack_anything(const void *bytes, size_t size, const char *format, bool tuple,
                           va_list args, struct tine__texts *texts);
/* tine_vunpack, of bytes that come from inside the family. */
int tine__vunpack_family(const void *bytes, size_t size, const char *format, va_list args);

/* ---- `p`: the heap registers itself, because lib knows nothing of it ------------------------- */

struct tine__pointers {
    int (*offset_of)(const void *pointer, uint64_t *offset); /* negative: not in the heap */
    int (*pointer_at)(uint64_t offset, void **pointer);
};

/* hooks live for ever; until called, `p` takes only NULL */
void tine__codec_set_pointers(const struct tine__pointers *hooks);
const struct tine__pointers *tine__codec_pointers(void);

#endif
