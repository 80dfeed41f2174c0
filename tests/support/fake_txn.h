/* A transaction for tests of lua/: the functions of shard/txn.h over a sorted array.
 *
 * It is a header with definitions: include it in one file of a program, which then links these
 * functions in place of the real ones. A store (struct fake_store) holds what is committed; a
 * struct txn lies over it. With `remote` set, the first access to each key and the first step of
 * each walk answers ST_PENDING; with `doomed`, every call answers ST_DOOMED. */
#ifndef CONCAVE_TESTS_FAKE_TXN_H
#define CONCAVE_TESTS_FAKE_TXN_H

#include <assert.h>
#include <stdlib.h>

#include "shard/txn.h"

#define FAKE_ITEMS_MAX 4096

struct fake_item {
    struct slice key;
    struct slice value; /* data NULL: deleted (in a transaction) */
    uint64_t version;
};

struct fake_set {
    struct fake_item items[FAKE_ITEMS_MAX];
    unsigned count;
};

struct txn_range {
    struct txn *txn;
    struct slice from, to;
    bool bounded, reverse, asked, open;
    char bounds[2][1100];
    char last[1100]; /* key handed out last */
    size_t last_len;
    bool started;
};

struct txn {
    struct fake_set *store;
    struct fake_set writes;
    struct fake_set asked; /* keys answered ST_PENDING once */
    struct txn_range ranges[64];
    unsigned range_count, ranges_open;
    bool remote, doomed, first_run;
    unsigned calls; /* store calls made */
};

static inline struct slice fake_copy(struct slice slice) {
    char *data = malloc(slice.len + 1);
    assert(data);
    if (slice.len)
        memcpy(data, slice.data, slice.len);
    data[slice.len] = '\0';
    return slice_of(data, slice.len);
}

