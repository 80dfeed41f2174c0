/* One checkpoint, step by step (architecture.md, section 6):
 *
 * 1. s = the newest LSN drawn.
 * 2. Every shard answers once: whatever was drawn up to s has then sent its COMMITs.
 * 3. Every shard freezes its treap behind those COMMITs in its mailbox: all transactions up to s
 *    are in the frozen treaps. N is the highest LSN that any of them has applied.
 * 4. The frozen treaps, merged, go to a temporary file in key order, which is synced.
 * 5. The log is synced up to N, in every mode: the state is only whole together with the log to N.
 * 6. The file gets its name, the directory is synced.
 * 7. The snapshot before the previous one goes, and with it the segments that only it needed: the
 *    previous snapshot and its segments stay, in case the new one should turn out unreadable.
 * 8. The shards give back what they kept for the frozen treaps, a little at a time. */
#include "net/checkpoint.h"

#include <assert.h>
#include <inttypes.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/snapshot.h"
#include "net/worker.h"
#include "shard/treap.h"

/* Between two looks at the log's length, and at the durable LSN. */
#define LOOK_NS (200 * NS_PER_MS)
#define DURABLE_LOOK_NS NS_PER_MS
/* Nodes and values that a shard gives back in one go: some tens of microseconds. */
#define THAW_STEP 1024u
/* The thread is there to be out of the way: shards and log go first. */
#define NICENESS 10

enum checkpoint_state {
    CHECKPOINT_IDLE,
    CHECKPOINT_CLAIMED, /* asked_by is being written */
    CHECKPOINT_ASKED,
    CHECKPOINT_RUNNING,
};

struct checkpointer {
    struct server *server;
    pthread_t thread;
    sem_t wake;
    atomic_bool stop;
    _Atomic enum checkpoint_state state;
    struct worker *asked_by; /* of CHECKPOINT_ASKED; NULL: nobody waits for the outcome */
    _Atomic uint64_t last_lsn;
    _Atomic uint64_t previous_lsn; /* of the snapshot before the newest, 0 = none */
    uint64_t bytes_at_last;        /* of the log, when the newest was taken */
    stats_id seconds;
    struct buf error;
};

/* A frozen treap on its way into the merge. */
struct source {
    struct treap_cursor cursor;
    const struct treap_node *node; /* its next; NULL: at its end */
};

struct round {
    struct checkpointer *checkpointer;
    struct treap_frozen **frozen; /* by shard */
    enum status status;
    bool thawed;
};

/* ---- merging ---- */

static bool comes_first(const struct source *a, const struct source *b) {
    return slice_compare(treap_key(a->node), treap_key(b->node)) < 0;
}

/* Lets the source at `at` sink to its place in the heap of those not at their end. */
static void sink(struct source **heap, size_t count, size_t at) {
    struct source *source = heap[at];
    for (size_t child; (child = 2 * at + 1) < count; at = child) {
        if (child + 1 < count && comes_first(heap[child + 1], heap[child]))
            child++;
        if (!comes_first(heap[child], source))
            break;
        heap[at] = heap[child];
    }
    heap[at] = source;
}

static enum status write_merged(
    struct snapshot_writer *writer, struct source **heap, size_t count) {
    for (size_t at = count / 2; at-- > 0;)
        sink(heap, count, at);
    while (count > 0) {
        struct source *first = heap[0];
        enum status status = snapshot_writer_add(
            writer, treap_key(first->node), treap_version(first->node), treap_value(first->node));
        if (status != ST_OK)
            return status;
        first->node = treap_cursor_next(&first->cursor);
        if (!first->node)
            heap[0] = heap[--count];
        if (count > 0)
            sink(heap, count, 0);
    }
    return ST_OK;
}

