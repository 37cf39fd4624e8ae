/* SPDX-License-Identifier: MIT */
/*
 * wordcount <TEXT: the workers of a pool count its words into one shared dictionary. Then a plain
 * loop counts all of them down again, and every count must be 0.
 */
#include <tine.h>

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

struct text {
    const char *bytes;
    size_t size;
    tine_dict *counts;
    int64_t step; /* 1 or -1 */
};

static bool is_letter(const struct text *text, size_t at)
{
    return at < text->size && isalpha((unsigned char)text->bytes[at]);
}

/* May run several times, when others count the same word; what one run packs becomes the value. */
static int step(const void *value, size_t value_len, tine_buffer *out, void *context)
{
    int64_t count = 0;
    int rc = value ? tine_unpack(value, value_len, "q", &count) : 0;

    return rc < 0 ? rc : tine_pack(out, "q", count + ((const struct text *)context)->step);
}

/* The words that begin in this range. */
static int count_words(size_t begin, size_t end, void *context)
{
    const struct text *text = context;
    int rc = 0;

    for (size_t i = begin, length; i < end && rc == 0; i++) {
        for (length = 0; (i == 0 || !is_letter(text, i - 1)) && is_letter(text, i + length);)
            length++;
        if (length > 0)
            rc = tine_dict_update(text->counts, text->bytes + i, length, step, context);
    }
    return rc;
}

static int64_t sum_up(tine_dict *counts)
{
    int64_t sum = 0, count = 0;
    tine_dict_iter iter;
    tine_dict_item item;
    int rc = tine_dict_iter_init(&iter, counts);

    if (rc < 0)
        return rc;
    for (; rc == 0 && tine_dict_iter_next(&iter, &item) == 1; sum += imaxabs(count))
        rc = tine_unpack(item.value, item.value_len, "q", &count);
    tine_dict_iter_fini(&iter);
    return rc < 0 ? rc : sum;
}

int main(void)
{
    static char bytes[16 << 20];
    struct text text = {bytes, fread(bytes, 1, sizeof bytes, stdin), NULL, 1};
    tine_job_options options = {.context = &text, .context_size = sizeof text};
    tine_pool *pool = NULL;
    int rc = tine_dict_open(&text.counts, NULL);
    int64_t words;

    if (rc < 0 || (rc = tine_pool_open(&pool, NULL)) < 0 ||
        (rc = tine_pool_for(pool, text.size, count_words, &options)) < 0)
        return fprintf(stderr, "wordcount: %s\n", tine_strerror(rc)), EXIT_FAILURE;
    tine_pool_close(pool);
    words = sum_up(text.counts);
    printf("%" PRId64 " words, %zd different\n", words, tine_dict_count(text.counts));
    text.step = -1;
    rc = count_words(0, text.size, &text);
    rc = words >= 0 && rc == 0 && sum_up(text.counts) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
    tine_dict_close(text.counts);
    return rc;
}
