/* SPDX-License-Identifier: MIT */
/*
 * The one table of error codes: number, symbol, sentence. Public headers and man pages name these
 * symbols; tests/lib/test_error.c walks the table and the header.
 */
#include <tine/error.h>

#include <errno.h>

struct entry {
    int code; /* negative */
    const char *name;
    const char *text;
};

#define ERRNO(symbol, text) {-(symbol), #symbol, text}
#define OWN(symbol, text)   {symbol, #symbol, text}

static const struct entry table[] = {
    ERRNO(EPERM, "not the owner, or not permitted"),
    ERRNO(ENOENT, "no such name"),
    ERRNO(ESRCH, "no such process"),
    ERRNO(EINTR, "interrupted"),
    ERRNO(EIO, "input/output error"),
    ERRNO(E2BIG, "option struct is newer than this library"),
    ERRNO(EBADF, "handle is closed or not a handle"),
    ERRNO(ECHILD, "no such child"),
    ERRNO(EAGAIN, "would block"),
    ERRNO(ENOMEM, "out of memory"),
    ERRNO(EACCES, "access refused"),
    ERRNO(EFAULT, "address is not usable here"),
    ERRNO(EBUSY, "in use"),
    ERRNO(EEXIST, "name exists already"),
    ERRNO(EINVAL, "invalid argument"),
    ERRNO(ENFILE, "too many open files in the system"),
    ERRNO(EMFILE, "too many open files"),
    ERRNO(EFBIG, "file size limit"),
    ERRNO(ENOSPC, "no space left"),
    ERRNO(EPIPE, "peer is gone"),
    ERRNO(EDOM, "value outside the function's domain"),
    ERRNO(ERANGE, "value out of range"),
    ERRNO(EDEADLK, "would deadlock"),
    ERRNO(ENOLCK, "no room for another owner"),
    ERRNO(ENOSYS, "not offered by this kernel"),
    ERRNO(ELOOP, "nested too deeply"),
    ERRNO(ENOTSUP, "not supported here"),
    ERRNO(EPROTO, "version or layout mismatch"),
    ERRNO(EBADMSG, "message cut short"),
    ERRNO(EOVERFLOW, "count or size too large"),
    ERRNO(EMSGSIZE, "buffer too small or message too large"),
    ERRNO(EADDRINUSE, "address in use"),
    ERRNO(ENOBUFS, "no buffer space"),
    ERRNO(ESHUTDOWN, "no longer accepts work"),
    ERRNO(ETIMEDOUT, "timed out"),
    ERRNO(ECANCELED, "cancelled"),
    ERRNO(EOWNERDEAD, "held, but the previous holder died"),
    ERRNO(ENOTRECOVERABLE, "declared lost after its holder died"),
    OWN(TINE_EEOF, "peer closed the connection"),
    OWN(TINE_EFORMAT, "bytes do not decode"),
    OWN(TINE_ECHECKSUM, "checksum mismatch"),
    OWN(TINE_EWORKER, "the worker died with the job"),
    OWN(TINE_EREMOTE, "the task failed"),
    OWN(TINE_ELIMIT, "a limit of the task was hit"),
    OWN(TINE_EBROKEN, "broken"),
    OWN(TINE_EFORKED, "handle does not work in this process"),
};

static const struct entry *find(int code)
{
    int negative = code > 0 ? -code : code;

    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        if (table[i].code == negative)
            return &table[i];
    return NULL;
}

const char *tine_strerror(int code)
{
    const struct entry *entry = find(code);

    if (entry != NULL)
        return entry->text;
    return code >= 0 ? "success" : "unknown error";
}

const char *tine_errname(int code)
{
    const struct entry *entry = find(code);

    if (entry != NULL)
        return entry->name;
    return code >= 0 ? "OK" : "UNKNOWN";
}
