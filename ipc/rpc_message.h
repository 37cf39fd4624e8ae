/* SPDX-License-Identifier: MIT */
#ifndef TINE_IPC_RPC_MESSAGE_H
#define TINE_IPC_RPC_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <tine/codec.h>

#include "lib/codec.h"

enum tine__rpc_kind {
    TINE__RPC_REQUEST = 0, /* the first three: as on the wire */
    TINE__RPC_ANSWER = 1,
    TINE__RPC_NOTICE = 2, /* a request that gets no answer */
    TINE__RPC_CANCEL = 3, /* a notice of our own */
};

/* What a message says. Pointers lie in its bytes. */
struct tine__rpc_message {
    enum tine__rpc_kind kind;
    uint64_t id;      /* not of notices */
    const char *name; /* of requests and notices: of the function, name_size bytes */
    size_t name_size;
    const void *value; /* of those the arguments, one array; of an answer the result; packed */
    size_t value_size;
    bool failed;  /* of answers: the following is so, instead of a result */
    int32_t code; /* negative; 0: the other side gives none */
    const char *text;
    size_t text_size;
};

/* Any bytes: 0, or TINE_EFORMAT. */
int tine__rpc_decode(const void *bytes, size_t size, struct tine__rpc_message *message);

/*
 * Append one message to a buffer, which is to be emptied after a failure. 0, -EINVAL (name, format,
 * or one with letters that mean something within a family only), or as tine_pack().
 */
int tine__rpc_put_request(tine_buffer *out, uint64_t id, const char *name, const char *format,
                          struct tine__arguments *args);
int tine__rpc_put_notice(tine_buffer *out, const char *name, const char *format,
                         struct tine__arguments *args);
int tine__rpc_put_cancel(tine_buffer *out, uint64_t id);
int tine__rpc_put_result(tine_buffer *out, uint64_t id, const char *format,
                         struct tine__arguments *args); /* exactly one value */
int tine__rpc_put_packed(tine_buffer *out, uint64_t id, const void *value, size_t size);
int tine__rpc_put_error(tine_buffer *out, uint64_t id, int32_t code, const char *text);

/* May a function be called so? Names have 1 to 255 bytes, and do not begin "tine.". */
bool tine__rpc_is_name(const char *name);
/* Is it a format without letters that mean something within a family only? */
bool tine__rpc_is_format(const char *format);

#endif
