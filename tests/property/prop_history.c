/* Property: the history checker passes what has a serial order, fails what has none, and is fast.
 *
 * Random serial executions, made to overlap in time, with outcomes that are not known, must pass;
 * random changes to them that cannot be explained must be found; and on tiny histories the verdict
 * is held against every permutation. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/clock.h"
#include "tests/history/private.h"
#include "tests/history/text.h"
#include "tests/support/history_gen.h"
#include "tests/support/scale.h"

static void fail_with(const struct history *history, uint64_t seed, const char *why) {
    print_error("seed %llu: %s\n", (unsigned long long)seed, why);
    history_save(history, stderr);
    fail();
}

/* ---- what is valid passes ---- */

static struct history_mix random_mix(uint64_t *random, unsigned txns) {
    struct history_mix mix = {.txns = txns,
        .keys = 1 + (unsigned)history_draw(random, MIX_KEYS_MAX),
        .group = 10 + (unsigned)history_draw(random, 30),
        .overlap = 1 + (unsigned)history_draw(random, 20),
        .unknown = (unsigned)history_draw(random, 20),
        .refused = (unsigned)history_draw(random, 20),
        .versions = history_draw(random, 2),
        .final = true};
    mix.lists = history_draw(random, 2);
    mix.registers = !mix.lists || history_draw(random, 2);
    mix.deletes = history_draw(random, 2);
    mix.ranges = history_draw(random, 2);
    return mix;
}

static void valid_histories_pass(void **state) {
    (void)state;
    unsigned runs = test_scaled(1500);
    size_t txns = 0, unknown = 0, applied = 0, ambiguous = 0, reads = 0;
    for (uint64_t seed = 1; seed <= runs; seed++) {
        uint64_t random = seed;
        struct history_mix mix = random_mix(&random, 100);
        struct history *history = history_valid(&mix, seed);
        struct history_report *report = history_check(history);
        if (report->count)
            fail_with(history, seed, report->anomalies[0].text);
        txns += report->txns;
        unknown += report->unknown;
        applied += report->unknown_applied;
        ambiguous += report->ambiguous;
        reads += report->reads;
        free(report);
        history_free(history);
    }
    printf("valid histories tried: %u, %zu transactions, %zu of unknown outcome (%zu seen), %zu "
           "reads (%zu ambiguous)\n",
        runs, txns, unknown, applied, reads, ambiguous);
    assert_true(unknown > applied && applied > 0 && ambiguous > 0);
}

/* ---- changes that cannot be explained are found ---- */

/* The n-th operation of acknowledged transactions that `fits`; NULL if there is none. */
static struct op *pick(struct history *history, uint64_t *random,
    bool (*fits)(const struct history *, const struct op *, const struct txn *)) {
    struct op *picked = NULL;
    uint64_t found = 0;
    for (size_t i = 0; i < history->txn_count; i++) {
        const struct txn *txn = &history->txns[i];
        for (size_t j = 0; j < txn->op_count; j++) {
            struct op *op = &history->ops[txn->first_op + j];
            if (txn->is.outcome == HISTORY_OK && fits(history, op, txn) &&
                history_draw(random, ++found) == 0)
                picked = op;
        }
    }
    return picked;
}

static bool is_long_list(
    const struct history *history, const struct op *op, const struct txn *txn) {
    (void)history, (void)txn;
    return op->kind == OP_LIST && op->count > 1;
}

static struct txn *writer_of(const struct history *history, uint32_t key, int64_t value) {
    for (size_t i = 0; i < history->txn_count; i++)
        for (size_t j = 0; j < history->txns[i].op_count; j++) {
            const struct op *op = &history->ops[history->txns[i].first_op + j];
            if ((op->kind == OP_APPEND || op->kind == OP_WRITE) && op->key == key &&
                op->value == value)
                return &history->txns[i];
        }
    return NULL;
}

