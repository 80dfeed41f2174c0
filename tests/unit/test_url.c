/* URLs, forms, cookies and multipart bodies: what is decoded, what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/url.h"

static struct buf out;

static int setup(void **state) {
    (void)state;
    buf_init(&out, SIZE_MAX);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    buf_free(&out);
    return 0;
}

static struct slice text_of(const char *text) {
    return slice_of(text, strlen(text));
}

static void assert_slice(struct slice slice, const char *expected) {
    if (!slice_equal(slice, text_of(expected)))
        fail_msg("'%.*s' is not '%s'", (int)slice.len, slice.data, expected);
}

static void assert_decodes(const char *text, bool plus_is_space, const char *expected) {
    buf_reset(&out, SIZE_MAX);
    assert_int_equal(url_decode(text_of(text), plus_is_space, &out), ST_OK);
    assert_slice(buf_slice(&out), expected);
}

static void percent_and_plus_are_decoded(void **state) {
    (void)state;
    assert_decodes("", true, "");
    assert_decodes("a%20b%2Bc%2bd", true, "a b+c+d");
    assert_decodes("a+b", true, "a b");
    assert_decodes("a+b", false, "a+b");
    assert_decodes("%C3%A9", true, "\xC3\xA9");
    assert_decodes("%25%32%35", true, "%25");
    buf_reset(&out, SIZE_MAX);
    assert_int_equal(url_decode(SLICE("%00"), true, &out), ST_OK);
    assert_true(slice_equal(buf_slice(&out), SLICE("\0")));
}

static void a_percent_without_two_digits_is_invalid(void **state) {
    (void)state;
    static const char *const cases[] = {
        "%", "a%2", "%%20", "%zz", "%2g", "%g2", "ab%", "% 20", "%+2"};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(url_decode(text_of(cases[i]), true, &out), ST_INVALID);
        assert_int_equal(out.len, 0);
    }
}

static void decoding_into_a_full_buffer_is_no_memory(void **state) {
    (void)state;
    buf_init(&out, 3);
    assert_int_equal(url_decode(SLICE("abcd"), true, &out), ST_NOMEM);
}

static void every_byte_survives_encoding(void **state) {
    (void)state;
    char all[256];
    for (int i = 0; i < 256; i++)
        all[i] = (char)i;
    struct buf encoded = {.max = SIZE_MAX};
    url_encode(slice_of(all, sizeof all), &encoded);
    for (size_t i = 0; i < encoded.len; i++)
        assert_non_null(
            memchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~%",
                encoded.data[i], 67));
    assert_int_equal(encoded.len, 66 + (256 - 66) * 3);
    assert_int_equal(url_decode(buf_slice(&encoded), true, &out), ST_OK);
    assert_true(slice_equal(buf_slice(&out), slice_of(all, sizeof all)));
    buf_free(&encoded);
}

static void pairs_come_in_order_and_empty_ones_do_not(void **state) {
    (void)state;
    static const char *const expected[][2] = {
        {"a", "1"}, {"b", ""}, {"", "x"}, {"c", "d=e"}, {"f%20", ""}};
    struct slice rest = SLICE("&a=1&&b&=x&c=d=e&f%20=&"), name, value;
    for (size_t i = 0; i < 5; i++) {
        assert_true(url_next_pair(&rest, &name, &value));
        assert_slice(name, expected[i][0]);
        assert_slice(value, expected[i][1]);
    }
    assert_false(url_next_pair(&rest, &name, &value));
    rest = slice_of(NULL, 0);
    assert_false(url_next_pair(&rest, &name, &value));
}

static void assert_query(const char *query, enum status status, const char *expected) {
    buf_reset(&out, SIZE_MAX);
    assert_int_equal(url_query_get(text_of(query), SLICE("key"), &out), status);
    assert_slice(buf_slice(&out), expected);
}

static void a_query_parameter_is_found_by_its_decoded_name(void **state) {
    (void)state;
    assert_query("key=a+b%21", ST_OK, "a b!");
    assert_query("x=1&k%65y=v", ST_OK, "v");
    assert_query("key", ST_OK, "");
    assert_query("key=", ST_OK, "");
    assert_query("", ST_NOT_FOUND, "");
    assert_query("ke=1&keys=2&Key=3&xkey=4", ST_NOT_FOUND, "");
    assert_query("key=1&x=2&key=1", ST_EXISTS, "");
    assert_query("key=%", ST_INVALID, "");
    assert_query("%zz=1&key=v", ST_OK, "v");
}

static void cookies_are_taken_apart(void **state) {
    (void)state;
    static const char *const expected[][2] = {
        {"a", "1"}, {"b", "two words"}, {"c", "x=y"}, {"d", ""}, {"e", "\""}, {"f", "q"}};
    struct slice name, value,
        rest = SLICE("a=1; b=\"two words\";c=x=y;; novalue; =noname; d= ; e=\";\tf =\tq");
    for (size_t i = 0; i < 6; i++) {
        assert_true(cookie_next(&rest, &name, &value));
        assert_slice(name, expected[i][0]);
        assert_slice(value, expected[i][1]);
    }
    assert_false(cookie_next(&rest, &name, &value));
}

/* ---- multipart ---- */

