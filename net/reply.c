#include "net/reply.h"

#include <stdio.h>
#include <strings.h>
#include <time.h>

#include "core/clock.h"
#include "core/error_page.h"
#include "core/json_write.h"

/* A pooled reply keeps buffers of this size; larger ones go back to the system. */
#define REPLY_KEEP_BYTES 4096u

void reply_init(struct reply *reply) {
    *reply = (struct reply){0};
    buf_init(&reply->headers, REPLY_HEADERS_BYTES_MAX);
    buf_init(&reply->body, REPLY_BODY_BYTES_MAX);
}

void reply_free(struct reply *reply) {
    buf_free(&reply->headers);
    buf_free(&reply->body);
}

void reply_reset(struct reply *reply) {
    reply->status = 0;
    reply->content_type = NULL;
    buf_reset(&reply->headers, REPLY_KEEP_BYTES);
    buf_reset(&reply->body, REPLY_KEEP_BYTES);
}

bool reply_ok(const struct reply *reply) {
    return buf_ok(&reply->headers) && buf_ok(&reply->body);
}

/* All but what is behind the id. */
static void begin_error(
    struct reply *reply, int status, const char *code, struct slice text, struct slice id) {
    reply_reset(reply);
    reply->status = status;
    reply->content_type = REPLY_JSON;
    struct buf *body = &reply->body;
    buf_append_text(body, "{\"error\":");
    json_write_string(body, text);
    buf_append_text(body, ",\"code\":");
    json_write_string(body, slice_of(code, strlen(code)));
    if (id.len > 0) {
        buf_append_text(body, ",\"id\":");
        json_write_string(body, id);
    }
}

void reply_error(
    struct reply *reply, int status, const char *code, const char *text, struct slice id) {
    begin_error(reply, status, code, slice_of(text, strlen(text)), id);
    buf_append_text(&reply->body, "}\n");
}

static void append_lines(struct buf *body, const char *name, struct slice text) {
    if (text.len == 0)
        return;
    buf_printf(body, ",\"%s\":[", name);
    for (bool first = true; text.len > 0; first = false) {
        const char *newline = memchr(text.data, '\n', text.len);
        size_t len = newline ? (size_t)(newline - text.data) : text.len;
        if (!first)
            buf_append_byte(body, ',');
        json_write_string(body, slice_of(text.data, len));
        text = slice_of(text.data + len + (newline != NULL), text.len - len - (newline != NULL));
    }
    buf_append_byte(body, ']');
}

void reply_fault(
    struct reply *reply, int status, const char *code, const struct fault *fault, struct slice id) {
    begin_error(reply, status, code, buf_slice(&fault->message), id);
    append_lines(&reply->body, "source", buf_slice(&fault->source));
    append_lines(&reply->body, "traceback", buf_slice(&fault->traceback));
    buf_append_text(&reply->body, "}\n");
}

void reply_fault_page(struct reply *reply, int status, const struct fault *fault, struct slice id) {
    struct error_detail detail = {.message = buf_slice(&fault->message),
        .source = buf_slice(&fault->source),
        .traceback = buf_slice(&fault->traceback)};
    reply_reset(reply);
    reply->status = status;
    reply->content_type = ERROR_PAGE_TYPE;
    error_page_write_detail(&reply->body, status, reply_reason(status), &detail, id);
}

void reply_error_page(struct reply *reply, int status, const char *text, struct slice id) {
    reply_reset(reply);
    reply->status = status;
    reply->content_type = ERROR_PAGE_TYPE;
    error_page_write(&reply->body, status, reply_reason(status), text, id);
}

