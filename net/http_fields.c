/* The header fields that decide where a request ends and what becomes of its connection.
 *
 * Everything ambiguous is refused: two programs that read the same bytes must find the same
 * requests in them (RFC 9112 section 11.2, request smuggling). */
#include "net/http_bytes.h"

static struct slice trimmed(const char *start, const char *end) {
    while (start < end && (*start == ' ' || *start == '\t'))
        start++;
    while (end > start && (end[-1] == ' ' || end[-1] == '\t'))
        end--;
    return slice_of(start, (size_t)(end - start));
}

/* Takes the next element off a comma-separated list (RFC 9110 section 5.6.1), white space around it
 * removed; false when there is none left. The empty text is a list of one empty element. */
static bool next_element(struct slice *rest, struct slice *element) {
    if (!rest->data)
        return false;
    const char *end = rest->data + rest->len;
    const char *comma = rest->len ? memchr(rest->data, ',', rest->len) : NULL;
    *element = trimmed(rest->data, comma ? comma : end);
    *rest = comma ? slice_of(comma + 1, (size_t)(end - comma) - 1) : slice_of(NULL, 0);
    return true;
}

static bool is_token(struct slice text) {
    for (size_t i = 0; i < text.len; i++)
        if (!http_byte_is(text.data[i], HTTP_TOKEN))
            return false;
    return text.len > 0;
}

static bool note_host(struct http_scan *scan, struct slice value, struct http_error *error) {
    if (scan->has_host)
        return http_refuse(error, 400, "more than one Host header field");
    if (!http_authority_valid(value))
        return http_refuse(error, 400, "invalid Host header field");
    scan->has_host = true;
    return true;
}

/* RFC 9112 section 6.3, with the leniency of its point 5 (a list of equal lengths) left out. */
static bool note_content_length(struct http_scan *scan, const struct http_limits *limits,
    struct slice value, struct http_error *error) {
    if (scan->has_transfer_encoding)
        return http_refuse(error, 400, "both Transfer-Encoding and Content-Length");
    if (scan->has_content_length)
        return http_refuse(error, 400, "more than one Content-Length header field");
    if (value.len == 0)
        return http_refuse(error, 400, "empty Content-Length");
    for (size_t i = 0; i < value.len; i++)
        if (!http_byte_is(value.data[i], HTTP_DIGIT))
            return http_refuse(error, 400, "Content-Length is not a row of digits");
    uint64_t length = 0;
    for (size_t i = 0; i < value.len; i++) {
        unsigned digit = (unsigned)(value.data[i] - '0');
        if (length > (UINT64_MAX - digit) / 10)
            return http_refuse(error, 413, "the body is larger than this server takes");
        length = length * 10 + digit;
    }
    if (length > limits->body_bytes_max)
        return http_refuse(error, 413, "the body is larger than this server takes");
    scan->content_length = length;
    scan->has_content_length = true;
    return true;
}

/* RFC 9112 section 6.1. "chunked" alone is understood; of the faults, those that leave the end of
 * the body in doubt (400) come before a coding that is merely unknown (501), which is therefore
 * told at the end of the head: the field may be repeated yet. */
static bool note_transfer_encoding(
    struct http_scan *scan, struct slice value, struct http_error *error) {
    if (scan->minor == 0)
        return http_refuse(error, 400, "Transfer-Encoding in an HTTP/1.0 request");
    if (scan->has_content_length)
        return http_refuse(error, 400, "both Content-Length and Transfer-Encoding");
    if (scan->has_transfer_encoding)
        return http_refuse(error, 400, "more than one Transfer-Encoding header field");
    bool chunked = false;
    struct slice rest = value, element;
    while (next_element(&rest, &element)) {
        const char *semicolon = element.len ? memchr(element.data, ';', element.len) : NULL;
        struct slice coding =
            semicolon ? trimmed(element.data, semicolon) : element; /* "gzip;level=1": parameters */
        if (!is_token(coding))
            return http_refuse(error, 400, "empty or malformed Transfer-Encoding");
        if (chunked)
            return http_refuse(error, 400, "chunked is not the last transfer coding, or repeated");
        chunked = http_text_is(coding, SLICE("chunked"));
        if (chunked && semicolon)
            return http_refuse(error, 400, "the chunked transfer coding takes no parameters");
        scan->has_unknown_coding |= !chunked;
    }
    scan->has_transfer_encoding = true;
    return true;
}

static bool note_connection(struct http_scan *scan, struct slice value, struct http_error *error) {
    struct slice rest = value, element;
    while (next_element(&rest, &element)) {
        if (element.len == 0)
            continue; /* RFC 9110 section 5.6.1.2 */
        if (!is_token(element))
            return http_refuse(error, 400, "malformed Connection header field");
        if (http_text_is(element, SLICE("close")))
            scan->wants_close = true;
        else if (http_text_is(element, SLICE("keep-alive")))
            scan->wants_keep_alive = true;
    }
    return true;
}

/* RFC 9110 section 10.1.1; the expectation of an HTTP/1.0 client is ignored. */
static bool note_expect(struct http_scan *scan, struct slice value, struct http_error *error) {
    if (!http_text_is(value, SLICE("100-continue")))
        return http_refuse(error, 417, "the only expectation understood is 100-continue");
    scan->expects_continue = scan->minor > 0;
    return true;
}

bool http_field_note(struct http_scan *scan, const struct http_limits *limits, struct slice name,
    struct slice value, struct http_error *error) {
    switch (name.len) {
    case sizeof("host") - 1:
        return !http_text_is(name, SLICE("host")) || note_host(scan, value, error);
    case sizeof("expect") - 1:
        return !http_text_is(name, SLICE("expect")) || note_expect(scan, value, error);
    case sizeof("connection") - 1:
        return !http_text_is(name, SLICE("connection")) || note_connection(scan, value, error);
    case sizeof("content-length") - 1:
        return !http_text_is(name, SLICE("content-length")) ||
               note_content_length(scan, limits, value, error);
    case sizeof("transfer-encoding") - 1:
        return !http_text_is(name, SLICE("transfer-encoding")) ||
               note_transfer_encoding(scan, value, error);
    default:
        return true;
    }
}
