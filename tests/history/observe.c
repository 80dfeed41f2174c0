/* Resolves every read to the write that it saw, and finds what is wrong with reads taken alone:
 * garbage, aborted and intermediate reads (Adya's G1a and G1b), and transactions that contradict
 * themselves.
 *
 * Values are unique, so the write is found by key and value ("recoverability" in Elle). Only reads
 * of acknowledged transactions count: what a refused one saw was never told as true. A transaction
 * without a reply of which anything was seen has committed. */
#include <stdlib.h>
#include <string.h>

#include "tests/history/private.h"

/* What a transaction knows of a key so far; of the transaction `txn`, otherwise stale. */
struct view {
    uint32_t txn;
    bool wrote; /* own_value, or own_count elements, are its own */
    bool seen;  /* it has read what was there before: */
    int64_t value, own_value;
    const int64_t *elements;
    uint32_t count, own_count;
};

struct observer {
    struct check *check;
    struct view *views; /* by key */
    uint32_t *places;   /* by key: its place in byte order */
    uint32_t txn;       /* being looked at */
    bool predicate;     /* in a range */
};

/* ---- writes by key and value ---- */

static size_t value_hash(uint32_t key, int64_t value) {
    uint64_t hash = ((uint64_t)value ^ (uint64_t)key << 32) * UINT64_C(0x9e3779b97f4a7c15);
    return (size_t)(hash ^ hash >> 32);
}

static uint32_t *value_slot(const struct check *check, uint32_t key, int64_t value) {
    size_t mask = check->value_slot_count - 1;
    for (size_t at = value_hash(key, value) & mask;; at = (at + 1) & mask) {
        uint32_t *slot = &check->value_slots[at];
        if (*slot == NONE ||
            (check->writes[*slot].key == key && check->writes[*slot].value == value))
            return slot;
    }
}

uint32_t find_write(const struct check *check, uint32_t key, int64_t value) {
    return *value_slot(check, key, value);
}

static const char *key_name(const struct check *check, uint32_t key) {
    return check->history->keys[key];
}

static void write_index(struct check *check, uint32_t write) {
    const struct write *at = &check->writes[write];
    if (at->value == HISTORY_ABSENT)
        return;
    uint32_t *slot = value_slot(check, at->key, at->value);
    if (*slot == NONE)
        *slot = write;
    else
        accuse(check, "bad history", at->txn, check->writes[*slot].txn,
            "%s is written %lld twice, by T%u and T%u: values must be unique\n",
            key_name(check, at->key), (long long)at->value, check->writes[*slot].txn, at->txn);
}

static bool is_write(const struct op *op) {
    return op->kind == OP_APPEND || op->kind == OP_WRITE || op->kind == OP_DELETE;
}

static void gather_txn_writes(struct check *check, uint32_t txn, uint32_t *last_of_key) {
    const struct txn *at = &check->history->txns[txn];
    size_t begin = check->write_count;
    for (size_t i = at->first_op; i < at->first_op + at->op_count; i++) {
        const struct op *op = &check->history->ops[i];
        if (!is_write(op))
            continue;
        uint32_t before = last_of_key[op->key];
        if (before != NONE && before >= begin)
            check->writes[before].last = false;
        last_of_key[op->key] = (uint32_t)check->write_count;
        struct write write = {txn, op->key, op->value, NONE, true};
        PUSH(check->writes, check->write_count, check->write_room, write);
        struct key_state *key = &check->keys[op->key];
        key->list |= op->kind == OP_APPEND;
        /* What was refused, or undone within the transaction, is never there. */
        key->deleted |= op->kind == OP_DELETE && at->is.outcome != HISTORY_FAIL;
        key->writes_count++;
    }
}

/* Fills check->writes, the table by value and the index by key. */
static void gather_writes(struct check *check) {
    size_t keys = check->history->key_count;
    uint32_t *last_of_key = zeroed(keys, sizeof *last_of_key);
    memset(last_of_key, 0xff, keys * sizeof *last_of_key);
    for (uint32_t i = 0; i < check->history->txn_count; i++)
        gather_txn_writes(check, i, last_of_key);
    for (check->value_slot_count = 64; check->value_slot_count < 2 * check->write_count;)
        check->value_slot_count *= 2;
    check->value_slots = zeroed(check->value_slot_count, sizeof *check->value_slots);
    memset(check->value_slots, 0xff, check->value_slot_count * sizeof *check->value_slots);
    uint32_t first = 0;
    for (size_t i = 0; i < keys; i++) {
        check->keys[i].writes_first = first;
        first += check->keys[i].writes_count;
        check->keys[i].writes_count = 0;
    }
    check->by_key = zeroed(check->write_count, sizeof *check->by_key);
    for (uint32_t i = 0; i < check->write_count; i++) {
        struct key_state *key = &check->keys[check->writes[i].key];
        check->by_key[key->writes_first + key->writes_count++] = i;
        write_index(check, i);
    }
    free(last_of_key);
}

