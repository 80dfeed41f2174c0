#include "core/arena.h"

#include <stdalign.h>
#include <stdlib.h>

#define CHUNK_BYTES ((size_t)4096)

struct arena_chunk {
    struct arena_chunk *older;
    size_t bytes; /* behind this header */
    alignas(max_align_t) char data[];
};

void arena_init(struct arena *arena, size_t max) {
    *arena = (struct arena){.max = max};
}

void arena_reset(struct arena *arena) {
    while (arena->chunks && (arena->chunks->older || arena->chunks->bytes > CHUNK_BYTES)) {
        struct arena_chunk *older = arena->chunks->older;
        arena->total -= arena->chunks->bytes;
        free(arena->chunks);
        arena->chunks = older;
    }
    arena->used = 0;
}

void arena_free(struct arena *arena) {
    while (arena->chunks) {
        struct arena_chunk *older = arena->chunks->older;
        free(arena->chunks);
        arena->chunks = older;
    }
    arena_init(arena, arena->max);
}

/* Puts a chunk in front that has room for bytes; chunks double, so their number stays small. */
static bool add_chunk(struct arena *arena, size_t bytes) {
    size_t size = arena->total > CHUNK_BYTES ? arena->total : CHUNK_BYTES;
    if (size < bytes)
        size = bytes;
    if (size > arena->max - arena->total)
        size = bytes;
    if (size > arena->max - arena->total)
        return false;
    struct arena_chunk *chunk = malloc(sizeof *chunk + size);
    if (!chunk)
        return false;
    chunk->older = arena->chunks;
    chunk->bytes = size;
    arena->chunks = chunk;
    arena->total += size;
    arena->used = 0;
    return true;
}

void *arena_alloc(struct arena *arena, size_t bytes) {
    size_t align = alignof(max_align_t);
    if (bytes > SIZE_MAX - align)
        return NULL;
    bytes = (bytes + align - 1) / align * align;
    if (!arena->chunks || bytes > arena->chunks->bytes - arena->used)
        if (!add_chunk(arena, bytes))
            return NULL;
    void *piece = arena->chunks->data + arena->used;
    arena->used += bytes;
    return memset(piece, 0, bytes);
}

struct slice arena_copy(struct arena *arena, struct slice bytes) {
    char *copy = arena_alloc(arena, bytes.len ? bytes.len : 1);
    if (!copy)
        return slice_of(NULL, 0);
    if (bytes.len)
        memcpy(copy, bytes.data, bytes.len);
    return slice_of(copy, bytes.len);
}
