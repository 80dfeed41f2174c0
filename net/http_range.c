#include "net/http_range.h"

#include <strings.h>

static bool is_blank(char byte) {
    return byte == ' ' || byte == '\t';
}

static void skip(struct slice *rest, size_t count) {
    *rest = slice_of(rest->data + count, rest->len - count);
}

static void skip_blanks(struct slice *rest) {
    while (rest->len > 0 && is_blank(*rest->data))
        skip(rest, 1);
}

static bool take_byte(struct slice *rest, char byte) {
    if (rest->len == 0 || *rest->data != byte)
        return false;
    skip(rest, 1);
    return true;
}

/* Takes digits; a number past 64 bits is as good as the largest. False if there are none. */
static bool take_number(struct slice *rest, uint64_t *number) {
    size_t count = 0;
    *number = 0;
    for (; rest->len > 0 && *rest->data >= '0' && *rest->data <= '9'; count++) {
        uint64_t digit = (uint64_t)(*rest->data - '0');
        *number = *number > (UINT64_MAX - digit) / 10 ? UINT64_MAX : *number * 10 + digit;
        skip(rest, 1);
    }
    return count > 0;
}

/* Takes "first-last", "first-" or "-length". False if malformed; span->len is 0 if it has no byte.
 */
static bool take_range(struct slice *rest, uint64_t size, struct http_span *span) {
    uint64_t first, last;
    *span = (struct http_span){0};
    if (take_byte(rest, '-')) {
        uint64_t count;
        if (!take_number(rest, &count))
            return false;
        span->len = count < size ? count : size;
        span->first = size - span->len;
        return true;
    }
    if (!take_number(rest, &first) || !take_byte(rest, '-'))
        return false;
    if (!take_number(rest, &last))
        last = UINT64_MAX;
    else if (last < first)
        return false;
    if (first >= size)
        return true;
    span->first = first;
    span->len = (last < size ? last + 1 : size) - first;
    return true;
}

/* Puts the span in its place among those sorted by their first byte. */
static void insert(struct http_span *spans, size_t count, struct http_span span) {
    size_t at = count;
    for (; at > 0 && spans[at - 1].first > span.first; at--)
        spans[at] = spans[at - 1];
    spans[at] = span;
}

/* True if the spans, sorted, leave no gap; *all is then what they cover. */
static bool join(const struct http_span *spans, size_t count, struct http_span *all) {
    struct http_span joined = spans[0];
    for (size_t i = 1; i < count; i++) {
        uint64_t end = joined.first + joined.len, next_end = spans[i].first + spans[i].len;
        if (spans[i].first > end)
            return false;
        joined.len = (next_end > end ? next_end : end) - joined.first;
    }
    *all = joined;
    return true;
}

/* Behind an element of a list: its end, or a comma. */
static bool at_end_of_element(struct slice *rest) {
    skip_blanks(rest);
    return rest->len == 0 || *rest->data == ',';
}

enum http_range http_range_pick(struct slice field, uint64_t size, struct http_span *span) {
    static const struct slice unit = SLICE("bytes=");
    struct http_span spans[HTTP_RANGES_MAX], one;
    size_t ranges = 0, satisfiable = 0;
    bool empty_suffix = false;
    *span = (struct http_span){0, size};
    if (field.len < unit.len || strncasecmp(field.data, unit.data, unit.len) != 0)
        return HTTP_RANGE_WHOLE;
    skip(&field, unit.len);
    while (field.len > 0) {
        skip_blanks(&field);
        if (field.len == 0 || take_byte(&field, ','))
            continue; /* an empty element, RFC 9110 5.6.1.2 */
        bool suffix = *field.data == '-';
        if (ranges++ == HTTP_RANGES_MAX || !take_range(&field, size, &one) ||
            !at_end_of_element(&field))
            return HTTP_RANGE_WHOLE;
        if (one.len > 0)
            insert(spans, satisfiable++, one);
        empty_suffix |= suffix && size == 0;
    }
    if (ranges == 0 || empty_suffix) /* the last bytes of nothing are all of it */
        return HTTP_RANGE_WHOLE;
    if (satisfiable == 0)
        return HTTP_RANGE_UNSATISFIABLE;
    return join(spans, satisfiable, span) ? HTTP_RANGE_PART : HTTP_RANGE_WHOLE;
}
