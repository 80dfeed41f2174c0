/* A worker: one thread with an event loop, a mailbox, listeners, connections, and the shard that it
 * gives all of that to.
 *
 * A turn: drain the mailbox into the shard, let the shard work, start and send what that made
 * possible on the connections; then announce sleep, drain once more, and wait for events if there
 * was nothing. Replies of all that became ready in a turn are sent together, one write a
 * connection.
 *
 * Ownership: a worker owns its connections, exchanges and loop; the shard and the generations of
 * the application are made and destroyed elsewhere while the thread does not touch them. Threads:
 * worker_create, worker_join and worker_destroy on main, worker_call on main or a thread of its own
 * making (checkpoints, reloads); everything else on the worker's own thread unless it says
 * otherwise. Errors: a thread that cannot be made is ST_NOMEM; nothing fails later. */
#ifndef CONCAVE_NET_WORKER_H
#define CONCAVE_NET_WORKER_H

#include <pthread.h>

#include "core/loop.h"
#include "core/mailbox.h"
#include "net/conn.h"
#include "net/exchange.h"
#include "net/generation.h"
#include "net/kv.h"
#include "net/listener.h"
#include "net/reply.h"
#include "net/server.h"
#include "net/wheel.h"

/* Messages of this type and above are the workers' own; those below are the shard's. */
#define WORKER_MSG_CONTROL 0x40000000u
#define WORKER_MSG_FILE 0x40000001u /* an exchange that the file thread had (net/files.h) */

/* A route's requests by status code, cached: the metrics' registry is asked once for each. */
#define CODES_CACHED_MAX 12u
struct route_counts {
    unsigned codes;
    int code[CODES_CACHED_MAX];
    stats_id id[CODES_CACHED_MAX];
};

/* A procedure that no client asks for. */
struct worker_job {
    const struct procedure *procedure;
    unsigned label;
    const struct generation *generation;
    uint64_t budget_ns;
    const atomic_bool *abandoned; /* as in struct call */
    void (*done)(void *ctx, struct exchange *exchange);
    void *ctx;
};

struct worker {
    struct server *server;
    unsigned index;
    pthread_t thread;
    struct loop *loop;
    struct loop_timer timer;
    uint64_t timer_ns; /* when it fires; UINT64_MAX = not armed */

    /* ---- any thread ---- */
    struct mailbox box;
    atomic_bool synced;               /* the log thread: gated replies may be due */
    _Atomic uint64_t turn_started_ns; /* 0 while waiting for events */
    _Atomic uint64_t held_most;       /* bytes of bodies and replies, since main last looked */

    /* ---- the worker's thread ---- */
    struct shard *shard;
    struct generation *generation; /* in which requests to the application begin; NULL: none */
    struct generation *other;      /* the one before or the one to come, if it exists */
    uint64_t script_calls[GENERATIONS_MAX]; /* whose home is here, by generation_place */
    struct kv *kv;
    bool open; /* the shard is ours to run */
    bool draining;
    bool stopping;
    bool submitted; /* something new for the shard in this round */
    struct listener listener, admin_listener;
    struct conn *conns;
    unsigned conn_count;
    struct conn *dirty, **dirty_end;
    struct wheel wheel;
    struct exchange_pool pool;
    uint64_t body_bytes_held_max;
    uint64_t output_bytes_held;          /* replies of all connections, sent in part or not */
    struct conn *stalled, **stalled_end; /* whose sockets are full, the longest first */
    struct exchange *flushing;           /* waiting for a sync: /v1/admin/flush */
    struct exchange *checkpointing;      /* waiting for a snapshot: /v1/admin/checkpoint */
    struct route_counts *counts;         /* by label, CALL_LABELS_MAX */
    unsigned files_out;                  /* exchanges that the file thread has */
    stats_id mailbox_depth, lua_memory;
    unsigned mailbox_found; /* messages at the last look, which is what mailbox_depth shows */
    uint64_t lua_measured_ns;
    uint64_t date_second;
    char date[REPLY_DATE_BYTES + 1];
    struct buf out;
    struct http_head head;
    char in[CONN_READ_BYTES];
};

/* Makes the worker, not yet its thread. NULL if memory or descriptors ran out. */
struct worker *worker_create(struct server *server, unsigned index);
/* The thread does not run (any more); frees connections too. */
void worker_destroy(struct worker *worker);

MUST_USE enum status worker_start_thread(struct worker *worker);
/* Runs fn on the worker's thread, between turns, and waits until it has returned. */
void worker_call(struct worker *worker, void (*fn)(struct worker *worker, void *ctx), void *ctx);
/* Main: lets the thread end its loop, and waits for that. */
void worker_join(struct worker *worker);

/* Gives the shard to the thread (by worker_call). */
void worker_open_shard(struct worker *worker, struct shard *shard);
/* Begins a job; job->done is called when it has ended. ST_NOMEM, ST_BUSY. */
MUST_USE enum status worker_run(struct worker *worker, const struct worker_job *job);
/* No new connections; idle ones are closed, the others after their last reply. */
void worker_drain(struct worker *worker);

/* ---- shard_env: ctx is the sending worker ---- */
/* Any thread: ctx says only whose server it is. */
void worker_send(void *ctx, unsigned to, struct msg *msg);
void worker_committed(void *ctx, struct call *call);
void worker_released(void *ctx, struct call *call);
/* Any thread (the log's): gated replies may be due. */
void worker_wake_for_sync(struct worker *worker);

/* ---- for connections and routes ---- */

/* Begins to answer: true if the exchange is under way (worker_released comes), false if its reply
 * is complete. */
bool worker_start(struct worker *worker, struct exchange *exchange);
/* The checkpoint that this worker has asked for is over: answers whoever waits. On its thread. */
void worker_checkpointed(struct worker *worker, enum status status);
void worker_add_conn(struct worker *worker, struct conn *conn);
void worker_remove_conn(struct worker *worker, struct conn *conn);
/* The connection is pumped, or freed if it is closed, at the end of the turn. */
void worker_mark_dirty(struct worker *worker, struct conn *conn);
/* Closes connections whose clients do not read while replies that wait are too many together. */
void worker_shed(struct worker *worker);
/* Counts a reply that is being sent. */
void worker_count(struct worker *worker, const struct exchange *exchange, uint64_t now_ns);
/* The value of the Date field, made once a second. */
struct slice worker_date(struct worker *worker);
static inline uint64_t worker_clock(const struct worker *worker) {
    (void)worker;
    return clock_monotonic_ns();
}

#endif
