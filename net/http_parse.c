/* The head of a request: from its bytes to method, target and header fields.
 *
 * Every line is parsed strictly from left to right, by the first byte that may not stand where it
 * is, and only once its end (or a CR or LF that ends nothing) is known. So what a line gives
 * depends on its own bytes and not on how much else has arrived, and the same bytes give the same
 * result however they were cut. A head that came in several pieces is parsed a second time, as a
 * whole, when it is complete: that fills in the slices, which could not be kept while the bytes may
 * have moved. */
#include "net/http_parse.h"

#include <assert.h>

#include "net/http_bytes.h"

#define EMPTY_LINES_MAX 4
/* Of a request line that is not whole yet, so much is looked at for bytes no method can have:
 * enough to refuse TLS and other protocols at once. */
#define METHOD_PREVIEW_BYTES 16

_Static_assert(HTTP_HEADERS_MAX <= UINT8_MAX, "struct http_scan counts header fields in 8 bits");

/* ---- the request line ---- */

/* Returns the space behind the method; NULL with *error. */
static const char *parse_method(const char *at, const char *end, struct http_error *error) {
    const char *start = at;
    while (at < end && http_byte_is(*at, HTTP_TOKEN))
        at++;
    if (at == end) {
        http_refuse(error, 400, "request line without a target");
        return NULL;
    }
    if (*at != ' ' || at == start) {
        http_refuse_byte(error, *at, "malformed method");
        return NULL;
    }
    return at;
}

/* A byte that may not stand in a target, told apart for the reader of the error. */
static void refuse_target_byte(struct http_error *error, char byte) {
    unsigned char value = (unsigned char)byte;
    if (byte == '%')
        http_refuse(error, 400, "'%' without two hexadecimal digits in the request target");
    else if (value >= 0x80)
        http_refuse(error, 400, "byte over 0x7F in the request target");
    else if (value < 0x20 || value == 0x7f)
        http_refuse_byte(error, byte, "control byte in the request target");
    else
        http_refuse(error, 400, "character in the request target that must be percent-encoded");
}

/* Takes a path and a query up to the space (or the end of the text) behind them. Returns where it
 * stopped; NULL with *error. RFC 3986 is kept to the letter: what some clients send raw ("[", "|")
 * must be percent-encoded. */
static const char *parse_path_and_query(
    const char *at, const char *end, struct http_head *head, struct http_error *error) {
    const char *start = at, *question = NULL;
    while (at < end && *at != ' ') {
        if (http_byte_is(*at, HTTP_PATH))
            at++;
        else if (*at == '?') {
            if (!question)
                question = at;
            at++;
        } else if (*at == '%' && end - at >= 3 && http_byte_is(at[1], HTTP_HEX) &&
                   http_byte_is(at[2], HTTP_HEX))
            at += 3;
        else {
            refuse_target_byte(error, *at);
            return NULL;
        }
    }
    head->target = slice_of(start, (size_t)(at - start));
    head->path = slice_of(start, (size_t)((question ? question : at) - start));
    head->query = question ? slice_of(question + 1, (size_t)(at - question) - 1) : slice_of(at, 0);
    return at;
}

/* absolute-form (RFC 9112 section 3.2.2). An empty path is "/": the slash before the host. */
static bool parse_absolute_form(
    struct slice target, struct http_head *head, struct http_error *error) {
    size_t scheme = 0;
    if (target.len > 7 && http_text_is(slice_of(target.data, 7), SLICE("http://")))
        scheme = 7;
    else if (target.len > 8 && http_text_is(slice_of(target.data, 8), SLICE("https://")))
        scheme = 8;
    if (scheme == 0)
        return http_refuse(error, 400, "request target is neither a path nor an http URL");
    const char *host = target.data + scheme, *end = target.data + target.len, *at = host;
    while (at < end && *at != '/' && *at != '?')
        at++;
    head->authority = slice_of(host, (size_t)(at - host));
    if (!http_authority_valid(head->authority))
        return http_refuse(error, 400, "invalid host in the request target");
    if (!parse_path_and_query(at, end, head, error))
        return false;
    if (head->path.len == 0) {
        head->path = slice_of(host - 1, 1);
        if (head->target.len == 0)
            head->target = head->path;
    }
    return true;
}

/* The forms of a target that do not begin with '/' (RFC 9112 section 3.2). */
static bool parse_other_form(
    struct slice target, struct http_head *head, struct http_error *error) {
    if (slice_equal(head->method, SLICE("CONNECT"))) {
        /* 501, since no resource here can ever take it: this is an origin server, not a proxy. */
        if (http_authority_valid(target))
            return http_refuse(error, 501, "CONNECT is not supported: this server is no proxy");
        return http_refuse(error, 400, "the target of CONNECT is not host:port");
    }
    if (slice_equal(target, SLICE("*"))) {
        if (!slice_equal(head->method, SLICE("OPTIONS")))
            return http_refuse(error, 400, "the request target * is for OPTIONS only");
        head->target = head->path = target;
        head->query = slice_of(target.data + target.len, 0);
        return true;
    }
    return parse_absolute_form(target, head, error);
}

