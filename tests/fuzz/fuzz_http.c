/* The HTTP parser: however a request's head or chunked body is cut, it gives what it gives for the
 * whole, and never reads past what it has.
 *
 * Input: a byte (bit 0: a chunked body instead of a head; bit 1: tight limits), a byte with the
 * number of cuts to try, that many distances between cuts, and the bytes themselves. */
#include <stdio.h>

#include "net/http_parse.h"
#include "tests/fuzz/fuzz.h"

#define CUTS_MAX 16u

static const struct http_limits wide = {16384, 16384}, tight = {200, 20};
static struct buf whole, pieces;

static void put(struct buf *outcome, struct slice text) {
    buf_printf(outcome, "[%zu ", text.len);
    buf_append_slice(outcome, text);
    buf_append_byte(outcome, ']');
}

static void put_error(struct buf *outcome, const struct http_error *error) {
    FUZZ_CHECK(error->status >= 400 && error->status < 600);
    buf_printf(outcome, "%d %s %s", error->status, error->code, error->text);
}

static bool inside(struct slice part, struct slice data) {
    return part.len == 0 ||
           (part.data >= data.data && part.data + part.len <= data.data + data.len);
}

static void put_part(struct buf *outcome, struct slice part, struct slice data) {
    FUZZ_CHECK(inside(part, data));
    put(outcome, part);
}

static void put_head(
    struct buf *outcome, const struct http_head *head, size_t used, struct slice data) {
    FUZZ_CHECK(used <= data.len && head->header_count <= HTTP_HEADERS_MAX);
    buf_printf(outcome, "used %zu minor %u %d%d%d%d length %llu", used, head->minor,
        head->has_content_length, head->chunked, head->keep_alive, head->expect_continue,
        (unsigned long long)head->content_length);
    put_part(outcome, head->method, data);
    put_part(outcome, head->target, data);
    put_part(outcome, head->path, data);
    put_part(outcome, head->query, data);
    put_part(outcome, head->authority, data);
    for (unsigned i = 0; i < head->header_count; i++) {
        put_part(outcome, head->headers[i].name, data);
        put_part(outcome, head->headers[i].value, data);
    }
    FUZZ_CHECK(!(head->chunked && head->has_content_length));
}

/* Feeds the first cuts[0] bytes, then the first cuts[1], and so on, at another address each time,
 * as a connection would. */
static void run_head(struct slice input, const struct http_limits *limits, const size_t *cuts,
    size_t count, struct buf *outcome) {
    struct http_scan scan = {0};
    struct http_error error;
    enum http_result result = HTTP_MORE;
    for (size_t i = 0; i < count && result == HTTP_MORE; i++) {
        struct http_head head;
        size_t used = 0;
        memset(&head, 0xA5, sizeof head);
        struct slice data = fuzz_copy(input.data, cuts[i]);
        result = http_parse_head(
            &scan, (char *)(uintptr_t)data.data, data.len, limits, &head, &used, &error);
        if (result == HTTP_DONE)
            put_head(outcome, &head, used, data);
        else
            fuzz_check_equal(data, slice_of(input.data, cuts[i]), "an input that is not whole");
        fuzz_drop(data);
    }
    if (result == HTTP_BAD)
        put_error(outcome, &error);
    else if (result == HTTP_MORE)
        buf_append_text(outcome, "more");
}

static void run_chunked(struct slice input, const struct http_limits *limits, const size_t *cuts,
    size_t count, struct buf *outcome) {
    struct http_chunked chunked = {0};
    struct http_error error;
    struct buf body;
    buf_init(&body, limits->body_bytes_max);
    size_t start = 0;
    enum http_result result = HTTP_MORE;
    for (size_t i = 0; i < count && result == HTTP_MORE; i++) {
        size_t used = 0;
        struct slice data = fuzz_copy(input.data + start, cuts[i] - start);
        result = http_parse_chunked(&chunked, data.data, data.len, limits, &body, &used, &error);
        FUZZ_CHECK(used <= data.len && (result != HTTP_MORE || used == data.len));
        start += used;
        fuzz_drop(data);
    }
    buf_printf(outcome, "%d used %zu ", (int)result, start);
    if (result == HTTP_BAD)
        put_error(outcome, &error);
    FUZZ_CHECK(buf_ok(&body));
    put(outcome, buf_slice(&body));
    buf_free(&body);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct slice input = slice_of((const char *)data, size);
    unsigned kind = fuzz_take_byte(&input), count = fuzz_take_byte(&input) % CUTS_MAX;
    size_t cuts[CUTS_MAX];
    struct slice steps = fuzz_take(&input, count);
    size_t cut_count = 0, at = 0;
    for (size_t i = 0; i < steps.len; i++) {
        at += (unsigned char)steps.data[i];
        if (at < input.len)
            cuts[cut_count++] = at;
    }
    cuts[cut_count++] = input.len;
    const struct http_limits *limits = kind & 2 ? &tight : &wide;
    buf_init(&whole, SIZE_MAX);
    buf_init(&pieces, SIZE_MAX);
    (kind & 1 ? run_chunked : run_head)(input, limits, &input.len, 1, &whole);
    (kind & 1 ? run_chunked : run_head)(input, limits, cuts, cut_count, &pieces);
    fuzz_check_equal(buf_slice(&whole), buf_slice(&pieces), "whole and in pieces, the outcome");
    buf_free(&whole);
    buf_free(&pieces);
    return 0;
}
