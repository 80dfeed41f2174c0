/* Listening sockets: one a shard on the same address (SO_REUSEPORT), so that the kernel spreads
 * connections and no thread hands them to another.
 *
 * Ownership: a listener owns its socket. Threads: listen_probe and listen_socket on
 * main, before the workers start; the rest on the worker's.
 * Errors: a status, with a sentence in error. */
#ifndef CONCAVE_NET_LISTENER_H
#define CONCAVE_NET_LISTENER_H

#include <sys/socket.h>

#include "core/buf.h"
#include "core/loop.h"

struct worker;

/* Past the limit of connections so many more may be told so; beyond that they are only closed. */
#define LISTENER_REFUSED_MAX 64u

struct listen_address {
    struct sockaddr_storage address;
    socklen_t len;
};

/* Binds once without SO_REUSEPORT, so that an address in use is noticed, and fills in the port that
 * was picked for port 0. ST_OK, ST_EXISTS if it is in use, ST_IO. */
MUST_USE enum status listen_probe(struct listen_address *address, struct buf *error);
/* One more socket on the address, listening. ST_OK, ST_IO. */
MUST_USE enum status listen_socket(
    const struct listen_address *address, int *fd, struct buf *error);
/* Appends "http://HOST:PORT". */
void listen_print(const struct listen_address *address, struct buf *out);

struct listener {
    struct worker *worker;
    int fd; /* -1: none */
    bool admin;
    bool open;
    struct loop_fd watch;
    struct loop_timer pause;
};

/* Prepares it with a listening socket, or with -1 for none. */
void listener_init(struct listener *listener, struct worker *worker, int fd, bool admin);
/* Begins to accept. ST_OK, ST_NOMEM. */
MUST_USE enum status listener_start(struct listener *listener);
/* Stops and closes the socket; twice is harmless. */
void listener_stop(struct listener *listener);

#endif
