/* SPDX-License-Identifier: MIT */
/*
 * Python's ShareableList, byte for byte; the layout is in doc/shm-layout.md.
 *
 *     n │ offsets[n + 1] │ slots │ formats[n], 8 bytes each │ codes[n], 1 byte each
 *
 * field    written by        read by  order
 * n        creator           all      once, at attach
 * offsets  creator           all      each time, and checked: who can write can lie
 * slot     creator, setters  all      between two stores of the format, or one atomic store
 * format   creator, setters  all      0 (being set), then the new: release; acquire in look()
 * code     creator, setters  all      as the slot
 *
 * A format is a format of Python's struct. "16s" is what Python writes for a string in a slot of
 * 16 bytes, filled up with NULs, and says nothing about how many of them are the value's. tine
 * writes the same unless the value ends in NUL; then the exact length, and a space, which struct
 * skips: "3s ". Python assigns to an item with its old format as long as that ends in "s" and would
 * cut a longer value to 3 bytes; the space makes it write a new format.
 *
 * The handle is private: counts copied at attach and checked against the segment. All else is read
 * from the segment with every access checked, so no content can lead outside.
 */
#include <tine/shareable_list.h>

#include <tine/error.h>

#include <errno.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "lib/checked.h"
#include "lib/codec.h"
#include "shm/segment.h"

#define WORD         ((size_t)8)
#define SLOT_MAX     ((size_t)9999992) /* the largest multiple of 8 for "%ds" in 8 bytes */
#define EXACT_MAX    ((size_t)999999)  /* the largest number for "%ds " in 8 bytes */
#define ITEM_BYTES   ((size_t)17)      /* offset, format and code */
#define FORMAT_INT   "q\0\0\0\0\0\0"
#define FORMAT_FLOAT "d\0\0\0\0\0\0"
#define FORMAT_BOOL  "xxxxxxx?"
#define FORMAT_NONE  "xxxxxx?x"

enum code { CODE_NUMBER, CODE_STR, CODE_BYTES, CODE_NONE };

_Static_assert(sizeof(tine_shareable_item) == 24, "its size never changes");
_Static_assert(sizeof(_Atomic uint64_t) == WORD, "a word in the segment");

struct tine_shareable_list {
    tine_shm *shm;
    size_t n;
    size_t slots_at, slots_bytes;
    size_t formats_at, codes_at;
};

/* Where an item is: all of it within the segment, the slot aligned to 8. */
struct place {
    char *slot;
    size_t room;
    _Atomic uint64_t *format;
    _Atomic int8_t *code;
};

/* An item as its format says, still in the segment. */
struct view {
    int32_t type;
    const char *slot;
    size_t size;
};

static uint64_t word_of(const char characters[static 8])
{
    uint64_t word;

    memcpy(&word, characters, sizeof word);
    return word;
}

static char *base_of(const tine_shareable_list *list)
{
    return tine_shm_data(list->shm);
}

static uint64_t load_word(const char *at)
{
    return atomic_load_explicit((const _Atomic uint64_t *)(const void *)at, memory_order_relaxed);
}

/* ---- formats --------------------------------------------------------------------------------- */

static bool is_text(int32_t type)
{
    return type == TINE_SHAREABLE_STR || type == TINE_SHAREABLE_BYTES;
}

static enum code code_of(int32_t type)
{
    switch (type) {
    case TINE_SHAREABLE_NONE:
        return CODE_NONE;
    case TINE_SHAREABLE_STR:
        return CODE_STR;
    case TINE_SHAREABLE_BYTES:
        return CODE_BYTES;
    default:
        return CODE_NUMBER;
    }
}

static bool ends_in_nul(const tine_shareable_item *item)
{
    return item->size > 0 && ((const char *)item->value.bytes)[item->size - 1] == '\0';
}

/* The format of an item in a slot with that room. */
static uint64_t format_of(const tine_shareable_item *item, size_t room)
{
    char text[32] = "";

    switch (item->type) {
    case TINE_SHAREABLE_NONE:
        return word_of(FORMAT_NONE);
    case TINE_SHAREABLE_BOOL:
        return word_of(FORMAT_BOOL);
    case TINE_SHAREABLE_INT:
        return word_of(FORMAT_INT);
    case TINE_SHAREABLE_FLOAT:
        return word_of(FORMAT_FLOAT);
    default:
        if (ends_in_nul(item))
            snprintf(text, sizeof text, "%zus ", item->size);
        else
            snprintf(text, sizeof text, "%zus", room);
        return word_of(text);
    }
}

