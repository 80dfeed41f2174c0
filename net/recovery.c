#include "net/recovery.h"

#include <inttypes.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>

#include "core/clock.h"
#include "core/hash.h"
#include "net/worker.h"

/* Calls in flight on a shard; past it requests are answered 503. */
#define CALLS_MAX 32768u
/* Between two looks for a signal, operations; between two lines of progress, time. */
#define OPERATIONS_PER_LOOK 4096u
#define PROGRESS_NS (2 * NS_PER_S)

struct replay {
    struct server *server;
    uint64_t hash_seed;
    uint64_t operations;
    uint64_t last_line_ns;
    struct buf *error;
};

void recovery_stop_signals(sigset_t *signals) {
    sigemptyset(signals);
    sigaddset(signals, SIGTERM);
    sigaddset(signals, SIGINT);
}

/* ---- the log thread ---- */

static void wake(void *ctx, unsigned producer) {
    struct server *server = ctx;
    worker_wake_for_sync(server->workers[producer]);
}

static void synced(void *ctx, uint64_t duration_ns, uint64_t batch_records) {
    struct server *server = ctx;
    stats_observe(server->stats, server->shards, server->fsync_seconds, duration_ns);
    stats_observe(server->stats, server->shards, server->batch_records, batch_records);
}

/* ---- shards ---- */

static enum status make_shard(
    struct server *server, unsigned index, uint64_t hash_seed, uint64_t random_seed) {
    const struct options *options = server->options;
    struct shard_options shard = {
        .index = index,
        .shards = server->shards,
        .slots = &server->slots,
        .wal = server->wal,
        .stats = server->stats,
        .hash_seed = hash_seed,
        .random_seed = random_seed,
        .key_bytes_max = options->key_bytes_max,
        .value_bytes_max = options->value_bytes_max,
        .memory_max = options->memory_max,
        .calls_max = CALLS_MAX,
        .peers = server->peers,
        .env =
            {
                .ctx = server->workers[index],
                .send = worker_send,
                .committed = worker_committed,
                .released = worker_released,
            },
    };
    return shard_create(&shard, &server->shard_of[index]);
}

/* The shards need the log, and replay needs the shards: they are made when the log is first known.
 */
static enum status make_shards(struct replay *replay) {
    struct server *server = replay->server;
    if (server->shard_of)
        return ST_OK;
    server->shard_of = calloc(server->shards, sizeof(struct shard *));
    if (!server->shard_of)
        return ST_NOMEM;
    for (unsigned i = 0; i < server->shards; i++) {
        uint64_t random_seed = clock_monotonic_ns() + i;
        (void)!getrandom(&random_seed, sizeof(random_seed), 0);
        enum status status = make_shard(server, i, replay->hash_seed, random_seed);
        if (status != ST_OK)
            return status;
    }
    return ST_OK;
}

/* ---- replay ---- */

static bool told_to_stop(void) {
    sigset_t signals;
    recovery_stop_signals(&signals);
    return sigtimedwait(&signals, NULL, &(struct timespec){0}) > 0;
}

static enum status apply(
    void *ctx, uint64_t lsn, enum wal_op op, struct slice key, struct slice value) {
    struct replay *replay = ctx;
    struct server *server = replay->server;
    enum status status = make_shards(replay);
    if (status != ST_OK)
        return status;
    if (++replay->operations % OPERATIONS_PER_LOOK == 0 && told_to_stop())
        return ST_CLOSED;
    if (op == WAL_FIRST_RUN) {
        server->first_run_done = true;
        return ST_OK;
    }
    uint64_t hash = hash_key(key, replay->hash_seed);
    struct shard *shard = server->shard_of[slots_shard(&server->slots, hash)];
    return shard_replay(shard, lsn, op, key, hash, value);
}

static void progress(void *ctx, uint64_t bytes_done, uint64_t bytes_total) {
    struct replay *replay = ctx;
    uint64_t now_ns = clock_monotonic_ns();
    if (now_ns - replay->last_line_ns < PROGRESS_NS)
        return;
    replay->last_line_ns = now_ns;
    diag(DIAG_INFO, "recovery: %" PRIu64 " of %" PRIu64 " MiB of the log read", bytes_done >> 20,
        bytes_total >> 20);
}

enum status recovery_run(struct server *server, struct buf *error) {
    const struct options *options = server->options;
    uint64_t begun_ns = clock_monotonic_ns();
    struct replay replay = {.server = server, .last_line_ns = begun_ns};
    enum status status = wal_read_salt(options->data, &replay.hash_seed, error);
    if (status != ST_OK)
        return status;
    struct wal_options wal = {
        .dir = options->data,
        .segment_bytes = options->wal_segment_bytes,
        .durability = options->durability,
        .interval_ms = options->interval_ms,
        .batch_delay_us = options->wal_batch_delay_us,
        .producers = server->shards,
        .salt = replay.hash_seed,
        .wake = wake,
        .wake_ctx = server,
        .synced = synced,
        .synced_ctx = server,
    };
    struct wal_replay callbacks = {.ctx = &replay, .apply = apply, .progress = progress};
    status = wal_open(&wal, &callbacks, &server->wal, error);
    if (status == ST_OK)
        status = make_shards(&replay);
    if (status == ST_OK)
        status = wal_start(server->wal, error);
    if (status != ST_OK) {
        if (status == ST_NOMEM && error->len == 0)
            buf_append_text(error, "recovery: out of memory");
        recovery_undo(server);
        return status;
    }
    diag(DIAG_INFO, "recovery: %" PRIu64 " operations up to LSN %" PRIu64 " in %" PRIu64 " ms",
        replay.operations, wal_last_lsn(server->wal),
        (clock_monotonic_ns() - begun_ns) / NS_PER_MS);
    return ST_OK;
}

void recovery_undo(struct server *server) {
    for (unsigned i = 0; server->shard_of && i < server->shards; i++)
        if (server->shard_of[i])
            shard_destroy(server->shard_of[i]);
    free(server->shard_of);
    server->shard_of = NULL;
    if (server->wal)
        wal_close(server->wal);
    server->wal = NULL;
}
