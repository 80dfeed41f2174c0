#include "net/server.h"

#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/diag.h"
#include "net/checkpoint.h"
#include "net/files.h"
#include "net/lifecycle.h"
#include "net/memory.h"
#include "net/recovery.h"
#include "net/reload.h"
#include "net/startup.h"
#include "net/worker.h"

/* What a drain may take beyond the handlers' budget, and how often it looks. */
#define DRAIN_EXTRA_NS (5 * NS_PER_S)
#define DRAIN_LOOK_NS (2 * NS_PER_MS)

bool server_alive(const struct server *server) {
    uint64_t now_ns = clock_monotonic_ns();
    for (unsigned i = 0; i < server->shards; i++) {
        uint64_t started_ns =
            atomic_load_explicit(&server->workers[i]->turn_started_ns, memory_order_relaxed);
        if (started_ns != 0 && now_ns > started_ns && now_ns - started_ns > WATCHDOG_STUCK_NS)
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

/* ---- signals ---- */

static void stop_signals(sigset_t *signals) {
    sigemptyset(signals);
    sigaddset(signals, SIGTERM);
    sigaddset(signals, SIGINT);
}

static void note_stop(struct server *server, int signal) {
    server->stop_signal = signal;
    diag(DIAG_INFO, "stopping: %s", strsignal(signal));
}

bool server_told_to_stop(void *ctx) {
    struct server *server = ctx;
    sigset_t signals;
    stop_signals(&signals);
    int signal =
        server->stop_signal ? 0 : sigtimedwait(&signals, NULL, &(struct timespec){.tv_sec = 0});
    if (signal > 0)
        note_stop(server, signal);
    return server->stop_signal != 0;
}

/* ---- the watchdog ---- */

/* What stands still will not move again, and others wait for it: a core dump says where it is. */
static _Noreturn void give_up(const struct server *server, unsigned shard) {
    unsigned label;
    bool running = shard_peers_running(server->peers, shard, &label);
    diag(DIAG_ERROR,
        "shard %u has been in one turn for %d s, %s%s of %s: the process aborts; nothing that was "
        "acknowledged is lost",
        shard, (int)(WATCHDOG_STUCK_NS / NS_PER_S), running ? "in route " : "outside any route",
        running ? server->labels.names[label] : "",
        server->options->app ? server->options->app : "no application");
    abort();
}

static void look_at_shards(struct server *server) {
    uint64_t turns[WATCHDOG_SHARDS_MAX];
    uint64_t now_ns = clock_monotonic_ns();
    for (unsigned i = 0; i < server->shards; i++)
        turns[i] = atomic_load_explicit(&server->workers[i]->turn_started_ns, memory_order_relaxed);
    unsigned stuck = watchdog_step(&server->watchdog, turns, server->shards, now_ns);
    if (stuck < server->shards)
        give_up(server, stuck);
}

static void look_at_memory(struct server *server) {
    uint64_t held = 0;
    for (unsigned i = 0; i < server->shards; i++)
        held += atomic_exchange_explicit(&server->workers[i]->held_most, 0, memory_order_relaxed);
    if (memory_look(held, &server->held_most))
        memory_give_back();
}

/* A thread of its own: main waits for shards, at the end of all. */
static void *watch_over_shards(void *ctx) {
    struct server *server = ctx;
    struct timespec until;
    do {
        look_at_shards(server);
        (void)clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_sec += (time_t)(WATCHDOG_LOOK_NS / NS_PER_S);
    } while (sem_clockwait(&server->watchdog_stop, CLOCK_MONOTONIC, &until) != 0);
    return NULL;
}

static enum status watchdog_start(struct server *server) {
    sem_init(&server->watchdog_stop, 0, 0);
    if (pthread_create(&server->watchdog_thread, NULL, watch_over_shards, server) != 0) {
        sem_destroy(&server->watchdog_stop);
        return ST_NOMEM;
    }
    pthread_setname_np(server->watchdog_thread, "watchdog");
    return ST_OK;
}

static void watchdog_end(struct server *server) {
    sem_post(&server->watchdog_stop);
    pthread_join(server->watchdog_thread, NULL);
    sem_destroy(&server->watchdog_stop);
}

/* ---- opening the shards, in their threads ---- */

static void open_shard(struct worker *worker, void *ctx) {
    struct server *server = ctx;
    worker->generation = server->generation;
    worker_open_shard(worker, server->shard_of[worker->index]);
}

static void open_shards(struct server *server) {
    for (unsigned i = 0; i < server->shards; i++)
        worker_call(server->workers[i], open_shard, server);
}

/* ---- stopping ---- */

struct census {
    unsigned busy; /* calls in flight, connections, a flush, and what the file thread has */
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
    census->busy += worker->conn_count + worker->files_out;
    census->busy += worker->flushing != NULL; /* it looks at the log, its client gone or not */
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

/* Neither shard nor generation is touched by the worker's thread any more after this. */
static void release_shard(struct worker *worker, void *ctx) {
    (void)ctx;
    worker->open = false;
    worker->shard = NULL;
    worker->generation = worker->other = NULL;
}

/* Shards and log, whose threads are quiet, are closed; the log last. */
static void close_shards(struct server *server) {
    for (unsigned i = 0; i < server->shards; i++)
        worker_call(server->workers[i], release_shard, NULL);
    wal_stop(server->wal);
    recovery_undo(server);
}

/* ---- running ---- */

static void wait_for_stop(struct server *server) {
    static const struct timespec memory_look_time = {.tv_sec = MEMORY_LOOK_S};
    sigset_t signals;
    stop_signals(&signals);
    sigaddset(&signals, SIGHUP);
    while (!server->stop_signal) {
        int signal = sigtimedwait(&signals, NULL, &memory_look_time);
        if (signal == SIGHUP && server->reloader)
            reloader_ask(server->reloader);
        else if (signal == SIGHUP)
            diag(DIAG_WARN, "SIGHUP: there is no application to reload");
        else if (signal > 0)
            note_stop(server, signal);
        look_at_memory(server);
    }
}

/* From an open log to its end. */
static enum status serve(struct server *server, struct buf *error) {
    enum status status = watchdog_start(server);
    bool watched = status == ST_OK;
    open_shards(server);
    if (status == ST_OK && server->generation)
        status = lifecycle_run(server, server->generation, server_told_to_stop, server, error);
    if (status == ST_OK) {
        server->checkpointer = checkpointer_start(server);
        status = server->checkpointer ? ST_OK : ST_NOMEM;
    }
    if (status == ST_OK && server->generation) {
        server->reloader = reloader_start(server);
        status = server->reloader ? ST_OK : ST_NOMEM;
    }
    if (status == ST_OK && server->options->resources) {
        server->files = files_start(server);
        status = server->files ? ST_OK : ST_NOMEM;
    }
    if (status == ST_OK) {
        atomic_store_explicit(&server->phase, SERVER_READY, memory_order_release);
        diag(DIAG_INFO, "ready: %u shards, data in %s", server->shards, server->options->data);
        wait_for_stop(server);
        atomic_store_explicit(&server->phase, SERVER_DRAINING, memory_order_release);
    }
    if (server->reloader)
        reloader_stop(server->reloader);
    if (!drain_workers(server))
        leave_anyway(server);
    if (server->files)
        files_stop(server->files);
    if (server->checkpointer) {
        checkpointer_stop(server->checkpointer);
        checkpointer_at_exit(server->checkpointer);
    }
    /* Metrics that ask the log are no longer asked: all connections are closed. */
    close_shards(server);
    if (watched)
        watchdog_end(server);
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
    checkpointer_free(server.checkpointer); /* the metrics asked these two to the end */
    reloader_free(server.reloader);
    bool failed = status != ST_OK && status != ST_CLOSED;
    if (failed && error.len > 0)
        diag(DIAG_ERROR, "%.*s", (int)error.len, error.data);
    else if (failed) /* there is no text, or no memory for it */
        diag(DIAG_ERROR, "%s", status_text(buf_ok(&error) ? status : ST_NOMEM));
    buf_free(&error);
    return failed ? EXIT_BAD : EXIT_FINE;
}
