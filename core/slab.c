/* Memory goes system -> region -> chunk -> block.
 *
 *   region   what the system gives: 16 KiB at first, doubling to 1 MiB
 *   chunk    a piece of a region for one class: 512 bytes at first, doubling to 64 KiB
 *   block    what the caller gets
 *
 * So an idle shard costs some kilobytes, and a large one wastes less than a chunk a class. Huge
 * pages are not asked for: they made reads 5 % faster, and the insert that met a fresh one 2 ms
 * slower. */
#include "core/slab.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* Under AddressSanitizer, blocks that are not handed out are poisoned, so that it sees their
 * misuse. */
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#define POISON(at, bytes) __asan_poison_memory_region(at, bytes)
#define UNPOISON(at, bytes) __asan_unpoison_memory_region(at, bytes)
#else
#define POISON(at, bytes) ((void)(at), (void)(bytes))
#define UNPOISON(at, bytes) ((void)(at), (void)(bytes))
#endif

#define GRANULE 8u
#define LINE_BYTES 64u /* of the cache */
#define LINEAR_MAX 512u
#define LINEAR_CLASSES (LINEAR_MAX / GRANULE)
#define STEPS_PER_DOUBLING 8u
#define REGION_BYTES_MIN (16u << 10)
#define REGION_BYTES_MAX (1u << 20)
#define CHUNK_BYTES_MIN 512u
#define CHUNK_BYTES_MAX (64u << 10)

_Static_assert(SLAB_CLASSES == LINEAR_CLASSES + 3 * STEPS_PER_DOUBLING,
    "three doublings lead from LINEAR_MAX to SLAB_SMALL_MAX");
_Static_assert(LINEAR_MAX << 3 == SLAB_SMALL_MAX, "as above");
_Static_assert(CHUNK_BYTES_MAX >= SLAB_SMALL_MAX, "a chunk holds a block of any class");
_Static_assert(REGION_BYTES_MIN >= SLAB_SMALL_MAX + 64, "a region holds a block of any class");

struct slab_free_block {
    struct slab_free_block *next;
};

struct slab_region {
    struct slab_region *next;
    size_t bytes;
    _Alignas(LINE_BYTES) char room[];
};

/* In front of each large block. */
struct slab_large {
    struct slab_large *next;
    struct slab_large *prev;
    size_t bytes; /* with this header */
    _Alignas(LINE_BYTES) char block[];
};

void slab_init(struct slab *slab) {
    *slab = (struct slab){.allocations_left = SLAB_FAIL_NEVER};
}

void slab_destroy(struct slab *slab) {
    while (slab->regions) {
        struct slab_region *region = slab->regions;
        slab->regions = region->next;
        UNPOISON(region, region->bytes);
        free(region);
    }
    while (slab->large) {
        struct slab_large *large = slab->large;
        slab->large = large->next;
        free(large);
    }
    slab_init(slab);
}

/* The class of a small block: 8, 16, ... 512, 576, ... 1024, 1152, ... */
static size_t class_of(size_t bytes) {
    if (bytes <= LINEAR_MAX)
        return bytes == 0 ? 0 : (bytes - 1) / GRANULE;
    unsigned doubling = 63u - (unsigned)__builtin_clzll((bytes - 1) / LINEAR_MAX);
    size_t base = (size_t)LINEAR_MAX << doubling;
    return LINEAR_CLASSES + doubling * STEPS_PER_DOUBLING +
           (bytes - 1 - base) / (base / STEPS_PER_DOUBLING);
}

static size_t class_bytes(size_t class) {
    if (class < LINEAR_CLASSES)
        return (class + 1) * GRANULE;
    size_t above = class - LINEAR_CLASSES;
    size_t base = (size_t)LINEAR_MAX << (above / STEPS_PER_DOUBLING);
    return base + (above % STEPS_PER_DOUBLING + 1) * (base / STEPS_PER_DOUBLING);
}

static size_t doubled(size_t bytes, size_t min, size_t max) {
    if (bytes < min)
        return min;
    return bytes < max / 2 ? bytes * 2 : max;
}

