/* SPDX-License-Identifier: MIT */
/* A directory of its own for a test that needs files, and the files in it. */
#ifndef TINE_TESTS_FILES_H
#define TINE_TESTS_FILES_H

struct files {
    char directory[256];
};

void files_begin(struct files *files);
/* Writes a file below the directory, and the directories on the way to it. */
void files_write(const struct files *files, const char *name, const char *text);
/* The path of a file below the directory; valid until the fourth next call. */
const char *files_path(const struct files *files, const char *name);
void files_end(struct files *files); /* removes everything */

#endif
