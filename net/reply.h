/* Writes replies: status line, fields and body of an HTTP/1.1 response (RFC 9112), and the JSON of
 * the error replies that the server itself makes.
 *
 * Ownership: a reply's buffers are its call's. Threads: none of its own.
 * Errors: the buffers' `failed`. */
#ifndef CONCAVE_NET_REPLY_H
#define CONCAVE_NET_REPLY_H

#include "shard/procedure.h"

/* Bounds of one reply; past them it cannot be sent. */
#define REPLY_HEADERS_BYTES_MAX (64u << 10)
#define REPLY_BODY_BYTES_MAX (256u << 20)

#define REPLY_JSON "application/json"

/* What of the reply is not the procedure's but the connection's. */
struct reply_frame {
    struct slice request_id;
    struct slice date;     /* as reply_date writes it */
    uint64_t absent_bytes; /* of the body, that are not in the reply: they follow, or HEAD asks */
    bool head_only;        /* the answer to HEAD: Content-Length stays, the body does not */
    bool keep_alive;       /* else "Connection: close" */
    bool say_keep_alive;   /* HTTP/1.0, where staying open must be said */
};

/* Prepares a reply's buffers; allocates nothing. */
void reply_init(struct reply *reply);
void reply_free(struct reply *reply);
/* Empties the reply for the next request; big buffers are given back. */
void reply_reset(struct reply *reply);
bool reply_ok(const struct reply *reply);

/* Makes it {"error": text, "code": code, "id": id}, whatever it was before. text and id are UTF-8.
 */
void reply_error(
    struct reply *reply, int status, const char *code, const char *text, struct slice id);
/* The same for a browser: a page with status, text and id (core/error_page.h). */
void reply_error_page(struct reply *reply, int status, const char *text, struct slice id);

/* A handler's error as a developer is shown it (--dev): the same two with message, source lines and
 * traceback; in JSON the latter are lists of lines. */
void reply_fault(
    struct reply *reply, int status, const char *code, const struct fault *fault, struct slice id);
void reply_fault_page(struct reply *reply, int status, const struct fault *fault, struct slice id);

/* Appends the whole response. The reply must be ok. Content-Length is always there, but not with
 * 204 and 304 (RFC 9110 8.6), which have no body either. */
void reply_write(struct buf *out, const struct reply *reply, const struct reply_frame *frame);

/* Appends a whole response that says 503 out_of_memory and takes nothing but the room in out: at
 * most REPLY_NOMEM_BYTES_MAX with a fresh request id. */
void reply_write_nomem(struct buf *out, const struct reply_frame *frame);
#define REPLY_NOMEM_BYTES_MAX 512u

/* The reason phrase of a status; "" for one that has none registered. */
const char *reply_reason(int status);

#define REPLY_DATE_BYTES 29
/* The time as an IMF-fixdate (RFC 9110 5.6.7), REPLY_DATE_BYTES long and zero-terminated. */
void reply_date(uint64_t wall_ns, char out[REPLY_DATE_BYTES + 1]);

#endif
