/* A stand-in for transactions, for the tests of the /v1 procedures: a few keys in an array, writes
 * on the side until the commit, and answers that can be made to wait or to doom the attempt. */
#ifndef CONCAVE_TESTS_UNIT_KV_FAKE_H
#define CONCAVE_TESTS_UNIT_KV_FAKE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/value.h"
#include "net/kv.h"
#include "shard/txn.h"

#define FAKE_KEYS_MAX 20001
#define FAKE_VALUE_MAX 64

struct fake_entry {
    char key[32];
    char value[FAKE_VALUE_MAX]; /* MessagePack */
    size_t key_len, value_len;
    uint64_t version; /* 0: written by this transaction */
    bool deleted;
};

struct txn_range {
    struct range_spec spec;
    struct slice last;
    char last_bytes[32];
    bool started;
};

struct txn {
    struct fake_entry committed[FAKE_KEYS_MAX], mine[FAKE_KEYS_MAX];
    size_t committed_count, mine_count;
    uint64_t lsn; /* of the newest commit */
    bool waits;   /* every answer comes at the second asking */
    bool asked;
    long doomed_at; /* the call with this number dooms the attempt; 0 = none */
    long calls;
    enum status set_status; /* what txn_set answers */
    size_t declared[DECLARE_READ_WRITE + 1], declared_ranges, declared_count, declared_bytes;
    struct txn_range range;
    size_t ranges_open;
};

static struct txn fake; /* sorted by key */

static inline struct slice fake_key(const struct fake_entry *entry) {
    return slice_of(entry->key, entry->key_len);
}

static inline struct fake_entry *fake_find(
    struct fake_entry *entries, size_t count, struct slice key) {
    for (size_t i = 0; i < count; i++)
        if (slice_equal(fake_key(&entries[i]), key))
            return &entries[i];
    return NULL;
}

static inline void fake_put(struct fake_entry *entries, size_t *count, struct slice key,
    struct slice value, uint64_t version, bool deleted) {
    struct fake_entry *entry = fake_find(entries, *count, key);
    if (!entry) {
        assert_true(*count < FAKE_KEYS_MAX);
        size_t at = *count;
        while (at > 0 && slice_compare(fake_key(&entries[at - 1]), key) > 0)
            at--;
        memmove(entries + at + 1, entries + at, (*count - at) * sizeof *entries);
        (*count)++;
        entry = &entries[at];
    }
    assert_true(key.len <= sizeof entry->key && value.len <= sizeof entry->value);
    memcpy(entry->key, key.data, key.len);
    entry->key_len = key.len;
    if (value.len)
        memcpy(entry->value, value.data, value.len);
    entry->value_len = value.len;
    entry->version = version;
    entry->deleted = deleted;
}

/* What the transaction sees under a key. */
static inline const struct fake_entry *fake_seen(struct txn *txn, struct slice key) {
    const struct fake_entry *entry = fake_find(txn->mine, txn->mine_count, key);
    if (!entry)
        entry = fake_find(txn->committed, txn->committed_count, key);
    return entry && !entry->deleted ? entry : NULL;
}

/* ST_OK if the call may be answered now. */
static inline enum status fake_answer(struct txn *txn) {
    if (txn->doomed_at && ++txn->calls >= txn->doomed_at)
        return ST_DOOMED;
    if (!txn->waits)
        return ST_OK;
    txn->asked = !txn->asked;
    return txn->asked ? ST_PENDING : ST_OK;
}

/* ---- shard/txn.h ---- */

enum status txn_get(struct txn *txn, struct slice key, struct slice *value, uint64_t *version) {
    *version = 0;
    enum status status = fake_answer(txn);
    if (status != ST_OK)
        return status;
    const struct fake_entry *entry = fake_seen(txn, key);
    if (!entry)
        return ST_NOT_FOUND;
    *value = slice_of(entry->value, entry->value_len);
    *version = entry->version;
    return ST_OK;
}

enum status txn_version(struct txn *txn, struct slice key, uint64_t *version) {
    struct slice value;
    return txn_get(txn, key, &value, version);
}

bool txn_wrote(struct txn *txn, struct slice key) {
    return fake_find(txn->mine, txn->mine_count, key) != NULL;
}

enum status txn_set(struct txn *txn, struct slice key, struct slice value) {
    if (txn->set_status != ST_OK)
        return txn->set_status;
    fake_put(txn->mine, &txn->mine_count, key, value, 0, false);
    return ST_OK;
}

enum status txn_delete(struct txn *txn, struct slice key) {
    fake_put(txn->mine, &txn->mine_count, key, slice_of(NULL, 0), 0, true);
    return ST_OK;
}