/* One at the end whose last element was acknowledged. */
static bool is_final_list(
    const struct history *history, const struct op *op, const struct txn *txn) {
    if (op->kind != OP_LIST || !op->count || !txn->is.final)
        return false;
    int64_t last = history->elements[op->first + op->count - 1];
    return writer_of(history, op->key, last)->is.outcome == HISTORY_OK;
}

/* A register's read whose writer's reply was there before the request. */
static bool is_late_read(
    const struct history *history, const struct op *op, const struct txn *txn) {
    if (op->kind != OP_READ || op->value == HISTORY_ABSENT)
        return false;
    const struct txn *writer = writer_of(history, op->key, op->value);
    return writer->is.outcome == HISTORY_OK && writer->is.complete_ns < txn->is.invoke_ns;
}

enum change { SWAP, REPEAT, FORGET, LOSE, REFUSE, STALE, INVENT, CHANGES };
static const char *const change_names[] = {"elements swapped", "element repeated",
    "element forgotten", "end lost", "writer refused", "register forgotten", "value invented"};

static void refuse_writer(struct history *history, const struct op *read, int64_t value) {
    struct txn *writer = writer_of(history, read->key, value);
    writer->is.outcome = HISTORY_FAIL;
    writer->is.complete_ns = writer->is.invoke_ns;
}

/* Changes the history; false if it has no place for this change. */
static bool change(struct history *history, enum change kind, uint64_t *random) {
    struct op *op = kind == STALE || kind == INVENT ? pick(history, random, is_late_read)
                    : kind == LOSE                  ? pick(history, random, is_final_list)
                                                    : pick(history, random, is_long_list);
    if (!op)
        return false;
    int64_t *elements = history->elements + op->first;
    uint32_t at =
        op->kind == OP_LIST && op->count > 1 ? (uint32_t)history_draw(random, op->count - 1) : 0;
    switch (kind) {
    case SWAP: {
        int64_t swap = elements[at];
        elements[at] = elements[at + 1];
        elements[at + 1] = swap;
        return true;
    }
    case REPEAT:
        elements[at + 1] = elements[at];
        return true;
    case FORGET:
        memmove(elements + at, elements + at + 1, (op->count - at - 1) * sizeof *elements);
        op->count--;
        return true;
    case LOSE:
        op->count--;
        return true;
    case REFUSE:
        refuse_writer(history, op, elements[at]);
        return true;
    case STALE:
        op->value = HISTORY_ABSENT;
        op->version = 0;
        return true;
    default:
        op->value = INT64_MAX;
        return true;
    }
}

static void changed_histories_are_found(void **state) {
    (void)state;
    unsigned runs = test_scaled(1500), tried[CHANGES] = {0}, found = 0, all = 0;
    for (uint64_t seed = 1; seed <= runs; seed++) {
        uint64_t random = seed;
        struct history_mix mix = random_mix(&random, 60);
        mix.group = 60;
        enum change kind = (enum change)(seed % CHANGES);
        mix.lists |= kind <= REFUSE;
        mix.registers |= kind > REFUSE;
        mix.ranges &= kind != STALE;  /* an item cannot be made nothing, */
        mix.deletes &= kind != STALE; /* and a delete would explain it */
        struct history *history = history_valid(&mix, seed);
        if (change(history, kind, &random)) {
            struct history_report *report = history_check(history);
            tried[kind]++;
            all++;
            found += report->count > 0;
            if (!report->count)
                fail_with(history, seed, change_names[kind]);
            free(report);
        }
        history_free(history);
    }
    for (unsigned i = 0; i < CHANGES; i++)
        printf("histories changed (%s) tried: %u\n", change_names[i], tried[i]);
    assert_int_equal(found, all);
    for (unsigned i = 0; i < CHANGES && runs > 500; i++)
        assert_true(tried[i] > 5);
}

/* ---- against every permutation ---- */

#define TINY 5u

struct tiny {
    const struct history *history;
    uint64_t versions[TINY + 1]; /* told by acknowledgements and reads */
    uint32_t order[TINY + 1];
    unsigned used, len;
};

struct tiny_key {
    int64_t value;
    int64_t elements[MIX_LIST_MAX];
    uint32_t count;
    uint64_t version; /* of the last write whose version was told */
};

