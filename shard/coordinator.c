/* The coordinator's step functions: how a transaction gets from its call to its reply.
 *
 *   READY --> RUNNING --wait--> WAITING --answers--> RUNNING, or READY again if it is slow
 *     ^          | preempted: READY again, by way of CHECKING if the attempt is old
 *     |          |
 *     |          +-- rolled back, or nothing written --> VALIDATING --hold--> ENDED
 *     |          +-- all on one shard ---------------> COMMITTING --yes---> ENDED
 *     |          +-- several shards -----------------> PREPARING --all yes, LSN drawn--> ENDED
 *     |                                                    |
 *     |  (any no: lost)  CLEARING <------------------------+
 *     |                     | ABORTs home
 *     +-- BACKOFF <---------+---------> QUEUED for the ticket, after three losses
 *
 * Commit, cheapest case first (architecture.md, section 4):
 *   1. read-only, on this shard, never waited: nothing to validate;
 *   2. everything on this shard: one step here;       } BRANCH_COMMIT_ALONE
 *   3. everything on one other shard: one message;    }
 *   4. several shards: PREPARE to each; with every yes in hand the LSN is drawn while all marks are
 *      held, one record holds the whole write set, then COMMIT. That the record is one means that
 *      recovery never finds a transaction in doubt.
 *   5. read-only over several shards: one VALIDATE round after all reads, which marks nothing. If
 *      something was deleted since an absent key or a range was read, the round is repeated as
 * PREPARE and ABORT. The same round stands behind errors and rollbacks. A procedure that declared
 * its keys on several shards (put, execute) is prepared before it runs: its reads are answered
 * under the marks, so it cannot lose afterwards.
 *
 * The reply goes home as soon as the LSN is drawn; the transaction itself stays until its messages
 * and the ticket are back, since only their owner frees them. */
#include "shard/coordinator.h"

#include <assert.h>
#include <stdlib.h>

#include "core/clock.h"
#include "core/mutant.h"
#include "shard/access.h"
#include "shard/gate.h"
#include "shard/participant.h"
#include "shard/ready.h"
#include "shard/timers.h"
#include "shard/walk.h"

#define TXN_POOL_MAX 256u
#define REPLY_KEEP_BYTES ((size_t)16384)

static void lose(struct txn *txn);
static void clear(struct txn *txn, bool lost);

static const struct shard_metrics *metrics(const struct txn *txn) {
    return &txn->shard->options.peers->metrics;
}

static void count(const struct txn *txn, stats_id series) {
    stats_add(txn->shard->options.stats, txn->shard->index, series, 1);
}

static bool expired(const struct txn *txn) {
    const struct call *call = txn->call;
    return txn->shard->now_ns >= call->deadline_ns || call_abandoned(call);
}

/* ---- transactions ---- */

static struct txn *txn_allocate(struct shard *shard) {
    struct txn *txn = calloc(1, sizeof *txn);
    if (!txn)
        return NULL;
    unsigned shards = shard->options.shards;
    txn->branches = calloc(shards, sizeof(struct branch *));
    txn->pool = calloc(shards, sizeof *txn->pool);
    txn->touched = calloc(shards, sizeof *txn->touched);
    arena_init(&txn->arena, shard->options.txn_bytes_max);
    if (txn->branches && txn->pool && txn->touched)
        return txn;
    free(txn->branches);
    free(txn->pool);
    free(txn->touched);
    free(txn);
    return NULL;
}

static void txn_free(struct txn *txn) {
    arena_free(&txn->arena);
    free(txn->branches);
    free(txn->pool);
    free(txn->touched);
    free(txn);
}

static struct txn *txn_new(struct shard *shard, struct call *call, bool moved) {
    struct txn *txn = shard->pool;
    if (txn) {
        shard->pool = txn->next;
        shard->pooled--;
    } else if (!(txn = txn_allocate(shard))) {
        return NULL;
    }
    txn->shard = shard;
    txn->call = call;
    txn->next = NULL;
    txn->state = TXN_READY;
    txn->resumed = txn->attempted = txn->prepared = txn->declared = false;
    txn->moved = moved;
    txn->losses = 0;
    txn->ticket_state = TICKET_NONE;
    txn->touched_count = 0;
    txn->order = NULL;
    txn->ranges = NULL;
    access_clear(txn);
    return txn;
}

