#include "core/json_write.h"

#include "core/decimal.h"
#include "core/utf8.h"

#define PIECE_BYTES ((size_t)4096)

/* What stands behind the backslash for each control character; 'u' has four digits behind it. */
static const char letters[0x20 + 1] = "uuuuuuuubtnufruuuuuuuuuuuuuuuuuu";

/* Bytes of an escape beyond the first. */
static size_t escape_more(char byte) {
    if (!utf8_is_special(byte))
        return 0;
    return (unsigned char)byte < 0x20 && letters[(unsigned char)byte] == 'u' ? 5 : 1;
}

static char *write_escape(char *to, char byte) {
    static const char hex[] = "0123456789abcdef";
    *to++ = '\\';
    if ((unsigned char)byte >= 0x20) {
        *to++ = byte;
        return to;
    }
    *to++ = letters[(unsigned char)byte];
    if (to[-1] != 'u')
        return to;
    *to++ = '0';
    *to++ = '0';
    *to++ = hex[(unsigned char)byte >> 4];
    *to++ = hex[byte & 15];
    return to;
}

/* Text from the first byte that may need an escape on. A text may have megabytes of them, so there
 * is room made for many at a time. */
static void write_escaped(struct buf *out, const char *at, const char *end) {
    while (at != end) {
        const char *stop = (size_t)(end - at) > PIECE_BYTES ? at + PIECE_BYTES : end;
        size_t len = (size_t)(stop - at);
        for (const char *byte = at; byte != stop; byte++)
            len += escape_more(*byte);
        char *to = buf_reserve(out, len);
        if (!to)
            return;
        out->len += len;
        for (; at != stop; at++) {
            if (utf8_is_special(*at))
                to = write_escape(to, *at);
            else
                *to++ = *at;
        }
    }
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
