#include "net/server.h"

#include <inttypes.h>
#include <semaphore.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/diag.h"
#include "net/checkpoint.h"
#include "net/recovery.h"
#include "net/startup.h"
#include "net/worker.h"

/* A shard's thread that has been in one turn for so long is stuck. */
#define STUCK_NS (10 * NS_PER_S)
/* The budget of first_run and start, which may fill a whole data set in one transaction. */
#define START_BUDGET_NS (120 * NS_PER_S)
/* What a drain may take beyond the handlers' budget, and how often it looks. */
#define DRAIN_EXTRA_NS (5 * NS_PER_S)
#define DRAIN_LOOK_NS (2 * NS_PER_MS)

bool server_alive(const struct server *server) {
    uint64_t now_ns = clock_monotonic_ns();
    for (unsigned i = 0; i < server->shards; i++) {
        uint64_t started_ns =
            atomic_load_explicit(&server->workers[i]->turn_started_ns, memory_order_relaxed);
        if (started_ns != 0 && now_ns > started_ns && now_ns - started_ns > STUCK_NS)
            return false;
    }
    return true;
}

bool server_disk_full(const struct server *server) {
    /* The log exists only once recovery is over. */
    if (atomic_load_explicit(&server->phase, memory_order_acquire) == SERVER_STARTING)
        return false;
    struct wal_numbers numbers = {0};
    wal_read_numbers(server->wal, &numbers);
    return numbers.disk_full;
}

bool server_ready(const struct server *server) {
    return atomic_load_explicit(&server->phase, memory_order_acquire) == SERVER_READY &&
           !server_disk_full(server) && server_alive(server);
}

/* ---- opening the shards, in their threads ---- */

struct opening {
    enum status status;
    struct buf *error;
};

static void open_shard(struct worker *worker, void *ctx) {
    struct opening *opening = ctx;
    struct server *server = worker->server;
    opening->status = ST_OK;
    if (server->app)
        opening->status =
            server->engine->vm_open(server->app, worker->index, &worker->vm, opening->error);
    if (opening->status == ST_OK)
        worker_open_shard(worker, server->shard_of[worker->index]);
}

static enum status open_shards(struct server *server, struct buf *error) {
    struct opening opening = {.status = ST_OK, .error = error};
    for (unsigned i = 0; i < server->shards && opening.status == ST_OK; i++)
        worker_call(server->workers[i], open_shard, &opening);
    return opening.status;
}

static void close_vm(struct worker *worker, void *ctx) {
    (void)ctx;
    if (!worker->vm)
        return;
    if (worker->open)
        shard_set_vm(worker->shard, NULL);
    worker->server->engine->vm_close(worker->vm);
    worker->vm = NULL;
}

/* ---- first_run and start ---- */

struct starting {
    const struct procedure *procedure;
    const char *name;
    unsigned label;
    sem_t done;
    enum status status;
    int reply_status;
};

static void started(void *ctx, struct exchange *exchange) {
    struct starting *starting = ctx;
    starting->status = exchange->call.outcome;
    starting->reply_status = exchange->call.reply.status;
    sem_post(&starting->done);
}

static void start(struct worker *worker, void *ctx) {
    struct starting *starting = ctx;
    starting->status = worker_run(
        worker, starting->procedure, starting->label, START_BUDGET_NS, started, starting);
    if (starting->status != ST_OK)
        sem_post(&starting->done);
}

/* Runs one of the application's own functions on the first shard and waits for its end. */
static enum status run_start_function(struct server *server, const struct procedure *procedure,
    const char *name, unsigned label, struct buf *error) {
    struct starting starting = {.procedure = procedure, .name = name, .label = label};
    sem_init(&starting.done, 0, 0);
    worker_call(server->workers[0], start, &starting);
    while (sem_wait(&starting.done) != 0)
        continue; /* EINTR */
    sem_destroy(&starting.done);
    if (starting.status != ST_OK)
        buf_printf(error, "%s: on(\"%s\") failed: %s (the lines above say where)",
            server->options->app, name, status_text(starting.status));
    return starting.status;
}

static enum status run_start_functions(struct server *server, struct buf *error) {
    const struct script_engine *engine = server->engine;
    if (!server->app)
        return ST_OK;
    enum status status = ST_OK;
    if (!server->first_run_done)
        status = run_start_function(server, engine->first_run, "first_run", LABEL_FIRST_RUN, error);
    if (status == ST_OK)
        status = run_start_function(server, engine->on_start, "start", LABEL_START, error);
    return status;
}

/* ---- stopping ---- */

struct census {
    unsigned busy; /* calls in flight, and connections */
    bool force;
};

static void drain(struct worker *worker, void *ctx) {
    (void)ctx;
    worker_drain(worker);
}

static void count(struct worker *worker, void *ctx) {
    struct census *census = ctx;
    if (census->force)
        while (worker->conns)
            conn_close(worker->conns);
    census->busy += worker->conn_count;
    if (worker->open)
        census->busy += shard_in_flight(worker->shard);
}

/* A shard without connections submits nothing more, and one without calls and messages of its own
 * sends nothing more; so once one round finds all of them at rest they stay so. */
