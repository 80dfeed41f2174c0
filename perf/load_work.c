#include "perf/load_work.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

#include "core/splitmix.h"

#define BODY_BYTES_MAX (8u << 20) /* the server's own default bound */
#define TRANSFER_AMOUNT_MAX 5

uint64_t work_random(struct work_conn *conn, uint64_t bound) {
    assert(bound >= 1 && bound <= UINT64_C(1) << 32);
    return ((splitmix_next(&conn->random) >> 32) * bound) >> 32;
}

void work_conn_init(struct work_conn *conn, const struct work_context *context, uint64_t id) {
    uint64_t seed = context->seed + id;
    *conn = (struct work_conn){.id = id, .version = context->cas_version};
    conn->random = splitmix_next(&seed); /* so that neighbouring seeds share no sequence */
    buf_init(&conn->body, BODY_BYTES_MAX);
}

void work_conn_free(struct work_conn *conn) {
    buf_free(&conn->body);
}

static void send_get(const struct work_context *context, struct work_conn *conn, struct buf *out) {
    request_append(out, context->target, "GET", buf_slice(&conn->body), slice_of(NULL, 0));
}

static void send_post(
    const struct work_context *context, struct work_conn *conn, const char *path, struct buf *out) {
    request_append(
        out, context->target, "POST", slice_of(path, strlen(path)), buf_slice(&conn->body));
}

static struct buf *fresh_body(struct work_conn *conn) {
    buf_reset(&conn->body, SIZE_MAX);
    conn->requests++;
    return &conn->body;
}

static bool contains_text(struct slice text, const char *part) {
    return text.len > 0 && memmem(text.data, text.len, part, strlen(part)) != NULL;
}

static enum verdict judge_ok(const struct work_context *context, struct work_conn *conn,
    uint64_t mark, const struct reply *reply) {
    (void)context, (void)conn, (void)mark;
    return reply->status == 200 ? VERDICT_DONE : VERDICT_ERROR;
}

/* ---- reading ---- */

static void build_get(
    const struct work_context *context, struct work_conn *conn, uint64_t *mark, struct buf *out) {
    *mark = 1 + work_random(conn, context->accounts);
    struct buf *path = fresh_body(conn);
    buf_append_text(path, "/v1/get?key=acc:");
    buf_append_u64(path, *mark);
    send_get(context, conn, out);
}

/* That the reply names the key asked for also shows that pipelined replies keep their order. */
static enum verdict judge_get(const struct work_context *context, struct work_conn *conn,
    uint64_t mark, const struct reply *reply) {
    (void)context, (void)conn;
    char name[40];
    (void)snprintf(name, sizeof name, "\"acc:%" PRIu64 "\"", mark);
    bool right = reply->status == 200 && contains_text(reply->body, name);
    return right ? VERDICT_DONE : VERDICT_ERROR;
}

static void build_fnget(
    const struct work_context *context, struct work_conn *conn, uint64_t *mark, struct buf *out) {
    *mark = 1 + work_random(conn, context->accounts);
    struct buf *path = fresh_body(conn);
    buf_append_text(path, "/fn/balance?account=");
    buf_append_u64(path, *mark);
    send_get(context, conn, out);
}

static enum verdict judge_fnget(const struct work_context *context, struct work_conn *conn,
    uint64_t mark, const struct reply *reply) {
    (void)context, (void)conn, (void)mark;
    bool right = reply->status == 200 && contains_text(reply->body, "\"balance\"");
    return right ? VERDICT_DONE : VERDICT_ERROR;
}

static void build_range(
    const struct work_context *context, struct work_conn *conn, uint64_t *mark, struct buf *out) {
    *mark = 1 + work_random(conn, context->accounts);
    struct buf *path = fresh_body(conn);
    buf_append_text(path, "/v1/range?prefix=acc:&from=acc:");
    buf_append_u64(path, *mark);
    buf_append_text(path, "&limit=");
    buf_append_u64(path, context->limit);
    send_get(context, conn, out);
}

