#include "tests/model/fingerprint.h"

#include <assert.h>
#include <xxhash.h>

#define STATE_BYTES_MAX 65536u

/* A state is written out and then hashed. */
struct sink {
    const struct world *world;
    size_t len;
    uint64_t numbers[STATE_BYTES_MAX / sizeof(uint64_t)];
};

static void put(struct sink *sink, uint64_t number) {
    assert(sink->len < sizeof sink->numbers / sizeof sink->numbers[0]);
    sink->numbers[sink->len++] = number;
}

static void put_flags(struct sink *sink, const bool *flags, size_t count) {
    uint64_t bits = 1;
    for (size_t i = 0; i < count; i++)
        bits = 2 * bits + flags[i];
    put(sink, bits);
}
#define PUT_FLAGS(sink, ...)                                                                       \
    put_flags(sink, (bool[]){__VA_ARGS__}, sizeof((bool[]){__VA_ARGS__}) / sizeof(bool))

static void put_bytes(struct sink *sink, struct slice bytes) {
    put(sink, bytes.data ? XXH3_64bits(bytes.data, bytes.len) : 0);
}

static void put_interval(struct sink *sink, const struct interval *interval) {
    put_bytes(sink, interval->from);
    put_bytes(sink, interval->bounded ? interval->to : slice_of(NULL, 0));
}

static uint64_t branch_id(const struct sink *sink, const struct branch *branch) {
    return branch ? 1 + world_call_of(sink->world, branch->txn) * MODEL_SHARDS + branch->shard : 0;
}

/* ---- shards ---- */

static void put_mark_tree(struct sink *sink, const struct mark *node) {
    if (!node)
        return;
    put_mark_tree(sink, node->left);
    for (const struct mark *mark = node; mark; mark = mark->same) {
        put_bytes(sink, mark->key);
        put(sink, branch_id(sink, mark->owner));
        PUT_FLAGS(sink, mark->read, mark->write);
    }
    put_mark_tree(sink, node->right);
}

static void put_marks(struct sink *sink, const struct marks *marks) {
    put(sink, marks->count);
    put_mark_tree(sink, marks->root);
    for (const struct range_mark *mark = marks->ranges; mark; mark = mark->next) {
        put(sink, branch_id(sink, mark->owner));
        put_interval(sink, &mark->interval);
    }
}

static struct slice key_name(unsigned key, char text[4]) {
    text[0] = 'k';
    text[1] = (char)('0' + key / 10);
    text[2] = (char)('0' + key % 10);
    return slice_of(text, 3);
}

/* Every interval's count and highest version: with the keys, all that the nodes hold. Values follow
 * from versions by way of the log. */
static void put_treap(struct sink *sink, const struct treap *treap) {
    unsigned keys = sink->world->scenario->crowd ? KEY_COUNT : KEY_CROWD;
    put(sink, treap_delete_lsn(treap));
    put(sink, treap_applied_lsn(treap));
    put(sink, treap_range_lsn(treap));
    for (unsigned i = 0; i < keys; i++)
        for (unsigned j = i; j < keys; j++) {
            char from[4], to[4];
            uint64_t count, version_max;
            treap_fingerprint(treap, key_name(sink->world->keys[i], from),
                key_name(sink->world->keys[j] + 1, to), true, &count, &version_max);
            put(sink, count);
            put(sink, version_max);
        }
}

static void put_queues(struct sink *sink, const struct shard *shard) {
    for (const struct txn *txn = shard->ready.quick.first; txn; txn = txn->next)
        put(sink, 100 + world_call_of(sink->world, txn));
    for (const struct txn *txn = shard->ready.slow.first; txn; txn = txn->next)
        put(sink, 150 + world_call_of(sink->world, txn));
    put(sink, shard->ready.slowness[0]); /* all calls have the same label */
    for (const struct branch *branch = shard->answers; branch; branch = branch->next_waiter)
        put(sink, 200 + branch_id(sink, branch));
    for (size_t i = 0; i < shard->gate.count; i++)
        put(sink, 300 + ((const struct stage_call *)shard->gate.calls[i])->number);
    const struct ticket_office *office = &shard->office;
    put(sink, office->holder ? 400 + world_call_of(sink->world, office->holder->txn) : 0);
    for (const struct ticket *ticket = office->first; ticket; ticket = ticket->next)
        put(sink, 500 + world_call_of(sink->world, ticket->txn));
}

