#include "tests/sim/log_life.h"

#include <assert.h>
#include <stdlib.h>

#include "core/clock.h"
#include "tests/support/leaks.h"

#define LLU(number) ((unsigned long long)(number))
#define ERROR_BYTES 4096u
/* Steps until a snapshot's gate is reached: a sync takes one. */
#define GATE_STEPS_MAX 1000u

/* ---- beginning ---- */

void log_life_init(struct log_life *life, struct log_ledger *ledger, uint64_t *random,
    log_clock *clock_set, bool in_blocks) {
    static const enum wal_durability modes[] = {WAL_ALWAYS, WAL_ALWAYS, WAL_INTERVAL, WAL_MANUAL};
    *life = (struct log_life){
        .ledger = ledger, .random = random, .clock_set = clock_set, .in_blocks = in_blocks};
    life->options = (struct wal_options){
        .dir = LOG_DIR,
        .segment_bytes = WAL_SEGMENT_BYTES_MIN + 8192 * (log_draw(random, 4) + 2 * in_blocks),
        .durability = in_blocks ? WAL_ALWAYS : modes[log_draw(random, 4)],
        .interval_ms = 10,
        .batch_delay_us = !in_blocks && log_draw(random, 4) == 0 ? 500 : 0,
        .producers = STORE_SHARDS,
        .ring_slots = 64,
        .salt = LOG_SALT,
    };
    buf_init(&life->error, ERROR_BYTES);
    buf_init(&life->snapshot_error, ERROR_BYTES);
}

static enum status begin(void *ctx, uint64_t salt, uint64_t keys) {
    struct log_life *life = ctx;
    if (salt != LOG_SALT)
        log_ledger_fail(life->ledger, "the directory's salt is %llu after recovery", LLU(salt));
    log_store_close(&life->store);
    log_store_open(&life->store);
    life->replayed_lsn = 0;
    if (keys > 0)
        log_store_load_begin(&life->store);
    return ST_OK;
}

static enum status load(void *ctx, const struct snapshot_item *item) {
    struct log_life *life = ctx;
    unsigned key = log_key_number(item->key);
    if (key < STORE_KEYS)
        log_store_load(&life->store, key, item->version, item->value);
    else
        log_ledger_fail(life->ledger, "the snapshot holds a key that was never written");
    return ST_OK;
}

static enum status loaded(void *ctx) {
    struct log_life *life = ctx;
    log_store_load_end(&life->store);
    return ST_OK;
}

static enum status apply(
    void *ctx, uint64_t lsn, enum wal_op op, struct slice key, struct slice value) {
    struct log_life *life = ctx;
    struct log_ledger *ledger = life->ledger;
    uint64_t snapshot_lsn = life->restored.snapshot.lsn;
    size_t upto = log_ledger_upto(ledger, lsn);
    unsigned number = log_key_number(key);
    if (upto == 0 || ledger->txns[upto - 1].lsn != lsn || number == STORE_KEYS)
        log_ledger_fail(ledger, "the log gives back LSN %llu, which was never written", LLU(lsn));
    if (lsn < life->replayed_lsn)
        log_ledger_fail(
            ledger, "LSN %llu is replayed after LSN %llu", LLU(lsn), LLU(life->replayed_lsn));
    if (lsn <= snapshot_lsn)
        log_ledger_fail(ledger, "LSN %llu is replayed, which the snapshot up to LSN %llu holds",
            LLU(lsn), LLU(snapshot_lsn));
    life->replayed_lsn = lsn;
    if (ledger->failed)
        return ST_CLOSED;
    log_store_replay(&life->store, lsn, op == WAL_DELETE, number, value);
    return ST_OK;
}

enum status log_life_restore(struct log_life *life) {
    struct restore restore = {
        .ctx = life, .begin = begin, .load = load, .loaded = loaded, .apply = apply};
    leaks_overlook(&life->opening, true);
    enum status status =
        restore_run(&life->options, &restore, &life->wal, &life->restored, &life->error);
    leaks_overlook(&life->opening, false);
    return status;
}

size_t log_life_restored(struct log_life *life) {
    size_t count = log_ledger_upto(life->ledger, life->wal->before_lsn);
    log_store_compare(&life->store, life->ledger, count);
    return count;
}

enum status log_life_begin(struct log_life *life) {
    struct log_ledger *ledger = life->ledger;
    enum status status = log_life_restore(life);
    if (status != ST_OK)
        return status;
    size_t count = log_life_restored(life);
    if (count < ledger->kept)
        log_ledger_fail(ledger, "LSN %llu was acknowledged and is lost: the log ends with LSN %llu",
            LLU(ledger->txns[count].lsn), LLU(life->wal->before_lsn));
    /* What is there now is told to whoever asks from now on. */
    ledger->count = ledger->kept = count;
    if (count && ledger->txns[count - 1].lsn > ledger->shown_lsn)
        ledger->shown_lsn = ledger->txns[count - 1].lsn;
    leaks_overlook(&life->opening, true);
    status = wal_begin(life->wal, &life->error);
    leaks_overlook(&life->opening, false);
    return status;
}

