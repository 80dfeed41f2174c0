#include "net/conn.h"

#include <arpa/inet.h>
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/files.h"
#include "net/reply.h"
#include "net/route.h"
#include "net/worker.h"

/* "127.0.0.1:5000", "[::1]:5000". */
static size_t write_remote(const struct sockaddr_storage *address, char *out, size_t size) {
    char host[INET6_ADDRSTRLEN] = "";
    int len = 0;
    if (address->ss_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)(const void *)address;
        inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof(host));
        len = snprintf(out, size, "[%s]:%u", host, (unsigned)ntohs(in6->sin6_port));
    } else if (address->ss_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)address;
        inet_ntop(AF_INET, &in->sin_addr, host, sizeof(host));
        len = snprintf(out, size, "%s:%u", host, (unsigned)ntohs(in->sin_port));
    }
    return len > 0 && (size_t)len < size ? (size_t)len : 0;
}

/* What the socket does not take at once is lost, as the connection is. */
static void tell_out_of_memory(struct worker *worker, int fd, bool head_only) {
    char text[REPLY_NOMEM_BYTES_MAX], id[FRESH_ID_BYTES];
    struct buf out = {.data = text, .cap = sizeof(text), .max = sizeof(text)};
    exchange_fresh_id(&worker->pool, id);
    reply_write_nomem(&out, &(struct reply_frame){.request_id = slice_of(id, sizeof(id)),
                                .date = worker_date(worker),
                                .head_only = head_only});
    assert(buf_ok(&out));
    (void)!send(fd, out.data, out.len, MSG_NOSIGNAL);
}

/* A connection for which there is no memory. What has come is read, so that closing does not reset
 * it before the client has its answer. */
static void refuse_socket(struct worker *worker, int fd) {
    (void)!recv(fd, worker->in, CONN_READ_BYTES, 0);
    tell_out_of_memory(worker, fd, false);
    close(fd);
}

enum status conn_open(struct worker *worker, int fd, const struct sockaddr_storage *address,
    bool admin, struct conn **out) {
    struct conn *conn = calloc(1, sizeof(*conn));
    if (!conn) {
        refuse_socket(worker, fd);
        return ST_NOMEM;
    }
    conn->worker = worker;
    conn->fd = fd;
    conn->admin = admin;
    conn->end = &conn->first;
    /* One head that is not complete, and what one read brings behind it. */
    buf_init(&conn->in, worker->server->http_limits.header_bytes_max + 2 * CONN_READ_BYTES);
    buf_init(&conn->out, SIZE_MAX); /* bounded by held_bytes */
    conn->remote_len = write_remote(address, conn->remote, sizeof(conn->remote));
    loop_fd_init(worker->loop, &conn->watch, fd, conn_readable, conn_writable, conn);
    if (loop_fd_read(&conn->watch, true) != ST_OK) {
        loop_fd_stop(&conn->watch);
        refuse_socket(worker, fd);
        free(conn);
        return ST_NOMEM;
    }
    worker_add_conn(worker, conn);
    *out = conn;
    return ST_OK;
}

void conn_close(struct conn *conn) {
    if (conn->closed)
        return;
    struct worker *worker = conn->worker;
    conn->closed = true;
    loop_fd_stop(&conn->watch);
    close(conn->fd);
    wheel_cancel(&worker->wheel, &conn->deadline);
    conn_not_stalled(conn);
    if (conn->reading)
        exchange_give(&worker->pool, conn->reading);
    for (struct exchange *exchange = conn->first, *next; exchange; exchange = next) {
        next = exchange->next;
        exchange->conn = NULL;
        exchange->next = NULL;
        /* What the shards have comes back by worker_released, and by files_returned what the file
         * thread has. */
        if (exchange->state == EXCHANGE_QUEUED || exchange->state == EXCHANGE_READY)
            exchange_give(&worker->pool, exchange);
        else if (exchange->state == EXCHANGE_SENDING)
            files_drop(worker, exchange);
    }
    conn->reading = conn->first = conn->start = conn->running = NULL;
    buf_free(&conn->in);
    buf_free(&conn->out);
    conn->held_bytes = 0;
    conn_count_output(conn);
    worker_remove_conn(worker, conn);
    worker_mark_dirty(worker, conn); /* to be freed */
}

