#include "net/recovery.h"

#include <inttypes.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/hash.h"
#include "net/feed.h"
#include "net/worker.h"

/* Calls in flight on a shard; past it requests are answered 503. */
#define CALLS_MAX 32768u
/* Steps may be large, a page of 8 MiB or a slice of a handler: the 256 of a turn would keep sockets
 * and messages waiting, and all their replies in memory. */
#define TURN_NS_MAX (2 * NS_PER_MS)
/* Between two looks for a signal, keys and operations; between two lines of progress, time. */
#define OPERATIONS_PER_LOOK 4096u
#define PROGRESS_NS (NS_PER_S + NS_PER_S / 20)

/* What a loader thread is to do with an item of the feed; beside enum wal_op. */
enum { LOAD_BEGIN = 16, LOAD_ADD, LOAD_END };

struct recovery {
    struct server *server;
    struct feed *feed;
    uint64_t hash_seed;
    uint64_t keys;       /* of the snapshot at hand */
    uint64_t looks;      /* what came in, for the look at signals */
    uint64_t operations; /* of the log */
    uint64_t last_line_ns;
    uint64_t last_line_bytes;
    const char *last_line_of;
};

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
        .stats = server->stats,
        .hash_seed = hash_seed,
        .random_seed = random_seed,
        .key_bytes_max = options->key_bytes_max,
        .value_bytes_max = options->value_bytes_max,
        .memory_max = options->memory_max,
        .calls_max = CALLS_MAX,
        .turn_ns_max = TURN_NS_MAX,
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

static void destroy_shards(struct server *server) {
    for (unsigned i = 0; server->shard_of && i < server->shards; i++)
        if (server->shard_of[i])
            shard_destroy(server->shard_of[i]);
    free(server->shard_of);
    server->shard_of = NULL;
}

static enum status make_shards(struct server *server, uint64_t hash_seed) {
    server->shard_of = calloc(server->shards, sizeof(struct shard *));
    if (!server->shard_of)
        return ST_NOMEM;
    for (unsigned i = 0; i < server->shards; i++) {
        uint64_t random_seed = clock_monotonic_ns() + i;
        (void)!getrandom(&random_seed, sizeof(random_seed), 0);
        enum status status = make_shard(server, i, hash_seed, random_seed);
        if (status != ST_OK)
            return status;
    }
    return ST_OK;
}

/* ---- loader threads ---- */

static enum status take(void *ctx, const struct feed_item *item) {
    const struct recovery *recovery = ctx;
    struct shard *shard = recovery->server->shard_of[item->shard];
    switch (item->op) {
    case LOAD_BEGIN:
        return shard_load_begin(shard, (size_t)item->lsn);
    case LOAD_ADD:
        return shard_load_add(shard, item->key, item->hash, item->value, item->lsn);
    case LOAD_END:
        shard_load_end(shard);
        return ST_OK;
    default:
        return shard_replay(
            shard, item->lsn, (enum wal_op)item->op, item->key, item->hash, item->value);
    }
}

/* This thread reads, checks and hashes, so one loader a core is enough, whatever the shards. */
static unsigned loader_threads(const struct server *server) {
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    return cores > 0 && (unsigned long)cores < server->shards ? (unsigned)cores : server->shards;
}

/* ---- what is read ---- */

static enum status for_each_shard(struct recovery *recovery, unsigned op, uint64_t number) {
    enum status status = ST_OK;
    for (unsigned i = 0; status == ST_OK && i < recovery->server->shards; i++)
        status = feed_add(recovery->feed, &(struct feed_item){.shard = i, .op = op, .lsn = number});
    return status;
}

static enum status begin(void *ctx, uint64_t salt, uint64_t keys) {
    struct recovery *recovery = ctx;
    struct server *server = recovery->server;
    recovery->hash_seed = salt;
    recovery->keys = keys;
    /* What a damaged snapshot brought, loaders have in hand, perhaps. */
    feed_destroy(recovery->feed);
    recovery->feed = NULL;
    destroy_shards(server);
    enum status status = make_shards(server, salt);
    if (status == ST_OK)
        status = feed_create(loader_threads(server), take, recovery, &recovery->feed);
    if (status == ST_OK && keys > 0)
        status = for_each_shard(recovery, LOAD_BEGIN, keys / server->shards);
    return status;
}

static enum status add(
    struct recovery *recovery, unsigned op, uint64_t lsn, struct slice key, struct slice value) {
    if (++recovery->looks % OPERATIONS_PER_LOOK == 0 && server_told_to_stop(recovery->server))
        return ST_CLOSED;
    uint64_t hash = hash_key(key, recovery->hash_seed);
    struct feed_item item = {
        .shard = slots_shard(&recovery->server->slots, hash),
        .op = op,
        .lsn = lsn,
        .hash = hash,
        .key = key,
        .value = value,
    };
    return feed_add(recovery->feed, &item);
}

