/* A fault: what went wrong in an application's code, for the developer's eyes (--dev, concave
 * test).
 *
 * Ownership: the buffers are those of whoever holds the fault. Threads: none of its own.
 * Errors: what found no room is left out. */
#ifndef CONCAVE_SHARD_FAULT_H
#define CONCAVE_SHARD_FAULT_H

#include "core/buf.h"

#define FAULT_BYTES_MAX ((size_t)64 << 10) /* of each part */

/* All UTF-8; empty: nothing went wrong, or nobody wants to know. */
struct fault {
    struct buf message;   /* "bank.lua:12: attempt to ..." */
    struct buf source;    /* the lines around that place, the place itself marked with '>' */
    struct buf traceback; /* Lua's */
};

static inline void fault_init(struct fault *fault) {
    buf_init(&fault->message, FAULT_BYTES_MAX);
    buf_init(&fault->source, FAULT_BYTES_MAX);
    buf_init(&fault->traceback, FAULT_BYTES_MAX);
}

static inline void fault_free(struct fault *fault) {
    buf_free(&fault->message);
    buf_free(&fault->source);
    buf_free(&fault->traceback);
}

/* Makes it empty; its memory goes too, since faults are rare. */
static inline void fault_reset(struct fault *fault) {
    buf_reset(&fault->message, 0);
    buf_reset(&fault->source, 0);
    buf_reset(&fault->traceback, 0);
}

#endif
