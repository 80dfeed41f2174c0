/* A shard: takes messages and calls in and hands each to the file that knows what to do with it. */
#include "shard/shard.h"

#include <assert.h>
#include <stdlib.h>

#include "core/clock.h"
#include "core/hash.h"
#include "core/mutant.h"
#include "shard/coordinator.h"
#include "shard/gate.h"
#include "shard/participant.h"
#include "shard/ready.h"
#include "shard/ticket.h"
#include "shard/timers.h"

/* Steps of one kind in one turn, so that a loop gets back to its sockets. */
#define STEPS_PER_TURN_MAX 256u

/* ---- what shards share ---- */

static stats_id counter(
    struct stats *stats, const char *family, const char *label, const char *value) {
    struct buf labels;
    buf_init(&labels, 4096);
    if (label) {
        buf_printf(&labels, "%s=\"", label);
        stats_escape(&labels, slice_of(value, strlen(value)));
        buf_append_text(&labels, "\"");
    }
    buf_append_byte(&labels, '\0');
    stats_id id = stats_series(stats, family, labels.failed ? "" : labels.data);
    buf_free(&labels);
    return id;
}

static void register_families(struct stats *stats) {
    stats_family(stats, "txn_commits_total", STATS_COUNTER,
        "Transactions committed, by where their keys were.", NULL, 0, 1);
    stats_family(stats, "txn_conflicts_total", STATS_COUNTER,
        "Attempts lost to a concurrent transaction and run again.", NULL, 0, 1);
    stats_family(
        stats, "txn_retries_total", STATS_COUNTER, "Attempts beyond the first.", NULL, 0, 1);
    stats_family(stats, "txn_aborts_total", STATS_COUNTER,
        "Transactions that wrote nothing, by why.", NULL, 0, 1);
    stats_family(stats, "shard_messages_total", STATS_COUNTER,
        "Messages that a shard has taken from its mailbox.", NULL, 0, 1);
}

void shard_peers_add_label(
    struct shard_peers *peers, struct stats *stats, unsigned label, const char *name) {
    assert(label < CALL_LABELS_MAX);
    struct buf labels;
    buf_init(&labels, 4096);
    buf_append_text(&labels, "route=\"");
    stats_escape(&labels, slice_of(name, strlen(name)));
    buf_append(&labels, "\"", 2); /* with the text's end */
    if (buf_ok(&labels))          /* else its conflicts are counted nowhere */
        peers->metrics.conflicts[label] =
            stats_new_series(stats, "txn_conflicts_total", labels.data);
    buf_free(&labels);
}

struct shard_peers *shard_peers_create(
    unsigned shards, struct stats *stats, const char *const *label_names, unsigned label_count) {
    size_t bytes = sizeof(struct shard_peers) + shards * sizeof(struct shard_load);
    bytes = (bytes + 63) / 64 * 64;
    struct shard_peers *peers = aligned_alloc(64, bytes);
    if (!peers)
        return NULL;
    memset(peers, 0, bytes);
    peers->shards = shards;
    struct shard_metrics *m = &peers->metrics;
    assert(label_count <= CALL_LABELS_MAX);
    m->conflicts = calloc(CALL_LABELS_MAX, sizeof *m->conflicts);
    m->messages = calloc(shards, sizeof *m->messages);
    if (!m->conflicts || !m->messages) {
        shard_peers_destroy(peers);
        return NULL;
    }
    register_families(stats);
    m->commits_local = counter(stats, "txn_commits_total", "scope", "local");
    m->commits_remote = counter(stats, "txn_commits_total", "scope", "remote");
    m->commits_cross = counter(stats, "txn_commits_total", "scope", "cross");
    m->retries = counter(stats, "txn_retries_total", NULL, NULL);
    m->aborts_rollback = counter(stats, "txn_aborts_total", "reason", "rollback");
    m->aborts_error = counter(stats, "txn_aborts_total", "reason", "error");
    m->aborts_timeout = counter(stats, "txn_aborts_total", "reason", "timeout");
    m->aborts_overload = counter(stats, "txn_aborts_total", "reason", "overload");
    m->aborts_retries = counter(stats, "txn_aborts_total", "reason", "retries");
    for (unsigned i = 0; i < label_count; i++)
        shard_peers_add_label(peers, stats, i, label_names[i]);
    for (unsigned i = 0; i < shards; i++) {
        char number[12];
        struct buf text = {.data = number, .cap = sizeof number, .max = sizeof number};
        buf_append_u64(&text, i);
        number[text.len] = '\0';
        m->messages[i] = counter(stats, "shard_messages_total", "shard", number);
    }
    return peers;
}