/* An ended transaction goes when everything of it is home. */
static void free_if_home(struct txn *txn) {
    if (txn->state != TXN_ENDED || txn->out > 0 || txn->ticket_state != TICKET_NONE)
        return;
    struct shard *shard = txn->shard;
    access_clear(txn);
    shard->running--;
    atomic_store_explicit(
        &shard->options.peers->load[shard->index].calls, shard->running, memory_order_relaxed);
    if (shard->pooled >= TXN_POOL_MAX) {
        txn_free(txn);
        return;
    }
    txn->next = shard->pool;
    shard->pool = txn;
    shard->pooled++;
}

void coordinator_free_pool(struct shard *shard) {
    while (shard->pool) {
        struct txn *next = shard->pool->next;
        txn_free(shard->pool);
        shard->pool = next;
    }
    shard->pooled = 0;
}

static void make_ready(struct txn *txn, bool resumed) {
    txn->state = TXN_READY;
    txn->resumed = resumed;
    ready_add(txn);
}

/* ---- branches ---- */

/* Takes an answer into the round's or the reads' result. */
static void fold(struct txn *txn, struct branch *branch) {
    if (branch->answer > txn->answer)
        txn->answer = branch->answer;
    if (branch->depends > txn->depends)
        txn->depends = branch->depends;
    txn->read_bytes += branch->copied;
}

/* Sends a branch to its shard; our own does its step at once. */
static void send_branch(struct txn *txn, struct branch *branch, enum branch_op op) {
    struct shard *shard = txn->shard;
    assert(!branch->out);
    branch->op = op;
    branch->holder = txn->ticket_state == TICKET_HELD;
    branch->waited = false;
    branch->msg.type = MSG_BRANCH;
    if (branch->shard == shard->index && participant_step(shard, branch)) {
        fold(txn, branch);
        return;
    }
    branch->out = true;
    txn->out++;
    if (branch->shard != shard->index)
        shard->options.env.send(shard->options.env.ctx, branch->shard, &branch->msg);
}

enum status coordinator_doom(struct txn *txn, enum doom doom) {
    if (txn->doom == DOOM_NONE)
        txn->doom = doom;
    return ST_DOOMED;
}

enum status coordinator_ask(struct txn *txn, struct branch *branch, enum branch_op op) {
    send_branch(txn, branch, op);
    if (branch->out) {
        txn->yielded = true;
        return ST_PENDING;
    }
    if (branch->answer == ANSWER_NO)
        return coordinator_doom(txn, DOOM_LOST);
    return branch->answer == ANSWER_YES ? ST_OK : ST_NOMEM;
}

/* Sends every touched branch out; round_over follows when all are home, perhaps at once. */
static void round_start(struct txn *txn, enum txn_state state, enum branch_op op) {
    txn->state = state;
    txn->answer = ANSWER_YES;
    txn->depends = 0;
    for (unsigned i = 0; i < txn->touched_count; i++) {
        struct branch *branch = txn->branches[txn->touched[i]];
        branch->alone = txn->touched_count == 1;
        branch->fresh = !txn->yielded && branch->shard == txn->shard->index;
        send_branch(txn, branch, op);
    }
}

/* Takes all marks off; the ABORTs come home later. */
static void abort_marks(struct txn *txn) {
    for (unsigned i = 0; i < txn->touched_count; i++) {
        struct branch *branch = txn->branches[txn->touched[i]];
        if (branch->marked)
            send_branch(txn, branch, BRANCH_ABORT);
    }
    txn->prepared = false;
}

/* ---- the end ---- */

static void return_ticket(struct txn *txn) {
    struct shard *shard = txn->shard;
    txn->ticket_state = TICKET_RETURNING;
    txn->ticket.msg.type = MSG_TICKET_RETURN;
    shard->options.env.send(shard->options.env.ctx, TICKET_SHARD, &txn->ticket.msg);
}

