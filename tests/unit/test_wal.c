/* The log as a whole, stepped on one thread: what is published comes back, in order, with its LSNs.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/support/wal_log.h"

#include <stdio.h>

struct fixture {
    struct log_dir dir;
    struct wal_options options;
    struct log_replayed replayed;
};

static struct fixture fixture;

static int setup(void **state) {
    fixture = (struct fixture){0};
    log_dir_make(&fixture.dir);
    fixture.options = log_options(&fixture.dir);
    *state = &fixture;
    return 0;
}

static int teardown(void **state) {
    struct fixture *f = *state;
    log_replayed_free(&f->replayed);
    log_dir_remove(&f->dir);
    return 0;
}

static struct wal *begin(struct fixture *f) {
    log_replayed_free(&f->replayed);
    return log_begin(&f->options, &f->replayed);
}

static void end_clean(struct wal *wal) {
    wal_finish(wal);
    wal_close(wal);
}

static void end_crashed(struct wal *wal) {
    wal_close(wal);
}

static void publish_many(struct wal *wal, uint64_t from, uint64_t count, size_t longest) {
    for (uint64_t i = from; i < from + count; i++) {
        log_publish(wal, 0, i, log_value_bytes(i, longest));
        if (i % 7 == 0)
            log_settle(wal);
    }
    log_settle(wal);
}

static void assert_replayed(const struct fixture *f, uint64_t first_lsn, uint64_t count) {
    assert_int_equal(f->replayed.count, count);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(f->replayed.lsns[i], first_lsn + i);
        assert_int_equal(f->replayed.numbers[i], i);
    }
}

static struct wal_numbers numbers_of(const struct wal *wal) {
    struct wal_numbers numbers;
    wal_read_numbers(wal, &numbers);
    return numbers;
}

/* The first LSN of an empty directory is 1, and nothing is durable before. */
static void first_lsn_is_one(void **state) {
    struct wal *wal = begin(*state);
    assert_int_equal(wal_last_lsn(wal), 0);
    assert_int_equal(wal_durable_lsn(wal), 0);
    assert_int_equal(log_publish(wal, 0, 0, 10), 1);
    assert_int_equal(wal_last_lsn(wal), 1);
    end_clean(wal);
}

/* A record is durable after the step that takes it, not before. */
static void durable_after_the_step(void **state) {
    struct wal *wal = begin(*state);
    uint64_t lsn = log_publish(wal, 0, 0, 10);
    assert_int_equal(wal_durable_lsn(wal), 0);
    assert_int_equal(wal_reply_lsn(wal), 0);
    (void)wal_step(wal, 1);
    assert_int_equal(wal_durable_lsn(wal), lsn);
    end_clean(wal);
}

/* One step writes all that is ready with one sync. */
static void one_sync_a_batch(void **state) {
    struct wal *wal = begin(*state);
    for (uint64_t i = 0; i < 100; i++)
        log_publish(wal, 0, i, 10);
    (void)wal_step(wal, 1);
    assert_int_equal(wal_durable_lsn(wal), 100);
    assert_int_equal(numbers_of(wal).syncs, 1);
    assert_int_equal(numbers_of(wal).records, 100);
    end_clean(wal);
}

/* A clean stop keeps every record; the log goes on with the next LSN in the same segment. */
static void clean_reopen_keeps_all(void **state) {
    struct fixture *f = *state;
    f->options.segment_bytes = 1 << 20;
    struct wal *wal = begin(f);
    publish_many(wal, 0, 20, 100);
    end_clean(wal);
    for (uint64_t round = 1; round < 4; round++) {
        wal = begin(f);
        assert_replayed(f, 1, 20 * round);
        assert_int_equal(wal_last_lsn(wal), 20 * round);
        assert_int_equal(wal_durable_lsn(wal), 20 * round);
        publish_many(wal, 20 * round, 20, 100);
        end_clean(wal);
    }
    assert_int_equal(log_dir_count(&f->dir, ".log"), 1);
    assert_int_equal(log_dir_count(&f->dir, ".tmp"), 0);
}

