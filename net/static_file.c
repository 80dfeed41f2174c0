#include "net/static_file.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/clock.h"
#include "net/beneath.h"
#include "net/http_condition.h"
#include "net/http_range.h"
#include "net/media_type.h"
#include "net/reply.h"

/* File systems tell times apart by no less than this. */
#define TIME_GRAIN_NS (2 * (int64_t)NS_PER_S)
#define ETAG_BYTES_MAX 64

/* A file as it was when it was opened. */
struct facts {
    uint64_t size;
    char etag[ETAG_BYTES_MAX];
    struct http_validators validators;
};

static void look(const struct stat *stat, struct facts *facts) {
    int64_t now_ns = (int64_t)clock_wall_ns();
    int64_t modified_ns = (int64_t)stat->st_mtim.tv_sec * (int64_t)NS_PER_S + stat->st_mtim.tv_nsec;
    int64_t age_ns = now_ns - modified_ns;
    facts->size = (uint64_t)stat->st_size;
    int len = snprintf(facts->etag, sizeof(facts->etag), "\"%" PRIx64 "-%" PRIx64 "-%" PRIx64 "\"",
        (uint64_t)modified_ns, facts->size, (uint64_t)stat->st_ino);
    facts->validators = (struct http_validators){
        .etag = slice_of(facts->etag, (size_t)len),
        .weak = age_ns >= 0 && age_ns < TIME_GRAIN_NS,
        .modified_s = stat->st_mtim.tv_sec,
        .now_s = now_ns / (int64_t)NS_PER_S,
    };
}

/* What a 304 has too (RFC 9110 15.4.5). "no-cache": kept, but asked for again before each use, so
 * that a page and its files are never of different versions. */
static void write_validators(struct buf *headers, const struct facts *facts) {
    const struct http_validators *validators = &facts->validators;
    /* RFC 9110 8.8.2.1: never later than the reply. */
    int64_t modified_s =
        validators->modified_s < validators->now_s ? validators->modified_s : validators->now_s;
    char date[REPLY_DATE_BYTES + 1];
    reply_date(modified_s > 0 ? (uint64_t)modified_s * NS_PER_S : 0, date);
    buf_printf(headers, "ETag: %s%s\r\nLast-Modified: %s\r\nCache-Control: no-cache\r\n",
        validators->weak ? "W/" : "", facts->etag, date);
}

static void write_content_range(struct buf *headers, const struct http_span *span, uint64_t size) {
    buf_printf(headers, "Content-Range: bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64 "\r\n", span->first,
        span->first + span->len - 1, size);
}

/* Which part a GET wants; ranges of anything else count for nothing (RFC 9110 14.2). */
static enum http_range part_of(
    const struct exchange *exchange, const struct facts *facts, struct http_span *span) {
    const struct request *request = &exchange->call.request;
    struct slice field = {0};
    unsigned fields = 0;
    *span = (struct http_span){0, facts->size};
    for (unsigned i = 0; i < request->header_count; i++) {
        if (!slice_equal(request->headers[i].name, SLICE("range")))
            continue;
        field = request->headers[i].value;
        fields++;
    }
    if (exchange->head_only || fields != 1 || !http_range_counts(request, &facts->validators))
        return HTTP_RANGE_WHOLE;
    return http_range_pick(field, facts->size, span);
}

static void fail_by(struct exchange *exchange, enum status status) {
    if (status == ST_BUSY)
        exchange_fail(exchange, 503, "overloaded", "too many files are being sent; try again");
    else if (status == ST_NOMEM)
        exchange_fail(exchange, 503, "out_of_memory", "the server is out of memory; try again");
    else if (status == ST_IO)
        exchange_fail(exchange, 500, "internal_error", "the file cannot be read");
    else
        exchange_fail(exchange, 404, "not_found", "no such file");
}

