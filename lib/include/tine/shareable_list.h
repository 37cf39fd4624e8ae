/* SPDX-License-Identifier: MIT */
/*
 * Shareable list: a fixed number of numbers, strings, bytes and nones in a named segment, in the
 * layout of Python's multiprocessing.shared_memory.ShareableList.
 *
 *     create ──► get, set (any process that attached, tine's or Python's) ──► detach, unlink
 *
 *     tine_shareable_item items[] = {tine_shareable_str("GBP"), tine_shareable_float(1.17),
 *                                    tine_shareable_none()};
 *     tine_shareable_list *list;
 *     int rc = tine_shareable_list_create(&list, "rates", items, 3, NULL);
 *     ...
 *     rc = tine_shareable_list_set(list, 1, &(tine_shareable_item){...});
 *
 *     ShareableList(name="rates")[1]
 *
 * Length and room of each item are settled when the list is made: a number takes 8 bytes, a string
 * or bytes of n bytes 8 * (n / 8 + 1). Whatever fits into the room of an item may take its place,
 * of any type.
 *
 * Python loses what tine keeps. It drops NULs at the end of strings and bytes (gh-106939), and
 * reserves room for characters where it needs it for UTF-8 bytes (gh-145261), so that "€€€€" comes
 * back cut. tine reserves room for bytes, and says in the item's format how long a value is that
 * ends in NUL; Python reads such an item as it reads its own.
 *
 * Setting a number where a number of that type was is one atomic step. Anything else takes several:
 * guard it with a lock, as in Python, where others read or set meanwhile. An item whose writer was
 * killed in the midst of it reads as TINE_EFORMAT until it is set again, and no other item is
 * concerned. Without the lock a reader may find TINE_EFORMAT as well, or a string of which a part
 * is old.
 */
#ifndef TINE_SHAREABLE_LIST_H
#define TINE_SHAREABLE_LIST_H

#include <tine/base.h>
#include <tine/shm.h>

TINE_BEGIN_DECLS

typedef struct tine_shareable_list tine_shareable_list;
typedef struct tine_buffer tine_buffer; /* tine/codec.h */

/* The types of an item. */
enum {
    TINE_SHAREABLE_NONE,
    TINE_SHAREABLE_BOOL,
    TINE_SHAREABLE_INT,
    TINE_SHAREABLE_FLOAT,
    TINE_SHAREABLE_STR,
    TINE_SHAREABLE_BYTES,
};

typedef struct tine_shareable_item {
    int32_t type;      /* TINE_SHAREABLE_... */
    int32_t reserved;  /* must be zero */
    size_t size;       /* of a string or bytes, in bytes */
    union {
        bool boolean;
        int64_t integer;
        double number;
        const void *bytes; /* of a string, too: UTF-8, NULs allowed */
    } value;
} tine_shareable_item;

/* ---- items to be put into a list; strings and bytes are borrowed ----------------------------- */

static inline tine_shareable_item tine_shareable_none(void)
{
    tine_shareable_item item = {TINE_SHAREABLE_NONE, 0, 0, {false}};
    return item;
}

static inline tine_shareable_item tine_shareable_bool(bool value)
{
    tine_shareable_item item = {TINE_SHAREABLE_BOOL, 0, 0, {false}};
    item.value.boolean = value;
    return item;
}

static inline tine_shareable_item tine_shareable_int(int64_t value)
{
    tine_shareable_item item = {TINE_SHAREABLE_INT, 0, 0, {false}};
    item.value.integer = value;
    return item;
}

static inline tine_shareable_item tine_shareable_float(double value)
{
    tine_shareable_item item = {TINE_SHAREABLE_FLOAT, 0, 0, {false}};
    item.value.number = value;
    return item;
}

static inline tine_shareable_item tine_shareable_str(const char *value)
{
    tine_shareable_item item = {TINE_SHAREABLE_STR, 0, 0, {false}};
    item.value.bytes = value;
    while (value[item.size] != '\0')
        item.size++;
    return item;
}

