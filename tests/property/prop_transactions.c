/* Property: whatever order messages, turns and syncs come in, every call's result is strictly
 * serializable: a writer's reads hold at its LSN, a reader's at one LSN within its request. Views
 * of the shards' treaps are taken and given up at any time; they change nothing and stay unchanged.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "shard/state.h"
#include "tests/support/scale.h"
#include "tests/support/stage.h"
#include "tests/support/stage_verdict.h"

#define CALLS_A_RUN 60u
#define STAGED_SHARDS 8u

/* A frozen view of one shard, and what it showed at first. */
struct view {
    struct treap_frozen *frozen; /* NULL: none stands */
    bool thawing;
    size_t count;
    uint64_t versions[STAGE_KEYS];
};

static size_t view_read(const struct view *view, uint64_t versions[STAGE_KEYS]) {
    struct treap_cursor cursor;
    size_t count = 0;
    treap_cursor_init(&cursor, view->frozen);
    for (const struct treap_node *node; (node = treap_cursor_next(&cursor)); count++) {
        assert_true(count < STAGE_KEYS);
        versions[count] = treap_version(node);
    }
    return count;
}

static void view_thaw(struct view *view, struct treap *treap, size_t max) {
    if (view->frozen) {
        uint64_t versions[STAGE_KEYS];
        assert_int_equal(view_read(view, versions), view->count);
        assert_memory_equal(versions, view->versions, view->count * sizeof versions[0]);
        view->frozen = NULL;
    }
    view->thawing = !treap_thaw(treap, max);
}

/* Takes, gives up or looks through the view of one shard. */
static void view_move(struct stage *stage, struct view *views, unsigned shards) {
    unsigned at = (unsigned)stage_random(stage, shards);
    struct treap *treap = stage_shard(stage, at)->treap;
    struct view *view = &views[at];
    if (view->frozen || view->thawing) {
        view_thaw(view, treap, 1 + stage_random(stage, 8));
        return;
    }
    if (treap_freeze(treap, &view->frozen) != ST_OK) {
        view->frozen = NULL; /* no memory, in a run that takes it away */
        return;
    }
    view->count = view_read(view, view->versions);
    treap_check(treap);
}

struct mix {
    unsigned keys;           /* of the first STAGE_KEYS */
    unsigned ranges, yields; /* in so many of 20 steps */
    unsigned in_flight;
    unsigned declares; /* so many of 20 calls */
    bool odd_ends;     /* failures, VMs replaced, callers that cannot wait */
    bool sessions;     /* pipelined on few connections */
    bool pressure;     /* deadlines, a full log, no memory */
    bool flicker;      /* half of the calls only read, the rest put and delete in one go */
};

static void random_step(struct stage *stage, const struct mix *mix, struct step *step) {
    uint64_t pick = stage_random(stage, 20);
    step->key = (unsigned)stage_random(stage, mix->keys);
    if (pick < mix->ranges)
        step->kind = STEP_RANGE;
    else if (pick < mix->ranges + mix->yields)
        step->kind = STEP_YIELD;
    else
        step->kind = (enum step_kind[]){STEP_GET, STEP_GET, STEP_GET, STEP_VERSION, STEP_SET,
            STEP_SET, STEP_DELETE}[stage_random(stage, 7)];
    if (step->kind == STEP_RANGE) {
        step->to = step->key + 1 + (unsigned)stage_random(stage, mix->keys);
        step->limit = 1 + (unsigned)stage_random(stage, stage_random(stage, 2) ? 4 : STAGE_KEYS);
        step->expect = 1 + (unsigned)stage_random(stage, step->limit);
        step->reverse = stage_random(stage, 2);
        step->closes = stage_random(stage, 2);
    }
}

/* What a call of `flicker` does: readers that see a key absent, then another transaction's writes
 * elsewhere, then the key absent again. */
static void flicker(struct stage *stage, const struct mix *mix, struct stage_call *call) {
    bool reads = stage_random(stage, 2);
    call->step_count = 2 + (unsigned)stage_random(stage, 2);
    for (unsigned i = 0; i < call->step_count; i++) {
        struct step *step = &call->steps[i];
        if (reads && step->kind != STEP_RANGE && step->kind != STEP_YIELD)
            step->kind = STEP_GET;
        if (!reads) {
            step->kind = stage_random(stage, 2) ? STEP_SET : STEP_DELETE;
            step->key = (unsigned)stage_random(stage, mix->keys);
        }
    }
}

static struct stage_call *random_call(struct stage *stage, const struct mix *mix) {
    struct stage_call *call = stage_call_new(stage);
    call->step_count = 1 + (unsigned)stage_random(stage, 6);
    for (unsigned i = 0; i < call->step_count; i++)
        random_step(stage, mix, &call->steps[i]);
    if (mix->flicker)
        flicker(stage, mix, call);
    call->declares = stage_random(stage, 20) < mix->declares;
    call->hints = mix->pressure ? HINTS_RIGHT : (enum hints)stage_random(stage, 3);
    call->rolls_back = stage_random(stage, 8) == 0;
    if (mix->odd_ends) {
        call->fails = !call->rolls_back && stage_random(stage, 8) == 0;
        call->replaced = stage_random(stage, 8) == 0;
        call->never_waits = stage_random(stage, 4) == 0;
    }
    if (mix->pressure && stage_random(stage, 3) == 0)
        call->budget_ns = 1 + stage_random(stage, 2000000);
    return call;
}