/* Writes status and fields of what is to be sent. False if that is no file: then all is said. */
static bool begin_reply(struct exchange *exchange, const struct facts *facts, struct slice path,
    struct http_span *span) {
    struct reply *reply = &exchange->call.reply;
    switch (http_condition_of(&exchange->call.request, &facts->validators)) {
    case HTTP_NOT_MODIFIED:
        reply->status = 304;
        write_validators(&reply->headers, facts);
        return false;
    case HTTP_PRECONDITION_FAILED:
        exchange_fail(exchange, 412, "precondition_failed", "the file is not the one asked for");
        return false;
    case HTTP_PROCEED:
        break;
    }
    enum http_range range = part_of(exchange, facts, span);
    if (range == HTTP_RANGE_UNSATISFIABLE) {
        exchange_fail(exchange, 416, "range_not_satisfiable", "the file has no such bytes");
        buf_printf(&reply->headers, "Content-Range: bytes */%" PRIu64 "\r\n", facts->size);
        return false;
    }
    reply->status = range == HTTP_RANGE_PART ? 206 : 200;
    reply->content_type = media_type_of(path);
    write_validators(&reply->headers, facts);
    buf_append_text(&reply->headers, "Accept-Ranges: bytes\r\nX-Content-Type-Options: nosniff\r\n");
    if (range == HTTP_RANGE_PART)
        write_content_range(&reply->headers, span, facts->size);
    return true;
}

/* Appends the next piece to the body; closes the file behind the last. */
static bool read_piece(struct exchange *exchange) {
    struct file_send *file = &exchange->file;
    struct buf *body = &exchange->call.reply.body;
    size_t want = file->left < STATIC_PIECE_BYTES ? (size_t)file->left : STATIC_PIECE_BYTES;
    size_t got = 0;
    char *to = want > 0 ? buf_reserve(body, want) : NULL;
    while (to && got < want) {
        ssize_t count = pread(file->fd, to + got, want - got, (off_t)(file->at + got));
        if (count < 0 && errno == EINTR)
            continue;
        if (count <= 0)
            break;
        got += (size_t)count;
    }
    body->len += got;
    file->at += got;
    file->left -= got;
    if (got < want || file->left == 0)
        static_file_close(exchange);
    return got == want;
}

static void send_from(
    struct exchange *exchange, int fd, const struct http_span *span, bool stay_open) {
    exchange->file.open = true;
    exchange->file.fd = fd;
    exchange->file.at = span->first;
    exchange->file.left = span->len;
    if (span->len > STATIC_PIECE_BYTES && !stay_open) {
        static_file_close(exchange);
        exchange->file.left = 0;
        fail_by(exchange, ST_BUSY);
    } else if (!read_piece(exchange)) {
        exchange->file.left = 0;
        fail_by(exchange, reply_ok(&exchange->call.reply) ? ST_IO : ST_NOMEM);
    }
    exchange->absent_bytes = exchange->file.left;
}

void static_file_open(struct exchange *exchange, const char *folder, bool stay_open) {
    struct slice path = exchange->call.request.path;
    size_t prefix = STATIC_PREFIX.len;
    char name[BENEATH_PATH_BYTES_MAX];
    int fd = -1;
    assert(path.len >= prefix && !exchange->file.open);
    enum status status = beneath_path(slice_of(path.data + prefix, path.len - prefix), name);
    if (status == ST_OK)
        status = beneath_open(folder, name, &fd);
    if (status != ST_OK) {
        fail_by(exchange, status);
        return;
    }
    struct stat stat;
    struct facts facts;
    struct http_span span;
    if (fstat(fd, &stat) != 0) {
        close(fd);
        fail_by(exchange, ST_IO);
        return;
    }
    look(&stat, &facts);
    bool is_file = begin_reply(exchange, &facts, slice_of(name, strlen(name)), &span);
    if (!reply_ok(&exchange->call.reply)) {
        close(fd);
        fail_by(exchange, ST_NOMEM);
    } else if (!is_file) {
        close(fd);
    } else if (exchange->head_only) {
        close(fd);
        exchange->absent_bytes = span.len;
    } else {
        send_from(exchange, fd, &span, stay_open);
    }
}

void static_file_read(struct exchange *exchange) {
    assert(exchange->file.open && exchange->file.left > 0);
    buf_reset(&exchange->call.reply.body, STATIC_PIECE_BYTES);
    exchange->file.failed = !read_piece(exchange);
}

void static_file_close(struct exchange *exchange) {
    assert(exchange->file.open);
    close(exchange->file.fd);
    exchange->file.open = false;
}
