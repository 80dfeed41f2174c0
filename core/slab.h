/* A shard's own allocator: blocks of size classes carved from chunks, for one thread.
 *
 * Small blocks (up to SLAB_SMALL_MAX bytes) are rounded up to a class: every 8 bytes up to 512,
 * then eight classes a doubling (the idea of segregated free lists is in Wilson et al. 1995,
 * section 3.6). There is no header: whoever frees a block says how long it is. Larger blocks come
 * from malloc.
 *
 * Ownership: a block is the caller's until slab_free or slab_destroy, whichever is first. Chunks of
 * small blocks go back to the system only at slab_destroy, and a chunk serves one class for good;
 * large blocks go back at once.
 * Threads: one at a time; no locks.
 * Errors: NULL when the system has no memory, or when a test asked for it. */
#ifndef CONCAVE_CORE_SLAB_H
#define CONCAVE_CORE_SLAB_H

#include <stddef.h>
#include <stdint.h>

#define SLAB_SMALL_MAX 4096u
#define SLAB_CLASSES 88u
#define SLAB_FAIL_NEVER UINT64_MAX

struct slab_free_block;
struct slab_region;
struct slab_large;

/* Fields are the allocator's own business. */
struct slab_class {
    struct slab_free_block *free; /* given back, newest first */
    char *fresh;                  /* never handed out, in the newest chunk */
    char *fresh_end;
    size_t chunk_bytes; /* of the newest chunk; they grow */
};

struct slab {
    struct slab_class classes[SLAB_CLASSES];
    struct slab_region *regions; /* all memory of small blocks, newest first */
    char *room;                  /* of the newest region, not yet given to a class */
    char *room_end;
    size_t region_bytes;      /* of the newest region; they grow */
    struct slab_large *large; /* all large blocks */
    size_t used;
    size_t memory;
    uint64_t allocations_left; /* before they fail */
};

/* An empty allocator; takes nothing from the system yet. */
void slab_init(struct slab *slab);
/* Gives all blocks back to the system, those still in use too. The slab is empty and usable again.
 */
void slab_destroy(struct slab *slab);

/* A block of at least `bytes` bytes, aligned to 8, and to 64 if `bytes` is a multiple of 64; NULL
 * if there is none. Its content is arbitrary.
 */
void *slab_alloc(struct slab *slab, size_t bytes);
/* Gives a block back; `bytes` as it was asked for. NULL is fine. */
void slab_free(struct slab *slab, void *block, size_t bytes);

/* Bytes in blocks handed out, as rounded up. */
size_t slab_used(const struct slab *slab);
/* Bytes taken from the system. */
size_t slab_memory(const struct slab *slab);

/* For tests: the next n allocations work, those after it fail; SLAB_FAIL_NEVER ends that. */
void slab_fail_after(struct slab *slab, uint64_t n);

#endif
