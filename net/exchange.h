/* An exchange: one request and its reply, from the parsed head to the last byte handed to the
 * socket.
 *
 *     READING -> QUEUED -> RUNNING -> COMMITTED -> READY -> written
 *                    \  \------ answered at once ------/      /
 *                     \-> RUNNING -> SENDING, piece by piece -/   a long static file
 *
 * READING: the body is coming in. QUEUED: complete, waiting for its turn on the connection.
 * RUNNING: the shards, or the file thread, have it. COMMITTED: the next of the connection may
 * start. READY: the reply may leave. SENDING: the reply leaves as it is read; the next starts
 * behind it.
 *
 * Ownership: a worker's pool makes exchanges and takes them back; in between one belongs to its
 * connection, and, while RUNNING or COMMITTED, its call to the shards; of one that is at the file
 * thread the call is that thread's (net/files.h). The request's slices point
 * into the exchange's own copy, so the connection may come and go. Threads: the worker's. Errors:
 * ST_NOMEM. */
#ifndef CONCAVE_NET_EXCHANGE_H
#define CONCAVE_NET_EXCHANGE_H

#include "core/error_page.h"
#include "net/http_parse.h"
#include "shard/procedure.h"

struct conn;
struct generation;

enum exchange_state {
    EXCHANGE_READING,
    EXCHANGE_QUEUED,
    EXCHANGE_RUNNING,
    EXCHANGE_COMMITTED,
    EXCHANGE_READY,
    EXCHANGE_SENDING,
};

/* The rest of a static file that is being sent. */
struct file_send {
    bool away;  /* the exchange is at the file thread (the worker's; the others are whose it is) */
    bool open;  /* fd is to be closed */
    bool begun; /* status, fields and the first piece are written */
    bool failed;
    int fd;
    uint64_t at, left; /* bytes that are not read yet */
};

struct exchange {
    struct call call;
    struct exchange
        *next;         /* of the connection, in the order of requests; or in a list of the worker */
    struct conn *conn; /* NULL: the client is gone, or there never was one */
    enum exchange_state state;
    bool head_only;
    bool keep_alive;
    bool say_keep_alive;
    bool continue_wanted; /* "100 Continue" is to be sent before the body comes */
    struct buf storage;   /* the head as received, with what the request's slices point to */
    struct buf body;
    struct buf params; /* decoded path parameters */
    /* Of a head that was refused, so that it is not in call.request. */
    struct accept_tastes tastes;
    bool for_programs;
    bool shows_faults;   /* call.fault goes into the reply (--dev) */
    bool bare;           /* an error for whose reply there was no memory: reply_write_nomem's */
    uint64_t held_bytes; /* what the connection counts for the reply that it holds */
    uint64_t flush_lsn;  /* /v1/admin/flush: done when this is durable */
    const struct generation *generation; /* of a script's call; else NULL */
    struct file_send file;
    uint64_t
        absent_bytes; /* of the body, that Content-Length counts and reply.body does not have */
    /* Calls without a client (first_run, start): told instead of the connection. */
    void (*done)(void *ctx, struct exchange *exchange);
    void *done_ctx;
};

struct exchange_pool {
    struct exchange *free;
    unsigned free_count;
    uint64_t body_bytes_max;
    uint64_t body_bytes_held; /* in exchange->body of all that are out; added by who appends */
    /* Two streams, so that an id, which clients see, tells nothing of the seed behind uuid(). */
    uint64_t ids, seeds;
};

void exchange_pool_init(
    struct exchange_pool *pool, uint64_t body_bytes_max, uint64_t ids, uint64_t seeds);
void exchange_pool_free(struct exchange_pool *pool);

/* A request id that no client has given: letters and digits, no end mark. */
#define FRESH_ID_BYTES 16u
void exchange_fresh_id(struct exchange_pool *pool, char out[FRESH_ID_BYTES]);

/* An empty exchange with a fresh request id; NULL if memory ran out. */
struct exchange *exchange_take(struct exchange_pool *pool);
/* Takes it back; its call is with nobody. Releases the procedure's input. */
void exchange_give(struct exchange_pool *pool, struct exchange *exchange);

/* What the request itself takes: its head, as copied, and its body. Stays what it is from the
 * moment it is queued. */
static inline uint64_t exchange_input_bytes(const struct exchange *exchange) {
    return exchange->storage.len + exchange->body.len;
}

/* Copies a parsed head of len bytes at data, and the client's address, into the exchange. */
MUST_USE enum status exchange_set_head(struct exchange *exchange, const struct http_head *head,
    const char *data, size_t len, struct slice remote);
/* Looks in a head that is refused or not complete for what its error reply depends on: the client's
 * id, and what it accepts. */
void exchange_note_refused(struct exchange *exchange, struct slice head);

/* Makes the reply an error of the server's own, whatever it was before: a page if the client likes
 * HTML better than JSON, else JSON; without memory for that it is a bare 503. Paths that only
 * programs ask for (/v1/, /metrics, /livez and /readyz) always get JSON. code and text are
 * constants or live as long as the call; a 503 gets Retry-After. */
void exchange_fail(struct exchange *exchange, int status, const char *code, const char *text);

#endif
