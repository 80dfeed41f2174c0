#include "core/json_write.h"

#include "core/decimal.h"
#include "core/utf8.h"

static void write_escape(struct buf *out, char byte) {
    static const char hex[] = "0123456789abcdef";
    char escape[6] = {'\\', 'u', '0', '0', hex[(unsigned char)byte >> 4], hex[byte & 15]};
    size_t len = 2;
    switch (byte) {
    case '"':
    case '\\':
        escape[1] = byte;
        break;
    case '\b':
        escape[1] = 'b';
        break;
    case '\f':
        escape[1] = 'f';
        break;
    case '\n':
        escape[1] = 'n';
        break;
    case '\r':
        escape[1] = 'r';
        break;
    case '\t':
        escape[1] = 't';
        break;
    default:
        len = sizeof escape;
    }
    buf_append(out, escape, len);
}

/* Text from the first byte that may need an escape on. */
static void write_escaped(struct buf *out, const char *at, const char *end) {
    const char *run = at;
    for (; at != end; at++) {
        if (!utf8_is_special(*at))
            continue;
        buf_append(out, run, (size_t)(at - run));
        write_escape(out, *at);
        run = at + 1;
    }
    buf_append(out, run, (size_t)(end - run));
}

void json_write_string(struct buf *out, struct slice text) {
    /* Most strings are plain, then this room is all they need. */
    char *to = text.len <= SIZE_MAX - 2 ? buf_reserve(out, text.len + 2) : NULL;
    if (!to) {
        out->failed = true;
        return;
    }
    const char *end = text.len ? text.data + text.len : text.data;
    const char *special = utf8_skip_plain(text.data, end);
    size_t plain = (size_t)(special - text.data);
    *to++ = '"';
    if (plain)
        memcpy(to, text.data, plain);
    out->len += 1 + plain;
    if (special != end)
        write_escaped(out, special, end);
    buf_append_byte(out, '"');
}

void json_write_real(struct buf *out, double real) {
    char digits[DECIMAL_BYTES_MAX];
    buf_append(out, digits, decimal_write(real, digits));
}

bool utf8_valid(struct slice text) {
    if (text.len == 0)
        return true;
    const char *at = text.data, *end = text.data + text.len;
    while ((at = utf8_skip_ascii(at, end)) != end) {
        size_t length = utf8_sequence(at, end);
        if (length == 0)
            return false;
        at += length;
    }
    return true;
}
