/* The treap in process, with 1,000,000 random keys of 16 bytes and values of 16 bytes.
 *
 *   ninja -C build micro_treap && build/micro_treap [keys]       (a release build)
 *
 * What to expect, if a cache miss costs 165 ns (measured on the two-core EPYC virtual machine used
 * for performance.md; several that do not depend on each other overlap). The data are 110 MB.
 *
 * - get: index, node and value miss one after the other: 500 ns alone; in a loop, two or three gets
 *   overlap: 200 ns; of 10,000 hot keys, which stay in the caches: under 100 ns.
 * - set: as a get; the new value takes the place of one just freed: 500 ns, in a loop 300 ns.
 * - insert: a descent of 2 ln n = 28 levels, the upper half of them in cache: 2 us.
 * - range of 100: a descent, then 100 nodes and values, asked for many at a time: 2 + 4 us.
 * - delete: as an insert, and two subtrees are joined: 2.5 us.
 * - reading a frozen view: a walk, many nodes and values asked for at a time: 50 ns a key.
 * - set while a view stands: as a set, and the path is copied that leads to the key, of which the
 *   upper half is copied already: a descent and ten copies with their index entries, 5 us; the
 *   second time as ever.
 * - freeze: nothing but what is staged; thaw: nodes and values as they were kept: 50 ns each.
 * - build from sorted keys, values of 84 bytes: copying 150 bytes, three misses in the index that
 *   wait for each other, partly overlapped with the next key's: 200 ns.
 * - memory: node 56 + 16 and value 4 + 16, rounded to 72 + 24, and 10 to 13 of index: 108 bytes.
 *
 * For percentiles each operation is timed by itself: its misses do not overlap with the next one's,
 * and the clock (about 25 ns, subtracted) stands between them. */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/utsname.h>
#include <time.h>

#include "core/hash.h"
#include "core/splitmix.h"
#include "shard/treap.h"

#define KEY_BYTES 16
#define VALUE_BYTES 16
#define VALUE_BYTES_BUILT 84
#define RANGE 100
#define HOT 10000
#define SAMPLES 200000u
#define HASH_SEED 11
#define TREAP_SEED 12

static uint64_t random_state = 1;

static uint64_t draw(void) {
    return splitmix_next(&random_state);
}

