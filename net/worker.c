#include "net/worker.h"

#include <assert.h>
#include <errno.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#include "net/admin.h"
#include "net/files.h"
#include "net/reply.h"
#include "net/route.h"

/* The shard and its connections go back and forth so often before the loop looks at sockets again.
 */
#define ROUNDS_PER_TURN 16u
/* Fewer while slow attempts wait for their share (shard_turn_slow): what was read begins in the one
 * and is answered in the other. */
#define ROUNDS_BESIDE_SLOW 2u
/* Request bodies that a worker holds at once, but at least a few of the largest. */
#define BODY_BYTES_HELD_MAX (256u << 20)
#define BODIES_HELD_MIN 4u
/* Replies that its connections hold at once because clients do not read them. */
#define OUTPUT_BYTES_HELD_MAX (256u << 20)
/* Room for replies that a worker begins with. */
#define OUT_ROOM_BYTES (16u << 10)
/* The VM's memory is looked at this often. */
#define LUA_MEASURE_NS (200 * NS_PER_MS)

/* ---- life: main ---- */

static uint64_t random_u64(void) {
    uint64_t number;
    if (getrandom(&number, sizeof(number), 0) != (ssize_t)sizeof(number))
        number = clock_monotonic_ns() ^ clock_wall_ns() << 20;
    return number;
}

static void timer_fired(void *ctx) {
    struct worker *worker = ctx;
    worker->timer_ns = UINT64_MAX;
}

/* The series of a worker that are known beforehand. */
static void register_series(struct worker *worker) {
    struct stats *stats = worker->server->stats;
    char label[32];
    snprintf(label, sizeof(label), "shard=\"%u\"", worker->index);
    worker->mailbox_depth = stats_series(stats, "shard_mailbox_depth", label);
    worker->lua_memory = stats_series(stats, "lua_memory_bytes", label);
}

struct worker *worker_create(struct server *server, unsigned index) {
    struct worker *worker = calloc(1, sizeof(*worker));
    if (!worker)
        return NULL;
    const struct options *options = server->options;
    struct kv_limits limits = {
        .key_bytes_max = options->key_bytes_max,
        .value_bytes_max = options->value_bytes_max,
    };
    worker->server = server;
    worker->index = index;
    worker->timer_ns = UINT64_MAX;
    worker->dirty_end = &worker->dirty;
    worker->stalled_end = &worker->stalled;
    worker->body_bytes_held_max = BODY_BYTES_HELD_MAX;
    if (worker->body_bytes_held_max < BODIES_HELD_MIN * options->body_bytes_max)
        worker->body_bytes_held_max = BODIES_HELD_MIN * options->body_bytes_max;
    mailbox_init(&worker->box);
    buf_init(&worker->out, SIZE_MAX);
    wheel_init(&worker->wheel, clock_monotonic_ns());
    exchange_pool_init(&worker->pool, options->body_bytes_max, random_u64(), random_u64());
    listener_init(&worker->listener, worker, -1, false);
    listener_init(&worker->admin_listener, worker, -1, true);
    worker->counts = calloc(CALL_LABELS_MAX, sizeof(*worker->counts));
    worker->kv = kv_create(&limits);
    worker->loop = loop_create();
    if (worker->loop) /* before anything that may fail: worker_destroy stops it */
        loop_timer_init(worker->loop, &worker->timer, timer_fired, worker);
    /* Most replies then leave without an allocation: one that fails there, behind the commit, can
     * only close the connection. */
    bool room = buf_reserve(&worker->out, OUT_ROOM_BYTES) != NULL;
    if (!worker->counts || !worker->kv || !worker->loop || !room) {
        worker_destroy(worker);
        return NULL;
    }
    register_series(worker);
    return worker;
}

static void free_closed(struct worker *worker) {
    struct conn *conn = worker->dirty;
    worker->dirty = NULL;
    worker->dirty_end = &worker->dirty;
    while (conn) {
        struct conn *next = conn->next_dirty;
        conn->dirty = false;
        if (conn->closed)
            conn_free(conn);
        conn = next;
    }
}

