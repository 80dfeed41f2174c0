/* A server in memory: an application with shards, transactions and HTTP's rules, but without
 * sockets, files and threads. For `concave test`.
 *
 * All shards run on the caller's thread, and requests one after another, so a run does not depend
 * on timing; random numbers are drawn from the same seeds each time. The log keeps nothing
 * (core/wal_memory.h).
 *
 * Ownership: the application is the caller's and outlives the server; an exchange is the caller's
 * from mem_server_call until mem_server_give. Threads: one. Errors: a status with a sentence. */
#ifndef CONCAVE_NET_MEM_SERVER_H
#define CONCAVE_NET_MEM_SERVER_H

#include "net/exchange.h"
#include "net/options.h"
#include "shard/script.h"

struct mem_server;

struct mem_request {
    struct slice method, target;
    struct slice headers; /* "Name: value\r\n" each */
    struct slice body;
};

/* An empty store with the application's VMs. Nothing of the application's has run yet. */
MUST_USE enum status mem_server_open(const struct options *options,
    const struct script_engine *engine, struct script_app *app, struct mem_server **server,
    struct buf *error);
void mem_server_close(struct mem_server *server);

/* Runs on("first_run") and on("start"). ST_OK; else the reason is in *fault, which has room, or the
 * status says it, and *failed names the function. */
MUST_USE enum status mem_server_start(
    struct mem_server *server, const char **failed, struct fault *fault);

/* Runs a request to its end: /fn/... and /v1/get and /v1/execute. The exchange with the complete
 * reply, and with call.fault if a handler failed; NULL if memory ran out. */
struct exchange *mem_server_call(struct mem_server *server, const struct mem_request *request);
void mem_server_give(struct mem_server *server, struct exchange *exchange);

#endif
