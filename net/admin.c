#include "net/admin.h"

#include <cjson/cJSON.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/clock.h"
#include "net/checkpoint.h"
#include "net/reload.h"

/* ---- metrics ---- */

static double connections(void *ctx) {
    struct server *server = ctx;
    return atomic_load_explicit(&server->connections, memory_order_relaxed);
}

static double one(void *ctx) {
    (void)ctx;
    return 1;
}

/* The log exists only once recovery has begun. */
static struct wal_numbers wal_numbers_of(struct server *server) {
    struct wal_numbers numbers = {0};
    if (atomic_load_explicit(&server->phase, memory_order_acquire) != SERVER_STARTING)
        wal_read_numbers(server->wal, &numbers);
    return numbers;
}

static double wal_records(void *ctx) {
    return (double)wal_numbers_of(ctx).records;
}

static double wal_bytes(void *ctx) {
    return (double)wal_numbers_of(ctx).bytes;
}

static double wal_segments(void *ctx) {
    return (double)wal_numbers_of(ctx).segments;
}

static double durable_lsn(void *ctx) {
    struct server *server = ctx;
    return atomic_load_explicit(&server->phase, memory_order_acquire) == SERVER_STARTING
               ? 0
               : (double)wal_durable_lsn(server->wal);
}

static double last_lsn(void *ctx) {
    struct server *server = ctx;
    return atomic_load_explicit(&server->phase, memory_order_acquire) == SERVER_STARTING
               ? 0
               : (double)wal_last_lsn(server->wal);
}

/* What the callbacks of one shard's gauges get; they live as long as the process's metrics. */
struct shard_gauge {
    struct shard_peers *peers;
    unsigned shard;
};

static double shard_keys(void *ctx) {
    const struct shard_gauge *gauge = ctx;
    return (double)shard_peers_keys(gauge->peers, gauge->shard);
}

static double shard_bytes(void *ctx) {
    const struct shard_gauge *gauge = ctx;
    return (double)shard_peers_bytes(gauge->peers, gauge->shard);
}

static void register_log(struct server *server) {
    static const uint64_t seconds[] = {20000, 50000, 100000, 200000, 500000, 1000000, 2000000,
        5000000, 10000000, 50000000, 100000000, 1000000000};
    static const uint64_t records[] = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096};
    struct stats *stats = server->stats;
    stats_family(stats, "wal_fsync_duration_seconds", STATS_HISTOGRAM,
        "Time that a sync of the log took.", seconds, sizeof(seconds) / sizeof(seconds[0]), 1e9);
    server->fsync_seconds = stats_series(stats, "wal_fsync_duration_seconds", NULL);
    stats_family(stats, "wal_batch_records", STATS_HISTOGRAM,
        "Records that one sync of the log made durable.", records,
        sizeof(records) / sizeof(records[0]), 1);
    server->batch_records = stats_series(stats, "wal_batch_records", NULL);
    stats_callback(stats, "wal_records_total", STATS_COUNTER, "Records written to the log.", NULL,
        wal_records, server);
    stats_callback(stats, "wal_bytes_total", STATS_COUNTER, "Bytes written to the log.", NULL,
        wal_bytes, server);
    stats_callback(stats, "wal_segments", STATS_GAUGE, "Segment files of the log.", NULL,
        wal_segments, server);
    stats_callback(stats, "wal_durable_lsn", STATS_GAUGE, "The newest LSN that is on disk.", NULL,
        durable_lsn, server);
    stats_callback(
        stats, "wal_last_lsn", STATS_GAUGE, "The newest LSN drawn.", NULL, last_lsn, server);
}

static void register_shards(struct server *server) {
    struct shard_gauge *gauges = calloc(server->shards, sizeof(*gauges));
    if (!gauges)
        diag_fatal(EXIT_BAD, "out of memory");
    server->gauges = gauges;
    for (unsigned i = 0; i < server->shards; i++) {
        gauges[i] = (struct shard_gauge){server->peers, i};
        char label[32];
        snprintf(label, sizeof(label), "shard=\"%u\"", i);
        stats_callback(server->stats, "shard_keys", STATS_GAUGE, "Keys of a shard.", label,
            shard_keys, &gauges[i]);
    }
    for (unsigned i = 0; i < server->shards; i++) {
        char label[32];
        snprintf(label, sizeof(label), "shard=\"%u\"", i);
        stats_callback(server->stats, "shard_bytes", STATS_GAUGE,
            "Bytes of keys and values of a shard.", label, shard_bytes, &gauges[i]);
    }
}

