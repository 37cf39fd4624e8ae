/* SPDX-License-Identifier: MIT */
/*
 * The main function of a fuzz target where libFuzzer is not: runs it over every file of the
 * directories given, each in a block of exactly its size. Options, which are libFuzzer's, are
 * skipped.
 */
#include <dirent.h>
#include <stdio.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"

#define INPUT_MAX ((size_t)1 << 20)

static int run_file(const char *folder, const char *name)
{
    static uint8_t input[INPUT_MAX];
    char path[2048];
    uint8_t *exact;
    size_t size;
    FILE *file;

    snprintf(path, sizeof path, "%s/%s", folder, name);
    file = fopen(path, "rb");
    if (file == NULL) {
        perror(path);
        return -1;
    }
    size = fread(input, 1, sizeof input, file);
    fclose(file);
    exact = malloc(size > 0 ? size : 1);
    if (exact == NULL)
        return -1;
    memcpy(exact, input, size);
    fprintf(stderr, "%s\n", path); /* the last one in the log is the one that failed */
    LLVMFuzzerTestOneInput(exact, size);
    free(exact);
    return 0;
}

static int run_folder(const char *folder)
{
    DIR *directory = opendir(folder);
    struct dirent *entry;
    int files = 0;

    if (directory == NULL) {
        perror(folder);
        return -1;
    }
    while (files >= 0 && (entry = readdir(directory)) != NULL) {
        if (entry->d_name[0] == '.')
            continue;
        files = run_file(folder, entry->d_name) < 0 ? -1 : files + 1;
    }
    closedir(directory);
    return files;
}

int main(int argc, char **argv)
{
    int total = 0;

    for (int i = 1; i < argc; i++) {
        int files;

        if (argv[i][0] == '-')
            continue;
        files = run_folder(argv[i]);
        if (files < 0)
            return 1;
        total += files;
    }
    fprintf(stderr, "%d inputs\n", total);
    return total > 0 ? 0 : 1; /* a corpus that is not found is no success */
}
