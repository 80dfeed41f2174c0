/* How fast a data directory is read: from a snapshot, and from the log alone.
 *
 *   micro_restore DIR KEYS [VALUE_BYTES]
 *
 * Makes DIR/snapshot and DIR/log, directories of a server, with KEYS keys each, in a snapshot or in
 * records of one put, if they are not there yet; then restores each without filling shards: what is
 * left is reading and checking. `concave serve --data` on them, under `--shards N`, says in its
 * line "recovery: ..." what it takes with filling them.
 *
 * What to expect of 1,000,000 keys of 100 bytes: 126 MB, from the page cache at 5 GB/s, hashed at
 * 10 GB/s, and some 20 ns an item: 60 ms from the snapshot. The log has 176 MB in records with two
 * hashes each: 100 ms. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/clock.h"
#include "core/restore.h"

#define SALT UINT64_C(0x5a17)
#define KEY_BYTES 24
#define VALUE_BYTES_MAX 65536u

static char value[VALUE_BYTES_MAX];
static size_t value_len;

static void check(enum status status, const struct buf *error) {
    if (status == ST_OK)
        return;
    fprintf(stderr, "%s: %.*s\n", status_text(status), (int)error->len, error->data);
    exit(1);
}

static struct slice key_of(uint64_t number, char *text) {
    return slice_of(
        text, (size_t)snprintf(text, KEY_BYTES, "key:%012llu", (unsigned long long)number));
}

static void make_snapshot(const char *dir, uint64_t keys) {
    struct snapshot_writer *writer;
    struct buf error;
    char text[KEY_BYTES];
    buf_init(&error, 65536);
    check(snapshot_writer_open(dir, SALT, keys, true, &writer, &error), &error);
    for (uint64_t i = 0; i < keys; i++)
        check(snapshot_writer_add(writer, key_of(i, text), i + 1, slice_of(value, value_len)),
            &error);
    check(snapshot_writer_finish(writer, keys), &error);
    check(snapshot_writer_publish(writer), &error);
    check(wal_create_behind(dir, SALT, keys, &error), &error);
    buf_free(&error);
}

/* ---- restoring into nothing ---- */

struct totals {
    uint64_t items;
};

static enum status begin(void *ctx, uint64_t salt, uint64_t keys) {
    struct totals *totals = ctx;
    (void)salt;
    (void)keys;
    totals->items = 0;
    return ST_OK;
}

static enum status load(void *ctx, const struct snapshot_item *item) {
    struct totals *totals = ctx;
    (void)item;
    totals->items++;
    return ST_OK;
}

static enum status loaded(void *ctx) {
    (void)ctx;
    return ST_OK;
}

static enum status apply(
    void *ctx, uint64_t lsn, enum wal_op op, struct slice key, struct slice bytes) {
    struct totals *totals = ctx;
    (void)lsn, (void)op, (void)key, (void)bytes;
    totals->items++;
    return ST_OK;
}

static struct wal *restore_dir(const char *dir, struct totals *totals) {
    struct wal_options options = {.dir = dir, .segment_bytes = (size_t)64 << 20, .producers = 1};
    struct restore restore = {
        .ctx = totals, .begin = begin, .load = load, .loaded = loaded, .apply = apply};
    struct restored restored;
    struct wal *wal;
    struct buf error;
    buf_init(&error, 65536);
    check(restore_run(&options, &restore, &wal, &restored, &error), &error);
    buf_free(&error);
    return wal;
}

static void make_log(const char *dir, uint64_t keys) {
    struct totals totals;
    struct wal *wal = restore_dir(dir, &totals);
    struct buf error;
    char text[KEY_BYTES];
    buf_init(&error, 65536);
    check(wal_start(wal, &error), &error);
    for (uint64_t i = 0; i < keys; i++) {
        struct slice key = key_of(i, text);
        struct wal_record *record;
        enum status status;
        while ((status = wal_reserve(wal, 0, wal_record_bytes(1, key.len + value_len), &record)) ==
               ST_BUSY)
            wal_kick(wal);
        check(status, &error);
        wal_record_put(record, key, slice_of(value, value_len));
        (void)wal_publish(wal, record);
    }
    wal_stop(wal);
    wal_close(wal);
    buf_free(&error);
}

static void measure(const char *dir, const char *what, uint64_t keys,
    void (*make)(const char *dir, uint64_t keys)) {
    char path[DISK_PATH_BYTES_MAX];
    struct disk_file *lock;
    (void)snprintf(path, sizeof(path), "%s/%s/LOCK", dir, what);
    bool there = disk_open(path, DISK_READ, &lock) == ST_OK;
    if (there)
        disk_close(lock);
    (void)snprintf(path, sizeof(path), "%s/%s", dir, what);
    if (!there) {
        enum status status = disk_make_dir(path);
        assert(status == ST_OK);
        make(path, keys);
        (void)snprintf(path, sizeof(path), "%s/%s/LOCK", dir, what);
        status = disk_lock(path, &lock);
        assert(status == ST_OK);
        disk_close(lock);
        (void)snprintf(path, sizeof(path), "%s/%s", dir, what);
    }
    for (unsigned round = 0; round < 3; round++) {
        struct totals totals;
        uint64_t begun_ns = clock_monotonic_ns();
        struct wal *wal = restore_dir(path, &totals);
        double seconds = (double)(clock_monotonic_ns() - begun_ns) / (double)NS_PER_S;
        wal_close(wal);
        assert(totals.items == keys);
        printf("%s: %llu keys read and checked in %.3f s, %.1f million/s\n", what,
            (unsigned long long)keys, seconds, (double)keys / seconds / 1e6);
    }
}

int main(int argc, char **argv) {
    if (argc < 3) {
        fprintf(stderr, "micro_restore DIR KEYS [VALUE_BYTES]\n");
        return 2;
    }
    uint64_t keys = strtoull(argv[2], NULL, 10);
    size_t bytes = argc > 3 ? strtoull(argv[3], NULL, 10) : 100;
    assert(keys > 0 && bytes + 2 <= VALUE_BYTES_MAX && bytes <= 255);
    /* a MessagePack string */
    value[0] = (char)0xd9;
    value[1] = (char)bytes;
    memset(value + 2, 'v', bytes);
    value_len = bytes + 2;
    measure(argv[1], "snapshot", keys, make_snapshot);
    measure(argv[1], "log", keys, make_log);
    return 0;
}
