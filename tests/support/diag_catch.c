#include "tests/support/diag_catch.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static struct diag_catch *innermost;
static unsigned long lines[DIAG_ERROR + 1];
static char last[1024];

jmp_buf *diag_catch_begin(struct diag_catch *catch) {
    catch->outer = innermost;
    innermost = catch;
    return &catch->target;
}

void diag_catch_end(struct diag_catch *catch) {
    innermost = catch->outer;
}

unsigned long diag_catch_lines(enum diag_level level) {
    return lines[level];
}

const char *diag_catch_last(void) {
    return last;
}

/* ---- core/diag.h ---- */

void diag_configure(enum diag_level lowest, enum diag_format format) {
    (void)lowest;
    (void)format;
}

bool diag_enabled(enum diag_level level) {
    (void)level;
    return true;
}

void diag(enum diag_level level, const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(last, sizeof(last), format, args);
    va_end(args);
    lines[level]++;
}

void diag_request(enum diag_level level, const char *id, size_t id_len, const char *message,
    size_t message_len, const char *fields, size_t fields_len) {
    (void)fields;
    (void)fields_len;
    diag(level, "%.*s: %.*s", (int)id_len, id, (int)message_len, message);
}

_Noreturn void diag_fatal(int exit_code, const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(last, sizeof(last), format, args);
    va_end(args);
    lines[DIAG_ERROR]++;
    struct diag_catch *catch = innermost;
    if (!catch) {
        fprintf(stderr, "%s\n", last);
        abort();
    }
    innermost = catch->outer;
    catch->exit_code = exit_code;
    snprintf(catch->message, sizeof(catch->message), "%s", last);
    longjmp(catch->target, 1);
}
