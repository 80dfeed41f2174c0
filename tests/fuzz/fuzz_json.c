/* The JSON reader against cJSON, which is lenient: what we take it takes too, and reads the same;
 * and what was taken survives the way into a stored value and back, byte for byte.
 *
 * Input: the text. */
#include "core/json_read.h"

#include <cjson/cJSON.h>
#include <ctype.h>
#include <math.h>

#include "core/json_write.h"
#include "core/value.h"
#include "tests/fuzz/fuzz.h"

/* cJSON reads this many bytes of a number and takes what follows for something else; it ends
 * strings at a zero byte, and does not nest deeper than 1000. */
#define CJSON_NUMBER_BYTES_MAX 63u

static struct buf scratch, value, written, again;

static bool accepted(struct slice text) {
    struct json_reader reader;
    json_reader_init(&reader, text, &scratch, JSON_READER_DEPTH_MAX);
    bool whole = json_skip(&reader, json_next(&reader)) && json_next(&reader) == JSON_END;
    FUZZ_CHECK(whole || (reader.error && reader.error_at <= text.len));
    FUZZ_CHECK(json_next(&reader) == (whole ? JSON_END : JSON_ERROR));
    FUZZ_CHECK(scratch.len == 0);
    return whole;
}

static bool has_long_number(struct slice text) {
    size_t run = 0;
    for (size_t i = 0; i < text.len; i++) {
        bool numeric = isdigit((unsigned char)text.data[i]) || memchr("+-.eE", text.data[i], 5);
        run = numeric ? run + 1 : 0;
        if (run > CJSON_NUMBER_BYTES_MAX)
            return true;
    }
    return false;
}

/* ---- both readings ---- */

static void check_text(struct slice ours, const char *theirs) {
    const char *zero = ours.len ? memchr(ours.data, 0, ours.len) : NULL;
    size_t len = zero ? (size_t)(zero - ours.data) : ours.len;
    fuzz_check_equal(slice_of(ours.data, len), slice_of(theirs, strlen(theirs)), "a string");
}

static void check_value(struct json_reader *reader, enum json_token token, const cJSON *theirs);

static void check_items(struct json_reader *reader, enum json_token end, const cJSON *theirs) {
    for (const cJSON *item = theirs->child; item; item = item->next) {
        enum json_token token = json_next(reader);
        if (end == JSON_OBJECT_END) {
            FUZZ_CHECK(token == JSON_NAME);
            check_text(reader->string, item->string);
            token = json_next(reader);
        }
        check_value(reader, token, item);
    }
    FUZZ_CHECK(json_next(reader) == end);
}

static void check_value(struct json_reader *reader, enum json_token token, const cJSON *theirs) {
    switch (token) {
    case JSON_NULL:
        FUZZ_CHECK(cJSON_IsNull(theirs));
        return;
    case JSON_TRUE:
        FUZZ_CHECK(cJSON_IsTrue(theirs));
        return;
    case JSON_FALSE:
        FUZZ_CHECK(cJSON_IsFalse(theirs));
        return;
    case JSON_INTEGER: /* cJSON knows doubles only */
        FUZZ_CHECK(cJSON_IsNumber(theirs) && theirs->valuedouble == (double)reader->integer);
        return;
    case JSON_REAL:
        FUZZ_CHECK(isfinite(reader->real));
        FUZZ_CHECK(cJSON_IsNumber(theirs) && theirs->valuedouble == reader->real);
        return;
    case JSON_STRING:
        FUZZ_CHECK(cJSON_IsString(theirs) && utf8_valid(reader->string));
        check_text(reader->string, theirs->valuestring);
        return;
    case JSON_ARRAY:
        FUZZ_CHECK(cJSON_IsArray(theirs));
        check_items(reader, JSON_ARRAY_END, theirs);
        return;
    case JSON_OBJECT:
        FUZZ_CHECK(cJSON_IsObject(theirs));
        check_items(reader, JSON_OBJECT_END, theirs);
        return;
    default:
        FUZZ_CHECK(token < JSON_ARRAY_END);
    }
}

static void check_against_cjson(struct slice text) {
    if (has_long_number(text))
        return;
    const char *parsed_to = NULL;
    cJSON *theirs = cJSON_ParseWithLengthOpts(text.data, text.len, &parsed_to, false);
    FUZZ_CHECK(theirs != NULL);
    struct json_reader reader;
    json_reader_init(&reader, text, &scratch, JSON_READER_DEPTH_MAX);
    check_value(&reader, json_next(&reader), theirs);
    FUZZ_CHECK(json_next(&reader) == JSON_END);
    cJSON_Delete(theirs);
}

/* ---- stored values ---- */

static enum status pack(struct slice text, struct buf *out) {
    struct json_reader reader;
    buf_reset(out, 65536);
    json_reader_init(&reader, text, &scratch, JSON_READER_DEPTH_MAX);
    enum status status = value_from_json(&reader, json_next(&reader), out);
    scratch.len = 0;
    return status;
}

static void check_stored(struct slice text) {
    if (pack(text, &value) != ST_OK)
        return; /* deeper than a value may be */
    struct slice stored = fuzz_copy(value.data, value.len);
    FUZZ_CHECK(value_valid(stored) == ((unsigned char)stored.data[0] != 0xC0));
    buf_reset(&written, 65536);
    FUZZ_CHECK(value_to_json(stored, &written) == ST_OK);
    FUZZ_CHECK(pack(buf_slice(&written), &again) == ST_OK);
    fuzz_check_equal(stored, buf_slice(&again), "the stored value");
    fuzz_drop(stored);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    scratch.max = value.max = written.max = again.max = SIZE_MAX;
    buf_reset(&scratch, 65536);
    struct slice text = fuzz_copy(data, size);
    if (accepted(text)) {
        check_against_cjson(text);
        check_stored(text);
    }
    fuzz_drop(text);
    return 0;
}
