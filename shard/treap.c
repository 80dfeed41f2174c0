/* See treap.h. All loops go down from the root, and the depth of a treap is logarithmic with all
 * but certainty, so the paths that have to be put right from below fit an array of TREAP_DEPTH_MAX.
 */
#include "shard/treap.h"

#include <assert.h>
#include <stdlib.h>
#include <xxhash.h>

#include "shard/index.h"

struct treap {
    struct treap_node *root;
    uint64_t seed;
    uint64_t applied_lsn;
    uint64_t delete_lsn;
    uint64_t range_lsn;
    size_t bytes; /* keys and values */
    struct key_index index;
    struct slab slab;
};

/* Nodes from the root down. */
struct path {
    size_t depth;
    struct treap_node *nodes[TREAP_DEPTH_MAX];
};

static void path_push(struct path *path, struct treap_node *node) {
    assert(path->depth < TREAP_DEPTH_MAX);
    path->nodes[path->depth++] = node;
}

/* ---- Order ---- */

static int key_compare(struct slice key, const struct treap_node *node) {
    size_t len = key.len < node->key_len ? key.len : node->key_len;
    int order = len ? memcmp(key.data, node->key, len) : 0;
    return order ? order : (key.len > node->key_len) - (key.len < node->key_len);
}

/* The finalizer of MurmurHash3 (Appleby): one to one, and every bit depends on every bit. */
static uint64_t mix(uint64_t bits) {
    bits ^= bits >> 33;
    bits *= UINT64_C(0xff51afd7ed558ccd);
    bits ^= bits >> 33;
    bits *= UINT64_C(0xc4ceb9fe1a85ec53);
    return bits ^ bits >> 33;
}

/* True if a belongs above b. Keys of equal hash are told apart by a second, seeded one: a chain of
 * colliding keys would otherwise be as deep as it is long. */
static bool outranks(
    const struct treap *treap, const struct treap_node *a, const struct treap_node *b) {
    uint64_t rank_a = mix(a->hash ^ treap->seed);
    uint64_t rank_b = mix(b->hash ^ treap->seed);
    if (rank_a == rank_b) {
        rank_a = XXH3_64bits_withSeed(a->key, a->key_len, treap->seed);
        rank_b = XXH3_64bits_withSeed(b->key, b->key_len, treap->seed);
    }
    return rank_a != rank_b ? rank_a > rank_b : key_compare(treap_key(a), b) < 0;
}

/* ---- Subtree figures ---- */

static uint64_t max_u64(uint64_t a, uint64_t b) {
    return a > b ? a : b;
}

static uint32_t subtree_count(const struct treap_node *node) {
    return node ? node->count : 0;
}

static uint64_t subtree_version_max(const struct treap_node *node) {
    return node ? node->version_max : 0;
}

static void version_max_renew(struct treap_node *node) {
    uint64_t children = max_u64(subtree_version_max(node->left), subtree_version_max(node->right));
    node->version_max = max_u64(node->version, children);
}

static void figures_renew(struct treap_node *node) {
    node->count = 1 + subtree_count(node->left) + subtree_count(node->right);
    version_max_renew(node);
}

/* ---- Life ---- */

