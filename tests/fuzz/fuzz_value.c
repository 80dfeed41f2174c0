/* Stored values: bytes that are taken for one encode again to the same bytes, through a packer and
 * through JSON, and msgpack-c, where it is able to read them, reads the same.
 *
 * Input: the value. */
#include "core/value.h"

#include <math.h>
#include <msgpack.h>

#include "core/json_write.h"
#include "core/value_read.h"
#include "tests/fuzz/fuzz.h"

#define MSGPACK_DEPTH_MAX 32u /* MSGPACK_EMBED_STACK_SIZE of msgpack-c */

static struct buf packed, json, scratch, again;

static int append(void *out, const char *data, size_t len) {
    buf_append(out, data, len);
    return 0;
}

/* ---- decoded and packed again ---- */

/* Packs one item after the other: containers are headers, so a flat loop is enough. *depth: how
 * deep it nests. False if there is an item that is none. */
static bool repack(struct slice value, unsigned *depth) {
    uint64_t left[JSON_VALUE_DEPTH_MAX + 1] = {1}; /* items that the open containers still lack */
    unsigned level = 0;
    msgpack_packer packer;
    msgpack_packer_init(&packer, &packed, append);
    *depth = 0;
    while (value.len) {
        struct value_item item;
        const char *before = value.data;
        if (!value_read(&value, &item))
            return false;
        FUZZ_CHECK(value.data > before);
        while (level > 0 && left[level] == 0)
            level--;
        if (left[level] == 0)
            return false;
        left[level]--;
        uint64_t items = 0;
        switch (item.kind) {
        case VALUE_NULL:
            msgpack_pack_nil(&packer);
            break;
        case VALUE_BOOLEAN:
            item.boolean ? msgpack_pack_true(&packer) : msgpack_pack_false(&packer);
            break;
        case VALUE_INTEGER:
            msgpack_pack_int64(&packer, item.integer);
            break;
        case VALUE_REAL:
            FUZZ_CHECK(isfinite(item.real));
            msgpack_pack_double(&packer, item.real);
            break;
        case VALUE_STRING:
            msgpack_pack_str_with_body(&packer, item.string.data, item.string.len);
            break;
        case VALUE_ARRAY:
            msgpack_pack_array(&packer, items = item.count);
            break;
        case VALUE_MAP:
            msgpack_pack_map(&packer, item.count);
            items = 2 * (uint64_t)item.count;
        }
        FUZZ_CHECK(items <= value.len);
        if (item.kind == VALUE_ARRAY || item.kind == VALUE_MAP) {
            if (level == JSON_VALUE_DEPTH_MAX)
                return false;
            left[++level] = items;
            *depth = level > *depth ? level : *depth;
        }
    }
    return true;
}

/* ---- against msgpack-c ---- */

static void check_same(struct slice *rest, const msgpack_object *theirs) {
    struct value_item item;
    FUZZ_CHECK(value_read(rest, &item));
    switch (item.kind) {
    case VALUE_NULL:
        FUZZ_CHECK(theirs->type == MSGPACK_OBJECT_NIL);
        return;
    case VALUE_BOOLEAN:
        FUZZ_CHECK(theirs->type == MSGPACK_OBJECT_BOOLEAN && theirs->via.boolean == item.boolean);
        return;
    case VALUE_INTEGER:
        if (item.integer >= 0)
            FUZZ_CHECK(theirs->type == MSGPACK_OBJECT_POSITIVE_INTEGER &&
                       theirs->via.u64 == (uint64_t)item.integer);
        else
            FUZZ_CHECK(
                theirs->type == MSGPACK_OBJECT_NEGATIVE_INTEGER && theirs->via.i64 == item.integer);
        return;
    case VALUE_REAL:
        FUZZ_CHECK(theirs->type == MSGPACK_OBJECT_FLOAT64 && theirs->via.f64 == item.real);
        return;
    case VALUE_STRING:
        FUZZ_CHECK(theirs->type == MSGPACK_OBJECT_STR);
        fuzz_check_equal(
            item.string, slice_of(theirs->via.str.ptr, theirs->via.str.size), "a string");
        return;
    case VALUE_ARRAY:
        FUZZ_CHECK(theirs->type == MSGPACK_OBJECT_ARRAY && theirs->via.array.size == item.count);
        for (uint32_t i = 0; i < item.count; i++)
            check_same(rest, &theirs->via.array.ptr[i]);
        return;
    case VALUE_MAP:
        FUZZ_CHECK(theirs->type == MSGPACK_OBJECT_MAP && theirs->via.map.size == item.count);
        for (uint32_t i = 0; i < item.count; i++) {
            check_same(rest, &theirs->via.map.ptr[i].key);
            check_same(rest, &theirs->via.map.ptr[i].val);
        }
    }
}

static void check_against_msgpack(struct slice value) {
    msgpack_unpacked result;
    msgpack_unpacked_init(&result);
    size_t offset = 0;
    FUZZ_CHECK(
        msgpack_unpack_next(&result, value.data, value.len, &offset) == MSGPACK_UNPACK_SUCCESS);
    FUZZ_CHECK(offset == value.len);
    check_same(&value, &result.data);
    FUZZ_CHECK(value.len == 0);
    msgpack_unpacked_destroy(&result);
}

/* ---- through JSON ---- */

static void check_json(struct slice value) {
    struct json_reader reader;
    buf_reset(&json, 65536);
    buf_reset(&again, 65536);
    FUZZ_CHECK(value_to_json(value, &json) == ST_OK);
    json_reader_init(&reader, buf_slice(&json), &scratch, JSON_READER_DEPTH_MAX);
    if (value_from_json(&reader, json_next(&reader), &again) != ST_OK)
        FUZZ_CHECK(
            strstr(reader.error, "name") != NULL); /* a name twice: for value_valid's callers */
    else
        fuzz_check_equal(value, buf_slice(&again), "the value through JSON");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    scratch.max = packed.max = json.max = again.max = SIZE_MAX;
    buf_reset(&scratch, 65536);
    buf_reset(&packed, 65536);
    buf_reset(&json, 65536);
    struct slice value = fuzz_copy(data, size);
    unsigned depth;
    if (repack(value, &depth)) /* what is read is in its shortest form */
        fuzz_check_equal(value, buf_slice(&packed), "the value packed again");
    enum status written = value_to_json(value, &json);
    FUZZ_CHECK(written == ST_OK || (written == ST_CORRUPT && json.len == 0));
    struct number sum;
    buf_reset(&again, 65536);
    enum status added = value_add(value, (struct number){.integer = INT64_MAX}, &again, &sum);
    FUZZ_CHECK(added == ST_OK || again.len == 0);
    if (value_valid(value)) {
        check_json(value);
        if (depth < MSGPACK_DEPTH_MAX)
            check_against_msgpack(value);
    }
    fuzz_drop(value);
    return 0;
}
