/* SPDX-License-Identifier: MIT */
/*
 * pipeline [--serial | --kill=N] FILE...: counts words, in three stages with queues between them.
 * Readers cut files into blocks, counters count the words of a block, and this process merges the
 * counts.
 *
 * N of the readers and counters are killed meanwhile, and replaced. What one had in hand is
 * delivered again; a block that was counted just before the kill comes twice then, which its number
 * tells. So the output stays what --serial prints, where one process does all of it.
 */
#include <tine.h>

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { EACH = 2, BLOCK = 4096, WORD_MAX = 63, BLOCKS_MAX = 1 << 20 };

struct queues {
    tine_queue *files;  /* [number, path] */
    tine_queue *blocks; /* [number, bytes] */
    tine_queue *counts; /* number, then each word and how often */
    int64_t timeout_ns; /* of those who get */
};

static bool is_letter(int c)
{
    return isalpha((unsigned char)c) != 0;
}

/* ---- files into blocks ----------------------------------------------------------------------- */

/* Blocks end between words. */
static int cut(const struct queues *queues, FILE *file, int64_t number)
{
    static char block[BLOCK + WORD_MAX];
    size_t size;
    int c = 0, rc = 0;

    while (rc == 0 && (size = fread(block, 1, BLOCK, file)) > 0) {
        while (is_letter(block[size - 1]) && size < sizeof block && (c = getc(file)) != EOF)
            block[size++] = (char)c;
        rc = tine_queue_put(queues->blocks, TINE_FOREVER, "[qy]", number++, block, size);
    }
    return rc;
}

static int read_files(const struct queues *queues)
{
    int64_t number;
    char *path;
    int rc;

    while ((rc = tine_queue_get(queues->files, queues->timeout_ns, "[qs]", &number, &path)) == 0) {
        FILE *file = fopen(path, "r");

        if (file == NULL || cut(queues, file, number) < 0)
            return -EIO;
        fclose(file);
        free(path);
        tine_queue_task_done(queues->files);
    }
    return rc == -ESHUTDOWN || rc == -EAGAIN ? 0 : rc;
}

/* ---- blocks into counts ---------------------------------------------------------------------- */

static int compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Splits the text in place; the words, sorted. */
static size_t split(char *text, char **words)
{
    size_t count = 0;

    for (char *at = text; *at != '\0';) {
        if (!is_letter(*at)) {
            *at++ = '\0';
            continue;
        }
        for (words[count++] = at; is_letter(*at); at++)
            *at = (char)tolower((unsigned char)*at);
    }
    qsort(words, count, sizeof words[0], compare);
    return count;
}

static int count_block(const struct queues *queues, tine_buffer *out, const tine_queue_item *item)
{
    static char text[BLOCK + WORD_MAX + 1], *words[BLOCK];
    const void *bytes;
    size_t size, count;
    int64_t number;
    int rc = tine_queue_item_unpack(item, "[qy]", &number, &bytes, &size);

    if (rc < 0 || size >= sizeof text)
        return rc < 0 ? rc : -EMSGSIZE;
    memcpy(text, bytes, size);
    text[size] = '\0';
    count = split(text, words);
    rc = tine_pack(out, "q", number);
    for (size_t i = 0, same; i < count && rc == 0; i += same) {
        for (same = 1; i + same < count && strcmp(words[i], words[i + same]) == 0;)
            same++;
        rc = tine_pack(out, "sq", words[i], (int64_t)same);
    }
    if (rc == 0)
        rc = tine_queue_put_bytes(queues->counts, out->data, out->size, 0, TINE_FOREVER);
    tine_buffer_clear(out);
    return rc;
}

static int count_blocks(const struct queues *queues)
{
    tine_buffer buffer = {0};
    tine_queue_item *item;
    int rc;

    while ((rc = tine_queue_get_item(queues->blocks, queues->timeout_ns, &item)) == 0) {
        rc = count_block(queues, &buffer, item);
        if (rc < 0)
            break;
        tine_queue_item_done(item);
        tine_queue_item_free(item);
    }
    tine_buffer_free(&buffer);
    return rc == -ESHUTDOWN || rc == -EAGAIN ? 0 : rc;
}

/* ---- counts into one ------------------------------------------------------------------------- */

static int merge_words(tine_dict *totals, tine_reader *reader)
{
    const char *bytes;
    static char word[BLOCK + WORD_MAX];
    size_t size;
    int64_t count;
    int rc = 0;

    while (rc == 0 && tine_reader_type(reader) == TINE_TYPE_STRING) {
        rc = tine_reader_string(reader, &bytes, &size);
        if (rc == 0 && (rc = tine_reader_int(reader, &count)) == 0) {
            memcpy(word, bytes, size);
            word[size] = '\0';
            rc = tine_dict_add(totals, word, count, NULL);
        }
    }
    return rc;
}

