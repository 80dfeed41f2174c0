/* The routes' names in the metrics: the fixed ones, then the application's patterns.
 *
 * Ownership: the labels own their texts; they live as long as the metrics.
 * Threads: made before the workers start, read by all. Errors: ST_NOMEM. */
#ifndef CONCAVE_NET_LABELS_H
#define CONCAVE_NET_LABELS_H

#include "shard/script.h"

enum label {
    LABEL_OTHER, /* no route: bad requests, unknown paths */
    LABEL_GET,
    LABEL_PUT,
    LABEL_EXECUTE,
    LABEL_RANGE,
    LABEL_STATUS,
    LABEL_FLUSH,
    LABEL_CHECKPOINT,
    LABEL_METRICS,
    LABEL_LIVEZ,
    LABEL_READYZ,
    LABEL_FIRST_RUN,
    LABEL_START,
    LABEL_FIXED, /* how many there are; the application's follow */
};

struct labels {
    const char **names; /* by label */
    unsigned count;
    unsigned
        *of_route; /* label of the application's route index; routes of one pattern share one */
    unsigned routes;
};

/* app NULL: the fixed ones only. */
MUST_USE enum status labels_create(
    struct labels *labels, const struct script_engine *engine, const struct script_app *app);
void labels_destroy(struct labels *labels);

#endif
