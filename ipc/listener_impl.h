/* SPDX-License-Identifier: MIT */
/* What the files of the listener share. */
#ifndef TINE_IPC_LISTENER_IMPL_H
#define TINE_IPC_LISTENER_IMPL_H

#include <tine/listener.h>

#include "ipc/address.h"
#include "ipc/terms.h"
#include "lib/clock.h"
#include "lib/futex_lock.h"

enum {
    TINE__ARRIVALS = 16,
    /* In epoll's data; less: an arrival. */
    TINE__LISTENER_SOCKET = TINE__ARRIVALS,
    TINE__LISTENER_TIMER,
    TINE__LISTENER_WATCHED, /* how many there are */
};

/* A client whose handshake is under way. */
struct tine__arrival {
    int fd; /* -1: none */
    uint64_t number, peer;
    tine__deadline deadline, grace;
    struct tine__auth auth;
};

struct tine_listener {
    int fd, epoll, timer;
    uint64_t generation;
    struct tine__futex_lock lock;
    struct tine__terms terms;
    int64_t handshake_timeout_ns;
    struct tine__address_file file;
    char *address;
    bool paused;          /* no new clients are accepted: */
    bool crowded;         /* until a place is free, */
    tine__deadline pause; /* at most until then */
    tine__deadline alarm; /* of the timer, between calls of accept */
    uint64_t came;        /* clients so far */
    struct tine__arrival arrivals[TINE__ARRIVALS];
};

#endif
