/* POST /v1/put: all the given keys at one new version, each only if it has the version given. */
#include "net/kv_input.h"

static enum status put_declare(struct call *call, struct txn *txn) {
    const struct kv_input *input = call->input;
    size_t count = kv_item_count(input);
    for (size_t i = 0; i < count; i++) {
        const struct kv_item *item = kv_item_at(input, i);
        struct slice key = kv_slice(input, item->key);
        enum status status = txn_declare(txn, key, DECLARE_VERSION);
        if (status == ST_OK)
            status = txn_declare_value(txn, key, kv_slice(input, item->value));
        if (status != ST_OK)
            return status;
    }
    txn_declare_bytes(txn, input->write_count, input->write_bytes);
    return ST_OK;
}

static enum verdict put_run(struct call *call, struct txn *txn) {
    const struct kv_input *input = call->input;
    struct kv_attempt *attempt = call->attempt;
    size_t count = kv_item_count(input);
    for (; attempt->index < count; attempt->index++) {
        const struct kv_item *item = kv_item_at(input, attempt->index);
        struct slice key = kv_slice(input, item->key);
        uint64_t version;
        enum status status = txn_version(txn, key, &version);
        if (status == ST_NOT_FOUND)
            version = 0;
        else if (status != ST_OK)
            return kv_unwind(call, status);
        if (version != item->of.version)
            return kv_reply_conflict(call, key, version);
        status = txn_set(txn, key, kv_slice(input, item->value));
        if (status != ST_OK)
            return kv_unwind(call, status);
    }
    buf_append_text(&call->reply.body, "{\"result\":\"Success\",\"version\":");
    /* The version is known only after the commit, and then nothing may fail. */
    kv_reserve_holes(call, sizeof "18446744073709551615}");
    return kv_reply_done(call);
}

static enum verdict put_start(struct call *call, struct txn *txn, struct script_vm *vm) {
    (void)vm;
    kv_begin(call);
    return put_run(call, txn);
}

static void put_finish(struct call *call, uint64_t version) {
    if (call->outcome != ST_OK || call->reply.status != 200)
        return;
    buf_append_u64(&call->reply.body, version);
    buf_append_byte(&call->reply.body, '}');
}

static const struct procedure put_procedure = {
    .name = "/v1/put",
    .declare = put_declare,
    .start = put_start,
    .resume = put_run,
    .finish = put_finish,
    .release = kv_release,
};

enum status kv_prepare_put(struct kv *kv, struct call *call, struct kv_error *error) {
    struct kv_input *input = kv_input_take(kv);
    if (!input)
        return ST_NOMEM;
    enum status status = kv_parse_put(input, call->request.body, error);
    if (status == ST_OK)
        status = kv_refuse_twice(input, true, call->seed, error);
    return kv_input_hand(input, status, call, &put_procedure);
}