enum status treap_create(uint64_t seed, struct treap **out) {
    struct treap *treap = malloc(sizeof *treap);
    if (!treap)
        return ST_NOMEM;
    *treap = (struct treap){.seed = seed};
    slab_init(&treap->slab);
    enum status status = index_init(&treap->index, &treap->slab);
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

static size_t blob_bytes(size_t len) {
    return offsetof(struct treap_blob, bytes) + len;
}

static void blob_free(struct treap *treap, struct treap_blob *blob) {
    slab_free(&treap->slab, blob, blob_bytes(blob->len));
}

static struct treap_blob *blob_create(struct treap *treap, struct slice value) {
    struct treap_blob *blob = slab_alloc(&treap->slab, blob_bytes(value.len));
    if (!blob)
        return NULL;
    blob->len = (uint32_t)value.len;
    if (value.len)
        memcpy(blob->bytes, value.data, value.len);
    return blob;
}

static size_t node_bytes(size_t key_len) {
    return offsetof(struct treap_node, key) + key_len;
}

static void node_free(struct treap *treap, struct treap_node *node) {
    slab_free(&treap->slab, node, node_bytes(node->key_len));
}

/* A node without a value, reserved in the index. */
static struct treap_node *node_create(struct treap *treap, struct slice key, uint64_t hash) {
    struct treap_node *node = slab_alloc(&treap->slab, node_bytes(key.len));
    if (!node)
        return NULL;
    node->left = node->right = NULL;
    node->version_max = node->version = 0;
    node->hash = hash;
    node->value = NULL;
    node->count = 1;
    node->key_len = (uint16_t)key.len;
    if (key.len)
        memcpy(node->key, key.data, key.len);
    if (index_reserve(&treap->index, node) != ST_OK) {
        node_free(treap, node);
        return NULL;
    }
    return node;
}

/* ---- Writes ---- */

enum status treap_stage_put(struct treap *treap, struct slice key, uint64_t hash,
    struct slice value, struct treap_staged *out) {
    if (key.len > TREAP_KEY_BYTES_MAX || value.len > TREAP_VALUE_BYTES_MAX)
        return ST_NOMEM;
    struct treap_blob *blob = blob_create(treap, value);
    if (!blob)
        return ST_NOMEM;
    struct treap_node *node = index_find(&treap->index, key, hash);
    bool fresh = !node;
    if (fresh && treap->index.count < TREAP_KEYS_MAX)
        node = node_create(treap, key, hash);
    if (!node) {
        blob_free(treap, blob);
        return ST_NOMEM;
    }
    *out = (struct treap_staged){.value = blob, .node = node, .hash = hash, .fresh = fresh};
    return ST_OK;
}

static void staged_node_free(struct treap *treap, struct treap_node *node) {
    index_remove(&treap->index, node);
    node_free(treap, node);
}

void treap_discard(struct treap *treap, struct treap_staged *staged) {
    blob_free(treap, staged->value);
    if (staged->fresh)
        staged_node_free(treap, staged->node);
    *staged = (struct treap_staged){.value = NULL};
}

/* Cuts a subtree at a key that is not in it, into what is lower and what is higher (Seidel and
 * Aragon 1996, section 3.1), and puts the figures of the nodes along the cut right. */
static void subtree_split(struct treap_node *node, struct slice key, struct treap_node **lower,
    struct treap_node **higher) {
    struct path cut;
    cut.depth = 0;
    while (node) {
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
        at->count++;
        at->version_max = max_u64(at->version_max, node->version);
        link = key_compare(key, at) < 0 ? &at->left : &at->right;
    }
    subtree_split(*link, key, &node->left, &node->right);
    figures_renew(node);
    *link = node;
}

/* Carries the version of a node up its path: down from the root, that is, for nodes know no
 * parents. */
static void version_carry_up(struct treap *treap, const struct treap_node *node) {
    struct slice key = treap_key(node);
    struct treap_node *at = treap->root;
    for (;;) {
        at->version_max = max_u64(at->version_max, node->version);
        if (at == node)
            return;
        at = key_compare(key, at) < 0 ? at->left : at->right;
    }
}

static void value_replace(
    struct treap *treap, struct treap_node *node, struct treap_blob *value, uint64_t version) {
    assert(version >= node->version);
    bool first_since_range_read = node->version <= treap->range_lsn;
    treap->bytes += value->len;
    treap->bytes -= node->value->len;
    blob_free(treap, node->value);
    node->value = value;
    node->version = version;
    if (first_since_range_read)
        version_carry_up(treap, node);
}

void treap_install_put(struct treap *treap, struct treap_staged *staged, uint64_t version) {
    struct treap_node *node = staged->node;
    if (staged->fresh) {
        struct treap_node *now = index_find(&treap->index, treap_key(node), staged->hash);
        if (now) {
            staged_node_free(treap, node);
            value_replace(treap, now, staged->value, version);
        } else {
            node->value = staged->value;
            node->version = version;
            index_publish(&treap->index, node);
            node_link(treap, node);
            treap->bytes += (size_t)node->key_len + node->value->len;
        }
    } else {
        assert(index_holds(&treap->index, node, staged->hash));
        value_replace(treap, node, staged->value, version);
    }
    treap_note_applied(treap, version);
    *staged = (struct treap_staged){.value = NULL};
}

/* Joins two subtrees, all keys of the left one being lower, and notes the nodes whose figures
 * change. */
static void subtree_join(struct treap *treap, struct treap_node *left, struct treap_node *right,
    struct treap_node **link, struct path *path) {
    while (left && right) {
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
    struct path path;
    path.depth = 0;
    struct treap_node **link = &treap->root;
    while (*link != node) {
        struct treap_node *at = *link;
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

bool treap_delete(struct treap *treap, struct slice key, uint64_t hash, uint64_t lsn) {
    treap_note_applied(treap, lsn);
    struct treap_node *node = index_find(&treap->index, key, hash);
    if (!node)
        return false;
    treap->delete_lsn = max_u64(treap->delete_lsn, lsn);
    index_remove(&treap->index, node);
    node_unlink(treap, node);
    treap->bytes -= (size_t)node->key_len + node->value->len;
    blob_free(treap, node->value);
    node_free(treap, node);
    return true;
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

/* ---- Ranges ---- */

void treap_range_begin(struct treap *treap) {
    treap->range_lsn = treap->applied_lsn;
}

/* Nodes lie all over the memory, and a walk that asked for one after the other would wait for each.
 * So it asks for many at a time: all subtrees that come next, level by level, and the values. As
 * with a file's readahead the amount starts small and doubles. */
#define AHEAD_MIN 8u
#define AHEAD_MAX 256u

struct ahead {
    size_t nodes; /* how many to ask for the next time */
    size_t until; /* how many visits the walk will have made when those asked for are used up */
};

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
static void ahead_fetch(struct ahead *ahead, const struct path *path, bool reverse, size_t max) {
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
static void walk_descend(struct path *path, struct treap_node *node, bool reverse) {
    while (node) {
        path_push(path, node);
        node = reverse ? node->right : node->left;
    }
}

/* The path to the first node of the walk, without the nodes that come before it. */
static void walk_seek(const struct treap *treap, struct path *path, struct slice from,
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
    struct path path;
    path.depth = 0;
    walk_seek(treap, &path, from, to, bounded, reverse);
    /* A small limit will probably be used up. */
    struct ahead ahead = {.nodes = max <= AHEAD_MAX ? max : AHEAD_MIN};
    size_t visited = 0;
    while (path.depth && visited < max) {
        if (visited >= ahead.until)
            ahead_fetch(
                &ahead, &path, reverse, ahead.nodes < max - visited ? ahead.nodes : max - visited);
        const struct treap_node *node = path.nodes[--path.depth];
        bool past = reverse ? key_compare(from, node) > 0 : bounded && key_compare(to, node) <= 0;
        if (past)
            break;
        visited++;
        if (!visit(ctx, node))
            break;
        walk_descend(&path, reverse ? node->left : node->right, reverse);
    }
    return visited;
}

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
    return version_max;
}

void treap_check(const struct treap *treap) {
    struct check check = {.treap = treap};
    uint64_t version_max = subtree_check(&check, treap->root, 0);
    assert(version_max <= treap->applied_lsn);
    assert(treap->range_lsn <= treap->applied_lsn && treap->delete_lsn <= treap->applied_lsn);
    assert(check.bytes == treap->bytes);
    assert(index_check(&treap->index) == treap_count(treap));
}
