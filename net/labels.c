#include "net/labels.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

static const char *const fixed_names[LABEL_FIXED] = {
    [LABEL_OTHER] = "other",
    [LABEL_GET] = "/v1/get",
    [LABEL_PUT] = "/v1/put",
    [LABEL_EXECUTE] = "/v1/execute",
    [LABEL_RANGE] = "/v1/range",
    [LABEL_STATUS] = "/v1/admin/status",
    [LABEL_FLUSH] = "/v1/admin/flush",
    [LABEL_CHECKPOINT] = "/v1/admin/checkpoint",
    [LABEL_METRICS] = "/metrics",
    [LABEL_LIVEZ] = "/livez",
    [LABEL_READYZ] = "/readyz",
    [LABEL_FIRST_RUN] = "first_run",
    [LABEL_START] = "start",
};

/* The label of a pattern, which may be there already; labels->count if memory ran out. */
static unsigned label_of_pattern(struct labels *labels, struct slice pattern) {
    for (unsigned i = LABEL_FIXED; i < labels->count; i++) {
        const char *name = labels->names[i];
        assert(name);
        if (slice_equal(slice_of(name + 4, strlen(name + 4)), pattern))
            return i;
    }
    size_t size = sizeof("/fn/") + pattern.len;
    char *name = malloc(size);
    if (!name)
        return labels->count;
    snprintf(name, size, "/fn/%.*s", (int)pattern.len, pattern.data);
    labels->names[labels->count] = name;
    return labels->count++;
}

enum status labels_create(
    struct labels *labels, const struct script_engine *engine, const struct script_app *app) {
    *labels = (struct labels){0};
    struct script_route_info info;
    while (app && engine->route_at(app, labels->routes, &info))
        labels->routes++;
    labels->names = calloc(LABEL_FIXED + labels->routes, sizeof(*labels->names));
    labels->of_route = calloc(labels->routes + 1, sizeof(*labels->of_route));
    if (!labels->names || !labels->of_route)
        goto no_memory;
    for (; labels->count < LABEL_FIXED; labels->count++)
        labels->names[labels->count] = fixed_names[labels->count];
    for (unsigned i = 0; i < labels->routes; i++) {
        engine->route_at(app, i, &info);
        labels->of_route[i] = label_of_pattern(labels, info.pattern);
        if (labels->of_route[i] == labels->count)
            goto no_memory;
    }
    return ST_OK;

no_memory:
    labels_destroy(labels);
    return ST_NOMEM;
}

void labels_destroy(struct labels *labels) {
    assert(labels->names || labels->count == 0);
    for (unsigned i = LABEL_FIXED; i < labels->count; i++)
        free((void *)(uintptr_t)labels->names[i]);
    free(labels->names);
    free(labels->of_route);
    *labels = (struct labels){0};
}