static void build_path(
    const struct work_context *context, struct work_conn *conn, uint64_t *mark, struct buf *out) {
    *mark = 0;
    buf_append_text(fresh_body(conn), context->path);
    send_get(context, conn, out);
}

/* ---- the bank and the counters ---- */

static void build_transfer(
    const struct work_context *context, struct work_conn *conn, uint64_t *mark, struct buf *out) {
    *mark = 0;
    uint64_t from = work_random(conn, context->accounts);
    uint64_t to = work_random(conn, context->accounts - 1);
    to += to >= from; /* any but `from` */
    struct buf *body = fresh_body(conn);
    buf_append_text(body, "{\"from\":");
    buf_append_u64(body, from + 1);
    buf_append_text(body, ",\"to\":");
    buf_append_u64(body, to + 1);
    buf_append_text(body, ",\"amount\":");
    buf_append_u64(body, 1 + work_random(conn, TRANSFER_AMOUNT_MAX));
    buf_append_byte(body, '}');
    send_post(context, conn, "/fn/transfer", out);
}

static enum verdict judge_transfer(const struct work_context *context, struct work_conn *conn,
    uint64_t mark, const struct reply *reply) {
    (void)context, (void)conn, (void)mark;
    if (reply->status == 409 && contains_text(reply->body, "insufficient funds"))
        return VERDICT_REFUSED;
    bool right = reply->status == 200 && contains_text(reply->body, "\"from\"");
    return right ? VERDICT_DONE : VERDICT_ERROR;
}

static void build_hot(
    const struct work_context *context, struct work_conn *conn, uint64_t *mark, struct buf *out) {
    *mark = 0;
    buf_append_text(fresh_body(conn), "{}");
    send_post(context, conn, "/fn/hot", out);
}

/* One batch swaps the contended key and counts that it did: the count is what the books compare. */
static void build_cas(
    const struct work_context *context, struct work_conn *conn, uint64_t *mark, struct buf *out) {
    *mark = 0;
    struct buf *body = fresh_body(conn);
    buf_append_text(body, "{\"commands\":[{\"cmd_type\":\"cas\",\"key\":\"cas:hot\",\"version\":");
    buf_append_u64(body, conn->version);
    buf_append_text(body, ",\"value\":");
    buf_append_u64(body, conn->requests);
    buf_append_text(body, "},{\"cmd_type\":\"incr\",\"key\":\"cas:count\"}]}");
    send_post(context, conn, "/v1/execute", out);
}

/* The number behind the last "version": in text; of a batch that is the whole batch's. */
static bool last_version(struct slice text, uint64_t *version) {
    static const char name[] = "\"version\":";
    const char *found = NULL, *at = text.data;
    const char *end = text.data + text.len;
    while (at < end && (at = memmem(at, (size_t)(end - at), name, sizeof name - 1)) != NULL)
        found = at += sizeof name - 1;
    if (!found || found == end || *found < '0' || *found > '9')
        return false;
    *version = 0;
    for (; found < end && *found >= '0' && *found <= '9'; found++)
        *version = *version * 10 + (uint64_t)(*found - '0');
    return true;
}

static enum verdict judge_cas(const struct work_context *context, struct work_conn *conn,
    uint64_t mark, const struct reply *reply) {
    (void)context, (void)mark;
    if (reply->status != 200 && reply->status != 409)
        return VERDICT_ERROR;
    if (!last_version(reply->body, &conn->version))
        return VERDICT_ERROR;
    return reply->status == 200 ? VERDICT_DONE : VERDICT_CONFLICT;
}

/* ---- new keys ---- */

/* "put:<run>:<connection>:<request>:<object>": never written before. */
static void append_new_key(const struct work_context *context, const struct work_conn *conn,
    unsigned object, struct buf *body) {
    buf_append_byte(body, '"');
    buf_append_text(body, context->work->books_key);
    buf_append_text(body, context->run_tag);
    buf_append_byte(body, ':');
    buf_append_u64(body, conn->id);
    buf_append_byte(body, ':');
    buf_append_u64(body, conn->requests);
    buf_append_byte(body, ':');
    buf_append_u64(body, object);
    buf_append_byte(body, '"');
}