void shard_peers_destroy(struct shard_peers *peers) {
    if (!peers)
        return;
    free(peers->metrics.conflicts);
    free(peers->metrics.messages);
    free(peers);
}

bool shard_peers_running(const struct shard_peers *peers, unsigned shard, unsigned *label) {
    unsigned running = atomic_load_explicit(&peers->load[shard].running, memory_order_acquire);
    *label = running - 1;
    return running != 0;
}

uint64_t shard_peers_keys(const struct shard_peers *peers, unsigned shard) {
    return atomic_load_explicit(&peers->load[shard].keys, memory_order_relaxed);
}

uint64_t shard_peers_bytes(const struct shard_peers *peers, unsigned shard) {
    return atomic_load_explicit(&peers->load[shard].bytes, memory_order_relaxed);
}

uint64_t shard_peers_first_run(const struct shard_peers *peers) {
    return atomic_load_explicit(&peers->first_run_lsn, memory_order_acquire);
}

/* ---- life ---- */

enum status shard_create(const struct shard_options *options, struct shard **out) {
    assert(options->shards >= 1 && options->shards <= SHARDS_MAX);
    struct shard *shard = calloc(1, sizeof *shard);
    if (!shard)
        return ST_NOMEM;
    shard->options = *options;
    if (shard->options.txn_bytes_max == 0)
        shard->options.txn_bytes_max = TXN_BYTES_MAX;
    shard->index = options->index;
    shard->random = options->random_seed | 1;
    ready_init(&shard->ready);
    shard->answers_end = &shard->answers;
    ticket_office_init(&shard->office);
    enum status status = treap_create(options->random_seed, &shard->treap);
    if (status != ST_OK) {
        free(shard);
        return status;
    }
    *out = shard;
    return ST_OK;
}

void shard_destroy(struct shard *shard) {
    if (!shard)
        return;
    assert(shard->running == 0 && shard->submitted == 0);
    coordinator_free_pool(shard);
    timers_free(&shard->timers);
    gate_free(&shard->gate);
    treap_builder_finish(shard->loading);
    treap_destroy(shard->treap);
    free(shard);
}

/* ---- recovery ---- */

/* What the shard holds, for whoever looks at it from outside. */
static void publish_load(struct shard *shard) {
    struct shard_load *load = &shard->options.peers->load[shard->index];
    atomic_store_explicit(&load->keys, treap_count(shard->treap), memory_order_relaxed);
    atomic_store_explicit(&load->bytes, treap_bytes(shard->treap), memory_order_relaxed);
}

enum status shard_load_begin(struct shard *shard, size_t keys) {
    assert(!shard->loading);
    return treap_builder_begin(shard->treap, keys, &shard->loading);
}

enum status shard_load_add(
    struct shard *shard, struct slice key, uint64_t hash, struct slice value, uint64_t version) {
    return treap_builder_add(shard->loading, key, hash, value, version);
}

void shard_load_end(struct shard *shard) {
    treap_builder_finish(shard->loading);
    shard->loading = NULL;
    publish_load(shard);
}

enum status shard_replay(struct shard *shard, uint64_t lsn, enum wal_op op, struct slice key,
    uint64_t hash, struct slice value) {
    const struct treap_node *node = treap_find(shard->treap, key, hash);
    if (node && treap_version(node) >= lsn && !MUTANT(REPLAY_WITHOUT_LSN))
        return ST_OK;
    if (op == WAL_DELETE) {
        (void)treap_delete(shard->treap, key, hash, lsn);
    } else {
        struct treap_staged staged;
        enum status status = treap_stage_put(shard->treap, key, hash, value, &staged);
        if (status != ST_OK)
            return status;
        treap_install_put(shard->treap, &staged, put_version(shard, key, hash, lsn));
    }
    publish_load(shard);
    return ST_OK;
}

void shard_set_wal(struct shard *shard, struct wal *wal) {
    shard->options.wal = wal;
}

/* ---- serving ---- */

enum status shard_freeze(struct shard *shard, struct treap_frozen **frozen) {
    return treap_freeze(shard->treap, frozen);
}

bool shard_thaw(struct shard *shard, size_t max) {
    return treap_thaw(shard->treap, max);
}

/* ---- what comes in ---- */

/* Room for one more call in everything that must not fail later. */
static enum status reserve(struct shard *shard) {
    enum status status = timers_reserve(&shard->timers, shard->running + 1);
    return status == ST_OK ? gate_reserve(&shard->gate, shard->submitted + 1) : status;
}

