/* SPDX-License-Identifier: MIT */
/*
 * How the pools of the death tests start: TINE_TEST_POOL is fork (the default), spawn or
 * forkserver. by_method.sh lists the programs.
 *
 * With a forkserver each test has one of its own, which is its child and in its group: so
 * everything that the test leads to is below it, and is known when it is left.
 */
#ifndef TINE_TESTS_KILL_METHODS_H
#define TINE_TESTS_KILL_METHODS_H

#include <stdbool.h>

/* The main function of a program whose pools start in any way; the heap is there before the
   tests. */
#define SUITE_BY_METHOD(title)                                                                     \
    int main(int argc, char **argv)                                                                \
    {                                                                                              \
        return methods_main(title, true, argc, argv);                                              \
    }
/* The same, where a program that only forks has no heap before its tests. */
#define SUITE_OF_FAMILIES(title)                                                                   \
    int main(int argc, char **argv)                                                                \
    {                                                                                              \
        return methods_main(title, false, argc, argv);                                             \
    }
int methods_main(const char *title, bool with_heap, int argc, char **argv);

#endif
