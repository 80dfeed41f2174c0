#include "tests/sim/log_store.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/hash.h"
#include "core/splitmix.h"
#include "shard/state.h"

#define HASH_SEED 7u

#define LLU(number) ((unsigned long long)(number))

uint64_t log_draw(uint64_t *random, uint64_t bound) {
    return splitmix_next(random) % bound;
}

/* ---- what was written ---- */

void log_ledger_fail(struct log_ledger *ledger, const char *format, ...) {
    if (ledger->failed)
        return;
    va_list args;
    va_start(args, format);
    (void)vsnprintf(ledger->why, sizeof(ledger->why), format, args);
    va_end(args);
    ledger->failed = true;
}

void log_ledger_add(struct log_ledger *ledger, const struct log_txn *txn) {
    if (ledger->count == ledger->cap) {
        ledger->cap = ledger->cap ? 2 * ledger->cap : 64;
        ledger->txns = realloc(ledger->txns, ledger->cap * sizeof(*ledger->txns));
        assert(ledger->txns);
    }
    ledger->txns[ledger->count++] = *txn;
}

size_t log_ledger_upto(const struct log_ledger *ledger, uint64_t lsn) {
    size_t count = ledger->count;
    while (count > 0 && ledger->txns[count - 1].lsn > lsn)
        count--;
    return count;
}

void log_ledger_copy(const struct log_ledger *from, struct log_ledger *to) {
    *to = *from;
    to->cap = from->count + 1;
    to->txns = malloc(to->cap * sizeof(*to->txns));
    assert(to->txns);
    if (from->count > 0)
        memcpy(to->txns, from->txns, from->count * sizeof(*to->txns));
}

void log_ledger_free(struct log_ledger *ledger) {
    free(ledger->txns);
    *ledger = (struct log_ledger){0};
}

struct slice log_key(unsigned key) {
    static char texts[STORE_KEYS][STORE_KEY_BYTES + 1];
    assert(key < STORE_KEYS);
    (void)snprintf(texts[key], sizeof(texts[key]), "k%02u", key % 100);
    return slice_of(texts[key], STORE_KEY_BYTES);
}

unsigned log_key_number(struct slice key) {
    unsigned number = 0;
    while (number < STORE_KEYS && !slice_equal(key, log_key(number)))
        number++;
    return number;
}

struct slice log_value(const struct log_txn *txn) {
    static char bytes[TXN_VALUE_BYTES_MAX];
    assert(txn->value_bytes >= TXN_VALUE_BYTES_MIN && txn->value_bytes <= sizeof(bytes));
    memset(bytes, (int)(1 + txn->number % 255), txn->value_bytes);
    memcpy(bytes, &txn->number, sizeof(txn->number));
    return slice_of(bytes, txn->value_bytes);
}

/* ---- the store ---- */

/* What shards want to share; made once and kept. */
static struct shard_options shared_options(void) {
    static struct shard_options made;
    static const char *const labels[] = {"arena"};
    if (!made.peers) {
        made.shards = STORE_SHARDS;
        made.stats = stats_create(STORE_SHARDS);
        assert(made.stats);
        made.peers = shard_peers_create(STORE_SHARDS, made.stats, labels, 1);
        assert(made.peers);
    }
    return made;
}

void log_store_open(struct log_store *store) {
    *store = (struct log_store){0};
    struct shard_options options = shared_options();
    for (; options.index < STORE_SHARDS; options.index++) {
        options.random_seed = options.index + 1;
        enum status status = shard_create(&options, &store->shards[options.index]);
        assert(status == ST_OK);
    }
}

void log_store_close(struct log_store *store) {
    for (unsigned i = 0; i < STORE_SHARDS; i++)
        shard_destroy(store->shards[i]);
    *store = (struct log_store){0};
}

static struct shard *shard_of(const struct log_store *store, unsigned key) {
    return store->shards[key % STORE_SHARDS];
}

static uint64_t hash_of(unsigned key) {
    return hash_key(log_key(key), HASH_SEED);
}

