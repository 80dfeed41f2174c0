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

void json_write_string(struct buf *out, struct slice text) {
    /* Room for the text as it is, and the quotes: most strings need no more, so one look is enough.
     */
    if (text.len > SIZE_MAX - 2 || !buf_reserve(out, text.len + 2)) {
        out->failed = true;
        return;
    }
    buf_append_byte(out, '"');
    const char *at = text.data, *end = text.len ? at + text.len : at, *run = at;
    while (at != end) {
        at = utf8_skip_plain(at, end);
        while (at != end && (unsigned char)*at >= 0x80)
            at++; /* valid UTF-8 goes as it is */
        if (at == end || !utf8_is_special(*at))
            continue;
        buf_append(out, run, (size_t)(at - run));
        write_escape(out, *at++);
        run = at;
    }
    buf_append(out, run, (size_t)(at - run));
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
