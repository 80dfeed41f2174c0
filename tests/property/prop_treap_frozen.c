/* Frozen views of the treap against copies of a naive model: a sorted array of all keys there can
 * be. Writes are staged, installed and discarded in any order around freezing, reading the view and
 * thawing; staging and freezing run out of memory now and then, installing may not allocate.
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

#define KEYS 211
#define STAGED_MAX 16
#define SEEDS 150
#define STEPS 3000

struct model {
    uint64_t versions[KEYS]; /* 0 = absent; the value is made of the version */
    size_t count;
    uint64_t applied;
};

struct write {
    struct treap_staged staged;
    size_t key;
    uint64_t value; /* of a put */
    bool deletes;
};

enum phase { PHASE_NONE, PHASE_VIEW, PHASE_THAWING };

struct run {
    uint64_t random;
    uint64_t hash_mask; /* fewer hash bits make keys collide */
    uint64_t lsn;
    uint64_t value;
    struct treap *treap;
    char names[KEYS][8];
    uint64_t values[KEYS];
    struct model now;
    struct write writes[STAGED_MAX];
    size_t write_count;

    enum phase phase;
    struct treap_frozen *frozen;
    struct treap_cursor cursor;
    struct model then; /* what the view has to show */
    uint64_t values_then[KEYS];
    size_t next; /* key of it */
};

static uint64_t draw(struct run *run) {
    return splitmix_next(&run->random);
}

static size_t below(struct run *run, size_t n) {
    return (size_t)(draw(run) % n);
}

static struct slice key_of(const struct run *run, size_t at) {
    return slice_of(run->names[at], strlen(run->names[at]));
}

static uint64_t hash_of(const struct run *run, size_t at) {
    return hash_key(key_of(run, at), 7) & run->hash_mask;
}

/* A value's length depends on its number, so that blobs of several sizes come and go. */
static size_t value_make(uint64_t number, char bytes[64]) {
    size_t len = 8 + number % 56;
    memset(bytes, (int)(number & 0xff), len);
    memcpy(bytes, &number, sizeof number);
    return len;
}

static void expect_node(const struct run *run, const struct treap_node *node, size_t at,
    uint64_t version, uint64_t value) {
    char bytes[64];
    size_t len = value_make(value, bytes);
    assert_non_null(node);
    assert_true(slice_equal(treap_key(node), key_of(run, at)));
    assert_true(slice_equal(treap_value(node), slice_of(bytes, len)));
    assert_int_equal(treap_version(node), version);
}

/* ---- Writes ---- */

/* Half of the time memory may run out at one of the next allocations. */
static void memory_may_fail(struct run *run) {
    if (below(run, 2))
        slab_fail_after(treap_slab(run->treap), below(run, 12));
}

static void memory_works(struct run *run) {
    slab_fail_after(treap_slab(run->treap), SLAB_FAIL_NEVER);
}

static bool stage(struct run *run, size_t at, bool deletes) {
    if (run->write_count == STAGED_MAX)
        return false;
    struct write *write = &run->writes[run->write_count];
    *write = (struct write){.key = at, .deletes = deletes, .value = ++run->value};
    char bytes[64];
    struct slice key = key_of(run, at), value = slice_of(bytes, value_make(write->value, bytes));
    memory_may_fail(run);
    enum status status =
        deletes ? treap_stage_delete(run->treap, key, hash_of(run, at), &write->staged)
                : treap_stage_put(run->treap, key, hash_of(run, at), value, &write->staged);
    memory_works(run);
    run->write_count += status == ST_OK;
    return status == ST_OK;
}

/* A key that is staged as present must not vanish. */
static bool may_install(const struct run *run, const struct write *write) {
    for (size_t i = 0; i < run->write_count; i++) {
        const struct write *other = &run->writes[i];
        if (other->key == write->key && !other->deletes && !other->staged.fresh)
            return !write->deletes;
    }
    return true;
}

static void install(struct run *run, size_t index) {
    if (!may_install(run, &run->writes[index]))
        return;
    struct write write = run->writes[index];
    run->writes[index] = run->writes[--run->write_count];
    uint64_t *version = &run->now.versions[write.key];
    run->lsn++;
    slab_fail_after(treap_slab(run->treap), 0);
    if (write.deletes)
        assert_int_equal(treap_install_delete(run->treap, &write.staged, run->lsn), *version != 0);
    else
        treap_install_put(run->treap, &write.staged, run->lsn);
    memory_works(run);
    run->now.count += (size_t)!write.deletes - (*version != 0);
    run->now.applied = run->lsn;
    *version = write.deletes ? 0 : run->lsn;
    if (!write.deletes)
        run->values[write.key] = write.value;
}