/* ---- transactions ---- */

static void put_access(struct sink *sink, const struct access *access) {
    put_bytes(sink, access->key);
    PUT_FLAGS(sink, access->wanted, access->value_wanted, access->read, access->value_known,
        access->written, access->deletes, access->declared_write, access->mark.read,
        access->mark.write, access->is_staged, (access->is_staged && access->staged.fresh));
    put_bytes(sink, access->written ? access->write : slice_of(NULL, 0));
    put_bytes(sink, access->hint);
    put(sink, access->read ? access->version : 0);
    put(sink, access->read ? access->delete_lsn : 0);
    put_bytes(sink, access->read ? access->value : slice_of(NULL, 0));
}

static void put_batch(struct sink *sink, const struct batch *batch) {
    put_interval(sink, &batch->asked);
    PUT_FLAGS(
        sink, batch->wanted, batch->read, batch->reverse, batch->exhausted, batch->mark.placed);
    put(sink, batch->items_max);
    if (!batch->read)
        return;
    put(sink, batch->taken);
    put(sink, batch->taken_version);
    put(sink, batch->at);
    put(sink, batch->count);
    put(sink, batch->delete_lsn);
    put_bytes(sink, slice_of(batch->data.data, batch->data.len));
    if (batch->covered.from.data) /* set before validation, stale or not */
        put_interval(sink, &batch->covered);
}

static void put_branch(struct sink *sink, const struct branch *branch) {
    put(sink, branch_id(sink, branch));
    PUT_FLAGS(sink, branch->out, branch->holder, branch->alone, branch->fresh, branch->marked,
        branch->waited);
    put(sink, (uint64_t)branch->op * 100 + branch->answer * 10);
    put(sink, branch->lsn);
    put(sink, branch->depends);
    for (const struct branch *waiter = branch->waiters; waiter; waiter = waiter->next_waiter)
        put(sink, 1000 + branch_id(sink, waiter));
    for (const struct access *access = branch->accesses; access; access = access->next)
        put_access(sink, access);
    for (const struct batch *batch = branch->batches; batch; batch = batch->next)
        put_batch(sink, batch);
}

static void put_ranges(struct sink *sink, const struct txn *txn) {
    for (const struct txn_range *range = txn->ranges; range; range = range->next) {
        PUT_FLAGS(sink, range->open, range->started, range->ended, range->forgetful);
        put(sink, range->consumed);
        put_bytes(
            sink, range->started ? slice_of(range->last.data, range->last.len) : slice_of(NULL, 0));
    }
}

static void put_txn(struct sink *sink, const struct txn *txn, unsigned call) {
    put(sink, 10000 + call * MODEL_SHARDS + txn->shard->index);
    put(sink, (uint64_t)txn->state * 1000 + txn->doom * 100 + txn->out);
    PUT_FLAGS(sink, txn->may_move, txn->moved, txn->yielded, txn->resumed, txn->reruns, txn->lost,
        txn->attempted, txn->declared, txn->prepared, txn->read_only_end, (txn->call == NULL),
        (txn->record != NULL), txn->slow, txn->preempted);
    put(sink, txn->slow ? txn->slices_left : 0);
    put(sink, (uint64_t)txn->ticket_state * 10 + txn->losses * 100);
    if (txn->state != TXN_ENDED && txn->state != TXN_BACKOFF && txn->state != TXN_QUEUED) {
        put(sink, (uint64_t)txn->answer * 1000 + txn->prepared_for * 100 + txn->verdict);
        put(sink, txn->depends);
        put(sink, txn->target);
    }
    put_ranges(sink, txn);
    for (unsigned i = 0; i < txn->touched_count; i++)
        put_branch(sink, txn->branches[txn->touched[i]]);
}

/* ---- calls, messages, the log ---- */

