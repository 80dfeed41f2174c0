#include "net/listener.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/diag.h"
#include "net/conn.h"
#include "net/worker.h"

/* So many connections are taken in one turn, for the sake of those that are there. */
#define ACCEPTS_PER_TURN 64u
/* How long nothing is accepted when descriptors or memory have run out. */
#define PAUSE_NS (100 * NS_PER_MS)

void listen_print(const struct listen_address *address, struct buf *out) {
    char host[NI_MAXHOST] = "?", port[NI_MAXSERV] = "?";
    getnameinfo((const struct sockaddr *)&address->address, address->len, host, sizeof(host), port,
        sizeof(port), NI_NUMERICHOST | NI_NUMERICSERV);
    const char *form = address->address.ss_family == AF_INET6 ? "http://[%s]:%s" : "http://%s:%s";
    buf_printf(out, form, host, port);
}

static enum status fail(
    const struct listen_address *address, const char *what, int fd, struct buf *error) {
    int reason = errno;
    buf_append_text(error, what);
    buf_append_byte(error, ' ');
    listen_print(address, error);
    buf_printf(error, ": %s", strerror(reason));
    if (fd >= 0)
        close(fd);
    return reason == EADDRINUSE ? ST_EXISTS : ST_IO;
}

/* A socket bound to the address; shared: others may bind it too. */
static enum status bound_socket(
    const struct listen_address *address, bool shared, int *fd, struct buf *error) {
    int on = 1;
    *fd = socket(address->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (*fd < 0)
        return fail(address, "cannot make a socket for", -1, error);
    /* Without SO_REUSEADDR a restart would have to wait for old connections' TIME_WAIT. */
    if (setsockopt(*fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
        (shared && setsockopt(*fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) != 0) ||
        bind(*fd, (const struct sockaddr *)&address->address, address->len) != 0)
        return fail(address, "cannot bind", *fd, error);
    return ST_OK;
}

enum status listen_probe(struct listen_address *address, struct buf *error) {
    int fd;
    enum status status = bound_socket(address, false, &fd, error);
    if (status != ST_OK)
        return status;
    /* Of two sockets with SO_REUSEADDR only one may listen: that is what tells. */
    if (listen(fd, 1) != 0)
        return fail(address, "cannot listen on", fd, error);
    socklen_t len = sizeof(address->address);
    if (getsockname(fd, (struct sockaddr *)&address->address, &len) != 0)
        return fail(address, "cannot read the port of", fd, error);
    close(fd);
    return ST_OK;
}

enum status listen_socket(const struct listen_address *address, int *fd, struct buf *error) {
    enum status status = bound_socket(address, true, fd, error);
    if (status != ST_OK)
        return status;
    if (listen(*fd, SOMAXCONN) != 0)
        return fail(address, "cannot listen on", *fd, error);
    return ST_OK;
}

/* Past the limit: answered 503 and closed; past that much more: only closed. */
static void refuse(struct listener *listener, int fd, const struct sockaddr_storage *address,
    unsigned connections) {
    struct worker *worker = listener->worker;
    if (connections >= worker->server->connections_max + LISTENER_REFUSED_MAX) {
        close(fd);
        return;
    }
    struct conn *conn;
    if (conn_open(worker, fd, address, listener->admin, &conn) != ST_OK)
        return;
    conn_refuse(conn, (struct slice){0}, 503, "overloaded", "too many connections");
    conn_pump(conn, worker_clock(worker));
}

static void take(struct listener *listener, int fd, const struct sockaddr_storage *address) {
    struct worker *worker = listener->worker;
    struct server *server = worker->server;
    int on = 1;
    /* Replies are written whole: holding back small ones (Nagle) only delays them. */
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    int unsent = CONN_UNSENT_BYTES_MAX;
    setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent, sizeof(unsent));
    unsigned connections = atomic_load_explicit(&server->connections, memory_order_relaxed);
    if (connections >= server->connections_max) {
        refuse(listener, fd, address, connections);
        return;
    }
    struct conn *conn;
    if (conn_open(worker, fd, address, listener->admin, &conn) == ST_OK)
        conn_pump(conn, worker_clock(worker));
}

static void resume(void *ctx) {
    struct listener *listener = ctx;
    if (listener->open && loop_fd_read(&listener->watch, true) != ST_OK)
        (void)!loop_timer_start(&listener->pause, PAUSE_NS);
}

/* The connection that cannot be taken stays in the kernel's queue, and the socket readable: without
 * a pause the loop would spin. */
static void pause_accepting(struct listener *listener, int reason) {
    if (loop_timer_start(&listener->pause, PAUSE_NS) != ST_OK)
        return;
    (void)!loop_fd_read(&listener->watch, false);
    diag(DIAG_WARN, "cannot accept connections for now: %s", strerror(reason));
}

static void ready(void *ctx) {
    struct listener *listener = ctx;
    for (unsigned i = 0; i < ACCEPTS_PER_TURN && listener->open; i++) {
        struct sockaddr_storage address = {0};
        socklen_t len = sizeof(address);
        int fd =
            accept4(listener->fd, (struct sockaddr *)&address, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            take(listener, fd, &address);
            continue;
        }
        int reason = errno;
        if (reason == EMFILE || reason == ENFILE || reason == ENOBUFS || reason == ENOMEM)
            pause_accepting(listener, reason);
        else if (reason == EINTR || reason == ECONNABORTED)
            continue;
        return;
    }
}

void listener_init(struct listener *listener, struct worker *worker, int fd, bool admin) {
    *listener = (struct listener){.worker = worker, .fd = fd, .admin = admin};
}

enum status listener_start(struct listener *listener) {
    if (listener->fd < 0)
        return ST_OK;
    struct loop *loop = listener->worker->loop;
    loop_fd_init(loop, &listener->watch, listener->fd, ready, NULL, listener);
    loop_timer_init(loop, &listener->pause, resume, listener);
    listener->open = true;
    return loop_fd_read(&listener->watch, true);
}

void listener_stop(struct listener *listener) {
    if (listener->open) {
        listener->open = false;
        loop_fd_stop(&listener->watch);
        loop_timer_stop(&listener->pause);
    }
    if (listener->fd >= 0)
        close(listener->fd);
    listener->fd = -1;
}
