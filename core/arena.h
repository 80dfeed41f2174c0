/* An arena: memory that is handed out piece by piece and given back all at once.
 *
 * A transaction keeps its keys, sets and values here, so its end is one call and its hot path has
 * no malloc: the first chunk stays with the arena between uses. Ownership: pieces belong to the
 * arena. Threads: none of its own. Errors: NULL when memory or the bound is used up. */
#ifndef CONCAVE_CORE_ARENA_H
#define CONCAVE_CORE_ARENA_H

#include "core/buf.h"

struct arena_chunk;

struct arena {
    struct arena_chunk *chunks; /* newest first; the last of them is kept by arena_reset */
    size_t used;                /* bytes of the newest chunk that are handed out */
    size_t total;               /* bytes of all chunks */
    size_t max;                 /* bytes that all chunks may take */
};

void arena_init(struct arena *arena, size_t max);
/* Gives everything back but one small chunk. */
void arena_reset(struct arena *arena);
void arena_free(struct arena *arena);
/* Zeroed memory, aligned for any type; NULL if there is none. */
void *arena_alloc(struct arena *arena, size_t bytes);
/* A copy of the bytes; data is NULL if there is no memory (also for an empty slice: never NULL). */
struct slice arena_copy(struct arena *arena, struct slice bytes);

#endif