void conn_free(struct conn *conn) {
    assert(conn->closed && !conn->dirty);
    free(conn);
}

void conn_enqueue(struct conn *conn, struct exchange *exchange) {
    assert(conn->input == CONN_HEAD || conn->input == CONN_BODY);
    exchange->conn = conn;
    exchange->state = EXCHANGE_QUEUED;
    exchange->next = NULL;
    *conn->end = exchange;
    conn->end = &exchange->next;
    if (!conn->start)
        conn->start = exchange;
    conn->queued++;
    conn->queued_bytes += exchange_input_bytes(exchange);
    conn->reading = NULL;
    if (conn->worker->draining)
        exchange->keep_alive = false;
    conn->input = exchange->keep_alive ? CONN_HEAD : CONN_DONE;
}

void conn_refuse(
    struct conn *conn, struct slice head, int status, const char *code, const char *text) {
    /* A body that is refused half-way is answered under its request's own id and wishes, and a head
     * under those that it names. */
    struct exchange *exchange = conn->reading;
    if (!exchange) {
        exchange = exchange_take(&conn->worker->pool);
        if (!exchange) {
            conn_give_up(conn, false);
            return;
        }
        exchange_note_refused(exchange, head);
    }
    exchange_fail(exchange, status, code, text);
    exchange->keep_alive = false;
    conn_enqueue(conn, exchange);
}

void conn_give_up(struct conn *conn, bool head_only) {
    if (conn->reading) {
        conn_refuse(conn, (struct slice){0}, 503, "out_of_memory",
            "the server is out of memory; try again");
        return;
    }
    if (!conn->first && conn->out.len == 0)
        tell_out_of_memory(conn->worker, conn->fd, head_only);
    /* It closes behind the replies that are still to come, and the last of them says so. */
    conn->input = CONN_DONE;
    for (struct exchange *exchange = conn->first; exchange; exchange = exchange->next)
        exchange->keep_alive = exchange->next != NULL;
    buf_reset(&conn->in, 0);
}

static bool may_start(const struct conn *conn) {
    return conn->start && !conn->running && conn_output_bytes(conn) < CONN_OUTPUT_BYTES_MAX;
}

static void start_next(struct conn *conn, uint64_t now_ns) {
    while (may_start(conn)) {
        struct exchange *exchange = conn->start;
        conn->start = exchange->next;
        exchange->call.started_ns = now_ns;
        if (exchange->call.reply.status != 0) { /* refused while it was read */
            exchange->state = EXCHANGE_READY;
        } else {
            conn->running = exchange;
            exchange->state = EXCHANGE_RUNNING;
            if (worker_start(conn->worker, exchange))
                continue; /* worker_released will come */
            conn->running = NULL;
            exchange->state = EXCHANGE_READY;
        }
        conn->held_bytes += exchange->held_bytes = exchange->call.reply.body.len;
    }
}

void conn_committed(struct conn *conn, struct exchange *exchange) {
    assert(conn->running == exchange);
    conn->running = NULL;
    conn->held_bytes += exchange->held_bytes = exchange->call.reply.body.len;
    worker_mark_dirty(conn->worker, conn);
}

void conn_released(struct conn *conn, struct exchange *exchange) {
    exchange->state = EXCHANGE_READY;
    worker_mark_dirty(conn->worker, conn);
}

/* ---- what to wait for ---- */

static enum conn_wait what_to_wait_for(const struct conn *conn) {
    if (conn->input == CONN_LINGER)
        return CONN_WAIT_LINGER;
    if (conn->out.len > 0)
        return CONN_WAIT_WRITE;
    if (conn->input == CONN_BODY)
        return CONN_WAIT_BODY;
    if (conn->input == CONN_HEAD && conn->head_deadline_ns != 0 && !conn->blocked)
        return CONN_WAIT_HEAD;
    return conn->first ? CONN_WAIT_NONE : CONN_WAIT_IDLE;
}

