#include "lua/log.h"

/* In front of each line in attempt->log. */
struct line {
    enum diag_level level;
    size_t message_len, fields_len;
};

void script_log(
    struct attempt *attempt, enum diag_level level, struct slice message, struct slice fields) {
    if (!diag_enabled(level))
        return;
    struct buf *log = &attempt->log;
    struct line line = {.level = level, .message_len = message.len, .fields_len = fields.len};
    size_t bytes = sizeof line + message.len + fields.len;
    if (bytes > log->max - log->len) {
        attempt->log_lost++;
        return;
    }
    buf_append(log, &line, sizeof line);
    buf_append_slice(log, message);
    buf_append_slice(log, fields);
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
