/* See treap.h. All loops go down from the root, and the depth of a treap is logarithmic with all
 * but certainty, so the paths that have to be put right from below fit an array of TREAP_DEPTH_MAX.
 */
#include "shard/treap_private.h"

#include <stdlib.h>

/* ---- Life ---- */

#define PLACES_MIN 16u

/* Makes sure that there is a free place. */
static enum status places_reserve(struct treap *treap) {
    uint32_t size = treap->places_size;
    if (treap->places_free < size)
        return ST_OK;
    uint32_t doubled = size ? size * 2 : PLACES_MIN;
    struct staged_place *places =
        doubled > size ? slab_alloc(&treap->slab, doubled * sizeof *places) : NULL;
    if (!places)
        return ST_NOMEM;
    if (size)
        memcpy(places, treap->places, size * sizeof *places);
    for (uint32_t i = size; i < doubled; i++)
        places[i] = (struct staged_place){.next = i + 1};
    slab_free(&treap->slab, treap->places, size * sizeof *places);
    treap->places = places;
    treap->places_size = doubled;
    return ST_OK;
}

enum status treap_create(uint64_t seed, struct treap **out) {
    struct treap *treap = malloc(sizeof *treap);
    if (!treap)
        return ST_NOMEM;
    *treap = (struct treap){.seed = seed};
    slab_init(&treap->slab);
    enum status status = index_init(&treap->index, &treap->slab);
    if (status == ST_OK)
        status = places_reserve(treap);
    if (status != ST_OK) {
        treap_destroy(treap);
        return status;
    }
    *out = treap;
    return ST_OK;
}

void treap_destroy(struct treap *treap) {
    if (!treap)
        return;
    slab_destroy(&treap->slab); /* nodes, values and index at once */
    free(treap);
}

const struct treap_node *treap_find(const struct treap *treap, struct slice key, uint64_t hash) {
    return index_find(&treap->index, key, hash);
}

struct treap_node *node_create(struct treap *treap, struct slice key, uint64_t hash) {
    struct treap_node *node = slab_alloc(&treap->slab, node_bytes(key.len));
    if (!node)
        return NULL;
    node->left = node->right = NULL;
    node->version_max = node->version = 0;
    node->hash = hash;
    node->value = NULL;
    node->count = 1;
    node->key_len = (uint16_t)key.len;
    node->stamp = treap->stamp;
    if (key.len)
        memcpy(node->key, key.data, key.len);
    return node;
}

/* ---- Staging ---- */

static uint32_t place_take(struct treap *treap, struct slice key, bool whole) {
    uint32_t at = treap->places_free;
    struct staged_place *place = &treap->places[at];
    treap->places_free = place->next;
    *place = (struct staged_place){.key = key, .taken = true, .whole = whole};
    return at;
}

static void place_give_back(struct treap *treap, uint32_t at) {
    struct staged_place *place = &treap->places[at];
    assert(at < treap->places_size && place->taken);
    place->taken = false;
    place->next = treap->places_free;
    treap->places_free = at;
}

static void staged_node_free(struct treap *treap, struct treap_node *node) {
    index_remove(&treap->index, node);
    node_free(treap, node);
}

/* A fresh node, reserved in the index. */
static struct treap_node *staged_node_create(struct treap *treap, struct slice key, uint64_t hash) {
    struct treap_node *node =
        treap->index.count < TREAP_KEYS_MAX ? node_create(treap, key, hash) : NULL;
    if (node && index_reserve(&treap->index, node) != ST_OK) {
        node_free(treap, node);
        return NULL;
    }
    return node;
}

enum status treap_stage_put(struct treap *treap, struct slice key, uint64_t hash,
    struct slice value, struct treap_staged *out) {
    if (key.len > TREAP_KEY_BYTES_MAX || value.len > TREAP_VALUE_BYTES_MAX)
        return ST_NOMEM;
    if (places_reserve(treap) != ST_OK)
        return ST_NOMEM;
    struct treap_node *node = index_find(&treap->index, key, hash);
    if (treap->frozen) {
        /* Above an own node there are own ones only: what leads to it was changed to do so. */
        if (!(node && node_is_own(treap, node)) && path_own(treap, key, false) != ST_OK)
            return ST_NOMEM;
        node = index_find(&treap->index, key, hash);
    }
    struct treap_blob *blob = blob_create(treap, value);
    if (!blob)
        return ST_NOMEM;
    bool fresh = !node;
    if (fresh && !(node = staged_node_create(treap, key, hash))) {
        blob_free(treap, blob);
        return ST_NOMEM;
    }
    *out = (struct treap_staged){.value = blob,
        .node = node,
        .key = key,
        .hash = hash,
        .moves = treap->moves,
        .place = place_take(treap, key, false),
        .fresh = fresh};
    return ST_OK;
}