static struct multipart multipart;
static struct multipart_part part;

static enum status start(const char *content_type, const char *body) {
    return multipart_init(&multipart, text_of(content_type), text_of(body));
}

static void parts_are_taken_apart(void **state) {
    (void)state;
    assert_int_equal(start("Multipart/Form-Data; charset=utf-8; Boundary=\"b 1\"",
                         "--b 1\r\n"
                         "Content-Disposition: form-data; name=\"title\"\r\n\r\n"
                         "Hello\r\nWorld\r\n--b 1  \r\n"
                         "content-type:  text/plain \r\n"
                         "X-Other: y\r\n"
                         "CONTENT-DISPOSITION: form-data; filename=\"a;b.txt\"; name=file\r\n\r\n"
                         "\r\n--b 1\r\n"
                         "Content-Disposition: form-data; name=\"\"; filename=\"\"\r\n\r\n"
                         "--b 1\r\n--b 1--\r\nepilogue"),
        ST_OK);
    assert_int_equal(multipart_next(&multipart, &part), ST_OK);
    assert_slice(part.name, "title");
    assert_null(part.filename.data);
    assert_null(part.content_type.data);
    assert_slice(part.content, "Hello\r\nWorld");
    assert_int_equal(multipart_next(&multipart, &part), ST_OK);
    assert_slice(part.name, "file");
    assert_slice(part.filename, "a;b.txt");
    assert_slice(part.content_type, "text/plain");
    assert_slice(part.content, "");
    assert_int_equal(multipart_next(&multipart, &part), ST_OK);
    assert_slice(part.name, "");
    assert_non_null(part.filename.data);
    assert_slice(part.content, "--b 1");
    assert_int_equal(multipart_next(&multipart, &part), ST_END);
    assert_int_equal(multipart_next(&multipart, &part), ST_END);
}

static void a_preamble_is_passed_over(void **state) {
    (void)state;
    assert_int_equal(start("multipart/form-data;boundary=b",
                         "text\r\n--b\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n--b--"),
        ST_OK);
    assert_int_equal(multipart_next(&multipart, &part), ST_OK);
    assert_slice(part.content, "1");
    assert_int_equal(multipart_next(&multipart, &part), ST_END);
}

static void a_content_type_without_a_usable_boundary_is_invalid(void **state) {
    (void)state;
    static const char *const types[] = {"", "multipart/form-data", "multipart/form-data;",
        "multipart/form-data; boundary=", "multipart/form-data; boundary=\"\"",
        "multipart/form-data; boundary=\"b", "multipart/form-data; boundary=\"b \"",
        "multipart/form-data; boundary=a; boundary=b", "multipart/form-data boundary=b",
        "multipart/mixed; boundary=b", "multipart/form-data-x; boundary=b",
        "multipart/form-data; boundary=\"b\r\nx\"", "multipart/form-data; boundary=b x",
        "multipart/form-data; boundary="
        "12345678901234567890123456789012345678901234567890123456789012345678901"};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (start(types[i], "--b--") != ST_INVALID)
            fail_msg("%s: accepted", types[i]);
    assert_int_equal(
        start("multipart/form-data; boundary="
              "1234567890123456789012345678901234567890123456789012345678901234567890",
            "--1234567890123456789012345678901234567890123456789012345678901234567890--"),
        ST_OK);
    assert_int_equal(multipart_next(&multipart, &part), ST_END);
}