static void put_seen(struct sink *sink, const struct stage_call *call, unsigned steps) {
    for (unsigned i = 0; i < steps; i++) {
        const struct seen *seen = &call->seen[i];
        PUT_FLAGS(sink, seen->value.there, seen->ran_out);
        put(sink, seen->value.version);
        put(sink, seen->value.tag);
        put(sink, seen->count);
        for (unsigned item = 0; item < seen->count; item++) {
            put(sink, seen->items[item].key);
            put(sink, seen->items[item].value.version);
            put(sink, seen->items[item].value.tag);
        }
    }
}

static void put_call(struct sink *sink, const struct stage_call *call, bool started, bool judged) {
    put(sink, 20000 + call->number);
    if (judged && !sink->world->scenario->replies_order) { /* what it saw cannot matter any more */
        put(sink, (uint64_t)call->call.outcome);
        return;
    }
    PUT_FLAGS(sink, started, call->running, call->committed_seen, call->released, call->finished,
        (call->range != NULL));
    put(sink, (uint64_t)call->call.outcome);
    put(sink, call->version);
    put(sink, call->call.depends_lsn);
    put(sink, call->lsn_before);
    put(sink, call->lsn_after);
    put(sink, call->durable);
    if (call->running)
        put(sink, call->at);
    if (call->running || call->finished)
        put_seen(sink, call,
            call->running && call->at < call->step_count ? call->at + 1 : call->step_count);
}

static void put_mail(struct sink *sink) {
    for (unsigned from = 0; from < MODEL_SHARDS; from++)
        for (unsigned to = 0; to < MODEL_SHARDS; to++) {
            put(sink, 30000 + from * MODEL_SHARDS + to);
            for (const struct msg *msg = stage_mail(sink->world->stage, from, to); msg;
                 msg = msg->next) {
                put(sink, msg->type);
                if (msg->type == MSG_FOLLOW || msg->type == MSG_DONE)
                    put(sink, ((const struct stage_call *)msg)->number);
                else if (msg->type == MSG_BRANCH || msg->type == MSG_BRANCH_ANSWER)
                    put(sink, branch_id(sink, (const struct branch *)msg));
                else
                    put(sink, world_call_of(sink->world, ((const struct ticket *)msg)->txn) * 2 +
                                  ((const struct ticket *)msg)->granted);
            }
        }
}

static void put_log(struct sink *sink) {
    size_t count;
    const struct stage_write *log = stage_log(sink->world->stage, &count);
    put(sink, stage_last_lsn(sink->world->stage));
    put(sink, stage_durable_lsn(sink->world->stage));
    for (uint64_t lsn = 1; lsn <= stage_last_lsn(sink->world->stage); lsn++)
        PUT_FLAGS(sink, stage_on_disk(sink->world->stage, lsn));
    for (size_t i = 0; i < count; i++) {
        put(sink, log[i].lsn);
        PUT_FLAGS(sink, log[i].deletes);
        put(sink, log[i].key);
        put(sink, log[i].tag);
    }
}

uint64_t world_fingerprint(const struct world *world) {
    struct sink sink;
    sink.world = world;
    sink.len = 0;
    put_log(&sink);
    put_mail(&sink);
    for (unsigned i = 0; i < MODEL_SHARDS; i++) {
        const struct shard *shard = stage_shard(world->stage, i);
        put(&sink, 40000 + i);
        put_treap(&sink, shard->treap);
        put_marks(&sink, &shard->marks);
        put_queues(&sink, shard);
    }
    for (unsigned call = 0; call < world->scenario->count; call++) {
        put_call(&sink, world->calls[call], world->started[call], world->judged[call]);
        for (unsigned i = 0; i < world->known_count; i++)
            if (world->known[i].call == call && world_call_of(world, world->known[i].txn) == call)
                put_txn(&sink, world->known[i].txn, call);
    }
    return XXH3_64bits(sink.numbers, sink.len * sizeof sink.numbers[0]);
}

uint64_t call_fingerprint(const struct world *world, unsigned call) {
    struct sink sink;
    sink.world = world;
    sink.len = 0;
    put_log(&sink);
    put_call(&sink, world->calls[call], true, false);
    return XXH3_64bits(sink.numbers, sink.len * sizeof sink.numbers[0]);
}
