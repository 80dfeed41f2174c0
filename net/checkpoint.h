/* Checkpoints: snapshots taken while the server serves, so that a start does not read all of
 * history.
 *
 * A thread of its own does it: at --checkpoint-wal-bytes of log since the last snapshot, when
 * /v1/admin/checkpoint asks, and at a clean exit if the log is longer than the state. Shards are
 * held up only for the moment in which they keep their treap's root; the thread then merges the
 * frozen treaps in key order into a file (core/snapshot.h) and has the log's old segments removed.
 *
 * Ownership: the server owns the checkpointer.
 * Threads: as said at each function. Errors: a checkpoint that fails is reported and given up; the
 * log still has everything. */
#ifndef CONCAVE_NET_CHECKPOINT_H
#define CONCAVE_NET_CHECKPOINT_H

#include "core/status.h"
#include "net/server.h"

struct checkpointer;
struct exchange;

/* When shards and log are open. Registers the metrics and starts the thread.
 * NULL if memory or threads ran out. Main thread. */
struct checkpointer *checkpointer_start(struct server *server);
/* Waits for a checkpoint under way and ends the thread. The shards' loops still run. Main thread.
 */
void checkpointer_stop(struct checkpointer *checkpointer);
/* After checkpointer_stop, with the shards at rest: a last one if the log is longer than the state.
 * Main thread. */
void checkpointer_at_exit(struct checkpointer *checkpointer);
void checkpointer_free(struct checkpointer *checkpointer);

/* Asks for one; `worker` is called back with its outcome (worker_checkpointed). False if one is
 * asked for or runs already. A worker's thread. */
bool checkpointer_ask(struct checkpointer *checkpointer, struct worker *worker);

/* The LSNs of the newest snapshot and of the one before it, 0 if there is none. Any thread. */
uint64_t checkpointer_last_lsn(const struct checkpointer *checkpointer);
uint64_t checkpointer_previous_lsn(const struct checkpointer *checkpointer);

#endif
