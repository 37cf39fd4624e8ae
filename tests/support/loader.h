/* SPDX-License-Identifier: MIT */
/* A thread that has the dynamic loader's lock nearly all the time. */
#ifndef TINE_TESTS_LOADER_H
#define TINE_TESTS_LOADER_H

#include <pthread.h>
#include <stdbool.h>

struct loader {
    pthread_t thread;
    _Atomic bool may_rest;
};

void loader_keep_busy(struct loader *loader);
void loader_rest(struct loader *loader);

#endif
