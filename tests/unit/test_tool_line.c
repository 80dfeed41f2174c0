/* The lines of a dump: what is written is read back, and what is no such line is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>

#include "core/json_read.h"
#include "core/value.h"
#include "core/wal_format.h"
#include "net/tool_line.h"

static struct tool_line_reader reader;
static struct buf out, error;

static int setup(void **state) {
    (void)state;
    tool_line_reader_init(&reader);
    buf_init(&out, SIZE_MAX);
    buf_init(&error, 4096);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    tool_line_reader_free(&reader);
    buf_free(&out);
    buf_free(&error);
    return 0;
}

/* A JSON text as it would be stored. */
static struct slice stored(const char *json, struct buf *value) {
    struct json_reader json_reader;
    struct buf scratch;
    buf_init(&scratch, SIZE_MAX);
    json_reader_init(&json_reader, slice_of(json, strlen(json)), &scratch, JSON_VALUE_DEPTH_MAX);
    assert_int_equal(value_from_json(&json_reader, json_next(&json_reader), value), ST_OK);
    buf_free(&scratch);
    return buf_slice(value);
}

static void assert_text(const struct buf *buf, const char *text) {
    assert_int_equal(buf->len, strlen(text));
    assert_memory_equal(buf->data, text, buf->len);
}

/* ---- written and read ---- */

static enum status read_text(const char *text, struct tool_line *line) {
    buf_reset(&error, 0);
    return tool_line_read(&reader, slice_of(text, strlen(text)), line, &error);
}

/* Without keys a head has a line to itself. */
static void a_head_alone_comes_back(void **state) {
    (void)state;
    struct tool_head head = {.last_lsn = TOOL_LSN_MAX, .first_run = true, .keys = 0};
    struct tool_line found;
    assert_int_equal(tool_line_no_items(&head, &out), ST_OK);
    assert_text(&out, "{\"last_lsn\":4611686018427387904,\"first_run\":true,\"keys\":0}\n");
    assert_int_equal(tool_line_read(&reader, buf_slice(&out), &found, &error), ST_OK);
    assert_false(found.has_item);
    assert_true(found.has_head);
    assert_int_equal(found.head.last_lsn, head.last_lsn);
    assert_true(found.head.first_run);
    assert_int_equal(found.head.keys, 0);
}

/* Otherwise it is in the line of the first key, behind what every key's line has. */
static void a_head_comes_back_with_its_item(void **state) {
    (void)state;
    struct buf value;
    struct tool_line found;
    buf_init(&value, SIZE_MAX);
    struct tool_head head = {.last_lsn = 9, .first_run = false, .keys = 7};
    struct tool_item item = {.key = SLICE("k"), .value = stored("[1]", &value), .version = 3};
    assert_int_equal(tool_line_item(&item, &head, &out), ST_OK);
    assert_text(&out, "{\"key\":\"k\",\"value\":[1],\"version\":3,"
                      "\"last_lsn\":9,\"first_run\":false,\"keys\":7}\n");
    assert_int_equal(tool_line_read(&reader, buf_slice(&out), &found, &error), ST_OK);
    assert_true(found.has_item && found.has_head);
    assert_true(slice_equal(found.item.key, item.key));
    assert_true(slice_equal(found.item.value, item.value));
    assert_int_equal(found.item.version, 3);
    assert_int_equal(found.head.last_lsn, 9);
    assert_false(found.head.first_run);
    assert_int_equal(found.head.keys, 7);
    buf_free(&value);
}

/* Whatever a value is, the bytes that are stored come back. */
static void items_come_back(void **state) {
    (void)state;
    static const char *const values[] = {"0", "-0.0", "1.0", "9223372036854775807",
        "-9223372036854775808", "5e-324", "\"\"", "\"\\u0000\\n\xC3\xA9\"", "[]", "{}",
        "{\"b\":[1,2.5,null],\"a\":{\"\":false}}", "true"};
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        struct buf value;
        struct tool_line found;
        buf_init(&value, SIZE_MAX);
        buf_reset(&out, 0);
        struct tool_item item = {
            .key = SLICE("a\0\"\xC3\xA9"), .value = stored(values[i], &value), .version = i + 1};
        assert_int_equal(tool_line_item(&item, NULL, &out), ST_OK);
        assert_int_equal(out.data[out.len - 1], '\n');
        assert_null(memchr(out.data, '\n', out.len - 1));
        assert_int_equal(tool_line_read(&reader, buf_slice(&out), &found, &error), ST_OK);
        assert_true(found.has_item && !found.has_head);
        assert_true(slice_equal(found.item.key, item.key));
        assert_true(slice_equal(found.item.value, item.value));
        assert_int_equal(found.item.version, i + 1);
        buf_free(&value);
    }
}

static void members_in_any_order(void **state) {
    (void)state;
    struct tool_line found;
    assert_int_equal(
        read_text(" { \"version\" : 3 , \"keys\" : 2 , \"value\" : [1] , "
                  "\"first_run\" : true , \"key\" : \"\\u006b\" , \"last_lsn\" : 5 } \r",
            &found),
        ST_OK);
    assert_true(slice_equal(found.item.key, SLICE("k")));
    assert_int_equal(found.item.version, 3);
    assert_int_equal(found.head.last_lsn, 5);
    assert_int_equal(found.head.keys, 2);
    assert_true(found.head.first_run);
}