/* A crash keeps every durable record, also over many segments, and leaves no files behind. */
static void crash_keeps_what_is_durable(void **state) {
    struct fixture *f = *state;
    struct wal *wal = begin(f);
    publish_many(wal, 0, 300, 3000);
    assert_int_equal(wal_durable_lsn(wal), 300);
    assert_true(numbers_of(wal).segments > 5);
    assert_int_equal(numbers_of(wal).segments, log_dir_count(&f->dir, ".log"));
    end_crashed(wal);
    wal = begin(f);
    assert_replayed(f, 1, 300);
    assert_true(log_dir_count(&f->dir, ".tmp") <= 1);
    end_clean(wal);
    assert_int_equal(log_dir_count(&f->dir, ".tmp"), 0);
}

/* The longest record that is admitted, half a segment, is written and comes back; a longer one is
 * refused as too large. */
static void half_a_segment_fits(void **state) {
    struct fixture *f = *state;
    struct wal *wal = begin(f);
    size_t longest = wal_record_bytes_max(wal);
    size_t value_bytes = longest - wal_record_bytes(1, 0) - 8;
    struct wal_record *record;
    assert_int_equal(longest, 32768);
    assert_int_equal(wal_reserve(wal, 0, longest + 8, &record), ST_TOO_LARGE);
    for (uint64_t i = 0; i < 4; i++) {
        log_publish(wal, 0, i, value_bytes);
        log_settle(wal);
    }
    end_crashed(wal);
    wal = begin(f);
    assert_replayed(f, 1, 4);
    end_clean(wal);
}

/* All kinds of operations come back as they were given, in one record. */
static enum status note_operation(
    void *ctx, uint64_t lsn, enum wal_op op, struct slice key, struct slice value) {
    struct buf *out = ctx;
    buf_printf(out, "%llu %d %.*s=%.*s;", (unsigned long long)lsn, (int)op, (int)key.len, key.data,
        (int)value.len, value.data);
    return ST_OK;
}

static void operations_come_back(void **state) {
    struct fixture *f = *state;
    struct wal *wal = begin(f);
    struct wal_record *record;
    assert_int_equal(wal_reserve(wal, 0, wal_record_bytes(4, 7), &record), ST_OK);
    wal_record_put(record, SLICE("a"), SLICE("one"));
    wal_record_delete(record, SLICE("bc"));
    wal_record_first_run(record);
    wal_record_put(record, SLICE("d"), SLICE(""));
    assert_int_equal(wal_publish(wal, record), 1);
    wal_kick(wal);
    end_clean(wal);
    struct buf out, error;
    buf_init(&out, 1024);
    buf_init(&error, 1024);
    struct wal_replay replay = {.ctx = &out, .apply = note_operation};
    assert_int_equal(wal_open(&f->options, &replay, &wal, &error), ST_OK);
    buf_append_byte(&out, '\0');
    assert_string_equal(out.data, "1 1 a=one;1 2 bc=;1 3 =;1 1 d=;");
    wal_close(wal);
    buf_free(&out);
}

/* A status from replay's callback ends the opening with it. */
static enum status fail_apply(
    void *ctx, uint64_t lsn, enum wal_op op, struct slice key, struct slice value) {
    (void)ctx, (void)op, (void)key, (void)value;
    return lsn == 2 ? ST_NOMEM : ST_OK;
}

static void replay_may_fail(void **state) {
    struct fixture *f = *state;
    struct wal *wal = begin(f);
    publish_many(wal, 0, 3, 10);
    end_clean(wal);
    struct buf error;
    buf_init(&error, 1024);
    struct wal_replay replay = {.apply = fail_apply};
    assert_int_equal(wal_open(&f->options, &replay, &wal, &error), ST_NOMEM);
    assert_null(wal);
    assert_non_null(strstr(error.data, "LSN 2 "));
    buf_free(&error);
}

/* A cancelled reservation leaves no trace, and its slot can be had again without end. */
static void cancel_gives_back(void **state) {
    struct fixture *f = *state;
    f->options.ring_slots = 2;
    struct wal *wal = begin(f);
    struct wal_record *one, *two, *three;
    for (unsigned i = 0; i < 100; i++) {
        assert_int_equal(wal_reserve(wal, 0, 64, &one), ST_OK);
        assert_int_equal(wal_reserve(wal, 0, 64, &two), ST_OK);
        assert_int_equal(wal_reserve(wal, 0, 64, &three), ST_BUSY);
        wal_cancel(wal, one);
        wal_cancel(wal, two);
    }
    assert_int_equal(wal_last_lsn(wal), 0);
    end_clean(wal);
}

