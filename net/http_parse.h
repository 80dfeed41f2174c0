/* A strict, incremental HTTP/1.1 request parser (RFC 9110, RFC 9112): bytes in, a request, "need
 * more" or "bad" out. It allocates nothing and copies nothing.
 *
 * Strict means: whatever RFC 9112 lets a server reject is rejected, so that no proxy in front can
 * disagree about where a request ends. The list is in api.md section 2 and above each check.
 *
 * Ownership: slices point into the caller's bytes. Threads: none of its own.
 * Errors: a status code and a sentence for the reply; the connection is closed after it. */
#ifndef CONCAVE_NET_HTTP_PARSE_H
#define CONCAVE_NET_HTTP_PARSE_H

#include "core/buf.h"

#define HTTP_HEADERS_MAX 100
#define HTTP_REQUEST_LINE_BYTES_MAX 8192

struct http_header {
    struct slice name;  /* lower-cased in place */
    struct slice value; /* without surrounding white space */
};

struct http_head {
    struct slice method;
    struct slice target; /* origin-form as sent; of an absolute-form target, its path and query */
    struct slice path;   /* before '?', percent-encodings checked, not decoded; "*" of OPTIONS * */
    struct slice query;  /* behind '?'; empty if none */
    struct slice authority; /* of an absolute-form target (then Host's value too); else empty */
    unsigned minor;         /* HTTP/1.minor: 0 or 1 (1.9 is served as 1.1) */
    unsigned header_count;
    struct http_header headers[HTTP_HEADERS_MAX];
    uint64_t content_length; /* 0 if there is none */
    bool has_content_length;
    bool chunked;
    bool keep_alive;      /* what the client wants, with the version's default */
    bool expect_continue; /* "Expect: 100-continue", never on HTTP/1.0 */
};

struct http_error {
    int status;       /* 400, 413, 414, 417, 431, 501, 505; 503 if memory ran out */
    const char *code; /* machine word for the JSON error: "bad_request", ... */
    const char *text; /* for people; constants */
};

struct http_limits {
    size_t header_bytes_max; /* the whole head */
    uint64_t body_bytes_max;
};

enum http_result { HTTP_MORE, HTTP_DONE, HTTP_BAD };

/* State of scanning one head across calls: each line is checked once, when it is whole, so a client
 * that sends one byte at a time costs no more than one that sends all. Zero it for each request. */
struct http_scan {
    size_t scanned; /* bytes of whole lines that were checked */
    size_t looked;  /* no line ends before this byte */
    uint64_t content_length;
    uint8_t empty_lines; /* before the request line */
    uint8_t header_count;
    uint8_t minor;
    bool has_request_line, has_host, has_content_length, has_transfer_encoding;
    bool has_unknown_coding;
    bool wants_close, wants_keep_alive, expects_continue;
};

/* Parses a head that begins at data[0]. HTTP_DONE: *used is its length. HTTP_MORE: call again with
 * the same bytes and more behind them (they may have moved). HTTP_BAD: *error. Names are
 * lower-cased in place, so data is written to, only at HTTP_DONE, and only then does *head hold
 * anything: it need not be kept between calls. Empty lines before the request line (RFC 9112 2.2)
 * are passed over, at most four.
 *
 * The result does not depend on how the bytes were cut: the first error in the order of the bytes
 * wins, and it is told as soon as its line (for bare CR and LF: the byte behind) is there. An
 * unending line is refused once it passes its limit. */
enum http_result http_parse_head(struct http_scan *scan, char *data, size_t len,
    const struct http_limits *limits, struct http_head *head, size_t *used,
    struct http_error *error);

/* The value of a header; data NULL if it is not there. The first one if there are several. */
struct slice http_header_get(const struct http_head *head, struct slice lower_name);

/* Decodes a chunked body (RFC 9112 section 7.1) in any splits: takes bytes from data[0..len),
 * appends the decoded bytes to body (which starts empty and is bounded by limits->body_bytes_max),
 * *used says how many were taken: all at HTTP_MORE; at HTTP_DONE, when the body with its trailer
 * section (checked, dropped) is complete, those behind belong to the next request. Zero the state
 * for each body. */
struct http_chunked {
    unsigned state;
    uint64_t left;        /* bytes of the current chunk still to come */
    size_t line_bytes;    /* of the current chunk-size line */
    size_t trailer_bytes; /* of extensions and trailer fields so far: bounded by header_bytes_max */
};
enum http_result http_parse_chunked(struct http_chunked *chunked, const char *data, size_t len,
    const struct http_limits *limits, struct buf *body, size_t *used, struct http_error *error);

#endif
