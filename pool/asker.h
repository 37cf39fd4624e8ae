/* SPDX-License-Identifier: MIT */
/*
 * Who may ask the forkserver for a process: who has all the rights that the server has, for the
 * process has them.
 */
#ifndef TINE_POOL_ASKER_H
#define TINE_POOL_ASKER_H

#include <stdbool.h>
#include <sys/socket.h>

#include "lib/credentials.h"

struct tine__asker_rule {
    struct tine__credentials own; /* the server's */
    bool known;                   /* these can be compared; else only user and group are */
    bool hidden;                  /* where the program is cannot be seen by the server */
};

/* In the server, before it serves its program. */
void tine__asker_begin(struct tine__asker_rule *rule, pid_t program);
/* tid: of the thread that asks, as the sender has it. 0, -EPERM; -EMFILE …: there is no telling. */
int tine__asker_check(const struct tine__asker_rule *rule, const struct ucred *sender, pid_t tid);

#endif
