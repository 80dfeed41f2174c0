#include "core/buf.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define BUF_CAP_MIN 256

int slice_compare(struct slice a, struct slice b) {
    size_t common = a.len < b.len ? a.len : b.len;
    int order = common ? memcmp(a.data, b.data, common) : 0;
    if (order != 0)
        return order;
    return (a.len > b.len) - (a.len < b.len);
}

void buf_init(struct buf *buf, size_t max) {
    *buf = (struct buf){.max = max};
}

void buf_free(struct buf *buf) {
    free(buf->data);
    buf_init(buf, buf->max);
}

void buf_reset(struct buf *buf, size_t keep) {
    if (buf->cap > keep)
        buf_free(buf);
    buf->len = 0;
    buf->failed = false;
}

char *buf_reserve(struct buf *buf, size_t extra) {
    if (buf->failed)
        return NULL; /* sticky: what follows a hole must not be taken for the whole */
    if (extra <= buf->cap - buf->len && buf->data)
        return buf->data + buf->len;
    if (extra > buf->max - buf->len) {
        buf->failed = true;
        return NULL;
    }
    size_t cap = buf->cap ? buf->cap : BUF_CAP_MIN;
    while (cap - buf->len < extra)
        cap = cap > SIZE_MAX / 2 ? SIZE_MAX : cap * 2;
    if (cap > buf->max)
        cap = buf->max;
    char *data = realloc(buf->data, cap ? cap : 1);
    if (!data) {
        buf->failed = true;
        return NULL;
    }
    buf->data = data;
    buf->cap = cap;
    return data + buf->len;
}

void buf_append(struct buf *buf, const void *data, size_t len) {
    char *to = buf_reserve(buf, len);
    if (!to)
        return;
    if (len)
        memcpy(to, data, len);
    buf->len += len;
}

void buf_append_slice(struct buf *buf, struct slice slice) {
    buf_append(buf, slice.data, slice.len);
}

void buf_append_byte(struct buf *buf, char byte) {
    buf_append(buf, &byte, 1);
}

void buf_append_text(struct buf *buf, const char *text) {
    buf_append(buf, text, strlen(text));
}

void buf_append_u64(struct buf *buf, uint64_t number) {
    char digits[20];
    size_t at = sizeof digits;
    do {
        digits[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number);
    buf_append(buf, digits + at, sizeof digits - at);
}

void buf_append_i64(struct buf *buf, int64_t number) {
    if (number < 0)
        buf_append_byte(buf, '-');
    buf_append_u64(buf, number < 0 ? 0 - (uint64_t)number : (uint64_t)number);
}

void buf_printf(struct buf *buf, const char *format, ...) {
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int len = vsnprintf(NULL, 0, format, args);
    assert(len >= 0);
    char *to = buf_reserve(buf, (size_t)len + 1);
    if (to) {
        (void)vsnprintf(to, (size_t)len + 1, format, again);
        buf->len += (size_t)len;
    }
    va_end(again);
    va_end(args);
}