/* ---- transactions ---- */

void log_life_observe(struct log_life *life) {
    struct log_ledger *ledger = life->ledger;
    if (!life->wal)
        return;
    uint64_t durable = wal_durable_lsn(life->wal);
    while (ledger->kept < ledger->count && ledger->txns[ledger->kept].lsn <= durable)
        ledger->kept++;
    if (ledger->kept && ledger->txns[ledger->kept - 1].lsn > ledger->shown_lsn)
        ledger->shown_lsn = ledger->txns[ledger->kept - 1].lsn;
}

static void settle(struct log_life *life) {
    bool busy = true;
    while (busy) {
        uint64_t now_ns = clock_monotonic_ns();
        busy = wal_step(life->wal, now_ns) <= now_ns;
        busy = wal_prepare_step(life->wal) || busy;
    }
}

/* How long the values are. Records that fill blocks stand where the log looks for a batch. */
static size_t draw_value_bytes(const struct log_life *life, const struct log_txn *txn) {
    size_t bounds[] = {40, 300, 300, 4096, life->options.segment_bytes / 12};
    size_t bytes = TXN_VALUE_BYTES_MIN + log_draw(life->random, bounds[log_draw(life->random, 5)]);
    size_t puts = 0;
    for (unsigned i = 0; i < txn->ops; i++)
        puts += !txn->op[i].deletes;
    if (puts != 1 || (!life->in_blocks && log_draw(life->random, 2)))
        return bytes;
    size_t rest = WAL_RECORD_HEADER_BYTES + txn->ops * (WAL_OP_HEADER_BYTES + STORE_KEY_BYTES);
    size_t blocks = life->in_blocks ? 1 : (rest + bytes) / WAL_BLOCK_BYTES + 1;
    return blocks * WAL_BLOCK_BYTES - rest;
}

/* One to four operations. only_deletes_of: of this shard, if it is one. */
static struct log_txn draw_txn(struct log_life *life, unsigned only_deletes_of) {
    struct log_txn txn = {.number = life->ledger->next_number++};
    bool one_put = life->in_blocks || log_draw(life->random, 4) == 0;
    unsigned ops = 1 + (unsigned)log_draw(life->random, TXN_OPS_MAX);
    bool taken[STORE_KEYS] = {false};
    for (; txn.ops < ops; txn.ops++) {
        unsigned key = (unsigned)log_draw(life->random, STORE_KEYS);
        while (taken[key])
            key = (key + 1) % STORE_KEYS;
        taken[key] = true;
        bool deletes = one_put ? txn.ops > 0 : log_draw(life->random, 3) == 0;
        txn.op[txn.ops].key = (uint8_t)key;
        txn.op[txn.ops].deletes = deletes || key % STORE_SHARDS == only_deletes_of;
    }
    txn.value_bytes = draw_value_bytes(life, &txn);
    return txn;
}

/* If there is no room for it yet, the log gets on first. */
static enum status reserve(struct log_life *life, size_t bytes, struct wal_record **record) {
    unsigned producer = (unsigned)log_draw(life->random, STORE_SHARDS);
    enum status status = wal_reserve(life->wal, producer, bytes, record);
    if (status == ST_BUSY) {
        settle(life);
        life->clock_set(clock_monotonic_ns() + NS_PER_MS); /* over any batch delay */
        settle(life);
        status = wal_reserve(life->wal, producer, bytes, record);
    }
    return status;
}

static void publish(struct log_life *life, unsigned only_deletes_of) {
    struct log_ledger *ledger = life->ledger;
    struct log_txn txn = draw_txn(life, only_deletes_of);
    size_t sum = txn.ops * (STORE_KEY_BYTES + txn.value_bytes);
    struct wal_record *record;
    if (reserve(life, wal_record_bytes(txn.ops, sum), &record) != ST_OK)
        return; /* refused: no room, perhaps */
    if (log_draw(life->random, 16) == 0) {
        wal_cancel(life->wal, record);
        return;
    }
    for (unsigned i = 0; i < txn.ops; i++)
        if (txn.op[i].deletes)
            wal_record_delete(record, log_key(txn.op[i].key));
        else
            wal_record_put(record, log_key(txn.op[i].key), log_value(&txn));
    txn.durable = wal_durable_lsn(life->wal);
    txn.lsn = wal_publish(life->wal, record);
    if (txn.lsn <= ledger->shown_lsn)
        log_ledger_fail(ledger, "LSN %llu is given out, but LSN %llu was told before the crash",
            LLU(txn.lsn), LLU(ledger->shown_lsn));
    log_ledger_add(ledger, &txn);
    log_store_apply_newest(&life->store, ledger);
    if (life->options.durability != WAL_ALWAYS)
        ledger->shown_lsn = txn.lsn;
}

