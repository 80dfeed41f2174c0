#include "tests/support/stage.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/hash.h"
#include "shard/coordinator.h"
#include "shard/gate.h"
#include "shard/state.h"
#include "shard/timers.h"

#define HASH_SEED 7
#define BUDGET_NS (UINT64_C(5) * 1000 * 1000 * 1000)

/* A value is the tag of the step that wrote it, and some bytes more, so that lengths differ. */
#define VALUE_BYTES_MAX 24
static struct slice make_value(uint64_t tag, char *bytes) {
    memset(bytes, 'x', VALUE_BYTES_MAX);
    memcpy(bytes, &tag, sizeof tag);
    return slice_of(bytes, sizeof tag + tag % (VALUE_BYTES_MAX - sizeof tag));
}

static uint64_t value_tag(struct slice value) {
    uint64_t tag;
    assert(value.len >= sizeof tag);
    memcpy(&tag, value.data, sizeof tag);
    assert(value.len == sizeof tag + tag % (VALUE_BYTES_MAX - sizeof tag));
    return tag;
}

/* ---- the stand-in for the log ---- */

struct wal_record {
    struct stage_write operations[STAGE_KEYS];
    unsigned count;
};

struct wal {
    uint64_t last, durable;
    uint64_t initial; /* LSNs of what was there from the start */
    uint64_t reserved;
    bool refuses;
    bool (*refuses_now)(void *ctx); /* NULL: never */
    void *ctx;
    struct stage_write *history;
    size_t count, cap;
};

static unsigned key_number(struct slice key) {
    return (unsigned)((key.data[1] - '0') * 10 + (key.data[2] - '0'));
}

size_t wal_record_bytes(size_t count, size_t bytes) {
    return 32 + 8 * count + bytes;
}

size_t wal_record_bytes_max(const struct wal *wal) {
    (void)wal;
    return 1 << 20;
}

enum status wal_reserve(
    struct wal *wal, unsigned producer, size_t bytes, struct wal_record **record) {
    (void)producer;
    (void)bytes;
    if (wal->refuses || (wal->refuses_now && wal->refuses_now(wal->ctx)))
        return ST_BUSY;
    *record = calloc(1, sizeof **record);
    assert(*record);
    wal->reserved++;
    return ST_OK;
}

static void record_add(struct wal_record *record, struct slice key, bool deletes, uint64_t tag) {
    assert(record->count < STAGE_KEYS);
    record->operations[record->count++] =
        (struct stage_write){.key = key_number(key), .deletes = deletes, .tag = tag};
}

void wal_record_put(struct wal_record *record, struct slice key, struct slice value) {
    record_add(record, key, false, value_tag(value));
}

void wal_record_delete(struct wal_record *record, struct slice key) {
    record_add(record, key, true, 0);
}

void wal_record_first_run(struct wal_record *record) {
    (void)record;
}

static void history_add(struct wal *wal, uint64_t lsn, const struct stage_write *operation) {
    if (wal->count == wal->cap) {
        wal->cap = wal->cap ? 2 * wal->cap : 64;
        wal->history = realloc(wal->history, wal->cap * sizeof *wal->history);
        assert(wal->history);
    }
    wal->history[wal->count] = *operation;
    wal->history[wal->count++].lsn = lsn;
}

uint64_t wal_publish(struct wal *wal, struct wal_record *record) {
    uint64_t lsn = ++wal->last;
    for (unsigned i = 0; i < record->count; i++)
        history_add(wal, lsn, &record->operations[i]);
    wal->reserved--;
    free(record);
    return lsn;
}

void wal_cancel(struct wal *wal, struct wal_record *record) {
    wal->reserved--;
    free(record);
}

void wal_kick(struct wal *wal) {
    (void)wal; /* it becomes durable when the seed says so */
}

uint64_t wal_reply_lsn(const struct wal *wal) {
    return wal->durable;
}

uint64_t wal_announce(struct wal *wal, unsigned producer) {
    (void)producer;
    return wal->durable;
}

/* ---- the stage ---- */

struct channel {
    struct msg *first, **end;
};