/* "16s", "3s ": how long, and whether that is exact. */
static bool parse_text_format(uint64_t word, size_t *size, bool *exact)
{
    char text[WORD + 1] = "";
    size_t i = 0;

    memcpy(text, &word, WORD);
    for (*size = 0; text[i] >= '0' && text[i] <= '9'; i++)
        *size = *size * 10 + (size_t)(text[i] - '0');
    if (i == 0 || text[i++] != 's')
        return false;
    for (*exact = text[i] == ' '; text[i] == ' '; i++)
        continue;
    return text[i] == '\0';
}

static int32_t type_of(uint64_t format, int8_t code)
{
    if (format == word_of(FORMAT_NONE) && code == CODE_NONE)
        return TINE_SHAREABLE_NONE;
    if (code != CODE_NUMBER)
        return code == CODE_STR     ? TINE_SHAREABLE_STR
               : code == CODE_BYTES ? TINE_SHAREABLE_BYTES
                                    : -1;
    return format == word_of(FORMAT_INT)     ? TINE_SHAREABLE_INT
           : format == word_of(FORMAT_FLOAT) ? TINE_SHAREABLE_FLOAT
           : format == word_of(FORMAT_BOOL)  ? TINE_SHAREABLE_BOOL
                                             : -1;
}

/* ---- UTF-8 ----------------------------------------------------------------------------------- */

