/* SPDX-License-Identifier: MIT */
/* tine_buffer: bytes on the C heap that grow by doubling. Owned by one thread; nothing is shared.
 */
#include "lib/codec.h"

#include "lib/checked.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_CAPACITY 64

static bool is_valid(const tine_buffer *buffer)
{
    return buffer != NULL && (buffer->reserved == 0 || buffer->reserved == TINE__BUFFER_LENT) &&
           buffer->size <= buffer->capacity && (buffer->data != NULL || buffer->capacity == 0);
}

static void *move(const tine_buffer *buffer, size_t capacity)
{
    void *data;

    if (buffer->reserved == 0)
        return realloc(buffer->data, capacity);
    data = realloc(NULL, capacity);
    return data == NULL ? NULL : memcpy(data, buffer->data, buffer->size);
}

int tine__buffer_reserve(tine_buffer *buffer, size_t more)
{
    size_t needed, capacity;
    uint8_t *data;

    if (!is_valid(buffer))
        return -EINVAL;
    if (!tine__add_size(buffer->size, more, &needed))
        return -ENOMEM;
    if (needed <= buffer->capacity)
        return 0;
    if (!tine__mul_size(buffer->capacity, 2, &capacity) || capacity < needed)
        capacity = needed;
    if (capacity < FIRST_CAPACITY)
        capacity = FIRST_CAPACITY;
    data = move(buffer, capacity);
    if (data == NULL)
        return -ENOMEM;
    *buffer = (tine_buffer){.data = data, .size = buffer->size, .capacity = capacity};
    return 0;
}

void tine_buffer_clear(tine_buffer *buffer)
{
    buffer->size = 0;
}

void tine_buffer_free(tine_buffer *buffer)
{
    if (buffer == NULL)
        return;
    if (buffer->reserved != TINE__BUFFER_LENT)
        free(buffer->data);
    *buffer = (tine_buffer){0};
}