static inline tine_shareable_item tine_shareable_bytes(const void *value, size_t size)
{
    tine_shareable_item item = {TINE_SHAREABLE_BYTES, 0, size, {false}};
    item.value.bytes = value;
    return item;
}

/**
 * tine_shareable_list_create - make a list in a segment of its own
 *
 * In:      name     as of tine_shm_create(); NULL: a generated one
 *          items    n of them, borrowed; NULL if n is 0
 *          n        how many
 *          options  as of tine_shm_create(), without .init; NULL for defaults
 * Out:     list     the list, attached, to be given back with tine_shareable_list_detach()
 * Shape:   n items in the order given
 * Units:   none
 * Returns: 0 made, 1 (with .exist_ok) attached to the list that was there, or a negative code;
 *          *list is set unless negative
 * Handle:  as of tine_shm_create(); TINE_EFORMAT (with .exist_ok: what is there is no such list);
 *          -EMSGSIZE (a string or bytes of 9,999,992 bytes or more, or of 1,000,000 or more that
 *          end in NUL: the layout has no room for their length)
 * Give up: as of tine_shm_create(); -EINVAL (unknown type, string that is no UTF-8, .init),
 *          -EOVERFLOW (too large in all)
 * Blocks:  no
 * Safety:  thread any | process owner | fork child may call | signal no
 * Death:   leaves the complete list under its name, or nothing
 * Source:  shm/shareable_list.c; follows Python 3.13 ShareableList(sequence, name=...); differs:
 *          room for strings is counted in bytes, NULs at the end are kept
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_shareable_list_create(tine_shareable_list **list, const char *name,
                                                     const tine_shareable_item *items, size_t n,
                                                     const tine_shm_options *options);

/**
 * tine_shareable_list_attach - map a list that exists, made by tine or Python
 *
 * In:      name     as of tine_shm_create()
 *          options  as of tine_shm_attach(); NULL for defaults
 * Out:     list     the list, to be given back with tine_shareable_list_detach()
 * Shape:   as it was made
 * Units:   none
 * Returns: 0, or a negative code; *list is set only for 0
 * Handle:  as of tine_shm_attach(); TINE_EFORMAT (no such list: Python's is one only when its
 *          creation is complete)
 * Give up: as of tine_shm_attach()
 * Blocks:  no
 * Safety:  thread any | process owner | fork child may call | signal no
 * Death:   none
 * Source:  shm/shareable_list.c; follows Python 3.13 ShareableList(name=...); differs: checks that
 *          all parts lie within the segment; see tine_shm_attach() for what an older Python does to
 *          the name
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_shareable_list_attach(tine_shareable_list **list, const char *name,
                                                     const tine_shm_options *options);

/**
 * tine_shareable_list_len - how many items a list has
 *
 * In:      list  attached
 * Out:     none
 * Shape:   none
 * Units:   items
 * Returns: the number, settled when the list was made; 0 for NULL
 * Handle:  none
 * Give up: none
 * Blocks:  no
 * Safety:  thread any | process owner | fork child may call | signal yes
 * Death:   none
 * Source:  shm/shareable_list.c; follows Python's len(list)
 * Since:   0.1
 */
TINE_API size_t tine_shareable_list_len(const tine_shareable_list *list);

