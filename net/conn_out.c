#include <assert.h>
#include <errno.h>
#include <sys/socket.h>

#include "net/conn.h"
#include "net/files.h"
#include "net/reply.h"
#include "net/worker.h"

/* The worker's output buffer is given back when a reply made it larger than this. */
#define OUT_KEEP_BYTES (256u << 10)

uint64_t conn_output_bytes(const struct conn *conn) {
    return conn->held_bytes + (conn->out.len - conn->out_at);
}

void conn_count_output(struct conn *conn) {
    uint64_t bytes = conn->held_bytes + conn->out.cap; /* what is sent is not given back singly */
    conn->worker->output_bytes_held += bytes - conn->output_counted;
    conn->output_counted = bytes;
}

void conn_not_stalled(struct conn *conn) {
    if (!conn->stalled_link)
        return;
    *conn->stalled_link = conn->stalled_next;
    if (conn->stalled_next)
        conn->stalled_next->stalled_link = conn->stalled_link;
    else
        conn->worker->stalled_end = conn->stalled_link;
    conn->stalled_link = NULL;
}

/* The socket is full, from now on: to the end of the list, whose front has waited longest. */
static void is_stalled(struct conn *conn) {
    struct worker *worker = conn->worker;
    conn_not_stalled(conn);
    conn->stalled_next = NULL;
    conn->stalled_link = worker->stalled_end;
    *worker->stalled_end = conn;
    worker->stalled_end = &conn->stalled_next;
}

/* True if something of its reply is there to be written. */
static bool may_leave(const struct exchange *exchange) {
    return exchange->state == EXCHANGE_READY ||
           (exchange->state == EXCHANGE_SENDING && !exchange->file.away);
}

/* Writes what there is of the first reply; true if that was the last of it. */
static bool write_first(struct conn *conn, struct buf *out) {
    struct exchange *exchange = conn->first;
    struct reply *reply = &exchange->call.reply;
    struct reply_frame frame = {
        .request_id = exchange->call.request.id,
        .date = worker_date(conn->worker),
        .absent_bytes = exchange->absent_bytes,
        .head_only = exchange->head_only,
        .keep_alive = exchange->keep_alive,
        .say_keep_alive = exchange->say_keep_alive,
    };
    if (exchange->bare) {
        frame.absent_bytes = 0;
        reply_write_nomem(out, &frame);
        return true;
    }
    if (!reply_ok(reply) || exchange->file.failed) {
        /* It may have committed, so no error reply, which would say that it has not; and behind the
         * head of a reply nothing can be said any more. */
        out->failed = true;
        return false;
    }
    if (exchange->file.begun) {
        buf_append_slice(out, buf_slice(&reply->body));
    } else {
        exchange->file.begun = true;
        reply_write(out, reply, &frame);
    }
    if (exchange->file.left == 0)
        return true;
    buf_reset(&reply->body, 0);
    return false;
}

/* The first reply is written: its exchange is over. */
static void take_first(struct conn *conn, uint64_t now_ns) {
    struct exchange *exchange = conn->first;
    worker_count(conn->worker, exchange, now_ns);
    if (!exchange->keep_alive)
        conn->closing = true;
    conn->held_bytes -= exchange->held_bytes;
    conn->queued--;
    conn->queued_bytes -= exchange_input_bytes(exchange);
    conn->first = exchange->next;
    if (!conn->first)
        conn->end = &conn->first;
    if (conn->running == exchange)
        conn->running = NULL;
    exchange_give(&conn->worker->pool, exchange);
}

/* Writes the ready replies at the front of the queue into out. */
static void compose(struct conn *conn, struct buf *out, uint64_t now_ns) {
    while (conn->first && may_leave(conn->first)) {
        if (!write_first(conn, out))
            return;
        take_first(conn, now_ns);
    }
    if (!conn->first && conn->reading && conn->reading->continue_wanted) {
        /* RFC 9110 10.1.1: needless once the body has begun to come. */
        if (conn->reading->body.len == 0)
            buf_append_slice(out, SLICE("HTTP/1.1 100 Continue\r\n\r\n"));
        conn->reading->continue_wanted = false;
    }
}

/* Hands bytes to the socket: how many it took; -1 if the connection is gone. */
static ssize_t send_some(struct conn *conn, const char *data, size_t len, uint64_t now_ns) {
    ssize_t count = send(conn->fd, data, len, MSG_NOSIGNAL);
    if (count < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : -1;
    conn->progress_ns = now_ns;
    return count;
}

/* All is written: a file that is being sent is read on. */
static void ask_for_more(struct conn *conn) {
    struct exchange *first = conn->first;
    if (first && first->state == EXCHANGE_SENDING && !first->file.away)
        files_read(conn->worker, first);
}

/* All is written: is the connection over? */
static void after_last_byte(struct conn *conn, uint64_t now_ns) {
    bool over = conn->closing || (conn->input == CONN_DONE && !conn->first);
    if (!over || conn->input == CONN_LINGER)
        return;
    assert(!conn->first);
    if (conn->eof || shutdown(conn->fd, SHUT_WR) != 0) {
        conn_close(conn);
        return;
    }
    conn->input = CONN_LINGER;
    conn->linger_deadline_ns =
        now_ns + (conn->worker->draining ? CONN_LINGER_DRAIN_NS : CONN_LINGER_NS);
}

void conn_send(struct conn *conn, uint64_t now_ns) {
    if (conn->out.len > 0)
        return; /* conn_writable goes on */
    struct buf *out = &conn->worker->out;
    buf_reset(out, OUT_KEEP_BYTES);
    compose(conn, out, now_ns);
    ssize_t sent = 0;
    if (buf_ok(out) && out->len > 0)
        sent = send_some(conn, out->data, out->len, now_ns);
    if (!buf_ok(out) || sent < 0) {
        conn_close(conn);
        return;
    }
    if ((size_t)sent < out->len) {
        if (sent == 0)
            conn->progress_ns = now_ns; /* the wait for the client begins */
        buf_append(&conn->out, out->data + sent, out->len - (size_t)sent);
        if (!buf_ok(&conn->out))
            conn_close(conn);
        else
            is_stalled(conn);
        return;
    }
    ask_for_more(conn);
    after_last_byte(conn, now_ns);
}

void conn_writable(void *ctx) {
    struct conn *conn = ctx;
    if (conn->closed || conn->out.len == 0)
        return;
    uint64_t now_ns = worker_clock(conn->worker);
    ssize_t sent =
        send_some(conn, conn->out.data + conn->out_at, conn->out.len - conn->out_at, now_ns);
    if (sent < 0) {
        conn_close(conn);
        return;
    }
    conn->out_at += (size_t)sent;
    if (conn->out_at == conn->out.len) {
        buf_reset(&conn->out, 0);
        conn->out_at = 0;
        conn_not_stalled(conn);
        after_last_byte(conn, now_ns);
    } else if (sent > 0) {
        is_stalled(conn); /* anew */
    }
    conn_pump(conn, now_ns);
}
