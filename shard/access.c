#include "shard/access.h"

#include <assert.h>
#include <stdlib.h>

struct access *access_find(const struct txn *txn, struct slice key, uint64_t hash) {
    struct access *access = txn->index[hash & (txn->index_size - 1)];
    while (access && !(access->hash == hash && slice_equal(access->key, key)))
        access = access->in_index;
    return access;
}

static void index_insert(struct txn *txn, struct access *access) {
    struct access **bucket = &txn->index[access->hash & (txn->index_size - 1)];
    access->in_index = *bucket;
    *bucket = access;
}

/* Doubles the index; old buckets stay in the arena, half as large together as the new ones. */
static bool index_grow(struct txn *txn) {
    struct access **old = txn->index;
    size_t old_size = txn->index_size;
    struct access **index = arena_alloc(&txn->arena, 4 * old_size * sizeof(struct access *));
    if (!index)
        return false;
    txn->index = index;
    txn->index_size = 4 * old_size;
    for (size_t i = 0; i < old_size; i++)
        for (struct access *access = old[i], *next; access; access = next) {
            next = access->in_index;
            index_insert(txn, access);
        }
    return true;
}

struct branch *access_branch(struct txn *txn, unsigned shard) {
    if (!txn->branches[shard]) {
        struct branch *branch = &txn->pool[shard];
        *branch = (struct branch){
            .msg = {.type = MSG_BRANCH, .from = txn->shard->index}, .txn = txn, .shard = shard};
        txn->branches[shard] = branch;
        txn->touched[txn->touched_count++] = (uint16_t)shard;
    }
    return txn->branches[shard];
}

enum status access_obtain(
    struct txn *txn, struct slice key, uint64_t hash, struct access **access) {
    *access = access_find(txn, key, hash);
    if (*access)
        return ST_OK;
    if (txn->access_count >= 2 * txn->index_size && !index_grow(txn))
        return ST_NOMEM;
    struct access *made = arena_alloc(&txn->arena, sizeof *made);
    if (!made)
        return ST_NOMEM;
    made->key = arena_copy(&txn->arena, key);
    if (!made->key.data)
        return ST_NOMEM;
    made->hash = hash;
    made->shard = slots_shard(txn->shard->options.slots, hash);
    struct branch *branch = access_branch(txn, made->shard);
    made->next = branch->accesses;
    branch->accesses = made;
    index_insert(txn, made);
    txn->access_count++;
    *access = made;
    return ST_OK;
}

/* ---- writes ---- */

