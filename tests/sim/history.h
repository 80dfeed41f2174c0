/* What the log holds, remembered beside it: every version of every key, in the order of LSNs. It
 * is the model that reads, replies and recovered states are held against.
 *
 * Ownership: the caller owns the history; keys are copied. Threads: one.
 * Errors: memory running out is an assert. */
#ifndef CONCAVE_TESTS_SIM_HISTORY_H
#define CONCAVE_TESTS_SIM_HISTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/buf.h"

#define HISTORY_KEY_BYTES 24u

struct history_version {
    uint64_t lsn;
    uint64_t value; /* its hash; 0: deleted */
};

struct history_key {
    char name[HISTORY_KEY_BYTES];
    uint8_t len;
    struct history_version *versions; /* oldest first */
    size_t count, cap;
};

struct history_record {
    uint64_t lsn;
    unsigned writes;
    bool claimed; /* somebody was told of it, or nobody can be told any more */
};

struct history {
    struct history_key **keys; /* in byte order */
    size_t key_count, key_cap;
    struct history_record *records;
    size_t count, cap;
    uint64_t last; /* the newest LSN; 0: none */
};

void history_free(struct history *history);
/* The hash of a value, never 0. */
uint64_t history_value(struct slice value);
/* A record with the next LSN; its writes follow. */
void history_begin_record(struct history *history, uint64_t lsn);
/* One write of the newest record. value: a hash, or 0 for a deletion. */
void history_write(struct history *history, struct slice key, uint64_t value);
/* Forgets the records behind this LSN. */
void history_cut(struct history *history, uint64_t lsn);
/* The key, or NULL if nothing was ever written to it. */
const struct history_key *history_find(const struct history *history, struct slice key);
/* The version as of an LSN, NULL if the key is absent then. key may be NULL. */
const struct history_version *history_at(const struct history_key *key, uint64_t lsn);
/* The index of the first key at or behind this one. */
size_t history_lower_bound(const struct history *history, struct slice key);
struct history_record *history_record_of(struct history *history, uint64_t lsn);
static inline struct slice history_name(const struct history_key *key) {
    return slice_of(key->name, key->len);
}

#endif
