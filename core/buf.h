/* Byte buffers that grow up to a bound, and slices of bytes owned by someone else.
 *
 * Ownership: a struct buf owns its bytes until buf_free; a struct slice owns nothing.
 * Threads: none of its own; a buffer belongs to whoever holds it.
 * Errors: appending never fails at the call. An append that would pass the bound or finds no memory
 * sets `failed` and drops its bytes; the writer looks once, at the end, with buf_ok. */
#ifndef CONCAVE_CORE_BUF_H
#define CONCAVE_CORE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "core/status.h"

struct slice {
    const char *data;
    size_t len;
};

static inline struct slice slice_of(const char *data, size_t len) {
    return (struct slice){.data = data, .len = len};
}

/* A slice of a string constant. */
#define SLICE(text) ((struct slice){.data = (text), .len = sizeof(text) - 1})

static inline bool slice_equal(struct slice a, struct slice b) {
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

/* Byte order, a prefix first: negative, zero or positive. */
int slice_compare(struct slice a, struct slice b);

struct buf {
    char *data;
    size_t len;
    size_t cap;
    size_t max; /* bytes; SIZE_MAX = bounded by memory only */
    bool failed;
};

/* An empty buffer that will hold at most max bytes; allocates nothing yet. */
void buf_init(struct buf *buf, size_t max);
/* Gives the bytes back; the buffer is empty and usable again. */
void buf_free(struct buf *buf);
/* Empties the buffer but keeps its memory, unless that is more than keep bytes. Clears `failed`. */
void buf_reset(struct buf *buf, size_t keep);
/* Makes room for extra bytes behind len and returns where they go; NULL (and `failed`) if there is
 * none. The caller adds what it wrote to len. */
char *buf_reserve(struct buf *buf, size_t extra);
void buf_append(struct buf *buf, const void *data, size_t len);
void buf_append_slice(struct buf *buf, struct slice slice);
void buf_append_byte(struct buf *buf, char byte);
/* A string constant or other zero-terminated text, without its zero. */
void buf_append_text(struct buf *buf, const char *text);
void buf_append_u64(struct buf *buf, uint64_t number);
void buf_append_i64(struct buf *buf, int64_t number);
void buf_printf(struct buf *buf, const char *format, ...) __attribute__((format(printf, 2, 3)));

static inline bool buf_ok(const struct buf *buf) {
    return !buf->failed;
}
static inline struct slice buf_slice(const struct buf *buf) {
    return slice_of(buf->data, buf->len);
}

#endif