static void cancel_record(struct txn *txn) {
    if (txn->record)
        wal_cancel(txn->shard->options.wal, txn->record);
    txn->record = NULL;
}

/* Sends the call home; the transaction stays until its messages and its ticket are back. */
static void complete(struct txn *txn, uint64_t depends) {
    struct shard *shard = txn->shard;
    struct call *call = txn->call;
    txn->call = NULL;
    txn->state = TXN_ENDED;
    cancel_record(txn);
    timers_remove(&shard->timers, txn);
    call->depends_lsn = depends;
    call->losses = txn->losses;
    if (call->home == shard->index) {
        gate_take(shard, call);
    } else {
        call->msg.type = MSG_DONE;
        shard->options.env.send(shard->options.env.ctx, call->home, &call->msg);
    }
    if (txn->ticket_state == TICKET_HELD)
        return_ticket(txn);
    free_if_home(txn);
}

/* The attempt stands: its reply is what the client gets. */
static void finish(struct txn *txn, uint64_t version, uint64_t depends) {
    struct call *call = txn->call;
    txn->attempted = false;
    ready_ended(txn);
    if (call->procedure->finish)
        call->procedure->finish(call, version);
    complete(txn, depends);
}

/* Forgets the run's reply and whatever the procedure keeps of it. */
static void drop_run(struct txn *txn) {
    struct call *call = txn->call;
    if (txn->attempted && call->procedure->drop)
        call->procedure->drop(call);
    txn->attempted = false;
    call->reply.status = 0;
    call->reply.content_type = NULL;
    buf_reset(&call->reply.headers, REPLY_KEEP_BYTES);
    buf_reset(&call->reply.body, REPLY_KEEP_BYTES);
    call->outcome = ST_OK;
}

static void drop_attempt(struct txn *txn) {
    drop_run(txn);
    cancel_record(txn);
}

static void count_abort(const struct txn *txn, enum status outcome) {
    const struct shard_metrics *m = metrics(txn);
    count(txn, outcome == ST_TIMEOUT    ? m->aborts_timeout
               : outcome == ST_CONFLICT ? m->aborts_retries
               : outcome == ST_BUSY     ? m->aborts_overload
                                        : m->aborts_error);
}

/* Ends the call without a reply of its procedure: nothing was written. */
static void end_with(struct txn *txn, enum status outcome) {
    drop_attempt(txn);
    count_abort(txn, outcome);
    txn->call->outcome = outcome;
    abort_marks(txn);
    complete(txn, 0);
}

/* ---- committing ---- */

static void build_record(struct txn *txn) {
    for (unsigned i = 0; i < txn->touched_count; i++)
        for (struct access *access = txn->branches[txn->touched[i]]->accesses; access;
             access = access->next) {
            if (access->written && access->deletes)
                wal_record_delete(txn->record, access->key);
            else if (access->written)
                wal_record_put(txn->record, access->key, access->write);
        }
    if (txn->first_run)
        wal_record_first_run(txn->record);
}

static void note_first_run(const struct txn *txn, uint64_t lsn) {
    if (txn->first_run)
        atomic_store_explicit(&txn->shard->options.peers->first_run_lsn, lsn, memory_order_release);
}

/* "Local" and "remote" are as seen from the client's connection: a call that has moved to the shard
 * of its keys is remote. */
static void count_commit(const struct txn *txn) {
    const struct shard_metrics *m = metrics(txn);
    bool alone = txn->touched_count <= 1;
    bool here = txn->touched_count == 0 || txn->touched[0] == txn->call->home;
    count(txn, !alone ? m->commits_cross : here ? m->commits_local : m->commits_remote);
}

