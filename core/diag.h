/* Diagnostics: lines for the operator, to stderr, as text or JSON (--log-level, --log-format).
 *
 * (Not the write-ahead log, which is core/wal.h.) A line has a time (UTC, milliseconds), a level, a
 * message and name=value fields. It is formatted into a bounded buffer and written with one write
 * call; control bytes are escaped, so nobody can forge a line.
 * Threads: any. Errors: none; a line that cannot be written is lost. */
#ifndef CONCAVE_CORE_DIAG_H
#define CONCAVE_CORE_DIAG_H

#include <stdbool.h>
#include <stddef.h>

enum diag_level { DIAG_DEBUG, DIAG_INFO, DIAG_WARN, DIAG_ERROR };
enum diag_format { DIAG_TEXT, DIAG_JSON };

#define DIAG_LINE_BYTES_MAX 16384

/* Before threads start. */
void diag_configure(enum diag_level lowest, enum diag_format format);
bool diag_enabled(enum diag_level level);
/* The message, printf-like; longer ones are cut. */
void diag(enum diag_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* A message with a request id and, if fields_len is not 0, fields already encoded as a JSON object
 * (for log() of handlers). */
void diag_request(enum diag_level level, const char *id, size_t id_len, const char *message,
    size_t message_len, const char *fields, size_t fields_len);
/* As diag at DIAG_ERROR, then exits the process at once (no atexit handlers) with this code. */
_Noreturn void diag_fatal(int exit_code, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
