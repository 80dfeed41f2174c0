/* JSON and stored values, one operation at a time, on one thread.
 *
 * Expectation: the reader looks at each byte about once and branches once a token, so some 10 ns a
 * token and under 1 ns a byte of plain text; the decoder and the writer are alike. msgpack-c's
 * unpacker, which core/value_read.h stands in for, also allocates a tree: its figure stands beside
 * for comparison. Run: build/micro_json */
#include <msgpack.h>

#include <assert.h>
#include <stdio.h>

#include "core/clock.h"
#include "core/json_write.h"
#include "core/value.h"

#define RUN_NS (300 * NS_PER_MS)
#define BATCH 1000u

struct bench {
    const char *name;
    struct buf json, value, out, scratch;
};

static void skip_all(struct bench *bench) {
    struct json_reader reader;
    json_reader_init(&reader, buf_slice(&bench->json), &bench->scratch, JSON_READER_DEPTH_MAX);
    bool good = json_skip(&reader, json_next(&reader)) && json_next(&reader) == JSON_END;
    assert(good);
}

static void from_json(struct bench *bench) {
    struct json_reader reader;
    json_reader_init(&reader, buf_slice(&bench->json), &bench->scratch, JSON_READER_DEPTH_MAX);
    bench->out.len = 0;
    enum status status = value_from_json(&reader, json_next(&reader), &bench->out);
    assert(status == ST_OK && bench->out.len == bench->value.len);
}

static void to_json(struct bench *bench) {
    bench->out.len = 0;
    enum status status = value_to_json(buf_slice(&bench->value), &bench->out);
    assert(status == ST_OK && bench->out.len == bench->json.len);
}

static void check_value(struct bench *bench) {
    bool good = value_valid(buf_slice(&bench->value));
    assert(good);
}

static void unpack_by_library(struct bench *bench) {
    msgpack_unpacked unpacked;
    msgpack_unpacked_init(&unpacked);
    size_t at = 0;
    msgpack_unpack_return got =
        msgpack_unpack_next(&unpacked, bench->value.data, bench->value.len, &at);
    assert(got == MSGPACK_UNPACK_SUCCESS);
    msgpack_unpacked_destroy(&unpacked);
}

static double measure_ns(struct bench *bench, void (*run)(struct bench *)) {
    uint64_t began = clock_monotonic_ns(), runs = 0, took;
    do {
        for (unsigned i = 0; i < BATCH; i++)
            run(bench);
        runs += BATCH;
        took = clock_monotonic_ns() - began;
    } while (took < RUN_NS);
    return (double)took / (double)runs;
}

static void measure_document(const char *name, struct buf json) {
    struct bench bench = {.name = name, .json = json};
    bench.value.max = bench.out.max = bench.scratch.max = SIZE_MAX;
    struct json_reader reader;
    json_reader_init(&reader, buf_slice(&json), &bench.scratch, JSON_READER_DEPTH_MAX);
    enum status status = value_from_json(&reader, json_next(&reader), &bench.value);
    assert(status == ST_OK);
    printf("%-16s %6zu %6zu %8.0f %8.0f %8.0f %8.0f %8.0f\n", name, json.len, bench.value.len,
        measure_ns(&bench, skip_all), measure_ns(&bench, from_json), measure_ns(&bench, to_json),
        measure_ns(&bench, check_value), measure_ns(&bench, unpack_by_library));
    buf_free(&bench.json);
    buf_free(&bench.value);
    buf_free(&bench.out);
    buf_free(&bench.scratch);
}

static void measure_text(const char *name, const char *text) {
    struct buf json = {.max = SIZE_MAX};
    buf_append_text(&json, text);
    measure_document(name, json);
}

static struct buf array_of(unsigned count, const char *item) {
    struct buf json = {.max = SIZE_MAX};
    for (unsigned i = 0; i < count; i++) {
        buf_append_byte(&json, i ? ',' : '[');
        buf_append_text(&json, item);
    }
    buf_append_byte(&json, ']');
    return json;
}

static struct buf long_string(size_t len) {
    struct buf json = {.max = SIZE_MAX};
    buf_append_byte(&json, '"');
    for (size_t i = 0; i < len; i++)
        buf_append_byte(&json, (char)('a' + i % 26));
    buf_append_byte(&json, '"');
    return json;
}

int main(void) {
    printf("concave %s, one thread, ns an operation\n", CONCAVE_VERSION);
    printf("%-16s %6s %6s %8s %8s %8s %8s %8s\n", "document", "json B", "value B", "read", "pack",
        "write", "valid", "msgpackc");
    measure_text("integer", "12345");
    measure_text("string", "\"Ada Lovelace\"");
    measure_text("short real", "12.5");
    measure_text("long real", "0.30000000000000004");
    measure_text("record", "{\"id\":12345,\"name\":\"Ada "
                           "Lovelace\",\"balance\":12.5,\"tags\":[\"tag\",\"tag\",\"tag\"]}");
    measure_document("1 KB string", long_string(1000));
    measure_text("escapes", "\"line one\\nline two\\t\\\"quoted\\\" and some more text\\n\"");
    measure_document("100 records", array_of(100, "{\"id\":12345,\"name\":\"Ada\",\"on\":true}"));
    return 0;
}