static enum status write_items(
    struct snapshot_writer *writer, struct treap_frozen **frozen, unsigned shards) {
    assert(shards > 0);
    struct source *sources = calloc(shards, sizeof(*sources));
    struct source **heap = calloc(shards, sizeof(struct source *));
    size_t count = 0;
    enum status status = sources && heap ? ST_OK : ST_NOMEM;
    for (unsigned i = 0; i < shards && status == ST_OK; i++) {
        treap_cursor_init(&sources[i].cursor, frozen[i]);
        sources[i].node = treap_cursor_next(&sources[i].cursor);
        if (sources[i].node)
            heap[count++] = &sources[i];
    }
    if (status == ST_OK)
        status = write_merged(writer, heap, count);
    free(sources);
    free(heap);
    return status;
}

/* ---- the steps ---- */

static void pass(struct worker *worker, void *ctx) {
    (void)worker;
    (void)ctx;
}

static void freeze(struct worker *worker, void *ctx) {
    struct round *round = ctx;
    enum status status = shard_freeze(worker->shard, &round->frozen[worker->index]);
    if (status != ST_OK)
        round->status = status;
}

static void thaw(struct worker *worker, void *ctx) {
    struct round *round = ctx;
    round->thawed = shard_thaw(worker->shard, THAW_STEP);
}

static void freeze_all(struct round *round) {
    struct server *server = round->checkpointer->server;
    for (unsigned i = 0; i < server->shards; i++)
        worker_call(server->workers[i], pass, NULL);
    for (unsigned i = 0; i < server->shards; i++)
        worker_call(server->workers[i], freeze, round);
}

static void thaw_all(struct round *round) {
    struct server *server = round->checkpointer->server;
    for (unsigned i = 0; i < server->shards; i++)
        for (round->thawed = !round->frozen[i]; !round->thawed;)
            worker_call(server->workers[i], thaw, round);
}

/* Waits until the log is on disk up to this LSN. A log that fails ends the process, so it ends. */
static void wait_durable(struct wal *wal, uint64_t lsn) {
    while (wal_durable_lsn(wal) < lsn) {
        wal_request_sync(wal);
        nanosleep(&(struct timespec){.tv_nsec = (long)DURABLE_LOOK_NS}, NULL);
    }
}

static enum status write_snapshot(struct round *round, uint64_t s) {
    struct checkpointer *checkpointer = round->checkpointer;
    struct server *server = checkpointer->server;
    struct snapshot_writer *writer;
    uint64_t applied_lsn = s;
    for (unsigned i = 0; i < server->shards; i++) {
        uint64_t lsn = treap_frozen_applied_lsn(round->frozen[i]);
        applied_lsn = lsn > applied_lsn ? lsn : applied_lsn;
    }
    /* A marker up to s has gone into its segments; one up to N will be read with the log, without
     * which this snapshot is refused; one behind N is none of its. */
    uint64_t first_run_lsn = shard_peers_first_run(server->peers);
    bool first_run = server->first_run_done || (first_run_lsn && first_run_lsn <= applied_lsn);
    enum status status = snapshot_writer_open(
        server->options->data, wal_salt(server->wal), s, first_run, &writer, &checkpointer->error);
    if (status != ST_OK)
        return status;
    status = write_items(writer, round->frozen, server->shards);
    if (status == ST_OK)
        status = snapshot_writer_finish(writer, applied_lsn);
    if (status != ST_OK) {
        snapshot_writer_abort(writer);
        return status;
    }
    wait_durable(server->wal, snapshot_writer_gate(writer));
    return snapshot_writer_publish(writer);
}

/* Takes away what only the snapshot before the previous one needed. */
static enum status remove_old(struct checkpointer *checkpointer, uint64_t s) {
    struct server *server = checkpointer->server;
    uint64_t previous = atomic_load(&checkpointer->last_lsn);
    if (previous == s)
        return ST_OK; /* nothing was written since: the file was replaced by itself */
    atomic_store(&checkpointer->previous_lsn, previous);
    atomic_store(&checkpointer->last_lsn, s);
    if (previous == 0)
        return ST_OK;
    enum status status =
        snapshot_remove_older(server->options->data, previous, &checkpointer->error);
    return status == ST_OK ? wal_trim(server->wal, previous, &checkpointer->error) : status;
}

