/* Status codes: every way in which an operation of concave can end, and its name.
 *
 * Bugs are asserts, expected failures are statuses. A function that can fail returns enum status,
 * with its results in out-parameters that stand last; an unused status is a compiler warning.
 * Only net/ maps a status to HTTP. */
#ifndef CONCAVE_CORE_STATUS_H
#define CONCAVE_CORE_STATUS_H

#define STATUS_LIST(X)                                                                             \
    X(OK, "ok")                                                                                    \
    X(PENDING, "waiting for an answer")                                                            \
    X(NOT_FOUND, "not found")                                                                      \
    X(END, "no more items")                                                                        \
    X(DOOMED, "this attempt has lost a conflict")                                                  \
    X(CONFLICT, "conflict")                                                                        \
    X(BUSY, "overloaded")                                                                          \
    X(TIMEOUT, "time budget used up")                                                              \
    X(NOMEM, "out of memory")                                                                      \
    X(MEMORY_FULL, "memory limit reached")                                                         \
    X(DISK_FULL, "disk full")                                                                      \
    X(TOO_LARGE, "too large")                                                                      \
    X(INVALID, "invalid")                                                                          \
    X(NOT_A_NUMBER, "not a number")                                                                \
    X(OVERFLOW, "number overflow")                                                                 \
    X(EXISTS, "already there")                                                                     \
    X(LOCKED, "locked by another process")                                                         \
    X(CORRUPT, "damaged")                                                                          \
    X(IO, "input/output error")                                                                    \
    X(HANDLER, "handler error")                                                                    \
    X(CLOSED, "shutting down")

enum status {
#define X(name, text) ST_##name,
    STATUS_LIST(X)
#undef X
};

/* Result must be looked at: a dropped status is a bug. */
#define MUST_USE __attribute__((warn_unused_result))

/* The words for a status; a string constant. Any thread. */
const char *status_text(enum status status);

#endif
