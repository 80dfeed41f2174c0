/* POST /v1/execute: a batch of commands as one transaction, all or nothing.
 *
 * Commands see what those before them wrote. What a range shows of that has no version before the
 * commit, so its place in the reply is remembered and filled in at the end. */
#include "net/kv_input.h"

#include <stdio.h>

/* After so much work the loop has its turn: 10,000 ranges may not hold up other requests. */
#define STEP_ITEMS 16384u
#define STEP_BYTES (2u << 20)

/* ---- before it runs ---- */

static enum status declare_item(
    const struct kv_input *input, const struct kv_item *item, struct txn *txn) {
    struct slice key = kv_slice(input, item->key);
    enum status status;
    switch (item->kind) {
    case KV_SET:
        return txn_declare_value(txn, key, kv_slice(input, item->value));
    case KV_CAS:
        status = txn_declare(txn, key, DECLARE_VERSION);
        return status == ST_OK ? txn_declare_value(txn, key, kv_slice(input, item->value)) : status;
    case KV_DELETE:
        return txn_declare(txn, key, DECLARE_VERSION_WRITE);
    case KV_INCR:
        return txn_declare(txn, key, DECLARE_READ_WRITE);
    default:
        return txn_declare(txn, key, DECLARE_READ);
    }
}

static enum status execute_declare(struct call *call, struct txn *txn) {
    const struct kv_input *input = call->input;
    size_t count = kv_item_count(input);
    for (size_t i = 0; i < count; i++) {
        const struct kv_item *item = kv_item_at(input, i);
        enum status status = ST_OK;
        if (item->kind != KV_RANGE) {
            status = declare_item(input, item, txn);
        } else if (!kv_range_at(input, item->of.range)->empty) {
            struct range_spec spec = kv_range_spec(input, kv_range_at(input, item->of.range));
            status = txn_declare_range(txn, &spec);
        }
        if (status != ST_OK)
            return status;
    }
    txn_declare_bytes(txn, input->write_count, input->write_bytes);
    return ST_OK;
}

/* ---- one command each: PROC_COMMIT means that it is done and its result is in the reply ---- */

/* Runs of a step, across commands. */
struct step {
    struct txn *txn;
    size_t items_left;
    size_t body_end; /* bytes of the reply at which the step ends */
};

static enum verdict answer_value(struct call *call, struct slice value) {
    enum status status = value_to_json(value, &call->reply.body);
    return status == ST_OK ? PROC_COMMIT : kv_unwind(call, status);
}

static enum verdict run_get(struct call *call, struct txn *txn, struct slice key) {
    struct slice value;
    uint64_t version;
    enum status status = txn_get(txn, key, &value, &version);
    if (status == ST_OK)
        return answer_value(call, value);
    if (status != ST_NOT_FOUND)
        return kv_unwind(call, status);
    buf_append_text(&call->reply.body, "null");
    return PROC_COMMIT;
}

static enum verdict run_set(
    struct call *call, struct txn *txn, struct slice key, struct slice value) {
    enum status status = txn_set(txn, key, value);
    return status == ST_OK ? answer_value(call, value) : kv_unwind(call, status);
}

static enum verdict run_delete(struct call *call, struct txn *txn, struct slice key) {
    uint64_t version;
    enum status status = txn_version(txn, key, &version);
    bool there = status == ST_OK;
    if (there)
        status = txn_delete(txn, key);
    if (status != ST_OK && status != ST_NOT_FOUND)
        return kv_unwind(call, status);
    buf_append_text(&call->reply.body, there ? "true" : "false");
    return PROC_COMMIT;
}

/* The 400 of the command that is next. */
static enum verdict refuse(struct call *call, const char *code, const char *why) {
    const struct kv_attempt *attempt = call->attempt;
    char text[96];
    (void)snprintf(text, sizeof text, "commands[%zu]: %s", attempt->index, why);
    return kv_reply_error(call, 400, code, text);
}

static enum verdict run_incr(
    struct call *call, struct txn *txn, struct slice key, struct number by) {
    struct kv_attempt *attempt = call->attempt;
    struct slice value = slice_of(NULL, 0);
    uint64_t version;
    enum status status = txn_get(txn, key, &value, &version);
    if (status == ST_NOT_FOUND)
        value = slice_of(NULL, 0);
    else if (status != ST_OK)
        return kv_unwind(call, status);
    struct number sum;
    buf_reset(&attempt->scratch, SIZE_MAX);
    status = value_add(value, by, &attempt->scratch, &sum);
    if (status == ST_NOT_A_NUMBER)
        return refuse(call, "not_a_number", "the value is not a number");
    if (status == ST_OVERFLOW)
        return refuse(call, "overflow", "the sum is out of range");
    if (status != ST_OK)
        return kv_unwind(call, status);
    return run_set(call, txn, key, buf_slice(&attempt->scratch));
}

