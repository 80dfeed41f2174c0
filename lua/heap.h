/* A Lua state's memory: small blocks from free lists, large ones from malloc, all within a cap.
 *
 * A state belongs to one thread and its objects are small and short-lived, and Lua tells the size
 * of what it frees: a list for each size needs neither locks nor headers. (A transfer makes and
 * frees some 25 objects; malloc's share of its time was an eighth.) Chunks of small blocks are
 * given back only when the state is closed; they count as used, so the cap bounds what is taken
 * from the system. Large blocks are in a list, so that a state can be thrown away without a walk
 * over its objects: lua_close takes a tenth of a second for 64 MiB of small tables.
 *
 * Ownership: the heap owns all blocks. Threads: the VM's. Errors: NULL past the cap or when the
 * system has no more; making a block smaller never fails, as Lua demands. */
#ifndef CONCAVE_LUA_HEAP_H
#define CONCAVE_LUA_HEAP_H

#include <stddef.h>

#define HEAP_SMALL_MAX 512u
#define HEAP_STEP 16u

struct heap_chunk;
struct heap_large;
struct heap_block;

struct heap {
    size_t bytes; /* taken from the system */
    size_t bytes_max;
    struct heap_block *free[HEAP_SMALL_MAX / HEAP_STEP]; /* by size: up to 16, up to 32, ... */
    struct heap_chunk *chunks;
    struct heap_large *large;
    size_t chunk_bytes;    /* of all chunks; the rest of bytes is in large blocks */
    char *rest, *rest_end; /* of the newest chunk, not handed out yet */
};

void heap_init(struct heap *heap, size_t bytes_max);
/* As realloc, with the block's old size: old_bytes 0 and block NULL for a new one, bytes 0 to free.
 */
void *heap_resize(struct heap *heap, void *block, size_t old_bytes, size_t bytes);
/* Bytes in blocks of more than HEAP_SMALL_MAX. */
static inline size_t heap_large_bytes(const struct heap *heap) {
    return heap->bytes > heap->chunk_bytes ? heap->bytes - heap->chunk_bytes : 0;
}
/* Gives everything back: no block of the heap is valid afterwards. */
void heap_close(struct heap *heap);

#endif
