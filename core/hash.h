/* The one hash of a key, XXH3 seeded per data directory; it is computed once and travels
 * with the key.
 *
 * Its top bits pick the slot (core/slots.h), all of it serves the shard's hash index, and a mix of
 * it is the treap priority. */
#ifndef CONCAVE_CORE_HASH_H
#define CONCAVE_CORE_HASH_H

#include <xxhash.h>

#include "core/buf.h"

static inline uint64_t hash_key(struct slice key, uint64_t seed) {
    return XXH3_64bits_withSeed(key.data, key.len, seed);
}

#endif