/* "HTTP/1.1" and nothing behind it. */
static bool parse_version(
    struct http_scan *scan, const char *at, const char *end, struct http_error *error) {
    static const char pattern[] = "HTTP/0.0"; /* 0: any digit */
    const char *start = at;
    for (const char *want = pattern; *want; want++, at++) {
        if (at == end)
            return http_refuse(error, 400, "malformed HTTP version");
        if (*want == '0' ? !http_byte_is(*at, HTTP_DIGIT) : *at != *want)
            return http_refuse_byte(error, *at, "malformed HTTP version");
    }
    if (at != end)
        return http_refuse_byte(error, *at, "malformed HTTP version");
    if (start[5] != '1')
        return http_refuse(error, 505, "only HTTP/1.0 and HTTP/1.1 are supported");
    scan->minor =
        start[7] == '0' ? 0 : 1; /* RFC 9110 section 2.5: a higher minor is served as ours */
    return true;
}

static bool parse_request_line(struct http_scan *scan, const char *at, const char *end,
    struct http_head *head, struct http_error *error) {
    const char *method_end = parse_method(at, end, error);
    if (!method_end)
        return false;
    head->method = slice_of(at, (size_t)(method_end - at));
    head->authority = slice_of(at, 0);
    const char *target = method_end + 1;
    bool origin_form = target < end && *target == '/';
    if (origin_form) {
        at = parse_path_and_query(target, end, head, error);
        if (!at)
            return false;
    } else {
        at = target;
        while (at < end && http_byte_is(*at, HTTP_VISIBLE))
            at++;
        if (at < end && *at != ' ') {
            refuse_target_byte(error, *at);
            return false;
        }
    }
    if (at == target)
        return http_refuse(error, 400, "empty request target");
    if (at == end)
        return http_refuse(error, 400, "request line without an HTTP version");
    if (!parse_version(scan, at + 1, end, error))
        return false;
    if (!origin_form || slice_equal(head->method, SLICE("CONNECT")))
        if (!parse_other_form(slice_of(target, (size_t)(at - target)), head, error))
            return false;
    scan->has_request_line = true;
    return true;
}

/* ---- header fields ---- */

static bool refuse_name_byte(struct http_error *error, const char *at, const char *end) {
    if (*at != ' ' && *at != '\t')
        return http_refuse_byte(error, *at, "malformed header field name");
    while (at < end && (*at == ' ' || *at == '\t'))
        at++;
    if (at < end && *at == ':')
        return http_refuse(error, 400, "white space before the colon in a header field");
    return http_refuse(error, 400, "white space in a header field name");
}

/* name ":" OWS value OWS, RFC 9112 section 5; also for trailer fields. */
static bool parse_field(
    const char *at, const char *end, struct http_header *field, struct http_error *error) {
    const char *start = at;
    if (*at == ' ' || *at == '\t')
        return http_refuse(error, 400, "folded header field, or white space before one");
    if (*at == ':')
        return http_refuse(error, 400, "empty header field name");
    while (at < end && http_byte_is(*at, HTTP_TOKEN))
        at++;
    if (at == end)
        return http_refuse(error, 400, "header field without a colon");
    if (*at != ':')
        return refuse_name_byte(error, at, end);
    field->name = slice_of(start, (size_t)(at - start));
    at++;
    while (at < end && (*at == ' ' || *at == '\t'))
        at++;
    start = at;
    while (at < end && http_byte_is(*at, HTTP_VALUE))
        at++;
    if (at < end)
        return http_refuse_byte(error, *at, "control byte in a header field value");
    while (at > start && (at[-1] == ' ' || at[-1] == '\t'))
        at--;
    field->value = slice_of(start, (size_t)(at - start));
    return true;
}

static bool parse_header_line(struct http_scan *scan, const struct http_limits *limits,
    const char *at, const char *end, struct http_head *head, struct http_error *error) {
    if (scan->header_count == HTTP_HEADERS_MAX)
        return http_refuse(error, 431, "too many header fields");
    struct http_header *field = &head->headers[scan->header_count];
    if (!parse_field(at, end, field, error))
        return false;
    scan->header_count++;
    return http_field_note(scan, limits, field->name, field->value, error);
}

/* ---- the lines of a head ---- */

/* What there is between `from` and `end`, in the line that began earlier. */
struct line {
    enum { LINE_MORE, LINE_WHOLE, LINE_BROKEN } kind;
    const char *end;  /* WHOLE: its CR. BROKEN: behind the CR or LF that stands alone */
    const char *next; /* MORE: where to look next time. WHOLE: behind its LF */
};

static struct line find_line(const char *from, const char *end) {
    const char *cr = from < end ? memchr(from, '\r', (size_t)(end - from)) : NULL;
    if (cr && cr + 1 < end && cr[1] == '\n') /* an LF before the CR is left to the line's parser */
        return (struct line){LINE_WHOLE, cr, cr + 2};
    const char *stop = cr ? cr : end;
    const char *lf = from < stop ? memchr(from, '\n', (size_t)(stop - from)) : NULL;
    if (lf)
        return (struct line){LINE_BROKEN, lf + 1, NULL};
    if (cr && cr + 1 < end)
        return (struct line){LINE_BROKEN, cr + 1, NULL};
    return (struct line){LINE_MORE, NULL, stop};
}

