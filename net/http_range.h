/* Byte ranges: which part of a representation a Range field asks for (RFC 9110 section 14).
 *
 * Several ranges are answered as one part if together they are one stretch (RFC 9110 15.3.7.2 lets
 * a server coalesce), otherwise with the whole: multipart/byteranges costs clients more than it
 * gives them, and a server may ignore Range altogether. Threads: none of its own. Errors: none; a
 * field that is malformed or of another unit asks for nothing. */
#ifndef CONCAVE_NET_HTTP_RANGE_H
#define CONCAVE_NET_HTTP_RANGE_H

#include "core/buf.h"

/* Ranges of one field that are looked at; a field with more asks for nothing. */
#define HTTP_RANGES_MAX 64u

enum http_range {
    HTTP_RANGE_WHOLE,         /* 200: as if there were no Range */
    HTTP_RANGE_PART,          /* 206 */
    HTTP_RANGE_UNSATISFIABLE, /* 416: none of the ranges has a byte */
};

struct http_span {
    uint64_t first, len; /* bytes; with HTTP_RANGE_PART len > 0 */
};

/* field: the value of the only Range field; size: of the representation. *span is filled in with
 * the part, or with the whole. */
enum http_range http_range_pick(struct slice field, uint64_t size, struct http_span *span);

#endif