/* A full ring refuses until the log thread has written; then it takes records again. */
static void full_ring_is_busy(void **state) {
    struct fixture *f = *state;
    f->options.ring_slots = 4;
    struct wal *wal = begin(f);
    struct wal_record *record;
    for (uint64_t round = 0; round < 50; round++) {
        for (uint64_t i = 0; i < 4; i++)
            log_publish(wal, 0, 4 * round + i, 20);
        assert_int_equal(wal_reserve(wal, 0, 64, &record), ST_BUSY);
        log_settle(wal);
    }
    end_clean(wal);
    wal = begin(f);
    assert_replayed(f, 1, 200);
    end_clean(wal);
}

/* In manual mode replies need not wait, and nothing is synced until someone asks. */
static void manual_syncs_when_asked(void **state) {
    struct fixture *f = *state;
    f->options.durability = WAL_MANUAL;
    struct wal *wal = begin(f);
    assert_true(wal_reply_lsn(wal) == UINT64_MAX);
    publish_many(wal, 0, 5, 10);
    assert_int_equal(wal_durable_lsn(wal), 0);
    assert_true(wal_step(wal, UINT64_MAX - 1) == UINT64_MAX);
    assert_int_equal(wal_durable_lsn(wal), 0);
    wal_request_sync(wal);
    log_settle(wal);
    assert_int_equal(wal_durable_lsn(wal), 5);
    end_clean(wal);
}

/* A sync that was asked for covers records drawn before, even if they reach the ring later. */
static void request_covers_what_was_drawn(void **state) {
    struct fixture *f = *state;
    f->options.durability = WAL_MANUAL;
    struct wal *wal = begin(f);
    publish_many(wal, 0, 1, 10);
    struct wal_record *record;
    assert_int_equal(wal_reserve(wal, 0, 64, &record), ST_OK);
    /* A publisher between its two steps: the LSN is drawn, the slot is empty. */
    uint64_t lsn = atomic_fetch_add(&wal->ring.next, 1);
    wal_request_sync(wal);
    log_settle(wal);
    assert_int_equal(wal_durable_lsn(wal), lsn - 1);
    wal_record_finish(record);
    atomic_store(&wal->ring.slots[lsn & (wal->ring.size - 1)], record);
    log_settle(wal);
    assert_int_equal(wal_durable_lsn(wal), lsn);
    end_clean(wal);
}

/* In interval mode the sync comes when the interval is over, and the step says when. */
static void interval_syncs_in_time(void **state) {
    struct fixture *f = *state;
    f->options.durability = WAL_INTERVAL;
    f->options.interval_ms = 1000;
    struct wal *wal = begin(f);
    log_settle(wal);
    wal->synced_ns = 5000000000;
    log_publish(wal, 0, 0, 10);
    uint64_t due_ns = wal_step(wal, 5500000000);
    assert_int_equal(due_ns, 6000000000);
    assert_int_equal(wal_durable_lsn(wal), 0);
    (void)wal_step(wal, due_ns);
    assert_int_equal(wal_durable_lsn(wal), 1);
    end_clean(wal);
}

/* A batch delay makes records wait for company, but no longer than that. */
static void batch_delay_gathers(void **state) {
    struct fixture *f = *state;
    f->options.batch_delay_us = 100;
    struct wal *wal = begin(f);
    log_publish(wal, 0, 0, 10);
    assert_int_equal(wal_step(wal, 1000000), 1100000);
    log_publish(wal, 0, 1, 10);
    assert_int_equal(wal_step(wal, 1050000), 1100000);
    assert_int_equal(wal_durable_lsn(wal), 0);
    (void)wal_step(wal, 1100000);
    assert_int_equal(wal_durable_lsn(wal), 2);
    assert_int_equal(numbers_of(wal).syncs, 1);
    end_clean(wal);
}

/* Records that had to wait for room have waited long enough: once there is room they are written,
 * delay or not, since nobody may come who would ring the bell again. */
