#include "net/route.h"

#include <assert.h>

#include "net/admin.h"
#include "net/checkpoint.h"
#include "net/static_file.h"
#include "net/worker.h"

typedef enum route_action answer_fn(struct worker *worker, struct exchange *exchange);

/* ---- failures ---- */

struct failure {
    int http;
    const char *code;
    const char *text;
};

static struct failure failure_of(enum status status) {
    switch (status) {
    case ST_BUSY:
        return (struct failure){503, "overloaded", "the server is overloaded; try again"};
    case ST_NOMEM:
        return (struct failure){503, "out_of_memory", "the server is out of memory; try again"};
    case ST_CONFLICT:
    case ST_DOOMED:
        return (struct failure){503, "retries_exhausted",
            "the transaction lost to others until its time was up; try again"};
    case ST_CLOSED:
        return (struct failure){503, "shutting_down", "the server is shutting down"};
    case ST_TIMEOUT:
        return (struct failure){504, "timeout", "the time budget of the request is used up"};
    case ST_MEMORY_FULL:
        return (struct failure){507, "memory_full", "the memory limit is reached"};
    case ST_DISK_FULL:
        return (struct failure){507, "disk_full", "the disk is full"};
    case ST_TOO_LARGE:
        return (struct failure){413, "too_large", "the transaction is too large"};
    case ST_INVALID:
        return (struct failure){400, "bad_request", "the request is not valid"};
    case ST_NOT_A_NUMBER:
        return (struct failure){400, "not_a_number", "the value is not a number"};
    case ST_OVERFLOW:
        return (struct failure){400, "overflow", "the number would overflow"};
    case ST_HANDLER:
        return (struct failure){500, "handler_error", "internal error"};
    default:
        return (struct failure){500, "internal_error", "internal error"};
    }
}

static enum route_action answer_error(
    struct exchange *exchange, int status, const char *code, const char *text) {
    exchange_fail(exchange, status, code, text);
    return ROUTE_ANSWERED;
}

void route_failed(struct exchange *exchange, enum status status) {
    assert(status != ST_OK);
    struct failure failure = failure_of(status);
    answer_error(exchange, failure.http, failure.code, failure.text);
}

/* ---- /v1 ---- */

static enum route_action prepared(
    struct exchange *exchange, enum status status, const struct kv_error *error) {
    if (status == ST_OK)
        return ROUTE_SUBMIT;
    if (status == ST_INVALID)
        return answer_error(exchange, error->status, error->code, error->text);
    route_failed(exchange, status);
    return ROUTE_ANSWERED;
}

static enum route_action answer_get(struct worker *worker, struct exchange *exchange) {
    struct kv_error error;
    return prepared(exchange, kv_prepare_get(worker->kv, &exchange->call, &error), &error);
}

static enum route_action answer_put(struct worker *worker, struct exchange *exchange) {
    struct kv_error error;
    return prepared(exchange, kv_prepare_put(worker->kv, &exchange->call, &error), &error);
}

static enum route_action answer_execute(struct worker *worker, struct exchange *exchange) {
    struct kv_error error;
    return prepared(exchange, kv_prepare_execute(worker->kv, &exchange->call, &error), &error);
}

static enum route_action answer_range(struct worker *worker, struct exchange *exchange) {
    struct kv_error error;
    return prepared(exchange, kv_prepare_range(worker->kv, &exchange->call, &error), &error);
}

/* ---- health, metrics, administration ---- */

static enum route_action answer_metrics(struct worker *worker, struct exchange *exchange) {
    admin_metrics(worker->server, &exchange->call.reply);
    return ROUTE_ANSWERED;
}

static enum route_action answer_livez(struct worker *worker, struct exchange *exchange) {
    if (!server_alive(worker->server))
        return answer_error(exchange, 503, "not_alive", "a shard is stuck");
    admin_ok(&exchange->call.reply);
    return ROUTE_ANSWERED;
}

static enum route_action answer_readyz(struct worker *worker, struct exchange *exchange) {
    if (server_disk_full(worker->server))
        return answer_error(exchange, 503, "disk_full", "the disk is full: reads only");
    if (!server_ready(worker->server))
        return answer_error(exchange, 503, "not_ready", "not ready");
    admin_ok(&exchange->call.reply);
    return ROUTE_ANSWERED;
}

static enum route_action answer_status(struct worker *worker, struct exchange *exchange) {
    if (admin_status(worker->server, worker->generation, &exchange->call.reply) != ST_OK)
        route_failed(exchange, ST_NOMEM);
    return ROUTE_ANSWERED;
}

