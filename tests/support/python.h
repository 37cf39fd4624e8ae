/* SPDX-License-Identifier: MIT */
/*
 * A Python beside the test, to share memory with.
 *
 *     struct python python;
 *
 *     if (!python_start(&python, "numpy"))
 *         SKIP("no python3");
 *     ck_assert_str_eq(python_ask(&python, "SharedMemory(name='%s').size", name), "100");
 *     python_do(&python, "list = ShareableList([1, 2], name='%s')", name);
 *     python_end(&python);
 *
 * SharedMemory and ShareableList are imported; Python's resource tracker is switched off. Where
 * there is a python3 but it lacks the module, the test fails: ./bootstrap check installs it.
 */
#ifndef TINE_TESTS_PYTHON_H
#define TINE_TESTS_PYTHON_H

#include <stdbool.h>
#include <stdio.h>

#include "tests/support/children.h"

struct python {
    struct child child;
    FILE *in, *out; /* of ours: its output, its input */
    char *answer;
    size_t room;
};

/* module: that it must have; NULL: none but its own. False: there is no python3 at all. */
bool python_start(struct python *python, const char *module);
void python_end(struct python *python);
/* Runs a statement; an exception in it fails the test. */
void python_do(struct python *python, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* What an expression is, as str() says; valid until the next one. */
const char *python_ask(struct python *python, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* The same in halves, for what needs the test's help meanwhile: begun here, ended with the
   answer. */
void python_begin(struct python *python, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
const char *python_finish(struct python *python); /* "" or "!" and the exception */

/*
 * A Python 3.MINOR, of those that the environment's TINE_PYTHONS lists, in the path, or of pyenv,
 * which has imported Client and Listener. False: it is not there.
 */
bool python_start_connecting(struct python *python, int minor);

/* Executes a python3 that has the module, with these arguments; returns where there is none. */
void python_exec(const char *module, char *const arguments[]);

#endif