void admin_register(struct server *server) {
    static const uint64_t seconds[] = {100000, 200000, 500000, 1000000, 2000000, 5000000, 10000000,
        50000000, 100000000, 500000000, 1000000000, 5000000000};
    static const uint64_t handler_seconds[] = {
        1000, 2000, 5000, 10000, 20000, 50000, 100000, 1000000, 10000000, 100000000, 1000000000};
    struct stats *stats = server->stats;
    stats_family(stats, "http_requests_total", STATS_COUNTER,
        "Requests answered, by route pattern and status code.", NULL, 0, 1);
    stats_family(stats, "http_request_duration_seconds", STATS_HISTOGRAM,
        "From a complete request to its reply handed to the socket.", seconds,
        sizeof(seconds) / sizeof(seconds[0]), 1e9);
    stats_family(stats, "lua_handler_seconds", STATS_HISTOGRAM,
        "Time that a request spent running its handler, over all attempts.", handler_seconds,
        sizeof(handler_seconds) / sizeof(handler_seconds[0]), 1e9);
    stats_family(stats, "shard_mailbox_depth", STATS_GAUGE,
        "Messages that a shard found in its mailbox when it last looked.", NULL, 0, 1);
    stats_family(
        stats, "lua_memory_bytes", STATS_GAUGE, "Memory that a shard's Lua VM holds.", NULL, 0, 1);
    stats_callback(
        stats, "http_connections", STATS_GAUGE, "Connections open.", NULL, connections, server);
    char build[96];
    snprintf(build, sizeof(build), "version=\"%s\",shards=\"%u\"", CONCAVE_VERSION, server->shards);
    stats_callback(stats, "build_info", STATS_GAUGE, "What runs; always 1.", build, one, NULL);
    register_log(server);
    register_shards(server);
    stats_register_process(stats);
}

void admin_metrics(struct server *server, struct reply *reply) {
    reply->status = 200;
    reply->content_type = "text/plain; version=0.0.4; charset=utf-8";
    stats_render(server->stats, &reply->body);
}

/* ---- health ---- */

void admin_ok(struct reply *reply) {
    reply->status = 200;
    reply->content_type = REPLY_JSON;
    buf_append_text(&reply->body, "{\"status\":\"ok\"}\n");
}

/* ---- status ---- */

void admin_flushed(const struct server *server, struct reply *reply) {
    reply->status = 200;
    reply->content_type = REPLY_JSON;
    buf_append_text(&reply->body, "{\"durable_lsn\":");
    buf_append_u64(&reply->body, wal_durable_lsn(server->wal));
    buf_append_text(&reply->body, "}\n");
}

/* A document under construction; failed: something is missing for lack of memory. */
struct document {
    cJSON *root;
    bool failed;
};

static void note(struct document *document, const cJSON *added) {
    document->failed |= added == NULL;
}

/* Numbers of 64 bits, which cJSON would round to a double. */
static void add_u64(struct document *document, cJSON *object, const char *name, uint64_t number) {
    char text[24];
    snprintf(text, sizeof(text), "%" PRIu64, number);
    note(document, cJSON_AddRawToObject(object, name, text));
}

static void add_slice(
    struct document *document, cJSON *object, const char *name, struct slice text) {
    char copy[512];
    snprintf(copy, sizeof(copy), "%.*s", (int)text.len, text.data ? text.data : "");
    note(document, cJSON_AddStringToObject(object, name, copy));
}

static cJSON *add_array(struct document *document, const char *name) {
    cJSON *array = cJSON_AddArrayToObject(document->root, name);
    note(document, array);
    return array;
}

/* Another object in the array. */
static cJSON *add_item(struct document *document, cJSON *array) {
    cJSON *item = cJSON_CreateObject();
    note(document, item);
    if (!cJSON_AddItemToArray(array, item)) {
        document->failed = true;
        cJSON_Delete(item);
        item = NULL;
    }
    return item;
}

