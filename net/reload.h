/* The reloader: exchanges the application for a newer version of its files while the server serves.
 *
 * On SIGHUP, and with --watch when a file changes, a thread of its own loads the files anew, with a
 * machine for every shard, and runs first_run, if it has not run yet, and start in them. If all of
 * that succeeds requests begin there; otherwise the log says why and the old version goes on,
 * untouched. Requests that are under way end in the version in which they began; when the last of
 * them has, the old version is closed. Only then is the next one loaded, so there are never more
 * than two; however often it is asked for meanwhile, that is one more reload.
 *
 * Ownership: the server owns the reloader. Threads: as said at each function. Errors: a reload that
 * fails is reported. */
#ifndef CONCAVE_NET_RELOAD_H
#define CONCAVE_NET_RELOAD_H

#include "net/server.h"

struct reloader;

#define RELOAD_ERROR_BYTES_MAX 1024u

/* What there is to know, for the status. */
struct reload_report {
    uint64_t generation;                /* of the current version */
    uint64_t succeeded, failed;         /* reloads since the start */
    char error[RELOAD_ERROR_BYTES_MAX]; /* of the last one; empty if it succeeded, or none was */
};

/* When the application has been started. Registers the metrics and starts the thread. NULL if
 * memory, descriptors or threads ran out. Main. */
struct reloader *reloader_start(struct server *server);
/* Asks for a reload. Main. */
void reloader_ask(struct reloader *reloader);
/* Breaks off a reload under way and ends the thread. The shards' loops still run. Main. */
void reloader_stop(struct reloader *reloader);
/* After the metrics, which asked it to the end. NULL is fine. Main. */
void reloader_free(struct reloader *reloader);

/* Any thread. */
void reloader_report(struct reloader *reloader, struct reload_report *report);

#endif
