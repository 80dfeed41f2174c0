#include "shard/marks.h"

#include <assert.h>
#include <stddef.h>

/* Keys with the same hash order by their bytes, so that the tree's shape depends on its keys alone.
 */
static bool higher_priority(const struct mark *a, const struct mark *b) {
    if (a->hash != b->hash)
        return a->hash > b->hash;
    return slice_compare(a->key, b->key) < 0;
}

bool interval_holds(const struct interval *interval, struct slice key) {
    return slice_compare(interval->from, key) <= 0 &&
           (!interval->bounded || slice_compare(key, interval->to) < 0);
}

bool interval_empty(const struct interval *interval) {
    return interval->bounded && slice_compare(interval->from, interval->to) >= 0;
}

static struct mark *find(const struct marks *marks, struct slice key) {
    struct mark *node = marks->root;
    while (node) {
        int order = slice_compare(key, node->key);
        if (order == 0)
            return node;
        node = order < 0 ? node->left : node->right;
    }
    return NULL;
}

/* Splits a tree into what lies before the key and what lies behind it; the key is in neither. */
static void split(struct mark *tree, struct slice key, struct mark **before, struct mark **behind) {
    while (tree) {
        if (slice_compare(tree->key, key) < 0) {
            *before = tree;
            before = &tree->right;
            tree = tree->right;
        } else {
            *behind = tree;
            behind = &tree->left;
            tree = tree->left;
        }
    }
    *before = NULL;
    *behind = NULL;
}

/* Joins two trees of which all keys of the first lie before those of the second. */
static struct mark *join(struct mark *first, struct mark *second) {
    struct mark *root = NULL;
    struct mark **at = &root;
    while (first && second) {
        if (higher_priority(first, second)) {
            *at = first;
            at = &first->right;
            first = first->right;
        } else {
            *at = second;
            at = &second->left;
            second = second->left;
        }
    }
    *at = first ? first : second;
    return root;
}

void marks_place(struct marks *marks, struct mark *mark, struct slice key, uint64_t hash,
    bool write, struct branch *owner) {
    if (mark->read || mark->write) {
        assert(mark->owner == owner);
        mark->read |= !write;
        mark->write |= write;
        return;
    }
    *mark = (struct mark){.key = key, .hash = hash, .owner = owner, .read = !write, .write = write};
    marks->count++;
    struct mark *first = find(marks, key);
    if (first) {
        mark->same = first->same;
        first->same = mark;
        return;
    }
    struct mark **at = &marks->root;
    while (*at && higher_priority(*at, mark))
        at = slice_compare(key, (*at)->key) < 0 ? &(*at)->left : &(*at)->right;
    split(*at, key, &mark->left, &mark->right);
    *at = mark;
}

void marks_remove(struct marks *marks, struct mark *mark) {
    assert(mark->read || mark->write);
    struct mark **at = &marks->root;
    while (!slice_equal((*at)->key, mark->key))
        at = slice_compare(mark->key, (*at)->key) < 0 ? &(*at)->left : &(*at)->right;
    if (*at == mark &&
        mark->same) { /* the next mark of the key takes this one's place in the tree */
        struct mark *heir = mark->same;
        heir->left = mark->left;
        heir->right = mark->right;
        *at = heir;
    } else if (*at == mark) {
        *at = join(mark->left, mark->right);
    } else {
        struct mark **link = &(*at)->same;
        while (*link != mark)
            link = &(*link)->same;
        *link = mark->same;
    }
    mark->read = mark->write = false;
    marks->count--;
}

void marks_place_range(struct marks *marks, struct range_mark *mark,
    const struct interval *interval, struct branch *owner) {
    assert(!mark->placed);
    *mark = (struct range_mark){
        .next = marks->ranges, .interval = *interval, .owner = owner, .placed = true};
    if (marks->ranges)
        marks->ranges->previous = mark;
    marks->ranges = mark;
    marks->count++;
}

void marks_remove_range(struct marks *marks, struct range_mark *mark) {
    assert(mark->placed);
    if (mark->previous)
        mark->previous->next = mark->next;
    else
        marks->ranges = mark->next;
    if (mark->next)
        mark->next->previous = mark->previous;
    mark->placed = false;
    marks->count--;
}

/* Another's mark among those on one key; readers clash with writes only. */
static struct branch *clash_on_key(
    const struct mark *first, const struct branch *self, bool writes_only) {
    for (const struct mark *mark = first; mark; mark = mark->same)
        if (mark->owner != self && (mark->write || !writes_only))
            return mark->owner;
    return NULL;
}

struct branch *marks_clash_read(
    const struct marks *marks, struct slice key, const struct branch *self) {
    return clash_on_key(find(marks, key), self, true);
}

struct branch *marks_clash_write(
    const struct marks *marks, struct slice key, const struct branch *self) {
    struct branch *holder = clash_on_key(find(marks, key), self, false);
    if (holder)
        return holder;
    for (const struct range_mark *range = marks->ranges; range; range = range->next)
        if (range->owner != self && interval_holds(&range->interval, key))
            return range->owner;
    return NULL;
}

/* In-order search of the part of the tree inside the interval. Depth is logarithmic: priorities are
 * hashes seeded by a salt that clients do not know. */
static struct branch *clash_in_tree(
    const struct mark *node, const struct interval *interval, const struct branch *self) {
    while (node) {
        bool behind_from = slice_compare(interval->from, node->key) <= 0;
        bool before_to = !interval->bounded || slice_compare(node->key, interval->to) < 0;
        if (behind_from && before_to) {
            struct branch *holder = clash_on_key(node, self, true);
            if (!holder)
                holder = clash_in_tree(node->left, interval, self);
            if (holder)
                return holder;
        }
        node = behind_from && !before_to ? node->left : node->right;
    }
    return NULL;
}

struct branch *marks_clash_range(
    const struct marks *marks, const struct interval *interval, const struct branch *self) {
    return interval_empty(interval) ? NULL : clash_in_tree(marks->root, interval, self);
}