enum status treap_stage_delete(
    struct treap *treap, struct slice key, uint64_t hash, struct treap_staged *out) {
    if (treap->frozen && path_own(treap, key, true) != ST_OK)
        return ST_NOMEM;
    if (places_reserve(treap) != ST_OK)
        return ST_NOMEM;
    *out = (struct treap_staged){.key = key, .hash = hash};
    out->place = place_take(treap, key, true);
    return ST_OK;
}

void treap_discard(struct treap *treap, struct treap_staged *staged) {
    if (staged->value)
        blob_free(treap, staged->value);
    if (staged->fresh)
        staged_node_free(treap, staged->node);
    place_give_back(treap, staged->place);
    *staged = (struct treap_staged){.value = NULL};
}

/* ---- Installing ---- */

/* Cuts a subtree at a key that is not in it, into what is lower and what is higher (Seidel and
 * Aragon 1996, section 3.1), and puts the figures of the nodes along the cut right. */
static void subtree_split(struct treap *treap, struct treap_node *node, struct slice key,
    struct treap_node **lower, struct treap_node **higher) {
    struct treap_path cut;
    cut.depth = 0;
    while (node) {
        assert(node_is_own(treap, node));
        path_push(&cut, node);
        if (key_compare(key, node) > 0) {
            *lower = node;
            lower = &node->right;
            node = node->right;
        } else {
            *higher = node;
            higher = &node->left;
            node = node->left;
        }
    }
    *lower = *higher = NULL;
    while (cut.depth)
        figures_renew(cut.nodes[--cut.depth]);
}

/* Links a node in where its priority puts it; what stood there is cut around it. */
static void node_link(struct treap *treap, struct treap_node *node) {
    struct slice key = treap_key(node);
    struct treap_node **link = &treap->root;
    while (*link && outranks(treap, *link, node)) {
        struct treap_node *at = *link;
        assert(node_is_own(treap, at));
        at->count++;
        at->version_max = max_u64(at->version_max, node->version);
        link = key_compare(key, at) < 0 ? &at->left : &at->right;
    }
    subtree_split(treap, *link, key, &node->left, &node->right);
    figures_renew(node);
    node->stamp = treap->stamp; /* it may have been made in an earlier epoch */
    *link = node;
}

/* Carries the version of a node up its path: down from the root, that is, for nodes know no
 * parents. */
static void version_carry_up(struct treap *treap, const struct treap_node *node) {
    struct slice key = treap_key(node);
    struct treap_node *at = treap->root;
    for (;;) {
        assert(node_is_own(treap, at));
        at->version_max = max_u64(at->version_max, node->version);
        if (at == node)
            return;
        at = key_compare(key, at) < 0 ? at->left : at->right;
    }
}

static void value_replace(
    struct treap *treap, struct treap_node *node, struct treap_blob *value, uint64_t version) {
    assert(version >= node->version && node_is_own(treap, node));
    bool first_since_range_read = node->version <= treap->range_lsn;
    treap->bytes += value->len;
    treap->bytes -= node->value->len;
    value_release(treap, node);
    node->value = value;
    node->version = version;
    if (first_since_range_read)
        version_carry_up(treap, node);
}

/* The node of a staged put's key as of now, NULL if it is absent: it may have been replaced by a
 * copy, or have appeared. */
static struct treap_node *staged_key_node(
    const struct treap *treap, const struct treap_staged *staged) {
    if (!staged->fresh && staged->moves == treap->moves)
        return staged->node;
    return index_find(&treap->index, staged->key, staged->hash);
}