static uint64_t log_bytes(const struct checkpointer *checkpointer) {
    struct wal_numbers numbers;
    wal_read_numbers(checkpointer->server->wal, &numbers);
    return numbers.replayed_bytes + numbers.bytes;
}

static enum status run(struct checkpointer *checkpointer) {
    struct server *server = checkpointer->server;
    assert(server->shards > 0);
    struct round round = {.checkpointer = checkpointer,
        .frozen = calloc(server->shards, sizeof(struct treap_frozen *))};
    if (!round.frozen)
        return ST_NOMEM;
    uint64_t start_ns = clock_monotonic_ns();
    uint64_t bytes = log_bytes(checkpointer);
    uint64_t s = wal_last_lsn(server->wal);
    buf_reset(&checkpointer->error, SIZE_MAX);
    freeze_all(&round);
    enum status status = round.status == ST_OK ? write_snapshot(&round, s) : round.status;
    thaw_all(&round);
    free(round.frozen);
    if (status == ST_OK) {
        checkpointer->bytes_at_last = bytes;
        status = remove_old(checkpointer, s);
    }
    uint64_t took_ns = clock_monotonic_ns() - start_ns;
    if (status == ST_OK) {
        stats_observe(server->stats, server->shards + 1, checkpointer->seconds, took_ns);
        diag(DIAG_INFO, "checkpoint: snapshot of LSN %" PRIu64 " in %" PRIu64 " ms", s,
            took_ns / NS_PER_MS);
    } else {
        diag(DIAG_WARN, "checkpoint given up: %s: %.*s", status_text(status),
            (int)checkpointer->error.len, checkpointer->error.len ? checkpointer->error.data : "");
    }
    return status;
}

/* ---- the thread ---- */

struct outcome {
    struct checkpointer *checkpointer;
    enum status status;
};

/* In the asker's thread: the next one may be asked for before the reply leaves, but not before the
 * worker has nobody waiting any more. */
static void tell(struct worker *worker, void *ctx) {
    const struct outcome *outcome = ctx;
    atomic_store(&outcome->checkpointer->state, CHECKPOINT_IDLE);
    worker_checkpointed(worker, outcome->status);
}

static bool due(const struct checkpointer *checkpointer) {
    uint64_t limit = checkpointer->server->options->checkpoint_wal_bytes;
    return limit > 0 && log_bytes(checkpointer) - checkpointer->bytes_at_last >= limit;
}

/* What was asked for, or is due. */
static void look(struct checkpointer *checkpointer) {
    struct worker *asked_by = NULL;
    enum checkpoint_state state = atomic_load(&checkpointer->state);
    if (state == CHECKPOINT_ASKED) {
        asked_by = checkpointer->asked_by;
        atomic_store(&checkpointer->state, CHECKPOINT_RUNNING);
    } else if (state != CHECKPOINT_IDLE || !due(checkpointer) ||
               !atomic_compare_exchange_strong(&checkpointer->state, &state, CHECKPOINT_RUNNING)) {
        return;
    }
    struct outcome outcome = {.checkpointer = checkpointer, .status = run(checkpointer)};
    if (outcome.status != ST_OK) /* not again at once: wait for as much log once more */
        checkpointer->bytes_at_last = log_bytes(checkpointer);
    if (asked_by)
        worker_call(asked_by, tell, &outcome);
    else
        atomic_store(&checkpointer->state, CHECKPOINT_IDLE);
}