static uint64_t clock_ns(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static uint64_t now_ns(void) {
    return clock_ns(CLOCK_MONOTONIC);
}

/* For whole loops: what other processes take of the machine does not count. */
static uint64_t cpu_ns(void) {
    return clock_ns(CLOCK_THREAD_CPUTIME_ID);
}

struct bench {
    struct treap *treap;
    size_t keys;
    char (*names)[KEY_BYTES];
    uint64_t lsn;
    uint64_t sum; /* of what was read, so that nothing is optimized away */
};

static struct slice name(const struct bench *bench, size_t at) {
    return slice_of(bench->names[at], KEY_BYTES);
}

/* ---- The operations, on the key at `at` ---- */

typedef void operation(struct bench *bench, size_t at);

static void op_get(struct bench *bench, size_t at) {
    struct slice key = name(bench, at);
    const struct treap_node *node = treap_find(bench->treap, key, hash_key(key, HASH_SEED));
    assert(node);
    bench->sum += (unsigned char)treap_value(node).data[0];
}

static void op_put(struct bench *bench, size_t at) {
    static const char value[VALUE_BYTES] = "0123456789abcde";
    struct slice key = name(bench, at);
    struct treap_staged staged;
    enum status status = treap_stage_put(
        bench->treap, key, hash_key(key, HASH_SEED), slice_of(value, VALUE_BYTES), &staged);
    assert(status == ST_OK);
    treap_install_put(bench->treap, &staged, ++bench->lsn);
}

static void op_get_hot(struct bench *bench, size_t at) {
    op_get(bench, at % HOT);
}

static void op_put_hot(struct bench *bench, size_t at) {
    op_put(bench, at % HOT);
}

static void op_delete(struct bench *bench, size_t at) {
    struct slice key = name(bench, at);
    bool deleted = treap_delete(bench->treap, key, hash_key(key, HASH_SEED), ++bench->lsn);
    assert(deleted);
}

static bool visit(void *ctx, const struct treap_node *node) {
    struct bench *bench = ctx;
    bench->sum += (unsigned char)treap_value(node).data[0];
    return true;
}

static void op_range(struct bench *bench, size_t at) {
    (void)treap_walk(bench->treap, name(bench, at), SLICE(""), false, false, RANGE, visit, bench);
}

static void op_fingerprint(struct bench *bench, size_t at) {
    uint64_t count, version_max;
    struct slice from = name(bench, at), to = name(bench, bench->keys - 1 - at);
    treap_fingerprint(bench->treap, from, to, true, &count, &version_max);
    bench->sum += count + version_max;
}

static void op_put_after_range(struct bench *bench, size_t at) {
    treap_range_begin(bench->treap);
    op_put(bench, at);
}

/* ---- Measuring ---- */

static int compare_u64(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static uint64_t clock_cost_ns(void) {
    uint64_t begin = now_ns();
    for (unsigned i = 0; i < 100000; i++)
        (void)now_ns();
    return (now_ns() - begin) / 100000;
}

/* Each of `count` operations timed by itself. */
static void measure(
    struct bench *bench, const char *what, operation *op, size_t first, size_t count) {
    uint64_t *ns = malloc(count * sizeof *ns);
    assert(ns);
    uint64_t clock_cost = clock_cost_ns(), total = 0;
    for (size_t i = 0; i < count; i++) {
        size_t at = first + i;
        uint64_t begin = now_ns();
        op(bench, at);
        uint64_t took = now_ns() - begin;
        ns[i] = took > clock_cost ? took - clock_cost : 0;
        total += ns[i];
    }
    qsort(ns, count, sizeof *ns, compare_u64);
    printf("%-24s mean %6.0f   p50 %6" PRIu64 "   p99 %6" PRIu64 "   p99.9 %7" PRIu64
           "   max %8" PRIu64 "  ns\n",
        what, (double)total / (double)count, ns[count / 2], ns[count / 100 * 99],
        ns[count / 1000 * 999], ns[count - 1]);
    free(ns);
}

/* `count` operations in one go: neighbours overlap, as they do in a loop turn. */
static void measure_batch(struct bench *bench, const char *what, operation *op, size_t count) {
    uint64_t begin = cpu_ns();
    for (size_t i = 0; i < count; i++)
        op(bench, i);
    printf("%-24s mean %6.1f  ns\n", what, (double)(cpu_ns() - begin) / (double)count);
}

/* ---- Frozen views ---- */

static void measure_view(struct bench *bench) {
    struct treap_frozen *frozen;
    uint64_t begin = now_ns();
    enum status status = treap_freeze(bench->treap, &frozen);
    printf("%-24s %" PRIu64 " ns\n", "freeze", now_ns() - begin);
    assert(status == ST_OK);

    size_t memory = treap_memory(bench->treap);
    measure(bench, "set, view stands", op_put, 0, SAMPLES);
    measure(bench, "the same keys again", op_put, 0, SAMPLES);
    printf("%-24s %.0f bytes a key\n", "memory for that",
        (double)(treap_memory(bench->treap) - memory) / SAMPLES);

    struct treap_cursor cursor;
    treap_cursor_init(&cursor, frozen);
    size_t count = 0;
    begin = cpu_ns();
    for (const struct treap_node *node; (node = treap_cursor_next(&cursor)); count++)
        bench->sum += (unsigned char)treap_value(node).data[0];
    printf("%-24s mean %6.1f  ns a key\n", "reading the view",
        (double)(cpu_ns() - begin) / (double)count);
    assert(count == treap_frozen_count(frozen));

    begin = cpu_ns();
    count = 1;
    while (!treap_thaw(bench->treap, 1000))
        count++;
    printf("%-24s mean %6.1f  ns a node or value\n", "thaw",
        (double)(cpu_ns() - begin) / (double)count / 1000);
}

/* ---- Building ---- */

static int compare_names(const void *a, const void *b) {
    return memcmp(a, b, KEY_BYTES);
}

static void measure_build(struct bench *bench) {
    static const char value[VALUE_BYTES_BUILT] = "0123456789abcdef";
    qsort(bench->names, bench->keys, KEY_BYTES, compare_names);
    struct treap *treap;
    struct treap_builder *builder;
    enum status status = treap_create(TREAP_SEED, &treap);
    assert(status == ST_OK);
    uint64_t begin = cpu_ns();
    status = treap_builder_begin(treap, bench->keys, &builder);
    assert(status == ST_OK);
    for (size_t i = 0; i < bench->keys; i++) {
        struct slice key = name(bench, i);
        status = treap_builder_add(
            builder, key, hash_key(key, HASH_SEED), slice_of(value, sizeof value), i + 1);
        assert(status == ST_OK);
    }
    treap_builder_finish(builder);
    printf("%-24s mean %6.1f  ns a key, %.1f bytes a key\n", "build, values of 84",
        (double)(cpu_ns() - begin) / (double)bench->keys,
        (double)treap_memory(treap) / (double)bench->keys);
    assert(treap_count(treap) == bench->keys);
    treap_destroy(treap);
}

static void names_fill(struct bench *bench) {
    for (size_t i = 0; i < bench->keys; i++) {
        char hex[KEY_BYTES + 1];
        (void)snprintf(hex, sizeof hex, "%016" PRIx64, draw());
        memcpy(bench->names[i], hex, KEY_BYTES);
    }
}

/* From here on the keys come in another order than they were inserted in, so that nodes do not lie
 * in memory as they are asked for; the keys themselves do, as a request's key is at hand. */
static void names_shuffle(struct bench *bench) {
    for (size_t i = bench->keys - 1; i > 0; i--) {
        char swap[KEY_BYTES];
        size_t other = draw() % (i + 1);
        memcpy(swap, bench->names[i], KEY_BYTES);
        memcpy(bench->names[i], bench->names[other], KEY_BYTES);
        memcpy(bench->names[other], swap, KEY_BYTES);
    }
}

int main(int argc, char **argv) {
    struct bench bench = {.keys = argc > 1 ? strtoull(argv[1], NULL, 10) : 1000000};
    if (bench.keys < 2 * SAMPLES) {
        (void)fprintf(stderr, "at least %u keys\n", 2 * SAMPLES);
        return 2;
    }
    bench.names = malloc(bench.keys * KEY_BYTES);
    enum status status = treap_create(TREAP_SEED, &bench.treap);
    assert(bench.names && status == ST_OK);
    struct utsname machine;
    (void)uname(&machine);
    printf(
        "treap: %zu keys, 1 thread, no log, hash seed %d, treap seed %d, version " CONCAVE_VERSION
        ", %s %s\n",
        bench.keys, HASH_SEED, TREAP_SEED, machine.sysname, machine.machine);
    names_fill(&bench);

    size_t filled = bench.keys - SAMPLES;
    uint64_t begin = cpu_ns();
    for (size_t i = 0; i < filled; i++)
        op_put(&bench, i);
    printf("%-24s mean %6.0f  ns\n", "insert, from empty",
        (double)(cpu_ns() - begin) / (double)filled);
    measure(&bench, "insert, the last 200,000", op_put, filled, SAMPLES);
    assert(treap_count(bench.treap) == bench.keys);
    printf("%-24s %.1f bytes a key (user's data: %.1f)\n", "memory",
        (double)treap_memory(bench.treap) / (double)bench.keys,
        (double)treap_bytes(bench.treap) / (double)bench.keys);

    names_shuffle(&bench);
    measure_batch(&bench, "get, in a loop", op_get, bench.keys);
    measure_batch(&bench, "get, 10,000 hot keys", op_get_hot, bench.keys);
    measure(&bench, "get", op_get, 0, SAMPLES);
    measure_batch(&bench, "set, in a loop", op_put, bench.keys);
    measure_batch(&bench, "set, 10,000 hot keys", op_put_hot, bench.keys);
    measure(&bench, "set", op_put, 0, SAMPLES);
    measure(&bench, "set after a range read", op_put_after_range, 0, SAMPLES);
    measure(&bench, "range of 100", op_range, 0, SAMPLES / 10);
    measure(&bench, "fingerprint", op_fingerprint, 0, SAMPLES);
    measure_view(&bench);
    measure(&bench, "delete", op_delete, filled, SAMPLES);
    assert(treap_count(bench.treap) == filled);
    treap_check(bench.treap);
    printf("checksum %" PRIu64 "\n", bench.sum);
    treap_destroy(bench.treap);
    measure_build(&bench);
    free(bench.names);
    return 0;
}
