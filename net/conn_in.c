#include <assert.h>
#include <errno.h>
#include <unistd.h>

#include "net/conn.h"
#include "net/worker.h"

bool conn_may_take(const struct conn *conn) {
    if (conn->input == CONN_BODY)
        return true; /* the request is admitted, its body bounded */
    return conn->input == CONN_HEAD && conn->queued < CONN_PIPELINE_MAX &&
           conn->queued_bytes < CONN_PIPELINE_BYTES_MAX &&
           conn_output_bytes(conn) < CONN_OUTPUT_BYTES_MAX;
}

static void begin_body(
    struct conn *conn, struct exchange *exchange, const struct http_head *head, uint64_t now_ns) {
    exchange->state = EXCHANGE_READING;
    conn->reading = exchange;
    conn->input = CONN_BODY;
    conn->body_chunked = head->chunked;
    conn->body_left = head->content_length;
    conn->chunked = (struct http_chunked){0};
    conn->body_deadline_ns = now_ns + conn->worker->server->options->body_timeout_ms * NS_PER_MS;
}

/* Takes a head that begins at data[0]; returns the bytes it took, 0 if it is not complete. */
static size_t take_head(struct conn *conn, char *data, size_t len, uint64_t now_ns) {
    struct worker *worker = conn->worker;
    struct http_head *head = &worker->head;
    struct http_error error;
    size_t used = 0;
    switch (http_parse_head(
        &conn->scan, data, len, &worker->server->http_limits, head, &used, &error)) {
    case HTTP_MORE:
        if (conn->head_deadline_ns == 0)
            conn->head_deadline_ns = now_ns + worker->server->options->head_timeout_ms * NS_PER_MS;
        return 0;
    case HTTP_BAD:
        conn_refuse(conn, slice_of(data, len), error.status, error.code, error.text);
        return len;
    case HTTP_DONE:
        break;
    }
    conn->scan = (struct http_scan){0};
    conn->head_deadline_ns = 0;

    struct exchange *exchange = exchange_take(&worker->pool);
    struct slice remote = slice_of(conn->remote, conn->remote_len);
    if (!exchange || exchange_set_head(exchange, head, data, used, remote) != ST_OK) {
        if (exchange)
            exchange_give(&worker->pool, exchange);
        conn_give_up(conn, slice_equal(head->method, SLICE("HEAD")));
        return len;
    }
    if (head->chunked || head->content_length > 0)
        begin_body(conn, exchange, head, now_ns);
    else
        conn_enqueue(conn, exchange);
    return used;
}

/* Takes bytes of the body that is coming in; returns how many. */
static size_t take_body(struct conn *conn, const char *data, size_t len) {
    struct worker *worker = conn->worker;
    struct exchange *exchange = conn->reading;
    size_t before = exchange->body.len;
    size_t used = 0;
    enum http_result result;
    struct http_error error;
    if (conn->body_chunked) {
        result = http_parse_chunked(&conn->chunked, data, len, &worker->server->http_limits,
            &exchange->body, &used, &error);
    } else {
        used = len < conn->body_left ? len : (size_t)conn->body_left;
        buf_append(&exchange->body, data, used);
        conn->body_left -= used;
        result = conn->body_left == 0 ? HTTP_DONE : HTTP_MORE;
    }
    worker->pool.body_bytes_held += exchange->body.len - before;

    if (result == HTTP_BAD) {
        conn_refuse(conn, (struct slice){0}, error.status, error.code, error.text);
        return len;
    }
    if (!buf_ok(&exchange->body) || (worker->pool.body_bytes_held > worker->body_bytes_held_max &&
                                        exchange->body.len > CONN_BODY_BYTES_ADMITTED)) {
        conn_refuse(conn, (struct slice){0}, 503, "overloaded",
            "too many request bodies are being received");
        return len;
    }
    if (result == HTTP_DONE) {
        exchange->call.request.body = buf_slice(&exchange->body);
        exchange->continue_wanted = false;
        conn_enqueue(conn, exchange);
    }
    return used;
}

/* Takes as many requests from data as there are and bounds allow; returns the bytes taken. */
static size_t take(struct conn *conn, char *data, size_t len, uint64_t now_ns) {
    size_t used = 0;
    conn->blocked = false;
    while (used < len && !conn->closed && conn->input <= CONN_BODY) {
        if (!conn_may_take(conn)) {
            conn->blocked = true;
            break;
        }
        size_t taken = conn->input == CONN_HEAD ? take_head(conn, data + used, len - used, now_ns)
                                                : take_body(conn, data + used, len - used);
        if (taken == 0)
            break;
        used += taken;
    }
    /* Behind the last request nothing counts. */
    return conn->closed || conn->input == CONN_DONE ? len : used;
}

void conn_take_kept(struct conn *conn, uint64_t now_ns) {
    size_t used = take(conn, conn->in.data, conn->in.len, now_ns);
    if (conn->closed)
        return;
    conn->in.len -= used;
    if (conn->in.len > 0)
        memmove(conn->in.data, conn->in.data + used, conn->in.len);
    else
        buf_reset(&conn->in, 0); /* an idle connection holds no memory for input */
}

/* One read, straight into the worker's buffer if no bytes are kept. */
static ssize_t read_some(struct conn *conn, char **to) {
    bool kept = conn->in.len > 0;
    *to = kept ? buf_reserve(&conn->in, CONN_READ_BYTES) : conn->worker->in;
    if (!*to) {
        errno = ENOMEM;
        return -1;
    }
    ssize_t count = read(conn->fd, *to, CONN_READ_BYTES);
    if (count > 0 && kept)
        conn->in.len += (size_t)count;
    return count;
}

/* The client has shut down its side: what it sent whole is still answered. */
static void end_of_input(struct conn *conn) {
    conn->eof = true;
    conn->input = CONN_DONE;
    buf_reset(&conn->in, 0);
    if (conn->reading) {
        exchange_give(&conn->worker->pool, conn->reading);
        conn->reading = NULL;
    }
}

/* Throws away what still comes, so that our last reply is not lost to a reset. */
static void linger(struct conn *conn) {
    ssize_t count = read(conn->fd, conn->worker->in, CONN_READ_BYTES);
    if (count < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (count > 0)
        conn->lingered_bytes += (uint64_t)count;
    if (count <= 0 || conn->lingered_bytes > CONN_LINGER_BYTES_MAX)
        conn_close(conn);
}

void conn_readable(void *ctx) {
    struct conn *conn = ctx;
    if (conn->closed)
        return;
    if (conn->input == CONN_LINGER) {
        linger(conn);
        return;
    }
    if (!conn_may_take(conn))
        return; /* a hang-up that was reported together with something else */
    bool kept = conn->in.len > 0;
    char *data;
    ssize_t count = read_some(conn, &data);
    bool nomem = count < 0 && errno == ENOMEM;
    if (count < 0 && !nomem) {
        if (errno != EAGAIN && errno != EINTR)
            conn_close(conn);
        return;
    }
    uint64_t now_ns = worker_clock(conn->worker);
    if (nomem) {
        conn_give_up(conn, false);
    } else if (count == 0) {
        end_of_input(conn);
    } else if (kept) {
        conn_take_kept(conn, now_ns);
    } else {
        size_t used = take(conn, data, (size_t)count, now_ns);
        if (!conn->closed)
            buf_append(&conn->in, data + used, (size_t)count - used);
        if (!conn->closed && !buf_ok(&conn->in))
            conn_give_up(conn, false);
    }
    conn_pump(conn, now_ns);
}
