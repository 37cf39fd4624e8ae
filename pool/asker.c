/* SPDX-License-Identifier: MIT */
/*
 * The forkserver's look at who asks it; see pool/asker.h.
 *
 * The socket stays with a program that has given up rights since, and with its forks: who asks may
 * be hostile. That it had the server's user and group when it asked is the kernel's word. All else
 * is read from /proc a moment later, and may be that of a program which the sender has executed
 * meanwhile. Such a program may have gained capabilities, but not without another effective user
 * (set-user-ID) or a file that gives them to everybody; no_new_privs, filters and the bounding set
 * never come back.
 *
 * A thread that asks may name another thread of its process: who runs code in one runs it in all.
 */
#include "pool/asker.h"

#include <errno.h>
#include <unistd.h>

void tine__asker_begin(struct tine__asker_rule *rule, pid_t program)
{
    struct tine__credentials seen;

    rule->known = tine__credentials_of(getpid(), getpid(), &rule->own) == 0 &&
                  tine__credentials_of(program, program, &seen) == 0;
    rule->hidden = rule->known && !tine__credentials_has_place(&seen);
}

int tine__asker_check(const struct tine__asker_rule *rule, const struct ucred *sender, pid_t tid)
{
    struct tine__credentials seen;
    int rc;

    if (sender->pid <= 0 || sender->uid != geteuid() || sender->gid != getegid())
        return -EPERM;
    if (!rule->known)
        return 0;
    rc = tine__credentials_of(sender->pid, tid, &seen);
    if (rc == -EMFILE || rc == -ENFILE || rc == -ENOMEM)
        return rc;
    if (rc < 0)
        return -EPERM;
    if (rule->hidden && !tine__credentials_has_place(&seen))
        tine__credentials_take_place(&seen, &rule->own);
    return tine__credentials_within(&rule->own, &seen) ? 0 : -EPERM;
}
