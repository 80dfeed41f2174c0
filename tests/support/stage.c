#include "tests/support/stage.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/hash.h"

#define HASH_SEED 7
#define CALLS_MAX 200000
#define BUDGET_NS (UINT64_C(5) * 1000 * 1000 * 1000)

struct operation {
    uint64_t lsn;
    unsigned key;
    bool deletes;
};

/* ---- the stand-in for the log ---- */

struct wal_record {
    struct operation operations[STAGE_KEYS];
    unsigned count;
};

struct wal {
    uint64_t last, durable;
    uint64_t reserved;
    bool refuses;
    struct operation *history;
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
    if (wal->refuses)
        return ST_BUSY;
    *record = calloc(1, sizeof **record);
    assert(*record);
    wal->reserved++;
    return ST_OK;
}

static void record_add(struct wal_record *record, struct slice key, bool deletes) {
    assert(record->count < STAGE_KEYS);
    record->operations[record->count++] =
        (struct operation){.key = key_number(key), .deletes = deletes};
}

void wal_record_put(struct wal_record *record, struct slice key, struct slice value) {
    (void)value;
    record_add(record, key, false);
}

void wal_record_delete(struct wal_record *record, struct slice key) {
    record_add(record, key, true);
}

void wal_record_first_run(struct wal_record *record) {
    (void)record;
}

uint64_t wal_publish(struct wal *wal, struct wal_record *record) {
    uint64_t lsn = ++wal->last;
    for (unsigned i = 0; i < record->count; i++) {
        if (wal->count == wal->cap) {
            wal->cap = wal->cap ? 2 * wal->cap : 1024;
            wal->history = realloc(wal->history, wal->cap * sizeof *wal->history);
            assert(wal->history);
        }
        wal->history[wal->count] = record->operations[i];
        wal->history[wal->count++].lsn = lsn;
    }
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
    unsigned call_count, released;
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

static void on_committed(void *ctx, struct call *call) {
    (void)ctx;
    struct stage_call *done = (struct stage_call *)call;
    assert(!done->committed_seen);
    done->committed_seen = true;
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

struct stage *stage_open(unsigned shards, uint64_t seed) {
    struct stage *stage = calloc(1, sizeof *stage);
    assert(stage);
    stage->shards = shards;
    stage->random = seed;
    stage->now_ns = 1000;
    slots_init(&stage->slots, shards);
    stage->stats = stats_create(shards);
    static const char *const labels[] = {"test"};
    stage->peers = shard_peers_create(shards, stage->stats, labels, 1);
    stage->channels = calloc((size_t)shards * shards, sizeof *stage->channels);
    stage->calls = calloc(CALLS_MAX, sizeof(struct stage_call *));
    assert(stage->peers && stage->channels && stage->calls);
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
        .expect = step->limit};
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
        if (status == ST_OK) {
            seen->items[seen->count].key = key_number(item.key);
            seen->items[seen->count++].version = item.version;
        }
    }
    if (status == ST_END) {
        seen->ran_out = true;
        status = ST_OK;
    }
    if (status == ST_OK)
        call->range = NULL;
    return status;
}

static enum status run_step(
    struct stage_call *call, struct txn *txn, const struct step *step, struct seen *seen) {
    static const char value[] = "value";
    struct slice key = key_slice(the_stage(&call->call), step->key % STAGE_KEYS);
    struct slice got;
    enum status status;
    switch (step->kind) {
    case STEP_GET:
    case STEP_VERSION:
        seen->own = txn_wrote(txn, key);
        status = step->kind == STEP_GET ? txn_get(txn, key, &got, &seen->version)
                                        : txn_version(txn, key, &seen->version);
        if (status == ST_OK && step->kind == STEP_GET)
            assert(got.len == 5 && memcmp(got.data, value, 5) == 0);
        return status == ST_NOT_FOUND ? ST_OK : status;
    case STEP_SET:
        return txn_set(txn, key, slice_of(value, 5));
    case STEP_DELETE:
        return txn_delete(txn, key);
    case STEP_RANGE:
        return walk(call, txn, step, seen);
    case STEP_YIELD:
        break;
    }
    return ST_OK;
}

