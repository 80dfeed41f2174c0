/* The routes' names in the metrics: the fixed ones, then the application's patterns.
 *
 * A pattern keeps its label while the process lives: one that a reload takes away keeps its
 * counters, and gets them back if a later version declares it again. There is room for
 * CALL_LABELS_MAX of them; patterns past that, and very long ones, are counted together under one
 * name.
 *
 * Ownership: the labels own their texts; they live as long as the metrics.
 * Threads: added by one thread at a time (main, later the reloader); a label may be read by whoever
 * was told of it by a message. Errors: ST_NOMEM. */
#ifndef CONCAVE_NET_LABELS_H
#define CONCAVE_NET_LABELS_H

#include "core/stats.h"
#include "shard/script.h"

struct shard_peers;

enum label {
    LABEL_OTHER, /* no route: bad requests, unknown paths */
    LABEL_GET,
    LABEL_PUT,
    LABEL_EXECUTE,
    LABEL_RANGE,
    LABEL_STATUS,
    LABEL_FLUSH,
    LABEL_CHECKPOINT,
    LABEL_STATIC,
    LABEL_METRICS,
    LABEL_LIVEZ,
    LABEL_READYZ,
    LABEL_FIRST_RUN,
    LABEL_START,
    LABEL_FURTHER, /* routes whose pattern has no label of its own */
    LABEL_FIXED,   /* how many there are; the application's follow */
};

struct labels {
    const char **names; /* by label, CALL_LABELS_MAX */
    unsigned count;
    stats_id *seconds;         /* by label: the series of http_request_duration_seconds */
    stats_id *handler_seconds; /* of routes: of lua_handler_seconds */
};

/* A longer pattern has no label of its own: clients of metrics would not like it either. */
#define LABEL_PATTERN_BYTES_MAX 190u

/* The fixed ones, without their series. */
MUST_USE enum status labels_create(struct labels *labels);
void labels_destroy(struct labels *labels);

/* The series of the fixed ones, once their families have been made. */
MUST_USE enum status labels_register(struct labels *labels, struct stats *stats);
/* The labels of an application's routes, new ones with their series, as an array by route index,
 * which is the caller's (free). *further: how many share LABEL_FURTHER. */
MUST_USE enum status labels_of_routes(struct labels *labels, struct stats *stats,
    struct shard_peers *peers, const struct script_engine *engine, const struct script_app *app,
    unsigned **of_route, unsigned *further);

#endif
