/* SPDX-License-Identifier: MIT */
/* A plugin with a task and a body; test_task.c loads it, before its pool is opened or after. */
#include <tine/task.h>

int plugin_task(tine_call *call);
int plugin_body(size_t begin, size_t end, void *context);

__attribute__((visibility("default"))) int plugin_task(tine_call *call)
{
    return tine_return(call, "s", "from the plugin");
}

__attribute__((visibility("default"))) int plugin_body(size_t begin, size_t end, void *context)
{
    (void)begin, (void)end, (void)context;
    return 0;
}
