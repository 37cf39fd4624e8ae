/* SPDX-License-Identifier: MIT */
/*
 * pack.map5: a map of five keys, with an integer, two strings, a double and a bool, n times into
 * one buffer.
 * pack.doubles1000: an array of 1000 doubles likewise; tine by the letters `ad`, msgpack-c element
 * by element, as it has no other form that its readers know for numbers.
 *
 * The peer is msgpack-c as its users have it: its packer over its own buffer, the one made in
 * another function than the one that packs. (Where the compiler sees both it inlines what the
 * packer calls, and the doubles cost a sixth of that.)
 */
#include "bench/bench.h"
#include "bench/work.h"

#include <errno.h>
#include <string.h>

#include <msgpack.h>

#define DOUBLES   1000
#define MAP5_SIZE 57

/* Not constants for the compiler: see work_use in pack_all. */
static struct record {
    int64_t id;
    const char *name, *city;
    double value;
    bool valid;
} record = {123456, "prong", "Reykjavik", 2.5, true};

static double doubles[DOUBLES];

struct packing {
    size_t n;
    tine_buffer buffer;
    msgpack_sbuffer sbuffer;
    int (*pack)(struct packing *packing);
};

/* ---- a map ----------------------------------------------------------------------------------- */

static int tine_map5(struct packing *packing)
{
    tine_buffer_clear(&packing->buffer);
    return tine_pack(&packing->buffer, "{sqsssssds?}", "id", record.id, "name", record.name, "city",
                     record.city, "value", record.value, "valid", (int)record.valid);
}

static void start(msgpack_packer *packer, struct packing *packing)
{
    msgpack_sbuffer_clear(&packing->sbuffer);
    msgpack_packer_init(packer, &packing->sbuffer, msgpack_sbuffer_write);
    work_use(packer);
}

static int put_text(msgpack_packer *packer, const char *text)
{
    size_t length = strlen(text);

    msgpack_pack_str(packer, length);
    return msgpack_pack_str_body(packer, text, length);
}

static int msgpack_map5(struct packing *packing)
{
    msgpack_packer packer;

    start(&packer, packing);
    msgpack_pack_map(&packer, 5);
    put_text(&packer, "id");
    msgpack_pack_int64(&packer, record.id);
    put_text(&packer, "name");
    put_text(&packer, record.name);
    put_text(&packer, "city");
    put_text(&packer, record.city);
    put_text(&packer, "value");
    msgpack_pack_double(&packer, record.value);
    put_text(&packer, "valid");
    return record.valid ? msgpack_pack_true(&packer) : msgpack_pack_false(&packer);
}

/* ---- doubles --------------------------------------------------------------------------------- */

static int tine_doubles(struct packing *packing)
{
    tine_buffer_clear(&packing->buffer);
    return tine_pack(&packing->buffer, "ad", doubles, (size_t)DOUBLES);
}

static int msgpack_doubles(struct packing *packing)
{
    msgpack_packer packer;
    int rc = 0;

    start(&packer, packing);
    msgpack_pack_array(&packer, DOUBLES);
    for (size_t i = 0; i < DOUBLES && rc == 0; i++)
        rc = msgpack_pack_double(&packer, doubles[i]);
    return rc;
}

/* ---- both ------------------------------------------------------------------------------------ */

static int pack_all(void *arg)
{
    struct packing *packing = arg;
    int rc = 0;

    for (size_t i = packing->n; i > 0 && rc == 0; i--) {
        rc = packing->pack(packing);
        work_use(&record);
        work_use(doubles);
    }
    return rc;
}

static int ns_per_message(const struct bench_pass *pass, int (*pack)(struct packing *), size_t size,
                          double *value)
{
    struct packing packing = {.n = pass->n, .pack = pack};
    double seconds = 0;
    size_t packed;
    int rc;

    for (size_t i = 0; i < DOUBLES; i++)
        doubles[i] = (double)i / 3;
    msgpack_sbuffer_init(&packing.sbuffer);
    rc = bench_seconds(pass, &(struct bench_work){.run = pack_all, .arg = &packing}, &seconds);
    packed = packing.buffer.size + packing.sbuffer.size; /* one of them is not used */
    msgpack_sbuffer_destroy(&packing.sbuffer);
    tine_buffer_free(&packing.buffer);
    *value = seconds / (double)pass->n * 1e9;
    return rc == 0 && packed != size ? BENCH_WRONG : rc;
}

static int map5_side(const struct bench_pass *pass, double *value)
{
    return ns_per_message(pass, tine_map5, MAP5_SIZE, value);
}

static int map5_peer(const struct bench_pass *pass, double *value)
{
    return ns_per_message(pass, msgpack_map5, MAP5_SIZE, value);
}

static int doubles_side(const struct bench_pass *pass, double *value)
{
    return ns_per_message(pass, tine_doubles, 3 + 8 * DOUBLES, value);
}

static int doubles_peer(const struct bench_pass *pass, double *value)
{
    return ns_per_message(pass, msgpack_doubles, 3 + 9 * DOUBLES, value);
}

static const struct bench_case cases[] = {
    {
        .name = "pack.map5",
        .unit = "ns/message",
        .peer = "msgpack-c",
        .tine_side = map5_side,
        .peer_side = map5_peer,
        .n = 1000000,
        .n_quick = 1000,
        .repetitions = 9,
    },
    {
        .name = "pack.doubles1000",
        .unit = "ns/message",
        .peer = "msgpack-c by element",
        .tine_side = doubles_side,
        .peer_side = doubles_peer,
        .n = 20000,
        .n_quick = 100,
        .repetitions = 9,
    },
};

const struct bench_group bench_pack = BENCH_GROUP(cases);
