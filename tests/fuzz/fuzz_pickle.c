/* SPDX-License-Identifier: MIT */
/*
 * Envelopes: any bytes as a pickle, and any bytes as the value of one, whole, cut and damaged. The
 * first two bytes say where the damage is.
 */
#include <tine/codec.h>
#include <tine/error.h>

#include <errno.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"

static int open_pickle(const uint8_t *bytes, size_t size)
{
    const void *value = NULL;
    size_t value_size = 0;
    int rc = tine_unpickle(bytes, size, NULL, &value, &value_size);

    if (rc == 0) {
        REQUIRE((const uint8_t *)value == bytes + 48 && value_size == size - 48);
    } else {
        REQUIRE(value == NULL && value_size == 0);
        REQUIRE(rc == TINE_EFORMAT || rc == TINE_ECHECKSUM || rc == -EBADMSG || rc == -EPROTO);
    }
    return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    tine_buffer pickle = {0};
    size_t place;
    int rc;

    open_pickle(data, size);
    if (size < 3)
        return 0;
    place = data[0] | (size_t)data[1] << 8;
    rc = tine_pickle(&pickle, data + 2, size - 2);
    REQUIRE(rc == 0 || (rc == TINE_EFORMAT && pickle.size == 0));
    if (rc == 0) {
        rc = open_pickle(pickle.data, pickle.size);
        REQUIRE(rc == 0 || rc == TINE_EFORMAT); /* beyond the default limits */
        REQUIRE(open_pickle(pickle.data, place % pickle.size) == -EBADMSG);
        pickle.data[place / 8 % pickle.size] ^= (uint8_t)(1U << place % 8);
        REQUIRE(open_pickle(pickle.data, pickle.size) < 0);
    }
    tine_buffer_free(&pickle);
    return 0;
}
