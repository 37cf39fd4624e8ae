/* SPDX-License-Identifier: MIT */
#define _XOPEN_SOURCE 700
#include "tests/support/files.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/support/suite.h"

void files_begin(struct files *files)
{
    const char *place = getenv("TMPDIR"), *tag = getenv("TINE_TEST_TAG");

    snprintf(files->directory, sizeof files->directory, "%s/tine-test-%s-XXXXXX",
             place == NULL ? "/tmp" : place, tag == NULL ? "run" : tag);
    ck_assert_msg(mkdtemp(files->directory) != NULL, "%s: %s", files->directory, strerror(errno));
}

const char *files_path(const struct files *files, const char *name)
{
    static char paths[4][512];
    static unsigned next;
    char *path = paths[next++ % 4];

    snprintf(path, sizeof paths[0], "%s/%s", files->directory, name);
    return path;
}

static void make_parents(char *path, size_t from)
{
    for (char *slash = strchr(path + from, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        ck_assert_msg(mkdir(path, 0700) == 0 || errno == EEXIST, "%s: %s", path, strerror(errno));
        *slash = '/';
    }
}

void files_write(const struct files *files, const char *name, const char *text)
{
    char path[512];
    FILE *file;

    snprintf(path, sizeof path, "%s/%s", files->directory, name);
    make_parents(path, strlen(files->directory) + 1);
    file = fopen(path, "we");
    ck_assert_msg(file != NULL, "%s: %s", path, strerror(errno));
    ck_assert_int_ge(fputs(text, file), 0);
    ck_assert_int_eq(fclose(file), 0);
}

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *where)
{
    (void)status, (void)type, (void)where;
    return remove(path);
}

void files_end(struct files *files)
{
    ck_assert_int_eq(nftw(files->directory, remove_entry, 16, FTW_DEPTH | FTW_PHYS), 0);
}
