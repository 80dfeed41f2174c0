/* The file thread: it alone opens, reads and closes static files, so that no shard's loop ever
 * waits for a disk.
 *
 *     QUEUED -> RUNNING --open, first piece read--> READY            all of the reply is there
 *                                            \----> SENDING          a long file:
 *     SENDING: written out -> the thread reads the next piece -> written out -> ... -> done
 *
 * An exchange travels to the thread and back as a message. While it is away (file.away) its request
 * and reply are the thread's, its place on the connection stays the worker's. The next piece is
 * asked for when the socket has taken the one before, so a client that does not read costs one
 * piece and one descriptor, and the next request of its connection waits until the file has been
 * sent. A client that leaves: the exchange comes home, if it was away, and goes out once more to be
 * closed.
 *
 * Bounds: jobs that wait to be opened, files that stay open; past either, 503.
 * Ownership: the server owns the thread; exchanges stay their workers'. Threads: start and stop on
 * main; the rest on the worker's whose exchange it is. Errors: a thread that cannot be made is
 * NULL. */
#ifndef CONCAVE_NET_FILES_H
#define CONCAVE_NET_FILES_H

#include "net/exchange.h"

struct files;
struct server;
struct worker;

#define FILES_JOBS_MAX 1024u /* waiting to be opened, over all shards */
#define FILES_OPEN_MAX 512u  /* longer than a piece and not sent to their end */
/* Besides those: the folder and the file that are being opened. */
#define FILES_DESCRIPTORS_EXTRA 2u

/* Serves RESOURCES/static, which may come and go. NULL if memory or threads ran out. */
MUST_USE struct files *files_start(struct server *server);
/* All workers are at rest and have no exchange at the thread. */
void files_stop(struct files *files);

/* Sends an exchange that is RUNNING to be opened; files_returned follows. False if the queue is
 * full.
 */
bool files_open(struct worker *worker, struct exchange *exchange);
/* The next piece of an exchange that is SENDING and at home. */
void files_read(struct worker *worker, struct exchange *exchange);
/* The connection is gone: closes the file, and gives the exchange back when it is closed. */
void files_drop(struct worker *worker, struct exchange *exchange);
/* An exchange has come back (a message of type WORKER_MSG_FILE). */
void files_returned(struct worker *worker, struct msg *msg);

#endif
