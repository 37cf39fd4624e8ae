/* SPDX-License-Identifier: MIT */
/*
 * One lane of a ring; see ipc/lane.h.
 *
 * A record is a word (size, the sender's CPU, a mark that is never 0), a ticket, and the bytes. The
 * producer first writes 0 where the word of the next record will stand, then bytes, ticket and, in
 * one release, the word: whoever follows the records from the head on meets words that are
 * complete, then a 0. Where a record does not fit before the end of the ring, it is written at the
 * beginning, and then published by a padding word in its place. So after any prefix of a send
 * either nothing is there, or all of it: a producer that dies or is stopped in it has published
 * nothing, and holds up nobody.
 *
 * A consumer reads the head, then the word there; copies the bytes; and takes the record by a CAS
 * of the head from its position to the next. Only the producer changes bytes, and not before it has
 * seen the head beyond them, so if the CAS succeeds the copy is whole; if not, it is thrown away
 * (with what may have been read from bytes of another record: all that is used of them is a size,
 * and that was checked against the head). Before the CAS a consumer holds nothing, after it the
 * record is its own, and both end with it. Positions do not come again within 2^64 bytes, so no CAS
 * can mistake one for another.
 *
 * Who takes over the lane of a dead producer walks from its tail over what that had published. No
 * locks, no descriptors; fork: a child is another producer.
 */
#include "ipc/lane.h"

#include <string.h>

/* ThreadSanitizer knows races from copies only word by word. */
#if defined(__SANITIZE_THREAD__)
#define COPY_BY_WORDS 1
#elif defined(__has_feature)
#define COPY_BY_WORDS __has_feature(thread_sanitizer)
#else
#define COPY_BY_WORDS 0
#endif

#if COPY_BY_WORDS || !defined(__x86_64__)
#define COPY_BY_STRING 0
#else
#define COPY_BY_STRING 1
#endif

#define MANY_BYTES 512 /* an instruction takes about 20 ns to begin */

/* Two words in one load or store, at any address. */
typedef uint64_t pair __attribute__((vector_size(16), aligned(1), may_alias));
typedef uint64_t loose __attribute__((aligned(1), may_alias)); /* one, at any address */

#define PUBLISHED ((uint64_t)1 << 63)
#define PADDING   ((uint64_t)1 << 62)

static inline _Atomic uint64_t *words(struct tine__lane_shm *lane, uint64_t mask, uint64_t at)
{
    return (_Atomic uint64_t *)(void *)((char *)(lane + 1) + (at & mask));
}

static inline uint64_t rounded(uint64_t size)
{
    return (TINE__LANE_RECORD + size + TINE__LANE_RECORD - 1) & ~(uint64_t)(TINE__LANE_RECORD - 1);
}

/* The position after a record, or after padding. */
static inline uint64_t next(uint64_t at, uint64_t word, uint64_t mask)
{
    return (word & PADDING) != 0 ? (at | mask) + 1 : at + rounded(tine__record_size(word));
}

void tine__lane_init(struct tine__lane_shm *lane, uint32_t capacity, uint64_t start,
                     uint64_t holder)
{
    memset(lane, 0, sizeof *lane);
    lane->mask = capacity - 1;
    lane->mask_again = capacity - 1;
    atomic_store_explicit(&lane->head, start, memory_order_relaxed);
    atomic_store_explicit(&lane->tail, start, memory_order_relaxed);
    atomic_store_explicit(&lane->head_seen, start, memory_order_relaxed);
    atomic_store_explicit(words(lane, lane->mask, start), 0, memory_order_relaxed);
    atomic_store_explicit(&lane->holder, holder, memory_order_relaxed);
}

/* ---- the producer ---------------------------------------------------------------------------- */

bool tine__lane_adopt(struct tine__lane_shm *lane, uint64_t old, uint64_t holder)
{
    uint64_t tail, word;

    /* acquire: pairs with the release in tine__lane_leave, or with the kernel's end of the dead */
    if (!atomic_compare_exchange_strong_explicit(&lane->holder, &old, holder, memory_order_acquire,
                                                 memory_order_relaxed))
        return false;
    tail = atomic_load_explicit(&lane->tail, memory_order_relaxed);
    while ((word = atomic_load_explicit(words(lane, lane->mask_again, tail),
                                        memory_order_relaxed)) != 0)
        tail = next(tail, word, lane->mask_again);
    atomic_store_explicit(&lane->tail, tail, memory_order_relaxed);
    return true;
}

void tine__lane_leave(struct tine__lane_shm *lane)
{
    atomic_store_explicit(&lane->holder, 0, memory_order_release);
}

