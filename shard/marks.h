/* Marks: what prepared transactions hold on one shard, so that nobody changes what they have read
 * or reads what they are about to write.
 *
 * A mark is on a key (there or absent) or on an interval, for reading or for writing. Marks live
 * beside the treap, because absent keys and gaps can be marked too. A mark is a member of the
 * access or batch that it protects, so placing and removing one allocates nothing and cannot fail.
 *
 * Key marks stand in an ordered tree (a treap after Seidel and Aragon 1996 whose priority is the
 * key's hash), because a range read must find marked writes inside it; several marks on one key are
 * chained behind the one in the tree. Interval marks are few and stand in a list.
 *
 * Ownership: a placed mark's memory belongs to the shard until it is removed.
 * Threads: the shard's own. Errors: none. */
#ifndef CONCAVE_SHARD_MARKS_H
#define CONCAVE_SHARD_MARKS_H

#include "core/buf.h"

struct branch; /* who holds a mark: a transaction's branch on this shard (shard/state.h) */

struct mark {
    struct mark *left, *right; /* tree, for the first mark of a key */
    struct mark *same;         /* further marks on this key */
    struct slice key;
    uint64_t hash;
    struct branch *owner;
    bool read, write; /* both false: not placed */
};

/* [from, to), to the last key if not bounded. */
struct interval {
    struct slice from, to;
    bool bounded;
};

bool interval_holds(const struct interval *interval, struct slice key);
bool interval_empty(const struct interval *interval);

struct range_mark {
    struct range_mark *next, *previous;
    struct interval interval;
    struct branch *owner;
    bool placed;
};

struct marks {
    struct mark *root;
    struct range_mark *ranges;
    size_t count; /* of both kinds */
};

static inline bool marks_none(const struct marks *marks) {
    return marks->count == 0;
}

/* Places a mark, or adds the kind to one already placed. key must stay valid until it is removed.
 */
void marks_place(struct marks *marks, struct mark *mark, struct slice key, uint64_t hash,
    bool write, struct branch *owner);
void marks_remove(struct marks *marks, struct mark *mark);
void marks_place_range(struct marks *marks, struct range_mark *mark,
    const struct interval *interval, struct branch *owner);
void marks_remove_range(struct marks *marks, struct range_mark *mark);

/* The holder of a mark that a reader of this key clashes with (another's write), or NULL. `self`
 * may be NULL. */
struct branch *marks_clash_read(
    const struct marks *marks, struct slice key, const struct branch *self);
/* The holder of a mark that a writer of this key clashes with (another's read, write or interval).
 */
struct branch *marks_clash_write(
    const struct marks *marks, struct slice key, const struct branch *self);
/* The holder of another's marked write inside the interval. */
struct branch *marks_clash_range(
    const struct marks *marks, const struct interval *interval, const struct branch *self);

#endif
