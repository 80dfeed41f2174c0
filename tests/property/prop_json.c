/* The JSON reader against cJSON, which is lenient, on random documents, whole and damaged; and
 * stored values there and back. Every text ends at a page that cannot be read, so a read past it
 * crashes.
 *
 * Usage: prop_json [seed [documents]]; the seed is printed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/json_write.h"
#include "core/splitmix.h"
#include "core/value.h"
#include "tests/support/scale.h"

#define TEXT_BYTES_MAX 65536u

static uint64_t seed = 20261121, random_state;
static unsigned documents;
static char *guard; /* the page that cannot be read; TEXT_BYTES_MAX bytes before it can */
static struct buf document, scratch, value, written, value_again;

static uint64_t draw(void) {
    return splitmix_next(&random_state);
}

static unsigned below(unsigned bound) {
    return (unsigned)(draw() % bound);
}

static int setup(void **state) {
    (void)state;
    char *pages = mmap(NULL, TEXT_BYTES_MAX + (size_t)sysconf(_SC_PAGESIZE), PROT_READ | PROT_WRITE,
        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED)
        return -1;
    guard = pages + TEXT_BYTES_MAX;
    random_state = seed;
    document.max = TEXT_BYTES_MAX;
    scratch.max = value.max = written.max = value_again.max = SIZE_MAX;
    return mprotect(guard, (size_t)sysconf(_SC_PAGESIZE), PROT_NONE);
}

static int teardown(void **state) {
    (void)state;
    buf_free(&document);
    buf_free(&scratch);
    buf_free(&value);
    buf_free(&written);
    buf_free(&value_again);
    return munmap(guard - TEXT_BYTES_MAX, TEXT_BYTES_MAX + (size_t)sysconf(_SC_PAGESIZE));
}

/* A copy of the text that ends where the unreadable page begins. */
static struct slice guarded(struct slice text) {
    assert_true(text.len <= TEXT_BYTES_MAX);
    char *at = guard - text.len;
    if (text.len)
        memcpy(at, text.data, text.len);
    return slice_of(at, text.len);
}

/* ---- random documents ---- */

static void put_space(void) {
    static const char *const spaces[] = {"", "", "", " ", "\n", "\r\n\t", "  "};
    buf_append_text(&document, spaces[below(7)]);
}

static void put_string(const char *unique) {
    static const char *const pieces[] = {"a", "b", "plain text of some length", "\\n", "\\\"",
        "\\\\", "\\/", "\\u0000", "\\u001f", "\\u00e9", "\\uFFFD", "\\ud83d\\ude00", "\xC3\xA9",
        "\xE2\x82\xAC", "\xF0\x9F\x98\x80", "\x7F", "{", "]", ",", ":", "'"};
    buf_append_byte(&document, '"');
    buf_append_text(&document, unique);
    for (unsigned i = below(6); i > 0; i--)
        buf_append_text(&document, pieces[below(sizeof pieces / sizeof *pieces)]);
    buf_append_byte(&document, '"');
}

static void put_number(void) {
    static const char *const edges[] = {"0", "-0", "-0.0", "9223372036854775807",
        "-9223372036854775808", "1e308", "5e-324", "1E+2", "0.1", "-1.5e-7", "9007199254740993.0"};
    switch (below(4)) {
    case 0:
        buf_append_text(&document, edges[below(sizeof edges / sizeof *edges)]);
        return;
    case 1:
        buf_append_i64(&document, (int64_t)draw() >> below(64));
        return;
    case 2:
        buf_printf(
            &document, "%.*g.%ue%d", 3, (double)below(900), below(100000), (int)below(600) - 300);
        return;
    default:
        buf_printf(&document, "%s%u.%u", below(2) ? "-" : "", below(100000), below(100000));
    }
}

static void put_value(unsigned depth);

static void put_container(unsigned depth, bool is_object) {
    unsigned count = below(8) == 0 ? below(40) : below(5);
    buf_append_byte(&document, is_object ? '{' : '[');
    put_space();
    for (unsigned i = 0; i < count; i++) {
        if (i > 0)
            buf_append_byte(&document, ',');
        put_space();
        if (is_object) {
            char unique[16];
            (void)snprintf(unique, sizeof unique, i ? "%u~" : "", i);
            put_string(unique);
            put_space();
            buf_append_byte(&document, ':');
        }
        put_value(depth + 1);
        put_space();
    }
    buf_append_byte(&document, is_object ? '}' : ']');
}

static void put_value(unsigned depth) {
    put_space();
    unsigned kind = below(document.len > 2000 || depth > 12 ? 6 : 10);
    if (kind == 0)
        buf_append_text(&document, "null");
    else if (kind == 1)
        buf_append_text(&document, below(2) ? "true" : "false");
    else if (kind < 4)
        put_string("");
    else if (kind < 6)
        put_number();
    else
        put_container(depth, kind % 2);
}

