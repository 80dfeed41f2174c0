/* The treap against a naive model: a sorted array of all keys there can be, each present or not.
 *
 * Each seed is one run of random operations. A failure names the seed, and CONCAVE_SEED=n runs that
 * one alone. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/hash.h"
#include "core/splitmix.h"
#include "shard/treap.h"

#define KEYS 257
#define KEY_BYTES_MAX 12
#define VALUE_BYTES_MAX 48
#define STAGED_MAX 12
#define READS_MAX 6

struct model_key {
    char bytes[KEY_BYTES_MAX];
    size_t len;
    bool present;
    uint64_t version;
    char value[VALUE_BYTES_MAX];
    size_t value_len;
};

struct staged_put {
    struct treap_staged staged;
    size_t key;
    uint64_t version; /* 0 = not drawn yet */
    char value[VALUE_BYTES_MAX];
    size_t value_len;
};

/* A range that was read, and what it gave. */
struct range_read {
    size_t first, last; /* the model's keys in it: [first, last) */
    uint64_t count, version_max;
    bool present[KEYS];
    uint64_t versions[KEYS];
};

struct run {
    uint64_t random;
    uint64_t hash_mask; /* fewer hash bits make keys collide */
    uint64_t lsn;
    struct treap *treap;
    struct model_key keys[KEYS]; /* in order */
    struct staged_put puts[STAGED_MAX];
    size_t put_count;
    struct range_read reads[READS_MAX];
    size_t read_count;
};

static uint64_t draw(struct run *run) {
    return splitmix_next(&run->random);
}

static size_t below(struct run *run, size_t n) {
    return (size_t)(draw(run) % n);
}

static struct slice key_of(const struct model_key *key) {
    return slice_of(key->bytes, key->len);
}

static uint64_t hash_of(const struct run *run, const struct model_key *key) {
    return hash_key(key_of(key), 7) & run->hash_mask;
}

static int model_key_order(const void *a, const void *b) {
    return slice_compare(key_of(a), key_of(b));
}

/* Few different bytes, so that many keys are prefixes of others; zeros and high bytes among them.
 */
static void keys_fill(struct run *run) {
    static const char bytes[] = {'\0', '\x01', 'a', 'b', '\x7f', '\x80', '\xff'};
    for (size_t count = 0; count < KEYS;) {
        struct model_key *key = &run->keys[count];
        *key = (struct model_key){.len = below(run, KEY_BYTES_MAX + 1)};
        for (size_t i = 0; i < key->len; i++)
            key->bytes[i] = bytes[below(run, sizeof bytes)];
        bool seen = false;
        for (size_t i = 0; i < count; i++)
            seen = seen || slice_equal(key_of(&run->keys[i]), key_of(key));
        count += !seen;
    }
    qsort(run->keys, KEYS, sizeof run->keys[0], model_key_order);
}

static void run_begin(struct run *run, uint64_t seed) {
    *run = (struct run){.random = seed};
    static const uint64_t masks[] = {UINT64_MAX, UINT64_MAX, 0x3f, UINT64_C(0xf) << 60, 0};
    run->hash_mask = masks[below(run, 5)];
    keys_fill(run);
    assert_int_equal(treap_create(draw(run), &run->treap), ST_OK);
}

static void run_end(struct run *run) {
    treap_check(run->treap);
    while (run->put_count)
        treap_discard(run->treap, &run->puts[--run->put_count].staged);
    for (size_t i = 0; i < KEYS; i++) {
        struct model_key *key = &run->keys[i];
        bool deleted = treap_delete(run->treap, key_of(key), hash_of(run, key), ++run->lsn);
        assert_int_equal(deleted, key->present);
    }
    treap_check(run->treap);
    assert_int_equal(treap_count(run->treap), 0);
    assert_int_equal(treap_bytes(run->treap), 0);
    treap_destroy(run->treap);
}

/* ---- Operations ---- */