static inline unsigned fake_find(const struct fake_set *set, struct slice key) {
    unsigned low = 0, high = set->count;
    while (low < high) {
        unsigned middle = (low + high) / 2;
        if (slice_compare(set->items[middle].key, key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static inline struct fake_item *fake_look(struct fake_set *set, struct slice key) {
    unsigned at = fake_find(set, key);
    return at < set->count && slice_equal(set->items[at].key, key) ? &set->items[at] : NULL;
}

static inline void fake_put(
    struct fake_set *set, struct slice key, struct slice value, uint64_t version) {
    struct fake_item *item = fake_look(set, key);
    if (!item) {
        unsigned at = fake_find(set, key);
        assert(set->count < FAKE_ITEMS_MAX);
        memmove(set->items + at + 1, set->items + at, (set->count - at) * sizeof *set->items);
        set->count++;
        item = &set->items[at];
        *item = (struct fake_item){.key = fake_copy(key)};
    }
    free((void *)item->value.data);
    item->value = value.data ? fake_copy(value) : value;
    item->version = version;
}

static inline void fake_clear(struct fake_set *set) {
    for (unsigned i = 0; i < set->count; i++) {
        free((void *)set->items[i].key.data);
        free((void *)set->items[i].value.data);
    }
    set->count = 0;
}

/* Empties the transaction; walks are ended. */
static inline void fake_txn_reset(struct txn *txn) {
    fake_clear(&txn->writes);
    fake_clear(&txn->asked);
    txn->range_count = txn->ranges_open = 0;
}

/* Applies the writes to the store with this version. */
static inline void fake_commit(struct txn *txn, uint64_t version) {
    for (unsigned i = 0; i < txn->writes.count; i++) {
        struct fake_item *write = &txn->writes.items[i];
        if (write->value.data) {
            fake_put(txn->store, write->key, write->value, version);
            continue;
        }
        struct fake_item *item = fake_look(txn->store, write->key);
        if (!item)
            continue;
        free((void *)item->key.data);
        free((void *)item->value.data);
        size_t behind = txn->store->count - (size_t)(item - txn->store->items) - 1;
        memmove(item, item + 1, behind * sizeof *item);
        txn->store->count--;
    }
    fake_txn_reset(txn);
}

static inline enum status fake_access(struct txn *txn, struct slice key) {
    txn->calls++;
    if (txn->doomed)
        return ST_DOOMED;
    if (key.len == 0 || key.len > txn_key_bytes_max(txn))
        return ST_INVALID;
    if (txn->remote && !fake_look(&txn->asked, key)) {
        fake_put(&txn->asked, key, slice_of("", 0), 0);
        return ST_PENDING;
    }
    return ST_OK;
}

enum status txn_get(struct txn *txn, struct slice key, struct slice *value, uint64_t *version) {
    enum status status = fake_access(txn, key);
    if (status != ST_OK)
        return status;
    struct fake_item *item = fake_look(&txn->writes, key);
    if (!item)
        item = fake_look(txn->store, key);
    *version = item ? item->version : 0;
    if (!item || !item->value.data)
        return ST_NOT_FOUND;
    *value = item->value;
    return ST_OK;
}

enum status txn_version(struct txn *txn, struct slice key, uint64_t *version) {
    struct slice value;
    return txn_get(txn, key, &value, version);
}

bool txn_wrote(struct txn *txn, struct slice key) {
    return fake_look(&txn->writes, key) != NULL;
}

enum status txn_set(struct txn *txn, struct slice key, struct slice value) {
    txn->calls++;
    if (txn->doomed)
        return ST_DOOMED;
    fake_put(&txn->writes, key, value, 0);
    return ST_OK;
}

enum status txn_delete(struct txn *txn, struct slice key) {
    txn->calls++;
    if (txn->doomed)
        return ST_DOOMED;
    fake_put(&txn->writes, key, slice_of(NULL, 0), 0);
    return ST_OK;
}

size_t txn_key_bytes_max(const struct txn *txn) {
    (void)txn;
    return 1024;
}

size_t txn_value_bytes_max(const struct txn *txn) {
    (void)txn;
    return 65536;
}

void range_spec_prefix(struct range_spec *spec, struct slice prefix, char *scratch) {
    spec->from = prefix;
    size_t len = prefix.len;
    while (len && (unsigned char)prefix.data[len - 1] == 0xFF)
        len--;
    spec->bounded = len > 0;
    if (len) {
        memcpy(scratch, prefix.data, len);
        scratch[len - 1]++;
    }
    spec->to = slice_of(scratch, len);
}

enum status txn_range_open(struct txn *txn, const struct range_spec *spec, struct txn_range **out) {
    if (txn->doomed)
        return ST_DOOMED;
    assert(txn->range_count < 64 && spec->from.len < 1100 && spec->to.len < 1100);
    struct txn_range *range = &txn->ranges[txn->range_count++];
    *range = (struct txn_range){
        .txn = txn, .bounded = spec->bounded, .reverse = spec->reverse, .open = true};
    if (spec->from.len)
        memcpy(range->bounds[0], spec->from.data, spec->from.len);
    if (spec->to.len)
        memcpy(range->bounds[1], spec->to.data, spec->to.len);
    range->from = slice_of(range->bounds[0], spec->from.len);
    range->to = slice_of(range->bounds[1], spec->to.len);
    txn->ranges_open++;
    *out = range;
    return ST_OK;
}

static inline bool fake_inside(const struct txn_range *range, struct slice key) {
    if (slice_compare(key, range->from) < 0)
        return false;
    if (range->bounded && slice_compare(key, range->to) >= 0)
        return false;
    if (!range->started)
        return true;
    int order = slice_compare(key, slice_of(range->last, range->last_len));
    return range->reverse ? order < 0 : order > 0;
}

/* The best candidate of a set for the walk's next step, or NULL. */
static inline struct fake_item *fake_candidate(
    const struct txn_range *range, struct fake_set *set) {
    for (unsigned i = 0; i < set->count; i++) {
        struct fake_item *item = &set->items[range->reverse ? set->count - 1 - i : i];
        if (fake_inside(range, item->key))
            return item;
    }
    return NULL;
}

enum status txn_range_next(struct txn_range *range, struct range_item *out) {
    struct txn *txn = range->txn;
    txn->calls++;
    assert(range->open);
    if (txn->doomed)
        return ST_DOOMED;
    if (txn->remote && !range->asked) {
        range->asked = true;
        return ST_PENDING;
    }
    for (;;) {
        struct fake_item *stored = fake_candidate(range, txn->store);
        struct fake_item *written = fake_candidate(range, &txn->writes);
        struct fake_item *item = written ? written : stored;
        if (stored && written) {
            int order = slice_compare(stored->key, written->key);
            bool take_stored = order != 0 && (order < 0) != range->reverse;
            item = take_stored ? stored : written;
        }
        if (!item)
            return ST_END;
        memcpy(range->last, item->key.data, item->key.len);
        range->last_len = item->key.len;
        range->started = true;
        if (!item->value.data)
            continue;
        *out =
            (struct range_item){.key = item->key, .value = item->value, .version = item->version};
        return ST_OK;
    }
}

void txn_range_close(struct txn_range *range) {
    assert(range->open);
    range->open = false;
    range->txn->ranges_open--;
}

enum status txn_declare(struct txn *txn, struct slice key, enum declare_kind kind) {
    (void)txn, (void)key, (void)kind;
    return ST_OK;
}

enum status txn_declare_range(struct txn *txn, const struct range_spec *spec) {
    (void)txn, (void)spec;
    return ST_OK;
}

void txn_declare_bytes(struct txn *txn, size_t count, size_t bytes) {
    (void)txn, (void)count, (void)bytes;
}

void txn_mark_first_run(struct txn *txn) {
    txn->first_run = true;
}

#endif
