#include "tests/support/stage.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/hash.h"
#include "core/mutant.h"
#include "core/splitmix.h"
#include "shard/coordinator.h"
#include "shard/gate.h"
#include "shard/timers.h"
#include "tests/support/stage_inside.h"
#include "tests/support/stage_log.h"
#include "tests/support/stage_script.h"

#define BUDGET_NS (UINT64_C(5) * 1000 * 1000 * 1000)

uint64_t stage_random(struct stage *stage, uint64_t below) {
    assert(below > 0);
    return splitmix_next(&stage->random) % below;
}

static void stage_send(void *ctx, unsigned to, struct msg *msg) {
    struct stage *stage = ctx;
    struct channel *channel = &stage->channels[stage->sender * stage->shards + to];
    msg->next = NULL;
    *channel->end = msg;
    channel->end = &msg->next;
    stage->queued++;
}

static void submit_now(struct stage *stage, struct stage_call *call, unsigned home);

static void on_committed(void *ctx, struct call *call) {
    struct stage_call *done = (struct stage_call *)call;
    assert(!done->committed_seen);
    done->committed_seen = true;
    if (done->then)
        submit_now(ctx, done->then, call->home);
}

static void on_released(void *ctx, struct call *call) {
    struct stage *stage = ctx;
    struct stage_call *done = (struct stage_call *)call;
    assert(done->committed_seen && !done->released);
    assert(call->home == stage->sender);
    assert(call->depends_lsn <= stage->wal.durable);
    done->released = true;
    done->lsn_after = stage->wal.last;
    done->durable = stage->wal.durable;
    stage->released++;
}

/* Laying the table out takes longer than a small execution, and few counts are asked for. */
static const struct slots *slots_for(unsigned shards) {
    static struct slots latest;
    if (latest.shards != shards)
        slots_init(&latest, shards);
    return &latest;
}

struct stage *stage_open(unsigned shards, uint64_t seed) {
    return stage_open_bounded(shards, seed, 0);
}

struct stage *stage_open_bounded(unsigned shards, uint64_t seed, size_t txn_bytes_max) {
    struct stage *stage = calloc(1, sizeof *stage);
    assert(stage);
    stage->shards = shards;
    stage->random = seed;
    stage->now_ns = 1000;
    stage->slots = *slots_for(shards);
    stage->stats = stats_create(shards);
    static const char *const labels[] = {"test"};
    stage->peers = shard_peers_create(shards, stage->stats, labels, 1);
    stage->channels = calloc((size_t)shards * shards, sizeof *stage->channels);
    assert(stage->peers && stage->channels);
    for (unsigned i = 0; i < shards * shards; i++)
        stage->channels[i].end = &stage->channels[i].first;
    for (unsigned i = 0; i < shards; i++) {
        struct shard_options options = {.index = i,
            .shards = shards,
            .slots = &stage->slots,
            .wal = &stage->wal,
            .stats = stage->stats,
            .hash_seed = STAGE_HASH_SEED,
            .random_seed = seed + i,
            .key_bytes_max = 64,
            .value_bytes_max = 1024,
            .txn_bytes_max = txn_bytes_max,
            .calls_max = 1000,
            .peers = stage->peers,
            .env = {stage, stage_send, on_committed, on_released}};
        enum status status = shard_create(&options, &stage->shard[i]);
        assert(status == ST_OK);
    }
    for (unsigned i = 0; i < STAGE_KEYS; i++)
        (void)snprintf(stage->keys[i], sizeof stage->keys[i], "k%02u", i % 100);
    return stage;
}

struct shard *stage_shard(struct stage *stage, unsigned index) {
    return stage->shard[index];
}

struct slice stage_key(struct stage *stage, unsigned key) {
    return slice_of(stage->keys[key], 3);
}

unsigned stage_owner(struct stage *stage, unsigned key) {
    return slots_shard(&stage->slots, hash_key(stage_key(stage, key), STAGE_HASH_SEED));
}

uint64_t stage_now_ns(struct stage *stage) {
    return stage->now_ns;
}

void stage_refuse_log(struct stage *stage, bool refuse) {
    stage->wal.refuses = refuse;
}