/* All marks are held, on every shard: this is the transaction's place in the serial order. */
static void commit_marked(struct txn *txn) {
    bool drawn = MUTANT(LSN_BEFORE_MARKS) && !txn->record;
    uint64_t lsn = drawn ? txn->branches[txn->touched[0]]->lsn
                         : wal_publish(txn->shard->options.wal, txn->record);
    txn->record = NULL;
    note_first_run(txn, lsn);
    count_commit(txn);
    for (unsigned i = 0; i < txn->touched_count; i++) {
        struct branch *branch = txn->branches[txn->touched[i]];
        branch->lsn = lsn;
        send_branch(txn, branch, BRANCH_COMMIT);
    }
    finish(txn, lsn, lsn);
}

/* What was read is known to have been true at one instant between request and reply. */
static void finish_reads(struct txn *txn, uint64_t depends) {
    if (!txn->read_only_end)
        count_commit(txn);
    else if (txn->verdict == PROC_ROLLBACK)
        count(txn, metrics(txn)->aborts_rollback);
    else
        count_abort(txn, txn->call->outcome);
    abort_marks(txn);
    finish(txn, depends, MUTANT(READ_REPLY_UNGATED) ? 0 : depends);
}

static enum status refusal(enum branch_answer answer) {
    return answer == ANSWER_MEMORY_FULL ? ST_MEMORY_FULL : ST_NOMEM;
}

static void committed_alone(struct txn *txn) {
    struct branch *branch = txn->branches[txn->touched[0]];
    if (txn->answer == ANSWER_NO) {
        lose(txn);
    } else if (txn->answer > ANSWER_NO) {
        end_with(txn, refusal(txn->answer));
    } else {
        txn->record = NULL;
        note_first_run(txn, branch->lsn);
        count_commit(txn);
        finish(txn, branch->lsn, branch->lsn);
    }
}

static void run(struct txn *txn);

/* Each participant stops at the bound; together they may still be over it. */
static bool reads_too_much(const struct txn *txn) {
    return txn->prepared_for == FOR_RUN && txn->read_bytes > txn->shard->options.txn_bytes_max;
}

static void prepared(struct txn *txn) {
    if (txn->answer == ANSWER_NO) {
        lose(txn);
    } else if (txn->answer > ANSWER_NO) {
        end_with(txn, refusal(txn->answer));
    } else if (txn->answer == ANSWER_TOO_LARGE || reads_too_much(txn)) {
        end_with(txn, ST_TOO_LARGE);
    } else if (txn->prepared_for == FOR_RUN) {
        txn->prepared = true;
        run(txn);
    } else if (txn->prepared_for == FOR_COMMIT) {
        commit_marked(txn);
    } else {
        finish_reads(txn, txn->depends);
    }
}

static void prepare(struct txn *txn, enum prepared_for what) {
    txn->prepared_for = what;
    txn->may_move = false;
    round_start(txn, TXN_PREPARING, BRANCH_PREPARE);
    if (txn->out == 0)
        prepared(txn);
}

static void validated(struct txn *txn) {
    if (txn->answer == ANSWER_YES)
        finish_reads(txn, txn->depends);
    else if (txn->answer == ANSWER_REPEAT)
        prepare(txn, FOR_READS);
    else
        lose(txn);
}

/* Nothing is written: were the reads true at one instant? */
static void commit_reads(struct txn *txn) {
    walk_cover_all(txn);
    if (txn->ticket_state ==
        TICKET_HELD) { /* everything is marked already: prove it under the marks */
        prepare(txn, FOR_READS);
        return;
    }
    round_start(txn, TXN_VALIDATING, BRANCH_VALIDATE);
    if (txn->out == 0)
        validated(txn);
}

static void commit_writes(struct txn *txn) {
    enum status status = wal_reserve(txn->shard->options.wal, txn->shard->index,
        wal_record_bytes(txn->write_count + txn->first_run, txn->write_bytes), &txn->record);
    if (status != ST_OK) {
        end_with(txn, status);
        return;
    }
    build_record(txn);
    walk_cover_all(txn);
    if (txn->touched_count == 1 && txn->ticket_state != TICKET_HELD) {
        txn->branches[txn->touched[0]]->record = txn->record;
        round_start(txn, TXN_COMMITTING, BRANCH_COMMIT_ALONE);
        if (txn->out == 0)
            committed_alone(txn);
    } else {
        if (MUTANT(LSN_BEFORE_MARKS)) {
            txn->branches[txn->touched[0]]->lsn = wal_publish(txn->shard->options.wal, txn->record);
            txn->record = NULL;
        }
        prepare(txn, FOR_COMMIT);
    }
}

