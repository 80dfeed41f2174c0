/* HTML escaping: the five characters that text and quoted attribute values must not hold as they
 * are.
 *
 * Ownership: the caller's bytes. Threads: any. Errors: those of the buffer appended to. */
#ifndef CONCAVE_CORE_HTML_H
#define CONCAVE_CORE_HTML_H

#include "core/buf.h"

/* Escaped text is at most this many times as long ("&quot;"). */
#define HTML_GROWTH_MAX 6u

/* Writes the text escaped to `to`, which has room, and returns the bytes written. */
size_t html_escape(struct slice text, char *to);
/* Bytes of the text once it is escaped. */
size_t html_escaped_len(struct slice text);
/* Appends the text escaped. Out of memory: the buffer's `failed`. */
void html_append(struct buf *out, struct slice text);

#endif
