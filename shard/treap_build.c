/* Building in order, in linear time: each key goes to the end of the right edge, after those nodes
 * of the edge that it outranks have become its left subtree. A node joins and leaves the edge once.
 */
#include <stdlib.h>

#include "shard/treap_private.h"

struct treap_builder {
    struct treap *treap;
    struct treap_path edge;
};

enum status treap_builder_begin(struct treap *treap, size_t keys, struct treap_builder **out) {
    assert(!treap->root && treap->index.count == 0 && !treap->frozen);
    struct treap_builder *builder = malloc(sizeof *builder);
    if (!builder)
        return ST_NOMEM;
    if (index_presize(&treap->index, keys) != ST_OK) {
        free(builder);
        return ST_NOMEM;
    }
    builder->treap = treap;
    builder->edge.depth = 0;
    *out = builder;
    return ST_OK;
}

/* Takes the lower part of the edge, down to where the node belongs (NULL: all of it), off the edge
 * as a whole subtree. */
static struct treap_node *edge_cut(struct treap_builder *builder, const struct treap_node *node) {
    struct treap_path *edge = &builder->edge;
    struct treap_node *below = NULL;
    while (edge->depth) {
        struct treap_node *at = edge->nodes[edge->depth - 1];
        if (node && outranks(builder->treap, at, node))
            break;
        at->right = below;
        figures_renew(at);
        below = at;
        edge->depth--;
    }
    return below;
}

enum status treap_builder_add(struct treap_builder *builder, struct slice key, uint64_t hash,
    struct slice value, uint64_t version) {
    struct treap *treap = builder->treap;
    struct treap_path *edge = &builder->edge;
    assert(edge->depth == 0 || key_compare(key, edge->nodes[edge->depth - 1]) > 0);
    if (key.len > TREAP_KEY_BYTES_MAX || value.len > TREAP_VALUE_BYTES_MAX ||
        treap->index.count == TREAP_KEYS_MAX)
        return ST_NOMEM;
    struct treap_node *node = node_create(treap, key, hash);
    if (!node)
        return ST_NOMEM;
    node->value = blob_create(treap, value);
    if (!node->value || index_reserve(&treap->index, node) != ST_OK) {
        if (node->value)
            blob_free(treap, node->value);
        node_free(treap, node);
        return ST_NOMEM;
    }
    index_publish(&treap->index, node);
    node->version = version;
    node->left = edge_cut(builder, node);
    path_push(edge, node);
    treap->bytes += key.len + value.len;
    treap_note_applied(treap, version);
    return ST_OK;
}

void treap_builder_finish(struct treap_builder *builder) {
    if (!builder)
        return;
    builder->treap->root = edge_cut(builder, NULL);
    free(builder);
}
