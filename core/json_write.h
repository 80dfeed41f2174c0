/* Writes JSON straight into an output buffer: the counterpart of core/json_read.h.
 *
 * The caller puts the punctuation ({ } [ ] , :) itself with buf_append_*; this file writes what
 * needs care. Output is valid UTF-8 JSON that core/json_read.h reads back to the same values: a
 * float prints with a '.' or an exponent, in the fewest digits that read back the same.
 * Threads: none of its own. Errors: the buffer's `failed`. */
#ifndef CONCAVE_CORE_JSON_WRITE_H
#define CONCAVE_CORE_JSON_WRITE_H

#include "core/buf.h"

/* "text", quoted and escaped. The bytes must be valid UTF-8 (utf8_valid). */
void json_write_string(struct buf *out, struct slice text);
/* A finite double. */
void json_write_real(struct buf *out, double real);
static inline void json_write_integer(struct buf *out, int64_t integer) {
    buf_append_i64(out, integer);
}

/* True if the bytes are well-formed UTF-8 (RFC 3629: no surrogates, no overlong forms). */
bool utf8_valid(struct slice text);

#endif