static bool log_refuses(void *ctx) {
    struct stage *stage = ctx;
    return stage_random(stage, 100) < stage->log_percent;
}

void stage_fail_at_random(struct stage *stage, unsigned log_percent, unsigned memory_percent) {
    stage->log_percent = log_percent;
    stage->memory_percent = memory_percent;
    stage->wal.refuses_now = log_percent ? log_refuses : NULL;
    stage->wal.ctx = stage;
}

uint64_t stage_losses(struct stage *stage) {
    uint64_t losses = 0;
    for (unsigned i = 0; i < stage->call_count; i++)
        losses += stage->calls[i]->call.losses;
    return losses;
}
struct stage_call *stage_call_new(struct stage *stage) {
    struct stage_call *call = calloc(1, sizeof *call);
    assert(call);
    call->call.owner = stage;
    call->number = ++stage->made;
    buf_init(&call->call.reply.headers, SIZE_MAX);
    buf_init(&call->call.reply.body, SIZE_MAX);
    return call;
}

static void submit_now(struct stage *stage, struct stage_call *call, unsigned home) {
    call->call.home = home;
    call->call.msg.from = home;
    call->call.started_ns = stage->now_ns;
    call->call.deadline_ns = stage->now_ns + (call->budget_ns ? call->budget_ns : BUDGET_NS);
    call->lsn_before = stage->wal.last;
    stage->sender = home;
    enum status status = shard_submit(stage->shard[home], &call->call, stage->now_ns);
    assert(status == ST_OK);
}

static void enlist(struct stage *stage, struct stage_call *call) {
    call->call.procedure = call->declares ? &stage_declaring : &stage_finding;
    if (stage->call_count == stage->call_cap) {
        stage->call_cap = stage->call_cap ? 2 * stage->call_cap : 16;
        stage->calls = realloc(stage->calls, stage->call_cap * sizeof(struct stage_call *));
        assert(stage->calls);
    }
    stage->calls[stage->call_count++] = call;
}

void stage_submit(struct stage *stage, struct stage_call *call, unsigned home) {
    enlist(stage, call);
    submit_now(stage, call, home);
}

void stage_preload(struct stage *stage, unsigned key) {
    char bytes[VALUE_BYTES_MAX];
    struct slice name = stage_key(stage, key);
    struct stage_write write = {.key = key, .tag = key};
    uint64_t lsn = stage->wal.durable = stage->wal.initial = ++stage->wal.last;
    wal_history_add(&stage->wal, lsn, &write);
    enum status status = shard_replay(stage->shard[stage_owner(stage, key)], lsn, WAL_PUT, name,
        hash_key(name, STAGE_HASH_SEED), stage_value(write.tag, bytes));
    assert(status == ST_OK);
}

void stage_submit_after(struct stage *stage, struct stage_call *call, struct stage_call *before) {
    if (before->committed_seen) {
        stage_submit(stage, call, before->call.home);
        return;
    }
    assert(!before->then);
    before->then = call;
    enlist(stage, call);
}

/* ---- moving ---- */

struct msg *stage_mail(struct stage *stage, unsigned from, unsigned to) {
    return stage->channels[from * stage->shards + to].first;
}

void stage_deliver(struct stage *stage, unsigned from, unsigned to) {
    struct channel *channel = &stage->channels[from * stage->shards + to];
    struct msg *msg = channel->first;
    channel->first = msg->next;
    if (!channel->first)
        channel->end = &channel->first;
    stage->queued--;
    stage->sender = to;
    shard_deliver(stage->shard[to], msg, stage->now_ns);
}

void stage_turn(struct stage *stage, unsigned shard) {
    stage->sender = shard;
    (void)shard_turn_slow(stage->shard[shard], stage->now_ns); /* left by the turn before */
    (void)shard_turn(stage->shard[shard], stage->now_ns);
}

void stage_wake(struct stage *stage, struct txn *txn) {
    stage->sender = txn->shard->index;
    timers_remove(&txn->shard->timers, txn);
    coordinator_timer(txn);
}

void stage_gate(struct stage *stage, unsigned shard) {
    stage->sender = shard;
    gate_turn(stage->shard[shard]);
}

