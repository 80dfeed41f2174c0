/* GET /v1/range: a page of keys in byte order; and what it shares with the range command of a
 * batch.
 *
 * The page walks as it goes and is not declared: how far it gets is known only when it got there.
 */
#include "net/kv_input.h"

#include "core/json_write.h"

/* ---- intervals ---- */

/* A bound may be one byte longer than a key: "the key behind this one" is that key and a zero byte.
 */
static enum status check_bound(struct kv_input *input, const struct kv_span *span, const char *name,
    const char *where, struct kv_error *error) {
    if (!span)
        return ST_OK;
    struct slice bound = kv_slice(input, *span);
    size_t max = kv_limits_of(input->pool)->key_bytes_max + 1;
    if (bound.len > max)
        return kv_refuse(error, 400, "bad_key", "%s%s is longer than any key can be", where, name);
    if (!utf8_valid(bound))
        return kv_refuse(error, 400, "bad_key", "%s%s is not UTF-8", where, name);
    return ST_OK;
}

/* Narrows *range to the keys that begin with prefix. */
static enum status intersect_prefix(
    struct kv_input *input, struct kv_span prefix, struct kv_range *range) {
    size_t before = input->bytes.len;
    char *scratch = buf_reserve(&input->bytes, prefix.len);
    if (!scratch)
        return ST_NOMEM;
    struct range_spec spec = {0};
    range_spec_prefix(&spec, kv_slice(input, prefix), scratch);
    if (slice_compare(kv_slice(input, range->from), spec.from) < 0)
        range->from = prefix;
    if (!spec.bounded)
        return ST_OK;
    if (range->bounded && slice_compare(kv_slice(input, range->to), spec.to) <= 0)
        return ST_OK;
    buf_append(&input->bytes, spec.to.data, spec.to.len);
    range->to = kv_span_since(input, before);
    range->bounded = true;
    return ST_OK;
}

enum status kv_range_make(struct kv_input *input, const struct kv_range_words *words,
    const char *where, struct kv_range *range, struct kv_error *error) {
    enum status status = check_bound(input, words->from, "from", where, error);
    if (status == ST_OK)
        status = check_bound(input, words->to, "to", where, error);
    if (status == ST_OK)
        status = check_bound(input, words->prefix, "prefix", where, error);
    if (status != ST_OK)
        return status;
    *range = (struct kv_range){.limit = words->limit, .reverse = words->reverse};
    if (words->from)
        range->from = *words->from;
    if (words->to) {
        range->to = *words->to;
        range->bounded = true;
    }
    if (words->prefix && words->prefix->len)
        status = intersect_prefix(input, *words->prefix, range);
    if (status != ST_OK)
        return status;
    range->empty = range->bounded &&
                   slice_compare(kv_slice(input, range->from), kv_slice(input, range->to)) >= 0;
    return ST_OK;
}

struct range_spec kv_range_spec(const struct kv_input *input, const struct kv_range *range) {
    struct range_spec spec = {
        .bounded = range->bounded, .reverse = range->reverse, .expect = range->limit};
    if (range->from.len)
        spec.from = kv_slice(input, range->from);
    if (range->bounded)
        spec.to = kv_slice(input, range->to);
    return spec;
}

/* ---- items ---- */

enum status kv_write_item(struct call *call, const struct range_item *item) {
    struct kv_attempt *attempt = call->attempt;
    struct buf *body = &call->reply.body;
    buf_append_text(body, "{\"key\":");
    json_write_string(body, item->key);
    buf_append_text(body, ",\"value\":");
    enum status status = value_to_json(item->value, body);
    if (status != ST_OK)
        return status;
    buf_append_text(body, ",\"version\":");
    if (item->version)
        buf_append_u64(body, item->version);
    else
        buf_append(&attempt->holes, &body->len, sizeof body->len);
    buf_append_byte(body, '}');
    return buf_ok(body) && buf_ok(&attempt->holes) ? ST_OK : ST_NOMEM;
}

#define VERSION_DIGITS_MAX 20 /* of UINT64_MAX */

void kv_reserve_holes(struct call *call, size_t extra) {
    const struct kv_attempt *attempt = call->attempt;
    size_t holes = attempt->holes.len / sizeof(size_t);
    (void)buf_reserve(&call->reply.body, holes * VERSION_DIGITS_MAX + extra);
}

void kv_fill_holes(struct call *call, uint64_t version) {
    const struct kv_attempt *attempt = call->attempt;
    struct buf *body = &call->reply.body;
    char digits[VERSION_DIGITS_MAX];
    size_t at = sizeof digits;
    do {
        digits[--at] = (char)('0' + version % 10);
        version /= 10;
    } while (version);
    size_t width = sizeof digits - at;
    const size_t *holes = (const size_t *)(const void *)attempt->holes.data;
    size_t count = attempt->holes.len / sizeof *holes;
    if (count == 0 || !buf_reserve(body, count * width))
        return;
    /* From the last to the first: each stretch moves once, behind the gaps that are still to come.
     */
    size_t end = body->len;
    for (size_t i = count; i > 0; i--) {
        size_t from = holes[i - 1];
        memmove(body->data + from + i * width, body->data + from, end - from);
        memcpy(body->data + from + (i - 1) * width, digits + at, width);
        end = from;
    }
    body->len += count * width;
}

/* ---- the endpoint ---- */

/* After the last item of the page: "next" is the key at which the following page begins (forwards:
 * that key itself, which counts as read; backwards: the last one of this page, its `to`), or null.
 */