static enum verdict procedure_go(struct call *base, struct txn *txn) {
    struct stage_call *call = (struct stage_call *)base;
    while (call->at < call->step_count) {
        const struct step *step = &call->steps[call->at];
        enum status status = run_step(call, txn, step, &call->seen[call->at]);
        if (status == ST_PENDING)
            return PROC_WAIT;
        if (status == ST_DOOMED)
            return PROC_UNWOUND;
        assert(status == ST_OK);
        call->at++;
        if (step->kind == STEP_YIELD)
            return PROC_AGAIN;
    }
    base->reply.status = 200;
    return call->rolls_back ? PROC_ROLLBACK : PROC_COMMIT;
}

static enum verdict procedure_start(struct call *base, struct txn *txn, struct script_vm *vm) {
    (void)vm;
    struct stage_call *call = (struct stage_call *)base;
    call->at = 0;
    call->range = NULL;
    call->attempts++;
    return procedure_go(base, txn);
}

static void procedure_finish(struct call *base, uint64_t version) {
    struct stage_call *call = (struct stage_call *)base;
    call->finished = true;
    call->version = version;
}

static enum status procedure_declare(struct call *base, struct txn *txn) {
    struct stage_call *call = (struct stage_call *)base;
    size_t writes = 0;
    for (unsigned i = 0; i < call->step_count; i++) {
        const struct step *step = &call->steps[i];
        struct slice key = key_slice(the_stage(base), step->key % STAGE_KEYS);
        enum status status = ST_OK;
        if (step->kind == STEP_RANGE) {
            struct range_spec spec = step_spec(the_stage(base), step);
            status = txn_declare_range(txn, &spec);
        } else if (step->kind != STEP_YIELD) {
            bool write = step->kind == STEP_SET || step->kind == STEP_DELETE;
            writes += write;
            status = txn_declare(txn, key,
                write                    ? DECLARE_WRITE
                : step->kind == STEP_GET ? DECLARE_READ
                                         : DECLARE_VERSION);
        }
        assert(status == ST_OK);
    }
    txn_declare_bytes(txn, writes, writes * 16);
    return ST_OK;
}

static const struct procedure finding = {.name = "finding",
    .start = procedure_start,
    .resume = procedure_go,
    .finish = procedure_finish};
static const struct procedure declaring = {.name = "declaring",
    .declare = procedure_declare,
    .start = procedure_start,
    .resume = procedure_go,
    .finish = procedure_finish};

struct stage_call *stage_call_new(struct stage *stage) {
    struct stage_call *call = calloc(1, sizeof *call);
    assert(call && stage->call_count < CALLS_MAX);
    call->call.owner = stage;
    buf_init(&call->call.reply.headers, SIZE_MAX);
    buf_init(&call->call.reply.body, SIZE_MAX);
    return call;
}

void stage_submit(struct stage *stage, struct stage_call *call, unsigned home) {
    call->call.procedure = call->declares ? &declaring : &finding;
    call->call.home = home;
    call->call.msg.from = home;
    call->call.started_ns = stage->now_ns;
    call->call.deadline_ns = stage->now_ns + BUDGET_NS;
    call->lsn_before = stage->wal.last;
    stage->calls[stage->call_count++] = call;
    stage->sender = home;
    enum status status = shard_submit(stage->shard[home], &call->call, stage->now_ns);
    assert(status == ST_OK);
}

/* ---- moving ---- */

static void deliver_one(struct stage *stage) {
    unsigned pairs = stage->shards * stage->shards;
    unsigned pair = (unsigned)stage_random(stage, pairs);
    while (!stage->channels[pair].first)
        pair = (pair + 1) % pairs;
    struct channel *channel = &stage->channels[pair];
    struct msg *msg = channel->first;
    channel->first = msg->next;
    if (!channel->first)
        channel->end = &channel->first;
    stage->queued--;
    stage->sender = pair % stage->shards;
    shard_deliver(stage->shard[stage->sender], msg, stage->now_ns);
}