/* ---- versions ---- */

void learn_version(struct check *check, uint32_t txn, uint64_t version, uint32_t reader) {
    if (!version)
        return;
    if (!check->version[txn])
        check->version[txn] = version;
    else if (check->version[txn] != version)
        accuse(check, "version mismatch", txn, reader,
            "T%u committed at version %llu, T%u was told %llu\n", txn,
            (unsigned long long)check->version[txn], reader, (unsigned long long)version);
}

/* ---- reads ---- */

static struct view *view_of(struct observer *observer, uint32_t key) {
    struct view *view = &observer->views[key];
    if (view->txn != observer->txn)
        *view = (struct view){.txn = observer->txn};
    return view;
}

static void accuse_self(struct observer *observer, uint32_t key, const char *what) {
    accuse(observer->check, "internal", observer->txn, observer->txn,
        "T%u contradicts itself: %s %s\n", observer->txn, what, key_name(observer->check, key));
}

static void read_add(struct observer *observer, uint32_t key, uint32_t write, uint32_t len) {
    struct read read = {observer->txn, key, write, len, observer->predicate};
    struct check *check = observer->check;
    PUSH(check->reads, check->read_count, check->read_room, read);
}

/* The write that a register's read saw; false if the read is worth nothing. */
static bool resolve(
    struct observer *observer, uint32_t key, int64_t value, uint64_t version, uint32_t *write) {
    struct check *check = observer->check;
    uint32_t reader = observer->txn;
    *write = NONE;
    if (value == HISTORY_ABSENT)
        return true;
    *write = find_write(check, key, value);
    if (*write == NONE) {
        accuse(check, "garbage read", reader, reader, "T%u read %s = %lld, which nobody wrote\n",
            reader, key_name(check, key), (long long)value);
        return false;
    }
    const struct write *at = &check->writes[*write];
    if (at->txn == reader) {
        accuse_self(observer, key, "it read what it had yet to write, of");
        return false;
    }
    if (txn_of(check, at->txn)->outcome == HISTORY_FAIL) {
        accuse(check, "G1a", reader, at->txn,
            "T%u read %s = %lld, which T%u wrote and was refused: an aborted read\n", reader,
            key_name(check, key), (long long)value, at->txn);
        return false;
    }
    check->committed[at->txn] = true;
    if (!at->last) {
        accuse(check, "G1b", reader, at->txn,
            "T%u read %s = %lld, which T%u overwrote itself: an intermediate read\n", reader,
            key_name(check, key), (long long)value, at->txn);
        return false;
    }
    learn_version(check, at->txn, version, reader);
    return true;
}

static void see_register(struct observer *observer, uint32_t key, int64_t value, uint64_t version) {
    struct view *view = view_of(observer, key);
    if (view->wrote) {
        if (view->own_value != value)
            accuse_self(observer, key, "it did not read its own write of");
        return;
    }
    if (view->seen) {
        if (view->value != value)
            accuse_self(observer, key, "it read two values of");
        return;
    }
    view->seen = true;
    view->value = value;
    uint32_t write;
    if (resolve(observer, key, value, version, &write))
        read_add(observer, key, write, 0);
}

/* The end of the list must be the transaction's own appends. */
static bool ends_with_own(struct observer *observer, const int64_t *elements, uint32_t count,
    uint32_t key, uint32_t own_count) {
    if (count < own_count)
        return false;
    for (uint32_t i = count - own_count; i < count; i++) {
        uint32_t write = find_write(observer->check, key, elements[i]);
        if (write == NONE || observer->check->writes[write].txn != observer->txn)
            return false;
    }
    return true;
}

static void see_list(struct observer *observer, uint32_t key, const int64_t *elements,
    uint32_t count, uint64_t version) {
    struct check *check = observer->check;
    struct view *view = view_of(observer, key);
    if (!ends_with_own(observer, elements, count, key, view->own_count)) {
        accuse_self(observer, key, "it did not read its own appends to");
        return;
    }
    struct list_seen seen = {observer->txn, key, elements, count};
    PUSH(check->lists, check->list_count, check->list_room, seen);
    count -= view->own_count;
    if (view->seen) {
        if (view->count != count ||
            (count && memcmp(view->elements, elements, count * sizeof *elements) != 0))
            accuse_self(observer, key, "it read two states of");
        return;
    }
    view->seen = true;
    view->elements = elements;
    view->count = count;
    uint32_t write = count ? find_write(check, key, elements[count - 1]) : NONE;
    if (write != NONE && !view->own_count)
        learn_version(check, check->writes[write].txn, version, observer->txn);
    read_add(observer, key, write, count);
}