static bool is_staged(const struct run *run, size_t key) {
    for (size_t i = 0; i < run->put_count; i++)
        if (run->puts[i].key == key)
            return true;
    return false;
}

static void stage(struct run *run, size_t at) {
    if (run->put_count == STAGED_MAX)
        return;
    struct staged_put *put = &run->puts[run->put_count++];
    *put = (struct staged_put){.key = at, .value_len = below(run, VALUE_BYTES_MAX + 1)};
    for (size_t i = 0; i < put->value_len; i++)
        put->value[i] = (char)draw(run);
    const struct model_key *key = &run->keys[at];
    assert_int_equal(treap_stage_put(run->treap, key_of(key), hash_of(run, key),
                         slice_of(put->value, put->value_len), &put->staged),
        ST_OK);
}

static struct staged_put put_take(struct run *run, size_t at) {
    struct staged_put put = run->puts[at];
    run->puts[at] = run->puts[--run->put_count];
    return put;
}

static void install(struct run *run, size_t at) {
    struct staged_put put = put_take(run, at);
    uint64_t version = put.version ? put.version : ++run->lsn;
    struct model_key *key = &run->keys[put.key];
    treap_install_put(run->treap, &put.staged, version);
    key->present = true;
    key->version = version;
    memcpy(key->value, put.value, sizeof key->value);
    key->value_len = put.value_len;
}

static void discard(struct run *run, size_t at) {
    struct staged_put put = put_take(run, at);
    treap_discard(run->treap, &put.staged);
}

static void put_now(struct run *run, size_t key) {
    if (run->put_count == STAGED_MAX)
        return;
    stage(run, key);
    install(run, run->put_count - 1);
}

static void delete (struct run *run, size_t at) {
    struct model_key *key = &run->keys[at];
    uint64_t lsn = ++run->lsn, before = treap_delete_lsn(run->treap);
    assert_int_equal(treap_delete(run->treap, key_of(key), hash_of(run, key), lsn), key->present);
    assert_int_equal(treap_delete_lsn(run->treap), key->present ? lsn : before);
    assert_int_equal(treap_applied_lsn(run->treap), lsn);
    key->present = false;
}

/* ---- Looking ---- */

static void expect_node(const struct treap_node *node, const struct model_key *key) {
    assert_true(slice_equal(treap_key(node), key_of(key)));
    assert_true(slice_equal(treap_value(node), slice_of(key->value, key->value_len)));
    assert_int_equal(treap_version(node), key->version);
}

static void find(struct run *run, size_t at) {
    const struct model_key *key = &run->keys[at];
    const struct treap_node *node = treap_find(run->treap, key_of(key), hash_of(run, key));
    assert_int_equal(node != NULL, key->present);
    if (node)
        expect_node(node, key);
}

struct bounds {
    struct slice from, to;
    bool bounded;
    size_t first, last; /* the model's keys inside: [first, last) */
};

/* Mostly between two keys of the model, also upside down; now and then without bounds. */
static struct bounds draw_bounds(struct run *run) {
    size_t from = below(run, KEYS), to = below(run, KEYS);
    if (from > to && below(run, 8)) {
        size_t swap = from;
        from = to;
        to = swap;
    }
    struct bounds bounds = {.bounded = below(run, 8) != 0, .first = from, .last = to};
    bounds.from = key_of(&run->keys[from]);
    bounds.to = key_of(&run->keys[to]);
    if (below(run, 8) == 0) {
        bounds.first = 0;
        bounds.from = slice_of(NULL, 0);
    }
    if (!bounds.bounded)
        bounds.last = KEYS;
    return bounds;
}

struct walk {
    struct run *run;
    size_t next, end; /* model keys still to come */
    bool reverse;
    size_t stop_after; /* the visitor says no at this item */
    size_t visited;
};

