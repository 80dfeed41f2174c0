/* GET /v1/get?key=K: one key's value and version.
 *
 * The version is the ETag, so If-None-Match (RFC 9110 section 13.1.2) spares a client that polls
 * the body: 304 if the version is among those it lists. */
#include "net/kv_input.h"

#include "core/json_write.h"

/* Takes the next entity-tag off a comma-separated list, without quotes; weak ones count as strong
 * (RFC 9110 section 8.8.3.2, weak comparison). False at the end or at what is no tag. */
static bool tag_next(struct slice *rest, struct slice *tag) {
    const char *at = rest->data, *end = rest->data + rest->len;
    while (at < end && (*at == ' ' || *at == '\t' || *at == ','))
        at++;
    if (end - at >= 2 && at[0] == 'W' && at[1] == '/')
        at += 2;
    if (at == end || *at != '"')
        return false;
    const char *close = memchr(at + 1, '"', (size_t)(end - at - 1));
    if (!close)
        return false;
    *tag = slice_of(at + 1, (size_t)(close - at - 1));
    *rest = slice_of(close + 1, (size_t)(end - close - 1));
    return true;
}

static bool tags_hold(struct slice tags, struct slice version) {
    if (slice_equal(tags, SLICE("*")))
        return true;
    struct slice tag;
    while (tag_next(&tags, &tag))
        if (slice_equal(tag, version))
            return true;
    return false;
}

/* True if the client says that it has this version already. */
static bool client_has(const struct request *request, struct slice version) {
    for (unsigned i = 0; i < request->header_count; i++)
        if (slice_equal(request->headers[i].name, SLICE("if-none-match")) &&
            tags_hold(request->headers[i].value, version))
            return true;
    return false;
}

static struct slice get_key(const struct call *call) {
    const struct kv_input *input = call->input;
    return buf_slice(&input->bytes);
}

static enum status get_declare(struct call *call, struct txn *txn) {
    return txn_declare(txn, get_key(call), DECLARE_READ);
}

static enum verdict get_run(struct call *call, struct txn *txn) {
    struct slice value;
    uint64_t version;
    enum status status = txn_get(txn, get_key(call), &value, &version);
    if (status == ST_NOT_FOUND)
        return kv_reply_error(call, 404, "key_not_found", "key not found");
    if (status != ST_OK)
        return kv_unwind(call, status);
    struct buf *headers = &call->reply.headers;
    buf_append_text(headers, "ETag: \"");
    size_t before = headers->len;
    buf_append_u64(headers, version);
    size_t digits = headers->len - before;
    buf_append_text(headers, "\"\r\n");
    if (!buf_ok(headers))
        return kv_unwind(call, ST_NOMEM);
    if (client_has(&call->request, slice_of(headers->data + before, digits))) {
        call->reply.status = 304;
        call->reply.content_type = NULL;
        return PROC_COMMIT;
    }
    const struct range_item item = {.key = get_key(call), .value = value, .version = version};
    status = kv_write_item(call, &item);
    if (status != ST_OK)
        return kv_unwind(call, status);
    return kv_reply_done(call);
}

static enum verdict get_start(struct call *call, struct txn *txn, struct script_vm *vm) {
    (void)vm;
    kv_begin(call);
    return get_run(call, txn);
}

static const struct procedure get_procedure = {
    .name = "/v1/get",
    .declare = get_declare,
    .start = get_start,
    .resume = get_run,
    .release = kv_release,
};

enum status kv_prepare_get(struct kv *kv, struct call *call, struct kv_error *error) {
    struct kv_input *input = kv_input_take(kv);
    if (!input)
        return ST_NOMEM;
    struct kv_span key;
    enum status status = kv_query(input, call->request.query, SLICE("key"), "bad_key", &key, error);
    if (status == ST_NOT_FOUND)
        status = kv_refuse(error, 400, "bad_key", "the parameter key is missing");
    if (status == ST_OK)
        status = kv_check_key(kv_limits_of(kv), kv_slice(input, key), "", error);
    return kv_input_hand(input, status, call, &get_procedure);
}