static bool has_room(struct tine__lane_shm *lane, uint64_t end)
{
    uint64_t capacity = lane->mask_again + 1, head;

    /* The word after the record must be free as well. */
    end += TINE__LANE_RECORD;
    if (end - atomic_load_explicit(&lane->head_seen, memory_order_relaxed) <= capacity)
        return true;
    /* acquire: pairs with the CAS of the takers, who have read what will be overwritten */
    head = atomic_load_explicit(&lane->head, memory_order_seq_cst);
    atomic_store_explicit(&lane->head_seen, head, memory_order_relaxed);
    return end - head <= capacity;
}

bool tine__lane_reserve(struct tine__lane_shm *lane, uint32_t size, uint32_t spare,
                        struct tine__place *place)
{
    uint64_t mask = lane->mask_again, length = rounded(size);

    place->at = atomic_load_explicit(&lane->tail, memory_order_relaxed);
    if ((place->at & mask) + length > mask + 1)
        place->at = (place->at | mask) + 1;
    place->end = place->at + length;
    return has_room(lane, place->end + spare);
}

/*
 * What a producer writes a consumer that comes too late may still read: a mixture, which is thrown
 * away. So any copy will do whose loads and stores the compiler leaves as they are: relaxed words,
 * volatile pairs of them, and for many an instruction of its own.
 */
static inline bool copy_string(void *to, const void *from, size_t size)
{
#if COPY_BY_STRING
    if (size < MANY_BYTES)
        return false;
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(size) : : "memory");
    return true;
#else
    (void)to, (void)from, (void)size;
    return false;
#endif
}

/* As many bytes as make pairs: how many that were. */
static inline size_t copy_pairs(void *to, const void *from, size_t size)
{
    volatile pair *into = to;
    const volatile pair *next = from;
    size_t left = COPY_BY_WORDS ? 0 : size;

    for (; left >= 4 * sizeof(pair); left -= 4 * sizeof(pair), next += 4, into += 4) {
        into[0] = next[0];
        into[1] = next[1];
        into[2] = next[2];
        into[3] = next[3];
    }
    for (; left >= sizeof(pair); left -= sizeof(pair))
        *into++ = *next++;
    return COPY_BY_WORDS ? 0 : size - left;
}

/* size: a multiple of 8 */
static inline _Atomic uint64_t *copy_words_in(_Atomic uint64_t *to, const char *from, size_t size)
{
    if (copy_string((void *)(uintptr_t)to, from, size))
        return to + size / 8;
    for (size_t i = copy_pairs((void *)(uintptr_t)to, from, size); i < size; i += 8) {
        uint64_t word = *(const loose *)(const void *)(from + i);

        atomic_store_explicit(to + i / 8, word, memory_order_relaxed);
    }
    return to + size / 8;
}

/* The parts from that byte of the first one on, wherever their words begin. */
static void gather(_Atomic uint64_t *to, const struct iovec *parts, int count, size_t from)
{
    unsigned char bytes[8];
    size_t kept = 0;

    for (int i = 0; i < count; i++, from = 0)
        for (; from < parts[i].iov_len; from++) {
            bytes[kept++] = ((const unsigned char *)parts[i].iov_base)[from];
            if (kept < sizeof bytes)
                continue;
            copy_words_in(to++, (const char *)bytes, sizeof bytes);
            kept = 0;
        }
    if (kept == 0)
        return;
    memset(bytes + kept, 0, sizeof bytes - kept);
    copy_words_in(to, (const char *)bytes, sizeof bytes);
}

void tine__lane_fill(struct tine__lane_shm *lane, const struct tine__place *place,
                     const struct iovec *parts, int count)
{
    _Atomic uint64_t *to = words(lane, lane->mask_again, place->at + TINE__LANE_RECORD);

    for (; count > 0; count--, parts++) {
        size_t whole = parts->iov_len & ~(size_t)7;

        if (whole != 0)
            to = copy_words_in(to, parts->iov_base, whole);
        if (whole == parts->iov_len)
            continue;
        gather(to, parts, count, whole);
        return;
    }
}

void tine__lane_publish(struct tine__lane_shm *lane, const struct tine__place *place, uint32_t size,
                        uint64_t ticket, uint32_t cpu)
{
    uint64_t mask = lane->mask_again;
    uint64_t tail = atomic_load_explicit(&lane->tail, memory_order_relaxed);
    uint64_t word = PUBLISHED | (uint64_t)(cpu & 0xffff) << 32 | size;
    _Atomic uint64_t *record = words(lane, mask, place->at);

    atomic_store_explicit(words(lane, mask, place->end), 0, memory_order_relaxed);
    atomic_store_explicit(record + 1, ticket, memory_order_relaxed);
    if (place->at != tail) {
        atomic_store_explicit(record, word, memory_order_relaxed);
        record = words(lane, mask, tail);
        word = PUBLISHED | PADDING;
    }
    /* pairs with the acquire in tine__lane_peek */
    atomic_store_explicit(record, word, memory_order_release);
    atomic_store_explicit(&lane->tail, place->end, memory_order_relaxed);
}

