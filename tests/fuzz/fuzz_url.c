/* Queries, forms, cookies and multipart bodies: what is taken off them lies inside of them, what is
 * decoded is what a second, simpler reading gives, and encoding undoes decoding.
 *
 * Input: a field that ends in a zero byte (a name to look up; for multipart the Content-Type), then
 * the text. */
#include "core/url.h"

#include "tests/fuzz/fuzz.h"

#define STEPS_MAX 100000u

static void check_inside(struct slice part, struct slice text) {
    FUZZ_CHECK(part.len == 0 || (part.data >= text.data && part.len <= text.len &&
                                    part.data + part.len <= text.data + text.len));
}

/* ---- percent-encoding ---- */

static int digit(char byte) {
    const char *digits = "0123456789abcdefABCDEF", *found = byte ? strchr(digits, byte) : NULL;
    return !found ? -1 : found - digits < 16 ? (int)(found - digits) : (int)(found - digits) - 6;
}

/* The slow way: false for a bad escape. */
static bool decode_slowly(struct slice text, bool plus_is_space, struct buf *out) {
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] != '%') {
            buf_append_byte(out, plus_is_space && text.data[i] == '+' ? ' ' : text.data[i]);
            continue;
        }
        if (text.len - i < 3 || digit(text.data[i + 1]) < 0 || digit(text.data[i + 2]) < 0)
            return false;
        buf_append_byte(out, (char)(digit(text.data[i + 1]) * 16 + digit(text.data[i + 2])));
        i += 2;
    }
    return true;
}

static void check_decoding(struct slice text, bool plus_is_space) {
    struct buf fast, slow, encoded, again;
    buf_init(&fast, SIZE_MAX);
    buf_init(&slow, SIZE_MAX);
    buf_init(&encoded, SIZE_MAX);
    buf_init(&again, SIZE_MAX);
    bool good = decode_slowly(text, plus_is_space, &slow);
    enum status status = url_decode(text, plus_is_space, &fast);
    FUZZ_CHECK(status == (good ? ST_OK : ST_INVALID));
    FUZZ_CHECK(good || fast.len == 0);
    if (good) {
        fuzz_check_equal(buf_slice(&fast), buf_slice(&slow), "decoded text");
        url_encode(buf_slice(&fast), &encoded);
        FUZZ_CHECK(url_decode(buf_slice(&encoded), plus_is_space, &again) == ST_OK);
        fuzz_check_equal(buf_slice(&fast), buf_slice(&again), "text encoded and decoded");
    }
    buf_free(&fast);
    buf_free(&slow);
    buf_free(&encoded);
    buf_free(&again);
}

/* ---- names and values ---- */

/* url_query_get against a walk over the pairs. */
static void check_query(struct slice text, struct slice wanted) {
    struct slice rest = text, name, value, found = {.data = NULL};
    unsigned times = 0;
    struct buf decoded, got, expected;
    buf_init(&decoded, SIZE_MAX);
    buf_init(&got, SIZE_MAX);
    buf_init(&expected, SIZE_MAX);
    for (unsigned steps = 0; url_next_pair(&rest, &name, &value); steps++) {
        FUZZ_CHECK(steps < STEPS_MAX);
        check_inside(name, text);
        check_inside(value, text);
        check_inside(rest, text);
        FUZZ_CHECK(!memchr(name.data, '=', name.len) && !memchr(name.data, '&', name.len));
        buf_reset(&decoded, SIZE_MAX);
        if (decode_slowly(name, true, &decoded) && slice_equal(buf_slice(&decoded), wanted)) {
            found = value;
            times++;
        }
    }
    enum status status = url_query_get(text, wanted, &got);
    if (times == 0)
        FUZZ_CHECK(status == ST_NOT_FOUND);
    else if (times > 1)
        FUZZ_CHECK(status == ST_EXISTS);
    else
        FUZZ_CHECK(status == (decode_slowly(found, true, &expected) ? ST_OK : ST_INVALID));
    if (status == ST_OK)
        fuzz_check_equal(buf_slice(&got), buf_slice(&expected), "a value of the query");
    buf_free(&decoded);
    buf_free(&got);
    buf_free(&expected);
}

static void check_cookies(struct slice text) {
    struct slice rest = text, name, value;
    for (unsigned steps = 0; cookie_next(&rest, &name, &value); steps++) {
        FUZZ_CHECK(steps < STEPS_MAX && name.len > 0);
        check_inside(name, text);
        check_inside(value, text);
        check_inside(rest, text);
        FUZZ_CHECK(!memchr(name.data, '=', name.len) && !memchr(name.data, ';', name.len));
        FUZZ_CHECK(!value.len || !memchr(value.data, ';', value.len));
    }
}

/* The boundary is in no part's content. */
static void check_content(const struct multipart *multipart, struct slice content) {
    char line[sizeof multipart->boundary + 2] = "\r\n";
    memcpy(line + 2, multipart->boundary, multipart->boundary_len);
    FUZZ_CHECK(
        !content.len || !memmem(content.data, content.len, line, multipart->boundary_len + 2));
}

static void check_multipart(struct slice content_type, struct slice text) {
    struct multipart multipart;
    struct multipart_part part;
    enum status status = multipart_init(&multipart, content_type, text);
    FUZZ_CHECK(status == ST_OK || status == ST_INVALID);
    for (unsigned steps = 0; status == ST_OK; steps++) {
        FUZZ_CHECK(steps < STEPS_MAX);
        FUZZ_CHECK(multipart.boundary_len <= sizeof multipart.boundary);
        status = multipart_next(&multipart, &part);
        if (status != ST_OK)
            break;
        check_inside(part.name, text);
        check_inside(part.filename, text);
        check_inside(part.content_type, text);
        check_inside(part.content, text);
        check_content(&multipart, part.content);
    }
    FUZZ_CHECK(status == ST_END || status == ST_INVALID);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct slice input = slice_of((const char *)data, size);
    struct slice field = fuzz_take_field(&input);
    field = fuzz_copy(field.data, field.len);
    struct slice text = fuzz_copy(input.data, input.len);
    check_decoding(text, true);
    check_decoding(text, false);
    check_query(text, field);
    check_cookies(text);
    check_multipart(field, text);
    fuzz_drop(field);
    fuzz_drop(text);
    return 0;
}
