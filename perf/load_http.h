/* The client's half of HTTP/1.1: addresses, requests, replies, and a blocking connection.
 *
 * Replies are read strictly: a status line of HTTP/1.1, one Content-Length, no transfer coding (the
 * server sends none). A load generator that guesses hides the server's mistakes.
 *
 * Ownership: a reply's body lies in the buffer that it was parsed from.
 * Threads: none of its own.
 * Errors: bool; false fills an error text where there is one. */
#ifndef CONCAVE_PERF_LOAD_HTTP_H
#define CONCAVE_PERF_LOAD_HTTP_H

#include <netinet/in.h>
#include <sys/socket.h>

#include "core/buf.h"

#define REPLY_HEAD_BYTES_MAX (16u << 10)
#define REPLY_BYTES_MAX (256u << 20)

struct target {
    struct sockaddr_storage addr;
    socklen_t addr_len;
    char host[80]; /* for the Host field */
};

/* Reads http://HOST:PORT, where HOST must be this machine (127.0.0.0/8, ::1 or localhost): a load
 * generator pointed elsewhere by a slip of the hand is an attack. */
bool target_parse(const char *url, struct target *target, struct buf *error);
/* A connected socket with TCP_NODELAY, blocking; -1 with errno. */
int target_connect(const struct target *target);

/* Appends a whole request; body.data NULL means none. */
void request_append(struct buf *out, const struct target *target, const char *method,
    struct slice path, struct slice body);

struct reply {
    unsigned status;
    struct slice body;
    size_t len;  /* bytes of head and body */
    bool closes; /* the server closes the connection behind it */
};

enum reply_state { REPLY_WHOLE, REPLY_MORE, REPLY_BAD };

/* Takes the first reply off the front of data; *reply is set for REPLY_WHOLE only. */
enum reply_state reply_parse(struct slice data, struct reply *reply);

/* A connection that waits for its replies: for what comes before and after the load. */
struct client {
    const struct target *target;
    int fd; /* -1: not connected */
    struct buf out;
    struct buf in;
};

void client_init(struct client *client, const struct target *target);
void client_free(struct client *client);
/* Sends a request and waits up to 60 s for the reply, which is valid until the next call. */
bool client_call(struct client *client, const char *method, const char *path, struct slice body,
    struct reply *reply);

#endif