/* What the reads of a prepared transaction depend on: those that PREPARE answered, and of each walk
 * what it has consumed, and deletes, by which the rest may have become absent. */
static uint64_t prepared_depends(const struct txn *txn) {
    uint64_t depends = txn->depends;
    for (unsigned i = 0; i < txn->touched_count; i++)
        for (const struct batch *batch = txn->branches[txn->touched[i]]->batches; batch;
             batch = batch->next) {
            if (batch->read && batch->taken_version > depends)
                depends = batch->taken_version;
            if (batch->read && batch->delete_lsn > depends)
                depends = batch->delete_lsn;
        }
    return depends;
}

static void commit(struct txn *txn) {
    bool writes = txn->write_count > 0 || txn->first_run;
    if (txn->prepared && writes) {
        build_record(txn);
        commit_marked(txn);
    } else if (txn->prepared) {
        finish_reads(txn, prepared_depends(txn));
    } else if (writes) {
        commit_writes(txn);
    } else {
        commit_reads(txn);
    }
}

/* PROC_ROLLBACK and PROC_FAIL: the writes are void, the reply is not. An exceeded budget says
 * nothing of the data, so its reads need no proof. */
static void roll_back(struct txn *txn) {
    if (txn->call->outcome == ST_TIMEOUT) {
        end_with(txn, ST_TIMEOUT);
        return;
    }
    txn->read_only_end = true;
    txn->first_run = false;
    access_drop_writes(txn);
    if (txn->prepared)
        finish_reads(txn, prepared_depends(txn));
    else
        commit_reads(txn);
}

/* ---- running the procedure ---- */

static void follow(struct txn *txn) {
    struct shard *shard = txn->shard;
    struct call *call = txn->call;
    unsigned target = txn->target;
    drop_attempt(txn);
    txn->call = NULL;
    txn->state = TXN_ENDED;
    free_if_home(txn);
    call->msg.type = MSG_FOLLOW;
    shard->options.env.send(shard->options.env.ctx, target, &call->msg);
}

static void checked(struct txn *txn) {
    if (txn->answer == ANSWER_NO)
        lose(txn);
    else
        make_ready(txn, true);
}

/* A preempted attempt goes on in a later turn; an old one only if its reads still hold, since a
 * handler that has seen an inconsistent state may loop for ever. */
static void preempted(struct txn *txn) {
    uint64_t budget_ns = txn->call->deadline_ns - txn->call->started_ns;
    txn->yielded = true;
    ready_preempted(txn);
    if (txn->prepared || txn->shard->now_ns - txn->attempt_ns < budget_ns / 10) {
        make_ready(txn, true);
        return;
    }
    walk_cover_all(txn);
    round_start(txn, TXN_CHECKING, BRANCH_VALIDATE);
    if (txn->out == 0)
        checked(txn);
}

/* All reads that the procedure asked for are home. */
static void act_on_verdict(struct txn *txn) {
    if (txn->doom == DOOM_MOVED) {
        follow(txn);
        return;
    }
    if (txn->doom == DOOM_LOST) {
        lose(txn);
        return;
    }
    switch (txn->verdict) {
    case PROC_WAIT:
        if (txn->answer == ANSWER_NOMEM)
            end_with(txn, ST_NOMEM);
        else if (expired(txn))
            end_with(txn, ST_TIMEOUT);
        else if (txn->slow)
            make_ready(txn, true);
        else
            run(txn);
        return;
    case PROC_AGAIN:
        preempted(txn);
        return;
    case PROC_RERUN:
        drop_run(txn);
        access_drop_writes(txn);
        walk_rewind_all(txn);
        txn->reruns = txn->yielded = true;
        make_ready(txn, true);
        return;
    case PROC_COMMIT:
        commit(txn);
        return;
    case PROC_ROLLBACK:
    case PROC_FAIL:
        roll_back(txn);
        return;
    case PROC_REPLACED:
        clear(txn, false);
        return;
    case PROC_UNWOUND:
        break;
    }
    assert(false && "a procedure unwound that was not doomed");
}

