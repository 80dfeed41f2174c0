/* What the log holds, remembered beside it: every version of every key, in the order of LSNs. It
 * is the model that reads, replies and recovered states are held against.
 *
 * Ownership: the caller owns the past; keys are copied. Threads: one.
 * Errors: memory running out is an assert. */
#ifndef CONCAVE_TESTS_SIM_PAST_H
#define CONCAVE_TESTS_SIM_PAST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/buf.h"

#define PAST_KEY_BYTES 24u

struct past_version {
    uint64_t lsn;
    uint64_t value; /* its hash; 0: deleted */
};

struct past_key {
    char name[PAST_KEY_BYTES];
    uint8_t len;
    struct past_version *versions; /* oldest first */
    size_t count, cap;
};

struct past_record {
    uint64_t lsn;
    unsigned writes;
    bool claimed; /* somebody was told of it, or nobody can be told any more */
};

struct past {
    struct past_key **keys; /* in byte order */
    size_t key_count, key_cap;
    struct past_record *records;
    size_t count, cap;
    uint64_t last; /* the newest LSN; 0: none */
};

void past_free(struct past *past);
/* The hash of a value, never 0. */
uint64_t past_value(struct slice value);
/* A record with the next LSN; its writes follow. */
void past_begin_record(struct past *past, uint64_t lsn);
/* One write of the newest record. value: a hash, or 0 for a deletion. */
void past_write(struct past *past, struct slice key, uint64_t value);
/* Forgets the records behind this LSN. */
void past_cut(struct past *past, uint64_t lsn);
/* The key, or NULL if nothing was ever written to it. */
const struct past_key *past_find(const struct past *past, struct slice key);
/* The version as of an LSN, NULL if the key is absent then. key may be NULL. */
const struct past_version *past_at(const struct past_key *key, uint64_t lsn);
/* The index of the first key at or behind this one. */
size_t past_lower_bound(const struct past *past, struct slice key);
struct past_record *past_record_of(struct past *past, uint64_t lsn);
static inline struct slice past_name(const struct past_key *key) {
    return slice_of(key->name, key->len);
}

#endif
