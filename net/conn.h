/* A client's connection: bytes in, requests in order, replies out in the same order.
 *
 * Input, in the worker's buffer, is parsed into exchanges (net/exchange.h), as many as there are;
 * they form a queue. One of them runs at a time: the next starts when the one before has committed
 * (or, if it is a file, has been sent), while replies leave from the front of the queue as they
 * become ready, all that are ready in one write.
 *
 *     HEAD <-> BODY          requests are taken
 *       \------> DONE        no further request is taken: the last one asked for close, was
 * refused, the client has shut down its side, or the server is draining
 *                  \-> LINGER  our side is shut down; what the client still sends is thrown away
 * for a while, because closing at once would reset the connection and might destroy the reply on
 * its way (RFC 9112 9.6)
 *
 * Bounds: requests in flight, bytes of input kept, bytes of replies held; at one of them reading
 * stops until there is room. All connections of a worker together have a bound on the replies they
 * hold (worker_shed): past it, those whose clients have read nothing for the longest are closed.
 * Every wait for the client has a deadline. Ownership: a connection
 * belongs to its worker, which frees it at the end of the turn in which it was closed. Threads: the
 * worker's. Errors: a connection that fails is closed; its running calls run on and are dropped
 * when they end. Files: conn.c (life, queue, deadlines), conn_in.c (bytes to exchanges), conn_out.c
 * (replies to bytes). Neighbours: net/listener.c before, net/route.c behind. */
#ifndef CONCAVE_NET_CONN_H
#define CONCAVE_NET_CONN_H

#include <netinet/in.h>
#include <sys/socket.h>

#include "core/loop.h"
#include "net/exchange.h"
#include "net/wheel.h"

struct worker;

#define CONN_PIPELINE_MAX 64u               /* requests in flight */
#define CONN_PIPELINE_BYTES_MAX (64u << 10) /* of requests in flight, past which none is taken */
#define CONN_READ_BYTES (64u << 10)         /* most that one read takes */
/* A body of up to this many bytes is taken in even if larger ones have used up what the worker may
 * hold of bodies: who sends those must not keep everybody else from writing. */
#define CONN_BODY_BYTES_ADMITTED (16u << 10)
#define CONN_OUTPUT_BYTES_MAX (1u << 20) /* replies held, past which no request is started */
/* What the kernel may hold of our replies beyond what is on its way: without a bound of ours it
 * takes up to 4 MiB for each client that does not read. Enough for a round of the loop. */
#define CONN_UNSENT_BYTES_MAX (128u << 10)
#define CONN_LINGER_NS (3 * NS_PER_S)
#define CONN_LINGER_DRAIN_NS (200 * NS_PER_MS) /* while the server waits for it, to end */
#define CONN_LINGER_BYTES_MAX (64u << 20)

enum conn_input { CONN_HEAD, CONN_BODY, CONN_DONE, CONN_LINGER };

enum conn_wait {
    CONN_WAIT_NONE, /* for ourselves: calls have deadlines of their own */
    CONN_WAIT_IDLE,
    CONN_WAIT_HEAD,
    CONN_WAIT_BODY,
    CONN_WAIT_WRITE,
    CONN_WAIT_LINGER,
};

/* The fields are for conn*.c; others use the functions. */
struct conn {
    struct worker *worker;
    struct conn *next, **link; /* the worker's connections */
    struct conn *next_dirty;   /* to be pumped, or freed, at the end of the turn */
    bool dirty;
    bool closed;
    bool admin; /* came in by the admin listener */
    bool eof;   /* the client has shut down its side */
    int fd;
    struct loop_fd watch;
    struct wheel_entry deadline;
    enum conn_wait wait;

    /* ---- conn_in.c ---- */
    enum conn_input input;
    bool blocked;  /* kept bytes may hold a request that a bound keeps us from taking */
    struct buf in; /* bytes that were read and not yet taken */
    struct http_scan scan;
    struct http_chunked chunked;
    bool body_chunked;
    uint64_t body_left;
    struct exchange *reading; /* whose body is coming in */
    uint64_t head_deadline_ns, body_deadline_ns, linger_deadline_ns;
    uint64_t lingered_bytes;

    /* ---- the queue ---- */
    struct exchange *first, **end;
    struct exchange *start;   /* the first that is not started */
    struct exchange *running; /* started and not committed */
    unsigned queued;
    uint64_t queued_bytes; /* their heads and bodies */

    /* ---- conn_out.c ---- */
    struct buf out; /* what the socket did not take, from out_at */
    size_t out_at;
    uint64_t held_bytes;                       /* of replies committed and not written into out */
    uint64_t progress_ns;                      /* when the socket last took something */
    bool closing;                              /* the last reply is written */
    uint64_t output_counted;                   /* what of it the worker's output_bytes_held has */
    struct conn *stalled_next, **stalled_link; /* link: NULL unless the socket is full */

    size_t remote_len;
    char remote[INET6_ADDRSTRLEN + 10];
};

/* Takes over a non-blocking, connected socket, also if it fails. ST_NOMEM: the client was told. */
MUST_USE enum status conn_open(struct worker *worker, int fd,
    const struct sockaddr_storage *address, bool admin, struct conn **conn);
/* Closes at once. The memory stays valid until the worker frees closed connections (conn_free). */
void conn_close(struct conn *conn);
void conn_free(struct conn *conn);

/* Answers with an error instead of taking any further request, then closes. head: what there is of
 * the refused request's head, or nothing. */
void conn_refuse(
    struct conn *conn, struct slice head, int status, const char *code, const char *text);
/* There is no memory for what comes in: no further request is taken. A request in the middle of its
 * body, or one that none is before, gets a 503; then the connection closes. To be pumped. */
void conn_give_up(struct conn *conn, bool head_only);
/* Starts what may start, sends what may leave, and sees what to wait for. May close. */
void conn_pump(struct conn *conn, uint64_t now_ns);
/* The deadline has passed. May close. */
void conn_expired(struct conn *conn, uint64_t now_ns);
/* The server stops: closes the connection if it is idle, else makes its last request the last. */
void conn_drain(struct conn *conn, uint64_t now_ns);

/* A call of it has committed; its reply, now complete, may leave. */
void conn_committed(struct conn *conn, struct exchange *exchange);
void conn_released(struct conn *conn, struct exchange *exchange);

/* ---- between the files of the connection ---- */

/* conn.c: puts a complete request, or a finished refusal, at the end of the queue. */
void conn_enqueue(struct conn *conn, struct exchange *exchange);
/* conn_in.c: the socket is readable. */
void conn_readable(void *ctx);
/* conn_in.c: true if another request may be taken in. */
bool conn_may_take(const struct conn *conn);
/* conn_in.c: takes requests from the kept bytes. */
void conn_take_kept(struct conn *conn, uint64_t now_ns);
/* conn_out.c: the socket is writable. */
void conn_writable(void *ctx);
/* conn_out.c: writes all replies that are ready, and what there is of a file, unless the socket is
 * full. May close. */
void conn_send(struct conn *conn, uint64_t now_ns);
/* conn_out.c: reply bytes not yet taken by the socket. */
uint64_t conn_output_bytes(const struct conn *conn);
/* conn_out.c: tells the worker how much output the connection holds. */
void conn_count_output(struct conn *conn);
/* conn_out.c: the socket is not full, or nobody's business any more. */
void conn_not_stalled(struct conn *conn);

#endif
