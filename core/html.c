#include "core/html.h"

/* By byte; the data is NULL for those that stand for themselves. */
static const struct slice entities[256] = {
    ['&'] = {"&amp;", 5},
    ['<'] = {"&lt;", 4},
    ['>'] = {"&gt;", 4},
    ['"'] = {"&quot;", 6},
    ['\''] = {"&#39;", 5},
};

/* The same in one byte each: what grows by how many bytes. */
static const unsigned char growth[256] = {['&'] = 4, ['<'] = 3, ['>'] = 3, ['"'] = 5, ['\''] = 4};

size_t html_escape(struct slice text, char *to) {
    char *at = to;
    for (size_t i = 0; i < text.len; i++) {
        unsigned char byte = (unsigned char)text.data[i];
        if (growth[byte] == 0) {
            *at++ = (char)byte;
            continue;
        }
        memcpy(at, entities[byte].data, entities[byte].len);
        at += entities[byte].len;
    }
    return (size_t)(at - to);
}

size_t html_escaped_len(struct slice text) {
    size_t len = text.len;
    for (size_t i = 0; i < text.len; i++)
        len += growth[(unsigned char)text.data[i]];
    return len;
}