static int merge(const struct queues *queues, tine_dict *totals)
{
    bool *seen = calloc(BLOCKS_MAX, sizeof *seen);
    tine_queue_item *item;
    int rc = seen == NULL ? -ENOMEM : 0;

    while (rc == 0 && (rc = tine_queue_get_item(queues->counts, 0, &item)) == 0) {
        tine_reader reader;
        int64_t number = 0;
        size_t size;
        const void *bytes = tine_queue_item_bytes(item, &size);

        tine_reader_init(&reader, bytes, size, NULL);
        rc = tine_reader_int(&reader, &number);
        if (rc == 0 && !seen[number % BLOCKS_MAX])
            rc = merge_words(totals, &reader);
        seen[number % BLOCKS_MAX] = true;
        tine_queue_item_free(item);
    }
    free(seen);
    return rc == -EAGAIN ? 0 : rc;
}

static int print(tine_dict *totals)
{
    size_t room = 0, count = 0;
    char **lines = NULL;
    tine_dict_iter iter;
    tine_dict_item item;
    int64_t number;
    int rc = tine_dict_iter_init(&iter, totals);

    if (rc < 0)
        return rc;
    while (rc == 0 && tine_dict_iter_next(&iter, &item) == 1) {
        if (count == room)
            lines = realloc(lines, (room = 2 * room + 1000) * sizeof *lines);
        rc = tine_unpack(item.value, item.value_len, "q", &number);
        if (asprintf(&lines[count++], "%.*s %" PRId64, (int)item.key_len, (const char *)item.key,
                     number) < 0)
            rc = -ENOMEM;
    }
    tine_dict_iter_fini(&iter);
    qsort(lines, count, sizeof *lines, compare);
    for (size_t i = 0; i < count; free(lines[i++]))
        puts(lines[i]);
    free(lines);
    return rc;
}

/* ---- processes ------------------------------------------------------------------------------- */

static pid_t start(const struct queues *queues, int i)
{
    pid_t pid = fork();

    if (pid == 0)
        _exit((i < EACH ? read_files(queues) : count_blocks(queues)) == 0 ? 0 : 1);
    return pid;
}

/* Until all in that queue is done, killing meanwhile. */
static int join(const struct queues *queues, tine_queue *queue, pid_t *workers, int *kills)
{
    int rc;

    while ((rc = tine_queue_join(queue, *kills > 0 ? TINE_MS(1) : TINE_FOREVER, NULL)) ==
           -ETIMEDOUT) {
        int i = --*kills % (2 * EACH);

        kill(workers[i], SIGKILL);
        waitpid(workers[i], NULL, 0);
        workers[i] = start(queues, i);
    }
    return rc < 0 ? rc : tine_queue_shutdown(queue, 0);
}

static int run(struct queues *queues, int kills)
{
    pid_t workers[2 * EACH];
    int rc, status;

    for (int i = 0; i < 2 * EACH; i++)
        workers[i] = start(queues, i);
    rc = join(queues, queues->files, workers, &kills);
    if (rc == 0)
        rc = join(queues, queues->blocks, workers, &kills);
    for (int i = 0; i < 2 * EACH; i++)
        if (waitpid(workers[i], &status, 0) < 0 || status != 0)
            rc = -EIO;
    return rc;
}

static int run_alone(struct queues *queues)
{
    int rc;

    queues->timeout_ns = 0;
    rc = read_files(queues);
    return rc < 0 ? rc : count_blocks(queues);
}

static int open_all(struct queues *queues, tine_dict **totals, bool serial)
{
    const tine_queue_options joinable = {.joinable = 1};
    const tine_queue_options bounded = {.joinable = 1, .maxsize = serial ? 0 : 64};
    int rc = tine_queue_open(&queues->files, &joinable);

    queues->timeout_ns = TINE_FOREVER;
    if (rc == 0)
        rc = tine_queue_open(&queues->blocks, &bounded);
    if (rc == 0)
        rc = tine_queue_open(&queues->counts, NULL);
    return rc < 0 ? rc : tine_dict_open(totals, NULL);
}

int main(int argc, char **argv)
{
    bool serial = argc > 1 && strcmp(argv[1], "--serial") == 0;
    int kills = argc > 1 && strncmp(argv[1], "--kill=", 7) == 0 ? atoi(argv[1] + 7) : 0;
    struct queues queues = {0};
    tine_dict *totals = NULL;
    int rc = open_all(&queues, &totals, serial);

    /* Blocks of the i-th file have the numbers from i * 4096 on. */
    for (int i = 1 + (serial || kills > 0); i < argc && rc == 0; i++)
        rc = tine_queue_put(queues.files, TINE_FOREVER, "[qs]", (int64_t)i * 4096, argv[i]);
    if (rc == 0)
        rc = serial ? run_alone(&queues) : run(&queues, kills);
    if (rc == 0)
        rc = merge(&queues, totals);
    if (rc == 0)
        rc = print(totals);
    tine_queue_close(queues.files);
    tine_queue_close(queues.blocks);
    tine_queue_close(queues.counts);
    tine_dict_close(totals);
    if (rc < 0)
        fprintf(stderr, "pipeline: %s\n", tine_strerror(rc));
    return rc < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