static enum status load(void *ctx, const struct snapshot_item *item) {
    return add(ctx, LOAD_ADD, item->version, item->key, item->value);
}

static enum status loaded(void *ctx) {
    struct recovery *recovery = ctx;
    return recovery->keys > 0 ? for_each_shard(recovery, LOAD_END, 0) : ST_OK;
}

static enum status apply(
    void *ctx, uint64_t lsn, enum wal_op op, struct slice key, struct slice value) {
    struct recovery *recovery = ctx;
    recovery->operations++;
    if (op == WAL_FIRST_RUN) {
        recovery->server->first_run_done = true;
        return ST_OK;
    }
    return add(recovery, op, lsn, key, value);
}

static void progress(void *ctx, const char *what, uint64_t bytes_done, uint64_t bytes_total) {
    struct recovery *recovery = ctx;
    uint64_t now_ns = clock_monotonic_ns();
    if (recovery->last_line_of != what) {
        recovery->last_line_of = what;
        recovery->last_line_bytes = 0;
    }
    uint64_t passed_ns = now_ns - recovery->last_line_ns;
    if (passed_ns < PROGRESS_NS)
        return;
    uint64_t bytes = bytes_done - recovery->last_line_bytes;
    recovery->last_line_ns = now_ns;
    recovery->last_line_bytes = bytes_done;
    diag(DIAG_INFO, "recovery: %s: %" PRIu64 " of %" PRIu64 " MiB read, %.0f MiB/s", what,
        bytes_done >> 20, bytes_total >> 20,
        (double)bytes / (1 << 20) / ((double)passed_ns / (double)NS_PER_S));
}

/* ---- all of it ---- */

static enum status restore_all(struct recovery *recovery, struct buf *error) {
    struct server *server = recovery->server;
    const struct options *options = server->options;
    struct wal_options wal = {
        .dir = options->data,
        .segment_bytes = options->wal_segment_bytes,
        .durability = options->durability,
        .interval_ms = options->interval_ms,
        .batch_delay_us = options->wal_batch_delay_us,
        .producers = server->shards,
        .wake = wake,
        .wake_ctx = server,
        .synced = synced,
        .synced_ctx = server,
    };
    struct restore restore = {
        .ctx = recovery,
        .begin = begin,
        .load = load,
        .loaded = loaded,
        .apply = apply,
        .progress = progress,
    };
    enum status status = restore_run(&wal, &restore, &server->wal, &server->restored, error);
    if (status == ST_OK)
        status = feed_flush(recovery->feed);
    feed_destroy(recovery->feed);
    recovery->feed = NULL;
    return status;
}

static void tell_what_was_restored(const struct recovery *recovery, uint64_t begun_ns) {
    const struct server *server = recovery->server;
    const struct snapshot_info *snapshot = &server->restored.snapshot;
    uint64_t ms = (clock_monotonic_ns() - begun_ns) / NS_PER_MS;
    if (server->restored.has_snapshot)
        diag(DIAG_INFO,
            "recovery: %" PRIu64 " keys of the snapshot of LSN %" PRIu64 " and %" PRIu64
            " operations up to LSN %" PRIu64 " in %" PRIu64 " ms",
            snapshot->keys, snapshot->lsn, recovery->operations, wal_last_lsn(server->wal), ms);
    else
        diag(DIAG_INFO, "recovery: %" PRIu64 " operations up to LSN %" PRIu64 " in %" PRIu64 " ms",
            recovery->operations, wal_last_lsn(server->wal), ms);
}

enum status recovery_run(struct server *server, struct buf *error) {
    uint64_t begun_ns = clock_monotonic_ns();
    struct recovery recovery = {.server = server, .last_line_ns = begun_ns};
    enum status status = restore_all(&recovery, error);
    for (unsigned i = 0; status == ST_OK && i < server->shards; i++)
        shard_set_wal(server->shard_of[i], server->wal);
    if (status == ST_OK && server->restored.snapshot.first_run)
        server->first_run_done = true;
    if (status == ST_OK)
        status = wal_start(server->wal, error);
    if (status != ST_OK) {
        if (status == ST_NOMEM && error->len == 0)
            buf_append_text(error, "recovery: out of memory");
        recovery_undo(server);
        return status;
    }
    tell_what_was_restored(&recovery, begun_ns);
    return ST_OK;
}

void recovery_undo(struct server *server) {
    destroy_shards(server);
    if (server->wal)
        wal_close(server->wal);
    server->wal = NULL;
}
