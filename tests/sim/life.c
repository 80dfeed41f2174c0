/* A life of the server: what net/recovery.c does to open a data directory, and its end. */
#include "tests/sim/world.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "core/hash.h"

struct restoring {
    struct world *world;
    uint64_t hash_seed;
    uint64_t keys;
    uint64_t last; /* the highest LSN replayed */
};

/* ---- shards ---- */

static void drop_shards(struct world *world) {
    for (unsigned i = 0; i < SIM_SHARDS_MAX; i++) {
        if (!world->shard[i])
            continue;
        if (shard_in_flight(world->shard[i]) == 0)
            shard_destroy(world->shard[i]);
        else
            treap_destroy(world->shard[i]->treap); /* the rest is what a crash leaves behind */
        world->shard[i] = NULL;
    }
}

static enum status make_shard(struct world *world, unsigned index, uint64_t hash_seed) {
    struct shard_options options = {.index = index,
        .shards = world->shards,
        .slots = &world->slots,
        .stats = world->stats,
        .hash_seed = hash_seed,
        .random_seed = world->seed + index,
        .key_bytes_max = 64,
        .value_bytes_max = 4096,
        .txn_bytes_max = world->plan.txn_bytes_max,
        .calls_max = 1000,
        .peers = world->peers,
        .env = move_env(world)};
    return shard_create(&options, &world->shard[index]);
}

/* ---- what is restored ---- */

static enum status begin(void *ctx, uint64_t salt, uint64_t keys) {
    struct restoring *restoring = ctx;
    struct world *world = restoring->world;
    restoring->hash_seed = salt;
    restoring->keys = keys;
    drop_shards(world);
    enum status status = ST_OK;
    for (unsigned i = 0; status == ST_OK && i < world->shards; i++)
        status = make_shard(world, i, salt);
    for (unsigned i = 0; status == ST_OK && keys > 0 && i < world->shards; i++)
        status = shard_load_begin(world->shard[i], (size_t)keys / world->shards);
    return status;
}

static struct shard *owner_of(const struct restoring *restoring, uint64_t hash) {
    return restoring->world->shard[slots_shard(&restoring->world->slots, hash)];
}

static enum status load(void *ctx, const struct snapshot_item *item) {
    struct restoring *restoring = ctx;
    uint64_t hash = hash_key(item->key, restoring->hash_seed);
    return shard_load_add(owner_of(restoring, hash), item->key, hash, item->value, item->version);
}

static enum status loaded(void *ctx) {
    struct restoring *restoring = ctx;
    for (unsigned i = 0; restoring->keys > 0 && i < restoring->world->shards; i++)
        shard_load_end(restoring->world->shard[i]);
    return ST_OK;
}

static enum status apply(
    void *ctx, uint64_t lsn, enum wal_op op, struct slice key, struct slice value) {
    struct restoring *restoring = ctx;
    restoring->last = lsn > restoring->last ? lsn : restoring->last;
    if (op == WAL_FIRST_RUN)
        return ST_OK;
    uint64_t hash = hash_key(key, restoring->hash_seed);
    return shard_replay(owner_of(restoring, hash), lsn, op, key, hash, value);
}

static void wake(void *ctx, unsigned producer) {
    struct world *world = ctx;
    world->due[producer] = true;
}

/* The salt of a fresh directory. */
ssize_t __wrap_getrandom(void *bytes, size_t len, unsigned flags);
ssize_t __wrap_getrandom(void *bytes, size_t len, unsigned flags) {
    (void)flags;
    memset(bytes, 0x5A, len);
    return (ssize_t)len;
}

/* ---- opening ---- */

static struct wal_options log_options(struct world *world) {
    static const enum wal_durability modes[] = {
        WAL_ALWAYS, WAL_ALWAYS, WAL_ALWAYS, WAL_INTERVAL, WAL_MANUAL};
    world->mode = world->plan.always ? WAL_ALWAYS : modes[sim_random(world, 5)];
    memcpy(world->dir, SIM_DIR, sizeof SIM_DIR);
    return (struct wal_options){.dir = world->dir,
        .segment_bytes = WAL_SEGMENT_BYTES_MIN + 8192 * sim_random(world, 3),
        .durability = world->mode,
        .interval_ms = 1 + sim_random(world, 20),
        .batch_delay_us = sim_one_in(world, 4) ? 500 : 0,
        .producers = world->shards,
        .ring_slots = 64,
        .wake = wake,
        .wake_ctx = world};
}

static const char *mode_name(enum wal_durability mode) {
    return mode == WAL_ALWAYS ? "always" : mode == WAL_INTERVAL ? "interval" : "manual";
}