static bool tiny_sees(const struct tiny *tiny, const struct tiny_key *key, const struct op *op) {
    const int64_t *elements = tiny->history->elements + op->first;
    if (op->kind == OP_READ)
        return key->value == op->value;
    return key->count == op->count &&
           (!op->count || memcmp(key->elements, elements, op->count * sizeof *elements) == 0);
}

static bool tiny_sees_range(
    const struct tiny *tiny, const struct tiny_key *keys, const struct op *range) {
    const struct history *history = tiny->history;
    const char *from = history->keys[range->key], *to = history->keys[range->to];
    unsigned there = 0;
    for (uint32_t i = 0; i < history->key_count; i++) {
        int end = strcmp(history->keys[i], to);
        bool inside =
            strcmp(history->keys[i], from) >= 0 && (end < 0 || (end == 0 && range->included));
        there += inside && keys[i].value != HISTORY_ABSENT;
    }
    bool same = there == range->items;
    for (uint32_t i = 1; same && i <= range->items; i++)
        same = tiny_sees(tiny, &keys[range[i].key], &range[i]);
    return same;
}

static bool tiny_step(const struct tiny *tiny, struct tiny_key *keys, const struct op *op,
    uint64_t version, bool reads_count) {
    struct tiny_key *key = &keys[op->key];
    switch (op->kind) {
    case OP_RANGE:
        return !reads_count || tiny_sees_range(tiny, keys, op);
    case OP_READ:
    case OP_LIST:
        return !reads_count || tiny_sees(tiny, key, op);
    case OP_APPEND:
        key->elements[key->count++] = op->value;
        return true; /* a list needs no versions: they are not looked at */
    default:
        key->value = op->value;
        if (version && version < key->version)
            return false;
        key->version = version ? version : key->version;
        return true;
    }
}

/* Does the order drawn up so far explain every read? */
static bool tiny_explains(const struct tiny *tiny) {
    const struct history *history = tiny->history;
    struct tiny_key *keys = zeroed(history->key_count, sizeof *keys);
    for (size_t i = 0; i < history->key_count; i++)
        keys[i].value = HISTORY_ABSENT;
    bool fine = true;
    for (unsigned i = 0; fine && i < tiny->len; i++) {
        const struct txn *txn = &history->txns[tiny->order[i]];
        bool reads_count = txn->is.outcome == HISTORY_OK;
        for (size_t j = 0; fine && j < txn->op_count; j++) {
            const struct op *op = &history->ops[txn->first_op + j];
            fine = tiny_step(tiny, keys, op, tiny->versions[tiny->order[i]], reads_count);
            j += op->kind == OP_RANGE ? op->items : 0;
        }
    }
    free(keys);
    return fine;
}

/* Tries every order of the acknowledged and any of the others, that agrees with real time. */
static bool tiny_has_order(struct tiny *tiny) {
    const struct history *history = tiny->history;
    bool whole = true;
    for (uint32_t i = 0; i < history->txn_count; i++)
        whole &= (tiny->used >> i & 1) || history->txns[i].is.outcome != HISTORY_OK;
    if (whole && tiny_explains(tiny))
        return true;
    for (uint32_t i = 0; i < history->txn_count; i++) {
        const struct history_txn *next = &history->txns[i].is;
        bool may = !(tiny->used >> i & 1) && next->outcome != HISTORY_FAIL;
        for (uint32_t j = 0; may && j < history->txn_count; j++)
            may = (tiny->used >> j & 1) || history->txns[j].is.outcome != HISTORY_OK ||
                  history->txns[j].is.complete_ns >= next->invoke_ns;
        if (!may)
            continue;
        tiny->used |= 1u << i;
        tiny->order[tiny->len++] = i;
        bool found = tiny_has_order(tiny);
        tiny->len--;
        tiny->used &= ~(1u << i);
        if (found)
            return true;
    }
    return false;
}