static void make_document(void) {
    do {
        buf_reset(&document, SIZE_MAX);
        put_value(0);
        put_space();
    } while (!buf_ok(&document));
}

/* ---- against cJSON ---- */

/* cJSON ends strings at a zero byte, so those with one can only be compared up to it. */
static void assert_same_text(struct slice ours, const char *theirs) {
    const char *zero = ours.len ? memchr(ours.data, 0, ours.len) : NULL;
    size_t len = zero ? (size_t)(zero - ours.data) : ours.len;
    if (strlen(theirs) != len || (len && memcmp(theirs, ours.data, len) != 0))
        fail_msg("'%s' where we read '%.*s'", theirs, (int)len, ours.data);
}

static void assert_same_value(
    struct json_reader *reader, enum json_token token, const cJSON *theirs);

static void assert_same_items(
    struct json_reader *reader, enum json_token end, const cJSON *theirs) {
    for (const cJSON *item = theirs->child; item; item = item->next) {
        enum json_token token = json_next(reader);
        if (end == JSON_OBJECT_END) {
            assert_int_equal(token, JSON_NAME);
            assert_same_text(reader->string, item->string);
            token = json_next(reader);
        }
        assert_same_value(reader, token, item);
    }
    assert_int_equal(json_next(reader), end);
}

static void assert_same_value(
    struct json_reader *reader, enum json_token token, const cJSON *theirs) {
    switch (token) {
    case JSON_NULL:
        assert_true(cJSON_IsNull(theirs));
        break;
    case JSON_TRUE:
        assert_true(cJSON_IsTrue(theirs));
        break;
    case JSON_FALSE:
        assert_true(cJSON_IsFalse(theirs));
        break;
    case JSON_INTEGER: /* cJSON knows doubles only */
        assert_true(cJSON_IsNumber(theirs) && theirs->valuedouble == (double)reader->integer);
        break;
    case JSON_REAL:
        assert_true(cJSON_IsNumber(theirs) && theirs->valuedouble == reader->real);
        break;
    case JSON_STRING:
        assert_true(cJSON_IsString(theirs));
        assert_same_text(reader->string, theirs->valuestring);
        break;
    case JSON_ARRAY:
        assert_true(cJSON_IsArray(theirs));
        assert_same_items(reader, JSON_ARRAY_END, theirs);
        break;
    case JSON_OBJECT:
        assert_true(cJSON_IsObject(theirs));
        assert_same_items(reader, JSON_OBJECT_END, theirs);
        break;
    default:
        fail_msg("token %d: %s", (int)token, reader->error ? reader->error : "");
    }
}

static bool accepted(struct slice text) {
    struct json_reader reader;
    json_reader_init(&reader, text, &scratch, JSON_READER_DEPTH_MAX);
    bool whole = json_skip(&reader, json_next(&reader)) && json_next(&reader) == JSON_END;
    assert_true(whole || (reader.error && reader.error_at <= text.len));
    assert_int_equal(scratch.len, 0);
    return whole;
}

/* cJSON 1.7.15 looks at bytes behind a truncated literal only within the length it is given, and
 * keeps at most 63 bytes of a number; none of ours here is longer. */
static void assert_agrees_with_cjson(struct slice text) {
    if (!accepted(text))
        return;
    const char *parsed_to = NULL;
    cJSON *theirs = cJSON_ParseWithLengthOpts(text.data, text.len, &parsed_to, false);
    if (!theirs)
        fail_msg("cJSON refuses what we take: %.*s", (int)text.len, text.data);
    struct json_reader reader;
    json_reader_init(&reader, text, &scratch, JSON_READER_DEPTH_MAX);
    assert_same_value(&reader, json_next(&reader), theirs);
    assert_int_equal(json_next(&reader), JSON_END);
    cJSON_Delete(theirs);
}

static void whole_documents_are_accepted_and_read_as_cjson_reads_them(void **state) {
    (void)state;
    for (unsigned i = 0; i < documents; i++) {
        make_document();
        struct slice text = guarded(buf_slice(&document));
        if (!accepted(text))
            fail_msg("refused: %.*s", (int)text.len, text.data);
        assert_agrees_with_cjson(text);
    }
}

static void mutate(void) {
    static const char bytes[] = "{}[]\",:\\u0eE+-.19dntf \n\x01\x80\xC3\xED\xFF";
    size_t at = below((unsigned)document.len);
    size_t other = below((unsigned)document.len);
    switch (below(4)) {
    case 0: /* another byte */
        document.data[at] = bytes[below(sizeof bytes)];
        break;
    case 1: /* one less */
        memmove(document.data + at, document.data + at + 1, document.len - at - 1);
        document.len--;
        break;
    case 2: /* a flipped bit */
        document.data[at] = (char)(document.data[at] ^ 1 << below(8));
        break;
    default: { /* a piece of it somewhere else: may make duplicate names */
        size_t most = document.len - (at > other ? at : other);
        memmove(document.data + at, document.data + other, most < 12 ? most : 12);
    }
    }
}