static enum route_action answer_flush(struct worker *worker, struct exchange *exchange) {
    if (atomic_exchange(&worker->server->flushing, true))
        return answer_error(exchange, 409, "flush_running", "a flush is running already");
    exchange->flush_lsn = wal_last_lsn(worker->server->wal);
    return ROUTE_FLUSH;
}

static enum route_action answer_checkpoint(struct worker *worker, struct exchange *exchange) {
    if (!checkpointer_ask(worker->server->checkpointer, worker))
        return answer_error(exchange, 409, "checkpoint_running", "a checkpoint is running already");
    return ROUTE_CHECKPOINT;
}

/* ---- the fixed routes ---- */

enum method { TAKES_GET, TAKES_POST };

static const struct route {
    struct slice path;
    enum label label;
    enum method method;
    bool admin;      /* served by the admin listener, if there is one */
    bool when_ready; /* 503 until the server is ready */
    answer_fn *answer;
} routes[] = {
    {SLICE("/v1/get"), LABEL_GET, TAKES_GET, false, true, answer_get},
    {SLICE("/v1/put"), LABEL_PUT, TAKES_POST, false, true, answer_put},
    {SLICE("/v1/execute"), LABEL_EXECUTE, TAKES_POST, false, true, answer_execute},
    {SLICE("/v1/range"), LABEL_RANGE, TAKES_GET, false, true, answer_range},
    {SLICE("/livez"), LABEL_LIVEZ, TAKES_GET, true, false, answer_livez},
    {SLICE("/readyz"), LABEL_READYZ, TAKES_GET, true, false, answer_readyz},
    {SLICE("/metrics"), LABEL_METRICS, TAKES_GET, true, false, answer_metrics},
    {SLICE("/v1/admin/status"), LABEL_STATUS, TAKES_GET, true, true, answer_status},
    {SLICE("/v1/admin/flush"), LABEL_FLUSH, TAKES_POST, true, true, answer_flush},
    {SLICE("/v1/admin/checkpoint"), LABEL_CHECKPOINT, TAKES_POST, true, true, answer_checkpoint},
};

static const struct route *find_fixed(struct slice path) {
    for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++)
        if (slice_equal(routes[i].path, path))
            return &routes[i];
    return NULL;
}

static bool has_prefix(struct slice text, struct slice prefix) {
    return text.len >= prefix.len && memcmp(text.data, prefix.data, prefix.len) == 0;
}

static enum route_action answer_no_route(struct exchange *exchange) {
    return answer_error(exchange, 404, "not_found", "no such route");
}

static enum route_action answer_bad_method(struct exchange *exchange, struct slice allow) {
    answer_error(exchange, 405, "method_not_allowed", "the route does not take this method");
    struct buf *headers = &exchange->call.reply.headers;
    buf_append_text(headers, "Allow: ");
    buf_append_slice(headers, allow);
    buf_append_text(headers, "\r\n");
    return ROUTE_ANSWERED;
}

static bool is_ready(const struct worker *worker) {
    /* While draining, what has come in is still answered. */
    return worker->open &&
           atomic_load_explicit(&worker->server->phase, memory_order_acquire) != SERVER_STARTING;
}

static enum route_action answer_nomem(struct exchange *exchange) {
    route_failed(exchange, ST_NOMEM);
    return ROUTE_ANSWERED;
}

static enum route_action answer_not_ready(struct exchange *exchange) {
    return answer_error(exchange, 503, "not_ready", "the server is starting");
}

/* Compares in a time that depends on the lengths only, so that a token cannot be guessed byte by
 * byte. */
static bool same_token(struct slice given, struct slice token) {
    unsigned char different = given.len != token.len;
    for (size_t i = 0; i < given.len; i++)
        different |= (unsigned char)(given.data[i] ^ token.data[token.len ? i % token.len : 0]);
    return !different;
}

/* "Authorization: Bearer TOKEN" (RFC 6750 2.1; schemes ignore case, RFC 9110 11.1). */
static bool is_authorized(const struct server *server, const struct request *request) {
    if (!server->options->auth_token)
        return true;
    static const char scheme[] = "bearer ";
    struct slice given = {0};
    for (unsigned i = 0; i < request->header_count; i++) {
        if (!slice_equal(request->headers[i].name, SLICE("authorization")))
            continue;
        if (given.data)
            return false; /* which of two would count? */
        given = request->headers[i].value;
    }
    if (given.len < sizeof(scheme) - 1)
        return false;
    for (size_t i = 0; i < sizeof(scheme) - 1; i++)
        if ((given.data[i] | 0x20) != scheme[i])
            return false;
    given = slice_of(given.data + sizeof(scheme) - 1, given.len - (sizeof(scheme) - 1));
    while (given.len > 0 && given.data[0] == ' ')
        given = slice_of(given.data + 1, given.len - 1);
    const char *token = server->options->auth_token;
    return same_token(given, slice_of(token, strlen(token)));
}