static void append_objects(const struct work_context *context, const struct work_conn *conn,
    const char *before_key, struct buf *body) {
    for (unsigned i = 0; i < context->batch; i++) {
        buf_append_text(body, i ? "," : "");
        buf_append_text(body, before_key);
        append_new_key(context, conn, i, body);
        buf_append_text(body, ",\"value\":\"sixteen bytes...\"}");
    }
}

static void build_put(
    const struct work_context *context, struct work_conn *conn, uint64_t *mark, struct buf *out) {
    *mark = 0;
    struct buf *body = fresh_body(conn);
    buf_append_byte(body, '[');
    append_objects(context, conn, "{\"key\":", body);
    buf_append_byte(body, ']');
    send_post(context, conn, "/v1/put", out);
}

static enum verdict judge_put(const struct work_context *context, struct work_conn *conn,
    uint64_t mark, const struct reply *reply) {
    (void)context, (void)conn, (void)mark;
    if (reply->status == 409) /* not an error of HTTP, but no one else can have written that key */
        return VERDICT_ERROR;
    bool right = reply->status == 200 && contains_text(reply->body, "\"Success\"");
    return right ? VERDICT_DONE : VERDICT_ERROR;
}

static void build_execute(
    const struct work_context *context, struct work_conn *conn, uint64_t *mark, struct buf *out) {
    *mark = 0;
    struct buf *body = fresh_body(conn);
    buf_append_text(body, "{\"commands\":[");
    append_objects(context, conn, "{\"cmd_type\":\"set\",\"key\":", body);
    buf_append_text(body, "]}");
    send_post(context, conn, "/v1/execute", out);
}

static const struct workload workloads[] = {
    {.name = "get",
        .about = "GET /v1/get of a random account",
        .needs_accounts = true,
        .build = build_get,
        .judge = judge_get},
    {.name = "fnget",
        .about = "GET /fn/balance of a random account: a Lua route that reads one key",
        .needs_accounts = true,
        .build = build_fnget,
        .judge = judge_fnget},
    {.name = "range",
        .about = "GET /v1/range of --limit accounts from a random one",
        .needs_accounts = true,
        .build = build_range,
        .judge = judge_ok},
    {.name = "put",
        .about = "POST /v1/put of --batch new keys",
        .batch = 1,
        .books = BOOKS_KEYS,
        .books_key = "put:",
        .build = build_put,
        .judge = judge_put},
    {.name = "batch",
        .about = "put with 500 keys a request",
        .batch = 500,
        .books = BOOKS_KEYS,
        .books_key = "put:",
        .build = build_put,
        .judge = judge_put},
    {.name = "execute",
        .about = "POST /v1/execute that sets --batch new keys",
        .batch = 1,
        .books = BOOKS_KEYS,
        .books_key = "exe:",
        .build = build_execute,
        .judge = judge_ok},
    {.name = "transfer",
        .about = "POST /fn/transfer between two random accounts",
        .needs_accounts = true,
        .books = BOOKS_BANK,
        .books_key = "acc:",
        .build = build_transfer,
        .judge = judge_transfer},
    {.name = "hot",
        .about = "POST /fn/hot: everybody increments one key",
        .books = BOOKS_COUNTER,
        .books_key = "hot",
        .build = build_hot,
        .judge = judge_ok},
    {.name = "cas",
        .about = "POST /v1/execute: everybody swaps one key by its version",
        .one_at_a_time = true,
        .books = BOOKS_COUNTER,
        .books_key = "cas:count",
        .build = build_cas,
        .judge = judge_cas},
    {.name = "path",
        .about = "GET --path, from any server (a peer to compare with)",
        .build = build_path,
        .judge = judge_ok},
};

const struct workload *work_at(unsigned index) {
    return index < sizeof workloads / sizeof workloads[0] ? &workloads[index] : NULL;
}

const struct workload *work_find(const char *name) {
    const struct workload *work;
    for (unsigned i = 0; (work = work_at(i)) != NULL; i++)
        if (strcmp(work->name, name) == 0)
            return work;
    return NULL;
}
