/* The invariants of a treap, for tests. See treap.h. */
#include "shard/treap_private.h"

struct check {
    const struct treap *treap;
    const struct treap_node *last; /* visited before, in key order */
    size_t bytes;
};

/* Checks a subtree and returns its true highest version. Recursion is as deep as the tree. */
static uint64_t subtree_check(struct check *check, const struct treap_node *node, unsigned depth) {
    if (!node)
        return 0;
    assert(depth < TREAP_DEPTH_MAX);
    uint64_t left = subtree_check(check, node->left, depth + 1);
    assert(!check->last || key_compare(treap_key(check->last), node) < 0);
    check->last = node;
    check->bytes += (size_t)node->key_len + node->value->len;
    uint64_t right = subtree_check(check, node->right, depth + 1);
    assert(!node->left || outranks(check->treap, node, node->left));
    assert(!node->right || outranks(check->treap, node, node->right));
    assert(node->count == 1 + subtree_count(node->left) + subtree_count(node->right));
    uint64_t version_max = max_u64(node->version, max_u64(left, right));
    assert(node->version_max <= version_max);
    assert(index_find(&check->treap->index, treap_key(node), node->hash) == node);
    if (!node_is_own(check->treap, node)) {
        assert(!node->left || !node_is_own(check->treap, node->left));
        assert(!node->right || !node_is_own(check->treap, node->right));
    }
    return version_max;
}

static void edge_check(const struct treap *treap, const struct treap_node *node, bool right) {
    for (; node; node = right ? node->right : node->left)
        assert(node_is_own(treap, node));
}

/* The way of a staged write's key is own, whatever has happened since the staging. */
static void place_check(const struct treap *treap, const struct staged_place *place) {
    const struct treap_node *node = treap->root;
    for (int order; node; node = order < 0 ? node->left : node->right) {
        assert(node_is_own(treap, node));
        order = key_compare(place->key, node);
        if (order == 0)
            break;
    }
    if (node && place->whole) {
        edge_check(treap, node->left, true);
        edge_check(treap, node->right, false);
    }
}

void treap_check(const struct treap *treap) {
    struct check check = {.treap = treap};
    uint64_t version_max = subtree_check(&check, treap->root, 0);
    assert(version_max <= treap->applied_lsn);
    assert(treap->range_lsn <= treap->applied_lsn && treap->delete_lsn <= treap->applied_lsn);
    assert(check.bytes == treap->bytes);
    assert(index_check(&treap->index) == treap_count(treap));
    for (uint32_t i = 0; i < treap->places_size; i++)
        if (treap->places[i].taken)
            place_check(treap, &treap->places[i]);
}
