/* What the arena of the log knows: the transactions it has written, in the order of their LSNs, and
 * the real store that they are applied to, so that the state after a recovery can be held against
 * the one that the first n transactions make.
 *
 * Transactions write few keys, again and again, and delete them; the keys lie on two shards, even
 * and odd ones, which are real (shard/shard.h) but only load, replay and are looked at.
 *
 * Ownership: the caller owns ledgers and stores. Threads: one.
 * Errors: what does not hold is noted in the ledger, the first time only; memory running out is an
 * assert. */
#ifndef CONCAVE_TESTS_SIM_LOG_STORE_H
#define CONCAVE_TESTS_SIM_LOG_STORE_H

#include "core/wal.h"

#define STORE_KEYS 12u
#define STORE_SHARDS 2u
#define STORE_KEY_BYTES 3u
#define TXN_OPS_MAX 4u
#define TXN_VALUE_BYTES_MIN 8u
#define TXN_VALUE_BYTES_MAX 32768u

/* A seeded draw below the bound. */
uint64_t log_draw(uint64_t *random, uint64_t bound);

/* ---- what was written ---- */

struct log_txn {
    uint64_t lsn;
    uint64_t number;  /* never used before, also not by a transaction that was lost */
    uint64_t durable; /* the durable LSN when it was published: its record's D is no lower */
    unsigned ops;
    struct {
        uint8_t key;
        bool deletes;
    } op[TXN_OPS_MAX]; /* each of another key */
    size_t value_bytes;
};

struct log_ledger {
    struct log_txn *txns;
    size_t count, cap;
    size_t kept;          /* so many are acknowledged, or were shown by a recovery */
    uint64_t shown_lsn;   /* the highest that a reply can have shown */
    uint64_t next_number; /* of a transaction; at least 1 */
    bool failed;          /* something did not hold: */
    char why[400];
};

/* Notes that something does not hold; printf-like. */
void log_ledger_fail(struct log_ledger *ledger, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void log_ledger_add(struct log_ledger *ledger, const struct log_txn *txn);
/* How many transactions have an LSN up to this one. */
size_t log_ledger_upto(const struct log_ledger *ledger, uint64_t lsn);
void log_ledger_copy(const struct log_ledger *from, struct log_ledger *to);
void log_ledger_free(struct log_ledger *ledger);

/* The text of a key, valid for ever. */
struct slice log_key(unsigned key);
/* Which key it is; STORE_KEYS if it is none. */
unsigned log_key_number(struct slice key);
/* The value that the transaction puts; valid until the next call. */
struct slice log_value(const struct log_txn *txn);

/* ---- the store ---- */

struct log_store {
    struct shard *shards[STORE_SHARDS];
    bool loading;
    uint64_t highest[STORE_KEYS]; /* the highest version that the key has had while in this store */
};

/* An empty store. */
void log_store_open(struct log_store *store);
void log_store_close(struct log_store *store);
/* Loading a snapshot: begin, keys in ascending order, end (also without a begin). */
void log_store_load_begin(struct log_store *store);
void log_store_load(struct log_store *store, unsigned key, uint64_t version, struct slice value);
void log_store_load_end(struct log_store *store);
/* Applies one operation of the log. */
void log_store_replay(
    struct log_store *store, uint64_t lsn, bool deletes, unsigned key, struct slice value);
/* Applies the ledger's newest transaction. The versions of its keys must rise. */
void log_store_apply_newest(struct log_store *store, struct log_ledger *ledger);
/* Notes in the ledger what tells the store's state from that after its first `count` transactions.
 */
void log_store_compare(const struct log_store *store, struct log_ledger *ledger, size_t count);

/* One key as it is now: its version (0: absent) and its value, valid until the next change. */
uint64_t log_store_get(const struct log_store *store, unsigned key, struct slice *value);
/* The highest LSN that the shard has applied. */
uint64_t log_store_applied(const struct log_store *store, unsigned shard);

#endif