void worker_destroy(struct worker *worker) {
    listener_stop(&worker->listener);
    listener_stop(&worker->admin_listener);
    while (worker->conns)
        conn_close(worker->conns);
    free_closed(worker);
    exchange_pool_free(&worker->pool);
    if (worker->kv)
        kv_destroy(worker->kv);
    if (worker->loop) {
        loop_timer_stop(&worker->timer);
        loop_destroy(worker->loop);
    }
    buf_free(&worker->out);
    free(worker->counts);
    free(worker);
}

/* ---- control messages ---- */

struct control {
    struct msg msg; /* first */
    void (*fn)(struct worker *worker, void *ctx);
    void *ctx;
    sem_t done;
};

void worker_call(struct worker *worker, void (*fn)(struct worker *worker, void *ctx), void *ctx) {
    struct control control = {.msg = {.type = WORKER_MSG_CONTROL}, .fn = fn, .ctx = ctx};
    sem_init(&control.done, 0, 0);
    if (mailbox_push(&worker->box, &control.msg))
        loop_wake(worker->loop);
    while (sem_wait(&control.done) != 0)
        assert(errno == EINTR);
    sem_destroy(&control.done);
}

static void stop(struct worker *worker, void *ctx) {
    (void)ctx;
    worker->stopping = true;
}

void worker_join(struct worker *worker) {
    worker_call(worker, stop, NULL);
    pthread_join(worker->thread, NULL);
}

/* ---- messages ---- */

void worker_send(void *ctx, unsigned to, struct msg *msg) {
    struct worker *target = ((struct worker *)ctx)->server->workers[to];
    if (mailbox_push(&target->box, msg))
        loop_wake(target->loop);
}

void worker_wake_for_sync(struct worker *worker) {
    /* Like a push: this store and the worker's announcement of its sleep, then a look at the
     * other's (Dekker); see core/mailbox.h. */
    atomic_store(&worker->synced, true);
    if (atomic_load(&worker->box.asleep) && atomic_exchange(&worker->box.asleep, false))
        loop_wake(worker->loop);
}

/* An empty mailbox is told too: the depth of an idle shard is 0, not that of its last batch. */
static void note_depth(struct worker *worker, unsigned count) {
    if (count == worker->mailbox_found)
        return;
    worker->mailbox_found = count;
    stats_set(worker->server->stats, worker->index, worker->mailbox_depth, count);
}

static void deliver(struct worker *worker, struct msg *msg) {
    unsigned count = 0;
    uint64_t now_ns = worker_clock(worker);
    while (msg) {
        struct msg *next = msg->next; /* whoever gets the message may free it */
        if (msg->type == WORKER_MSG_FILE) {
            files_returned(worker, msg);
        } else if (msg->type == WORKER_MSG_CONTROL) {
            struct control *control = (struct control *)(void *)msg;
            control->fn(worker, control->ctx);
            sem_post(&control->done);
        } else {
            shard_deliver(worker->shard, msg, now_ns);
        }
        count++;
        msg = next;
    }
    note_depth(worker, count);
}

/* ---- calls ---- */

/* Not ST_OK: the call could not be taken; that is its reply already. */
static enum status submit(struct worker *worker, struct exchange *exchange, uint64_t budget_ns) {
    struct call *call = &exchange->call;
    call->home = worker->index;
    call->deadline_ns = call->started_ns + budget_ns;
    call->wall_ns = clock_wall_ns();
    call->vms = exchange->generation ? exchange->generation->vms : NULL;
    if (exchange->generation && worker->server->options->dev) {
        exchange->shows_faults = true;
        fault_init(&call->fault);
    }
    enum status status = shard_submit(worker->shard, call, call->started_ns);
    if (status != ST_OK) {
        route_failed(exchange, status);
        return status;
    }
    if (exchange->generation)
        worker->script_calls[generation_place(exchange->generation)]++;
    worker->submitted = true;
    return ST_OK;
}

static void begin_flush(struct worker *worker, struct exchange *exchange) {
    assert(!worker->flushing);
    worker->flushing = exchange;
    wal_request_sync(worker->server->wal);
    worker->submitted = true; /* so that the announcement follows in this turn */
}

