/* The ordered store of one shard: a treap for order, with a hash index beside it for point reads.
 *
 * A treap (Seidel and Aragon 1996, "Randomized search trees") is a search tree by key and a heap by
 * priority. The priority here is a seeded mix of the key's hash, so the shape depends on the set of
 * keys alone, and nobody who does not know the seed can choose keys that degenerate it. Each node
 * carries the number of keys and the highest version of its subtree, for range fingerprints.
 *
 * The subtree's highest version is a lower bound. A write of an existing key carries its version up
 * the path only if the key's old version is at most range_lsn, the highest LSN applied when a range
 * was last read: in all other cases an earlier write since that read has been carried up already,
 * and that is enough to tell the reader that something changed. Inserts and deletes always put the
 * path right. So a hot key costs no descent, and "count equal and maximum not higher than what the
 * reader saw" is exact (architecture.md, Ranges).
 *
 * A treap can be frozen in O(1): a view of it stays as it is, for one other thread to read, while
 * its owner goes on. It is copied on write, path by path (Driscoll et al. 1989, "Making data
 * structures persistent"); shard/treap_frozen.c tells how.
 *
 * Ownership: the treap owns nodes and values and copies what it is given, except the key of what is
 * staged (see there). A node, and any slice of it, is valid until the next install, delete or thaw.
 * Memory comes from the treap's own allocator (core/slab.h), which gives it back to the system when
 * the treap is destroyed.
 * Threads: one, the shard that owns it; for a frozen view see there.
 * Errors: only creating, staging, freezing and building can fail, with ST_NOMEM and nothing changed
 * that could be read. */
#ifndef CONCAVE_SHARD_TREAP_H
#define CONCAVE_SHARD_TREAP_H

#include <stdbool.h>

#include "core/buf.h"
#include "core/slab.h"
#include "core/status.h"

#define TREAP_KEY_BYTES_MAX UINT16_MAX
#define TREAP_VALUE_BYTES_MAX (UINT32_MAX - 4096u)
#define TREAP_KEYS_MAX (UINT32_MAX - 1u)
/* Levels. A node of n random keys is deeper than d with probability below (2e ln n / d)^d, which
 * for this bound and 2^32 keys is under 2^-280; a tree that breaks it is a bug, and asserted. */
#define TREAP_DEPTH_MAX 256

/* An immutable value: replaced as a whole, never changed in place. */
struct treap_blob {
    uint32_t len;
    char bytes[];
};

/* 56 bytes and the key. Read through the functions below. */
struct treap_node {
    struct treap_node *left;
    struct treap_node *right;
    uint64_t version_max; /* of the subtree; a lower bound, see above */
    uint64_t version;
    uint64_t hash;
    struct treap_blob *value;
    uint32_t count; /* keys in the subtree, this one included */
    uint16_t key_len;
    uint16_t stamp; /* the epoch it is of, and whether its value is a view's too (treap_frozen.c) */
    char key[];
};

struct treap;

/* The seed decides the shape; it should not be known to those who choose keys. */
MUST_USE enum status treap_create(uint64_t seed, struct treap **treap);
/* Frees everything, staged writes too. NULL is fine. */
void treap_destroy(struct treap *treap);

static inline struct slice treap_key(const struct treap_node *node) {
    return slice_of(node->key, node->key_len);
}
static inline struct slice treap_value(const struct treap_node *node) {
    return slice_of(node->value->bytes, node->value->len);
}
static inline uint64_t treap_version(const struct treap_node *node) {
    return node->version;
}

/* Point read through the hash index: NULL if absent. `hash` is the key's, here and below. */
const struct treap_node *treap_find(const struct treap *treap, struct slice key, uint64_t hash);

/* ---- Writes, in two steps, so that the second cannot fail ---- */

/* A write for which everything is allocated, the copies included that a frozen view makes
 * necessary, also of a view taken after the staging. Held by the caller, who ends it with install
 * or discard; any number may be outstanding, also for the same key. It may be moved. */
struct treap_staged {
    struct treap_blob *value; /* NULL: a delete */
    struct treap_node *node;  /* of a put: the key's, or a fresh one that waits if it was absent */
    struct slice key;
    uint64_t hash;
    uint64_t moves; /* the treap's when node was looked up */
    uint32_t place; /* in the treap's table of what is staged */
    bool fresh;
};

/* Copies the value, and the key if it is absent, and reserves its place in the index. Reads and
 * walks see nothing of it. The key's bytes must stay as they are until install or discard. ST_OK;
 * ST_NOMEM (also for a key, value or number of keys past the limits above). */
MUST_USE enum status treap_stage_put(struct treap *treap, struct slice key, uint64_t hash,
    struct slice value, struct treap_staged *out);
/* The same for a delete; the key may be absent. ST_OK, ST_NOMEM. */
MUST_USE enum status treap_stage_delete(
    struct treap *treap, struct slice key, uint64_t hash, struct treap_staged *out);
/* Makes a staged put visible with this version, which must not be lower than the key's. If the key
 * was absent at the staging it may have appeared since: its value is then replaced. If it was
 * present it must not have been deleted since: whoever staged it holds the key (a mark, or the same
 * step). */
void treap_install_put(struct treap *treap, struct treap_staged *staged, uint64_t version);
/* Removes the key of a staged delete at this LSN; false if it is absent, in which case only
 * applied_lsn moves. */