static bool is_serializable(const struct history *history) {
    struct tiny tiny = {.history = history};
    for (uint32_t i = 0; i < history->txn_count; i++)
        tiny.versions[i] = history->txns[i].is.version;
    return tiny_has_order(&tiny);
}

/* Reads of anything that some transaction wrote to the key. */
static void garble(struct history *history, uint64_t *random) {
    size_t at = history_draw(random, history->op_count);
    struct op *op = &history->ops[at];
    if (op->kind == OP_LIST && op->count) {
        op->count = (uint32_t)history_draw(random, op->count);
        return;
    }
    if (op->kind != OP_READ)
        return;
    op->value = HISTORY_ABSENT;
    op->version = 0;
    for (size_t i = 0, found = 1; i < history->op_count; i++)
        if (history->ops[i].kind == OP_WRITE && history->ops[i].key == op->key &&
            history_draw(random, ++found) == 0)
            op->value = history->ops[i].value;
}

static bool has_items(const struct history *history) {
    for (size_t i = 0; i < history->op_count; i++)
        if (history->ops[i].kind == OP_RANGE && history->ops[i].items)
            return true;
    return false;
}

/* What the checker knows in full: lists, and registers with versions that nobody deletes. */
static bool is_complete(const struct history_mix *mix) {
    return !mix->registers || (mix->versions && !mix->deletes && !mix->unknown);
}

static void verdicts_agree_with_all_permutations(void **state) {
    (void)state;
    unsigned runs = test_scaled(40000), bad = 0, bad_complete = 0, missed = 0;
    for (uint64_t seed = 1; seed <= runs; seed++) {
        uint64_t random = seed;
        struct history_mix mix = random_mix(&random, TINY - (unsigned)history_draw(&random, 2));
        mix.final = history_draw(&random, 2);
        mix.txns -= mix.final;
        mix.keys = 1 + mix.keys % 3;
        struct history *history = history_valid(&mix, seed);
        /* Versions that reads tell are those of acknowledgements: here the latter suffice. */
        history->global_versions = false;
        for (size_t i = 0; i < history->op_count; i++)
            history->ops[i].version = 0;
        for (uint64_t i = history_draw(&random, 4); i > 0 && !has_items(history); i--)
            garble(history, &random);
        struct history_report *report = history_check(history);
        bool serializable = is_serializable(history);
        if (report->count && serializable)
            fail_with(history, seed, report->anomalies[0].text);
        if (!report->count && !serializable && is_complete(&mix))
            fail_with(history, seed, "no permutation explains it, but it passed");
        bad += !serializable;
        bad_complete += !serializable && is_complete(&mix);
        missed += !serializable && !report->count;
        free(report);
        history_free(history);
    }
    printf("histories against all permutations tried: %u; %u without a serial order, of these %u "
           "of the "
           "kinds that are known in full (all found), %u missed of the others\n",
        runs, bad, bad_complete, missed);
    assert_true(bad_complete * 20 > runs);
}

/* ---- speed ---- */

static void twenty_thousand_transactions_are_quick(void **state) {
    (void)state;
    struct history_mix mix = {.txns = 20000,
        .keys = MIX_KEYS_MAX,
        .group = 100,
        .overlap = 16,
        .lists = true,
        .registers = true,
        .deletes = true,
        .ranges = true,
        .versions = true,
        .final = true,
        .unknown = 2};
    struct history *history = history_valid(&mix, 1);
    uint64_t start = clock_monotonic_ns();
    struct history_report *report = history_check(history);
    uint64_t took = clock_monotonic_ns() - start;
    printf(
        "history of %u transactions tried: 1, checked in %.3f s\n", mix.txns, (double)took / 1e9);
    if (report->count)
        fail_with(history, 1, report->anomalies[0].text);
    assert_true(took < 20 * NS_PER_S); /* some 0.1 s in a release */
    free(report);
    history_free(history);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(valid_histories_pass),
        cmocka_unit_test(changed_histories_are_found),
        cmocka_unit_test(verdicts_agree_with_all_permutations),
        cmocka_unit_test(twenty_thousand_transactions_are_quick),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
