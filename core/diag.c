#include "core/diag.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/utf8.h"

/* Room that is kept behind each part of a line for those that follow, so that a long message does
 * not push out who sent it and every line ends as it should. */
#define TAIL_BYTES 16
#define ID_BYTES_MAX 1024
#define MESSAGE_BYTES_MAX (DIAG_LINE_BYTES_MAX / 2)

_Static_assert(
    MESSAGE_BYTES_MAX + ID_BYTES_MAX + TAIL_BYTES < DIAG_LINE_BYTES_MAX, "fields fit too");

/* Set before threads start, only read from then on. */
static struct {
    enum diag_level lowest;
    enum diag_format format;
    int fd;
    bool is_socket;
} settings = {.lowest = DIAG_INFO, .format = DIAG_TEXT, .fd = STDERR_FILENO};

static const char *const level_names[] = {"debug", "info", "warn", "error"};

/* A descriptor of our own for the pipe or terminal behind stderr, so that it can be made
 * non-blocking: that flag belongs to the open file, which the shell and other processes share. A
 * regular file does not block, a socket has a flag for each call. */
static int open_nonblocking(mode_t mode) {
    if (!S_ISFIFO(mode) && !S_ISCHR(mode))
        return STDERR_FILENO;
    int fd = open("/proc/self/fd/2", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    return fd < 0 ? STDERR_FILENO : fd;
}

void diag_configure(enum diag_level lowest, enum diag_format format) {
    if (settings.fd != STDERR_FILENO)
        (void)close(settings.fd);
    struct stat file = {.st_mode = 0};
    (void)fstat(STDERR_FILENO, &file); /* no stderr: every write fails, every line is lost */
    settings.lowest = lowest;
    settings.format = format;
    settings.fd = open_nonblocking(file.st_mode);
    settings.is_socket = S_ISSOCK(file.st_mode);
}

bool diag_enabled(enum diag_level level) {
    return level >= settings.lowest;
}

/* ---- the line ---- */

struct line {
    char bytes[DIAG_LINE_BYTES_MAX];
    size_t len;
    size_t limit; /* of the part that is being written */
};

/* All of it or nothing, so that no escape or character is cut. */
static bool put(struct line *line, const char *bytes, size_t len) {
    if (len > line->limit - line->len)
        return false;
    memcpy(line->bytes + line->len, bytes, len);
    line->len += len;
    return true;
}

static bool put_text(struct line *line, const char *text) {
    return put(line, text, strlen(text));
}

/* The part that comes next may take so many bytes, and never those kept for the end. */
static void set_limit(struct line *line, size_t bytes) {
    size_t most = sizeof line->bytes - TAIL_BYTES;
    line->limit = bytes < most - line->len ? line->len + bytes : most;
}

static bool put_hex(struct line *line, const char *prefix, unsigned char byte) {
    static const char hex[] = "0123456789abcdef";
    char escape[8];
    size_t len = strlen(prefix);
    memcpy(escape, prefix, len);
    escape[len] = hex[byte >> 4];
    escape[len + 1] = hex[byte & 15];
    return put(line, escape, len + 2);
}

/* Controls: C0, DEL, and C1, which some terminals obey in UTF-8 too. */
static bool is_control(const char *at, size_t length) {
    unsigned char first = (unsigned char)at[0];
    return first < 0x20 || first == 0x7F ||
           (length == 2 && first == 0xC2 && (unsigned char)at[1] < 0xA0);
}

static bool put_text_character(struct line *line, const char *at, size_t length) {
    if (length > 0 && !is_control(at, length))
        return put(line, at, length);
    for (size_t i = 0; i < (length ? length : 1); i++)
        if (!put_hex(line, "\\x", (unsigned char)at[i]))
            return false;
    return true;
}

static bool put_json_character(struct line *line, const char *at, size_t length) {
    if (length == 0)
        return put_text(line, "\xEF\xBF\xBD"); /* U+FFFD stands for what is no UTF-8 */
    if (*at == '"' || *at == '\\') {
        char escape[2] = {'\\', *at};
        return put(line, escape, sizeof escape);
    }
    if (is_control(at, length))
        return put_hex(line, "\\u00", (unsigned char)at[length - 1]); /* of C1 the second byte */
    return put(line, at, length);
}

/* Text of anybody's making; what does not fit is cut. */
static void put_escaped(struct line *line, const char *text, size_t len) {
    for (const char *at = text, *end = text + len; at != end;) {
        size_t length = utf8_sequence(at, end);
        bool fits = settings.format == DIAG_JSON ? put_json_character(line, at, length)
                                                 : put_text_character(line, at, length);
        if (!fits)
            return;
        at += length ? length : 1;
    }
}

/* An encoded JSON object: all of it, on one line, or none. Raw controls stand between its tokens.
 */
static void put_fields(struct line *line, const char *fields, size_t len) {
    size_t from = line->len;
    if (!put(line, fields, len)) {
        put_text(line, "{\"too_long\":true}");
        return;
    }
    for (size_t i = from; i < line->len; i++)
        if ((unsigned char)line->bytes[i] < 0x20)
            line->bytes[i] = ' ';
}

static void put_time(struct line *line) {
    uint64_t now_ns = clock_wall_ns();
    time_t seconds = (time_t)(now_ns / NS_PER_S);
    struct tm utc;
    char text[64];
    if (!gmtime_r(&seconds, &utc))
        return;
    size_t len = strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &utc);
    int more = snprintf(
        text + len, sizeof text - len, ".%03uZ", (unsigned)(now_ns % NS_PER_S / NS_PER_MS));
    put(line, text, len + (size_t)more);
}

