/* Frozen views: copying on write, by epoch.
 *
 * Freezing keeps the root and begins an epoch. A node whose stamp is of an earlier epoch may be
 * seen by the view and is never written to again; an own node, one of this epoch, is changed in
 * place as ever. What leads to an own node is own, since it was changed to lead there. So all that
 * is needed before a write is that the nodes it will change are own ones, and path_own sees to it
 * by copying those that are not, from the root down. A copy means the same as what it is a copy of,
 * so this is done when the write is staged, long before it is certain: then it may still fail.
 *
 * Installing finds own nodes only then, whatever others have installed since. Call the nodes
 * visited by a search for each of the two gaps beside a key its way (one gap, if the key is
 * absent): from the root to the key, then the right edge of its left subtree and the left edge of
 * its right one. A put changes nodes between the root and its key, or on its key's way if that was
 * absent, and a delete nodes of its key's way; all of them were made own. After such a write the
 * way of any other key consists of nodes that it consisted of before and of nodes of the written
 * key's way. So the number of foreign nodes on a way never rises while the view stands. Freezing
 * makes all nodes foreign, hence it goes the ways of what is staged at that moment.
 *
 * A node that was copied goes into limbo, and is given back when the view is no longer looked at.
 * Its value is then that of node and copy: if the copy gets another one or goes, the shared value
 * goes into limbo too; the room for that entry is promised when the copy is made. Limbo cannot be a
 * list through the nodes, for those are being read.
 *
 * Stamps have 15 bits for the epoch. When they are used up, a thaw renumbers: all nodes become of
 * epoch 0, some at each call, in key order. */
#include "shard/treap_private.h"

#define LIMBO_ENTRIES 1022u

/* An entry: the address of a node or value, and in the lowest bit which (values: 1). A block is
 * larger than SLAB_SMALL_MAX, so that it goes back to the system. */
struct limbo_block {
    struct limbo_block *next;
    size_t count;
    uintptr_t entries[LIMBO_ENTRIES];
};

_Static_assert(sizeof(struct limbo_block) > SLAB_SMALL_MAX, "see above");

/* ---- Limbo ---- */

/* Makes sure that this many entries fit, beyond those promised. */
static enum status limbo_reserve(struct treap *treap, size_t entries) {
    struct limbo *limbo = &treap->limbo;
    while (limbo->room - limbo->promised < entries) {
        struct limbo_block *block = slab_alloc(&treap->slab, sizeof *block);
        if (!block)
            return ST_NOMEM;
        block->count = 0;
        block->next = limbo->spares;
        limbo->spares = block;
        limbo->room += LIMBO_ENTRIES;
    }
    return ST_OK;
}

static void limbo_push(struct treap *treap, uintptr_t entry) {
    struct limbo *limbo = &treap->limbo;
    assert(limbo->room > 0);
    if (!limbo->blocks || limbo->blocks->count == LIMBO_ENTRIES) {
        struct limbo_block *block = limbo->spares;
        limbo->spares = block->next;
        block->next = limbo->blocks;
        limbo->blocks = block;
    }
    limbo->blocks->entries[limbo->blocks->count++] = entry;
    limbo->room--;
}

static void limbo_block_free(struct treap *treap, struct limbo_block **from) {
    struct limbo_block *block = *from;
    *from = block->next;
    treap->limbo.room -= LIMBO_ENTRIES - block->count;
    slab_free(&treap->slab, block, sizeof *block);
}

/* Gives one thing back; false if limbo is empty. */
static bool limbo_give_back(struct treap *treap) {
    struct limbo *limbo = &treap->limbo;
    if (limbo->spares) {
        limbo_block_free(treap, &limbo->spares);
        return true;
    }
    struct limbo_block *block = limbo->blocks;
    if (!block)
        return false;
    if (block->count == 0) {
        limbo_block_free(treap, &limbo->blocks);
        return true;
    }
    uintptr_t entry = block->entries[--block->count];
    limbo->room++;
    if (entry & 1)
        blob_free(treap, (struct treap_blob *)(entry & ~(uintptr_t)1));
    else
        node_free(treap, (struct treap_node *)entry);
    return true;
}

/* ---- Copying on write ---- */