size_t txn_key_bytes_max(const struct txn *txn) {
    (void)txn;
    return 16;
}

size_t txn_value_bytes_max(const struct txn *txn) {
    (void)txn;
    return FAKE_VALUE_MAX;
}

void range_spec_prefix(struct range_spec *spec, struct slice prefix, char *scratch) {
    size_t len = prefix.len;
    while (len > 0 && (unsigned char)prefix.data[len - 1] == 0xFF)
        len--;
    spec->from = prefix;
    spec->bounded = len > 0;
    if (len == 0)
        return;
    memcpy(scratch, prefix.data, len);
    scratch[len - 1] = (char)(scratch[len - 1] + 1);
    spec->to = slice_of(scratch, len);
}

enum status txn_range_open(
    struct txn *txn, const struct range_spec *spec, struct txn_range **range) {
    enum status status = txn->doomed_at && ++txn->calls >= txn->doomed_at ? ST_DOOMED : ST_OK;
    if (status != ST_OK)
        return status;
    txn->range = (struct txn_range){.spec = *spec};
    txn->ranges_open++;
    *range = &txn->range;
    return ST_OK;
}

static inline bool fake_in_range(const struct txn_range *range, struct slice key) {
    const struct range_spec *spec = &range->spec;
    if (slice_compare(key, spec->from) < 0)
        return false;
    if (spec->bounded && slice_compare(key, spec->to) >= 0)
        return false;
    if (!range->started)
        return true;
    int order = slice_compare(key, range->last);
    return spec->reverse ? order < 0 : order > 0;
}

enum status txn_range_next(struct txn_range *range, struct range_item *item) {
    enum status status = fake_answer(&fake);
    if (status != ST_OK)
        return status;
    const struct fake_entry *best = NULL;
    for (int own = 0; own < 2; own++) {
        const struct fake_entry *entries = own ? fake.mine : fake.committed;
        size_t count = own ? fake.mine_count : fake.committed_count;
        for (size_t i = 0; i < count; i++) {
            struct slice key = fake_key(&entries[i]);
            const struct fake_entry *seen =
                fake_in_range(range, key) ? fake_seen(&fake, key) : NULL;
            if (!seen)
                continue;
            int order = best ? slice_compare(key, fake_key(best)) : 0;
            if (!best || (range->spec.reverse ? order > 0 : order < 0))
                best = seen;
            else if (!range->spec.reverse)
                break; /* sorted: what follows is further away */
        }
    }
    if (!best)
        return ST_END;
    memcpy(range->last_bytes, best->key, best->key_len);
    range->last = slice_of(range->last_bytes, best->key_len);
    range->started = true;
    *item = (struct range_item){.key = fake_key(best),
        .value = slice_of(best->value, best->value_len),
        .version = best->version};
    return ST_OK;
}

void txn_range_close(struct txn_range *range) {
    (void)range;
    fake.ranges_open--;
}

enum status txn_declare(struct txn *txn, struct slice key, enum declare_kind kind) {
    assert_true(key.len > 0);
    txn->declared[kind]++;
    return ST_OK;
}

enum status txn_declare_value(struct txn *txn, struct slice key, struct slice value) {
    assert_true(value.len > 0);
    return txn_declare(txn, key, DECLARE_WRITE);
}

enum status txn_declare_range(struct txn *txn, const struct range_spec *spec) {
    assert_true(spec->expect > 0);
    txn->declared_ranges++;
    return ST_OK;
}

void txn_declare_bytes(struct txn *txn, size_t count, size_t bytes) {
    txn->declared_count += count;
    txn->declared_bytes += bytes;
}

/* ---- for the tests ---- */

static struct kv *kv;
static struct call call;
static struct kv_error refusal;

static inline void fake_clear(void) {
    fake.committed_count = 0;
    fake.mine_count = 0;
    fake.lsn = 100;
    fake.waits = fake.asked = false;
    fake.doomed_at = fake.calls = 0;
    fake.set_status = ST_OK;
    memset(fake.declared, 0, sizeof fake.declared);
    fake.declared_ranges = fake.declared_count = fake.declared_bytes = 0;
    fake.ranges_open = 0;
}

/* A committed key whose value is given as JSON. */
static inline void fake_have(const char *key, const char *json, uint64_t version) {
    struct buf scratch, value;
    buf_init(&scratch, SIZE_MAX);
    buf_init(&value, SIZE_MAX);
    struct json_reader reader;
    json_reader_init(&reader, slice_of(json, strlen(json)), &scratch, JSON_READER_DEPTH_MAX);
    assert_int_equal(value_from_json(&reader, json_next(&reader), &value), ST_OK);
    fake_put(fake.committed, &fake.committed_count, slice_of(key, strlen(key)), buf_slice(&value),
        version, false);
    buf_free(&scratch);
    buf_free(&value);
}