static enum route_action answer_unauthorized(struct exchange *exchange) {
    answer_error(exchange, 401, "unauthorized", "a valid bearer token is needed");
    buf_append_text(&exchange->call.reply.headers, "WWW-Authenticate: Bearer\r\n");
    return ROUTE_ANSWERED;
}

static bool takes_get(const struct exchange *exchange) {
    return exchange->head_only || slice_equal(exchange->call.request.method, SLICE("GET"));
}

static enum route_action answer_fixed(
    struct worker *worker, struct exchange *exchange, const struct route *route) {
    static const struct slice allow[] = {
        [TAKES_GET] = SLICE("GET, HEAD"), [TAKES_POST] = SLICE("POST")};
    exchange->call.label = route->label;
    bool taken = route->method == TAKES_POST
                     ? slice_equal(exchange->call.request.method, SLICE("POST"))
                     : takes_get(exchange);
    if (!taken)
        return answer_bad_method(exchange, allow[route->method]);
    if (route->when_ready && !is_ready(worker))
        return answer_not_ready(exchange);
    return route->answer(worker, exchange);
}

/* ---- static files ---- */

static enum route_action answer_static(struct worker *worker, struct exchange *exchange) {
    if (!worker->server->options->resources)
        return answer_no_route(exchange);
    exchange->call.label = LABEL_STATIC;
    if (!takes_get(exchange))
        return answer_bad_method(exchange, SLICE("GET, HEAD"));
    if (!is_ready(worker))
        return answer_not_ready(exchange);
    return ROUTE_FILE;
}

/* ---- the application's routes ---- */

enum route_action route_to_script(
    const struct script_engine *engine, const struct script_app *app, struct exchange *exchange) {
    struct call *call = &exchange->call;
    struct slice path = call->request.path;
    if (!has_prefix(path, SLICE("/fn/")))
        return answer_no_route(exchange);
    path = slice_of(path.data + sizeof("/fn/") - 1, path.len - (sizeof("/fn/") - 1));
    struct buf allow;
    buf_init(&allow, REPLY_HEADERS_BYTES_MAX);
    enum route_match match =
        engine->match(app, call->request.method, path, &call->request, &exchange->params, &allow);
    enum route_action action = ROUTE_SUBMIT;
    if (!buf_ok(&exchange->params) || !buf_ok(&allow))
        action = answer_nomem(exchange);
    else if (match == ROUTE_UNKNOWN)
        action = answer_no_route(exchange);
    else if (match == ROUTE_BAD_METHOD)
        action = answer_bad_method(exchange, buf_slice(&allow));
    else
        call->procedure = engine->handler;
    buf_free(&allow);
    return action;
}

static enum route_action answer_script(struct worker *worker, struct exchange *exchange) {
    const struct server *server = worker->server;
    const struct generation *generation = worker->generation;
    struct call *call = &exchange->call;
    if (!server->options->app)
        return answer_no_route(exchange);
    if (!is_ready(worker))
        return answer_not_ready(exchange);
    enum route_action action = route_to_script(server->engine, generation->app, exchange);
    if (call->request.route)
        call->label = generation->of_route[server->engine->route_index(call->request.route)];
    if (action == ROUTE_SUBMIT)
        exchange->generation = generation;
    return action;
}

enum route_action route_request(struct worker *worker, struct exchange *exchange) {
    const struct server *server = worker->server;
    bool admin_apart = server->options->admin_addr.sock_len > 0;
    bool by_admin = exchange->conn->admin;
    struct slice path = exchange->call.request.path;
    exchange->call.label = LABEL_OTHER;

    if (has_prefix(path, SLICE("/fn/")) && !by_admin)
        return answer_script(worker, exchange);
    if (has_prefix(path, STATIC_PREFIX) && !by_admin)
        return answer_static(worker, exchange);
    if (has_prefix(path, SLICE("/v1/")) && !is_authorized(server, &exchange->call.request))
        return answer_unauthorized(exchange);
    const struct route *route = find_fixed(path);
    if (!route || (admin_apart && route->admin != by_admin))
        return answer_no_route(exchange);
    return answer_fixed(worker, exchange, route);
}
