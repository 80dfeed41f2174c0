/* URLs, forms and cookies: the encodings in which a request carries names and values.
 *
 * application/x-www-form-urlencoded after the WHATWG URL standard, multipart/form-data after RFC
 * 7578, cookies after RFC 6265 (section 5.2 leniency in reading). Decoded text is written to the
 * caller's buffer; nothing is allocated besides.
 * Threads: none of its own. */
#ifndef CONCAVE_CORE_URL_H
#define CONCAVE_CORE_URL_H

#include "core/buf.h"

/* Appends text percent-decoded; plus_is_space for queries and forms. ST_OK; ST_INVALID for a '%'
 * without two hexadecimal digits; ST_NOMEM. */
MUST_USE enum status url_decode(struct slice text, bool plus_is_space, struct buf *out);
/* Appends text percent-encoded: all but the unreserved characters of RFC 3986. */
void url_encode(struct slice text, struct buf *out);

/* Walks "a=1&b=2": takes the next pair off *rest, still encoded; false when there is none. A pair
 * without '=' has an empty value; empty pairs are passed over. */
bool url_next_pair(struct slice *rest, struct slice *name, struct slice *value);
/* The value of the first pair whose decoded name is `name`, decoded and appended to out.
 * ST_OK; ST_NOT_FOUND; ST_INVALID for bad encoding in it; ST_EXISTS if the name is there twice. */
MUST_USE enum status url_query_get(struct slice query, struct slice name, struct buf *out);

/* Walks a Cookie header's "a=1; b=2"; quotes around a value are taken off. False when none is
 * left. */
bool cookie_next(struct slice *rest, struct slice *name, struct slice *value);

/* Walks the parts of a multipart/form-data body. */
struct multipart {
    struct slice rest;
    char boundary[75]; /* "--" and RFC 2046's 70 */
    size_t boundary_len;
};
struct multipart_part {
    struct slice name;
    struct slice filename; /* data NULL if it is no file */
    struct slice content_type;
    struct slice content;
};
/* ST_OK; ST_INVALID if the Content-Type has no usable boundary. */
MUST_USE enum status multipart_init(
    struct multipart *multipart, struct slice content_type, struct slice body);
/* ST_OK, ST_END, ST_INVALID if the body is malformed. */
MUST_USE enum status multipart_next(struct multipart *multipart, struct multipart_part *part);

#endif