static bool all_at_rest(struct server *server, bool force) {
    struct census census = {.force = force};
    for (unsigned i = 0; i < server->shards; i++)
        worker_call(server->workers[i], count, &census);
    return census.busy == 0;
}

/* True if nothing is in flight any more. */
static bool drain_workers(struct server *server) {
    for (unsigned i = 0; i < server->shards; i++)
        worker_call(server->workers[i], drain, NULL);
    uint64_t budget_ns = server->options->handler_timeout_ms * NS_PER_MS;
    uint64_t deadline_ns = clock_monotonic_ns() + budget_ns + DRAIN_EXTRA_NS;
    while (!all_at_rest(server, false)) {
        if (clock_monotonic_ns() > deadline_ns)
            break;
        nanosleep(&(struct timespec){.tv_nsec = (long)DRAIN_LOOK_NS}, NULL);
    }
    /* Clients that do not finish their request, or do not read, are cut off; calls get a last
     * chance. */
    deadline_ns = clock_monotonic_ns() + budget_ns + DRAIN_EXTRA_NS;
    while (!all_at_rest(server, true)) {
        if (clock_monotonic_ns() > deadline_ns)
            return false;
        nanosleep(&(struct timespec){.tv_nsec = (long)DRAIN_LOOK_NS}, NULL);
    }
    return true;
}

/* Calls that do not end hold shards and log in use, so nothing can be freed; but what was committed
 * is made durable. */
static _Noreturn void leave_anyway(struct server *server) {
    diag(DIAG_WARN, "stopping although some requests have not ended");
    uint64_t last = wal_last_lsn(server->wal);
    wal_request_sync(server->wal);
    uint64_t deadline_ns = clock_monotonic_ns() + DRAIN_EXTRA_NS;
    while (wal_durable_lsn(server->wal) < last && clock_monotonic_ns() < deadline_ns)
        nanosleep(&(struct timespec){.tv_nsec = (long)DRAIN_LOOK_NS}, NULL);
    _exit(EXIT_FINE);
}

static void close_vms(struct server *server) {
    for (unsigned i = 0; i < server->shards; i++)
        worker_call(server->workers[i], close_vm, NULL);
}

/* No shard is touched by its thread any more after this. */
static void release_shard(struct worker *worker, void *ctx) {
    (void)ctx;
    worker->open = false;
    worker->shard = NULL;
}

/* Shards and log, whose threads are quiet, are closed; the log last. */
static void close_shards(struct server *server) {
    for (unsigned i = 0; i < server->shards; i++)
        worker_call(server->workers[i], release_shard, NULL);
    wal_stop(server->wal);
    recovery_undo(server);
}

/* ---- running ---- */

static void wait_for_stop(void) {
    sigset_t signals;
    recovery_stop_signals(&signals);
    sigaddset(&signals, SIGHUP);
    for (;;) {
        int signal = sigwaitinfo(&signals, NULL);
        if (signal == SIGHUP) {
            diag(DIAG_WARN, "SIGHUP: this version cannot reload the application; restart it");
        } else if (signal > 0) {
            diag(DIAG_INFO, "stopping: %s", strsignal(signal));
            return;
        }
    }
}

/* From an open log to its end. */
static enum status serve(struct server *server, struct buf *error) {
    enum status status = open_shards(server, error);
    if (status == ST_OK)
        status = run_start_functions(server, error);
    if (status == ST_OK) {
        server->first_run_done |= shard_peers_first_run(server->peers);
        server->checkpointer = checkpointer_start(server);
        status = server->checkpointer ? ST_OK : ST_NOMEM;
    }
    if (status == ST_OK) {
        atomic_store_explicit(&server->phase, SERVER_READY, memory_order_release);
        diag(DIAG_INFO, "ready: %u shards, data in %s", server->shards, server->options->data);
        wait_for_stop();
        atomic_store_explicit(&server->phase, SERVER_DRAINING, memory_order_release);
    }
    if (!drain_workers(server))
        leave_anyway(server);
    if (server->checkpointer) {
        checkpointer_stop(server->checkpointer);
        checkpointer_at_exit(server->checkpointer);
    }
    close_vms(server);
    /* Metrics that ask the log are no longer asked: all connections are closed. */
    close_shards(server);
    return status;
}

int server_run(const struct options *options, const struct script_engine *engine) {
    struct server server = {
        .options = options,
        .engine = engine,
        .shards = options->shards,
        .started_ns = clock_monotonic_ns(),
    };
    struct startup startup = {.server = &server};
    struct buf error;
    buf_init(&error, 64u << 10);
    enum status status = startup_run(&startup, &error);
    if (status == ST_OK)
        status = recovery_run(&server, &error);
    if (status == ST_OK)
        status = serve(&server, &error);
    startup_undo(&startup);
    checkpointer_free(server.checkpointer); /* the metrics asked it to the end */
    bool failed = status != ST_OK && status != ST_CLOSED;
    if (failed)
        diag(DIAG_ERROR, "%.*s", (int)error.len, error.data ? error.data : status_text(status));
    buf_free(&error);
    return failed ? EXIT_BAD : EXIT_FINE;
}