struct stage {
    unsigned shards;
    uint64_t random;
    uint64_t now_ns;
    struct slots slots;
    struct wal wal;
    struct stats *stats;
    struct shard_peers *peers;
    struct shard *shard[SHARDS_MAX];
    struct channel *channels; /* [from * shards + to] */
    unsigned queued;
    unsigned sender; /* the shard whose step runs */
    struct stage_call **calls;
    unsigned call_count, call_cap, released;
    unsigned made;
    unsigned log_percent, memory_percent;
    char keys[STAGE_KEYS][4];
};

uint64_t stage_random(struct stage *stage, uint64_t below) {
    stage->random += UINT64_C(0x9E3779B97F4A7C15); /* splitmix64, Steele et al. 2014 */
    uint64_t z = stage->random;
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return (z ^ (z >> 31)) % below;
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
            .hash_seed = HASH_SEED,
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

static struct slice key_slice(struct stage *stage, unsigned key) {
    return slice_of(stage->keys[key], 3);
}

unsigned stage_owner(struct stage *stage, unsigned key) {
    return slots_shard(&stage->slots, hash_key(key_slice(stage, key), HASH_SEED));
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

/* ---- procedures ---- */

static struct stage *the_stage(const struct call *call) {
    return call->owner;
}

static struct range_spec step_spec(struct stage *stage, const struct step *step) {
    return (struct range_spec){.from = key_slice(stage, step->key),
        .to = step->to < STAGE_KEYS ? key_slice(stage, step->to) : slice_of(NULL, 0),
        .bounded = step->to < STAGE_KEYS,
        .reverse = step->reverse,
        .expect = step->expect ? step->expect : step->limit};
}

static enum status walk(
    struct stage_call *call, struct txn *txn, const struct step *step, struct seen *seen) {
    enum status status = ST_OK;
    if (!call->range) {
        struct range_spec spec = step_spec(the_stage(&call->call), step);
        seen->count = 0;
        seen->ran_out = false;
        status = txn_range_open(txn, &spec, &call->range);
    }
    while (status == ST_OK && seen->count < step->limit) {
        struct range_item item;
        status = txn_range_next(call->range, &item);
        if (status != ST_OK)
            break;
        seen->items[seen->count].key = key_number(item.key);
        seen->items[seen->count++].value = (struct stage_value){
            .there = true, .version = item.version, .tag = value_tag(item.value)};
    }
    if (status == ST_END) {
        seen->ran_out = true;
        status = ST_OK;
    }
    if (status == ST_OK) {
        if (step->closes)
            txn_range_close(call->range);
        call->range = NULL;
    }
    return status;
}

static uint64_t tag_of(const struct stage_call *call, unsigned step) {
    return (uint64_t)call->number * STAGE_STEPS_MAX + step;
}

static enum status run_step(
    struct stage_call *call, struct txn *txn, const struct step *step, struct seen *seen) {
    char bytes[VALUE_BYTES_MAX];
    struct slice key = key_slice(the_stage(&call->call), step->key % STAGE_KEYS);
    struct slice got;
    enum status status;
    switch (step->kind) {
    case STEP_GET:
    case STEP_VERSION:
        seen->value = (struct stage_value){.there = false};
        status = step->kind == STEP_GET ? txn_get(txn, key, &got, &seen->value.version)
                                        : txn_version(txn, key, &seen->value.version);
        seen->value.there = status == ST_OK;
        if (status == ST_OK && step->kind == STEP_GET)
            seen->value.tag = value_tag(got);
        return status == ST_NOT_FOUND ? ST_OK : status;
    case STEP_SET:
        return txn_set(txn, key, make_value(tag_of(call, call->at), bytes));
    case STEP_DELETE:
        return txn_delete(txn, key);
    case STEP_RANGE:
        return walk(call, txn, step, seen);
    case STEP_YIELD:
        break;
    }
    return ST_OK;
}

static enum verdict end_with(struct stage_call *call, enum verdict verdict, enum status outcome) {
    call->call.outcome = outcome;
    return verdict;
}

static enum verdict procedure_go(struct call *base, struct txn *txn) {
    struct stage_call *call = (struct stage_call *)base;
    assert(call->running);
    while (call->at < call->step_count) {
        const struct step *step = &call->steps[call->at];
        enum status status = run_step(call, txn, step, &call->seen[call->at]);
        if (status == ST_PENDING)
            return call->never_waits ? PROC_RERUN : PROC_WAIT;
        if (status == ST_DOOMED)
            return PROC_UNWOUND;
        if (status == ST_NOMEM)
            return end_with(call, PROC_FAIL, ST_NOMEM);
        assert(status == ST_OK);
        call->at++;
        if (call->replaced && call->at == call->step_count) {
            call->replaced = false;
            return PROC_REPLACED;
        }
        if (step->kind == STEP_YIELD)
            return PROC_AGAIN;
    }
    if (call->fails)
        return end_with(call, PROC_FAIL, ST_HANDLER);
    base->reply.status = 200;
    return call->rolls_back ? PROC_ROLLBACK : PROC_COMMIT;
}

static enum verdict procedure_start(struct call *base, struct txn *txn, struct script_vm *vm) {
    (void)vm;
    struct stage_call *call = (struct stage_call *)base;
    assert(!call->running && !call->finished);
    call->running = true;
    call->at = 0;
    call->range = NULL;
    call->attempts++;
    return procedure_go(base, txn);
}

static void procedure_drop(struct call *base) {
    struct stage_call *call = (struct stage_call *)base;
    assert(call->running);
    call->running = false;
}

static void procedure_finish(struct call *base, uint64_t version) {
    struct stage_call *call = (struct stage_call *)base;
    assert(call->running && !call->finished);
    call->running = false;
    call->finished = true;
    call->version = version;
}

static enum status declare_step(
    struct stage_call *call, struct txn *txn, const struct step *step, unsigned index) {
    char bytes[VALUE_BYTES_MAX];
    struct slice key = key_slice(the_stage(&call->call), step->key % STAGE_KEYS);
    switch (step->kind) {
    case STEP_GET:
        return txn_declare(txn, key, DECLARE_READ);
    case STEP_VERSION:
        return txn_declare(txn, key, DECLARE_VERSION);
    case STEP_SET:
        if (call->hints == HINTS_NONE)
            return txn_declare(txn, key, DECLARE_WRITE);
        return txn_declare_value(
            txn, key, make_value(tag_of(call, index) + (call->hints == HINTS_WRONG), bytes));
    case STEP_DELETE:
        return txn_declare(txn, key, DECLARE_WRITE);
    case STEP_RANGE: {
        struct range_spec spec = step_spec(the_stage(&call->call), step);
        return txn_declare_range(txn, &spec);
    }
    case STEP_YIELD:
        break;
    }
    return ST_OK;
}

static enum status procedure_declare(struct call *base, struct txn *txn) {
    struct stage_call *call = (struct stage_call *)base;
    size_t writes = 0;
    for (unsigned i = 0; i < call->step_count; i++) {
        const struct step *step = &call->steps[i];
        writes += step->kind == STEP_SET || step->kind == STEP_DELETE;
        enum status status = declare_step(call, txn, step, i);
        assert(status == ST_OK);
    }
    txn_declare_bytes(txn, writes, writes * 32);
    return ST_OK;
}

static const struct procedure finding = {.name = "finding",
    .start = procedure_start,
    .resume = procedure_go,
    .drop = procedure_drop,
    .finish = procedure_finish};
static const struct procedure declaring = {.name = "declaring",
    .declare = procedure_declare,
    .start = procedure_start,
    .resume = procedure_go,
    .drop = procedure_drop,
    .finish = procedure_finish};

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
    call->call.procedure = call->declares ? &declaring : &finding;
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
    struct slice name = key_slice(stage, key);
    struct stage_write write = {.key = key, .tag = key};
    uint64_t lsn = stage->wal.durable = stage->wal.initial = ++stage->wal.last;
    history_add(&stage->wal, lsn, &write);
    enum status status = shard_replay(stage->shard[stage_owner(stage, key)], lsn, WAL_PUT, name,
        hash_key(name, HASH_SEED), make_value(write.tag, bytes));
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
    assert(lsn > stage->wal.durable && lsn <= stage->wal.last);
    stage->wal.durable = lsn;
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

/* ---- the model ---- */

/* All keys as of an LSN, moved forward record by record. */
struct model {
    const struct wal *wal;
    size_t at;
    struct stage_value keys[STAGE_KEYS];
};

static void model_advance(struct model *model, uint64_t lsn) {
    while (model->at < model->wal->count && model->wal->history[model->at].lsn <= lsn) {
        const struct stage_write *operation = &model->wal->history[model->at++];
        model->keys[operation->key] =
            operation->deletes ? (struct stage_value){.there = false}
                               : (struct stage_value){true, operation->lsn, operation->tag};
    }
}

static bool same_value(const struct stage_value *a, const struct stage_value *b, bool tags) {
    return a->there == b->there && a->version == b->version && (!tags || a->tag == b->tag);
}

static bool range_matches(
    const struct stage_value *keys, const struct step *step, const struct seen *seen) {
    unsigned taken = 0;
    unsigned end = step->to < STAGE_KEYS ? step->to : STAGE_KEYS;
    for (unsigned i = step->key; i < end && taken < step->limit; i++) {
        unsigned key = step->reverse ? end - 1 - (i - step->key) : i;
        if (!keys[key].there)
            continue;
        if (taken == seen->count || seen->items[taken].key != key ||
            !same_value(&seen->items[taken].value, &keys[key], true))
            return false;
        taken++;
    }
    return taken == seen->count && seen->ran_out == (taken < step->limit);
}

/* Runs the steps against the model as it stands, own writes included. */
static bool call_matches(const struct model *model, const struct stage_call *call) {
    struct stage_value keys[STAGE_KEYS];
    memcpy(keys, model->keys, sizeof keys);
    for (unsigned i = 0; i < call->step_count; i++) {
        const struct step *step = &call->steps[i];
        const struct seen *seen = &call->seen[i];
        bool point = step->kind == STEP_GET || step->kind == STEP_VERSION;
        if (point && !same_value(&seen->value, &keys[step->key], step->kind == STEP_GET))
            return false;
        if (step->kind == STEP_RANGE && !range_matches(keys, step, seen))
            return false;
        if (step->kind == STEP_SET)
            keys[step->key] = (struct stage_value){.there = true, .tag = tag_of(call, i)};
        if (step->kind == STEP_DELETE)
            keys[step->key] = (struct stage_value){.there = false};
    }
    return true;
}

static bool is_write(const struct step *step) {
    return step->kind == STEP_SET || step->kind == STEP_DELETE;
}

static bool writes(const struct stage_call *call) {
    for (unsigned i = 0; i < call->step_count; i++)
        if (is_write(&call->steps[i]))
            return !call->rolls_back && !call->fails;
    return false;
}

/* The record of this LSN holds what the call wrote last to each key, and nothing else. */
static const char *check_record(const struct wal *wal, size_t at, const struct stage_call *call) {
    unsigned last[STAGE_KEYS];
    unsigned keys = 0;
    memset(last, 0xFF, sizeof last);
    for (unsigned i = 0; i < call->step_count; i++)
        if (is_write(&call->steps[i])) {
            keys += last[call->steps[i].key] == UINT32_MAX;
            last[call->steps[i].key] = i;
        }
    for (; at < wal->count && wal->history[at].lsn == call->version; at++, keys--) {
        const struct stage_write *operation = &wal->history[at];
        unsigned step = last[operation->key];
        if (keys == 0 || step == UINT32_MAX ||
            operation->deletes != (call->steps[step].kind == STEP_DELETE) ||
            (!operation->deletes && operation->tag != tag_of(call, step)))
            return "a record is not what was written";
    }
    return keys > 0 ? "a record lacks a write" : NULL;
}

static const char writer_out_of_order[] = "a writer's reads were not current at its LSN";
static const char reader_out_of_order[] =
    "a reader saw what was not true between its request and its reply";

bool stage_about_order(const char *verdict) {
    return verdict == writer_out_of_order || verdict == reader_out_of_order;
}

/* NULL, or what is wrong. */
static const char *check_call(struct stage *stage, const struct stage_call *call) {
    struct model model = {.wal = &stage->wal};
    if (writes(call)) {
        if (call->version <= call->lsn_before || call->version > call->lsn_after)
            return "a commit outside its request's time";
        if (call->version > call->durable)
            return "a commit released before it was durable";
        model_advance(&model, call->version - 1);
        if (!call_matches(&model, call))
            return writer_out_of_order;
        return check_record(&stage->wal, model.at, call);
    }
    /* What it saw must be true at some LSN within its request, and must have become true at an LSN
     * that was durable when the reply left. */
    uint64_t first = call->durable < call->lsn_before ? call->durable : call->lsn_before;
    uint64_t since = UINT64_MAX;
    bool was_true = false;
    for (uint64_t lsn = first; lsn <= call->lsn_after; lsn++) {
        model_advance(&model, lsn);
        if (!call_matches(&model, call))
            since = UINT64_MAX;
        else if (since == UINT64_MAX)
            since = lsn;
        if (lsn >= call->lsn_before && since <= call->durable)
            return NULL;
        was_true = was_true || (lsn >= call->lsn_before && since != UINT64_MAX);
    }
    return was_true ? "a reader's reply left before what it saw was durable" : reader_out_of_order;
}

bool stage_serial(struct stage *stage, struct stage_call *const order[], unsigned count) {
    struct model model = {.wal = &stage->wal}, end = {.wal = &stage->wal};
    model_advance(&model, stage->wal.initial);
    model_advance(&end, UINT64_MAX);
    for (unsigned i = 0; i < count; i++) {
        const struct stage_call *call = order[i];
        if (call->call.outcome != ST_OK && call->call.outcome != ST_HANDLER)
            continue;
        if (!call_matches(&model, call))
            return false;
        for (unsigned step = 0; step < call->step_count && writes(call); step++)
            if (is_write(&call->steps[step]))
                model.keys[call->steps[step].key] =
                    call->steps[step].kind == STEP_DELETE
                        ? (struct stage_value){.there = false}
                        : (struct stage_value){true, call->version, tag_of(call, step)};
    }
    for (unsigned i = 0; i < STAGE_KEYS; i++)
        if (!same_value(&model.keys[i], &end.keys[i], true))
            return false;
    return true;
}

/* The shards hold what the log says. */
static const char *check_state(struct stage *stage) {
    struct model model = {.wal = &stage->wal};
    model_advance(&model, UINT64_MAX);
    for (unsigned i = 0; i < STAGE_KEYS; i++) {
        struct slice key = key_slice(stage, i);
        uint64_t hash = hash_key(key, HASH_SEED);
        const struct treap_node *node =
            treap_find(stage->shard[stage_owner(stage, i)]->treap, key, hash);
        if ((node != NULL) != model.keys[i].there)
            return "a shard and the log differ in whether a key is there";
        if (node && (treap_version(node) != model.keys[i].version ||
                        value_tag(treap_value(node)) != model.keys[i].tag))
            return "a shard and the log differ in a key's version or value";
    }
    return NULL;
}

const char *stage_call_verdict(struct stage *stage, const struct stage_call *call) {
    enum status outcome = call->call.outcome;
    if (call->running)
        return "a call with an attempt that nobody ended";
    if (outcome == ST_BUSY || outcome == ST_TIMEOUT || outcome == ST_CONFLICT ||
        outcome == ST_NOMEM)
        return NULL;
    if (outcome != ST_OK && outcome != ST_HANDLER)
        return "an outcome that nothing leads to";
    return call->finished ? check_call(stage, call) : "a call that stands but was not finished";
}

const char *stage_verdict(struct stage *stage, const struct stage_call **culprit) {
    uint64_t commits = stage->wal.initial;
    for (unsigned i = 0; i < stage->call_count; i++) {
        const struct stage_call *call = stage->calls[i];
        const char *why = stage_call_verdict(stage, call);
        *culprit = call;
        if (why)
            return why;
        commits += call->call.outcome == ST_OK && writes(call);
    }
    *culprit = NULL;
    if (commits != stage->wal.last)
        return "the log has a record that nobody was told of";
    return check_state(stage);
}

void stage_check_history(struct stage *stage) {
    const struct stage_call *call;
    const char *why = stage_verdict(stage, &call);
    if (!why)
        return;
    fprintf(stderr, "%s\n", why);
    if (call)
        fprintf(stderr, "call %u, version %llu, submitted at %llu, released at %llu, %u steps:\n",
            call->number, (unsigned long long)call->version, (unsigned long long)call->lsn_before,
            (unsigned long long)call->lsn_after, call->step_count);
    for (unsigned i = 0; call && i < call->step_count; i++)
        fprintf(stderr, "  kind %d key %u to %u limit %u reverse %d: version %llu, %u items\n",
            (int)call->steps[i].kind, call->steps[i].key, call->steps[i].to, call->steps[i].limit,
            call->steps[i].reverse, (unsigned long long)call->seen[i].value.version,
            call->seen[i].count);
    abort();
}
