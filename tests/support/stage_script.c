#include "tests/support/stage_script.h"

#include <assert.h>

#include "tests/support/stage_inside.h"

static struct stage *the_stage(const struct call *call) {
    return call->owner;
}

static struct range_spec step_spec(struct stage *stage, const struct step *step) {
    return (struct range_spec){.from = stage_key(stage, step->key),
        .to = step->to < STAGE_KEYS ? stage_key(stage, step->to) : slice_of(NULL, 0),
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
        seen->items[seen->count].key = stage_key_number(item.key);
        seen->items[seen->count++].value = (struct stage_value){
            .there = true, .version = item.version, .tag = stage_value_tag(item.value)};
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

uint64_t stage_tag(const struct stage_call *call, unsigned step) {
    return (uint64_t)call->number * STAGE_STEPS_MAX + step;
}

static enum status run_step(
    struct stage_call *call, struct txn *txn, const struct step *step, struct seen *seen) {
    char bytes[VALUE_BYTES_MAX];
    struct slice key = stage_key(the_stage(&call->call), step->key % STAGE_KEYS);
    struct slice got = {0};
    enum status status;
    switch (step->kind) {
    case STEP_GET:
    case STEP_VERSION:
        seen->value = (struct stage_value){.there = false};
        status = step->kind == STEP_GET ? txn_get(txn, key, &got, &seen->value.version)
                                        : txn_version(txn, key, &seen->value.version);
        seen->value.there = status == ST_OK;
        if (status == ST_OK && step->kind == STEP_GET)
            seen->value.tag = stage_value_tag(got);
        return status == ST_NOT_FOUND ? ST_OK : status;
    case STEP_SET:
        return txn_set(txn, key, stage_value(stage_tag(call, call->at), bytes));
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
    struct slice key = stage_key(the_stage(&call->call), step->key % STAGE_KEYS);
    switch (step->kind) {
    case STEP_GET:
        return txn_declare(txn, key, DECLARE_READ);
    case STEP_VERSION:
        return txn_declare(txn, key, DECLARE_VERSION);
    case STEP_SET:
        if (call->hints == HINTS_NONE)
            return txn_declare(txn, key, DECLARE_WRITE);
        return txn_declare_value(
            txn, key, stage_value(stage_tag(call, index) + (call->hints == HINTS_WRONG), bytes));
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

const struct procedure stage_finding = {.name = "finding",
    .start = procedure_start,
    .resume = procedure_go,
    .drop = procedure_drop,
    .finish = procedure_finish};
const struct procedure stage_declaring = {.name = "declaring",
    .declare = procedure_declare,
    .start = procedure_start,
    .resume = procedure_go,
    .drop = procedure_drop,
    .finish = procedure_finish};