static bool region_add(struct slab *slab) {
    size_t bytes = doubled(slab->region_bytes, REGION_BYTES_MIN, REGION_BYTES_MAX);
    struct slab_region *region = aligned_alloc(LINE_BYTES, bytes);
    if (!region)
        return false;
    region->next = slab->regions;
    region->bytes = bytes;
    slab->regions = region;
    slab->region_bytes = bytes;
    slab->room = region->room;
    slab->room_end = (char *)region + bytes;
    slab->memory += bytes;
    POISON(slab->room, bytes - sizeof *region);
    return true;
}

/* Gives the class a new chunk: at least one block, and the end of a region rather than wasting it.
 */
static bool chunk_add(struct slab *slab, struct slab_class *class, size_t block_bytes) {
    if ((size_t)(slab->room_end - slab->room) < block_bytes && !region_add(slab))
        return false;
    class->chunk_bytes = doubled(class->chunk_bytes, CHUNK_BYTES_MIN, CHUNK_BYTES_MAX);
    size_t room = (size_t)(slab->room_end - slab->room);
    size_t want = class->chunk_bytes < block_bytes ? block_bytes : class->chunk_bytes;
    size_t blocks = (want < room ? want : room) / block_bytes;
    class->fresh = slab->room;
    class->fresh_end = class->fresh + blocks * block_bytes;
    size_t taken = (blocks * block_bytes + LINE_BYTES - 1) & ~(size_t)(LINE_BYTES - 1);
    slab->room += taken; /* the room is whole lines, too */
    return true;
}

static void *large_alloc(struct slab *slab, size_t bytes) {
    if (bytes > PTRDIFF_MAX - sizeof(struct slab_large) - LINE_BYTES)
        return NULL;
    size_t whole = (sizeof(struct slab_large) + bytes + LINE_BYTES - 1) & ~(size_t)(LINE_BYTES - 1);
    struct slab_large *large = aligned_alloc(LINE_BYTES, whole);
    if (!large)
        return NULL;
    large->next = slab->large;
    large->prev = NULL;
    large->bytes = whole;
    if (large->next)
        large->next->prev = large;
    slab->large = large;
    slab->used += bytes;
    slab->memory += whole;
    return large->block;
}

static void large_free(struct slab *slab, void *block, size_t bytes) {
    struct slab_large *large = (void *)((char *)block - offsetof(struct slab_large, block));
    if (large->next)
        large->next->prev = large->prev;
    if (large->prev)
        large->prev->next = large->next;
    else
        slab->large = large->next;
    slab->used -= bytes;
    slab->memory -= large->bytes;
    free(large);
}

void *slab_alloc(struct slab *slab, size_t bytes) {
    if (slab->allocations_left != SLAB_FAIL_NEVER) {
        if (slab->allocations_left == 0)
            return NULL;
        slab->allocations_left--;
    }
    if (bytes > SLAB_SMALL_MAX)
        return large_alloc(slab, bytes);
    size_t at = class_of(bytes);
    struct slab_class *class = &slab->classes[at];
    size_t block_bytes = class_bytes(at);
    void *block = class->free;
    if (block) {
        UNPOISON(block, block_bytes);
        class->free = class->free->next;
    } else {
        if (class->fresh == class->fresh_end && !chunk_add(slab, class, block_bytes))
            return NULL;
        block = class->fresh;
        class->fresh += block_bytes;
    }
    /* What was asked for and no more: ASan then sees a write into the rounding. */
    POISON(block, block_bytes);
    UNPOISON(block, bytes);
    slab->used += block_bytes;
    return block;
}

void slab_free(struct slab *slab, void *block, size_t bytes) {
    if (!block)
        return;
    if (bytes > SLAB_SMALL_MAX) {
        large_free(slab, block, bytes);
        return;
    }
    size_t at = class_of(bytes);
    size_t block_bytes = class_bytes(at);
    assert(slab->used >= block_bytes);
    slab->used -= block_bytes;
    UNPOISON(block, block_bytes);
    struct slab_free_block *free_block = block;
    free_block->next = slab->classes[at].free;
    slab->classes[at].free = free_block;
    POISON(block, block_bytes);
}

size_t slab_used(const struct slab *slab) {
    return slab->used;
}

size_t slab_memory(const struct slab *slab) {
    return slab->memory;
}

void slab_fail_after(struct slab *slab, uint64_t n) {
    slab->allocations_left = n;
}