static bool walk_visit(void *ctx, const struct treap_node *node) {
    struct walk *walk = ctx;
    struct model_key *keys = walk->run->keys;
    if (walk->reverse) {
        while (walk->next > walk->end && !keys[walk->next - 1].present)
            walk->next--;
        assert_true(walk->next > walk->end);
        expect_node(node, &keys[--walk->next]);
    } else {
        while (walk->next < walk->end && !keys[walk->next].present)
            walk->next++;
        assert_true(walk->next < walk->end);
        expect_node(node, &keys[walk->next++]);
    }
    return ++walk->visited < walk->stop_after;
}

static size_t model_count(const struct run *run, size_t first, size_t last) {
    size_t count = 0;
    for (size_t i = first; i < last; i++)
        count += run->keys[i].present;
    return count;
}

static uint64_t model_version_max(const struct run *run, size_t first, size_t last) {
    uint64_t max = 0;
    for (size_t i = first; i < last; i++)
        if (run->keys[i].present && run->keys[i].version > max)
            max = run->keys[i].version;
    return max;
}

static void walk(struct run *run) {
    struct bounds bounds = draw_bounds(run);
    struct walk walk = {.run = run, .reverse = below(run, 2)};
    walk.next = walk.reverse ? bounds.last : bounds.first;
    walk.end = walk.reverse ? bounds.first : bounds.last;
    size_t max = below(run, 4) ? SIZE_MAX : below(run, 20);
    walk.stop_after = below(run, 4) ? SIZE_MAX : 1 + below(run, 20);
    size_t visited = treap_walk(
        run->treap, bounds.from, bounds.to, bounds.bounded, walk.reverse, max, walk_visit, &walk);
    size_t expected = model_count(run, bounds.first, bounds.last);
    expected = expected < max ? expected : max;
    expected = expected < walk.stop_after ? expected : walk.stop_after;
    assert_int_equal(visited, expected);
    assert_int_equal(walk.visited, expected);
    assert_int_equal(treap_range_lsn(run->treap), treap_applied_lsn(run->treap));
}

static void fingerprint(struct run *run) {
    struct bounds bounds = draw_bounds(run);
    uint64_t count, version_max;
    treap_fingerprint(run->treap, bounds.from, bounds.to, bounds.bounded, &count, &version_max);
    assert_int_equal(count, model_count(run, bounds.first, bounds.last));
    assert_true(version_max <= model_version_max(run, bounds.first, bounds.last));
}

/* ---- Properties ---- */

typedef void property(struct run *run);

static unsigned long long seed_now;

/* After a failed check of the test, or one of the treap's own. */
static int say_seed(void **state) {
    (void)state;
    if (seed_now)
        dprintf(STDERR_FILENO, "to run the last seed alone: CONCAVE_SEED=%llu\n", seed_now);
    return 0;
}

static void on_abort(int signal_number) {
    (void)signal_number;
    (void)say_seed(NULL);
}

static void for_seeds(uint64_t seeds, property *holds) {
    const char *one = getenv("CONCAVE_SEED");
    uint64_t first = one ? strtoull(one, NULL, 10) : 1;
    static struct run run;
    for (uint64_t seed = first; seed < (one ? first + 1 : first + seeds); seed++) {
        seed_now = seed;
        run_begin(&run, seed);
        holds(&run);
        run_end(&run);
    }
    seed_now = 0;
}

/* A key that is staged as present must not vanish, so it is not deleted. */
static bool may_delete(const struct run *run, size_t key) {
    return !(is_staged(run, key) && run->keys[key].present);
}

static void model_step(struct run *run) {
    size_t key = below(run, KEYS);
    switch (below(run, 10)) {
    case 0:
    case 1:
        put_now(run, key);
        break;
    case 2:
        stage(run, key);
        break;
    case 3:
        if (run->put_count)
            install(run, below(run, run->put_count));
        break;
    case 4:
        if (run->put_count)
            discard(run, below(run, run->put_count));
        break;
    case 5:
    case 6:
        if (may_delete(run, key))
            delete (run, key);
        break;
    case 7:
        walk(run);
        break;
    case 8:
        fingerprint(run);
        break;
    default:
        find(run, key);
    }
}

