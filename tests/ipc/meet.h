/* SPDX-License-Identifier: MIT */
/* A listener and a dialler that meet within one process: a thread dials while the test accepts. */
#ifndef TINE_TESTS_IPC_MEET_H
#define TINE_TESTS_IPC_MEET_H

#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

#include <tine/listener.h>
#include <tine/time.h>

#include "ipc/address.h"
#include "tests/support/suite.h"

/* An abstract address that no other test uses at the same time. */
static inline const char *own_address(void)
{
    static char address[64];

    snprintf(address, sizeof address, "unix:@tine-test-%d", (int)getpid());
    return address;
}

struct dialling {
    const char *address;
    const tine_dial_options *options;
    tine_connection *connection;
    int rc;
    _Atomic bool over;
    pthread_t thread;
};

static inline void *dial_thread(void *context)
{
    struct dialling *dialling = context;

    dialling->rc = tine_dial(&dialling->connection, dialling->address, dialling->options);
    dialling->over = true;
    return NULL;
}

static inline void dialling_start(struct dialling *dialling, const tine_listener *listener,
                                  const tine_dial_options *options)
{
    *dialling = (struct dialling){.address = tine_listener_address(listener), .options = options};
    ck_assert_int_eq(pthread_create(&dialling->thread, NULL, dial_thread, dialling), 0);
}

/* What the dial has said. */
static inline int dialling_end(struct dialling *dialling)
{
    pthread_join(dialling->thread, NULL);
    return dialling->rc;
}

static inline void meet(tine_listener *listener, const tine_dial_options *options,
                        tine_connection **listener_end, tine_connection **dialler_end)
{
    struct dialling dialling;

    dialling_start(&dialling, listener, options);
    ck_assert_rc(tine_listener_accept(listener, TINE_SEC(600), listener_end), 0);
    ck_assert_rc(dialling_end(&dialling), 0);
    *dialler_end = dialling.connection;
}

/* A bare socket at a listener, which says nothing by itself. */
static inline int stranger(const tine_listener *listener)
{
    struct tine__address address;
    int fd;

    ck_assert_rc(tine__address_parse(tine_listener_address(listener), &address), 0);
    fd = tine__address_connect(&address, TINE__NEVER);
    ck_assert_ok(fd);
    return fd;
}

#endif