void stage_sync(struct stage *stage, uint64_t lsn) {
    assert(!wal_on_disk(&stage->wal, lsn) && lsn <= stage->wal.last);
    wal_write(&stage->wal, lsn);
}

uint64_t stage_next_sync(const struct stage *stage, unsigned shard) {
    if (MUTANT(QUEUE_APART))
        return wal_oldest_of(&stage->wal, shard);
    return shard == 0 && stage->wal.durable < stage->wal.last ? stage->wal.durable + 1 : 0;
}

bool stage_on_disk(const struct stage *stage, uint64_t lsn) {
    return wal_on_disk(&stage->wal, lsn);
}

uint64_t stage_last_lsn(const struct stage *stage) {
    return stage->wal.last;
}

uint64_t stage_durable_lsn(const struct stage *stage) {
    return stage->wal.durable;
}

const struct stage_write *stage_log(const struct stage *stage, size_t *count) {
    *count = stage->wal.count;
    return stage->wal.history;
}

static void deliver_one(struct stage *stage) {
    unsigned pairs = stage->shards * stage->shards;
    unsigned pair = (unsigned)stage_random(stage, pairs);
    while (!stage->channels[pair].first)
        pair = (pair + 1) % pairs;
    stage_deliver(stage, pair / stage->shards, pair % stage->shards);
}

static void move(struct stage *stage) {
    uint64_t pick = stage_random(stage, 8);
    if (pick == 0 && stage->wal.durable < stage->wal.last) {
        uint64_t unsynced = stage->wal.last - stage->wal.durable;
        stage_sync(stage,
            stage->wal.durable + (stage_random(stage, 2) ? 1 : 1 + stage_random(stage, unsynced)));
    } else if (pick < 5 && stage->queued) {
        deliver_one(stage);
    } else {
        stage_turn(stage, (unsigned)stage_random(stage, stage->shards));
    }
}

void stage_move(struct stage *stage) {
    stage->now_ns += stage_random(stage, 20000);
    if (stage_random(stage, 100) >= stage->memory_percent) {
        move(stage);
        return;
    }
    for (unsigned i = 0; i < stage->shards; i++)
        slab_fail_after(treap_slab(stage->shard[i]->treap), stage_random(stage, 3));
    move(stage);
    for (unsigned i = 0; i < stage->shards; i++)
        slab_fail_after(treap_slab(stage->shard[i]->treap), SLAB_FAIL_NEVER);
}

void stage_settle(struct stage *stage, unsigned moves_max) {
    unsigned busy = 1;
    for (unsigned moves = 0; busy && moves < moves_max; moves++) {
        stage_move(stage);
        busy = stage->released < stage->call_count;
        for (unsigned i = 0; i < stage->shards && !busy; i++)
            busy = shard_in_flight(stage->shard[i]);
    }
    if (busy)
        fprintf(
            stderr, "not settled: %u of %u calls released\n", stage->released, stage->call_count);
    assert(!busy);
}

const char *stage_leftover(const struct stage *stage) {
    if (stage->released < stage->call_count)
        return "a call is never released";
    for (unsigned i = 0; i < stage->shards; i++) {
        const struct shard *shard = stage->shard[i];
        if (!marks_none(&shard->marks))
            return "a mark is left";
        if (shard->office.holder || shard->office.first)
            return "the ticket is not given back";
        if (shard_in_flight(shard))
            return "a transaction is left";
    }
    if (stage->wal.reserved)
        return "a reservation of the log is left";
    return stage->queued ? "a message is left" : NULL;
}

void stage_close(struct stage *stage) {
    assert(!stage_leftover(stage));
    for (unsigned i = 0; i < stage->shards; i++) {
        treap_check(stage->shard[i]->treap);
        shard_destroy(stage->shard[i]);
    }
    for (unsigned i = 0; i < stage->call_count; i++) {
        buf_free(&stage->calls[i]->call.reply.headers);
        buf_free(&stage->calls[i]->call.reply.body);
        free(stage->calls[i]);
    }
    shard_peers_destroy(stage->peers);
    stats_destroy(stage->stats);
    free(stage->wal.history);
    free(stage->channels);
    free(stage->calls);
    free(stage);
}
