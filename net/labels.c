#include "net/labels.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "shard/shard.h"

#define PREFIX "/fn/"
#define PREFIX_LEN (sizeof(PREFIX) - 1)

static const char *const fixed_names[LABEL_FIXED] = {
    [LABEL_OTHER] = "other",
    [LABEL_GET] = "/v1/get",
    [LABEL_PUT] = "/v1/put",
    [LABEL_EXECUTE] = "/v1/execute",
    [LABEL_RANGE] = "/v1/range",
    [LABEL_STATUS] = "/v1/admin/status",
    [LABEL_FLUSH] = "/v1/admin/flush",
    [LABEL_CHECKPOINT] = "/v1/admin/checkpoint",
    [LABEL_STATIC] = "/static/*",
    [LABEL_METRICS] = "/metrics",
    [LABEL_LIVEZ] = "/livez",
    [LABEL_READYZ] = "/readyz",
    [LABEL_FIRST_RUN] = "first_run",
    [LABEL_START] = "start",
    [LABEL_FURTHER] = "further routes",
};

enum status labels_create(struct labels *labels) {
    *labels = (struct labels){0};
    labels->names = calloc(CALL_LABELS_MAX, sizeof(*labels->names));
    labels->seconds = calloc(CALL_LABELS_MAX, sizeof(*labels->seconds));
    labels->handler_seconds = calloc(CALL_LABELS_MAX, sizeof(*labels->handler_seconds));
    if (!labels->names || !labels->seconds || !labels->handler_seconds) {
        labels_destroy(labels);
        return ST_NOMEM;
    }
    for (; labels->count < LABEL_FIXED; labels->count++)
        labels->names[labels->count] = fixed_names[labels->count];
    return ST_OK;
}

void labels_destroy(struct labels *labels) {
    assert(labels->names || labels->count == 0);
    for (unsigned i = LABEL_FIXED; i < labels->count; i++)
        free((void *)(uintptr_t)labels->names[i]);
    free(labels->names);
    free(labels->seconds);
    free(labels->handler_seconds);
    *labels = (struct labels){0};
}

/* ---- series ---- */

static enum status register_label(
    struct labels *labels, struct stats *stats, unsigned label, bool handler) {
    struct buf text;
    buf_init(&text, 4096);
    const char *name = labels->names[label];
    buf_append_text(&text, "route=\"");
    stats_escape(&text, slice_of(name, strlen(name)));
    buf_append(&text, "\"", 2); /* with the text's end */
    enum status status = buf_ok(&text) ? ST_OK : ST_NOMEM;
    if (status == ST_OK) {
        labels->seconds[label] =
            stats_new_series(stats, "http_request_duration_seconds", text.data);
        if (handler)
            labels->handler_seconds[label] =
                stats_new_series(stats, "lua_handler_seconds", text.data);
    }
    buf_free(&text);
    return status;
}

enum status labels_register(struct labels *labels, struct stats *stats) {
    enum status status = ST_OK;
    for (unsigned i = 0; i < LABEL_FIXED && status == ST_OK; i++)
        status = register_label(labels, stats, i, i == LABEL_FURTHER);
    return status;
}

/* ---- routes ---- */

static enum status add(struct labels *labels, struct stats *stats, struct shard_peers *peers,
    struct slice pattern, unsigned *label) {
    size_t size = sizeof(PREFIX) + pattern.len;
    char *name = malloc(size);
    if (!name)
        return ST_NOMEM;
    snprintf(name, size, PREFIX "%.*s", (int)pattern.len, pattern.data);
    *label = labels->count;
    labels->names[*label] = name;
    labels->count++;
    shard_peers_add_label(peers, stats, *label, name);
    return register_label(labels, stats, *label, true);
}

/* The label of a pattern, which may be there already. */
static enum status find_or_add(struct labels *labels, struct stats *stats,
    struct shard_peers *peers, struct slice pattern, unsigned *label) {
    for (unsigned i = LABEL_FIXED; i < labels->count; i++) {
        const char *name = labels->names[i] + PREFIX_LEN;
        if (strncmp(name, pattern.data, pattern.len) == 0 && name[pattern.len] == '\0') {
            *label = i;
            return ST_OK;
        }
    }
    *label = LABEL_FURTHER;
    bool room = labels->count < CALL_LABELS_MAX && pattern.len <= LABEL_PATTERN_BYTES_MAX;
    return room ? add(labels, stats, peers, pattern, label) : ST_OK;
}

enum status labels_of_routes(struct labels *labels, struct stats *stats, struct shard_peers *peers,
    const struct script_engine *engine, const struct script_app *app, unsigned **of_route,
    unsigned *further) {
    struct script_route_info info;
    unsigned routes = 0;
    while (engine->route_at(app, routes, &info))
        routes++;
    unsigned *found = calloc(routes + 1, sizeof(*found));
    enum status status = found ? ST_OK : ST_NOMEM;
    *further = 0;
    for (unsigned i = 0; i < routes && status == ST_OK; i++) {
        engine->route_at(app, i, &info);
        status = find_or_add(labels, stats, peers, info.pattern, &found[i]);
        *further += found[i] == LABEL_FURTHER;
    }
    if (status == ST_OK)
        *of_route = found;
    else
        free(found);
    return status;
}