bool treap_install_delete(struct treap *treap, struct treap_staged *staged, uint64_t lsn);
/* Gives a staged put or delete back unseen. */
void treap_discard(struct treap *treap, struct treap_staged *staged);

/* treap_install_delete in one step, for recovery: no view may stand. Never allocates. */
bool treap_delete(struct treap *treap, struct slice key, uint64_t hash, uint64_t lsn);

/* ---- What has been applied ---- */

/* Something of this LSN was applied without a put or delete here (a transaction of reads only, a
 * record of other shards' keys): applied_lsn rises to it. */
void treap_note_applied(struct treap *treap, uint64_t lsn);
/* The highest LSN of any put or delete, or noted. */
uint64_t treap_applied_lsn(const struct treap *treap);
/* The highest LSN of a delete that removed something; 0 if none did. */
uint64_t treap_delete_lsn(const struct treap *treap);
/* applied_lsn as of the latest range read; 0 before the first. */
uint64_t treap_range_lsn(const struct treap *treap);

/* ---- Ranges ---- */

/* Says false to end the walk. Must not change the treap. */
typedef bool treap_visit(void *ctx, const struct treap_node *node);

/* Declares a range read: from here on, writes are carried up so that treap_fingerprint notices
 * them. treap_walk does this by itself. */
void treap_range_begin(struct treap *treap);
/* Visits the keys of [from, to) (to the last key if not bounded) in byte order, in reverse if so
 * asked, until `visit` says false or `max` were visited. Returns how many were, the refused one
 * included. */
size_t treap_walk(struct treap *treap, struct slice from, struct slice to, bool bounded,
    bool reverse, size_t max, treap_visit *visit, void *ctx);
/* The number of keys in [from, to) and their highest version: a lower bound of it, but no lower
 * than any put since a walk over the interval unless a later put there raised it. O(log n). */
void treap_fingerprint(const struct treap *treap, struct slice from, struct slice to, bool bounded,
    uint64_t *count, uint64_t *version_max);

/* ---- A frozen view ----
 *
 *                  freeze                    thaw                       thaw: true
 *   nothing kept ----------> a view stands ---------> nothing to see, ------------> nothing kept
 *                                                     memory to give back
 *
 * From treap_freeze until the first treap_thaw, the view may be read by one other thread, which got
 * it from the owner and says when it is done by means of their own (messages, say). */

struct treap_frozen;

/* Keeps the treap as it is now. It takes no time for what is in it, and O(log n) for each staged
 * write, whose path is copied in advance. Nothing may be kept of an earlier view. ST_OK; ST_NOMEM:
 * there is no view and nothing to thaw. */
MUST_USE enum status treap_freeze(struct treap *treap, struct treap_frozen **out);
/* Owner, after the reader has finished: gives up the view, and gives back what was kept for it, at
 * most `max` nodes and values a call. True when all is done; to be called until then. */
bool treap_thaw(struct treap *treap, size_t max);

/* Of the view, any of its two threads: number of keys; bytes of keys and values; the highest LSN
 * applied when it was taken, deletes included. */
size_t treap_frozen_count(const struct treap_frozen *frozen);
size_t treap_frozen_bytes(const struct treap_frozen *frozen);
uint64_t treap_frozen_applied_lsn(const struct treap_frozen *frozen);

/* Nodes from the root down. */
struct treap_path {
    size_t depth;
    struct treap_node *nodes[TREAP_DEPTH_MAX];
};

/* How far a walk has asked for nodes in advance (treap_range.c). */
struct treap_ahead {
    size_t visited;
    size_t nodes;
    size_t until;
};

/* Goes through a view in key order. 2 KiB; holds nothing that would have to be given back. */
struct treap_cursor {
    struct treap_path path;
    struct treap_ahead ahead;
};

void treap_cursor_init(struct treap_cursor *cursor, const struct treap_frozen *frozen);
/* The next node; NULL at the end. It and its slices are valid as long as the view. */
const struct treap_node *treap_cursor_next(struct treap_cursor *cursor);

/* ---- Building in order ---- */

struct treap_builder;

/* Starts to fill an empty treap in linear time, for about this many keys (0 = unknown; the index is
 * sized for them). Until treap_builder_finish nothing else may be done with the treap. ST_OK,
 * ST_NOMEM. */
MUST_USE enum status treap_builder_begin(
    struct treap *treap, size_t keys, struct treap_builder **out);
/* Adds a key higher than all before. ST_OK; ST_NOMEM (also past the limits above): it is not added,
 * the others stay. */
MUST_USE enum status treap_builder_add(struct treap_builder *builder, struct slice key,
    uint64_t hash, struct slice value, uint64_t version);
/* The treap holds what was added. Frees the builder. NULL is fine. */
void treap_builder_finish(struct treap_builder *builder);

/* ---- Figures ---- */

size_t treap_count(const struct treap *treap);
/* Bytes of keys and values: the user's data. */
size_t treap_bytes(const struct treap *treap);
/* Bytes taken from the system for all of it. */
size_t treap_memory(const struct treap *treap);

/* ---- For tests ---- */

/* Asserts every invariant: search order, heap order, counts, version bounds, index. O(n). */
void treap_check(const struct treap *treap);
/* The allocator, to make allocations fail (slab_fail_after). */
struct slab *treap_slab(struct treap *treap);

#endif
