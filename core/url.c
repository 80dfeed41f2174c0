#include "core/url.h"

/* The value of a hexadecimal digit, or -1. */
static int hex_digit(char byte) {
    if (byte >= '0' && byte <= '9')
        return byte - '0';
    char lower = (char)(byte | 0x20);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/* The next decoded byte of an encoded text that is not over; -1 for a bad escape. */
static int take_decoded(const char **at, const char *end, bool plus_is_space) {
    char byte = *(*at)++;
    if (byte == '+' && plus_is_space)
        return ' ';
    if (byte != '%')
        return (unsigned char)byte;
    if (end - *at < 2)
        return -1;
    int high = hex_digit((*at)[0]), low = hex_digit((*at)[1]);
    *at += 2;
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

enum status url_decode(struct slice text, bool plus_is_space, struct buf *out) {
    if (text.len == 0)
        return ST_OK;
    char *to = buf_reserve(out, text.len); /* decoding never makes it longer */
    if (!to)
        return ST_NOMEM;
    size_t len = 0;
    for (const char *at = text.data, *end = at + text.len; at != end;) {
        int byte = take_decoded(&at, end, plus_is_space);
        if (byte < 0)
            return ST_INVALID;
        to[len++] = (char)byte;
    }
    out->len += len;
    return ST_OK;
}

/* RFC 3986, section 2.3. */
static bool is_unreserved(char byte) {
    char lower = (char)(byte | 0x20);
    return (byte >= '0' && byte <= '9') || (lower >= 'a' && lower <= 'z') || byte == '-' ||
           byte == '.' || byte == '_' || byte == '~';
}

void url_encode(struct slice text, struct buf *out) {
    static const char hex[] = "0123456789ABCDEF";
    for (size_t i = 0; i < text.len; i++) {
        unsigned char byte = (unsigned char)text.data[i];
        char escape[3] = {'%', hex[byte >> 4], hex[byte & 15]};
        if (is_unreserved(text.data[i]))
            buf_append_byte(out, text.data[i]);
        else
            buf_append(out, escape, sizeof escape);
    }
}

/* Takes what stands before the first `separator`, and that byte, off *rest. */
static struct slice take_until(struct slice *rest, char separator) {
    const char *found = rest->len ? memchr(rest->data, separator, rest->len) : NULL;
    size_t len = found ? (size_t)(found - rest->data) : rest->len;
    struct slice piece = slice_of(rest->data, len);
    if (rest->len) {
        size_t taken = found ? len + 1 : len;
        rest->data += taken;
        rest->len -= taken;
    }
    return piece;
}

bool url_next_pair(struct slice *rest, struct slice *name, struct slice *value) {
    struct slice pair;
    do {
        if (rest->len == 0)
            return false;
        pair = take_until(rest, '&');
    } while (pair.len == 0);
    *name = take_until(&pair, '=');
    *value = pair;
    return true;
}

/* True if the encoded text stands for `decoded`; a bad escape stands for nothing. */
static bool decodes_to(struct slice encoded, struct slice decoded) {
    size_t len = 0;
    for (const char *at = encoded.data, *end = at + encoded.len; at != end; len++) {
        int byte = take_decoded(&at, end, true);
        if (len == decoded.len || byte != (unsigned char)decoded.data[len])
            return false;
    }
    return len == decoded.len;
}

enum status url_query_get(struct slice query, struct slice name, struct buf *out) {
    struct slice pair_name, pair_value, found = {.data = NULL};
    while (url_next_pair(&query, &pair_name, &pair_value)) {
        if (!decodes_to(pair_name, name))
            continue;
        if (found.data)
            return ST_EXISTS;
        found = pair_value;
    }
    return found.data ? url_decode(found, true, out) : ST_NOT_FOUND;
}

static bool is_blank(char byte) {
    return byte == ' ' || byte == '\t';
}

static struct slice trim_blanks(struct slice text) {
    while (text.len && is_blank(text.data[text.len - 1]))
        text.len--;
    while (text.len && is_blank(*text.data)) {
        text.data++;
        text.len--;
    }
    return text;
}

bool cookie_next(struct slice *rest, struct slice *name, struct slice *value) {
    while (rest->len > 0) {
        struct slice pair = take_until(rest, ';');
        size_t pair_len = pair.len;
        *name = take_until(&pair, '=');
        bool has_equals = name->len < pair_len;
        *name = trim_blanks(*name);
        *value = trim_blanks(pair);
        if (value->len >= 2 && value->data[0] == '"' && value->data[value->len - 1] == '"')
            *value = slice_of(value->data + 1, value->len - 2);
        if (has_equals && name->len > 0)
            return true; /* others are no cookies: RFC 6265, section 5.2 */
    }
    return false;
}