static void model_run(struct run *run) {
    for (unsigned step = 0; step < 1500; step++) {
        model_step(run);
        if (step % 100 == 0)
            treap_check(run->treap);
    }
}

/* Puts (at once and staged, also several of one key), deletes, walks and fingerprints agree with a
 * sorted array, and all invariants hold. */
static void test_equals_the_model(void **state) {
    (void)state;
    for_seeds(100, model_run);
}

/* True if nothing that was staged with a drawn LSN lies in [first, last): a range read waits for
 * it. */
static bool may_read(const struct run *run, size_t first, size_t last) {
    for (size_t i = 0; i < run->put_count; i++)
        if (run->puts[i].key >= first && run->puts[i].key < last)
            return false;
    return true;
}

struct consumed {
    uint64_t count, version_max;
};

static bool consume(void *ctx, const struct treap_node *node) {
    struct consumed *consumed = ctx;
    consumed->count++;
    if (treap_version(node) > consumed->version_max)
        consumed->version_max = treap_version(node);
    return true;
}

static void read_range(struct run *run) {
    size_t first = below(run, KEYS), last = first + below(run, KEYS - first);
    if (!may_read(run, first, last))
        return;
    size_t at = run->read_count < READS_MAX ? run->read_count++ : below(run, READS_MAX);
    struct consumed consumed = {.count = 0};
    treap_walk(run->treap, key_of(&run->keys[first]), key_of(&run->keys[last]), true, below(run, 2),
        SIZE_MAX, consume, &consumed);
    struct range_read *read = &run->reads[at];
    *read = (struct range_read){.first = first, .last = last};
    read->count = consumed.count;
    read->version_max = consumed.version_max;
    for (size_t i = first; i < last; i++) {
        read->present[i] = run->keys[i].present;
        read->versions[i] = run->keys[i].version;
    }
}

static void expect_reads_judged(const struct run *run) {
    for (size_t at = 0; at < run->read_count; at++) {
        const struct range_read *read = &run->reads[at];
        bool same = true;
        for (size_t i = read->first; i < read->last; i++) {
            const struct model_key *key = &run->keys[i];
            same = same && key->present == read->present[i] &&
                   (!key->present || key->version == read->versions[i]);
        }
        uint64_t count, version_max;
        treap_fingerprint(run->treap, key_of(&run->keys[read->first]),
            key_of(&run->keys[read->last]), true, &count, &version_max);
        bool holds = count == read->count && version_max <= read->version_max;
        assert_int_equal(holds, same);
    }
}

/* Commits of several shards draw their LSN under marks and are applied later, in any order; the
 * marked key is neither read by a range nor written by others meanwhile. */
static void validity_step(struct run *run) {
    size_t key = below(run, KEYS);
    switch (below(run, 8)) {
    case 0:
        read_range(run);
        break;
    case 1:
        if (!is_staged(run, key) && run->put_count < STAGED_MAX) {
            stage(run, key);
            run->puts[run->put_count - 1].version = ++run->lsn;
        }
        break;
    case 2:
        if (run->put_count)
            install(run, below(run, run->put_count));
        break;
    case 3:
    case 4:
        if (!is_staged(run, key))
            delete (run, key);
        break;
    default:
        if (!is_staged(run, key))
            put_now(run, key);
    }
}

static void validity_run(struct run *run) {
    for (unsigned step = 0; step < 1500; step++) {
        validity_step(run);
        expect_reads_judged(run);
    }
}

/* "As many keys as were read, and none newer" holds if and only if the interval is as it was read.
 */
static void test_fingerprint_tells_exactly_whether_a_range_changed(void **state) {
    (void)state;
    for_seeds(60, validity_run);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_equals_the_model, say_seed),
        cmocka_unit_test_teardown(test_fingerprint_tells_exactly_whether_a_range_changed, say_seed),
    };
    signal(SIGABRT, on_abort);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
