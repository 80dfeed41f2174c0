#include "tests/sim/history.h"

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

void history_free(struct history *history) {
    for (size_t i = 0; i < history->key_count; i++) {
        free(history->keys[i]->versions);
        free(history->keys[i]);
    }
    free(history->keys);
    free(history->records);
    *history = (struct history){0};
}

uint64_t history_value(struct slice value) {
    uint64_t hash = XXH3_64bits(value.data, value.len);
    return hash ? hash : 1;
}

void history_begin_record(struct history *history, uint64_t lsn) {
    assert(lsn > history->last);
    history->records =
        grow(history->records, history->count, &history->cap, sizeof *history->records);
    history->records[history->count++] = (struct history_record){.lsn = lsn};
    history->last = lsn;
}

size_t history_lower_bound(const struct history *history, struct slice key) {
    size_t low = 0, high = history->key_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (slice_compare(history_name(history->keys[middle]), key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static struct history_key *find(const struct history *history, struct slice key) {
    size_t at = history_lower_bound(history, key);
    bool there = at < history->key_count && slice_equal(history_name(history->keys[at]), key);
    return there ? history->keys[at] : NULL;
}

const struct history_key *history_find(const struct history *history, struct slice key) {
    return find(history, key);
}

static struct history_key *obtain(struct history *history, struct slice name) {
    struct history_key *key = find(history, name);
    if (key)
        return key;
    assert(name.len <= HISTORY_KEY_BYTES);
    key = calloc(1, sizeof *key);
    assert(key);
    memcpy(key->name, name.data, name.len);
    key->len = (uint8_t)name.len;
    size_t at = history_lower_bound(history, name);
    history->keys =
        grow(history->keys, history->key_count, &history->key_cap, sizeof(struct history_key *));
    memmove(history->keys + at + 1, history->keys + at,
        (history->key_count - at) * sizeof(struct history_key *));
    history->keys[at] = key;
    history->key_count++;
    return key;
}

void history_write(struct history *history, struct slice name, uint64_t value) {
    struct history_key *key = obtain(history, name);
    key->versions = grow(key->versions, key->count, &key->cap, sizeof *key->versions);
    key->versions[key->count++] = (struct history_version){history->last, value};
    history->records[history->count - 1].writes++;
}

void history_cut(struct history *history, uint64_t lsn) {
    while (history->count > 0 && history->records[history->count - 1].lsn > lsn)
        history->count--;
    history->last = history->count ? history->records[history->count - 1].lsn : 0;
    for (size_t i = 0; i < history->key_count; i++) {
        struct history_key *key = history->keys[i];
        while (key->count > 0 && key->versions[key->count - 1].lsn > lsn)
            key->count--;
    }
}

const struct history_version *history_at(const struct history_key *key, uint64_t lsn) {
    if (!key)
        return NULL;
    for (size_t i = key->count; i-- > 0;)
        if (key->versions[i].lsn <= lsn)
            return key->versions[i].value ? &key->versions[i] : NULL;
    return NULL;
}

struct history_record *history_record_of(struct history *history, uint64_t lsn) {
    size_t low = 0, high = history->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (history->records[middle].lsn < lsn)
            low = middle + 1;
        else
            high = middle;
    }
    return low < history->count && history->records[low].lsn == lsn ? &history->records[low] : NULL;
}