/**
 * tine_shareable_list_get - read an item
 *
 * In:      list   attached
 *          index  0 ... tine_shareable_list_len() - 1
 *          bytes  where strings and bytes go: its content is replaced, also on failure; NULL if
 *                 none is expected
 * Out:     item   the item; its string or bytes lie in `bytes`, with a NUL behind, borrowed until
 *                 that buffer is used again or freed
 * Shape:   none
 * Units:   item.size bytes
 * Returns: 0, or a negative code; *item is set only for 0
 * Handle:  -ERANGE (no such index), TINE_EFORMAT (being set by another process, or its writer died,
 *          or Python cut a character in two)
 * Give up: -EINVAL (NULL; string or bytes without a buffer), -ENOMEM
 * Blocks:  no
 * Safety:  thread any, with a buffer each | process shared | fork child may call | signal no
 * Death:   an item whose writer was killed while setting it is TINE_EFORMAT until it is set again
 * Source:  shm/shareable_list.c; follows Python's list[index]; differs: no negative index
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_shareable_list_get(const tine_shareable_list *list, size_t index,
                                                  tine_buffer *bytes, tine_shareable_item *item);

/**
 * tine_shareable_list_set - change an item, and its type if you like
 *
 * In:      list   attached for reading and writing
 *          index  0 ... tine_shareable_list_len() - 1
 *          item   the new value, borrowed
 * Out:     none
 * Shape:   none
 * Units:   item.size bytes
 * Returns: 0, or a negative code: nothing has changed
 * Handle:  -ERANGE (no such index), -EMSGSIZE (more bytes than the item has room for, or see
 *          tine_shareable_list_create())
 * Give up: -EINVAL (NULL, unknown type, string that is no UTF-8), -EACCES (attached read-only),
 *          TINE_EFORMAT (the list's offsets are damaged)
 * Blocks:  no
 * Safety:  thread any | process shared; two writers of one item need a lock | fork child may call
 *          | signal no
 * Death:   the item is the old, the new, or TINE_EFORMAT until it is set again; a number in place
 *          of one of its type is the old or the new
 * Source:  shm/shareable_list.c; follows Python's list[index] = value
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_shareable_list_set(tine_shareable_list *list, size_t index,
                                                  const tine_shareable_item *item);

/**
 * tine_shareable_list_index - find the first item that equals a value
 *
 * In:      list   attached
 *          item   the value; numbers are equal across their types, as in Python
 * Out:     index  where it is
 * Shape:   none
 * Units:   none
 * Returns: 0, or a negative code; *index is set only for 0
 * Handle:  -ENOENT (there is none)
 * Give up: -EINVAL (NULL, unknown type), TINE_EFORMAT (an item on the way does not decode)
 * Blocks:  no
 * Safety:  thread any | process shared | fork child may call | signal no
 * Death:   none
 * Source:  shm/shareable_list.c; follows Python's list.index(value)
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_shareable_list_index(const tine_shareable_list *list,
                                                    const tine_shareable_item *item, size_t *index);

/**
 * tine_shareable_list_count - count the items that equal a value
 *
 * In:      list   attached
 *          item   the value; numbers are equal across their types, as in Python
 * Out:     count  how many there are
 * Shape:   none
 * Units:   items
 * Returns: 0, or a negative code; *count is set only for 0
 * Handle:  none
 * Give up: -EINVAL (NULL, unknown type), TINE_EFORMAT (an item does not decode)
 * Blocks:  no
 * Safety:  thread any | process shared | fork child may call | signal no
 * Death:   none
 * Source:  shm/shareable_list.c; follows Python's list.count(value)
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_shareable_list_count(const tine_shareable_list *list,
                                                    const tine_shareable_item *item, size_t *count);

/**
 * tine_shareable_list_shm - the segment that a list lies in, for its name and to unlink it
 *
 * In:      list  attached
 * Out:     none
 * Shape:   none
 * Units:   none
 * Returns: the segment, borrowed until tine_shareable_list_detach(); NULL for NULL
 * Handle:  none
 * Give up: none
 * Blocks:  no
 * Safety:  thread any | process owner | fork child may call | signal yes
 * Death:   none
 * Source:  shm/shareable_list.c; follows Python 3.13 ShareableList.shm
 * Since:   0.1
 */
TINE_API tine_shm *tine_shareable_list_shm(const tine_shareable_list *list);

/**
 * tine_shareable_list_detach - give this process's mapping of a list back, and the handle
 *
 * In:      list  attached, given unless -EBUSY; NULL is ignored
 * Out:     none
 * Shape:   none
 * Units:   none
 * Returns: 0, or a negative code
 * Handle:  -EBUSY as of tine_shm_detach()
 * Give up: none
 * Blocks:  no
 * Safety:  thread one | process owner | fork child may call; the parent keeps its own | signal no
 * Death:   none
 * Source:  shm/shareable_list.c
 * Since:   0.1
 */
TINE_API TINE_CHECKED int tine_shareable_list_detach(tine_shareable_list *list);

TINE_END_DECLS

#endif
