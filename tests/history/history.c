/* Records a history: transactions, their operations, and the names of keys. See history.h. */
#include "tests/history/history.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/history/private.h"

void *grown(void *array, size_t len, size_t *room, size_t item_bytes) {
    if (len < *room)
        return array;
    *room = *room ? 2 * *room : 64;
    array = realloc(array, *room * item_bytes);
    if (!array) {
        fputs("history: out of memory\n", stderr);
        abort();
    }
    return array;
}

void *zeroed(size_t count, size_t item_bytes) {
    void *array = calloc(count ? count : 1, item_bytes);
    if (!array) {
        fputs("history: out of memory\n", stderr);
        abort();
    }
    return array;
}

struct history *history_new(bool global_versions) {
    struct history *history = zeroed(1, sizeof *history);
    history->global_versions = global_versions;
    return history;
}

void history_free(struct history *history) {
    if (!history)
        return;
    for (size_t i = 0; i < history->key_count; i++)
        free(history->keys[i]);
    free(history->keys);
    free(history->key_slots);
    free(history->txns);
    free(history->ops);
    free(history->elements);
    free(history);
}

/* ---- names of keys ---- */

/* FNV-1a (Fowler, Noll, Vo): short texts, nobody hostile. */
static size_t text_hash(const char *text) {
    uint64_t hash = UINT64_C(14695981039346656037);
    for (; *text; text++)
        hash = (hash ^ (unsigned char)*text) * UINT64_C(1099511628211);
    return (size_t)(hash ^ hash >> 29);
}

static uint32_t *key_slot(const struct history *history, const char *key) {
    size_t mask = history->key_slot_count - 1;
    for (size_t at = text_hash(key) & mask;; at = (at + 1) & mask) {
        uint32_t *slot = &history->key_slots[at];
        if (*slot == NONE || strcmp(history->keys[*slot], key) == 0)
            return slot;
    }
}

/* A table at most half full. */
static void key_slots_grow(struct history *history) {
    if (2 * history->key_count < history->key_slot_count)
        return;
    free(history->key_slots);
    history->key_slot_count = history->key_slot_count ? 2 * history->key_slot_count : 256;
    history->key_slots = zeroed(history->key_slot_count, sizeof *history->key_slots);
    memset(history->key_slots, 0xff, history->key_slot_count * sizeof *history->key_slots);
    for (uint32_t i = 0; i < history->key_count; i++)
        *key_slot(history, history->keys[i]) = i;
}

static uint32_t key_number(struct history *history, const char *key) {
    key_slots_grow(history);
    uint32_t *slot = key_slot(history, key);
    if (*slot != NONE)
        return *slot;
    size_t bytes = strlen(key) + 1;
    char *copy = zeroed(bytes, 1);
    memcpy(copy, key, bytes);
    *slot = (uint32_t)history->key_count;
    PUSH(history->keys, history->key_count, history->key_room, copy);
    return (uint32_t)history->key_count - 1;
}

/* ---- transactions and operations ---- */

uint32_t history_begin(struct history *history, const struct history_txn *txn) {
    assert(txn->complete_ns >= txn->invoke_ns);
    assert(txn->outcome == HISTORY_UNKNOWN || txn->complete_ns != HISTORY_NEVER);
    assert(history->txn_count < NONE);
    struct txn begun = {.is = *txn, .first_op = history->op_count};
    PUSH(history->txns, history->txn_count, history->txn_room, begun);
    history->in_range = false;
    return (uint32_t)history->txn_count - 1;
}

static struct op *op_add(struct history *history, struct op op) {
    assert(history->txn_count);
    history->txns[history->txn_count - 1].op_count++;
    PUSH(history->ops, history->op_count, history->op_room, op);
    return &history->ops[history->op_count - 1];
}

static void point_add(struct history *history, struct op op) {
    history->in_range = false;
    op_add(history, op);
}

void history_append(struct history *history, const char *key, int64_t element) {
    point_add(
        history, (struct op){.kind = OP_APPEND, .key = key_number(history, key), .value = element});
}

void history_write(struct history *history, const char *key, int64_t value) {
    assert(value != HISTORY_ABSENT);
    point_add(
        history, (struct op){.kind = OP_WRITE, .key = key_number(history, key), .value = value});
}

void history_delete(struct history *history, const char *key) {
    point_add(history,
        (struct op){.kind = OP_DELETE, .key = key_number(history, key), .value = HISTORY_ABSENT});
}

static struct op op_of_list(struct history *history, const char *key, const int64_t *elements,
    size_t count, uint64_t version) {
    assert(count < NONE);
    size_t first = history->element_count;
    for (size_t i = 0; i < count; i++)
        PUSH(history->elements, history->element_count, history->element_room, elements[i]);
    return (struct op){.kind = OP_LIST,
        .key = key_number(history, key),
        .version = version,
        .first = first,
        .count = (uint32_t)count};
}

static struct op op_of_read(
    struct history *history, const char *key, int64_t value, uint64_t version) {
    return (struct op){
        .kind = OP_READ, .key = key_number(history, key), .value = value, .version = version};
}

void history_read_list(struct history *history, const char *key, const int64_t *elements,
    size_t count, uint64_t version) {
    point_add(history, op_of_list(history, key, elements, count, version));
}

void history_read(struct history *history, const char *key, int64_t value, uint64_t version) {
    point_add(history, op_of_read(history, key, value, version));
}

void history_range(struct history *history, const char *from, const char *to, bool to_included) {
    point_add(history, (struct op){.kind = OP_RANGE,
                           .key = key_number(history, from),
                           .to = to ? key_number(history, to) : NONE,
                           .included = to_included});
    history->range_op = history->op_count - 1;
    history->in_range = true;
}

static void item_add(struct history *history, struct op item) {
    assert(history->in_range);
    op_add(history, item);
    history->ops[history->range_op].items++;
}

void history_range_item(struct history *history, const char *key, int64_t value, uint64_t version) {
    assert(value != HISTORY_ABSENT);
    item_add(history, op_of_read(history, key, value, version));
}

void history_range_list(struct history *history, const char *key, const int64_t *elements,
    size_t count, uint64_t version) {
    item_add(history, op_of_list(history, key, elements, count, version));
}