static void what_we_accept_of_damaged_documents_cjson_accepts_too(void **state) {
    (void)state;
    unsigned still_accepted = 0;
    for (unsigned i = 0; i < documents; i++) {
        make_document();
        for (int j = 0; j < 8 && document.len > 0; j++) {
            mutate();
            struct slice text = guarded(buf_slice(&document));
            still_accepted += accepted(text);
            assert_agrees_with_cjson(text);
        }
    }
    assert_true(still_accepted > documents / 10); /* else the test says little */
}

static bool is_space(char byte) {
    return byte == ' ' || byte == '\n' || byte == '\r' || byte == '\t';
}

/* Of arrays, objects and strings; what is left of a number may be a number. */
static void every_cut_of_a_document_is_refused(void **state) {
    (void)state;
    for (unsigned i = 0; i < documents / 10; i++) {
        buf_reset(&document, SIZE_MAX);
        put_container(0, i % 2);
        if (!buf_ok(&document))
            continue;
        assert_true(accepted(guarded(buf_slice(&document))));
        for (size_t len = 0; len < document.len; len++)
            if (accepted(guarded(slice_of(document.data, len))))
                fail_msg("accepted: %.*s", (int)len, document.data);
        buf_append_byte(&document, ' ');
        assert_true(
            is_space(document.data[document.len - 1]) && accepted(guarded(buf_slice(&document))));
    }
}

/* ---- stored values ---- */

static enum status pack(struct slice text, struct buf *out) {
    struct json_reader reader;
    buf_reset(out, SIZE_MAX);
    json_reader_init(&reader, text, &scratch, JSON_READER_DEPTH_MAX);
    return value_from_json(&reader, json_next(&reader), out);
}

static void values_survive_json_and_back_byte_for_byte(void **state) {
    (void)state;
    for (unsigned i = 0; i < documents; i++) {
        make_document();
        assert_int_equal(pack(guarded(buf_slice(&document)), &value), ST_OK);
        struct slice stored = guarded(buf_slice(&value));
        assert_int_equal(value_valid(stored), (unsigned char)stored.data[0] != 0xC0);
        buf_reset(&written, SIZE_MAX);
        assert_int_equal(value_to_json(stored, &written), ST_OK);
        assert_int_equal(pack(buf_slice(&written), &value_again), ST_OK);
        assert_true(slice_equal(buf_slice(&value), buf_slice(&value_again)));
    }
}

/* A damaged value is refused, or it is another value, which then round-trips as well. */
static void damaged_values_are_refused_or_are_values(void **state) {
    (void)state;
    unsigned still_valid = 0;
    for (unsigned i = 0; i < documents; i++) {
        make_document();
        assert_int_equal(pack(buf_slice(&document), &value), ST_OK);
        for (int j = 0; j < 8; j++) {
            value.data[below((unsigned)value.len)] = (char)below(256);
            if (below(4) == 0 && value.len > 1)
                value.len--;
            struct slice stored = guarded(buf_slice(&value));
            buf_reset(&written, SIZE_MAX);
            enum status status = value_to_json(stored, &written);
            if (!value_valid(stored))
                continue;
            still_valid++;
            assert_int_equal(status, ST_OK);
            /* What value_valid leaves to its callers is the one thing that may fail now. */
            if (pack(buf_slice(&written), &value_again) == ST_OK)
                assert_true(slice_equal(stored, buf_slice(&value_again)));
        }
    }
    assert_true(still_valid > documents / 10);
}

int main(int argc, char **argv) {
    if (argc > 1)
        seed = strtoull(argv[1], NULL, 10);
    if (argc > 2)
        documents = (unsigned)strtoul(argv[2], NULL, 10);
    else
        documents = test_scaled(4000);
    printf("seed %llu; replay with: prop_json %llu %u\n", (unsigned long long)seed,
        (unsigned long long)seed, documents);
    (void)fflush(stdout);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            whole_documents_are_accepted_and_read_as_cjson_reads_them, setup, teardown),
        cmocka_unit_test_setup_teardown(
            what_we_accept_of_damaged_documents_cjson_accepts_too, setup, teardown),
        cmocka_unit_test_setup_teardown(every_cut_of_a_document_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(
            values_survive_json_and_back_byte_for_byte, setup, teardown),
        cmocka_unit_test_setup_teardown(damaged_values_are_refused_or_are_values, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
