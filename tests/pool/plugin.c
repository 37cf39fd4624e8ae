/* SPDX-License-Identifier: MIT */
/* A plugin with a task, a body and an item; test_task.c loads it before its pool is opened, or
   after. */
#include <tine/pool.h>

int plugin_task(tine_call *call);
int plugin_body(size_t begin, size_t end, void *context);
int plugin_item(const void *in, void *out, void *context);

__attribute__((visibility("default"))) int plugin_task(tine_call *call)
{
    (void)call;
    return 0;
}

__attribute__((visibility("default"))) int plugin_body(size_t begin, size_t end, void *context)
{
    (void)begin, (void)end, (void)context;
    return 0;
}

__attribute__((visibility("default"))) int plugin_item(const void *in, void *out, void *context)
{
    (void)in, (void)context;
    *(int *)out = 7;
    return 0;
}