#define HEAD "--b\r\nContent-Disposition: form-data; name=\"a\"\r\n"

static void malformed_bodies_are_invalid(void **state) {
    (void)state;
    static const char *const bodies[] = {"", "--", "--b", "--b\r\n", "nothing here", "--bx--",
        "--b-", "--b--x", HEAD, HEAD "\r\n", HEAD "\r\n1", HEAD "\r\n1--b--", HEAD "\r\n1\n--b--",
        HEAD " folded\r\n\r\n1\r\n--b--", HEAD "X : y\r\n\r\n1\r\n--b--",
        HEAD "X\r\n\r\n1\r\n--b--", HEAD "X: \x01\r\n\r\n1\r\n--b--", HEAD "X: y\n\r\n1\r\n--b--",
        "--b\r\n\r\n1\r\n--b--", HEAD "Content-Disposition: form-data; name=b\r\n\r\n1\r\n--b--",
        "--b\r\nContent-Disposition: form-data\r\n\r\n1\r\n--b--",
        "--b\r\nContent-Disposition: attachment; name=a\r\n\r\n1\r\n--b--",
        "--b\r\nContent-Disposition: form-data; name=a; name=b\r\n\r\n1\r\n--b--",
        "--b\r\nContent-Disposition: form-data; name=\"a\\\"b\"\r\n\r\n1\r\n--b--",
        "--b\r\nContent-Disposition: form-data; name=\"a\r\n\r\n1\r\n--b--",
        "--b\r\nContent-Disposition: form-data; name\r\n\r\n1\r\n--b--",
        "--b\r\nContent-Type: a/b\r\n\r\n1\r\n--b--"};
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
        assert_int_equal(start("multipart/form-data; boundary=b", bodies[i]), ST_OK);
        if (multipart_next(&multipart, &part) != ST_INVALID)
            fail_msg("%s: accepted", bodies[i]);
    }
}

/* Each cut lies in memory of its own, so that a sanitizer sees any read past the end. */
static void every_cut_of_a_body_is_invalid(void **state) {
    (void)state;
    static const char body[] = HEAD "Content-Type: text/plain\r\n\r\ncontent\r\n--b\r\n"
                                    "Content-Disposition: form-data; name=\"c\"\r\n\r\n\r\n--b--";
    for (size_t len = 0; len < sizeof body - 1; len++) {
        char *copy = malloc(len ? len : 1);
        assert_non_null(copy);
        memcpy(copy, body, len);
        assert_int_equal(multipart_init(&multipart, SLICE("multipart/form-data; boundary=b"),
                             slice_of(copy, len)),
            ST_OK);
        enum status status;
        do
            status = multipart_next(&multipart, &part);
        while (status == ST_OK);
        assert_int_equal(status, ST_INVALID);
        free(copy);
    }
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(percent_and_plus_are_decoded),
        TEST(a_percent_without_two_digits_is_invalid),
        TEST(decoding_into_a_full_buffer_is_no_memory),
        TEST(every_byte_survives_encoding),
        TEST(pairs_come_in_order_and_empty_ones_do_not),
        TEST(a_query_parameter_is_found_by_its_decoded_name),
        TEST(cookies_are_taken_apart),
        TEST(parts_are_taken_apart),
        TEST(a_preamble_is_passed_over),
        TEST(a_content_type_without_a_usable_boundary_is_invalid),
        TEST(malformed_bodies_are_invalid),
        TEST(every_cut_of_a_body_is_invalid),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