const char *reply_reason(int status) {
    static const struct {
        int status;
        const char *reason;
    } known[] = {
        /* the frequent ones first */
        {200, "OK"},
        {404, "Not Found"},
        {409, "Conflict"},
        {400, "Bad Request"},
        {201, "Created"},
        {202, "Accepted"},
        {203, "Non-Authoritative Information"},
        {204, "No Content"},
        {205, "Reset Content"},
        {206, "Partial Content"},
        {300, "Multiple Choices"},
        {301, "Moved Permanently"},
        {302, "Found"},
        {303, "See Other"},
        {304, "Not Modified"},
        {307, "Temporary Redirect"},
        {308, "Permanent Redirect"},
        {401, "Unauthorized"},
        {402, "Payment Required"},
        {403, "Forbidden"},
        {405, "Method Not Allowed"},
        {406, "Not Acceptable"},
        {408, "Request Timeout"},
        {410, "Gone"},
        {411, "Length Required"},
        {412, "Precondition Failed"},
        {413, "Content Too Large"},
        {414, "URI Too Long"},
        {415, "Unsupported Media Type"},
        {416, "Range Not Satisfiable"},
        {417, "Expectation Failed"},
        {418, "I'm a teapot"},
        {422, "Unprocessable Content"},
        {423, "Locked"},
        {424, "Failed Dependency"},
        {425, "Too Early"},
        {426, "Upgrade Required"},
        {428, "Precondition Required"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {451, "Unavailable For Legal Reasons"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {502, "Bad Gateway"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
        {505, "HTTP Version Not Supported"},
        {507, "Insufficient Storage"},
    };
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if (known[i].status == status)
            return known[i].reason;
    return "";
}

static bool line_is(struct slice line, const char *lower_name, size_t len) {
    return line.len > len && line.data[len] == ':' && strncasecmp(line.data, lower_name, len) == 0;
}

/* Appends the procedure's own fields. An X-Request-Id among them is left out, because a reply
 * carries one and it is the request's; true if it set Date itself. */
static bool write_own_fields(struct buf *out, struct slice fields) {
    bool has_date = false;
    while (fields.len > 0) {
        const char *end = memchr(fields.data, '\n', fields.len);
        size_t len = end ? (size_t)(end - fields.data) + 1 : fields.len;
        struct slice line = slice_of(fields.data, len);
        if (!line_is(line, "x-request-id", 12))
            buf_append_slice(out, line);
        has_date |= line_is(line, "date", 4);
        fields = slice_of(fields.data + len, fields.len - len);
    }
    return has_date;
}

static void write_status_line(struct buf *out, int status) {
    if (status == 200) {
        buf_append_slice(out, SLICE("HTTP/1.1 200 OK\r\n"));
        return;
    }
    buf_append_slice(out, SLICE("HTTP/1.1 "));
    buf_append_u64(out, (uint64_t)status);
    buf_append_byte(out, ' '); /* required even before an empty reason, RFC 9112 4 */
    buf_append_text(out, reply_reason(status));
    buf_append_slice(out, SLICE("\r\n"));
}

void reply_write(struct buf *out, const struct reply *reply, const struct reply_frame *frame) {
    bool bodiless = reply->status == 204 || reply->status == 304;
    write_status_line(out, reply->status);
    if (reply->content_type && !bodiless) {
        buf_append_slice(out, SLICE("Content-Type: "));
        buf_append_text(out, reply->content_type);
        buf_append_slice(out, SLICE("\r\n"));
    }
    bool has_date = false;
    if (reply->headers.len > 0)
        has_date = write_own_fields(out, buf_slice(&reply->headers));
    if (!bodiless) {
        buf_append_slice(out, SLICE("Content-Length: "));
        buf_append_u64(out, reply->body.len + frame->absent_bytes);
        buf_append_slice(out, SLICE("\r\n"));
    }
    if (!has_date) {
        buf_append_slice(out, SLICE("Date: "));
        buf_append_slice(out, frame->date);
        buf_append_slice(out, SLICE("\r\n"));
    }
    buf_append_slice(out, SLICE("X-Request-Id: "));
    buf_append_slice(out, frame->request_id);
    if (!frame->keep_alive)
        buf_append_slice(out, SLICE("\r\nConnection: close"));
    else if (frame->say_keep_alive)
        buf_append_slice(out, SLICE("\r\nConnection: keep-alive"));
    buf_append_slice(out, SLICE("\r\n\r\n"));
    if (!bodiless && !frame->head_only)
        buf_append_slice(out, buf_slice(&reply->body));
}

void reply_write_nomem(struct buf *out, const struct reply_frame *frame) {
    char fields[] = "Retry-After: 1\r\n";
    char body[] =
        "{\"error\":\"the server is out of memory; try again\",\"code\":\"out_of_memory\"}\n";
    struct reply reply = {
        .status = 503,
        .content_type = REPLY_JSON,
        .headers = {.data = fields, .len = sizeof fields - 1},
        .body = {.data = body, .len = sizeof body - 1},
    };
    reply_write(out, &reply, frame);
}

void reply_date(uint64_t wall_ns, char out[REPLY_DATE_BYTES + 1]) {
    static const char *const days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char *const months[] = {
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    time_t seconds = (time_t)(wall_ns / NS_PER_S);
    struct tm tm;
    gmtime_r(&seconds, &tm);
    /* The masks keep every field in its width, whatever the clock says. */
    snprintf(out, REPLY_DATE_BYTES + 1, "%s, %02u %s %04u %02u:%02u:%02u GMT",
        days[(unsigned)tm.tm_wday % 7], (unsigned)tm.tm_mday % 100u,
        months[(unsigned)tm.tm_mon % 12], (unsigned)(tm.tm_year + 1900) % 10000u,
        (unsigned)tm.tm_hour % 100u, (unsigned)tm.tm_min % 100u, (unsigned)tm.tm_sec % 100u);
}