/* ---- consumers ------------------------------------------------------------------------------- */

static bool advance(struct tine__lane_shm *lane, uint64_t at, uint64_t word)
{
    /* seq_cst: release, for the copy is made before; and before the look for waiting producers */
    return atomic_compare_exchange_strong_explicit(&lane->head, &at, next(at, word, lane->mask),
                                                   memory_order_seq_cst, memory_order_relaxed);
}

bool tine__lane_peek(struct tine__lane_shm *lane, struct tine__record *record)
{
    for (;;) {
        uint64_t at = atomic_load_explicit(&lane->head, memory_order_acquire);
        _Atomic uint64_t *place = words(lane, lane->mask, at);
        /* pairs with the release in tine__lane_publish */
        uint64_t word = atomic_load_explicit(place, memory_order_acquire);

        record->ticket = atomic_load_explicit(place + 1, memory_order_acquire);
        if (atomic_load_explicit(&lane->head, memory_order_relaxed) != at)
            continue; /* what was read may be something else by now */
        if (word == 0)
            return false;
        record->at = at;
        record->word = word;
        if ((word & PADDING) == 0)
            return true;
        (void)advance(lane, at, word);
    }
}

/* Less than a word. */
__attribute__((noinline)) static void copy_rest(char *to, const _Atomic uint64_t *from, size_t size)
{
    uint64_t word = atomic_load_explicit(from, memory_order_relaxed);

    memcpy(to, &word, size);
}

static inline void copy_out(char *to, const _Atomic uint64_t *from, uint32_t size)
{
    size_t done;

    if (copy_string(to, (const void *)(uintptr_t)from, size))
        return;
    for (done = copy_pairs(to, (const void *)(uintptr_t)from, size); done + 8 <= size; done += 8) {
        uint64_t word = atomic_load_explicit(from + done / 8, memory_order_relaxed);

        *(loose *)(void *)(to + done) = word;
    }
    if (done < size)
        copy_rest(to + done, from + done / 8, size - done);
}

void tine__lane_copy(struct tine__lane_shm *lane, const struct tine__record *record,
                     const struct tine__parts *to)
{
    const _Atomic uint64_t *from = words(lane, lane->mask, record->at) + 2;
    uint32_t size = tine__record_size(record->word);
    uint32_t head = size < to->head_size ? size : to->head_size;

    copy_out(to->head, from, head);
    if (size > head)
        copy_out(to->rest, from + head / 8, size - head);
}

bool tine__lane_take(struct tine__lane_shm *lane, const struct tine__record *record)
{
    return advance(lane, record->at, record->word);
}

/* What stands at a position, if the head has not passed it meanwhile. */
static bool read_at(struct tine__lane_shm *lane, uint64_t *at, uint64_t *word,
                    uint64_t shown[TINE__LANE_SHOWN])
{
    _Atomic uint64_t *place = words(lane, lane->mask, *at);
    uint64_t head;

    *word = atomic_load_explicit(place, memory_order_acquire);
    for (int i = 0; i < TINE__LANE_SHOWN; i++)
        shown[i] = (*at & lane->mask) + 8 * (uint64_t)(2 + i) > lane->mask
                       ? 0
                       : atomic_load_explicit(place + 2 + i, memory_order_acquire);
    head = atomic_load_explicit(&lane->head, memory_order_relaxed);
    if ((int64_t)(head - *at) <= 0)
        return true;
    *at = head;
    return false;
}

bool tine__lane_holds(struct tine__lane_shm *lane, tine__lane_fits *fits, const void *context)
{
    uint64_t at = atomic_load_explicit(&lane->head, memory_order_acquire);
    /* What was published before the call begins at most one lap behind the tail as it is told. */
    uint64_t end = atomic_load_explicit(&lane->tail, memory_order_acquire) + lane->mask;

    while ((int64_t)(end - at) >= 0) {
        uint64_t word, shown[TINE__LANE_SHOWN];

        if (!read_at(lane, &at, &word, shown))
            continue;
        if (word == 0)
            return false;
        if ((word & PADDING) == 0 && tine__record_size(word) >= sizeof shown &&
            fits(context, shown))
            return true;
        at = next(at, word, lane->mask);
    }
    return false;
}

uint64_t tine__lane_used(struct tine__lane_shm *lane)
{
    uint64_t head = atomic_load_explicit(&lane->head, memory_order_relaxed);
    uint64_t used = atomic_load_explicit(&lane->tail, memory_order_relaxed) - head;

    /* A record may be taken before its producer has put the tail behind it, or has died before. */
    return (int64_t)used < 0 ? 0 : used;
}
