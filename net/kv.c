#include "net/kv_input.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/json_write.h"
#include "core/url.h"

/* Free inputs that a worker keeps, and the most bytes that each of their buffers keeps: a burst of
 * large bodies must not hold its memory for ever. */
#define KV_POOL_MAX 256
#define KV_POOL_BYTES_MAX 4096

struct kv {
    struct kv_limits limits;
    struct kv_input *free;
    unsigned free_count;
    unsigned lent; /* inputs with calls */
    struct buf reader_scratch;
};

/* ---- the pool ---- */

struct kv *kv_create(const struct kv_limits *limits) {
    struct kv *kv = calloc(1, sizeof *kv);
    if (!kv)
        return NULL;
    kv->limits = *limits;
    buf_init(&kv->reader_scratch, SIZE_MAX);
    return kv;
}

static void input_destroy(struct kv_input *input) {
    buf_free(&input->bytes);
    buf_free(&input->items);
    buf_free(&input->ranges);
    buf_free(&input->attempt.scratch);
    buf_free(&input->attempt.holes);
    free(input);
}

void kv_destroy(struct kv *kv) {
    if (!kv)
        return;
    assert(kv->lent == 0);
    while (kv->free) {
        struct kv_input *input = kv->free;
        kv->free = input->next;
        input_destroy(input);
    }
    buf_free(&kv->reader_scratch);
    free(kv);
}

static struct kv_input *input_create(struct kv *kv) {
    struct kv_input *input = calloc(1, sizeof *input);
    if (!input)
        return NULL;
    input->pool = kv;
    buf_init(&input->bytes, UINT32_MAX); /* what a span can address */
    buf_init(&input->items, SIZE_MAX);
    buf_init(&input->ranges, SIZE_MAX);
    buf_init(&input->attempt.scratch, SIZE_MAX);
    buf_init(&input->attempt.holes, SIZE_MAX);
    return input;
}

struct kv_input *kv_input_take(struct kv *kv) {
    struct kv_input *input = kv->free;
    if (input) {
        kv->free = input->next;
        kv->free_count--;
    } else {
        input = input_create(kv);
        if (!input)
            return NULL;
    }
    kv->lent++;
    return input;
}

void kv_input_give(struct kv_input *input) {
    struct kv *kv = input->pool;
    assert(kv->lent > 0);
    kv->lent--;
    if (kv->free_count >= KV_POOL_MAX) {
        input_destroy(input);
        return;
    }
    buf_reset(&input->bytes, KV_POOL_BYTES_MAX);
    buf_reset(&input->items, KV_POOL_BYTES_MAX);
    buf_reset(&input->ranges, KV_POOL_BYTES_MAX);
    buf_reset(&input->attempt.scratch, KV_POOL_BYTES_MAX);
    buf_reset(&input->attempt.holes, KV_POOL_BYTES_MAX);
    input->write_bytes = 0;
    input->write_count = 0;
    input->next = kv->free;
    kv->free = input;
    kv->free_count++;
}

enum status kv_input_hand(struct kv_input *input, enum status status, struct call *call,
    const struct procedure *procedure) {
    if (status != ST_OK) {
        kv_input_give(input);
        return status;
    }
    call->procedure = procedure;
    call->input = input;
    return ST_OK;
}

void kv_release(struct call *call) {
    kv_input_give(call->input);
    call->input = NULL;
}

const struct kv_limits *kv_limits_of(const struct kv *kv) {
    return &kv->limits;
}

struct buf *kv_reader_scratch(struct kv *kv) {
    buf_reset(&kv->reader_scratch, KV_POOL_BYTES_MAX);
    return &kv->reader_scratch;
}

/* ---- parsing ---- */

enum status kv_refuse(
    struct kv_error *error, int status, const char *code, const char *format, ...) {
    error->status = status;
    error->code = code;
    va_list args;
    va_start(args, format);
    (void)vsnprintf(error->text, sizeof error->text, format, args);
    va_end(args);
    return ST_INVALID;
}

