/* SPDX-License-Identifier: MIT */
/*
 * treehash [-c] [-j WORKERS] DIRECTORY: BLAKE2b-512 of every regular file below it, on all cores.
 *
 * Prints, byte for byte, what `find DIRECTORY -type f -print0 | LC_ALL=C sort -z | xargs -0r b2sum`
 * prints. Kill its workers as often as you like: the file that a dead one had in hand is hashed
 * again. With -c it hashes the tree, now cached, twice more, to compare one worker with all of
 * them.
 */
#include <tine.h>

#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct hash {
    uint8_t digest[64];
    uint64_t bytes;
    int64_t error; /* an errno, or 0 */
};

struct tree {
    char **paths;        /* in byte order */
    struct hash *hashes; /* of each path; in the family heap, where workers write into it */
    size_t count;
    int status; /* EXIT_FAILURE once something could not be read */
};

static int complain(const char *what, const char *why)
{
    fprintf(stderr, "treehash: %s: %s\n", what, why);
    return EXIT_FAILURE;
}

static int by_bytes(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int collect(struct tree *tree, char *directory)
{
    FTS *walk = fts_open((char *[]){directory, NULL}, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
    FTSENT *entry;

    tree->paths = malloc(sizeof *tree->paths); /* always room for one more */
    while (walk && tree->paths && (entry = fts_read(walk))) {
        if (entry->fts_info == FTS_F) {
            if (!(tree->paths[tree->count++] = strdup(entry->fts_path)))
                return -errno;
            tree->paths = reallocarray(tree->paths, tree->count + 1, sizeof *tree->paths);
        } else if (entry->fts_errno) {
            tree->status = complain(entry->fts_path, strerror(entry->fts_errno));
        }
    }
    if (!walk || !tree->paths || errno || fts_close(walk) < 0)
        return -errno;
    qsort(tree->paths, tree->count, sizeof *tree->paths, by_bytes);
    tree->hashes = tine_calloc(tree->count + 1, sizeof *tree->hashes);
    return tree->hashes ? 0 : -ENOMEM;
}

/* Runs in a worker. A path is a plain pointer: workers are forked when all of them are known. */
static int hash_file(const void *in, void *out, void *context)
{
    static uint8_t buffer[256 * 1024];
    struct hash *hash = out;
    crypto_generichash_state state;
    ssize_t length = -1;
    int fd = open(*(char *const *)in, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);

    (void)context;
    hash->bytes = 0;
    crypto_generichash_init(&state, NULL, 0, sizeof hash->digest);
    while (fd >= 0 && (length = read(fd, buffer, sizeof buffer)) > 0) {
        crypto_generichash_update(&state, buffer, (size_t)length);
        hash->bytes += (uint64_t)length;
    }
    hash->error = length < 0 ? errno : 0;
    crypto_generichash_final(&state, hash->digest, sizeof hash->digest);
    if (fd >= 0)
        close(fd);
    return 0; /* an unreadable file is a result, too */
}

static void show_progress(const tine_progress *progress, void *last)
{
    *(tine_progress *)last = *progress;
    tine_progress_bar(progress, "treehash");
}

static int hash_tree(const struct tree *tree, int workers, tine_progress *last)
{
    tine_map map = {hash_file,    tree->paths,          sizeof *tree->paths,
                    tree->hashes, sizeof *tree->hashes, tree->count};
    tine_job_options options = {
        .retries = TINE_UNLIMITED, .progress = show_progress, .progress_user = last};
    tine_pool *pool;
    int rc = tine_pool_open(&pool, &(tine_pool_options){.workers = workers});

    if (rc == 0) {
        rc = tine_pool_map(pool, &map, &options);
        tine_pool_close(pool);
    }
    return rc;
}

/* As b2sum: a name that would break its line is escaped, and the line begins with a backslash. */
static void print_line(const char *path, const struct hash *hash)
{
    char hex[2 * sizeof hash->digest + 1];

    sodium_bin2hex(hex, sizeof hex, hash->digest, sizeof hash->digest);
    printf("%s%s  ", strpbrk(path, "\\\n\r") ? "\\" : "", hex);
    for (; *path; path++) {
        if (strchr("\\\n\r", *path))
            putchar('\\');
        putchar(*path == '\n' ? 'n' : *path == '\r' ? 'r' : *path);
    }
    putchar('\n');
}

static uint64_t print_tree(struct tree *tree)
{
    uint64_t bytes = 0;

    for (size_t i = 0; i < tree->count; i++) {
        bytes += tree->hashes[i].bytes;
        if (tree->hashes[i].error)
            tree->status = complain(tree->paths[i], strerror((int)tree->hashes[i].error));
        else
            print_line(tree->paths[i], &tree->hashes[i]);
    }
    return bytes;
}

/* The lines, then what it took; `one` is the same with one worker, or empty. */
static int report(struct tree *tree, long workers, const tine_progress *all,
                  const tine_progress *one)
{
    uint64_t bytes = print_tree(tree);

    if (fflush(stdout) || ferror(stdout))
        tree->status = complain("standard output", strerror(errno));
    fprintf(stderr, "%zu files, %" PRIu64 " bytes, %.3f s, %ld workers", tree->count, bytes,
            1e-9 * (double)all->elapsed_ns, workers);
    if (all->deaths)
        fprintf(stderr, " (replaced after %" PRIu64 " deaths)", all->deaths);
    if (one->elapsed_ns)
        fprintf(stderr, ", %.2f times as fast as one",
                (double)one->elapsed_ns / (double)all->elapsed_ns);
    fputc('\n', stderr);
    return tree->status;
}

static void release(struct tree *tree)
{
    while (tree->count)
        free(tree->paths[--tree->count]);
    free(tree->paths);
    tine_free(tree->hashes);
}

/* A number, or 0 for what is none. */
static long parse(const char *text)
{
    char *end;
    long number = strtol(text, &end, 10);

    return *end ? 0 : number;
}

int main(int argc, char **argv)
{
    struct tree tree = {0};
    tine_progress all = {0}, one = {0};
    long workers = tine_cpu_count();
    bool compare = false;
    int rc;

    for (int option; (option = getopt(argc, argv, "cj:")) != -1;) {
        if (option == 'c')
            compare = true;
        else
            workers = option == 'j' ? parse(optarg) : 0;
    }
    if (optind != argc - 1 || workers < 1 || workers > TINE_WORKERS_MAX) {
        fputs("usage: treehash [-c] [-j WORKERS] DIRECTORY\n", stderr);
        return 2;
    }
    rc = sodium_init() < 0 ? -ENOTSUP : collect(&tree, argv[optind]);
    if (rc == 0)
        rc = hash_tree(&tree, (int)workers, &all);
    if (rc == 0 && compare)
        rc = hash_tree(&tree, 1, &one);
    if (rc == 0 && compare)
        rc = hash_tree(&tree, (int)workers, &all);
    if (rc < 0)
        return complain(argv[optind], tine_strerror(rc));
    rc = report(&tree, workers, &all, &one);
    release(&tree);
    return rc;
}