#define SESSIONS 8u

static uint64_t run(unsigned shards, uint64_t seed, const struct mix *mix) {
    struct stage *stage = stage_open(shards, seed);
    struct stage_call *latest[SESSIONS] = {NULL};
    if (mix->pressure)
        stage_fail_at_random(stage, 3, 3);
    struct view views[STAGED_SHARDS] = {{.frozen = NULL}};
    for (unsigned i = 0; i < CALLS_A_RUN; i++) {
        struct stage_call *call = random_call(stage, mix);
        struct stage_call **before = &latest[stage_random(stage, SESSIONS)];
        if (mix->sessions && *before)
            stage_submit_after(stage, call, *before);
        else
            stage_submit(stage, call, (unsigned)stage_random(stage, shards));
        *before = call;
        for (uint64_t moves = stage_random(stage, 400 / mix->in_flight); moves > 0; moves--)
            if (stage_random(stage, 16))
                stage_move(stage);
            else
                view_move(stage, views, shards);
    }
    stage_settle(stage, 2000000);
    stage_check_history(stage);
    for (unsigned i = 0; i < shards; i++) {
        view_thaw(&views[i], stage_shard(stage, i)->treap, SIZE_MAX);
        treap_check(stage_shard(stage, i)->treap);
    }
    uint64_t losses = stage_losses(stage);
    stage_close(stage);
    return losses;
}

static void run_seeds(const struct mix *mix, const char *name) {
    static const unsigned counts[] = {1, 2, 3, 8};
    uint64_t first = getenv("CONCAVE_SEED") ? strtoull(getenv("CONCAVE_SEED"), NULL, 10) : 1;
    uint64_t seeds =
        getenv("CONCAVE_SEEDS") ? strtoull(getenv("CONCAVE_SEEDS"), NULL, 10) : test_scaled(80);
    uint64_t losses = 0;
    for (uint64_t seed = first; seed < first + seeds; seed++)
        for (unsigned i = 0; i < sizeof counts / sizeof counts[0]; i++) {
            fprintf(
                stderr, "\r%s: %u shards, seed %llu ", name, counts[i], (unsigned long long)seed);
            losses += run(counts[i], seed, mix);
        }
    fprintf(stderr, "\n%s: %llu calls, %llu attempts lost and run again\n", name,
        (unsigned long long)(4 * seeds * CALLS_A_RUN), (unsigned long long)losses);
}

static void point_transactions_are_strictly_serializable(void **state) {
    (void)state;
    run_seeds(&(struct mix){.keys = 6, .yields = 2, .in_flight = 8, .declares = 5}, "points");
}

static void ranges_are_strictly_serializable(void **state) {
    (void)state;
    run_seeds(
        &(struct mix){.keys = STAGE_KEYS, .ranges = 4, .in_flight = 8, .declares = 5}, "ranges");
}

static void hot_keys_are_strictly_serializable(void **state) {
    (void)state;
    run_seeds(
        &(struct mix){.keys = 3, .ranges = 2, .yields = 2, .in_flight = 40, .declares = 5}, "hot");
}

static void declared_transactions_are_strictly_serializable(void **state) {
    (void)state;
    run_seeds(&(struct mix){.keys = STAGE_KEYS, .ranges = 6, .in_flight = 40, .declares = 15},
        "declared");
}

static void keys_that_come_and_go_are_strictly_serializable(void **state) {
    (void)state;
    run_seeds(
        &(struct mix){
            .keys = 4, .ranges = 3, .yields = 1, .in_flight = 10, .declares = 1, .flicker = true},
        "flicker");
}

static void odd_ends_and_sessions_are_strictly_serializable(void **state) {
    (void)state;
    run_seeds(&(struct mix){.keys = 12,
                  .ranges = 4,
                  .yields = 1,
                  .in_flight = 20,
                  .declares = 5,
                  .odd_ends = true,
                  .sessions = true},
        "odd ends");
}

static void nothing_is_lost_or_half_done_under_pressure(void **state) {
    (void)state;
    run_seeds(&(struct mix){.keys = 8,
                  .ranges = 3,
                  .yields = 1,
                  .in_flight = 40,
                  .declares = 8,
                  .odd_ends = true,
                  .sessions = true,
                  .pressure = true},
        "pressure");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(point_transactions_are_strictly_serializable),
        cmocka_unit_test(ranges_are_strictly_serializable),
        cmocka_unit_test(hot_keys_are_strictly_serializable),
        cmocka_unit_test(declared_transactions_are_strictly_serializable),
        cmocka_unit_test(keys_that_come_and_go_are_strictly_serializable),
        cmocka_unit_test(odd_ends_and_sessions_are_strictly_serializable),
        cmocka_unit_test(nothing_is_lost_or_half_done_under_pressure),
    };
    if (getenv("CONCAVE_TEST"))
        cmocka_set_test_filter(getenv("CONCAVE_TEST"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