/* What a line says; id and fields may be left out. */
struct entry {
    enum diag_level level;
    const char *message, *id, *fields;
    size_t message_len, id_len, fields_len;
};

static void format_text(struct line *line, const struct entry *entry) {
    put_time(line);
    put_text(line, " ");
    put_text(line, level_names[entry->level]);
    put_text(line, " ");
    set_limit(line, MESSAGE_BYTES_MAX);
    put_escaped(line, entry->message, entry->message_len);
    if (entry->id_len) {
        set_limit(line, ID_BYTES_MAX);
        put_text(line, " request_id=");
        put_escaped(line, entry->id, entry->id_len);
    }
    set_limit(line, sizeof line->bytes);
    if (entry->fields_len) {
        put_text(line, " fields=");
        put_fields(line, entry->fields, entry->fields_len);
    }
    line->limit = sizeof line->bytes;
}

static void format_json(struct line *line, const struct entry *entry) {
    put_text(line, "{\"time\":\"");
    put_time(line);
    put_text(line, "\",\"level\":\"");
    put_text(line, level_names[entry->level]);
    put_text(line, "\",\"message\":\"");
    set_limit(line, MESSAGE_BYTES_MAX);
    put_escaped(line, entry->message, entry->message_len);
    set_limit(line, ID_BYTES_MAX);
    put_text(line, "\"");
    if (entry->id_len) {
        put_text(line, ",\"request_id\":\"");
        line->limit--; /* for the quote */
        put_escaped(line, entry->id, entry->id_len);
        line->limit++;
        put_text(line, "\"");
    }
    set_limit(line, sizeof line->bytes);
    if (entry->fields_len) {
        put_text(line, ",\"fields\":");
        put_fields(line, entry->fields, entry->fields_len);
    }
    line->limit = sizeof line->bytes;
    put_text(line, "}");
}

/* One call, so that lines of several threads do not mix; what a full pipe does not take is lost. */
static void write_line(const struct line *line) {
    ssize_t written = settings.is_socket
                          ? send(settings.fd, line->bytes, line->len, MSG_DONTWAIT | MSG_NOSIGNAL)
                          : write(settings.fd, line->bytes, line->len);
    (void)written; /* diagnostics of diagnostics have nowhere to go */
}

static void emit(const struct entry *entry) {
    int saved = errno; /* callers report an error first and look at errno after */
    struct line line;
    line.len = 0;
    line.limit = sizeof line.bytes;
    if (settings.format == DIAG_JSON)
        format_json(&line, entry);
    else
        format_text(&line, entry);
    bool ended = put_text(&line, "\n");
    assert(ended);
    write_line(&line);
    errno = saved;
}

__attribute__((format(printf, 2, 0))) static void emit_formatted(
    enum diag_level level, const char *format, va_list args) {
    char message[MESSAGE_BYTES_MAX];
    int len = vsnprintf(message, sizeof message, format, args);
    size_t kept = len < 0 ? 0 : (size_t)len < sizeof message ? (size_t)len : sizeof message - 1;
    emit(&(struct entry){.level = level, .message = message, .message_len = kept});
}

/* ---- what callers see ---- */

void diag(enum diag_level level, const char *format, ...) {
    if (!diag_enabled(level))
        return;
    va_list args;
    va_start(args, format);
    emit_formatted(level, format, args);
    va_end(args);
}

void diag_request(enum diag_level level, const char *id, size_t id_len, const char *message,
    size_t message_len, const char *fields, size_t fields_len) {
    if (!diag_enabled(level))
        return;
    emit(&(struct entry){.level = level,
        .id = id,
        .id_len = id_len,
        .message = message,
        .message_len = message_len,
        .fields = fields,
        .fields_len = fields_len});
}

_Noreturn void diag_fatal(int exit_code, const char *format, ...) {
    va_list args;
    va_start(args, format);
    emit_formatted(DIAG_ERROR, format, args);
    va_end(args);
    _exit(exit_code);
}