enum status shard_submit(struct shard *shard, struct call *call, uint64_t now_ns) {
    shard->now_ns = now_ns;
    if (shard->submitted >= shard->options.calls_max)
        return ST_BUSY;
    enum status status = reserve(shard);
    if (status == ST_OK)
        status = coordinator_accept(shard, call, false);
    if (status == ST_OK)
        shard->submitted++;
    return status;
}

/* A call that follows its first key. If there is no memory for it here it goes back and says so. */
static void arrive(struct shard *shard, struct call *call) {
    enum status status = timers_reserve(&shard->timers, shard->running + 1);
    if (status == ST_OK)
        status = coordinator_accept(shard, call, true);
    if (status == ST_OK)
        return;
    call->outcome = status;
    call->depends_lsn = 0;
    call->msg.type = MSG_DONE;
    shard->options.env.send(shard->options.env.ctx, call->home, &call->msg);
}

void shard_deliver(struct shard *shard, struct msg *msg, uint64_t now_ns) {
    shard->now_ns = now_ns;
    stats_add(shard->options.stats, shard->index,
        shard->options.peers->metrics.messages[shard->index], 1);
    switch ((enum message)msg->type) {
    case MSG_FOLLOW:
        arrive(shard, (struct call *)msg);
        return;
    case MSG_DONE:
        gate_take(shard, (struct call *)msg);
        return;
    case MSG_BRANCH:
        if (participant_step(shard, (struct branch *)msg))
            participant_answer(shard, (struct branch *)msg);
        return;
    case MSG_BRANCH_ANSWER:
        coordinator_answer((struct branch *)msg);
        return;
    case MSG_TICKET_WANT:
        ticket_want(shard, (struct ticket *)msg);
        return;
    case MSG_TICKET_RETURN:
        ticket_return(shard, (struct ticket *)msg);
        return;
    case MSG_TICKET_ANSWER:
    case MSG_TICKET_RETURNED:
        coordinator_ticket((struct ticket *)msg);
        return;
    }
    assert(false && "a message of no known type");
}

/* ---- turns ---- */

/* Answers of this shard to itself that had to wait. */
static void take_answers(struct shard *shard) {
    for (unsigned steps = 0; shard->answers && steps < STEPS_PER_TURN_MAX; steps++) {
        struct branch *branch = shard->answers;
        shard->answers = branch->next_waiter;
        if (!shard->answers)
            shard->answers_end = &shard->answers;
        coordinator_answer(branch);
    }
}

static void fire_timers(struct shard *shard) {
    struct txn *txn;
    for (unsigned steps = 0; steps < STEPS_PER_TURN_MAX; steps++) {
        if (!(txn = timers_due(&shard->timers, shard->now_ns)))
            return;
        coordinator_timer(txn);
    }
}

/* Only those that were ready when it began: who is ready again waits for the next turn. */
static void run_quick(struct shard *shard) {
    struct txn **last = shard->ready.quick.end;
    uint64_t turn_ns_max = shard->options.turn_ns_max;
    uint64_t started_ns = turn_ns_max ? clock_monotonic_ns() : 0;
    struct txn *txn;
    for (unsigned steps = 0; steps < STEPS_PER_TURN_MAX; steps++) {
        if (!(txn = ready_take_quick(&shard->ready)))
            return;
        bool was_last = &txn->next == last;
        coordinator_run(txn);
        if (was_last || (turn_ns_max && clock_monotonic_ns() - started_ns >= turn_ns_max))
            return;
    }
}

bool shard_turn(struct shard *shard, uint64_t now_ns) {
    shard->now_ns = now_ns;
    take_answers(shard);
    fire_timers(shard);
    run_quick(shard);
    wal_kick(shard->options.wal); /* before the gate: what it waits for is under way */
    gate_turn(shard);
    return shard->answers || shard->ready.quick.first;
}

bool shard_has_slow(const struct shard *shard) {
    return shard->ready.slow.first != NULL;
}

bool shard_turn_slow(struct shard *shard, uint64_t now_ns) {
    if (!shard_has_slow(shard))
        return false;
    shard->now_ns = now_ns;
    uint64_t share_ns = shard->options.turn_ns_max / 2;
    uint64_t started_ns = share_ns ? clock_monotonic_ns() : 0;
    struct txn *txn;
    for (unsigned steps = 0; steps < STEPS_PER_TURN_MAX; steps++) {
        if (!(txn = ready_take_slow(&shard->ready)))
            break;
        coordinator_run(txn);
        if (!share_ns || clock_monotonic_ns() - started_ns >= share_ns)
            break;
    }
    wal_kick(shard->options.wal);
    return true;
}

uint64_t shard_next_ns(const struct shard *shard) {
    return timers_next_ns(&shard->timers);
}

unsigned shard_in_flight(const struct shard *shard) {
    return shard->submitted + shard->running;
}