static enum verdict run_cas(
    struct call *call, struct txn *txn, struct slice key, const struct kv_item *item) {
    const struct kv_input *input = call->input;
    uint64_t version;
    enum status status = txn_version(txn, key, &version);
    if (status == ST_NOT_FOUND)
        version = 0;
    else if (status != ST_OK)
        return kv_unwind(call, status);
    if (version != item->of.version)
        return kv_reply_conflict(call, key, version);
    return run_set(call, txn, key, kv_slice(input, item->value));
}

static enum verdict too_large(struct call *call) {
    return kv_reply_error(
        call, 413, "too_large", "the results are too large for one reply; ask for less");
}

static enum verdict walk(struct call *call, struct step *step, size_t limit) {
    struct kv_attempt *attempt = call->attempt;
    struct buf *body = &call->reply.body;
    while (attempt->taken < limit) {
        if (step->items_left == 0 || body->len > step->body_end)
            return PROC_AGAIN;
        struct range_item item;
        enum status status = txn_range_next(attempt->range, &item);
        if (status == ST_END)
            break;
        if (status != ST_OK)
            return kv_unwind(call, status);
        step->items_left--;
        if (attempt->taken++ > 0)
            buf_append_byte(body, ',');
        status = kv_write_item(call, &item);
        if (status != ST_OK)
            return kv_unwind(call, status);
        if (body->len > KV_REPLY_BYTES_MAX)
            return too_large(call);
    }
    txn_range_close(attempt->range);
    attempt->range = NULL;
    buf_append_byte(body, ']');
    return PROC_COMMIT;
}

static enum verdict run_range(struct call *call, struct step *step, const struct kv_range *range) {
    const struct kv_input *input = call->input;
    struct kv_attempt *attempt = call->attempt;
    if (range->empty) {
        buf_append_text(&call->reply.body, "[]");
        return PROC_COMMIT;
    }
    if (!attempt->range) {
        struct range_spec spec = kv_range_spec(input, range);
        enum status status = txn_range_open(step->txn, &spec, &attempt->range);
        if (status != ST_OK)
            return kv_unwind(call, status);
        attempt->taken = 0;
        buf_append_byte(&call->reply.body, '[');
    }
    return walk(call, step, range->limit);
}

static enum verdict run_command(struct call *call, struct step *step, const struct kv_item *item) {
    const struct kv_input *input = call->input;
    struct slice key = kv_slice(input, item->key);
    switch (item->kind) {
    case KV_GET:
        return run_get(call, step->txn, key);
    case KV_SET:
        return run_set(call, step->txn, key, kv_slice(input, item->value));
    case KV_DELETE:
        return run_delete(call, step->txn, key);
    case KV_INCR:
        return run_incr(call, step->txn, key, item->of.by);
    case KV_CAS:
        return run_cas(call, step->txn, key, item);
    case KV_RANGE:
        return run_range(call, step, kv_range_at(input, item->of.range));
    case KV_UNKNOWN:
        break; /* never prepared */
    }
    return kv_unwind(call, ST_INVALID);
}

/* ---- the batch ---- */

static enum verdict execute_run(struct call *call, struct txn *txn) {
    const struct kv_input *input = call->input;
    struct kv_attempt *attempt = call->attempt;
    struct buf *body = &call->reply.body;
    struct step step = {.txn = txn, .items_left = STEP_ITEMS, .body_end = body->len + STEP_BYTES};
    size_t count = kv_item_count(input);
    for (; attempt->index < count; attempt->index++) {
        if (step.items_left == 0 || body->len > step.body_end)
            return PROC_AGAIN;
        enum verdict verdict = run_command(call, &step, kv_item_at(input, attempt->index));
        if (verdict != PROC_COMMIT)
            return verdict;
        if (body->len > KV_REPLY_BYTES_MAX)
            return too_large(call);
        if (attempt->index + 1 < count)
            buf_append_byte(body, ',');
        if (step.items_left > 0)
            step.items_left--;
    }
    buf_append_text(body, "],\"version\":");
    kv_reserve_holes(call, sizeof "18446744073709551615}");
    return kv_reply_done(call);
}

static enum verdict execute_start(struct call *call, struct txn *txn, struct script_vm *vm) {
    (void)vm;
    kv_begin(call);
    buf_append_text(&call->reply.body, "{\"results\":[");
    return execute_run(call, txn);
}

static void execute_finish(struct call *call, uint64_t version) {
    if (call->outcome != ST_OK || call->reply.status != 200)
        return;
    kv_fill_holes(call, version);
    buf_append_u64(&call->reply.body, version);
    buf_append_byte(&call->reply.body, '}');
}

static const struct procedure execute_procedure = {
    .name = "/v1/execute",
    .declare = execute_declare,
    .start = execute_start,
    .resume = execute_run,
    .finish = execute_finish,
    .release = kv_release,
};

enum status kv_prepare_execute(struct kv *kv, struct call *call, struct kv_error *error) {
    struct kv_input *input = kv_input_take(kv);
    if (!input)
        return ST_NOMEM;
    enum status status = kv_parse_commands(input, call->request.body, error);
    if (status == ST_OK)
        status = kv_refuse_twice(input, false, call->seed, error);
    return kv_input_hand(input, status, call, &execute_procedure);
}
