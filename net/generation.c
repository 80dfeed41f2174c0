#include "net/generation.h"

#include <stdlib.h>

#include "net/server.h"
#include "net/watch.h"

/* ---- what the engine asks and tells while it loads ---- */

struct loading {
    struct server *server;
    bool (*stopped)(void *ctx);
    void *ctx;
};

static bool is_stopped(void *ctx) {
    const struct loading *loading = ctx;
    return loading->stopped(loading->ctx);
}

static void note_file(void *ctx, const char *path) {
    const struct loading *loading = ctx;
    if (loading->server->watch)
        watch_note(loading->server->watch, path);
}

/* ---- life ---- */

/* What is wrong with the application and does not prevent it. */
static void warn_of_problems(const struct server *server, const struct script_app *app) {
    struct slice problem;
    for (unsigned i = 0; server->engine->problem_at(app, i, &problem); i++)
        diag(DIAG_WARN, "%.*s", (int)problem.len, problem.data);
}

static enum status open_vms(
    struct server *server, struct generation *generation, struct buf *error) {
    enum status status = ST_OK;
    generation->vms = calloc(server->shards, sizeof(struct script_vm *));
    if (!generation->vms) {
        buf_append_text(error, "out of memory");
        return ST_NOMEM;
    }
    for (unsigned i = 0; i < server->shards && status == ST_OK; i++)
        status = server->engine->vm_open(generation->app, i, &generation->vms[i], error);
    return status;
}

enum status generation_open(struct server *server, uint64_t number, bool (*stopped)(void *ctx),
    void *ctx, struct generation **out, struct buf *error) {
    const struct options *options = server->options;
    struct loading loading = {.server = server, .stopped = stopped, .ctx = ctx};
    struct generation *generation = calloc(1, sizeof(*generation));
    if (!generation) {
        buf_append_text(error, "out of memory");
        return ST_NOMEM;
    }
    generation->number = number;
    struct script_options script = {
        .file = options->app,
        .resources = options->resources,
        .vm_bytes_max = options->lua_memory_max,
        .key_bytes_max = options->key_bytes_max,
        .value_bytes_max = options->value_bytes_max,
        .shards = server->shards,
        .stopped = is_stopped,
        .reading = note_file,
        .ctx = &loading,
    };
    if (server->watch)
        watch_begin(server->watch);
    enum status status = server->engine->app_open(&script, &generation->app, error);
    if (status == ST_OK)
        warn_of_problems(server, generation->app);
    if (status == ST_OK)
        status = open_vms(server, generation, error);
    if (server->watch)
        watch_end(server->watch);
    if (status != ST_OK) {
        generation_close(server, generation);
        return status;
    }
    *out = generation;
    return ST_OK;
}

enum status generation_label(struct server *server, struct generation *generation) {
    unsigned *of_route, further;
    enum status status = labels_of_routes(&server->labels, server->stats, server->peers,
        server->engine, generation->app, &of_route, &further);
    if (status != ST_OK)
        return status;
    generation->of_route = of_route;
    if (further > 0)
        diag(DIAG_WARN,
            "metrics: %u routes are counted together as \"%s\": since the start there is room for "
            "%u "
            "names, of up to %u bytes",
            further, server->labels.names[LABEL_FURTHER], CALL_LABELS_MAX, LABEL_PATTERN_BYTES_MAX);
    return ST_OK;
}

void generation_close(struct server *server, struct generation *generation) {
    if (!generation)
        return;
    for (unsigned i = 0; generation->vms && i < server->shards; i++)
        if (generation->vms[i])
            server->engine->vm_close(generation->vms[i]);
    if (generation->app)
        server->engine->app_close(generation->app);
    free(generation->vms);
    free((void *)(uintptr_t)generation->of_route);
    free(generation);
}
