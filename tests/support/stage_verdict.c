#include "tests/support/stage_verdict.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/hash.h"
#include "tests/support/stage_inside.h"
#include "tests/support/stage_script.h"

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
            keys[step->key] = (struct stage_value){.there = true, .tag = stage_tag(call, i)};
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
            (!operation->deletes && operation->tag != stage_tag(call, step)))
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
        if (!wal_on_disk(&stage->wal, call->version))
            return "a commit released that is not on the disk";
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
                        : (struct stage_value){true, call->version, stage_tag(call, step)};
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
        struct slice key = stage_key(stage, i);
        uint64_t hash = hash_key(key, STAGE_HASH_SEED);
        const struct treap_node *node =
            treap_find(stage->shard[stage_owner(stage, i)]->treap, key, hash);
        if ((node != NULL) != model.keys[i].there)
            return "a shard and the log differ in whether a key is there";
        if (node && (treap_version(node) != model.keys[i].version ||
                        stage_value_tag(treap_value(node)) != model.keys[i].tag))
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