bool worker_start(struct worker *worker, struct exchange *exchange) {
    switch (route_request(worker, exchange)) {
    case ROUTE_ANSWERED:
        if (!reply_ok(&exchange->call.reply) && !exchange->bare)
            route_failed(exchange, ST_NOMEM);
        return false;
    case ROUTE_FLUSH:
        begin_flush(worker, exchange);
        return true;
    case ROUTE_CHECKPOINT:
        assert(!worker->checkpointing);
        worker->checkpointing = exchange;
        return true;
    case ROUTE_FILE:
        if (files_open(worker, exchange))
            return true;
        route_failed(exchange, ST_BUSY);
        return false;
    case ROUTE_SUBMIT:
        break;
    }
    uint64_t budget_ns = worker->server->options->handler_timeout_ms * NS_PER_MS;
    return submit(worker, exchange, budget_ns) == ST_OK;
}

enum status worker_run(struct worker *worker, const struct worker_job *job) {
    struct exchange *exchange = exchange_take(&worker->pool);
    if (!exchange)
        return ST_NOMEM;
    exchange->done = job->done;
    exchange->done_ctx = job->ctx;
    exchange->state = EXCHANGE_RUNNING;
    exchange->generation = job->generation;
    exchange->call.procedure = job->procedure;
    exchange->call.label = job->label;
    exchange->call.abandoned = job->abandoned;
    exchange->call.started_ns = worker_clock(worker);
    enum status status = submit(worker, exchange, job->budget_ns);
    if (status != ST_OK)
        exchange_give(&worker->pool, exchange);
    return status;
}

void worker_committed(void *ctx, struct call *call) {
    (void)ctx;
    struct exchange *exchange = call->owner;
    exchange->state = EXCHANGE_COMMITTED;
    if (exchange->conn)
        conn_committed(exchange->conn, exchange);
}

void worker_released(void *ctx, struct call *call) {
    struct worker *worker = ctx;
    struct exchange *exchange = call->owner;
    assert(exchange->state == EXCHANGE_COMMITTED);
    if (exchange->generation)
        worker->script_calls[generation_place(exchange->generation)]--;
    if (exchange->done) {
        exchange->done(exchange->done_ctx, exchange);
        exchange_give(&worker->pool, exchange);
        return;
    }
    if (!exchange->conn) {
        exchange_give(&worker->pool, exchange);
        return;
    }
    if (call->outcome != ST_OK)
        route_failed(exchange, call->outcome);
    conn_released(exchange->conn, exchange);
}

/* Answers the flush whose LSN has become durable (there is at most one in the whole server). */
static void finish_flush(struct worker *worker) {
    struct exchange *exchange = worker->flushing;
    if (!exchange)
        return;
    struct wal *wal = worker->server->wal;
    if (wal_durable_lsn(wal) < exchange->flush_lsn) {
        wal_announce(wal, worker->index);
        /* Between the look and the announcement a sync may have gone by. */
        if (wal_durable_lsn(wal) < exchange->flush_lsn)
            return;
    }
    worker->flushing = NULL;
    atomic_store(&worker->server->flushing, false);
    admin_flushed(worker->server, &exchange->call.reply);
    if (!reply_ok(&exchange->call.reply))
        exchange->call.outcome = ST_NOMEM;
    worker_committed(worker, &exchange->call);
    worker_released(worker, &exchange->call);
}

void worker_checkpointed(struct worker *worker, enum status status) {
    struct exchange *exchange = worker->checkpointing;
    worker->checkpointing = NULL;
    if (status == ST_OK)
        admin_ok(&exchange->call.reply);
    else
        exchange->call.outcome = status;
    if (!reply_ok(&exchange->call.reply))
        exchange->call.outcome = ST_NOMEM;
    worker_committed(worker, &exchange->call);
    worker_released(worker, &exchange->call);
}

/* ---- connections ---- */

void worker_add_conn(struct worker *worker, struct conn *conn) {
    conn->next = worker->conns;
    conn->link = &worker->conns;
    if (conn->next)
        conn->next->link = &conn->next;
    worker->conns = conn;
    worker->conn_count++;
    atomic_fetch_add_explicit(&worker->server->connections, 1, memory_order_relaxed);
}

void worker_remove_conn(struct worker *worker, struct conn *conn) {
    *conn->link = conn->next;
    if (conn->next)
        conn->next->link = conn->link;
    worker->conn_count--;
    atomic_fetch_sub_explicit(&worker->server->connections, 1, memory_order_relaxed);
}