static void *thread_main(void *argument) {
    struct checkpointer *checkpointer = argument;
    /* Linux takes a thread's id here; without permission it stays as it was, which is no error. */
    (void)setpriority(PRIO_PROCESS, (id_t)gettid(), NICENESS);
    for (;;) {
        struct timespec until;
        (void)clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += (long)LOOK_NS;
        until.tv_sec += until.tv_nsec / (long)NS_PER_S;
        until.tv_nsec %= (long)NS_PER_S;
        (void)sem_clockwait(&checkpointer->wake, CLOCK_MONOTONIC, &until);
        /* What was asked for before the stop is done first: somebody waits for it. */
        look(checkpointer);
        if (atomic_load(&checkpointer->stop) &&
            atomic_load(&checkpointer->state) == CHECKPOINT_IDLE)
            return NULL;
    }
}

bool checkpointer_ask(struct checkpointer *checkpointer, struct worker *worker) {
    enum checkpoint_state idle = CHECKPOINT_IDLE;
    if (!atomic_compare_exchange_strong(&checkpointer->state, &idle, CHECKPOINT_CLAIMED))
        return false;
    checkpointer->asked_by = worker;
    atomic_store(&checkpointer->state, CHECKPOINT_ASKED);
    (void)sem_post(&checkpointer->wake);
    return true;
}

uint64_t checkpointer_last_lsn(const struct checkpointer *checkpointer) {
    return atomic_load_explicit(&checkpointer->last_lsn, memory_order_relaxed);
}

uint64_t checkpointer_previous_lsn(const struct checkpointer *checkpointer) {
    return atomic_load_explicit(&checkpointer->previous_lsn, memory_order_relaxed);
}

/* ---- life ---- */

static double last_lsn(void *ctx) {
    return (double)checkpointer_last_lsn(ctx);
}

static void register_metrics(struct checkpointer *checkpointer) {
    static const uint64_t seconds[] = {
        1000000, 10000000, 100000000, 500000000, 1000000000, 5000000000, 10000000000, 60000000000};
    struct stats *stats = checkpointer->server->stats;
    stats_family(stats, "checkpoint_duration_seconds", STATS_HISTOGRAM,
        "From the start of a checkpoint to its published snapshot.", seconds,
        sizeof(seconds) / sizeof(seconds[0]), 1e9);
    checkpointer->seconds = stats_series(stats, "checkpoint_duration_seconds", NULL);
    stats_callback(stats, "checkpoint_last_lsn", STATS_GAUGE, "The LSN of the newest snapshot.",
        NULL, last_lsn, checkpointer);
}

struct checkpointer *checkpointer_start(struct server *server) {
    struct checkpointer *checkpointer = calloc(1, sizeof(*checkpointer));
    if (!checkpointer)
        return NULL;
    checkpointer->server = server;
    buf_init(&checkpointer->error, 16384);
    atomic_store(&checkpointer->last_lsn, server->restored.snapshot.lsn);
    sem_init(&checkpointer->wake, 0, 0);
    register_metrics(checkpointer);
    if (pthread_create(&checkpointer->thread, NULL, thread_main, checkpointer) != 0) {
        checkpointer_free(checkpointer);
        return NULL;
    }
    return checkpointer;
}

void checkpointer_stop(struct checkpointer *checkpointer) {
    atomic_store(&checkpointer->stop, true);
    (void)sem_post(&checkpointer->wake);
    pthread_join(checkpointer->thread, NULL);
}

void checkpointer_at_exit(struct checkpointer *checkpointer) {
    struct server *server = checkpointer->server;
    uint64_t state_bytes = 0;
    for (unsigned i = 0; i < server->shards; i++)
        state_bytes += shard_peers_bytes(server->peers, i);
    if (server->options->checkpoint_wal_bytes > 0 &&
        log_bytes(checkpointer) - checkpointer->bytes_at_last > state_bytes)
        (void)run(checkpointer);
}

void checkpointer_free(struct checkpointer *checkpointer) {
    if (!checkpointer)
        return;
    sem_destroy(&checkpointer->wake);
    buf_free(&checkpointer->error);
    free(checkpointer);
}