/* A key that a range did not find. */
static void see_nothing(struct observer *observer, uint32_t key) {
    static const int64_t empty[1];
    const struct key_state *state = &observer->check->keys[key];
    if (state->list)
        see_list(observer, key, empty, 0, 0);
    else if (state->writes_count)
        see_register(observer, key, HISTORY_ABSENT, 0);
}

static void see(struct observer *observer, const struct op *op) {
    struct check *check = observer->check;
    bool list = op->kind == OP_LIST;
    if (check->keys[op->key].writes_count && check->keys[op->key].list != list &&
        !(op->kind == OP_READ && op->value == HISTORY_ABSENT)) {
        accuse(check, "garbage read", observer->txn, observer->txn,
            "T%u read a %s in %s, where others put %ss\n", observer->txn, list ? "list" : "number",
            key_name(check, op->key), list ? "number" : "element");
        return;
    }
    if (list)
        see_list(observer, op->key, check->history->elements + op->first, op->count, op->version);
    else if (op->value == HISTORY_ABSENT)
        see_nothing(observer, op->key);
    else
        see_register(observer, op->key, op->value, op->version);
}

/* The first place in byte order of keys that is not before `key`. */
static void see_range(struct observer *observer, const struct op *range) {
    struct check *check = observer->check;
    uint32_t place = observer->places[range->key];
    uint32_t end = range->to == NONE ? (uint32_t)check->history->key_count
                                     : observer->places[range->to] + range->included;
    observer->predicate = true;
    for (uint32_t i = 1; i <= range->items; i++) {
        const struct op *item = range + i;
        uint32_t at = observer->places[item->key];
        if (at < place || at >= end) {
            bool again = i > 1 && range[i - 1].key == item->key;
            accuse(check, again ? "duplicate" : "garbage read", observer->txn, observer->txn,
                "T%u was given %s by a range %s\n", observer->txn, key_name(check, item->key),
                again ? "twice" : "to which it does not belong, or in the wrong order");
            observer->predicate = false;
            return;
        }
        for (; place < at; place++)
            see_nothing(observer, check->sorted_keys[place]);
        see(observer, item);
        place = at + 1;
    }
    for (; place < end; place++)
        see_nothing(observer, check->sorted_keys[place]);
    observer->predicate = false;
}

static void own_write(struct observer *observer, const struct op *op) {
    struct view *view = view_of(observer, op->key);
    view->wrote = true;
    view->own_value = op->value;
    view->own_count += op->kind == OP_APPEND;
}

static void observe_txn(struct observer *observer, uint32_t txn) {
    const struct history *history = observer->check->history;
    const struct txn *at = &history->txns[txn];
    observer->txn = txn;
    for (size_t i = 0; i < at->op_count; i++) {
        const struct op *op = &history->ops[at->first_op + i];
        if (is_write(op))
            own_write(observer, op);
        else if (op->kind == OP_RANGE) {
            see_range(observer, op);
            i += op->items;
        } else
            see(observer, op);
    }
}

/* ---- keys in byte order ---- */

struct named_key {
    const char *name;
    uint32_t key;
};

static int named_key_compare(const void *a, const void *b) {
    return strcmp(((const struct named_key *)a)->name, ((const struct named_key *)b)->name);
}

static void sort_keys(struct check *check, uint32_t *places) {
    uint32_t count = (uint32_t)check->history->key_count;
    struct named_key *named = zeroed(count, sizeof *named);
    for (uint32_t i = 0; i < count; i++)
        named[i] = (struct named_key){check->history->keys[i], i};
    qsort(named, count, sizeof *named, named_key_compare);
    for (uint32_t i = 0; i < count; i++) {
        check->sorted_keys[i] = named[i].key;
        places[named[i].key] = i;
    }
    free(named);
}

void observe(struct check *check) {
    const struct history *history = check->history;
    gather_writes(check);
    for (uint32_t i = 0; i < history->txn_count; i++) {
        check->committed[i] = history->txns[i].is.outcome == HISTORY_OK;
        check->version[i] = history->txns[i].is.version;
    }
    struct observer observer = {.check = check};
    observer.views = zeroed(history->key_count, sizeof *observer.views);
    observer.places = zeroed(history->key_count, sizeof *observer.places);
    for (size_t i = 0; i < history->key_count; i++)
        observer.views[i].txn = NONE;
    sort_keys(check, observer.places);
    for (uint32_t i = 0; i < history->txn_count; i++)
        if (history->txns[i].is.outcome == HISTORY_OK)
            observe_txn(&observer, i);
    free(observer.views);
    free(observer.places);
}