static void add_shards(struct document *document, struct server *server) {
    cJSON *shards = add_array(document, "shards");
    for (unsigned i = 0; i < server->shards; i++) {
        cJSON *shard = add_item(document, shards);
        add_u64(document, shard, "shard", i);
        add_u64(document, shard, "keys", shard_peers_keys(server->peers, i));
        add_u64(document, shard, "bytes", shard_peers_bytes(server->peers, i));
    }
}

static void add_snapshots(struct document *document, struct server *server) {
    const struct checkpointer *checkpointer = server->checkpointer;
    uint64_t lsns[] = {
        checkpointer_last_lsn(checkpointer), checkpointer_previous_lsn(checkpointer)};
    cJSON *snapshots = add_array(document, "snapshots");
    for (size_t i = 0; i < sizeof(lsns) / sizeof(lsns[0]); i++)
        if (lsns[i] != 0)
            add_u64(document, add_item(document, snapshots), "lsn", lsns[i]);
}

static void add_log(struct document *document, struct server *server) {
    struct wal_numbers numbers = {0};
    cJSON *root = document->root;
    wal_read_numbers(server->wal, &numbers);
    add_u64(document, root, "last_lsn", wal_last_lsn(server->wal));
    add_u64(document, root, "durable_lsn", wal_durable_lsn(server->wal));
    cJSON *segments = cJSON_AddObjectToObject(root, "segments");
    add_u64(document, segments, "count", numbers.segments);
    add_u64(document, segments, "first_lsn", numbers.first_lsn);
    add_snapshots(document, server);
    note(document, cJSON_AddBoolToObject(root, "disk_full", numbers.disk_full));
}

static void add_app(struct document *document, struct server *server) {
    if (!server->reloader)
        return;
    struct reload_report report;
    reloader_report(server->reloader, &report);
    cJSON *app = cJSON_AddObjectToObject(document->root, "app");
    note(document, cJSON_AddStringToObject(app, "file", server->options->app));
    add_u64(document, app, "generation", report.generation);
    add_u64(document, app, "reloads", report.succeeded);
    add_u64(document, app, "failed_reloads", report.failed);
    note(document, report.error[0] ? cJSON_AddStringToObject(app, "last_reload_error", report.error)
                                   : cJSON_AddNullToObject(app, "last_reload_error"));
}

static void add_routes(
    struct document *document, struct server *server, const struct generation *generation) {
    cJSON *routes = add_array(document, "routes");
    struct script_route_info info;
    for (unsigned i = 0; generation && server->engine->route_at(generation->app, i, &info); i++) {
        cJSON *route = add_item(document, routes);
        add_slice(document, route, "pattern", info.pattern);
        add_slice(document, route, "kind", info.kind);
        add_slice(document, route, "methods", info.methods);
        add_slice(document, route, "file", info.file);
        add_u64(document, route, "line", info.line);
    }
}

static const char *durability_text(const struct options *options, char text[static 32]) {
    if (options->durability == WAL_ALWAYS)
        return "always";
    if (options->durability == WAL_MANUAL)
        return "manual";
    snprintf(text, 32, "interval:%" PRIu64, options->interval_ms);
    return text;
}

enum status admin_status(
    struct server *server, const struct generation *generation, struct reply *reply) {
    char durability[32];
    struct document document = {.root = cJSON_CreateObject()};
    cJSON *root = document.root;
    add_slice(&document, root, "version", SLICE(CONCAVE_VERSION));
    double uptime_s = (double)(clock_monotonic_ns() - server->started_ns) / (double)NS_PER_S;
    note(&document, cJSON_AddNumberToObject(root, "uptime_seconds", uptime_s));
    note(&document, cJSON_AddBoolToObject(root, "ready", server_ready(server)));
    const char *how = durability_text(server->options, durability);
    note(&document, cJSON_AddStringToObject(root, "durability", how));
    unsigned open = atomic_load_explicit(&server->connections, memory_order_relaxed);
    note(&document, cJSON_AddNumberToObject(root, "connections", open));
    add_log(&document, server);
    add_shards(&document, server);
    add_app(&document, server);
    add_routes(&document, server, generation);
    char *text = document.failed ? NULL : cJSON_PrintUnformatted(root);
    cJSON_Delete(root);
    if (!text)
        return ST_NOMEM;
    reply->status = 200;
    reply->content_type = REPLY_JSON;
    buf_append_text(&reply->body, text);
    cJSON_free(text);
    return ST_OK;
}