static void room_ends_the_delay(void **state) {
    struct fixture *f = *state;
    f->options.batch_delay_us = 100;
    f->options.segment_bytes = 8 << 20;
    struct wal *wal = begin(f);
    uint64_t records = 0, now_ns = 1000000;
    while (!wal->blocked && records < 64) { /* until the filled part of the segment is full */
        log_publish(wal, 0, records++, 64 << 10);
        now_ns += 200000;
        (void)wal_step(wal, now_ns);
        (void)wal_step(wal, now_ns + 100000);
    }
    if (!wal->blocked)
        skip(); /* a file system that cannot reserve room: segments are filled beforehand */
    assert_int_equal(wal_durable_lsn(wal), records - 1);
    assert_true(wal_prepare_step(wal)); /* which rings the bell */
    (void)wal_step(wal, now_ns + 200000);
    assert_int_equal(wal_durable_lsn(wal), records);
    end_clean(wal);
}

/* A small batch waits for who has reserved, four syncs' time at most, and for no one else. */
static void prepared_ones_are_waited_for(void **state) {
    struct fixture *f = *state;
    struct wal *wal = begin(f);
    log_settle(wal);
    wal->sync_took_ns = 50000;
    log_publish(wal, 0, 0, 10);
    struct wal_record *record;
    assert_int_equal(wal_reserve(wal, 0, 64, &record), ST_OK);
    assert_int_equal(wal_step(wal, 1000000), 1200000);
    assert_int_equal(wal_step(wal, 1100000), 1200000);
    assert_int_equal(wal_durable_lsn(wal), 0);
    (void)wal_step(wal, 1200000); /* it did not come */
    assert_int_equal(wal_durable_lsn(wal), 1);
    log_publish(wal, 0, 1, 10);
    wal->sync_took_ns = 50000;
    assert_int_equal(wal_step(wal, 2000000), 2200000);
    wal_cancel(wal, record); /* it never will */
    (void)wal_step(wal, 2000001);
    assert_int_equal(wal_durable_lsn(wal), 2);
    end_clean(wal);
}

/* Enough records are not held back, whoever may come. */
static void full_batches_do_not_wait(void **state) {
    struct fixture *f = *state;
    struct wal *wal = begin(f);
    log_settle(wal);
    wal->sync_took_ns = 50000;
    struct wal_record *record;
    assert_int_equal(wal_reserve(wal, 0, 64, &record), ST_OK);
    for (uint64_t i = 0; i < 20; i++)
        log_publish(wal, 0, i, 10);
    (void)wal_step(wal, 1000000);
    assert_int_equal(wal_durable_lsn(wal), 20);
    assert_int_equal(numbers_of(wal).syncs, 1);
    wal_cancel(wal, record);
    end_clean(wal);
}

static void crash_with_mode(struct fixture *f, enum wal_durability durability, bool clean) {
    f->options.durability = durability;
    struct wal *wal = begin(f);
    uint64_t before = f->replayed.count;
    publish_many(wal, before, 3, 10);
    clean ? end_clean(wal) : end_crashed(wal);
}

/* After an unclean stop in manual mode, LSNs go on 2^32 later: none that a reply may have shown is
 * used again. */
static void unclean_manual_skips_lsns(void **state) {
    struct fixture *f = *state;
    crash_with_mode(f, WAL_MANUAL, false);
    struct wal *wal = begin(f);
    assert_int_equal(f->replayed.count, 3);
    assert_int_equal(wal_last_lsn(wal), 3 + WAL_LSN_SKIP);
    assert_int_equal(log_publish(wal, 0, 3, 10), 4 + WAL_LSN_SKIP);
    end_clean(wal);
    wal = begin(f);
    assert_int_equal(f->replayed.count, 4);
    assert_int_equal(f->replayed.lsns[2], 3);
    assert_int_equal(f->replayed.lsns[3], 4 + WAL_LSN_SKIP);
    assert_int_equal(wal_last_lsn(wal), 4 + WAL_LSN_SKIP);
    end_clean(wal);
}

/* On a full disk there may be no segment yet to say that LSNs were skipped. A snapshot that is
 * taken meanwhile is of what was found, and the next start finds that too. */
static void skipped_lsns_count_once_they_are_declared(void **state) {
    struct fixture *f = *state;
    char error[1024];
    crash_with_mode(f, WAL_MANUAL, false);
    struct wal *wal;
    assert_int_equal(log_open(&f->options, &wal, &f->replayed, error, sizeof(error)), ST_OK);
    assert_int_equal(wal_last_lsn(wal), 3);
    assert_true(wal_durable_lsn(wal) >= 3);
    f->options.snapshot_lsn = f->options.snapshot_applied = wal_last_lsn(wal);
    wal_close(wal);
    wal = begin(f);
    assert_int_equal(wal_last_lsn(wal), 3 + WAL_LSN_SKIP);
    end_clean(wal);
}