static void discard(struct run *run, size_t index) {
    struct write write = run->writes[index];
    run->writes[index] = run->writes[--run->write_count];
    treap_discard(run->treap, &write.staged);
}

/* ---- Views ---- */

static void freeze(struct run *run) {
    memory_may_fail(run);
    enum status status = treap_freeze(run->treap, &run->frozen);
    memory_works(run);
    if (status != ST_OK) {
        assert_int_equal(status, ST_NOMEM);
        return;
    }
    run->phase = PHASE_VIEW;
    run->then = run->now;
    memcpy(run->values_then, run->values, sizeof run->values);
    run->next = 0;
    treap_cursor_init(&run->cursor, run->frozen);
    assert_int_equal(treap_frozen_count(run->frozen), run->then.count);
    assert_int_equal(treap_frozen_bytes(run->frozen), treap_bytes(run->treap));
    assert_int_equal(treap_frozen_applied_lsn(run->frozen), run->then.applied);
}

/* Reads on where the cursor stands; at the end from the start. */
static void read_view(struct run *run, size_t max) {
    for (; max; max--) {
        while (run->next < KEYS && run->then.versions[run->next] == 0)
            run->next++;
        const struct treap_node *node = treap_cursor_next(&run->cursor);
        if (run->next == KEYS) {
            assert_null(node);
            assert_null(treap_cursor_next(&run->cursor));
            run->next = 0;
            treap_cursor_init(&run->cursor, run->frozen);
            return;
        }
        size_t at = run->next++;
        expect_node(run, node, at, run->then.versions[at], run->values_then[at]);
    }
}

static void view_step(struct run *run) {
    if (run->phase == PHASE_NONE) {
        freeze(run);
    } else if (run->phase == PHASE_VIEW && below(run, 10)) {
        read_view(run, below(run, 40));
    } else {
        bool done = treap_thaw(run->treap, 1 + below(run, 30));
        run->phase = done ? PHASE_NONE : PHASE_THAWING;
    }
}

/* ---- Runs ---- */

static void look(struct run *run, size_t at) {
    const struct treap_node *node = treap_find(run->treap, key_of(run, at), hash_of(run, at));
    if (run->now.versions[at])
        expect_node(run, node, at, run->now.versions[at], run->values[at]);
    else
        assert_null(node);
}

static void step(struct run *run) {
    size_t at = below(run, KEYS), pick = below(run, 16);
    if (pick < 6) {
        if (stage(run, at, pick < 2) && below(run, 2))
            install(run, run->write_count - 1);
    } else if (pick < 9 && run->write_count) {
        install(run, below(run, run->write_count));
    } else if (pick < 10 && run->write_count) {
        discard(run, below(run, run->write_count));
    } else if (pick < 12) {
        view_step(run);
    } else {
        look(run, at);
    }
}

static void run_begin(struct run *run, uint64_t seed) {
    *run = (struct run){.random = seed};
    static const uint64_t masks[] = {UINT64_MAX, UINT64_MAX, 0x3f, UINT64_C(0xf) << 60, 0};
    run->hash_mask = masks[below(run, 5)];
    for (size_t i = 0; i < KEYS; i++)
        (void)snprintf(run->names[i], sizeof run->names[i], "%03u", (unsigned)i);
    assert_int_equal(treap_create(draw(run), &run->treap), ST_OK);
}

static void run_end(struct run *run) {
    treap_check(run->treap);
    if (run->phase == PHASE_VIEW)
        read_view(run, SIZE_MAX);
    while (run->write_count)
        discard(run, run->write_count - 1);
    while (!treap_thaw(run->treap, 7))
        treap_check(run->treap);
    assert_int_equal(treap_count(run->treap), run->now.count);
    for (size_t i = 0; i < KEYS; i++) {
        look(run, i);
        (void)treap_delete(run->treap, key_of(run, i), hash_of(run, i), ++run->lsn);
    }
    assert_int_equal(treap_bytes(run->treap), 0);
    treap_check(run->treap);
    treap_destroy(run->treap);
}

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

/* A view shows what was there when it was taken, whatever is done meanwhile; what is done goes on
 * as if there were none; and no install needs memory, whenever the view was taken. */
static void test_views_stay_as_they_were(void **state) {
    (void)state;
    const char *one = getenv("CONCAVE_SEED");
    uint64_t first = one ? strtoull(one, NULL, 10) : 1;
    static struct run run;
    for (uint64_t seed = first; seed < (one ? first + 1 : first + SEEDS); seed++) {
        seed_now = seed;
        run_begin(&run, seed);
        for (unsigned i = 0; i < STEPS; i++) {
            step(&run);
            if (i % 50 == 0)
                treap_check(run.treap);
        }
        run_end(&run);
    }
    seed_now = 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_views_stay_as_they_were, say_seed),
    };
    signal(SIGABRT, on_abort);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