void treap_install_put(struct treap *treap, struct treap_staged *staged, uint64_t version) {
    struct treap_node *node = staged_key_node(treap, staged);
    if (node) {
        if (staged->fresh)
            staged_node_free(treap, staged->node);
        value_replace(treap, node, staged->value, version);
    } else {
        assert(staged->fresh);
        node = staged->node;
        node->value = staged->value;
        node->version = version;
        index_publish(&treap->index, node);
        node_link(treap, node);
        treap->bytes += (size_t)node->key_len + node->value->len;
    }
    treap_note_applied(treap, version);
    place_give_back(treap, staged->place);
    *staged = (struct treap_staged){.value = NULL};
}

/* Joins two subtrees, all keys of the left one being lower, and notes the nodes whose figures
 * change. */
static void subtree_join(struct treap *treap, struct treap_node *left, struct treap_node *right,
    struct treap_node **link, struct treap_path *path) {
    while (left && right) {
        assert(node_is_own(treap, left) && node_is_own(treap, right));
        if (outranks(treap, left, right)) {
            *link = left;
            path_push(path, left);
            link = &left->right;
            left = left->right;
        } else {
            *link = right;
            path_push(path, right);
            link = &right->left;
            right = right->left;
        }
    }
    *link = left ? left : right;
}

/* Takes a node out. Above it only counts change for certain: a highest version over the removed one
 * came from elsewhere and stays, so few siblings have to be looked at. */
static void node_unlink(struct treap *treap, struct treap_node *node) {
    struct slice key = treap_key(node);
    struct treap_path path;
    path.depth = 0;
    struct treap_node **link = &treap->root;
    while (*link != node) {
        struct treap_node *at = *link;
        assert(node_is_own(treap, at));
        path_push(&path, at);
        at->count--;
        link = key_compare(key, at) < 0 ? &at->left : &at->right;
    }
    size_t above = path.depth;
    subtree_join(treap, node->left, node->right, link, &path);
    while (path.depth > above)
        figures_renew(path.nodes[--path.depth]);
    while (path.depth) {
        struct treap_node *at = path.nodes[--path.depth];
        if (at->version_max <= node->version)
            version_max_renew(at);
    }
}

static bool key_remove(struct treap *treap, struct slice key, uint64_t hash, uint64_t lsn) {
    treap_note_applied(treap, lsn);
    struct treap_node *node = index_find(&treap->index, key, hash);
    if (!node)
        return false;
    assert(node_is_own(treap, node));
    treap->delete_lsn = max_u64(treap->delete_lsn, lsn);
    treap->moves++;
    index_remove(&treap->index, node);
    node_unlink(treap, node);
    treap->bytes -= (size_t)node->key_len + node->value->len;
    value_release(treap, node);
    node_free(treap, node);
    if (treap->renumbered)
        treap->renumbered--; /* those behind it have moved up */
    return true;
}

bool treap_install_delete(struct treap *treap, struct treap_staged *staged, uint64_t lsn) {
    assert(!staged->value);
    bool removed = key_remove(treap, staged->key, staged->hash, lsn);
    place_give_back(treap, staged->place);
    *staged = (struct treap_staged){.value = NULL};
    return removed;
}

bool treap_delete(struct treap *treap, struct slice key, uint64_t hash, uint64_t lsn) {
    assert(!treap->frozen);
    return key_remove(treap, key, hash, lsn);
}

/* ---- What has been applied ---- */

void treap_note_applied(struct treap *treap, uint64_t lsn) {
    treap->applied_lsn = max_u64(treap->applied_lsn, lsn);
}

uint64_t treap_applied_lsn(const struct treap *treap) {
    return treap->applied_lsn;
}

uint64_t treap_delete_lsn(const struct treap *treap) {
    return treap->delete_lsn;
}

uint64_t treap_range_lsn(const struct treap *treap) {
    return treap->range_lsn;
}

/* ---- Figures and tests ---- */

size_t treap_count(const struct treap *treap) {
    return subtree_count(treap->root);
}

size_t treap_bytes(const struct treap *treap) {
    return treap->bytes;
}

size_t treap_memory(const struct treap *treap) {
    return sizeof *treap + slab_memory(&treap->slab);
}

struct slab *treap_slab(struct treap *treap) {
    return &treap->slab;
}