static enum verdict range_end(struct call *call, bool more, struct slice next) {
    struct buf *body = &call->reply.body;
    buf_append_text(body, "],\"next\":");
    if (more)
        json_write_string(body, next);
    else
        buf_append_text(body, "null");
    buf_append_byte(body, '}');
    return kv_reply_done(call);
}

static enum verdict range_walk(struct call *call) {
    const struct kv_input *input = call->input;
    const struct kv_range *range = kv_range_at(input, 0);
    struct kv_attempt *attempt = call->attempt;
    struct buf *body = &call->reply.body;
    for (;;) {
        struct range_item item;
        enum status status = txn_range_next(attempt->range, &item);
        if (status == ST_END)
            return range_end(call, false, slice_of(NULL, 0));
        if (status != ST_OK)
            return kv_unwind(call, status);
        bool full = attempt->taken == range->limit || body->len > KV_PAGE_BYTES_MAX;
        if (full)
            return range_end(call, true, range->reverse ? buf_slice(&attempt->scratch) : item.key);
        if (attempt->taken++ > 0)
            buf_append_byte(body, ',');
        status = kv_write_item(call, &item);
        if (status != ST_OK)
            return kv_unwind(call, status);
        buf_reset(&attempt->scratch, SIZE_MAX);
        buf_append_slice(&attempt->scratch, item.key);
        if (!buf_ok(&attempt->scratch))
            return kv_unwind(call, ST_NOMEM);
    }
}

static enum verdict range_run(struct call *call, struct txn *txn) {
    const struct kv_input *input = call->input;
    struct kv_attempt *attempt = call->attempt;
    if (!attempt->range) {
        struct range_spec spec = kv_range_spec(input, kv_range_at(input, 0));
        spec.expect++; /* "next" is read too */
        enum status status = txn_range_open(txn, &spec, &attempt->range);
        if (status != ST_OK)
            return kv_unwind(call, status);
    }
    return range_walk(call);
}

static enum verdict range_start(struct call *call, struct txn *txn, struct script_vm *vm) {
    (void)vm;
    kv_begin(call);
    buf_append_text(&call->reply.body, "{\"items\":[");
    const struct kv_input *input = call->input;
    if (kv_range_at(input, 0)->empty)
        return range_end(call, false, slice_of(NULL, 0));
    return range_run(call, txn);
}

static const struct procedure range_procedure = {
    .name = "/v1/range",
    .start = range_start,
    .resume = range_run,
    .release = kv_release,
};

/* ---- its query ---- */

static enum status parse_limit(struct slice text, size_t *limit, struct kv_error *error) {
    size_t number = 0;
    for (size_t i = 0; i < text.len && number <= KV_RANGE_LIMIT_MAX; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            number = KV_RANGE_LIMIT_MAX; /* and past it below */
        number = number * 10 + (size_t)(text.data[i] & 0x0F);
    }
    if (number < 1 || number > KV_RANGE_LIMIT_MAX)
        return kv_refuse(error, 400, "bad_limit", "the limit must be an integer, 1 to 10000");
    *limit = number;
    return ST_OK;
}

static enum status parse_reverse(struct slice text, bool *reverse, struct kv_error *error) {
    if (slice_equal(text, SLICE("1")) || slice_equal(text, SLICE("true")))
        *reverse = true;
    else if (slice_equal(text, SLICE("0")) || slice_equal(text, SLICE("false")))
        *reverse = false;
    else
        return kv_refuse(error, 400, "bad_reverse", "reverse must be 1, true, 0 or false");
    return ST_OK;
}

/* A parameter that may be missing: *there points to span or is NULL. */
static enum status query_bound(struct kv_input *input, struct slice query, struct slice name,
    struct kv_span *span, const struct kv_span **there, struct kv_error *error) {
    enum status status = kv_query(input, query, name, "bad_key", span, error);
    *there = status == ST_OK ? span : NULL;
    return status == ST_NOT_FOUND ? ST_OK : status;
}

static enum status parse_query(struct kv_input *input, struct slice query, struct kv_error *error) {
    struct kv_range_words words = {.limit = KV_RANGE_LIMIT_DEFAULT};
    struct kv_span from, to, prefix, word;
    enum status status = query_bound(input, query, SLICE("from"), &from, &words.from, error);
    if (status == ST_OK)
        status = query_bound(input, query, SLICE("to"), &to, &words.to, error);
    if (status == ST_OK)
        status = query_bound(input, query, SLICE("prefix"), &prefix, &words.prefix, error);
    if (status != ST_OK)
        return status;
    status = kv_query(input, query, SLICE("limit"), "bad_limit", &word, error);
    if (status == ST_OK)
        status = parse_limit(kv_slice(input, word), &words.limit, error);
    if (status != ST_OK && status != ST_NOT_FOUND)
        return status;
    status = kv_query(input, query, SLICE("reverse"), "bad_reverse", &word, error);
    if (status == ST_OK)
        status = parse_reverse(kv_slice(input, word), &words.reverse, error);
    if (status != ST_OK && status != ST_NOT_FOUND)
        return status;
    struct kv_range range;
    status = kv_range_make(input, &words, "", &range, error);
    if (status != ST_OK)
        return status;
    buf_append(&input->ranges, &range, sizeof range);
    return buf_ok(&input->ranges) ? ST_OK : ST_NOMEM;
}

enum status kv_prepare_range(struct kv *kv, struct call *call, struct kv_error *error) {
    struct kv_input *input = kv_input_take(kv);
    if (!input)
        return ST_NOMEM;
    enum status status = parse_query(input, call->request.query, error);
    return kv_input_hand(input, status, call, &range_procedure);
}
