#include "net/mem_server.h"

#include <assert.h>
#include <stdlib.h>
#include <time.h>

#include "core/clock.h"
#include "core/wal_memory.h"
#include "net/kv.h"
#include "net/reply.h"
#include "net/route.h"
#include "shard/shard.h"

#define HASH_SEED 1
#define CALLS_MAX 16u
#define START_BUDGET_NS (120 * NS_PER_S)
/* The longest sleep when all shards wait for a timer. */
#define IDLE_NS_MAX NS_PER_MS

/* Messages on their way to a shard, oldest first. */
struct inbox {
    struct msg *first, **end;
};

struct mem_server {
    const struct options *options;
    const struct script_engine *engine;
    struct script_app *app;
    unsigned shards;
    struct slots slots;
    struct wal *wal;
    struct stats *stats;
    struct shard_peers *peers;
    struct kv *kv;
    struct exchange_pool pool;
    bool released; /* the call that runs is home again */
    struct script_vm *vms[SHARDS_MAX];
    struct shard *shard[SHARDS_MAX];
    struct inbox inboxes[SHARDS_MAX];
};

/* ---- what shards see ---- */

static void send_on(void *ctx, unsigned to, struct msg *msg) {
    struct inbox *inbox = &((struct mem_server *)ctx)->inboxes[to];
    msg->next = NULL;
    *inbox->end = msg;
    inbox->end = &msg->next;
}

static void committed(void *ctx, struct call *call) {
    (void)ctx;
    (void)call;
}

static void released(void *ctx, struct call *call) {
    (void)call;
    ((struct mem_server *)ctx)->released = true;
}

/* ---- opening and closing ---- */

static enum status open_shard(struct mem_server *server, unsigned index, struct buf *error) {
    const struct options *options = server->options;
    struct shard_options shard = {.index = index,
        .shards = server->shards,
        .slots = &server->slots,
        .wal = server->wal,
        .stats = server->stats,
        .hash_seed = HASH_SEED,
        .random_seed = index + 1,
        .key_bytes_max = options->key_bytes_max,
        .value_bytes_max = options->value_bytes_max,
        .memory_max = options->memory_max,
        .calls_max = CALLS_MAX,
        .peers = server->peers,
        .env = {server, send_on, committed, released}};
    enum status status = shard_create(&shard, &server->shard[index]);
    if (status == ST_OK)
        status = server->engine->vm_open(server->app, index, &server->vms[index], error);
    return status;
}

static enum status open_parts(struct mem_server *server, struct buf *error) {
    static const char *const labels[] = {"test"};
    const struct options *options = server->options;
    struct kv_limits limits = {
        .key_bytes_max = options->key_bytes_max, .value_bytes_max = options->value_bytes_max};
    slots_init(&server->slots, server->shards);
    exchange_pool_init(&server->pool, options->body_bytes_max, 1, 2);
    for (unsigned i = 0; i < server->shards; i++)
        server->inboxes[i].end = &server->inboxes[i].first;
    server->stats = stats_create(server->shards);
    if (server->stats)
        server->peers = shard_peers_create(server->shards, server->stats, labels, 1);
    server->kv = kv_create(&limits);
    if (!server->peers || !server->kv)
        return ST_NOMEM;
    enum status status =
        wal_open_memory(server->shards, (size_t)options->wal_segment_bytes, &server->wal);
    for (unsigned i = 0; i < server->shards && status == ST_OK; i++)
        status = open_shard(server, i, error);
    return status;
}

enum status mem_server_open(const struct options *options, const struct script_engine *engine,
    struct script_app *app, struct mem_server **out, struct buf *error) {
    struct mem_server *server = calloc(1, sizeof(*server));
    if (!server)
        return ST_NOMEM;
    server->options = options;
    server->engine = engine;
    server->app = app;
    server->shards = options->shards;
    enum status status = open_parts(server, error);
    if (status == ST_OK)
        *out = server;
    else
        mem_server_close(server);
    return status;
}

void mem_server_close(struct mem_server *server) {
    if (!server)
        return;
    for (unsigned i = 0; i < server->shards; i++) {
        if (server->shard[i])
            shard_destroy(server->shard[i]);
        if (server->vms[i])
            server->engine->vm_close(server->vms[i]);
    }
    exchange_pool_free(&server->pool);
    if (server->kv)
        kv_destroy(server->kv);
    if (server->wal) {
        wal_forget(server->wal);
        wal_close(server->wal);
    }
    if (server->peers)
        shard_peers_destroy(server->peers);
    if (server->stats)
        stats_destroy(server->stats);
    free(server);
}

/* ---- running a call ---- */

static void deliver(struct mem_server *server, unsigned to, uint64_t now_ns) {
    struct inbox *inbox = &server->inboxes[to];
    struct msg *msg = inbox->first;
    inbox->first = NULL;
    inbox->end = &inbox->first;
    while (msg) {
        struct msg *next = msg->next; /* whoever gets the message may free it */
        shard_deliver(server->shard[to], msg, now_ns);
        msg = next;
    }
}

/* One turn of each shard; true if there is more to do at once. */
static bool turn(struct mem_server *server) {
    bool more = false;
    for (unsigned i = 0; i < server->shards; i++) {
        uint64_t now_ns = clock_monotonic_ns();
        deliver(server, i, now_ns);
        more |= shard_turn(server->shard[i], now_ns);
        more |= shard_turn_slow(server->shard[i], now_ns);
    }
    wal_forget(server->wal);
    for (unsigned i = 0; i < server->shards; i++)
        more |= server->inboxes[i].first != NULL;
    return more;
}

static bool at_rest(const struct mem_server *server) {
    for (unsigned i = 0; i < server->shards; i++)
        if (shard_in_flight(server->shard[i]) > 0)
            return false;
    return server->released;
}

