/* SPDX-License-Identifier: MIT */
/*
 * A request in the hands of whoever answers it: its arguments, and the one answer that it gets,
 * from any thread and at any time. Who answers gives the request up; the server has a second
 * reference while it calls the function, to see what became of it.
 */
#include <tine/rpc.h>

#include <tine/error.h>

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "ipc/rpc_peer.h"
#include "lib/fork.h"

static int check(const tine_rpc_request *request)
{
    if (request == NULL)
        return -EINVAL;
    return request->peer->generation == tine__fork_generation_fast() ? 0 : TINE_EFORKED;
}

int tine_rpc_args(tine_rpc_request *request, const char *format, ...)
{
    va_list args;
    int rc;

    if (request == NULL || !tine__rpc_is_format(format))
        return -EINVAL;
    va_start(args, format);
    rc = tine__vunpack(request->args, request->args_size, format, true, args, &request->texts);
    va_end(args);
    return rc;
}

int tine_rpc_args_packed(tine_rpc_request *request, const void **bytes, size_t *size)
{
    if (request == NULL || bytes == NULL || size == NULL)
        return -EINVAL;
    *bytes = request->args;
    *size = request->args_size;
    return 0;
}

bool tine_rpc_cancelled(const tine_rpc_request *request)
{
    return request != NULL && atomic_load_explicit(&request->cancelled, memory_order_relaxed);
}

/* The message is given. 0: so is the request. */
static int answer(tine_rpc_request *request, tine_buffer *message, int rc)
{
    if (rc == 0 && atomic_exchange_explicit(&request->answered, true, memory_order_relaxed))
        rc = -EALREADY;
    else if (rc == 0) {
        rc = tine__rpc_peer_answer(request, message);
        if (rc < 0)
            atomic_store_explicit(&request->answered, false, memory_order_relaxed);
    }
    tine_buffer_free(message);
    if (rc == 0)
        tine__rpc_request_unreference(request);
    return rc;
}

int tine_rpc_reply(tine_rpc_request *request, const char *format, ...)
{
    struct tine__arguments args = {.descriptors = NULL};
    tine_buffer message = {.data = NULL};
    int rc = check(request);

    if (rc < 0)
        return rc;
    va_start(args.list, format);
    rc = tine__rpc_put_result(&message, request->id, format, &args);
    va_end(args.list);
    return answer(request, &message, rc);
}

int tine_rpc_reply_packed(tine_rpc_request *request, const void *bytes, size_t size)
{
    tine_buffer message = {.data = NULL};
    int rc = bytes == NULL ? -EINVAL : check(request);

    if (rc < 0)
        return rc;
    return answer(request, &message, tine__rpc_put_packed(&message, request->id, bytes, size));
}

/* Where there is no memory for any answer, the client shall not wait for one. */
static void fail(tine_rpc_request *request, int code, const char *text)
{
    tine_buffer message = {.data = NULL};
    int rc = tine__rpc_put_error(&message, request->id, code, text);

    rc = answer(request, &message, rc);
    if (rc < 0 && rc != -EALREADY)
        tine__rpc_peer_give_up(request);
}

void tine__rpc_request_fail(tine_rpc_request *request, int code, const char *text)
{
    if (!atomic_load_explicit(&request->answered, memory_order_relaxed))
        fail(request, code, text);
}

int tine_rpc_fail(tine_rpc_request *request, int code, const char *format, ...)
{
    char text[sizeof((tine_failure *)0)->message];
    va_list args;

    if (request == NULL || format == NULL || code >= 0)
        return -EINVAL;
    if (check(request) < 0)
        return code;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    fail(request, code, text);
    return code;
}

void tine_rpc_drop(tine_rpc_request *request)
{
    if (request == NULL)
        return;
    if (check(request) == 0)
        fail(request, -ECANCELED, "the server has dropped the request");
    else
        tine__rpc_request_unreference(request);
}
