/* Start-up up to the point where connections are taken: application, data directory, metrics,
 * listeners, worker threads.
 *
 * Ownership: all of it becomes the server's; startup_undo gives it back.
 * Threads: main. Errors: a status with a sentence in error. */
#ifndef CONCAVE_NET_STARTUP_H
#define CONCAVE_NET_STARTUP_H

#include "core/disk.h"
#include "net/server.h"

struct startup {
    struct server *server;
    struct disk_file *lock;
    unsigned threads; /* workers whose thread runs */
};

/* Makes the data directory if it is missing, and locks it for this process. ST_OK; else a status
 * with a sentence in error. */
MUST_USE enum status startup_lock_dir(const char *dir, struct disk_file **lock, struct buf *error);
/* Takes connections from then on (answered 503 until the server is ready), and says so on stdout.
 */
MUST_USE enum status startup_run(struct startup *startup, struct buf *error);
/* Ends the threads and frees everything, however far start-up got. Shards and log are gone already.
 */
void startup_undo(struct startup *startup);

#endif
