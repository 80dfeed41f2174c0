#include "tests/sim/past.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

static void *grow(void *array, size_t count, size_t *cap, size_t element) {
    if (count < *cap)
        return array;
    *cap = *cap ? 2 * *cap : 8;
    array = realloc(array, *cap * element);
    assert(array);
    return array;
}

void past_free(struct past *past) {
    for (size_t i = 0; i < past->key_count; i++) {
        free(past->keys[i]->versions);
        free(past->keys[i]);
    }
    free(past->keys);
    free(past->records);
    *past = (struct past){0};
}

uint64_t past_value(struct slice value) {
    uint64_t hash = XXH3_64bits(value.data, value.len);
    return hash ? hash : 1;
}

void past_begin_record(struct past *past, uint64_t lsn) {
    assert(lsn > past->last);
    past->records = grow(past->records, past->count, &past->cap, sizeof *past->records);
    past->records[past->count++] = (struct past_record){.lsn = lsn};
    past->last = lsn;
}

size_t past_lower_bound(const struct past *past, struct slice key) {
    size_t low = 0, high = past->key_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (slice_compare(past_name(past->keys[middle]), key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static struct past_key *find(const struct past *past, struct slice key) {
    size_t at = past_lower_bound(past, key);
    bool there = at < past->key_count && slice_equal(past_name(past->keys[at]), key);
    return there ? past->keys[at] : NULL;
}

const struct past_key *past_find(const struct past *past, struct slice key) {
    return find(past, key);
}

static struct past_key *obtain(struct past *past, struct slice name) {
    struct past_key *key = find(past, name);
    if (key)
        return key;
    assert(name.len <= PAST_KEY_BYTES);
    key = calloc(1, sizeof *key);
    assert(key);
    memcpy(key->name, name.data, name.len);
    key->len = (uint8_t)name.len;
    size_t at = past_lower_bound(past, name);
    past->keys = grow(past->keys, past->key_count, &past->key_cap, sizeof(struct past_key *));
    memmove(
        past->keys + at + 1, past->keys + at, (past->key_count - at) * sizeof(struct past_key *));
    past->keys[at] = key;
    past->key_count++;
    return key;
}

void past_write(struct past *past, struct slice name, uint64_t value) {
    struct past_key *key = obtain(past, name);
    key->versions = grow(key->versions, key->count, &key->cap, sizeof *key->versions);
    key->versions[key->count++] = (struct past_version){past->last, value};
    past->records[past->count - 1].writes++;
}

void past_cut(struct past *past, uint64_t lsn) {
    while (past->count > 0 && past->records[past->count - 1].lsn > lsn)
        past->count--;
    past->last = past->count ? past->records[past->count - 1].lsn : 0;
    for (size_t i = 0; i < past->key_count; i++) {
        struct past_key *key = past->keys[i];
        while (key->count > 0 && key->versions[key->count - 1].lsn > lsn)
            key->count--;
    }
}

const struct past_version *past_at(const struct past_key *key, uint64_t lsn) {
    if (!key)
        return NULL;
    for (size_t i = key->count; i-- > 0;)
        if (key->versions[i].lsn <= lsn)
            return key->versions[i].value ? &key->versions[i] : NULL;
    return NULL;
}

struct past_record *past_record_of(struct past *past, uint64_t lsn) {
    size_t low = 0, high = past->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (past->records[middle].lsn < lsn)
            low = middle + 1;
        else
            high = middle;
    }
    return low < past->count && past->records[low].lsn == lsn ? &past->records[low] : NULL;
}