enum status kv_query(struct kv_input *input, struct slice query, struct slice name,
    const char *code, struct kv_span *span, struct kv_error *error) {
    size_t before = input->bytes.len;
    enum status status = url_query_get(query, name, &input->bytes);
    *span = kv_span_since(input, before);
    if (status == ST_EXISTS)
        return kv_refuse(
            error, 400, code, "the parameter %.*s is there twice", (int)name.len, name.data);
    if (status == ST_INVALID)
        return kv_refuse(error, 400, code, "the parameter %.*s is badly percent-encoded",
            (int)name.len, name.data);
    return status;
}

enum status kv_check_key(
    const struct kv_limits *limits, struct slice key, const char *where, struct kv_error *error) {
    if (key.len == 0)
        return kv_refuse(error, 400, "bad_key", "%sthe key is empty", where);
    if (key.len > limits->key_bytes_max)
        return kv_refuse(error, 400, "bad_key", "%sthe key has %zu bytes, at most %zu are allowed",
            where, key.len, limits->key_bytes_max);
    if (!utf8_valid(key))
        return kv_refuse(error, 400, "bad_key", "%sthe key is not UTF-8", where);
    return ST_OK;
}

/* ---- running ---- */

void kv_begin(struct call *call) {
    struct kv_input *input = call->input;
    struct kv_attempt *attempt = &input->attempt;
    attempt->index = 0;
    attempt->range = NULL;
    attempt->taken = 0;
    buf_reset(&attempt->scratch, SIZE_MAX);
    buf_reset(&attempt->holes, SIZE_MAX);
    call->attempt = attempt;
    call->outcome = ST_OK;
    buf_reset(&call->reply.headers, SIZE_MAX);
    buf_reset(&call->reply.body, SIZE_MAX);
    call->reply.status = 200;
    call->reply.content_type = "application/json";
}

enum verdict kv_unwind(struct call *call, enum status status) {
    assert(status != ST_OK);
    if (status == ST_PENDING)
        return PROC_WAIT;
    if (status == ST_DOOMED)
        return PROC_UNWOUND;
    call->outcome = status;
    return PROC_FAIL;
}

/* Nothing of an unfinished reply may stay when it turns into an error. */
static struct buf *reply_restart(struct call *call, int status) {
    struct kv_input *input = call->input;
    buf_reset(&input->attempt.holes, SIZE_MAX);
    buf_reset(&call->reply.headers, SIZE_MAX);
    buf_reset(&call->reply.body, SIZE_MAX);
    call->reply.status = status;
    call->reply.content_type = "application/json";
    return &call->reply.body;
}

static enum verdict reply_rollback(struct call *call) {
    return buf_ok(&call->reply.body) ? PROC_ROLLBACK : kv_unwind(call, ST_NOMEM);
}

enum verdict kv_reply_error(struct call *call, int status, const char *code, const char *text) {
    struct buf *body = reply_restart(call, status);
    buf_append_text(body, "{\"error\":");
    json_write_string(body, slice_of(text, strlen(text)));
    buf_append_text(body, ",\"code\":");
    json_write_string(body, slice_of(code, strlen(code)));
    buf_append_byte(body, '}');
    return reply_rollback(call);
}

/* A key that is absent is "new", and 0 is the one version that is right for it; a key that is there
 * has been written since the given version. */
enum verdict kv_reply_conflict(struct call *call, struct slice key, uint64_t version) {
    struct buf *body = reply_restart(call, 409);
    buf_append_text(body, "{\"result\":\"Failure\",\"error\":\"");
    buf_append_text(body, version == 0 ? "version incorrect for new key" : "outdated version");
    buf_append_text(body, "\",\"code\":\"conflict\",\"key\":");
    json_write_string(body, key);
    buf_append_text(body, ",\"version\":");
    buf_append_u64(body, version);
    buf_append_byte(body, '}');
    return reply_rollback(call);
}

enum verdict kv_reply_done(struct call *call) {
    if (!buf_ok(&call->reply.body) || !buf_ok(&call->reply.headers))
        return kv_unwind(call, ST_NOMEM);
    return PROC_COMMIT;
}
