#include "lua/log.h"

/* In front of each line in attempt->log. */
struct line {
    enum diag_level level;
    size_t message_len, fields_len;
};

/* Keeps a line if the log then is no longer than max. Of a message no more is kept than is ever
 * written (core/diag.h). */
static void keep(struct attempt *attempt, const struct line *line, const char *message,
    const char *fields, size_t max) {
    struct buf *log = &attempt->log;
    size_t bytes = sizeof *line + line->message_len + line->fields_len;
    if (log->len > max || bytes > max - log->len) {
        attempt->log_lost++;
        return;
    }
    buf_append(log, line, sizeof *line);
    buf_append_slice(log, slice_of(message, line->message_len));
    buf_append_slice(log, slice_of(fields, line->fields_len));
}

static size_t cut(struct slice message) {
    return message.len < DIAG_LINE_BYTES_MAX ? message.len : DIAG_LINE_BYTES_MAX;
}

void script_log(
    struct attempt *attempt, enum diag_level level, struct slice message, struct slice fields) {
    struct line line = {.level = level, .message_len = cut(message), .fields_len = fields.len};
    if (diag_enabled(level))
        keep(attempt, &line, message.data, fields.data, SCRIPT_LOG_BYTES_MAX);
}

void script_log_error(struct attempt *attempt, struct slice message, struct slice fields) {
    if (fields.len > DIAG_LINE_BYTES_MAX)
        fields = SLICE("{\"too_long\":true}");
    struct line line = {.level = DIAG_ERROR, .message_len = cut(message), .fields_len = fields.len};
    if (diag_enabled(DIAG_ERROR))
        keep(attempt, &line, message.data, fields.data, SCRIPT_LOG_BYTES_MAX + SCRIPT_LOG_RESERVE);
}

void script_log_write(struct attempt *attempt, struct slice id) {
    struct buf *log = &attempt->log;
    if (log->len && buf_ok(log)) {
        for (size_t at = 0; at < log->len;) {
            struct line line;
            memcpy(&line, log->data + at, sizeof line);
            const char *message = log->data + at + sizeof line;
            diag_request(line.level, id.data, id.len, message, line.message_len,
                message + line.message_len, line.fields_len);
            at += sizeof line + line.message_len + line.fields_len;
        }
    }
    if (attempt->log_lost)
        diag(DIAG_WARN, "request %.*s: %u more log lines than an attempt may have", (int)id.len,
            id.data, attempt->log_lost);
    buf_reset(log, 4096);
    attempt->log_lost = 0;
}