static void records_show_their_operations(void **state) {
    (void)state;
    unsigned char bytes[256];
    struct buf value;
    buf_init(&value, SIZE_MAX);
    size_t len = wal_op_encode(bytes, WAL_PUT, SLICE("k"), stored("{\"x\":1}", &value));
    len += wal_op_encode(bytes + len, WAL_DELETE, SLICE("gone"), SLICE(""));
    len += wal_op_encode(bytes + len, WAL_FIRST_RUN, SLICE(""), SLICE(""));
    assert_int_equal(tool_line_record(9, slice_of((char *)bytes, len), &out), ST_OK);
    assert_text(&out, "{\"lsn\":9,\"ops\":[{\"key\":\"k\",\"value\":{\"x\":1}},"
                      "{\"key\":\"gone\",\"delete\":true},{\"first_run\":true}]}\n");
    buf_reset(&out, 0);
    assert_int_equal(tool_line_record(10, SLICE(""), &out), ST_OK);
    assert_text(&out, "{\"lsn\":10,\"ops\":[]}\n");
    buf_free(&value);
}

/* ---- refused ---- */

static void damaged_bytes_are_not_shown(void **state) {
    (void)state;
    struct tool_item item = {.key = SLICE("k"), .value = SLICE("\xC1"), .version = 1};
    assert_int_equal(tool_line_item(&item, NULL, &out), ST_CORRUPT);
    item = (struct tool_item){.key = SLICE("\xFF"), .value = SLICE("\x01"), .version = 1};
    assert_int_equal(tool_line_item(&item, NULL, &out), ST_CORRUPT);
}

static void what_is_no_line_is_refused(void **state) {
    (void)state;
    static const char *const texts[] = {"", " ", "null", "[]", "{}", "{\"key\":\"k\"}",
        "{\"key\":\"k\",\"value\":1}", "{\"key\":\"k\",\"version\":1}",
        "{\"value\":1,\"version\":1}", "{\"key\":\"k\",\"value\":null,\"version\":1}",
        "{\"key\":\"k\",\"value\":1,\"version\":0}",
        "{\"key\":\"k\",\"value\":1,\"version\":\"1\"}",
        "{\"key\":\"k\",\"value\":1,\"version\":4611686018427387905}",
        "{\"key\":\"k\",\"value\":1,\"version\":1,\"key\":\"k\"}",
        "{\"key\":\"k\",\"value\":1,\"version\":1,\"other\":1}",
        "{\"key\":\"k\",\"value\":1,\"version\":1,\"a name longer than any other\":1}",
        "{\"key\":\"k\",\"value\":[1,\"version\":1}", "{\"key\":\"k\",\"value\":1,\"version\":1}}",
        "{\"key\":\"k\",\"value\":1,\"version\":1} {}", "{\"key\":[],\"value\":1,\"version\":1}",
        /* heads */
        "{\"last_lsn\":1}", "{\"last_lsn\":1,\"first_run\":false}",
        "{\"first_run\":false,\"keys\":0}", "{\"last_lsn\":0,\"first_run\":false,\"keys\":0}",
        "{\"last_lsn\":-1,\"first_run\":false,\"keys\":0}",
        "{\"last_lsn\":1,\"first_run\":null,\"keys\":0}",
        "{\"last_lsn\":1,\"first_run\":false,\"keys\":0.0}",
        "{\"last_lsn\":1,\"first_run\":false,\"keys\":1}",
        /* both */
        "{\"key\":\"k\",\"value\":1,\"version\":1,\"last_lsn\":1}",
        "{\"key\":\"k\",\"value\":1,\"version\":1,\"last_lsn\":1,\"keys\":1}",
        "{\"key\":\"k\",\"value\":1,\"version\":1,\"last_lsn\":1,\"first_run\":true,\"keys\":0}",
        "{\"key\":\"k\",\"value\":1,\"last_lsn\":1,\"first_run\":true,\"keys\":1}"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct tool_line line;
        assert_int_equal(read_text(texts[i], &line), ST_INVALID);
        assert_true(error.len > 0);
    }
}

/* A line cut anywhere is refused. */
static void a_line_that_is_cut_is_refused(void **state) {
    (void)state;
    struct slice text = SLICE("{\"key\":\"k\\u00e9\",\"value\":{\"a\":[1.5,true]},\"version\":12,"
                              "\"last_lsn\":34,\"first_run\":false,\"keys\":5}");
    struct tool_line found;
    for (size_t len = 0; len < text.len; len++) {
        /* A copy of its own, so that a sanitizer sees a look behind its end. */
        char *exact = malloc(len ? len : 1);
        assert_non_null(exact);
        memcpy(exact, text.data, len);
        assert_int_equal(tool_line_read(&reader, slice_of(exact, len), &found, &error), ST_INVALID);
        free(exact);
    }
    assert_int_equal(tool_line_read(&reader, text, &found, &error), ST_OK);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_head_alone_comes_back),
        TEST(a_head_comes_back_with_its_item),
        TEST(items_come_back),
        TEST(members_in_any_order),
        TEST(records_show_their_operations),
        TEST(damaged_bytes_are_not_shown),
        TEST(what_is_no_line_is_refused),
        TEST(a_line_that_is_cut_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