/* Where key stands in the order, or would stand. */
static size_t order_position(const struct txn *txn, struct slice key) {
    size_t low = 0, high = txn->order_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (slice_compare(txn->order[middle]->key, key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool order_insert(struct txn *txn, struct access *access) {
    if (txn->order_count == txn->order_cap) {
        size_t cap = txn->order_cap ? 2 * txn->order_cap : 64;
        struct access **order = realloc(txn->order, cap * sizeof(struct access *));
        if (!order)
            return false;
        txn->order = order;
        txn->order_cap = cap;
    }
    size_t at = order_position(txn, access->key);
    memmove(
        txn->order + at + 1, txn->order + at, (txn->order_count - at) * sizeof(struct access *));
    txn->order[at] = access;
    txn->order_count++;
    return true;
}

static int compare_keys(const void *a, const void *b) {
    return slice_compare((*(struct access *const *)a)->key, (*(struct access *const *)b)->key);
}

/* Puts the writes in key order; from then on access_write keeps it. */
static bool put_in_order(struct txn *txn) {
    struct access **order = realloc(txn->order, (txn->write_count + 1) * sizeof(struct access *));
    if (!order)
        return false;
    txn->order = order;
    txn->order_cap = txn->write_count + 1;
    txn->order_count = 0;
    for (unsigned i = 0; i < txn->touched_count; i++)
        for (struct access *access = txn->branches[txn->touched[i]]->accesses; access;
             access = access->next)
            if (access->written)
                order[txn->order_count++] = access;
    assert(txn->order_count == txn->write_count);
    qsort(order, txn->order_count, sizeof(struct access *), compare_keys);
    txn->ordered = true;
    return true;
}

struct access *access_next_write(
    struct txn *txn, struct slice from, bool beyond, bool reverse, bool *failed) {
    *failed = false;
    if (txn->write_count == 0)
        return NULL;
    if (!txn->ordered && !put_in_order(txn)) {
        *failed = true;
        return NULL;
    }
    if (!from.data)
        return reverse ? txn->order[txn->order_count - 1] : txn->order[0];
    size_t at = order_position(txn, from);
    bool there = at < txn->order_count && slice_equal(txn->order[at]->key, from);
    if (there && !beyond)
        return txn->order[at];
    if (reverse)
        return at > 0 ? txn->order[at - 1] : NULL;
    at += there;
    return at < txn->order_count ? txn->order[at] : NULL;
}

/* Room for the value's bytes: the old ones if they suffice, so that a loop of writes to one key
 * takes no more memory than twice its largest value. */
static bool keep_value(struct txn *txn, struct access *access, struct slice value) {
    if (value.len > access->write_cap || !access->write.data) {
        size_t cap = value.len > 2 * access->write_cap ? value.len : 2 * access->write_cap;
        char *bytes = arena_alloc(&txn->arena, cap ? cap : 1);
        if (!bytes)
            return false;
        access->write.data = bytes;
        access->write_cap = cap;
    }
    if (value.len)
        memcpy((char *)(uintptr_t)access->write.data, value.data, value.len);
    access->write.len = value.len;
    return true;
}

enum status access_write(struct txn *txn, struct access *access, struct slice value) {
    size_t before =
        access->written ? access->key.len + (access->deletes ? 0 : access->write.len) : 0;
    size_t count = txn->write_count + !access->written;
    size_t bytes = txn->write_bytes - before + access->key.len + value.len;
    if (wal_record_bytes(count + 1, bytes) > wal_record_bytes_max(txn->shard->options.wal))
        return ST_TOO_LARGE;
    if (value.data && !keep_value(txn, access, value))
        return ST_NOMEM;
    if (!access->written && txn->ordered && !order_insert(txn, access))
        return ST_NOMEM;
    access->written = true;
    access->deletes = !value.data;
    txn->write_count = count;
    txn->write_bytes = bytes;
    return ST_OK;
}

void access_drop_writes(struct txn *txn) {
    for (unsigned i = 0; i < txn->touched_count; i++)
        for (struct access *access = txn->branches[txn->touched[i]]->accesses; access;
             access = access->next)
            access->written = access->deletes = false;
    txn->write_count = txn->write_bytes = 0;
    txn->order_count = 0;
    txn->ordered = false;
}

/* ---- the end of an attempt ---- */

static void free_copies(struct branch *branch) {
    for (struct access *access = branch->accesses; access; access = access->next) {
        assert(!access->mark.read && !access->mark.write && !access->is_staged);
        free((char *)(uintptr_t)access->value.data);
    }
    for (struct batch *batch = branch->batches; batch; batch = batch->next) {
        assert(!batch->mark.placed);
        buf_free(&batch->data);
    }
}

void access_clear(struct txn *txn) {
    for (unsigned i = 0; i < txn->touched_count; i++) {
        struct branch **branch = &txn->branches[txn->touched[i]];
        assert(!(*branch)->out && !(*branch)->marked && !(*branch)->waiters);
        free_copies(*branch);
        *branch = NULL;
    }
    txn->touched_count = 0;
    for (struct txn_range *range = txn->ranges; range; range = range->next)
        buf_free(&range->last);
    txn->ranges = NULL;
    txn->ranges_end = &txn->ranges;
    arena_reset(&txn->arena);
    memset(txn->small_index, 0, sizeof txn->small_index);
    txn->index = txn->small_index;
    txn->index_size = sizeof txn->small_index / sizeof txn->small_index[0];
    txn->access_count = 0;
    txn->write_count = txn->write_bytes = 0;
    txn->declared_count = txn->declared_bytes = 0;
    txn->read_bytes = 0;
    free(txn->order);
    txn->order = NULL;
    txn->order_count = txn->order_cap = 0;
    txn->ordered = false;
}