/* So they do if the next start is in another mode, and again after each unclean stop, also of runs
 * that wrote nothing. */
static void every_unclean_relaxed_run_skips(void **state) {
    struct fixture *f = *state;
    crash_with_mode(f, WAL_INTERVAL, false);
    for (uint64_t i = 1; i < 4; i++) {
        struct wal *wal = begin(f);
        assert_int_equal(wal_last_lsn(wal), 3 + i * WAL_LSN_SKIP);
        end_crashed(wal);
    }
    f->options.durability = WAL_ALWAYS;
    struct wal *wal = begin(f);
    assert_int_equal(wal_last_lsn(wal), 3 + 4 * WAL_LSN_SKIP);
    log_publish(wal, 0, 3, 10);
    log_settle(wal);
    end_crashed(wal);
    wal = begin(f);
    assert_int_equal(wal_last_lsn(wal), 4 + 4 * WAL_LSN_SKIP);
    end_clean(wal);
}

/* After a clean stop no LSN is skipped, in any change of modes. */
static void clean_stop_skips_nothing(void **state) {
    static const enum wal_durability modes[] = {
        WAL_MANUAL, WAL_MANUAL, WAL_ALWAYS, WAL_ALWAYS, WAL_INTERVAL, WAL_ALWAYS, WAL_MANUAL};
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
        crash_with_mode(f, modes[i], true);
        assert_replayed(f, 1, 3 * i);
    }
    /* runs that write nothing change nothing */
    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
        f->options.durability = modes[i];
        struct wal *wal = begin(f);
        assert_int_equal(wal_last_lsn(wal), 21);
        struct wal_numbers numbers = numbers_of(wal);
        assert_int_equal(numbers.segments, log_dir_count(&f->dir, ".log"));
        end_clean(wal);
    }
}

/* A mark of a clean end is taken back on disk by the next relaxed start, before any record: a crash
 * after it, with nothing of it on disk, is still seen as unclean. */
static void clean_mark_does_not_outlive_its_run(void **state) {
    struct fixture *f = *state;
    crash_with_mode(f, WAL_MANUAL, true);
    struct wal *wal = begin(f);
    assert_int_equal(wal_last_lsn(wal), 3);
    log_publish(wal, 0, 3, 10); /* shown to a client as 4, never written */
    end_crashed(wal);
    wal = begin(f);
    assert_int_equal(wal_last_lsn(wal), 3 + WAL_LSN_SKIP);
    end_clean(wal);
}

/* An unclean stop in always mode skips nothing: no reply can have shown a lost LSN. */
static void unclean_always_skips_nothing(void **state) {
    struct fixture *f = *state;
    for (size_t i = 0; i < 4; i++) {
        crash_with_mode(f, WAL_ALWAYS, false);
        assert_replayed(f, 1, 3 * i);
    }
}

/* Restarts leave no unused room behind: a segment that is not gone on with is cut to what it holds.
 */
static void restarts_do_not_pile_up_room(void **state) {
    struct fixture *f = *state;
    for (unsigned i = 0; i < 5; i++)
        crash_with_mode(f, WAL_MANUAL, false);
    char path[512];
    struct disk_file *file;
    uint64_t bytes;
    snprintf(path, sizeof(path), "%s/wal-%020u.log", f->dir.path, 1);
    assert_int_equal(disk_open(path, DISK_READ, &file), ST_OK);
    assert_int_equal(disk_size(file, &bytes), ST_OK);
    disk_close(file);
    assert_int_equal(bytes, 3 * WAL_BLOCK_BYTES); /* the header and two batches */
    assert_int_equal(log_dir_count(&f->dir, ".log"), 5);
}

/* A producer that announced itself is woken once by the next sync, others are not. */
static void count_wake(void *ctx, unsigned producer) {
    unsigned *woken = ctx;
    woken[producer]++;
}