static uint64_t deadline_of(const struct conn *conn, enum conn_wait wait, uint64_t now_ns) {
    uint64_t idle_ns = conn->worker->server->options->idle_timeout_ms * NS_PER_MS;
    switch (wait) {
    case CONN_WAIT_IDLE:
        return now_ns + idle_ns;
    case CONN_WAIT_HEAD:
        return conn->head_deadline_ns;
    case CONN_WAIT_BODY:
        return conn->body_deadline_ns;
    case CONN_WAIT_WRITE: /* a client that does not read is as good as one that says nothing */
        return conn->progress_ns + idle_ns;
    case CONN_WAIT_LINGER:
        return conn->linger_deadline_ns;
    case CONN_WAIT_NONE:
        break;
    }
    return UINT64_MAX;
}

/* Watches for, and sets a deadline to, what the connection now waits for. */
static void settle(struct conn *conn, uint64_t now_ns) {
    bool read = conn->input == CONN_LINGER || conn_may_take(conn);
    if (loop_fd_read(&conn->watch, read) != ST_OK ||
        loop_fd_write(&conn->watch, conn->out.len > 0) != ST_OK) {
        conn_close(conn);
        return;
    }
    conn->wait = what_to_wait_for(conn);
    if (conn->wait == CONN_WAIT_NONE)
        conn->deadline.deadline_ns =
            UINT64_MAX; /* it stays in its slot: the next request moves it */
    else
        wheel_set(&conn->worker->wheel, &conn->deadline, deadline_of(conn, conn->wait, now_ns));
}

void conn_pump(struct conn *conn, uint64_t now_ns) {
    while (!conn->closed) {
        start_next(conn, now_ns);
        conn_send(conn, now_ns);
        if (conn->closed)
            return;
        /* What was sent may have made room for a request that waits for nothing else: no event
         * would come for it. */
        if (may_start(conn))
            continue;
        if (!conn->blocked || !conn_may_take(conn))
            break;
        conn_take_kept(conn, now_ns);
    }
    if (conn->closed)
        return;
    conn_count_output(conn);
    settle(conn, now_ns);
}

void conn_expired(struct conn *conn, uint64_t now_ns) {
    switch (conn->wait) {
    case CONN_WAIT_HEAD:
        conn_refuse(conn, buf_slice(&conn->in), 408, "request_timeout",
            "the head of the request took too long");
        break;
    case CONN_WAIT_BODY:
        conn_refuse(conn, (struct slice){0}, 408, "request_timeout",
            "the body of the request took too long");
        break;
    case CONN_WAIT_NONE:
        return;
    case CONN_WAIT_IDLE:
    case CONN_WAIT_WRITE:
    case CONN_WAIT_LINGER:
        conn_close(conn);
        return;
    }
    conn_pump(conn, now_ns);
}

void conn_drain(struct conn *conn, uint64_t now_ns) {
    bool partial = conn->reading || conn->in.len > 0;
    if (conn->input == CONN_LINGER && conn->linger_deadline_ns > now_ns + CONN_LINGER_DRAIN_NS)
        conn->linger_deadline_ns = now_ns + CONN_LINGER_DRAIN_NS;
    if (!conn->first && !partial && conn->out.len == 0 && conn->input != CONN_LINGER) {
        conn_close(conn);
        return;
    }
    if (conn->input == CONN_HEAD && !partial) {
        /* What is queued is the last; what is only being written has been promised to stay open. */
        conn->input = CONN_DONE;
        for (struct exchange *exchange = conn->first; exchange; exchange = exchange->next)
            exchange->keep_alive = exchange->next != NULL;
        if (!conn->first)
            conn->closing = true;
    }
    conn_pump(conn, now_ns);
}
