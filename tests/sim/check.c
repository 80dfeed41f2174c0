/* The invariants that hold at every step of a life, whatever its workload. */
#include "tests/sim/world.h"

#include <string.h>

#include "core/hash.h"

/* A holder of the ticket marks at once and waits afterwards, so it is not prepared yet. */
static void no_clash(const struct branch *a, const struct branch *b) {
    if (a && b && a->txn != b->txn && !a->holder && !b->holder)
        story_fail("two prepared transactions clash");
}

static void check_mark(const struct marks *marks, const struct mark *mark) {
    if (mark->write)
        no_clash(mark->owner, marks_clash_write(marks, mark->key, mark->owner));
    if (mark->read)
        no_clash(mark->owner, marks_clash_read(marks, mark->key, mark->owner));
}

static void check_tree(const struct marks *marks, const struct mark *mark) {
    if (!mark)
        return;
    check_tree(marks, mark->left);
    for (const struct mark *same = mark; same; same = same->same)
        check_mark(marks, same);
    check_tree(marks, mark->right);
}

void check_marks(struct world *world) {
    for (unsigned i = 0; i < world->shards; i++) {
        const struct marks *marks = &world->shard[i]->marks;
        check_tree(marks, marks->root);
        for (const struct range_mark *range = marks->ranges; range; range = range->next)
            no_clash(range->owner, marks_clash_range(marks, &range->interval, range->owner));
    }
}

static const struct treap_node *node_of(
    const struct world *world, struct slice name, unsigned *at) {
    uint64_t hash = hash_key(name, world->shard[0]->options.hash_seed);
    *at = slots_shard(&world->slots, hash);
    return treap_find(world->shard[*at]->treap, name, hash);
}

static bool is_at(const struct treap_node *node, const struct past_version *version) {
    if (!node || !version)
        return !node && !version;
    return treap_version(node) == version->lsn && past_value(treap_value(node)) == version->value;
}

void check_state(struct world *world) {
    for (size_t i = 0; i < world->past.key_count; i++) {
        struct slice name = past_name(world->past.keys[i]);
        unsigned at;
        const struct treap_node *node = node_of(world, name, &at);
        if (!is_at(node, past_at(world->past.keys[i], UINT64_MAX)) &&
            !marks_clash_read(&world->shard[at]->marks, name, NULL))
            story_fail("key %.*s on shard %u is not what the log says, and no COMMIT of it is "
                       "under way",
                (int)name.len, name.data, at);
    }
}

void check_quiet(struct world *world) {
    for (unsigned i = 0; i < world->shards; i++) {
        const struct shard *shard = world->shard[i];
        STORY_HOLDS(marks_none(&shard->marks), "a mark is left though nothing is in flight");
        STORY_HOLDS(!shard->office.holder && !shard->office.first, "the ticket is not given back");
        STORY_HOLDS(shard_in_flight(shard) == 0, "a transaction is left");
        treap_check(shard->treap);
    }
    STORY_HOLDS(world->queued == 0, "a message is left");
    check_state(world);
    for (size_t i = 0; i < world->past.count; i++)
        if (!world->past.records[i].claimed)
            story_fail("the record of LSN %llu is there and nobody was told",
                (unsigned long long)world->past.records[i].lsn);
}

static void check_key(struct world *world, const struct past_key *key, uint64_t lsn) {
    unsigned at;
    struct slice name = past_name(key);
    const struct treap_node *node = node_of(world, name, &at);
    const struct past_version *version = past_at(key, lsn);
    if (is_at(node, version))
        return;
    story_fail("recovery to LSN %llu: key %.*s is %s of version %llu where the log had %s of "
               "version %llu",
        (unsigned long long)lsn, (int)name.len, name.data, node ? "there" : "absent",
        (unsigned long long)(node ? treap_version(node) : 0), version ? "one" : "none",
        (unsigned long long)(version ? version->lsn : 0));
}

void check_recovered(struct world *world, uint64_t lsn) {
    if (lsn < world->required)
        story_fail("recovery to LSN %llu, but LSN %llu was acknowledged", (unsigned long long)lsn,
            (unsigned long long)world->required);
    size_t there = 0, keys = 0;
    for (size_t i = 0; i < world->past.key_count; i++) {
        check_key(world, world->past.keys[i], lsn);
        keys += past_at(world->past.keys[i], lsn) != NULL;
    }
    for (unsigned i = 0; i < world->shards; i++) {
        there += treap_count(world->shard[i]->treap);
        treap_check(world->shard[i]->treap);
    }
    STORY_HOLDS(there == keys, "recovery brought keys that nobody wrote");
}