static void announced_producers_are_woken(void **state) {
    struct fixture *f = *state;
    unsigned woken[3] = {0};
    f->options.producers = 3;
    f->options.wake = count_wake;
    f->options.wake_ctx = woken;
    struct wal *wal = begin(f);
    log_publish(wal, 0, 0, 10);
    assert_int_equal(wal_announce(wal, 1), 0);
    log_settle(wal);
    assert_int_equal(wal_announce(wal, 2), 1);
    log_publish(wal, 0, 1, 10);
    log_settle(wal);
    log_publish(wal, 0, 2, 10);
    log_settle(wal);
    assert_int_equal(woken[0], 0);
    assert_int_equal(woken[1], 1);
    assert_int_equal(woken[2], 1);
    end_clean(wal);
}

/* The salt of a directory never changes; the one given is that of an empty directory. */
static void salt_stays(void **state) {
    struct fixture *f = *state;
    struct buf error;
    uint64_t salt = 0;
    buf_init(&error, 1024);
    assert_int_equal(wal_read_salt(f->dir.path, &salt, &error), ST_OK);
    assert_true(salt != 0);
    f->options.salt = salt;
    struct wal *wal = begin(f);
    assert_true(wal_salt(wal) == salt);
    end_clean(wal);
    f->options.salt = salt + 1;
    wal = begin(f);
    assert_true(wal_salt(wal) == salt);
    end_clean(wal);
    uint64_t again = 0;
    assert_int_equal(wal_read_salt(f->dir.path, &again, &error), ST_OK);
    assert_true(again == salt);
    buf_free(&error);
}

/* A log that ends before what the snapshot holds is refused; so is one that begins after it. */
static void log_must_meet_the_snapshot(void **state) {
    struct fixture *f = *state;
    char error[1024];
    struct wal *wal = begin(f);
    publish_many(wal, 0, 200, 2000);
    end_clean(wal);
    f->options.snapshot_lsn = 200;
    log_replayed_free(&f->replayed);
    assert_int_equal(log_open(&f->options, &wal, &f->replayed, NULL, 0), ST_OK);
    wal_close(wal);
    f->options.snapshot_lsn = 201;
    assert_int_equal(log_open(&f->options, &wal, &f->replayed, error, sizeof(error)), ST_CORRUPT);
    assert_non_null(strstr(error, "LSN 201"));
    char path[512];
    snprintf(path, sizeof(path), "%s/wal-%020u.log", f->dir.path, 1);
    assert_int_equal(disk_unlink(path), ST_OK);
    f->options.snapshot_lsn = 0;
    assert_int_equal(log_open(&f->options, &wal, &f->replayed, error, sizeof(error)), ST_CORRUPT);
    f->options.snapshot_lsn = 150;
    assert_int_equal(log_open(&f->options, &wal, &f->replayed, error, sizeof(error)), ST_OK);
    wal_close(wal);
}

/* Files that are not of the log are left alone. */
static void stray_files_stay(void **state) {
    struct fixture *f = *state;
    struct disk_file *file;
    char path[512];
    snprintf(path, sizeof(path), "%s/wal-7.log", f->dir.path);
    assert_int_equal(disk_open(path, DISK_CREATE, &file), ST_OK);
    disk_close(file);
    struct wal *wal = begin(f);
    publish_many(wal, 0, 3, 10);
    end_clean(wal);
    assert_int_equal(disk_open(path, DISK_READ, &file), ST_OK);
    disk_close(file);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(first_lsn_is_one),
        TEST(durable_after_the_step),
        TEST(one_sync_a_batch),
        TEST(clean_reopen_keeps_all),
        TEST(crash_keeps_what_is_durable),
        TEST(half_a_segment_fits),
        TEST(operations_come_back),
        TEST(replay_may_fail),
        TEST(cancel_gives_back),
        TEST(full_ring_is_busy),
        TEST(manual_syncs_when_asked),
        TEST(request_covers_what_was_drawn),
        TEST(interval_syncs_in_time),
        TEST(batch_delay_gathers),
        TEST(room_ends_the_delay),
        TEST(prepared_ones_are_waited_for),
        TEST(full_batches_do_not_wait),
        TEST(unclean_manual_skips_lsns),
        TEST(skipped_lsns_count_once_they_are_declared),
        TEST(every_unclean_relaxed_run_skips),
        TEST(clean_stop_skips_nothing),
        TEST(clean_mark_does_not_outlive_its_run),
        TEST(unclean_always_skips_nothing),
        TEST(restarts_do_not_pile_up_room),
        TEST(announced_producers_are_woken),
        TEST(salt_stays),
        TEST(log_must_meet_the_snapshot),
        TEST(stray_files_stay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