void log_store_load_begin(struct log_store *store) {
    for (unsigned i = 0; i < STORE_SHARDS; i++) {
        enum status status = shard_load_begin(store->shards[i], STORE_KEYS);
        assert(status == ST_OK);
    }
    store->loading = true;
}

void log_store_load(struct log_store *store, unsigned key, uint64_t version, struct slice value) {
    enum status status =
        shard_load_add(shard_of(store, key), log_key(key), hash_of(key), value, version);
    assert(status == ST_OK);
    store->highest[key] = version;
}

void log_store_load_end(struct log_store *store) {
    for (unsigned i = 0; store->loading && i < STORE_SHARDS; i++)
        shard_load_end(store->shards[i]);
    store->loading = false;
}

void log_store_replay(
    struct log_store *store, uint64_t lsn, bool deletes, unsigned key, struct slice value) {
    enum status status = shard_replay(shard_of(store, key), lsn, deletes ? WAL_DELETE : WAL_PUT,
        log_key(key), hash_of(key), value);
    assert(status == ST_OK);
    uint64_t version = log_store_get(store, key, &value);
    if (version > store->highest[key])
        store->highest[key] = version;
}

void log_store_apply_newest(struct log_store *store, struct log_ledger *ledger) {
    const struct log_txn *txn = &ledger->txns[ledger->count - 1];
    struct slice value = log_value(txn);
    for (unsigned i = 0; i < txn->ops; i++) {
        unsigned key = txn->op[i].key;
        uint64_t before = store->highest[key];
        log_store_replay(store, txn->lsn, txn->op[i].deletes, key, value);
        uint64_t version = log_store_get(store, key, &(struct slice){0});
        if (!txn->op[i].deletes && version <= before)
            log_ledger_fail(ledger,
                "key k%02u gets version %llu from LSN %llu, but has had version %llu before", key,
                LLU(version), LLU(txn->lsn), LLU(before));
    }
}

/* The newest of the first `count` transactions that writes the key, and whether it deletes it. */
static const struct log_txn *writer_of(
    const struct log_ledger *ledger, size_t count, unsigned key, bool *deletes) {
    while (count-- > 0)
        for (unsigned i = 0; i < ledger->txns[count].ops; i++)
            if (ledger->txns[count].op[i].key == key) {
                *deletes = ledger->txns[count].op[i].deletes;
                return &ledger->txns[count];
            }
    return NULL;
}

void log_store_compare(const struct log_store *store, struct log_ledger *ledger, size_t count) {
    uint64_t last = count ? ledger->txns[count - 1].lsn : 0;
    for (unsigned key = 0; key < STORE_KEYS; key++) {
        bool deletes = false;
        const struct log_txn *txn = writer_of(ledger, count, key, &deletes);
        struct slice found;
        uint64_t expected = txn && !deletes ? txn->lsn : 0;
        uint64_t version = log_store_get(store, key, &found);
        if (version != expected)
            log_ledger_fail(ledger,
                "not the state of the transactions up to LSN %llu: key k%02u has version %llu "
                "instead of %llu (0: absent)",
                LLU(last), key, LLU(version), LLU(expected));
        else if (expected != 0 && !slice_equal(found, log_value(txn)))
            log_ledger_fail(ledger,
                "not the state of the transactions up to LSN %llu: key k%02u, version %llu, has "
                "another value than was written",
                LLU(last), key, LLU(version));
    }
    for (unsigned i = 0; i < STORE_SHARDS; i++)
        treap_check(store->shards[i]->treap);
}

uint64_t log_store_get(const struct log_store *store, unsigned key, struct slice *value) {
    const struct treap_node *node =
        treap_find(shard_of(store, key)->treap, log_key(key), hash_of(key));
    if (!node)
        return 0;
    *value = treap_value(node);
    return treap_version(node);
}

uint64_t log_store_applied(const struct log_store *store, unsigned shard) {
    return treap_applied_lsn(store->shards[shard]->treap);
}