/* The machine on this shard in which the call's scripts run. */
static struct script_vm *vm_of(const struct txn *txn) {
    return txn->call->vms ? txn->call->vms[txn->shard->index] : NULL;
}

static void run(struct txn *txn) {
    struct call *call = txn->call;
    struct shard_load *load = &txn->shard->options.peers->load[txn->shard->index];
    bool start = !txn->attempted;
    atomic_store_explicit(&load->running, 1 + call->label, memory_order_release);
    txn->state = TXN_RUNNING;
    txn->answer = ANSWER_YES;
    txn->attempted = true;
    txn->verdict =
        start ? call->procedure->start(call, txn, vm_of(txn)) : call->procedure->resume(call, txn);
    atomic_store_explicit(&load->running, 0, memory_order_relaxed);
    txn->state = TXN_WAITING;
    if (txn->out == 0)
        act_on_verdict(txn);
}

/* A procedure that declared its keys: to the one shard that has them all, or prepared before it
 * runs. True if that is on its way; false if it can run here at once. */
static bool place_declared(struct txn *txn) {
    struct shard *shard = txn->shard;
    if (txn->touched_count == 0)
        return false;
    unsigned owner = txn->touched[0];
    if (txn->touched_count == 1 && owner == shard->index && txn->ticket_state != TICKET_HELD)
        return false;
    if (txn->touched_count == 1 && txn->may_move && !shard_is_busy(&shard->options, owner)) {
        txn->target = owner;
        follow(txn);
        return true;
    }
    if (txn->declared_count) {
        enum status status = wal_reserve(shard->options.wal, shard->index,
            wal_record_bytes(txn->declared_count, txn->declared_bytes), &txn->record);
        if (status != ST_OK) {
            end_with(txn, status);
            return true;
        }
    }
    prepare(txn, FOR_RUN);
    return true;
}

static void begin_attempt(struct txn *txn) {
    struct shard *shard = txn->shard;
    struct call *call = txn->call;
    access_clear(txn);
    txn->doom = DOOM_NONE;
    txn->may_move = !txn->moved && txn->losses == 0 && shard->options.shards > 1;
    txn->reruns = txn->yielded = txn->declared = txn->prepared = txn->read_only_end =
        txn->first_run = false;
    txn->attempt_ns = shard->now_ns;
    txn->depends = 0;
    if (call->procedure->declare) {
        enum status status = call->procedure->declare(call, txn);
        if (status != ST_OK) {
            end_with(txn, status);
            return;
        }
    }
    if (!txn->declared || !place_declared(txn))
        run(txn);
}

void coordinator_run(struct txn *txn) {
    if (expired(txn))
        end_with(txn, txn->losses > 0 && !txn->resumed ? ST_CONFLICT : ST_TIMEOUT);
    else if (txn->resumed)
        run(txn);
    else
        begin_attempt(txn);
}

enum status coordinator_accept(struct shard *shard, struct call *call, bool moved) {
    struct txn *txn = txn_new(shard, call, moved);
    if (!txn)
        return ST_NOMEM;
    shard->running++;
    atomic_store_explicit(
        &shard->options.peers->load[shard->index].calls, shard->running, memory_order_relaxed);
    ready_new_call(txn);
    make_ready(txn, false);
    return ST_OK;
}

/* ---- losing ---- */

/* Jitter keeps those that met once from meeting again: xorshift64* (Marsaglia 2003, Vigna 2016). */
static uint64_t backoff_ns(struct txn *txn) {
    struct shard *shard = txn->shard;
    uint64_t most = BACKOFF_NS_MIN << (txn->losses < 16 ? txn->losses - 1 : 15);
    if (most > BACKOFF_NS_MAX)
        most = BACKOFF_NS_MAX;
    shard->random ^= shard->random >> 12;
    shard->random ^= shard->random << 25;
    shard->random ^= shard->random >> 27;
    return most / 2 + (shard->random * UINT64_C(2685821657736338717) >> 33) % (most / 2 + 1);
}

