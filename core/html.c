#include "core/html.h"

#include "core/utf8.h"

static const struct slice entities[256] = {
    ['&'] = {"&amp;", 5},
    ['<'] = {"&lt;", 4},
    ['>'] = {"&gt;", 4},
    ['"'] = {"&quot;", 6},
    ['\''] = {"&#39;", 5},
};

/* How many bytes a byte grows by. */
static const unsigned char growth[256] = {['&'] = 4, ['<'] = 3, ['>'] = 3, ['"'] = 5, ['\''] = 4};

/* Not 0 if the word holds a zero byte (Mycroft 1987). */
static inline uint64_t has_zero(uint64_t word) {
    return (word - UTF8_EACH_BYTE(0x01)) & ~word & UTF8_EACH_BYTE(0x80);
}

/* Not 0 if one of the word's bytes is special: 0x26 and 0x27 differ in a bit, so do 0x3C and 0x3E.
 */
static inline uint64_t has_special(uint64_t word) {
    return has_zero(word ^ UTF8_EACH_BYTE('"')) |
           has_zero((word | UTF8_EACH_BYTE(0x01)) ^ UTF8_EACH_BYTE('\'')) |
           has_zero((word | UTF8_EACH_BYTE(0x02)) ^ UTF8_EACH_BYTE('>'));
}

size_t html_escape(struct slice text, char *to) {
    const char *from = text.data, *end = from + text.len;
    char *at = to;
    while (from != end) {
        while (end - from >= 8 && !has_special(utf8_word(from))) {
            memcpy(at, from, 8);
            at += 8;
            from += 8;
        }
        const char *stop = end - from >= 8 ? from + 8 : end;
        for (; from != stop; from++) {
            struct slice entity = entities[(unsigned char)*from];
            if (!entity.data) {
                *at++ = *from;
                continue;
            }
            memcpy(at, entity.data, entity.len);
            at += entity.len;
        }
    }
    return (size_t)(at - to);
}

size_t html_escaped_len(struct slice text) {
    size_t len = text.len;
    for (size_t i = 0; i < text.len; i++)
        len += growth[(unsigned char)text.data[i]];
    return len;
}

void html_append(struct buf *out, struct slice text) {
    char *to = buf_reserve(out, html_escaped_len(text));
    if (to)
        out->len += html_escape(text, to);
}