void worker_mark_dirty(struct worker *worker, struct conn *conn) {
    if (conn->dirty)
        return;
    conn->dirty = true;
    conn->next_dirty = NULL;
    *worker->dirty_end = conn;
    worker->dirty_end = &conn->next_dirty;
}

void worker_shed(struct worker *worker) {
    while (worker->output_bytes_held > OUTPUT_BYTES_HELD_MAX && worker->stalled)
        conn_close(worker->stalled);
}

/* Pumps the connections on which something has happened. */
static void pump(struct worker *worker) {
    struct conn *conn = worker->dirty;
    if (!conn)
        return;
    worker->dirty = NULL;
    worker->dirty_end = &worker->dirty;
    uint64_t now_ns = worker_clock(worker);
    while (conn) {
        struct conn *next = conn->next_dirty;
        conn->dirty = false;
        if (conn->closed)
            conn_free(conn);
        else
            conn_pump(conn, now_ns);
        worker_shed(worker);
        conn = next;
    }
}

static void expired(void *ctx, struct wheel_entry *entry) {
    struct conn *conn = (struct conn *)(void *)((char *)entry - offsetof(struct conn, deadline));
    conn_expired(conn, *(const uint64_t *)ctx);
}

void worker_drain(struct worker *worker) {
    worker->draining = true;
    listener_stop(&worker->listener);
    listener_stop(&worker->admin_listener);
    uint64_t now_ns = worker_clock(worker);
    for (struct conn *conn = worker->conns, *next; conn; conn = next) {
        next = conn->next;
        conn_drain(conn, now_ns);
    }
}

/* ---- metrics ---- */

static stats_id series_of_code(struct worker *worker, unsigned label, int code) {
    char text[512];
    struct buf escaped;
    buf_init(&escaped, 400);
    const char *name = worker->server->labels.names[label];
    stats_escape(&escaped, slice_of(name, strlen(name)));
    snprintf(text, sizeof(text), "route=\"%.*s\",code=\"%d\"", (int)escaped.len,
        escaped.data ? escaped.data : "", code);
    buf_free(&escaped);
    return stats_series(worker->server->stats, "http_requests_total", text);
}

void worker_count(struct worker *worker, const struct exchange *exchange, uint64_t now_ns) {
    const struct call *call = &exchange->call;
    struct route_counts *counts = &worker->counts[call->label];
    struct stats *stats = worker->server->stats;
    int code = call->reply.status;
    unsigned i = 0;
    while (i < counts->codes && counts->code[i] != code)
        i++;
    stats_id id;
    if (i < counts->codes) {
        id = counts->id[i];
    } else {
        id = series_of_code(worker, call->label, code);
        if (counts->codes < CODES_CACHED_MAX) {
            counts->code[counts->codes] = code;
            counts->id[counts->codes++] = id;
        }
    }
    stats_add(stats, worker->index, id, 1);
    uint64_t took_ns = now_ns > call->started_ns ? now_ns - call->started_ns : 0;
    const struct labels *labels = &worker->server->labels;
    stats_observe(stats, worker->index, labels->seconds[call->label], took_ns);
    if (call->handler_ns > 0)
        stats_observe(stats, worker->index, labels->handler_seconds[call->label], call->handler_ns);
}

static size_t vm_bytes(const struct worker *worker, const struct generation *generation) {
    return generation ? worker->server->engine->vm_bytes(generation->vms[worker->index]) : 0;
}

static void measure_lua(struct worker *worker, uint64_t now_ns) {
    if (!worker->generation || now_ns - worker->lua_measured_ns < LUA_MEASURE_NS)
        return;
    worker->lua_measured_ns = now_ns;
    stats_set(worker->server->stats, worker->index, worker->lua_memory,
        vm_bytes(worker, worker->generation) + vm_bytes(worker, worker->other));
}

struct slice worker_date(struct worker *worker) {
    uint64_t wall_ns = clock_wall_ns();
    if (wall_ns / NS_PER_S != worker->date_second) {
        worker->date_second = wall_ns / NS_PER_S;
        reply_date(wall_ns, worker->date);
    }
    return slice_of(worker->date, REPLY_DATE_BYTES);
}

