/* How fast the log takes records from N producers, and how many share a sync.
 *
 *   micro_wal [DIR [PRODUCERS [SECONDS [VALUE_BYTES [always|manual]]]]]
 *
 * Two loads: "open", where producers publish as fast as reservations are admitted, and "closed",
 * where each has 64 records outstanding and waits for its oldest to become durable, as clients do.
 *
 * What to expect. Publishing costs two contended atomic adds (reservation, LSN), a store that is
 * seen by another core, and copying the value: some 150 ns, so 5 to 10 million a second at the very
 * most on two cores, less the log thread's share: two hashes and a copy, some 100 ns a record.
 * Open: 2 to 4 million records a second of 100 bytes are 300 to 600 MB/s, more than this disk
 * writes (about 1 GB/s in the cache, half of that synced): 1 to 3 million/s. Closed, with syncs of
 * 4 KiB taking 65 us and 64 * N records in each: N = 1 gives 64 / 80 us = 0.8 million/s if waking
 * is not slower. */
#include <assert.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/clock.h"
#include "core/disk.h"
#include "core/wal.h"

#define PRODUCERS_MAX 64u
#define WINDOW 64u
#define KEY_BYTES 16u

struct producer {
    struct wal *wal;
    pthread_t thread;
    unsigned index;
    bool closed;
    size_t value_bytes;
    uint64_t end_ns;
    uint64_t published, busy;
};

static void *produce(void *ctx) {
    struct producer *self = ctx;
    static const char value[65536];
    char key[KEY_BYTES + 1];
    uint64_t window[WINDOW] = {0}; /* LSNs, a ring */
    while (clock_monotonic_ns() < self->end_ns) {
        snprintf(key, sizeof(key), "%016llx", (unsigned long long)self->published);
        struct wal_record *record;
        size_t bytes = wal_record_bytes(1, KEY_BYTES + self->value_bytes);
        if (wal_reserve(self->wal, self->index, bytes, &record) != ST_OK) {
            self->busy++;
            sched_yield();
            continue;
        }
        wal_record_put(record, slice_of(key, KEY_BYTES), slice_of(value, self->value_bytes));
        uint64_t *oldest = &window[self->published % WINDOW];
        while (self->closed && wal_durable_lsn(self->wal) < *oldest)
            sched_yield();
        *oldest = wal_publish(self->wal, record);
        self->published++;
    }
    return NULL;
}

static enum status count(
    void *ctx, uint64_t lsn, enum wal_op op, struct slice key, struct slice value) {
    (void)lsn, (void)op, (void)key, (void)value;
    ++*(uint64_t *)ctx;
    return ST_OK;
}

static struct wal *open_log(const struct wal_options *options, uint64_t *replayed) {
    struct wal_replay replay = {.ctx = replayed, .apply = count};
    struct wal *wal;
    struct buf error;
    buf_init(&error, 16384);
    enum status status = wal_open(options, &replay, &wal, &error);
    if (status == ST_OK)
        status = wal_start(wal, &error);
    if (status != ST_OK) {
        fprintf(stderr, "%.*s\n", (int)error.len, error.data);
        exit(1);
    }
    return wal;
}

static void run(
    const struct wal_options *options, bool closed, double seconds, size_t value_bytes) {
    struct producer producers[PRODUCERS_MAX];
    uint64_t before = 0, after = 0, published = 0, busy = 0;
    struct wal *wal = open_log(options, &before);
    uint64_t start_ns = clock_monotonic_ns();
    for (unsigned i = 0; i < options->producers; i++) {
        producers[i] = (struct producer){.wal = wal,
            .index = i,
            .closed = closed,
            .value_bytes = value_bytes,
            .end_ns = start_ns + (uint64_t)(seconds * 1e9)};
        int failed = pthread_create(&producers[i].thread, NULL, produce, &producers[i]);
        assert(!failed);
    }
    for (unsigned i = 0; i < options->producers; i++) {
        pthread_join(producers[i].thread, NULL);
        published += producers[i].published;
        busy += producers[i].busy;
    }
    double took = (double)(clock_monotonic_ns() - start_ns) / 1e9;
    struct wal_numbers numbers;
    wal_read_numbers(wal, &numbers);
    wal_stop(wal);
    wal_close(wal);
    double per_sync = numbers.syncs ? (double)numbers.records / (double)numbers.syncs : 0;
    printf("%-6s %9.0f records/s %7.1f MB/s %7.0f syncs/s %8.1f records/sync, refused %llu\n",
        closed ? "closed" : "open", (double)published / took, (double)numbers.bytes / took / 1e6,
        (double)numbers.syncs / took, per_sync, (unsigned long long)busy);
    uint64_t replay_ns = clock_monotonic_ns();
    wal = open_log(options, &after);
    double replay_s = (double)(clock_monotonic_ns() - replay_ns) / 1e9;
    wal_stop(wal);
    wal_close(wal);
    assert(after - before == published); /* every record is there */
    printf("       replay of %llu records: %.2f s, %.2f million/s\n", (unsigned long long)after,
        replay_s, (double)after / replay_s / 1e6);
}

static enum status remove_file(void *ctx, const char *name) {
    char path[DISK_PATH_BYTES_MAX];
    snprintf(path, sizeof(path), "%s/%s", (const char *)ctx, name);
    return disk_unlink(path);
}

int main(int argc, char **argv) {
    char made[] = "/tmp/concave-micro-XXXXXX";
    char *dir = argc > 1 ? argv[1] : mkdtemp(made);
    unsigned producers = argc > 2 ? (unsigned)atoi(argv[2]) : 1;
    double seconds = argc > 3 ? atof(argv[3]) : 2;
    size_t value_bytes = argc > 4 ? (size_t)atol(argv[4]) : 100;
    bool manual = argc > 5 && argv[5][0] == 'm';
    if (!dir || producers < 1 || producers > PRODUCERS_MAX || value_bytes > 65536 ||
        disk_make_dir(dir) != ST_OK) {
        fprintf(stderr, "usage: micro_wal [DIR [PRODUCERS [SECONDS [VALUE_BYTES [MODE]]]]]\n");
        return 2;
    }
    struct wal_options options = {.dir = dir,
        .segment_bytes = (size_t)64 << 20,
        .durability = manual ? WAL_MANUAL : WAL_ALWAYS,
        .producers = producers};
    printf("concave " CONCAVE_VERSION ", %u producers, %zu byte values, %s, in %s\n", producers,
        value_bytes, manual ? "manual" : "always", dir);
    run(&options, true, seconds, value_bytes);
    run(&options, false, seconds, value_bytes);
    if (argc <= 1 && disk_list(dir, remove_file, dir) == ST_OK)
        remove(dir);
    return 0;
}