static void take_over(struct world *world, uint64_t lsn, const struct restored *restored) {
    story("recovered to LSN %llu: snapshot of LSN %llu and the log behind it",
        (unsigned long long)lsn, (unsigned long long)restored->snapshot.lsn);
    check_recovered(world, lsn);
    past_cut(&world->past, lsn);
    if (lsn > world->required)
        world->required = lsn; /* told to whoever asks from now on */
    if (lsn > world->shown)
        world->shown = lsn;
    world->snapshot_lsn = restored->snapshot.lsn;
    world->first_lsn = true;
    for (unsigned i = 0; i < world->shards; i++)
        shard_set_wal(world->shard[i], world->wal);
}

static void set_up(struct world *world) {
    static const char *const labels[] = {"sim"};
    world->shards = 1 + (unsigned)sim_random(world, SIM_SHARDS_MAX);
    slots_init(&world->slots, world->shards);
    world->stats = stats_create(world->shards);
    world->peers = shard_peers_create(world->shards, world->stats, labels, 1);
    assert(world->peers);
    memset(world->channels, 0, sizeof world->channels);
    for (unsigned i = 0; i < SIM_SHARDS_MAX * SIM_SHARDS_MAX; i++)
        world->channels[i].end = &world->channels[i].first;
    world->queued = 0;
    memset(world->due, 0, sizeof world->due);
    world->round = (struct round){0};
}

static void open_machines(struct world *world) {
    struct kv_limits limits = {64, 4096};
    for (unsigned i = 0; i < world->shards; i++) {
        world->kv[i] = kv_create(&limits);
        assert(world->kv[i]);
    }
    work_lua_open(world);
}

bool life_open(struct world *world) {
    set_up(world);
    struct wal_options options = log_options(world);
    struct restoring restoring = {.world = world};
    struct restore restore = {
        .ctx = &restoring, .begin = begin, .load = load, .loaded = loaded, .apply = apply};
    struct restored restored;
    buf_reset(&world->error, SIZE_MAX);
    story("the server starts: %u shards, durability %s", world->shards, mode_name(world->mode));
    world->counts.restarts++;
    enum status status = restore_run(&options, &restore, &world->wal, &restored, &world->error);
    if (status == ST_OK) {
        uint64_t lsn =
            restoring.last > restored.snapshot.lsn ? restoring.last : restored.snapshot.lsn;
        take_over(world, lsn, &restored);
        status = wal_begin(world->wal, &world->error);
    }
    world->open = status == ST_OK;
    if (world->open) {
        open_machines(world);
        return true;
    }
    story("it does not start: %s: %.*s", status_text(status), (int)world->error.len,
        world->error.len ? world->error.data : "");
    if (!sim_disk_is_dead(world->disk) && !sim_disk_has_failed(world->disk) && !world->no_room)
        story_fail("the server does not start: %.*s", (int)world->error.len,
            world->error.len ? world->error.data : "");
    return false;
}

/* ---- ends ---- */

/* What the log calls durable must survive. (LSNs that it skipped have no record.) */
static void keep_durable(struct world *world) {
    uint64_t durable = wal_durable_lsn(world->wal);
    const struct past *past = &world->past;
    size_t at = past->count;
    while (at > 0 && past->records[at - 1].lsn > durable)
        at--;
    if (at > 0 && past->records[at - 1].lsn > world->required)
        world->required = past->records[at - 1].lsn;
}

void life_drop(struct world *world) {
    if (world->open)
        keep_durable(world);
    client_crash(world);
    trace_crash();
    drop_shards(world);
    wal_close(world->wal);
    world->wal = NULL;
    for (unsigned i = 0; i < SIM_SHARDS_MAX; i++) {
        if (world->kv[i] && world->in_flight == 0)
            kv_destroy(world->kv[i]);
        world->kv[i] = NULL;
    }
    work_lua_close(world, world->in_flight > 0);
    world->in_flight = 0;
    if (world->peers)
        shard_peers_destroy(world->peers);
    if (world->stats)
        stats_destroy(world->stats);
    world->peers = NULL;
    world->stats = NULL;
    world->open = false;
}

void life_stop(struct world *world) {
    check_marks(world);
    check_quiet(world);
    wal_finish(world->wal);
    if (wal_durable_lsn(world->wal) < world->past.last)
        story_fail("the log has ended cleanly and is durable only up to LSN %llu",
            (unsigned long long)wal_durable_lsn(world->wal));
    story("the server has stopped");
}