/* ---- the loop ---- */

void worker_open_shard(struct worker *worker, struct shard *shard) {
    worker->shard = shard;
    worker->open = true;
}

/* For main, which only wants to know roughly (net/memory.h): nothing depends on it. */
static void note_held(struct worker *worker) {
    uint64_t held = worker->output_bytes_held + worker->pool.body_bytes_held;
    if (held > atomic_load_explicit(&worker->held_most, memory_order_relaxed))
        atomic_store_explicit(&worker->held_most, held, memory_order_relaxed);
}

static bool has_slow(const struct worker *worker) {
    return worker->open && shard_has_slow(worker->shard);
}

static unsigned rounds_max(const struct worker *worker) {
    return has_slow(worker) ? ROUNDS_BESIDE_SLOW : ROUNDS_PER_TURN;
}

/* Lets messages, the shard and the connections work until nothing is left that needs no event. True
 * if something is left all the same. */
static bool work(struct worker *worker) {
    bool more = false;
    for (unsigned round = 0; round < rounds_max(worker); round++) {
        worker->submitted = false;
        deliver(worker, mailbox_drain(&worker->box));
        /* Taken back before the durable LSN is looked at: what is published later sets it again. */
        if (atomic_load_explicit(&worker->synced, memory_order_relaxed))
            atomic_exchange(&worker->synced, false);
        more = worker->open && shard_turn(worker->shard, worker_clock(worker));
        finish_flush(worker);
        pump(worker);
        if (!worker->submitted)
            break;
    }
    if (has_slow(worker))
        more |= shard_turn_slow(worker->shard, worker_clock(worker));
    note_held(worker);
    uint64_t now_ns = worker_clock(worker);
    measure_lua(worker, now_ns);
    wheel_advance(&worker->wheel, now_ns, expired, &now_ns);
    return more || worker->submitted || worker->dirty || worker->stopping;
}

/* The timer for the next thing that is due, shard or connection; it is only ever moved forward in
 * time by firing, so that most turns leave it alone. False if there was no memory for it. */
static bool set_timer(struct worker *worker) {
    uint64_t next_ns = wheel_next_ns(&worker->wheel);
    if (worker->open) {
        uint64_t shard_ns = shard_next_ns(worker->shard);
        if (shard_ns < next_ns)
            next_ns = shard_ns;
    }
    if (next_ns >= worker->timer_ns)
        return true;
    uint64_t now_ns = worker_clock(worker);
    if (loop_timer_start(&worker->timer, next_ns > now_ns ? next_ns - now_ns : 0) != ST_OK)
        return false;
    worker->timer_ns = next_ns;
    return true;
}

/* True if there is nothing to do but wait. Announces the sleep and looks once more. */
static bool fall_asleep(struct worker *worker) {
    mailbox_sleep(&worker->box);
    struct msg *late = mailbox_drain(&worker->box);
    if (!late && !atomic_load(&worker->synced)) {
        note_depth(worker, 0);
        return true;
    }
    mailbox_wake(&worker->box);
    deliver(worker, late);
    return false;
}

static void *run(void *ctx) {
    struct worker *worker = ctx;
    while (!worker->stopping) {
        bool wait = !work(worker);
        if (wait) /* what no timer would wake is looked at again and again */
            wait = set_timer(worker) && fall_asleep(worker);
        if (wait)
            atomic_store_explicit(&worker->turn_started_ns, 0, memory_order_relaxed);
        loop_turn(worker->loop, wait);
        mailbox_wake(&worker->box);
        atomic_store_explicit(&worker->turn_started_ns, worker_clock(worker), memory_order_relaxed);
    }
    atomic_store_explicit(&worker->turn_started_ns, 0, memory_order_relaxed);
    return NULL;
}

enum status worker_start_thread(struct worker *worker) {
    /* Signals are main's: a thread inherits what its creator blocks. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(&worker->thread, NULL, run, worker);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed)
        return ST_NOMEM;
    char name[16];
    snprintf(name, sizeof(name), "shard-%u", worker->index % 1000);
    pthread_setname_np(worker->thread, name);
    return ST_OK;
}