/* ---- snapshots ---- */

struct frozen {
    uint64_t versions[STORE_KEYS], applied_lsn;
};

static void freeze(const struct log_life *life, unsigned shard, struct frozen *frozen) {
    struct slice value;
    for (unsigned key = shard; key < STORE_KEYS; key += STORE_SHARDS)
        frozen->versions[key] = log_store_get(&life->store, key, &value);
    if (log_store_applied(&life->store, shard) > frozen->applied_lsn)
        frozen->applied_lsn = log_store_applied(&life->store, shard);
}

/* The values are those that the versions' transactions have put. */
static enum status write_items(struct log_life *life, const struct frozen *frozen) {
    const struct log_ledger *ledger = life->ledger;
    enum status status = ST_OK;
    for (unsigned key = 0; key < STORE_KEYS && status == ST_OK; key++) {
        if (frozen->versions[key] == 0)
            continue;
        size_t upto = log_ledger_upto(ledger, frozen->versions[key]);
        assert(upto > 0);
        status = snapshot_writer_add(
            life->writer, log_key(key), frozen->versions[key], log_value(&ledger->txns[upto - 1]));
    }
    return status;
}

static bool reach_gate(struct log_life *life) {
    uint64_t gate = snapshot_writer_gate(life->writer);
    for (unsigned i = 0; i < GATE_STEPS_MAX && wal_durable_lsn(life->wal) < gate; i++) {
        wal_request_sync(life->wal);
        settle(life);
        life->clock_set(clock_monotonic_ns() + NS_PER_MS);
    }
    return wal_durable_lsn(life->wal) >= gate; /* else there is no room for a segment */
}

/* The snapshot of this LSN is published; the one before it and its segments stay. */
static void remove_older(struct log_life *life) {
    uint64_t *lsns;
    size_t count;
    if (snapshot_list(LOG_DIR, &lsns, &count, &life->snapshot_error) != ST_OK)
        return;
    if (count > 1 && snapshot_remove_older(LOG_DIR, lsns[1], &life->snapshot_error) == ST_OK)
        (void)!wal_trim(life->wal, lsns[1], &life->snapshot_error);
    free(lsns);
}

/* As net/checkpoint.c does it. Whatever fails ends the snapshot, not the life. */
static void snapshot(struct log_life *life) {
    struct frozen frozen = {.applied_lsn = wal_last_lsn(life->wal)};
    uint64_t s = frozen.applied_lsn;
    if (s == 0)
        return;
    freeze(life, 0, &frozen);
    for (uint64_t left = log_draw(life->random, 3); left > 0; left--)
        publish(life, log_draw(life->random, 2) ? 1 : STORE_SHARDS);
    freeze(life, 1, &frozen);
    enum status status = snapshot_writer_open(
        LOG_DIR, wal_salt(life->wal), s, false, &life->writer, &life->snapshot_error);
    if (status != ST_OK)
        return;
    status = write_items(life, &frozen);
    if (status == ST_OK)
        status = snapshot_writer_finish(life->writer, frozen.applied_lsn);
    struct snapshot_writer *writer = life->writer;
    if (status != ST_OK || !reach_gate(life)) {
        life->writer = NULL;
        snapshot_writer_abort(writer);
        return;
    }
    life->writer = NULL;
    if (snapshot_writer_publish(writer) != ST_OK)
        return;
    life->snapshots++;
    if (log_draw(life->random, 2))
        remove_older(life);
}

/* ---- acts ---- */

void log_life_act(struct log_life *life) {
    switch (log_draw(life->random, life->in_blocks ? 24 : 12)) {
    case 0:
        wal_request_sync(life->wal);
        break;
    case 1:
        life->clock_set(clock_monotonic_ns() + log_draw(life->random, 20) * NS_PER_MS);
        break;
    case 2:
    case 3:
        (void)wal_step(life->wal, clock_monotonic_ns());
        break;
    case 4:
        (void)wal_prepare_step(life->wal);
        break;
    case 5:
        settle(life);
        break;
    case 6:
        snapshot(life);
        break;
    default:
        for (uint64_t left = 1 + log_draw(life->random, life->burst); left > 0; left--)
            publish(life, STORE_SHARDS);
        if (life->in_blocks)
            settle(life);
    }
    log_life_observe(life);
}

void log_life_end(struct log_life *life) {
    leaks_overlook(&life->opening, false);
    snapshot_writer_abort(life->writer);
    wal_close(life->wal);
    log_store_close(&life->store);
    buf_free(&life->error);
    buf_free(&life->snapshot_error);
    life->wal = NULL;
    life->writer = NULL;
}
