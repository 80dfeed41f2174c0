/* What operators ask: health, metrics, status.
 *
 * Numbers here are for monitoring: read without stopping anybody, and they may show what is not yet
 * durable.
 * Threads: admin_register on main before the workers start; the rest on any.
 * Errors: a reply that found no memory is not reply_ok. */
#ifndef CONCAVE_NET_ADMIN_H
#define CONCAVE_NET_ADMIN_H

#include "net/reply.h"
#include "net/server.h"

/* Registers the metrics that belong to no single request: connections, build, log, shards. Ends the
 * process if memory runs out, as the registry does. */
void admin_register(struct server *server);

/* 200 {"status":"ok"} */
void admin_ok(struct reply *reply);
/* 200 with the LSN up to which the log is now on disk. */
void admin_flushed(const struct server *server, struct reply *reply);
void admin_metrics(struct server *server, struct reply *reply);
/* ST_NOMEM. */
MUST_USE enum status admin_status(
    struct server *server, const struct generation *generation, struct reply *reply);

#endif
