/* What the writer and the reader of snapshots share: the places of the fields. The layout is
 * described in snapshot_write.c.
 *
 * Ownership, threads, errors: none; plain functions. */
#ifndef CONCAVE_CORE_SNAPSHOT_PRIVATE_H
#define CONCAVE_CORE_SNAPSHOT_PRIVATE_H

#include <xxhash.h>

#include "core/bytes.h"
#include "core/snapshot.h"

#define SNAPSHOT_BLOCK_BYTES 65536u

enum {
    SNAPSHOT_VERSION = 8,
    SNAPSHOT_FLAGS = 12,
    SNAPSHOT_SALT = 16,
    SNAPSHOT_LSN = 24,
    SNAPSHOT_APPLIED = 32,
    SNAPSHOT_KEYS = 40,
    SNAPSHOT_BYTES = 48,
    SNAPSHOT_LAST = 56,
    SNAPSHOT_CHECKSUM = 64,
    SNAPSHOT_HEADER_BYTES = 72,

    BLOCK_CHECKSUM = 0,
    BLOCK_CHECK = 8,
    BLOCK_LENGTH = 12,
    BLOCK_ITEMS = 16,
    BLOCK_HEADER_BYTES = 20,

    ITEM_KEY_BYTES = 0,
    ITEM_VALUE_BYTES = 2,
    ITEM_VERSION = 6,
    ITEM_HEADER_BYTES = 14,
};

#define SNAPSHOT_MAGIC "concsnap"
#define SNAPSHOT_FIRST_RUN 1u

/* What the first block's checksums are seeded with; the others': the checksum before theirs. */
static inline uint64_t snapshot_seed(uint64_t salt, uint64_t lsn) {
    unsigned char bytes[8];
    put_u64(bytes, lsn);
    return XXH3_64bits_withSeed(bytes, sizeof(bytes), salt);
}

static inline uint32_t snapshot_block_check(const unsigned char *block, uint64_t seed) {
    return (uint32_t)XXH3_64bits_withSeed(
        block + BLOCK_LENGTH, BLOCK_HEADER_BYTES - BLOCK_LENGTH, seed);
}

static inline uint64_t snapshot_block_checksum(
    const unsigned char *block, size_t bytes, uint64_t seed) {
    return XXH3_64bits_withSeed(block + BLOCK_CHECK, bytes - BLOCK_CHECK, seed);
}

/* Builds dir/name in path, of DISK_PATH_BYTES_MAX bytes. ST_OK; ST_INVALID: too long. */
MUST_USE enum status snapshot_path(
    const char *dir, const char *name, char *path, struct buf *error);

#endif