/* How many bytes the character has that begins with these, 0: none does; as strict as Python. */
static size_t character(const unsigned char *s, size_t size)
{
    static const struct {
        unsigned char first, last, second_first, second_last;
        uint8_t bytes;
    } table[] = {
        {0x00, 0x7f, 0, 0, 1},       {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3},
        {0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
        {0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
    };
    size_t row = 0;

    while (row < sizeof table / sizeof table[0] && (*s < table[row].first || *s > table[row].last))
        row++;
    if (row == sizeof table / sizeof table[0] || size < table[row].bytes)
        return 0;
    if (table[row].bytes > 1 && (s[1] < table[row].second_first || s[1] > table[row].second_last))
        return 0;
    for (size_t i = 2; i < table[row].bytes; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    return table[row].bytes;
}

static bool is_utf8(const void *bytes, size_t size)
{
    const unsigned char *s = bytes;
    size_t length;

    for (size_t i = 0; i < size; i += length) {
        length = character(s + i, size - i);
        if (length == 0)
            return false;
    }
    return true;
}

/* ---- an item in the segment ------------------------------------------------------------------ */

static int find(const tine_shareable_list *list, size_t index, struct place *place)
{
    char *base = base_of(list);
    const char *offset = base + WORD * (index + 1);
    uint64_t begin, end;

    if (index >= list->n)
        return -ERANGE;
    begin = load_word(offset);
    end = load_word(offset + WORD);
    if (begin % WORD != 0 || end < begin || end - begin < WORD || end > list->slots_bytes)
        return TINE_EFORMAT;
    place->slot = base + list->slots_at + begin;
    place->room = end - begin;
    place->format = (_Atomic uint64_t *)(void *)(base + list->formats_at + WORD * index);
    place->code = (_Atomic int8_t *)(void *)(base + list->codes_at + index);
    return 0;
}

static size_t without_nuls(const char *bytes, size_t size)
{
    while (size > 0 && bytes[size - 1] == '\0')
        size--;
    return size;
}

/* What stands there; is_same() says afterwards whether it still did while it was read. */
static int look(const struct place *place, uint64_t *format, struct view *view)
{
    bool exact;

    /* pairs with the release in put(): what the format describes is seen with it */
    *format = atomic_load_explicit(place->format, memory_order_acquire);
    view->type = type_of(*format, atomic_load_explicit(place->code, memory_order_relaxed));
    view->slot = place->slot;
    view->size = 0;
    if (!is_text(view->type))
        return view->type < 0 ? TINE_EFORMAT : 0;
    if (!parse_text_format(*format, &view->size, &exact) || view->size > place->room)
        return TINE_EFORMAT;
    if (!exact && view->size == place->room)
        view->size = without_nuls(view->slot, view->size);
    return 0;
}

static bool is_same(const struct place *place, uint64_t format)
{
    atomic_thread_fence(memory_order_acquire);
    return atomic_load_explicit(place->format, memory_order_relaxed) == format;
}

static void read_number(const struct view *view, tine_shareable_item *item)
{
    uint64_t word = load_word(view->slot);

    *item = (tine_shareable_item){.type = view->type};
    if (view->type == TINE_SHAREABLE_INT)
        item->value.integer = (int64_t)word;
    else if (view->type == TINE_SHAREABLE_FLOAT)
        memcpy(&item->value.number, &word, sizeof word);
    else if (view->type == TINE_SHAREABLE_BOOL)
        item->value.boolean = ((const unsigned char *)&word)[WORD - 1] != 0;
}

static int read_text(const struct view *view, tine_buffer *bytes, tine_shareable_item *item)
{
    int rc;

    if (bytes == NULL)
        return -EINVAL;
    tine_buffer_clear(bytes);
    rc = tine__buffer_reserve(bytes, view->size + 1);
    if (rc < 0)
        return rc;
    memcpy(bytes->data, view->slot, view->size);
    bytes->data[view->size] = '\0';
    bytes->size = view->size;
    if (view->type == TINE_SHAREABLE_STR && !is_utf8(bytes->data, bytes->size))
        return TINE_EFORMAT;
    *item = (tine_shareable_item){.type = view->type, .size = view->size};
    item->value.bytes = bytes->data;
    return 0;
}

static uint64_t word_for(const tine_shareable_item *item)
{
    char boolean[WORD] = {0};
    uint64_t word;

    switch (item->type) {
    case TINE_SHAREABLE_INT:
        return (uint64_t)item->value.integer;
    case TINE_SHAREABLE_FLOAT:
        memcpy(&word, &item->value.number, sizeof word);
        return word;
    case TINE_SHAREABLE_BOOL:
        boolean[WORD - 1] = item->value.boolean;
        return word_of(boolean);
    default:
        return 0;
    }
}

static void write_slot(const struct place *place, const tine_shareable_item *item)
{
    if (is_text(item->type)) {
        if (item->size > 0)
            memcpy(place->slot, item->value.bytes, item->size);
        memset(place->slot + item->size, 0, place->room - item->size);
        return;
    }
    atomic_store_explicit((_Atomic uint64_t *)(void *)place->slot, word_for(item),
                          memory_order_relaxed);
}

/* A death between the two stores of the format leaves an item that nobody takes for a value. */
static void put(const struct place *place, const tine_shareable_item *item)
{
    uint64_t format = format_of(item, place->room);
    int8_t code = (int8_t)code_of(item->type);

    if (!is_text(item->type) &&
        atomic_load_explicit(place->format, memory_order_relaxed) == format &&
        atomic_load_explicit(place->code, memory_order_relaxed) == code) {
        write_slot(place, item);
        return;
    }
    atomic_store_explicit(place->format, 0, memory_order_relaxed);
    /* pairs with the fence in is_same(): who has read a new byte sees the 0, or what followed */
    atomic_thread_fence(memory_order_release);
    write_slot(place, item);
    atomic_store_explicit(place->code, code, memory_order_relaxed);
    /* pairs with the acquire in look() */
    atomic_store_explicit(place->format, format, memory_order_release);
}

/* ---- checks of what is to be put ------------------------------------------------------------- */

static int check_item(const tine_shareable_item *item)
{
    if (item == NULL || item->reserved != 0 || item->type < TINE_SHAREABLE_NONE ||
        item->type > TINE_SHAREABLE_BYTES)
        return -EINVAL;
    if (!is_text(item->type))
        return 0;
    if (item->size > 0 && item->value.bytes == NULL)
        return -EINVAL;
    if (item->size >= SLOT_MAX || (item->size > EXACT_MAX && ends_in_nul(item)))
        return -EMSGSIZE;
    if (item->type == TINE_SHAREABLE_STR && !is_utf8(item->value.bytes, item->size))
        return -EINVAL;
    return 0;
}

/* As Python's rule, which leaves room for one byte more at least. */
static size_t room_for(const tine_shareable_item *item)
{
    return is_text(item->type) ? WORD * (item->size / WORD + 1) : WORD;
}

/* Bytes of a whole list. */
static int measure(const tine_shareable_item *items, size_t n, size_t *size)
{
    size_t slots = 0;

    if (n > 0 && items == NULL)
        return -EINVAL;
    for (size_t i = 0; i < n; i++) {
        int rc = check_item(&items[i]);

        if (rc < 0)
            return rc;
        if (!tine__add_size(slots, room_for(&items[i]), &slots))
            return -EOVERFLOW;
    }
    if (!tine__mul_size(n, ITEM_BYTES, size) || !tine__add_size(*size, 2 * WORD, size) ||
        !tine__add_size(*size, slots, size) || *size > INT64_MAX)
        return -EOVERFLOW;
    return 0;
}

/* ---- the list -------------------------------------------------------------------------------- */

/* Where the parts are, by the number of items and the end of the last slot. */
static void lay_out(tine_shareable_list *list, size_t n, size_t slots_bytes)
{
    list->n = n;
    list->slots_at = WORD * (n + 2);
    list->slots_bytes = slots_bytes;
    list->formats_at = list->slots_at + slots_bytes;
    list->codes_at = list->formats_at + WORD * n;
}

/*
 * The numbers are from outside: nothing may be taken for granted. Python fills in what it has named
 * already, so an empty list in a segment with room for more is one that is not finished.
 */
static int read_layout(tine_shareable_list *list)
{
    const char *base = base_of(list);
    size_t size = tine_shm_size(list->shm), left;
    uint64_t n, slots;

    if (size < 2 * WORD)
        return TINE_EFORMAT;
    n = load_word(base);
    left = size - 2 * WORD;
    if (n > left / ITEM_BYTES)
        return TINE_EFORMAT;
    left -= (size_t)n * ITEM_BYTES;
    slots = load_word(base + WORD * ((size_t)n + 1));
    if (slots > left || slots / WORD < n || slots % WORD != 0 || load_word(base + WORD) != 0 ||
        (n == 0 && left > 0))
        return TINE_EFORMAT;
    lay_out(list, (size_t)n, (size_t)slots);
    return 0;
}

/* The end of a constructor; rc is what the segment's said. */
static int finish(tine_shareable_list **list, tine_shareable_list *made, int rc)
{
    if (rc >= 0) {
        int bad = read_layout(made);

        if (bad == 0) {
            *list = made;
            return rc;
        }
        tine__segment_close(made->shm);
        rc = bad;
    }
    free(made);
    return rc;
}

struct content {
    const tine_shareable_item *items;
    size_t n;
};

/* Runs before the segment has its name. */
static int fill(void *data, size_t size, void *context)
{
    const struct content *content = context;
    uint64_t *words = data, end = 0;
    char *slots = (char *)data + WORD * (content->n + 2), *formats, *codes;

    words[0] = content->n;
    for (size_t i = 0; i < content->n; i++)
        words[i + 2] = end += room_for(&content->items[i]);
    formats = slots + end;
    codes = (char *)data + size - content->n;
    for (size_t i = 0; i < content->n; i++)
        put(&(struct place){.slot = slots + words[i + 1],
                            .room = words[i + 2] - words[i + 1],
                            .format = (_Atomic uint64_t *)(void *)(formats + WORD * i),
                            .code = (_Atomic int8_t *)(void *)(codes + i)},
            &content->items[i]);
    return 0;
}

int tine_shareable_list_create(tine_shareable_list **list, const char *name,
                               const tine_shareable_item *items, size_t n,
                               const tine_shm_options *options)
{
    struct content content = {items, n};
    tine_shm_options filled = {.init = NULL};
    tine_shareable_list *made;
    size_t size;
    int rc = measure(items, n, &size);

    if (options != NULL)
        filled = *options;
    if (rc == 0 && (list == NULL || filled.init != NULL))
        rc = -EINVAL;
    if (rc < 0)
        return rc;
    filled.init = fill;
    filled.context = &content;
    made = calloc(1, sizeof *made);
    if (made == NULL)
        return -ENOMEM;
    return finish(list, made, tine_shm_create(&made->shm, name, size, &filled));
}

int tine_shareable_list_attach(tine_shareable_list **list, const char *name,
                               const tine_shm_options *options)
{
    tine_shareable_list *made;

    if (list == NULL)
        return -EINVAL;
    made = calloc(1, sizeof *made);
    if (made == NULL)
        return -ENOMEM;
    return finish(list, made, tine_shm_attach(&made->shm, name, options));
}

size_t tine_shareable_list_len(const tine_shareable_list *list)
{
    return list == NULL ? 0 : list->n;
}

tine_shm *tine_shareable_list_shm(const tine_shareable_list *list)
{
    return list == NULL ? NULL : list->shm;
}

int tine_shareable_list_detach(tine_shareable_list *list)
{
    int rc = list == NULL ? 0 : tine_shm_detach(list->shm);

    if (rc == 0)
        free(list);
    return rc;
}

int tine_shareable_list_get(const tine_shareable_list *list, size_t index, tine_buffer *bytes,
                            tine_shareable_item *item)
{
    tine_shareable_item found;
    struct place place;
    struct view view;
    uint64_t format;
    int rc;

    if (list == NULL || item == NULL)
        return -EINVAL;
    rc = find(list, index, &place);
    if (rc == 0)
        rc = look(&place, &format, &view);
    if (rc < 0)
        return rc;
    if (is_text(view.type))
        rc = read_text(&view, bytes, &found);
    else
        read_number(&view, &found);
    if (rc == 0 && !is_same(&place, format))
        rc = TINE_EFORMAT;
    if (rc == 0)
        *item = found;
    return rc;
}

int tine_shareable_list_set(tine_shareable_list *list, size_t index,
                            const tine_shareable_item *item)
{
    struct place place;
    int rc = list == NULL ? -EINVAL : check_item(item);

    if (rc < 0)
        return rc;
    if ((list->shm->mapping.prot & PROT_WRITE) == 0)
        return -EACCES;
    rc = find(list, index, &place);
    if (rc < 0)
        return rc;
    if (place.room > SLOT_MAX && is_text(item->type))
        return TINE_EFORMAT;
    if (is_text(item->type) && item->size > place.room)
        return -EMSGSIZE;
    put(&place, item);
    return 0;
}

/* ---- searching ------------------------------------------------------------------------------- */

static bool is_integer(int32_t type)
{
    return type == TINE_SHAREABLE_BOOL || type == TINE_SHAREABLE_INT;
}

static int64_t integer_of(const tine_shareable_item *item)
{
    return item->type == TINE_SHAREABLE_BOOL ? item->value.boolean : item->value.integer;
}

/* Exact: 2⁵³ + 1 is no double, and no double equals it. */
static bool equals_double(int64_t integer, double number)
{
    return number >= -0x1p63 && number < 0x1p63 && (int64_t)number == integer &&
           (double)(int64_t)number == number;
}

static bool equal_numbers(const tine_shareable_item *a, const tine_shareable_item *b)
{
    if (is_integer(a->type) && is_integer(b->type))
        return integer_of(a) == integer_of(b);
    if (is_integer(a->type))
        return b->type == TINE_SHAREABLE_FLOAT && equals_double(integer_of(a), b->value.number);
    if (is_integer(b->type))
        return a->type == TINE_SHAREABLE_FLOAT && equals_double(integer_of(b), a->value.number);
    return a->type == b->type &&
           (a->type == TINE_SHAREABLE_NONE || a->value.number == b->value.number);
}

/* 1 equal, 0 not, or a negative code. */
static int compare(const tine_shareable_list *list, size_t index, const tine_shareable_item *item)
{
    tine_shareable_item found;
    struct place place;
    struct view view;
    uint64_t format;
    bool same;
    int rc = find(list, index, &place);

    if (rc == 0)
        rc = look(&place, &format, &view);
    if (rc < 0)
        return rc;
    if (is_text(view.type) || is_text(item->type)) {
        same = view.type == item->type && view.size == item->size &&
               (item->size == 0 || memcmp(view.slot, item->value.bytes, item->size) == 0);
    } else {
        read_number(&view, &found);
        same = equal_numbers(&found, item);
    }
    return is_same(&place, format) ? same : TINE_EFORMAT;
}

static int check_search(const tine_shareable_list *list, const tine_shareable_item *item,
                        const size_t *out)
{
    if (list == NULL || item == NULL || out == NULL || item->type < TINE_SHAREABLE_NONE ||
        item->type > TINE_SHAREABLE_BYTES ||
        (is_text(item->type) && item->size > 0 && item->value.bytes == NULL))
        return -EINVAL;
    return 0;
}

int tine_shareable_list_index(const tine_shareable_list *list, const tine_shareable_item *item,
                              size_t *index)
{
    int rc = check_search(list, item, index);

    for (size_t i = 0; rc == 0 && i < list->n; i++) {
        rc = compare(list, i, item);
        if (rc == 1) {
            *index = i;
            return 0;
        }
    }
    return rc < 0 ? rc : -ENOENT;
}

int tine_shareable_list_count(const tine_shareable_list *list, const tine_shareable_item *item,
                              size_t *count)
{
    size_t found = 0;
    int rc = check_search(list, item, count);

    for (size_t i = 0; rc >= 0 && i < (list == NULL ? 0 : list->n); i++) {
        rc = compare(list, i, item);
        found += rc == 1;
    }
    if (rc < 0)
        return rc;
    *count = found;
    return 0;
}
