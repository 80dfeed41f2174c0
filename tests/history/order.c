/* Puts the writes of each key in order, as far as the history tells it.
 *
 * A list tells the order of its elements, and every read of it must be a beginning of the longest
 * one ("traceability" in Elle). A register's writes are ordered by the versions of their
 * transactions, where these are known. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/history/private.h"

static const char *key_name(const struct check *check, uint32_t key) {
    return check->history->keys[key];
}

/* ---- lists ---- */

/* Looks at every element: is it there once, and was it ever committed? */
static bool list_is_sound(struct check *check, const struct list_seen *seen, uint32_t *stamps) {
    for (uint32_t i = 0; i < seen->count; i++) {
        uint32_t write = find_write(check, seen->key, seen->elements[i]);
        long long element = (long long)seen->elements[i];
        const char *key = key_name(check, seen->key);
        if (write == NONE) {
            accuse(check, "garbage read", seen->txn, seen->txn,
                "T%u read %lld in %s, which nobody appended\n", seen->txn, element, key);
            return false;
        }
        uint32_t writer = check->writes[write].txn;
        if (stamps[write] == seen->txn) {
            accuse(check, "duplicate", seen->txn, writer,
                "T%u read %s, where T%u's append of %lld is twice\n", seen->txn, key, writer,
                element);
            return false;
        }
        stamps[write] = seen->txn;
        if (txn_of(check, writer)->outcome == HISTORY_FAIL) {
            accuse(check, "G1a", seen->txn, writer,
                "T%u read %lld in %s, which T%u appended and was refused: an aborted read\n",
                seen->txn, element, key, writer);
            return false;
        }
        check->committed[writer] = true;
    }
    /* The next look, by the same transaction, starts afresh. */
    for (uint32_t i = 0; i < seen->count; i++)
        stamps[find_write(check, seen->key, seen->elements[i])] = NONE;
    return true;
}

static void adopt_longest(struct check *check, uint32_t key) {
    struct key_state *state = &check->keys[key];
    state->order_len = state->longest_len;
    state->order = zeroed(state->longest_len, sizeof *state->order);
    for (uint32_t i = 0; i < state->longest_len; i++) {
        state->order[i] = find_write(check, key, state->longest[i]);
        check->writes[state->order[i]].place = i;
    }
}

/* One that is no beginning of the longest list breaks its key, for a reason that is named. */
static void compare_with_longest(
    struct check *check, const struct list_seen *seen, uint32_t *stamps) {
    struct key_state *key = &check->keys[seen->key];
    if (key->broken || !seen->count ||
        memcmp(seen->elements, key->longest, seen->count * sizeof *seen->elements) == 0)
        return;
    key->broken = true;
    if (!list_is_sound(check, seen, stamps))
        return;
    uint32_t at = 0;
    while (seen->elements[at] == key->longest[at])
        at++;
    accuse(check, "incompatible order", seen->txn, seen->txn,
        "T%u read %lld at place %u of %s, where others read %lld\n", seen->txn,
        (long long)seen->elements[at], at + 1, key_name(check, seen->key),
        (long long)key->longest[at]);
}

/* A read that ends between two appends of one transaction. */
static void check_intermediate(struct check *check, const struct read *read) {
    if (read->write == NONE || check->keys[read->key].broken)
        return;
    const struct write *write = &check->writes[read->write];
    if (write->txn == read->txn)
        accuse(check, "internal", read->txn, read->txn,
            "T%u contradicts itself: it read its own append of %lld to %s before it made it\n",
            read->txn, (long long)write->value, key_name(check, read->key));
    else if (!write->last)
        accuse(check, "G1b", read->txn, write->txn,
            "T%u read %s up to %lld, after which T%u appended more: an intermediate read\n",
            read->txn, key_name(check, read->key), (long long)write->value, write->txn);
}

void order_lists(struct check *check) {
    uint32_t *stamps = zeroed(check->write_count, sizeof *stamps);
    memset(stamps, 0xff, check->write_count * sizeof *stamps);
    const struct list_seen **longest = zeroed(check->history->key_count, sizeof(void *));
    for (size_t i = 0; i < check->list_count; i++) {
        const struct list_seen *seen = &check->lists[i];
        if (!longest[seen->key] || seen->count > longest[seen->key]->count)
            longest[seen->key] = seen;
    }
    for (uint32_t i = 0; i < check->history->key_count; i++) {
        struct key_state *key = &check->keys[i];
        if (!longest[i])
            continue;
        key->longest = longest[i]->elements;
        key->longest_len = longest[i]->count;
        key->broken = !list_is_sound(check, longest[i], stamps);
        if (!key->broken && key->list)
            adopt_longest(check, i);
    }
    for (size_t i = 0; i < check->list_count; i++)
        compare_with_longest(check, &check->lists[i], stamps);
    for (size_t i = 0; i < check->read_count; i++)
        if (check->keys[check->reads[i].key].list)
            check_intermediate(check, &check->reads[i]);
    free(longest);
    free(stamps);
}

/* ---- registers ---- */

struct versioned {
    uint64_t version;
    uint32_t write;
};

static int versioned_compare(const void *a, const void *b) {
    const struct versioned *first = a, *second = b;
    return (first->version > second->version) - (first->version < second->version);
}

static void order_register(struct check *check, uint32_t number, struct versioned *sorted) {
    struct key_state *key = &check->keys[number];
    uint32_t count = 0;
    for (uint32_t i = 0; i < key->writes_count; i++) {
        uint32_t write = check->by_key[key->writes_first + i];
        uint64_t version = check->version[check->writes[write].txn];
        if (version && is_version(check, write))
            sorted[count++] = (struct versioned){version, write};
    }
    qsort(sorted, count, sizeof *sorted, versioned_compare);
    key->order = zeroed(count, sizeof *key->order);
    key->order_len = count;
    for (uint32_t i = 0; i < count; i++) {
        key->order[i] = sorted[i].write;
        check->writes[sorted[i].write].place = i;
        if (i && sorted[i - 1].version == sorted[i].version) {
            uint32_t one = check->writes[sorted[i - 1].write].txn;
            uint32_t two = check->writes[sorted[i].write].txn;
            accuse(check, "version mismatch", one, two,
                "T%u and T%u both wrote %s at version %llu\n", one, two, key_name(check, number),
                (unsigned long long)sorted[i].version);
            key->broken = true;
        }
    }
}

void order_registers(struct check *check) {
    struct versioned *sorted = zeroed(check->write_count, sizeof *sorted);
    for (uint32_t i = 0; i < check->history->key_count; i++)
        if (!check->keys[i].list)
            order_register(check, i, sorted);
    free(sorted);
}
