/* The feed: each shard's items arrive on one thread, in order, whole; a failure comes back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdlib.h>

#include "net/feed.h"

#define SHARDS 7u
#define ITEMS 60000u

struct taken {
    uint64_t count, sum;
    uint64_t last_lsn;
    pthread_t thread;
    bool wrong;
};

static struct taken taken[SHARDS];
static uint64_t fail_at; /* LSN; 0 = never */

static size_t value_bytes(uint64_t lsn) {
    return lsn % 20011 == 0 ? (size_t)1 << 20 : (size_t)(lsn * 7 % 90);
}

/* Asserts belong to the test's thread: what is wrong is noted. */
static enum status take(void *ctx, const struct feed_item *item) {
    (void)ctx;
    struct taken *shard = &taken[item->shard];
    if (item->lsn == fail_at)
        return ST_NOMEM;
    if (shard->count++ == 0)
        shard->thread = pthread_self();
    if (!pthread_equal(shard->thread, pthread_self()) || item->lsn <= shard->last_lsn ||
        item->key.len != sizeof(uint64_t) || memcmp(item->key.data, &item->lsn, 8) != 0 ||
        item->hash != item->lsn * 3 || item->op != item->lsn % 4 ||
        item->value.len != value_bytes(item->lsn))
        shard->wrong = true;
    for (size_t i = 0; i < item->value.len; i++)
        if (item->value.data[i] != (char)item->lsn)
            shard->wrong = true;
    shard->last_lsn = item->lsn;
    shard->sum += item->lsn;
    return ST_OK;
}

static enum status add(struct feed *feed, uint64_t lsn) {
    static char value[(size_t)1 << 20];
    memset(value, (char)lsn, value_bytes(lsn));
    struct feed_item item = {
        .shard = (unsigned)(lsn * 2654435761u % SHARDS),
        .op = (unsigned)(lsn % 4),
        .lsn = lsn,
        .hash = lsn * 3,
        .key = slice_of((const char *)&lsn, sizeof(lsn)),
        .value = slice_of(value, value_bytes(lsn)),
    };
    return feed_add(feed, &item);
}

static void feed_all(unsigned threads) {
    struct feed *feed;
    uint64_t count = 0, sum = 0;
    memset(taken, 0, sizeof(taken));
    assert_int_equal(feed_create(threads, take, NULL, &feed), ST_OK);
    for (uint64_t lsn = 1; lsn <= ITEMS; lsn++) {
        assert_int_equal(add(feed, lsn), ST_OK);
        if (lsn == ITEMS / 2)
            assert_int_equal(feed_flush(feed), ST_OK);
    }
    assert_int_equal(feed_flush(feed), ST_OK);
    assert_int_equal(feed_flush(feed), ST_OK); /* nothing more: nothing to wait for */
    for (unsigned i = 0; i < SHARDS; i++) {
        assert_false(taken[i].wrong);
        count += taken[i].count;
        sum += taken[i].sum;
    }
    assert_int_equal(count, ITEMS);
    assert_int_equal(sum, (uint64_t)ITEMS * (ITEMS + 1) / 2);
    feed_destroy(feed);
}

/* Whatever the number of threads, all items arrive once, in the order of their shard, and after a
 * flush they have. */
static void every_item_arrives_in_order(void **state) {
    (void)state;
    feed_all(1);
    feed_all(2);
    feed_all(5);
    feed_all(SHARDS);
}

/* A failure on a loader is told at the latest by the flush, and the feed can still be ended. */
static void a_failure_comes_back(void **state) {
    (void)state;
    struct feed *feed;
    memset(taken, 0, sizeof(taken));
    fail_at = 3;
    assert_int_equal(feed_create(3, take, NULL, &feed), ST_OK);
    enum status status = ST_OK;
    for (uint64_t lsn = 1; lsn <= ITEMS && status == ST_OK; lsn++)
        status = add(feed, lsn);
    assert_int_equal(status, ST_NOMEM);
    assert_int_equal(feed_flush(feed), ST_NOMEM);
    feed_destroy(feed);
    fail_at = 0;
}

/* As when a snapshot turns out to be damaged: items may be on their way. */
static void a_feed_may_be_given_up(void **state) {
    (void)state;
    for (unsigned round = 0; round < 20; round++) {
        struct feed *feed;
        memset(taken, 0, sizeof(taken));
        assert_int_equal(feed_create(2, take, NULL, &feed), ST_OK);
        for (uint64_t lsn = 1; lsn <= 1000 * round; lsn++)
            assert_int_equal(add(feed, lsn), ST_OK);
        feed_destroy(feed);
    }
    feed_destroy(NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_item_arrives_in_order),
        cmocka_unit_test(a_failure_comes_back),
        cmocka_unit_test(a_feed_may_be_given_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
