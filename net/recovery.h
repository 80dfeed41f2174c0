/* Recovery: from a data directory to a running log and filled shards.
 *
 * core/restore.c reads and checks, on this thread, the newest good snapshot and the log behind it;
 * through a feed (net/feed.h) other threads fill the shards meanwhile. The files know nothing of
 * shards, so their number may be another one than before.
 *
 * Ownership: the log and the shards become the server's; recovery_undo gives them back.
 * Threads: main, while the workers serve but do not touch their shards; loaders, until it returns.
 * Errors: ST_CLOSED if a signal to stop came meanwhile; else a status with a sentence in error. */
#ifndef CONCAVE_NET_RECOVERY_H
#define CONCAVE_NET_RECOVERY_H

#include "net/server.h"

/* Sets server->wal, shard_of, first_run_done and restored, and starts the log. */
MUST_USE enum status recovery_run(struct server *server, struct buf *error);
/* Frees shards and log, after wal_stop or without wal_start; nothing is in flight. */
void recovery_undo(struct server *server);

#endif