void stage_move(struct stage *stage) {
    stage->now_ns += stage_random(stage, 20000);
    uint64_t pick = stage_random(stage, 8);
    if (pick == 0 && stage->wal.durable < stage->wal.last) {
        stage->wal.durable += 1 + stage_random(stage, stage->wal.last - stage->wal.durable);
    } else if (pick < 5 && stage->queued) {
        deliver_one(stage);
    } else {
        stage->sender = (unsigned)stage_random(stage, stage->shards);
        (void)shard_turn(stage->shard[stage->sender], stage->now_ns);
    }
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

void stage_close(struct stage *stage) {
    for (unsigned i = 0; i < stage->shards; i++)
        shard_destroy(stage->shard[i]);
    assert(stage->queued == 0 && stage->wal.reserved == 0);
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

/* Versions of all keys as of an LSN, moved forward record by record. */
struct model {
    const struct wal *wal;
    size_t at;
    uint64_t version[STAGE_KEYS];
};

static void model_advance(struct model *model, uint64_t lsn) {
    while (model->at < model->wal->count && model->wal->history[model->at].lsn <= lsn) {
        const struct operation *operation = &model->wal->history[model->at++];
        model->version[operation->key] = operation->deletes ? 0 : operation->lsn;
    }
}

/* What a walk over stored keys would have given, own writes aside. */
static bool range_matches(
    const struct model *model, const struct step *step, const struct seen *seen) {
    unsigned taken = 0;
    unsigned end = step->to < STAGE_KEYS ? step->to : STAGE_KEYS;
    for (unsigned i = step->key; i < end && taken < step->limit; i++) {
        unsigned key = step->reverse ? end - 1 - (i - step->key) : i;
        if (model->version[key] == 0)
            continue;
        if (taken == seen->count || seen->items[taken].key != key ||
            seen->items[taken].version != model->version[key])
            return false;
        taken++;
    }
    return taken == seen->count;
}

static bool call_matches(const struct model *model, const struct stage_call *call) {
    bool wrote = false;
    for (unsigned i = 0; i < call->step_count; i++) {
        const struct step *step = &call->steps[i];
        const struct seen *seen = &call->seen[i];
        if (step->kind == STEP_SET || step->kind == STEP_DELETE)
            wrote = true;
        if ((step->kind == STEP_GET || step->kind == STEP_VERSION) && !seen->own &&
            seen->version != model->version[step->key])
            return false;
        if (step->kind == STEP_RANGE && !wrote && !range_matches(model, step, seen))
            return false;
    }
    return true;
}

static bool writes(const struct stage_call *call) {
    for (unsigned i = 0; i < call->step_count; i++)
        if (call->steps[i].kind == STEP_SET || call->steps[i].kind == STEP_DELETE)
            return !call->rolls_back;
    return false;
}

static void fail(const struct stage_call *call, const char *why) {
    fprintf(stderr, "%s: version %llu, submitted at %llu, released at %llu, %u steps:\n", why,
        (unsigned long long)call->version, (unsigned long long)call->lsn_before,
        (unsigned long long)call->lsn_after, call->step_count);
    for (unsigned i = 0; i < call->step_count; i++)
        fprintf(stderr, "  kind %d key %u to %u limit %u reverse %d: version %llu, %u items\n",
            (int)call->steps[i].kind, call->steps[i].key, call->steps[i].to, call->steps[i].limit,
            call->steps[i].reverse, (unsigned long long)call->seen[i].version, call->seen[i].count);
    abort();
}

static void check_call(struct stage *stage, const struct stage_call *call) {
    struct model model = {.wal = &stage->wal};
    if (writes(call)) {
        if (call->version <= call->lsn_before || call->version > call->lsn_after)
            fail(call, "a commit outside its request's time");
        model_advance(&model, call->version - 1);
        if (!call_matches(&model, call))
            fail(call, "a writer's reads were not current at its LSN");
        return;
    }
    /* What it saw must be true at some LSN within its request, and must have become true at an LSN
     * that was durable when the reply left. */
    uint64_t first = call->durable < call->lsn_before ? call->durable : call->lsn_before;
    uint64_t since = UINT64_MAX;
    for (uint64_t lsn = first; lsn <= call->lsn_after; lsn++) {
        model_advance(&model, lsn);
        if (!call_matches(&model, call))
            since = UINT64_MAX;
        else if (since == UINT64_MAX)
            since = lsn;
        if (lsn >= call->lsn_before && since <= call->durable)
            return;
    }
    fail(call, "a reader saw what was not true, or not durable, between its request and its reply");
}

void stage_check_history(struct stage *stage) {
    for (unsigned i = 0; i < stage->call_count; i++) {
        const struct stage_call *call = stage->calls[i];
        if (call->call.outcome == ST_OK) {
            assert(call->finished);
            check_call(stage, call);
        }
    }
}
