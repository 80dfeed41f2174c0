/* The server: what all shards' threads share, how they are started, and how they stop.
 *
 *     STARTING -- recovered, first_run and start done --> READY -- signal --> DRAINING
 *
 * Ownership: main owns the server; it outlives the workers. Its fields are set before the workers
 * start, but for those under "any thread" and those that recovery fills in, which workers look at
 * only after server_run has opened their shard. Threads: server_* functions for main. Errors: an
 * exit code of api.md section 1, after a line for the operator. */
#ifndef CONCAVE_NET_SERVER_H
#define CONCAVE_NET_SERVER_H

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>

#include "core/restore.h"
#include "core/slots.h"
#include "core/stats.h"
#include "core/wal.h"
#include "net/generation.h"
#include "net/http_parse.h"
#include "net/labels.h"
#include "net/options.h"
#include "net/watchdog.h"
#include "shard/script.h"
#include "shard/shard.h"

struct worker;
struct checkpointer;
struct reloader;
struct files;
struct shard_gauge;
struct watch;

enum server_phase { SERVER_STARTING, SERVER_READY, SERVER_DRAINING };

/* Exit codes of api.md section 1. */
enum { EXIT_FINE = 0, EXIT_BAD = 1, EXIT_USAGE = 2, EXIT_DISK = 3 };

struct server {
    const struct options *options;
    const struct script_engine *engine;
    struct labels labels;
    struct http_limits http_limits;
    unsigned connections_max; /* --connections-max, as far as there are descriptors */
    unsigned files_open_max;  /* static files that may stay open */
    unsigned shards;
    uint64_t started_ns;
    struct slots slots;
    struct stats *stats;
    struct shard_peers *peers;
    struct worker **workers; /* one a shard */

    /* ---- set by recovery ---- */
    struct wal *wal;
    struct shard **shard_of;               /* by index */
    bool first_run_done;                   /* snapshot or log had its marker */
    struct restored restored;              /* from what */
    stats_id fsync_seconds, batch_records; /* the log thread's */
    struct shard_gauge *gauges;            /* of admin.c, by shard */

    /* ---- main's; while it runs, the reloader's ---- */
    struct generation *generation; /* the current one; NULL: no application */
    struct generation *previous;   /* until its last call has ended */
    struct watch *watch;           /* of the files; NULL without --watch */

    /* ---- main's ---- */
    int stop_signal;    /* that has come; 0: none yet */
    uint64_t held_most; /* by connections (net/memory.h) */
    pthread_t watchdog_thread;
    sem_t watchdog_stop;

    /* ---- the watchdog's thread ---- */
    struct watchdog watchdog;

    /* ---- any thread ---- */
    _Atomic enum server_phase phase;
    atomic_uint connections;
    struct checkpointer *checkpointer; /* from READY on */
    struct reloader *reloader;         /* likewise; NULL: no application */
    struct files *files;               /* from READY on; NULL: there is no folder of resources */
    atomic_bool flushing;              /* a /v1/admin/flush is under way */
};

/* `concave serve`: runs until SIGTERM or SIGINT. The exit code. */
int server_run(const struct options *options, const struct script_engine *engine);

/* Whether a signal to stop has come, also one that came earlier. ctx is the server. Main. */
bool server_told_to_stop(void *ctx);
/* True unless a shard's thread is stuck in a turn. Any thread. */
bool server_alive(const struct server *server);
/* Writes are refused for lack of room on the disk. Any thread. */
bool server_disk_full(const struct server *server);
/* Ready for requests, and there is room on the disk for writes. Any thread. */
bool server_ready(const struct server *server);

#endif
