/* Runs the application's own functions, on("first_run") and on("start"), before a generation takes
 * its first request.
 *
 * Both begin on the first shard, as calls without a client. first_run runs once in the life of a
 * data directory: its commit holds the marker that says so, in the same log record. Without such a
 * function nothing is marked, so one that a later version of the application brings has its turn.
 *
 * Threads: main or the reloader; no one else runs them meanwhile. Errors: a status with a sentence
 * for the operator. */
#ifndef CONCAVE_NET_LIFECYCLE_H
#define CONCAVE_NET_LIFECYCLE_H

#include "net/generation.h"

/* Waits until both have ended. `stopped` is asked now and then: once true, what runs is broken off
 * as if its time were up, and nothing of it is written. ST_OK; ST_CLOSED: stopped; another status:
 * one of them failed. */
MUST_USE enum status lifecycle_run(struct server *server, struct generation *generation,
    bool (*stopped)(void *ctx), void *ctx, struct buf *error);

#endif
