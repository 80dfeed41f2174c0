/* Conditional requests: dates, entity tags, and the order in which the fields that hold them count
 * (RFC 9110 sections 5.6.7, 8.8 and 13).
 *
 * Ownership: slices are the caller's. Threads: none of its own. Errors: none; a date or tag that
 * cannot be read is as if it were not there, or does not match. */
#ifndef CONCAVE_NET_HTTP_CONDITION_H
#define CONCAVE_NET_HTTP_CONDITION_H

#include "shard/procedure.h"

/* What the selected representation is compared by. */
struct http_validators {
    struct slice etag; /* with its quotes, without "W/" */
    bool weak;         /* the tag is weak: it never matches where bytes must be the same */
    int64_t modified_s;
    int64_t now_s; /* both in seconds since 1970 */
};

enum http_verdict {
    HTTP_PROCEED,
    HTTP_NOT_MODIFIED,        /* 304 */
    HTTP_PRECONDITION_FAILED, /* 412 */
};

/* Reads an HTTP-date in any of its three forms. */
bool http_date_read(struct slice text, int64_t *seconds);

/* True if a list of entity tags, or "*", names this one; strongly: a weak tag on either side never
 * does. What is malformed ends the list. */
bool http_etags_name(struct slice list, struct slice etag, bool weak, bool strongly);

/* Looks at If-Match, If-Unmodified-Since, If-None-Match and If-Modified-Since of a GET or HEAD, in
 * the order of RFC 9110 13.2.2. */
enum http_verdict http_condition_of(
    const struct request *request, const struct http_validators *validators);
/* True if Range counts: there is no If-Range, or its tag or date is exactly the representation's.
 */
bool http_range_counts(const struct request *request, const struct http_validators *validators);

#endif