static void ask_ticket(struct txn *txn) {
    struct shard *shard = txn->shard;
    txn->ticket = (struct ticket){.msg = {.type = MSG_TICKET_WANT, .from = shard->index},
        .txn = txn,
        .deadline_ns = txn->call->deadline_ns};
    txn->ticket_state = TICKET_ASKED;
    shard->options.env.send(shard->options.env.ctx, TICKET_SHARD, &txn->ticket.msg);
}

/* Everything of the lost attempt is home: when does the next one start? */
static void cleared(struct txn *txn) {
    struct shard *shard = txn->shard;
    uint64_t deadline_ns = txn->call->deadline_ns;
    if (!txn->lost || txn->ticket_state == TICKET_HELD) {
        make_ready(txn, false);
    } else if (txn->losses >= RETRY_LOSSES_BEFORE_TICKET) {
        txn->state = TXN_QUEUED;
        ask_ticket(txn);
        timers_add(&shard->timers, txn, deadline_ns);
    } else {
        uint64_t when_ns = shard->now_ns + backoff_ns(txn);
        txn->state = TXN_BACKOFF;
        timers_add(&shard->timers, txn, when_ns < deadline_ns ? when_ns : deadline_ns);
    }
}

/* Takes the attempt back everywhere; cleared follows when that is done. */
static void clear(struct txn *txn, bool lost) {
    drop_attempt(txn);
    abort_marks(txn);
    txn->lost = lost;
    txn->state = TXN_CLEARING;
    if (txn->out == 0)
        cleared(txn);
}

static void lose(struct txn *txn) {
    txn->losses++;
    count(txn, metrics(txn)->retries);
    count(txn, metrics(txn)->conflicts[txn->call->label]);
    clear(txn, true);
}

/* ---- what comes in ---- */

void coordinator_answer(struct branch *branch) {
    struct txn *txn = branch->txn;
    branch->out = false;
    txn->out--;
    fold(txn, branch);
    if (txn->state == TXN_WAITING && branch->answer == ANSWER_NO)
        (void)coordinator_doom(txn, DOOM_LOST);
    if (txn->out > 0)
        return;
    switch (txn->state) {
    case TXN_WAITING:
        act_on_verdict(txn);
        return;
    case TXN_CHECKING:
        checked(txn);
        return;
    case TXN_PREPARING:
        prepared(txn);
        return;
    case TXN_VALIDATING:
        validated(txn);
        return;
    case TXN_COMMITTING:
        committed_alone(txn);
        return;
    case TXN_CLEARING:
        cleared(txn);
        return;
    case TXN_ENDED:
        free_if_home(txn);
        return;
    case TXN_READY:
    case TXN_RUNNING:
    case TXN_BACKOFF:
    case TXN_QUEUED:
        break;
    }
    assert(false && "an answer that nobody waits for");
}

void coordinator_timer(struct txn *txn) {
    if (txn->state == TXN_BACKOFF)
        make_ready(txn, false);
    else /* the ticket did not come in time; it is given back when it does */
        end_with(txn, ST_CONFLICT);
}

void coordinator_ticket(struct ticket *ticket) {
    struct txn *txn = ticket->txn;
    if (ticket->msg.type == MSG_TICKET_RETURNED || !ticket->granted) {
        txn->ticket_state = TICKET_NONE;
        if (txn->state == TXN_QUEUED)
            end_with(txn, ST_CONFLICT);
        else
            free_if_home(txn);
        return;
    }
    txn->ticket_state = TICKET_HELD;
    if (txn->state == TXN_QUEUED) {
        timers_remove(&txn->shard->timers, txn);
        make_ready(txn, false);
    } else {
        return_ticket(txn);
    }
}