/* Puts an own copy in the place of a foreign node. */
static enum status node_own(struct treap *treap, struct treap_node **link) {
    struct treap_node *node = *link;
    if (node_is_own(treap, node))
        return ST_OK;
    if (limbo_reserve(treap, 2) != ST_OK) /* for the node, and some day for its value */
        return ST_NOMEM;
    struct treap_node *copy = slab_alloc(&treap->slab, node_bytes(node->key_len));
    if (!copy)
        return ST_NOMEM;
    memcpy(copy, node, node_bytes(node->key_len));
    copy->stamp = treap->stamp | STAMP_VALUE_SHARED;
    treap->limbo.promised++;
    limbo_push(treap, (uintptr_t)node);
    treap->moves++;
    index_replace(&treap->index, node, copy);
    *link = copy;
    return ST_OK;
}

/* The same for the right or left edge of a subtree. */
static enum status edge_own(struct treap *treap, struct treap_node **link, bool right) {
    while (*link) {
        if (node_own(treap, link) != ST_OK)
            return ST_NOMEM;
        link = right ? &(*link)->right : &(*link)->left;
    }
    return ST_OK;
}

enum status path_own(struct treap *treap, struct slice key, bool whole) {
    struct treap_node **link = &treap->root;
    while (*link) {
        if (node_own(treap, link) != ST_OK)
            return ST_NOMEM;
        struct treap_node *node = *link;
        int order = key_compare(key, node);
        if (order == 0) {
            if (!whole)
                return ST_OK;
            enum status status = edge_own(treap, &node->left, true);
            return status == ST_OK ? edge_own(treap, &node->right, false) : status;
        }
        link = order < 0 ? &node->left : &node->right;
    }
    return ST_OK;
}

void value_release(struct treap *treap, struct treap_node *node) {
    if (!treap->frozen || !(node->stamp & STAMP_VALUE_SHARED)) {
        blob_free(treap, node->value);
        return;
    }
    assert(treap->limbo.promised > 0);
    treap->limbo.promised--;
    limbo_push(treap, (uintptr_t)node->value | 1);
    node->stamp &= (uint16_t)~STAMP_VALUE_SHARED;
}

/* ---- Views ---- */

static enum status staged_own(struct treap *treap) {
    for (uint32_t i = 0; i < treap->places_size; i++) {
        const struct staged_place *place = &treap->places[i];
        if (place->taken && path_own(treap, place->key, place->whole) != ST_OK)
            return ST_NOMEM;
    }
    return ST_OK;
}

enum status treap_freeze(struct treap *treap, struct treap_frozen **out) {
    assert(!treap->frozen && !treap->limbo.blocks && !treap->limbo.spares && !treap->renumbering);
    assert(treap->stamp < STAMP_MAX);
    treap->view = (struct treap_frozen){
        .root = treap->root, .bytes = treap->bytes, .applied_lsn = treap->applied_lsn};
    treap->stamp = (uint16_t)(treap->stamp + STAMP_STEP);
    treap->frozen = true;
    if (staged_own(treap) != ST_OK) {
        (void)treap_thaw(treap, SIZE_MAX);
        return ST_NOMEM;
    }
    *out = &treap->view;
    return ST_OK;
}

/* Makes up to `max` nodes those of epoch 0; lower keys first. True when all are. A key that comes
 * is of epoch 0 already, and when one goes, treap->renumbered takes a step back. */
static bool renumber(struct treap *treap, size_t max) {
    struct treap_path path;
    path.depth = 0;
    size_t rank = treap->renumbered;
    for (struct treap_node *node = treap->root; node;) {
        size_t left = subtree_count(node->left);
        if (rank <= left) {
            path_push(&path, node);
            node = node->left;
        } else {
            rank -= left + 1;
            node = node->right;
        }
    }
    for (; path.depth && max; max--) {
        struct treap_node *node = path.nodes[--path.depth];
        node->stamp = 0;
        treap->renumbered++;
        for (node = node->right; node; node = node->left)
            path_push(&path, node);
    }
    return path.depth == 0;
}

bool treap_thaw(struct treap *treap, size_t max) {
    assert(max > 0);
    treap->frozen = false;
    treap->limbo.promised = 0;
    while (max && limbo_give_back(treap))
        max--;
    if (treap->limbo.blocks || treap->limbo.spares)
        return false;
    if (treap->stamp == STAMP_MAX) {
        treap->stamp = 0;
        treap->renumbering = true;
    }
    if (treap->renumbering && renumber(treap, max)) {
        treap->renumbering = false;
        treap->renumbered = 0;
    }
    return !treap->renumbering;
}

size_t treap_frozen_count(const struct treap_frozen *frozen) {
    return subtree_count(frozen->root);
}

size_t treap_frozen_bytes(const struct treap_frozen *frozen) {
    return frozen->bytes;
}

uint64_t treap_frozen_applied_lsn(const struct treap_frozen *frozen) {
    return frozen->applied_lsn;
}
