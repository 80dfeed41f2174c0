/* Reading in order: walks and fingerprints of the treap, cursors of frozen views. See treap.h. */
#include "shard/treap_private.h"

/* ---- Walks ---- */

void treap_range_begin(struct treap *treap) {
    treap->range_lsn = treap->applied_lsn;
}

/* Nodes lie all over the memory, and a walk that asked for one after the other would wait for each.
 * So it asks for many at a time: all subtrees that come next, level by level, and the values. As
 * with a file's readahead the amount starts small and doubles. */
#define AHEAD_MIN 8u
#define AHEAD_MAX 256u

/* A node's first line and, for keys of usual length, its last. */
static void node_prefetch(const struct treap_node *node) {
    __builtin_prefetch(node);
    __builtin_prefetch((const char *)node + sizeof *node + 8);
}

struct ahead_queue {
    size_t count;
    const struct treap_node *nodes[AHEAD_MAX];
};

static void ahead_push(struct ahead_queue *queue, const struct treap_node *node) {
    if (!node)
        return;
    assert(queue->count < AHEAD_MAX);
    node_prefetch(node);
    queue->nodes[queue->count++] = node;
}

/* Asks for the nodes that follow those on the path, innermost first: whole subtrees, as many as fit
 * into max nodes, level by level. */
static void ahead_fetch(
    struct treap_ahead *ahead, const struct treap_path *path, bool reverse, size_t max) {
    struct ahead_queue queue;
    queue.count = 0;
    size_t asked = 0;
    for (size_t depth = path->depth; depth; depth--) {
        const struct treap_node *node = path->nodes[depth - 1];
        size_t count = node->count - subtree_count(reverse ? node->right : node->left);
        __builtin_prefetch(node->value);
        if (asked + count > max)
            break;
        asked += count;
        ahead_push(&queue, reverse ? node->left : node->right);
    }
    for (size_t i = 0; i < queue.count; i++) {
        __builtin_prefetch(queue.nodes[i]->value);
        ahead_push(&queue, queue.nodes[i]->left);
        ahead_push(&queue, queue.nodes[i]->right);
    }
    ahead->until += asked ? asked : 1;
    ahead->nodes = ahead->nodes * 2 < AHEAD_MAX ? ahead->nodes * 2 : AHEAD_MAX;
}

/* Pushes a subtree's edge in the direction of the walk: the nodes that come before the rest of it.
 */
static void walk_descend(struct treap_path *path, struct treap_node *node, bool reverse) {
    while (node) {
        path_push(path, node);
        node = reverse ? node->right : node->left;
    }
}

/* The path to the first node of the walk, without the nodes that come before it. */
static void walk_seek(const struct treap *treap, struct treap_path *path, struct slice from,
    struct slice to, bool bounded, bool reverse) {
    struct treap_node *node = treap->root;
    while (node) {
        bool before = reverse ? bounded && key_compare(to, node) <= 0 : key_compare(from, node) > 0;
        if (!before)
            path_push(path, node);
        node = before == reverse ? node->left : node->right;
    }
}

size_t treap_walk(struct treap *treap, struct slice from, struct slice to, bool bounded,
    bool reverse, size_t max, treap_visit *visit, void *ctx) {
    treap_range_begin(treap);
    struct treap_path path;
    path.depth = 0;
    walk_seek(treap, &path, from, to, bounded, reverse);
    /* A small limit will probably be used up. */
    struct treap_ahead ahead = {.nodes = max <= AHEAD_MAX ? max : AHEAD_MIN};
    while (path.depth && ahead.visited < max) {
        size_t visited = ahead.visited;
        if (visited >= ahead.until)
            ahead_fetch(
                &ahead, &path, reverse, ahead.nodes < max - visited ? ahead.nodes : max - visited);
        const struct treap_node *node = path.nodes[--path.depth];
        bool past = reverse ? key_compare(from, node) > 0 : bounded && key_compare(to, node) <= 0;
        if (past)
            break;
        ahead.visited++;
        if (!visit(ctx, node))
            break;
        walk_descend(&path, reverse ? node->left : node->right, reverse);
    }
    return ahead.visited;
}

/* ---- Cursors of frozen views ---- */

void treap_cursor_init(struct treap_cursor *cursor, const struct treap_frozen *frozen) {
    cursor->path.depth = 0;
    cursor->ahead = (struct treap_ahead){.nodes = AHEAD_MAX};
    walk_descend(&cursor->path, frozen->root, false);
}

const struct treap_node *treap_cursor_next(struct treap_cursor *cursor) {
    struct treap_path *path = &cursor->path;
    if (path->depth == 0)
        return NULL;
    if (cursor->ahead.visited >= cursor->ahead.until)
        ahead_fetch(&cursor->ahead, path, false, cursor->ahead.nodes);
    const struct treap_node *node = path->nodes[--path->depth];
    cursor->ahead.visited++;
    walk_descend(path, node->right, false);
    return node;
}

/* ---- Fingerprints ---- */

struct fingerprint {
    uint64_t count;
    uint64_t version_max;
};

static void fingerprint_add(
    struct fingerprint *sum, const struct treap_node *node, const struct treap_node *subtree) {
    sum->count += 1 + subtree_count(subtree);
    sum->version_max = max_u64(sum->version_max, node->version);
    sum->version_max = max_u64(sum->version_max, subtree_version_max(subtree));
}

void treap_fingerprint(const struct treap *treap, struct slice from, struct slice to, bool bounded,
    uint64_t *count, uint64_t *version_max) {
    struct fingerprint sum = {.count = 0};
    /* The topmost node inside; below it, the interval has only one bound on each side. */
    const struct treap_node *top = treap->root;
    while (top) {
        if (key_compare(from, top) > 0)
            top = top->right;
        else if (bounded && key_compare(to, top) <= 0)
            top = top->left;
        else
            break;
    }
    if (top)
        fingerprint_add(&sum, top, NULL);
    for (const struct treap_node *node = top ? top->left : NULL; node;) {
        bool inside = key_compare(from, node) <= 0;
        if (inside)
            fingerprint_add(&sum, node, node->right);
        node = inside ? node->left : node->right;
    }
    for (const struct treap_node *node = top ? top->right : NULL; node;) {
        bool inside = !bounded || key_compare(to, node) > 0;
        if (inside)
            fingerprint_add(&sum, node, node->left);
        node = inside ? node->right : node->left;
    }
    *count = sum.count;
    *version_max = sum.version_max;
}