typedef enum status prepare_fn(struct kv *, struct call *, struct kv_error *);

/* Every test begins with no keys, and with limits of 16 bytes for keys and 32 for values. */
static inline int fake_setup(void **state) {
    (void)state;
    fake_clear();
    const struct kv_limits limits = {.key_bytes_max = 16, .value_bytes_max = 32};
    kv = kv_create(&limits);
    call = (struct call){.seed = 7};
    buf_init(&call.reply.headers, SIZE_MAX);
    buf_init(&call.reply.body, SIZE_MAX);
    return kv ? 0 : 1;
}

static inline int fake_teardown(void **state) {
    (void)state;
    buf_free(&call.reply.headers);
    buf_free(&call.reply.body);
    kv_destroy(kv); /* asserts that no input is lent any more */
    return 0;
}

static inline void fake_commit(void) {
    for (size_t i = 0; i < fake.mine_count; i++) {
        const struct fake_entry *entry = &fake.mine[i];
        fake_put(fake.committed, &fake.committed_count, fake_key(entry),
            slice_of(entry->value, entry->value_len), fake.lsn, entry->deleted);
    }
    fake.mine_count = 0;
}

/* Runs a prepared call as the coordinator would, to its end. */
static inline enum verdict fake_run(void) {
    const struct procedure *procedure = call.procedure;
    fake.mine_count = 0;
    if (procedure->declare)
        assert_int_equal(procedure->declare(&call, &fake), ST_OK);
    enum verdict verdict = procedure->start(&call, &fake, NULL);
    while (verdict == PROC_WAIT || verdict == PROC_AGAIN)
        verdict = procedure->resume(&call, &fake);
    if (verdict == PROC_COMMIT && fake.mine_count > 0)
        fake.lsn++;
    if (verdict == PROC_COMMIT)
        fake_commit();
    fake.mine_count = 0;
    if (verdict != PROC_UNWOUND && procedure->finish)
        procedure->finish(&call, fake.lsn);
    return verdict;
}

/* Prepares; the text is the query or the body. */
static inline enum status fake_prepare(prepare_fn *prepare, const char *text) {
    bool query = prepare == kv_prepare_get || prepare == kv_prepare_range;
    call.request.query = query ? slice_of(text, strlen(text)) : slice_of("", 0);
    call.request.body = query ? slice_of("", 0) : slice_of(text, strlen(text));
    return prepare(kv, &call, &refusal);
}

static inline enum verdict fake_call(prepare_fn *prepare, const char *text) {
    assert_int_equal(fake_prepare(prepare, text), ST_OK);
    enum verdict verdict = fake_run();
    call.procedure->release(&call);
    return verdict;
}

static inline void assert_reply(int status, const char *body) {
    assert_int_equal(call.reply.status, status);
    buf_append_byte(&call.reply.body, 0);
    assert_true(buf_ok(&call.reply.body));
    call.reply.body.len--;
    assert_string_equal(call.reply.body.data, body);
}

/* Runs the call with every bound of the reply up to bytes_max: either it fails before it commits,
 * or the reply is whole. */
static inline void assert_no_commit_without_room(
    prepare_fn *prepare, const char *text, size_t bytes_max, char last) {
    bool committed = false;
    for (size_t max = 0; max <= bytes_max; max++) {
        fake.committed_count = 0;
        buf_free(&call.reply.body);
        call.reply.body.max = max;
        enum verdict verdict = fake_call(prepare, text);
        if (verdict == PROC_FAIL) {
            assert_false(committed);
            assert_int_equal(call.outcome, ST_NOMEM);
            continue;
        }
        assert_int_equal(verdict, PROC_COMMIT);
        assert_true(buf_ok(&call.reply.body));
        assert_int_equal(call.reply.body.data[call.reply.body.len - 1], last);
        committed = true;
    }
    assert_true(committed);
    call.reply.body.max = SIZE_MAX;
}

static inline void assert_refused(
    prepare_fn *prepare, const char *text, int status, const char *code) {
    assert_int_equal(fake_prepare(prepare, text), ST_INVALID);
    assert_int_equal(refusal.status, status);
    assert_string_equal(refusal.code, code);
    assert_true(strlen(refusal.text) > 0);
    assert_null(call.input);
}

#endif