static void sleep_for_timer(const struct mem_server *server) {
    uint64_t next_ns = UINT64_MAX, now_ns = clock_monotonic_ns();
    for (unsigned i = 0; i < server->shards; i++) {
        uint64_t shard_ns = shard_next_ns(server->shard[i]);
        next_ns = shard_ns < next_ns ? shard_ns : next_ns;
    }
    if (next_ns <= now_ns)
        return;
    uint64_t ns = next_ns - now_ns < IDLE_NS_MAX ? next_ns - now_ns : IDLE_NS_MAX;
    nanosleep(&(struct timespec){.tv_nsec = (long)ns}, NULL);
}

/* Takes the call, whose procedure is set, through all shards and home. */
static void run(struct mem_server *server, struct exchange *exchange, uint64_t budget_ns) {
    struct call *call = &exchange->call;
    call->label = 0;
    call->home = 0;
    call->started_ns = clock_monotonic_ns();
    call->deadline_ns = call->started_ns + budget_ns;
    call->wall_ns = clock_wall_ns();
    call->vms = server->vms;
    fault_init(&call->fault);
    server->released = false;
    enum status status = shard_submit(server->shard[0], call, call->started_ns);
    if (status != ST_OK) {
        call->outcome = status;
        return;
    }
    while (!at_rest(server)) /* a call ends at its deadline */
        if (!turn(server) && !at_rest(server))
            sleep_for_timer(server);
}

static enum status run_lifecycle(
    struct mem_server *server, const struct procedure *procedure, struct fault *fault) {
    struct exchange *exchange = exchange_take(&server->pool);
    if (!exchange)
        return ST_NOMEM;
    exchange->call.procedure = procedure;
    run(server, exchange, START_BUDGET_NS);
    enum status status = exchange->call.outcome;
    if (status != ST_OK) { /* the exchange's own stays behind, empty */
        struct fault empty = *fault;
        *fault = exchange->call.fault;
        exchange->call.fault = empty;
    }
    mem_server_give(server, exchange);
    return status;
}

enum status mem_server_start(struct mem_server *server, const char **failed, struct fault *fault) {
    *failed = "first_run";
    enum status status = run_lifecycle(server, server->engine->first_run, fault);
    if (status != ST_OK)
        return status;
    *failed = "start";
    return run_lifecycle(server, server->engine->on_start, fault);
}

/* ---- a request ---- */

/* The request as a client would send it, so that the parser has its say. */
static void write_head(struct buf *head, const struct mem_request *request) {
    buf_append_slice(head, request->method);
    buf_append_byte(head, ' ');
    buf_append_slice(head, request->target);
    buf_append_text(head, " HTTP/1.1\r\nHost: test\r\n");
    buf_append_slice(head, request->headers);
    if (request->body.len > 0) {
        buf_append_text(head, "Content-Length: ");
        buf_append_u64(head, request->body.len);
        buf_append_text(head, "\r\n");
    }
    buf_append_text(head, "\r\n");
}

/* False if the reply is made: the head is refused. */
static bool take_head(struct mem_server *server, struct exchange *exchange, struct buf *text) {
    struct http_limits limits = {.header_bytes_max = server->options->header_bytes_max,
        .body_bytes_max = server->options->body_bytes_max};
    struct http_scan scan = {0};
    struct http_head head;
    struct http_error error = {400, "bad_request", "the request is not complete"};
    size_t used = 0;
    enum http_result result =
        http_parse_head(&scan, text->data, text->len, &limits, &head, &used, &error);
    if (result != HTTP_DONE || used != text->len) {
        exchange_fail(exchange, error.status, error.code, error.text);
        return false;
    }
    if (exchange_set_head(exchange, &head, text->data, text->len, SLICE("127.0.0.1:0")) == ST_OK)
        return true;
    route_failed(exchange, ST_NOMEM);
    return false;
}

static enum route_action route(struct mem_server *server, struct exchange *exchange) {
    struct call *call = &exchange->call;
    struct kv_error error;
    enum status status;
    if (slice_equal(call->request.path, SLICE("/v1/get")))
        status = kv_prepare_get(server->kv, call, &error);
    else if (slice_equal(call->request.path, SLICE("/v1/execute")))
        status = kv_prepare_execute(server->kv, call, &error);
    else
        return route_to_script(server->engine, server->app, exchange);
    if (status == ST_OK)
        return ROUTE_SUBMIT;
    if (status == ST_INVALID)
        exchange_fail(exchange, error.status, error.code, error.text);
    else
        route_failed(exchange, status);
    return ROUTE_ANSWERED;
}

struct exchange *mem_server_call(struct mem_server *server, const struct mem_request *request) {
    struct exchange *exchange = exchange_take(&server->pool);
    if (!exchange)
        return NULL;
    struct buf head;
    buf_init(&head, SIZE_MAX);
    write_head(&head, request);
    buf_append_slice(&exchange->body, request->body);
    server->pool.body_bytes_held += exchange->body.len;
    if (!buf_ok(&head)) {
        route_failed(exchange, ST_NOMEM);
    } else if (take_head(server, exchange, &head)) {
        exchange->call.request.body = buf_slice(&exchange->body);
        if (route(server, exchange) == ROUTE_SUBMIT) {
            run(server, exchange, server->options->handler_timeout_ms * NS_PER_MS);
            if (exchange->call.outcome != ST_OK)
                route_failed(exchange, exchange->call.outcome);
        }
    }
    buf_free(&head);
    return exchange;
}

void mem_server_give(struct mem_server *server, struct exchange *exchange) {
    exchange_give(&server->pool, exchange);
}
