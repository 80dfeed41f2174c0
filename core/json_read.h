/* A strict JSON reader in one pass: RFC 8259 and I-JSON (RFC 7493), exact 64-bit integers.
 *
 * It is a pull parser: each call gives the next token, so the caller's code has the shape of what
 * it expects, and a value can be handed to a builder (core/value.h for MessagePack, lua/ for
 * tables). Refused: duplicate names in an object, raw control characters, lone surrogates, invalid
 * UTF-8, a byte order mark, trailing bytes, integers outside int64, numbers outside a double's
 * range, depth over the limit. Escaped control characters (\u0000 too) are values. -0 is the
 * integer 0, -0.0 keeps its sign, 1.0 and 1e2 are floats, an underflow is 0.0.
 *
 * Ownership: the text is the caller's and stays untouched; strings point into it, or into scratch
 * if they held escapes, and are valid until the next call. scratch is the caller's too; it also
 * keeps the names of open objects. Nothing else is allocated. Threads: none of its own. Errors:
 * JSON_ERROR, once and for all; error says what, error_at where (byte offset). If scratch failed
 * (buf_ok), the reason is lack of memory and not the text. */
#ifndef CONCAVE_CORE_JSON_READ_H
#define CONCAVE_CORE_JSON_READ_H

#include "core/buf.h"

#define JSON_VALUE_DEPTH_MAX 64u  /* of a stored value; [] is 1 */
#define JSON_READER_DEPTH_MAX 72u /* of a request body around values */

enum json_token {
    JSON_NULL,
    JSON_FALSE,
    JSON_TRUE,
    JSON_INTEGER, /* integer */
    JSON_REAL,    /* real */
    JSON_STRING,  /* string */
    JSON_NAME,    /* string: the name of the member whose value comes next */
    JSON_ARRAY,   /* [ */
    JSON_ARRAY_END,
    JSON_OBJECT, /* { */
    JSON_OBJECT_END,
    JSON_END,   /* the text is over, nothing trails */
    JSON_ERROR, /* error, error_at */
};

struct json_reader {
    const char *start, *at, *end;
    struct buf *scratch;
    unsigned depth, depth_max;
    /* what the last token carried */
    int64_t integer;
    double real;
    struct slice string;
    const char *error; /* a string constant */
    size_t error_at;
    /* the reader's own from here on */
    uint64_t seed; /* of the hash of names; 0 before the first */
    struct json_level {
        unsigned char place; /* what may come next */
        uint32_t names;      /* of the open object so far */
        uint32_t slots;      /* of the table that holds them, in scratch; 0 before the first */
        size_t scratch_len;  /* before the table */
    } levels[JSON_READER_DEPTH_MAX + 1];
};

/* depth_max at most JSON_READER_DEPTH_MAX: arrays and objects open at once. What scratch holds
 * already stays; the reader works behind it, and the caller leaves scratch alone until the last
 * token. Scratch needs up to 24 bytes for each name of the open objects and as many as the longest
 * escaped string. */
void json_reader_init(
    struct json_reader *reader, struct slice text, struct buf *scratch, unsigned depth_max);
/* The next token. After JSON_END or JSON_ERROR the same again. */
enum json_token json_next(struct json_reader *reader);
/* Passes over one whole value whose first token was `first` (nothing for a scalar); false on error.
 */
bool json_skip(struct json_reader *reader, enum json_token first);

#endif
