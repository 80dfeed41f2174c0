/* The treap's insides, shared by the files that make it up:
 *
 *   treap.c          life, writes
 *   treap_frozen.c   frozen views: copying on write, giving back
 *   treap_range.c    walks, fingerprints, cursors of views
 *   treap_build.c    building in order
 *   treap_check.c    the invariants
 *
 * Ownership, threads and errors as in shard/treap.h. */
#ifndef CONCAVE_SHARD_TREAP_PRIVATE_H
#define CONCAVE_SHARD_TREAP_PRIVATE_H

#include <assert.h>
#include <xxhash.h>

#include "shard/index.h"
#include "shard/treap.h"

struct limbo_block;

struct treap_frozen {
    struct treap_node *root;
    size_t bytes;
    uint64_t applied_lsn;
};

/* A staged write, as far as a freeze must know it. */
struct staged_place {
    struct slice key;
    bool taken;
    bool whole;    /* as path_own takes it: a delete */
    uint32_t next; /* if free: the next free one */
};

/* What a view keeps from being given back. */
struct limbo {
    struct limbo_block *blocks; /* with entries, the first being filled */
    struct limbo_block *spares; /* empty ones */
    size_t room;                /* entries that fit without another block */
    size_t promised;            /* of these, for values that a view shares with the treap */
};

struct treap {
    struct treap_node *root;
    uint64_t seed;
    uint64_t applied_lsn;
    uint64_t delete_lsn;
    uint64_t range_lsn;
    size_t bytes;   /* keys and values */
    uint64_t moves; /* how often a node went, also in favour of a copy */
    struct key_index index;

    /* ---- what is staged ---- */
    struct staged_place *places;
    uint32_t places_size;
    uint32_t places_free; /* the first free one; places_size: none */

    /* ---- frozen views ---- */
    bool frozen; /* a view stands */
    bool renumbering;
    uint16_t stamp;    /* of nodes made now: twice the epoch */
    size_t renumbered; /* this many nodes, in key order, are of epoch 0 (or more are) */
    struct treap_frozen view;
    struct limbo limbo;

    struct slab slab;
};

/* In a node's stamp: its value is also that of the view's node of which it is a copy. Means
 * something only while that view stands. */
#define STAMP_VALUE_SHARED 1u
#define STAMP_STEP 2u
#define STAMP_MAX (UINT16_MAX - 1u)

static inline void path_push(struct treap_path *path, struct treap_node *node) {
    assert(path->depth < TREAP_DEPTH_MAX);
    path->nodes[path->depth++] = node;
}

/* ---- Order ---- */

static inline int key_compare(struct slice key, const struct treap_node *node) {
    size_t len = key.len < node->key_len ? key.len : node->key_len;
    int order = len ? memcmp(key.data, node->key, len) : 0;
    return order ? order : (key.len > node->key_len) - (key.len < node->key_len);
}

/* The finalizer of MurmurHash3 (Appleby): one to one, and every bit depends on every bit. */
static inline uint64_t mix(uint64_t bits) {
    bits ^= bits >> 33;
    bits *= UINT64_C(0xff51afd7ed558ccd);
    bits ^= bits >> 33;
    bits *= UINT64_C(0xc4ceb9fe1a85ec53);
    return bits ^ bits >> 33;
}

/* True if a belongs above b. Keys of equal hash are told apart by a second, seeded one: a chain of
 * colliding keys would otherwise be as deep as it is long. */
static inline bool outranks(
    const struct treap *treap, const struct treap_node *a, const struct treap_node *b) {
    uint64_t rank_a = mix(a->hash ^ treap->seed);
    uint64_t rank_b = mix(b->hash ^ treap->seed);
    if (rank_a == rank_b) {
        rank_a = XXH3_64bits_withSeed(a->key, a->key_len, treap->seed);
        rank_b = XXH3_64bits_withSeed(b->key, b->key_len, treap->seed);
    }
    return rank_a != rank_b ? rank_a > rank_b : key_compare(treap_key(a), b) < 0;
}

static inline uint64_t max_u64(uint64_t a, uint64_t b) {
    return a > b ? a : b;
}

static inline uint32_t subtree_count(const struct treap_node *node) {
    return node ? node->count : 0;
}

static inline uint64_t subtree_version_max(const struct treap_node *node) {
    return node ? node->version_max : 0;
}

static inline void version_max_renew(struct treap_node *node) {
    uint64_t children = max_u64(subtree_version_max(node->left), subtree_version_max(node->right));
    node->version_max = max_u64(node->version, children);
}

static inline void figures_renew(struct treap_node *node) {
    node->count = 1 + subtree_count(node->left) + subtree_count(node->right);
    version_max_renew(node);
}

/* ---- Memory ---- */

static inline size_t blob_bytes(size_t len) {
    return offsetof(struct treap_blob, bytes) + len;
}

static inline void blob_free(struct treap *treap, struct treap_blob *blob) {
    slab_free(&treap->slab, blob, blob_bytes(blob->len));
}

static inline struct treap_blob *blob_create(struct treap *treap, struct slice value) {
    struct treap_blob *blob = slab_alloc(&treap->slab, blob_bytes(value.len));
    if (!blob)
        return NULL;
    blob->len = (uint32_t)value.len;
    if (value.len)
        memcpy(blob->bytes, value.data, value.len);
    return blob;
}

static inline size_t node_bytes(size_t key_len) {
    return offsetof(struct treap_node, key) + key_len;
}

static inline void node_free(struct treap *treap, struct treap_node *node) {
    slab_free(&treap->slab, node, node_bytes(node->key_len));
}

/* A node of this key that stands nowhere yet; NULL without memory. */
struct treap_node *node_create(struct treap *treap, struct slice key, uint64_t hash);

/* ---- Copying on write (treap_frozen.c) ---- */

/* True if no view sees the node, so that it may be changed. */
static inline bool node_is_own(const struct treap *treap, const struct treap_node *node) {
    return !treap->frozen || (node->stamp & ~STAMP_VALUE_SHARED) == treap->stamp;
}

/* While a view stands: makes all nodes on the way to this key own ones, up to its node or the gap
 * where it would be; if `whole`, also those that a delete of it would touch. ST_OK; ST_NOMEM: some
 * of them are, which does no harm. */
MUST_USE enum status path_own(struct treap *treap, struct slice key, bool whole);
/* Gives back the value of an own node that is about to get another one or to go. */
void value_release(struct treap *treap, struct treap_node *node);

#endif