/* A line that is not empty. False with *error. */
static bool parse_line(struct http_scan *scan, const struct http_limits *limits, const char *start,
    const char *end, struct http_head *head, struct http_error *error) {
    if (!scan->has_request_line)
        return parse_request_line(scan, start, end, head, error);
    return parse_header_line(scan, limits, start, end, head, error);
}

/* Where the current line must have ended: so much of the bytes is looked at, no more. */
static size_t line_limit(const struct http_scan *scan, const struct http_limits *limits) {
    size_t limit = limits->header_bytes_max;
    size_t line = scan->scanned + HTTP_REQUEST_LINE_BYTES_MAX + sizeof("\r\n") - 1;
    return !scan->has_request_line && line < limit ? line : limit;
}

/* The bytes of an unfinished line, from start to end. HTTP_BAD if it cannot become a good one. */
static enum http_result unfinished_line(const struct http_scan *scan, const char *start,
    const char *end, bool at_limit, struct http_error *error) {
    if (!scan->has_request_line) {
        const char *at = start;
        const char *stop = end - at > METHOD_PREVIEW_BYTES ? at + METHOD_PREVIEW_BYTES : end;
        while (at < stop && http_byte_is(*at, HTTP_TOKEN))
            at++;
        if (at < stop && !parse_method(start, stop, error))
            return HTTP_BAD;
    }
    if (!at_limit)
        return HTTP_MORE;
    if (!scan->has_request_line)
        http_refuse(error, 414, "the request line is too long");
    else
        http_refuse(error, 431, "the request's header section is too large");
    return HTTP_BAD;
}

/* The empty line behind the header fields. */
static bool finish_head(struct http_scan *scan, struct http_head *head, struct http_error *error) {
    if (scan->minor > 0 && !scan->has_host)
        return http_refuse(error, 400, "no Host header field");
    if (scan->has_unknown_coding)
        return http_refuse(error, 501, "no transfer coding but chunked is supported");
    head->minor = scan->minor;
    head->header_count = scan->header_count;
    head->content_length = scan->content_length;
    head->has_content_length = scan->has_content_length;
    head->chunked = scan->has_transfer_encoding;
    head->expect_continue = scan->expects_continue;
    head->keep_alive = !scan->wants_close && (scan->minor > 0 || scan->wants_keep_alive);
    return true;
}

static enum http_result parse_lines(struct http_scan *scan, const char *data, size_t len,
    const struct http_limits *limits, struct http_head *head, struct http_error *error) {
    for (;;) {
        size_t limit = line_limit(scan, limits);
        const char *start = data + scan->scanned;
        const char *end = data + (len < limit ? len : limit);
        struct line line = find_line(data + scan->looked, end);
        if (line.kind == LINE_MORE) {
            scan->looked = (size_t)(line.next - data);
            return unfinished_line(scan, start, line.next, len >= limit, error);
        }
        bool empty = line.kind == LINE_WHOLE && line.end == start;
        if (empty && scan->has_request_line) {
            scan->scanned = (size_t)(line.next - data);
            return finish_head(scan, head, error) ? HTTP_DONE : HTTP_BAD;
        }
        if (empty && ++scan->empty_lines > EMPTY_LINES_MAX) {
            http_refuse(error, 400, "too many empty lines before the request line");
            return HTTP_BAD;
        }
        if (!empty && !parse_line(scan, limits, start, line.end, head, error))
            return HTTP_BAD;
        assert(line.kind == LINE_WHOLE); /* a broken line has a byte that no parser takes */
        scan->scanned = scan->looked = (size_t)(line.next - data);
    }
}

enum http_result http_parse_head(struct http_scan *scan, char *data, size_t len,
    const struct http_limits *limits, struct http_head *head, size_t *used,
    struct http_error *error) {
    assert(scan->scanned <= scan->looked && scan->looked <= len);
    bool resumed = scan->scanned > 0;
    enum http_result result = parse_lines(scan, data, len, limits, head, error);
    if (result != HTTP_DONE)
        return result;
    if (resumed) {
        *scan = (struct http_scan){0};
        result = parse_lines(scan, data, len, limits, head, error);
        assert(result == HTTP_DONE);
    }
    *used = scan->scanned;
    for (unsigned i = 0; i < head->header_count; i++) {
        char *name =
            data + (head->headers[i].name.data - data); /* a writable way to the same byte */
        for (size_t j = 0; j < head->headers[i].name.len; j++)
            name[j] = http_lower(name[j]);
        if (head->authority.len > 0 && slice_equal(head->headers[i].name, SLICE("host")))
            head->headers[i].value = head->authority; /* RFC 9112 section 3.2.2: a must */
    }
    return HTTP_DONE;
}

struct slice http_header_get(const struct http_head *head, struct slice lower_name) {
    for (unsigned i = 0; i < head->header_count; i++)
        if (slice_equal(head->headers[i].name, lower_name))
            return head->headers[i].value;
    return slice_of(NULL, 0);
}
