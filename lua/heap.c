#include "lua/heap.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK_BYTES ((size_t)32 << 10)

struct heap_block {
    struct heap_block *next;
};

struct heap_chunk {
    struct heap_chunk *next;
    char pad[HEAP_STEP - sizeof(struct heap_chunk *)]; /* blocks are aligned to HEAP_STEP */
    char blocks[];
};

/* In front of a block of more than HEAP_SMALL_MAX bytes. */
struct heap_large {
    struct heap_large *next, *prev;
    max_align_t block[];
};

_Static_assert(sizeof(struct heap_block) <= HEAP_STEP, "a free block holds its link");
_Static_assert(offsetof(struct heap_chunk, blocks) == HEAP_STEP, "blocks are aligned");
_Static_assert(HEAP_SMALL_MAX % HEAP_STEP == 0, "each list has one size");

void heap_init(struct heap *heap, size_t bytes_max) {
    *heap = (struct heap){.bytes_max = bytes_max};
}

static bool is_small(size_t bytes) {
    return bytes <= HEAP_SMALL_MAX;
}

static struct heap_block **list_for(struct heap *heap, size_t bytes) {
    return &heap->free[(bytes - 1) / HEAP_STEP];
}

static bool has_room(const struct heap *heap, size_t more) {
    return heap->bytes <= heap->bytes_max && more <= heap->bytes_max - heap->bytes;
}

static size_t round_up(size_t bytes) {
    return (bytes + HEAP_STEP - 1) / HEAP_STEP * HEAP_STEP;
}

/* Puts what is left of the newest chunk on a list and begins a new one. */
static bool add_chunk(struct heap *heap) {
    if (!has_room(heap, CHUNK_BYTES))
        return false;
    struct heap_chunk *chunk = malloc(CHUNK_BYTES);
    if (!chunk)
        return false;
    size_t left = (size_t)(heap->rest_end - heap->rest);
    if (left) { /* less than HEAP_SMALL_MAX, or it would have served */
        struct heap_block *block = (struct heap_block *)(void *)heap->rest;
        struct heap_block **list = list_for(heap, left);
        block->next = *list;
        *list = block;
    }
    chunk->next = heap->chunks;
    heap->chunks = chunk;
    heap->bytes += CHUNK_BYTES;
    heap->chunk_bytes += CHUNK_BYTES;
    heap->rest = chunk->blocks;
    heap->rest_end = (char *)chunk + CHUNK_BYTES;
    return true;
}

static void *take_small(struct heap *heap, size_t bytes) {
    struct heap_block **list = list_for(heap, bytes);
    struct heap_block *block = *list;
    if (block) {
        *list = block->next;
        return block;
    }
    size_t size = round_up(bytes);
    if ((size_t)(heap->rest_end - heap->rest) < size && !add_chunk(heap))
        return NULL;
    char *at = heap->rest;
    heap->rest += size;
    return at;
}

/* ---- large blocks ---- */

static struct heap_large *large_of(void *block) {
    return (struct heap_large *)(void *)((char *)block - offsetof(struct heap_large, block));
}

/* Makes its neighbours point to a block that is new or has moved. */
static void link_large(struct heap *heap, struct heap_large *large) {
    if (large->prev)
        large->prev->next = large;
    else
        heap->large = large;
    if (large->next)
        large->next->prev = large;
}

static void *take_large(struct heap *heap, size_t bytes) {
    if (bytes > SIZE_MAX - sizeof(struct heap_large) || !has_room(heap, bytes))
        return NULL;
    struct heap_large *large = malloc(sizeof *large + bytes);
    if (!large)
        return NULL;
    *large = (struct heap_large){.next = heap->large};
    link_large(heap, large);
    heap->bytes += bytes;
    return large->block;
}

static void give_large(struct heap *heap, void *block, size_t bytes) {
    struct heap_large *large = large_of(block);
    if (large->prev)
        large->prev->next = large->next;
    else
        heap->large = large->next;
    if (large->next)
        large->next->prev = large->prev;
    free(large);
    heap->bytes -= bytes;
}

static void *resize_large(struct heap *heap, void *block, size_t old_bytes, size_t bytes) {
    if (bytes > old_bytes &&
        (bytes > SIZE_MAX - sizeof(struct heap_large) || !has_room(heap, bytes - old_bytes)))
        return NULL;
    struct heap_large *large = realloc(large_of(block), sizeof *large + bytes);
    if (!large)
        return bytes <= old_bytes ? block : NULL;
    link_large(heap, large);
    heap->bytes = heap->bytes - old_bytes + bytes;
    return large->block;
}

/* ---- all sizes ---- */

static void *take(struct heap *heap, size_t bytes) {
    return is_small(bytes) ? take_small(heap, bytes) : take_large(heap, bytes);
}

static void give(struct heap *heap, void *block, size_t bytes) {
    if (is_small(bytes)) {
        struct heap_block **list = list_for(heap, bytes);
        ((struct heap_block *)block)->next = *list;
        *list = block;
    } else {
        give_large(heap, block, bytes);
    }
}

/* A block that shrinks keeps its place when there is no other: a small one then goes to the list of
 * its new size later; a large one is freed with the heap. */
static void *shrink_in_place(struct heap *heap, void *block, size_t old_bytes) {
    if (!is_small(old_bytes))
        heap->bytes -= old_bytes;
    return block;
}

void *heap_resize(struct heap *heap, void *block, size_t old_bytes, size_t bytes) {
    if (!block)
        return bytes ? take(heap, bytes) : NULL;
    if (bytes == 0) {
        give(heap, block, old_bytes);
        return NULL;
    }
    if (!is_small(old_bytes) && !is_small(bytes))
        return resize_large(heap, block, old_bytes, bytes);
    if (is_small(old_bytes) && is_small(bytes) && round_up(old_bytes) == round_up(bytes))
        return block;
    void *fresh = take(heap, bytes);
    if (!fresh)
        return bytes <= old_bytes ? shrink_in_place(heap, block, old_bytes) : NULL;
    memcpy(fresh, block, old_bytes < bytes ? old_bytes : bytes);
    give(heap, block, old_bytes);
    return fresh;
}

void heap_close(struct heap *heap) {
    while (heap->chunks) {
        struct heap_chunk *chunk = heap->chunks;
        heap->chunks = chunk->next;
        free(chunk);
    }
    while (heap->large) {
        struct heap_large *large = heap->large;
        heap->large = large->next;
        free(large);
    }
    heap_init(heap, heap->bytes_max);
}
