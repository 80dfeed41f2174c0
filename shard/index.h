/* The hash index of one shard: from a key's hash to its treap node in two or three cache misses.
 *
 * Extendible hashing (Fagin et al. 1979): a directory, addressed by some bits of the hash, of small
 * tables with open addressing. A full table grows by a quarter or splits in two, so no operation
 * ever moves more than about a thousand entries, however large the index is; there is no long
 * pause.
 *
 * A node is first reserved, then published: a reserved entry takes its place in a table but is
 * never found. So everything that can fail is in index_reserve.
 *
 * Ownership: nodes belong to the treap; tables come from its slab. Tables do not shrink.
 * Threads: one; the shard that owns it. */
#ifndef CONCAVE_SHARD_INDEX_H
#define CONCAVE_SHARD_INDEX_H

#include <stdbool.h>
#include <stdint.h>

#include "core/buf.h"
#include "core/slab.h"
#include "core/status.h"

struct treap_node;
struct index_table;

struct index_slot {
    struct index_table *table;
    uint64_t size; /* entries of the table: here, to save the cache miss */
};

struct key_index {
    struct slab *slab;
    struct index_slot *directory; /* 2^depth */
    unsigned depth;
    size_t count; /* entries, reserved ones too */
};

/* An empty index. ST_OK, ST_NOMEM. The slab must outlive it; destroying the slab frees the index.
 */
MUST_USE enum status index_init(struct key_index *index, struct slab *slab);

/* Makes an empty index as large as it will be with this many nodes, if their hashes are good ones;
 * one that has grown before is left as it is. ST_OK; ST_NOMEM, nothing changed. */
MUST_USE enum status index_presize(struct key_index *index, size_t count);

/* The published node of this key; NULL if there is none. */
struct treap_node *index_find(const struct key_index *index, struct slice key, uint64_t hash);

/* Gives the node (its hash is set) its place, unseen. ST_OK; ST_NOMEM, nothing changed. */
MUST_USE enum status index_reserve(struct key_index *index, struct treap_node *node);
/* A reserved node can be found from here on. */
void index_publish(struct key_index *index, struct treap_node *node);
/* Another node takes the place of a published one with the same hash. */
void index_replace(
    struct key_index *index, const struct treap_node *old, const struct treap_node *node);
/* Takes a published or reserved node out. */
void index_remove(struct key_index *index, struct treap_node *node);

/* For tests: asserts that each entry is reachable from its home; returns how many are published. */
size_t index_check(const struct key_index *index);

#endif
