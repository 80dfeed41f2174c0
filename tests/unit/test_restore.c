/* Restoring a directory: every combination of snapshots, good and damaged, and of segments that are
 * there or not. What is restored is the state at the log's end, or the start is refused.
 *
 * One history is the base of all: records 1 to 60, each of two operations on few keys, deletes
 * included, over several segments, with snapshots taken at two places as a server takes them: two
 * shards frozen at different instants behind s. A model says what the state is at each LSN. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/restore.h"
#include "core/wal_reader.h"
#include "tests/support/wal_log.h"

#define KEYS 12u
#define RECORDS 60u
#define OLDER 20u /* LSNs of the snapshots */
#define NEWER 40u
#define N_BEHIND 6u /* N - s */
#define VALUE_BYTES 2000u

struct state {
    uint64_t versions[KEYS]; /* 0 = absent */
};

static struct log_dir dir, base;
static struct state model[RECORDS + 1]; /* by LSN */

/* ---- the history ---- */

static size_t key_text(unsigned key, char *text) {
    return (size_t)snprintf(text, 16, "key-%02u", key);
}

/* What record `lsn` does: a put of one key, a put or delete of another. */
static unsigned put_key(uint64_t lsn) {
    return (unsigned)(lsn * 5 % KEYS);
}
static unsigned other_key(uint64_t lsn) {
    return (unsigned)((lsn * 5 + 1 + lsn % 3) % KEYS);
}
static bool deletes(uint64_t lsn) {
    return lsn % 2 == 0;
}

static size_t value_text(uint64_t lsn, char *text) {
    memset(text, 'v', VALUE_BYTES);
    return (size_t)snprintf(text, VALUE_BYTES, "%llu ", (unsigned long long)lsn) + VALUE_BYTES / 2;
}

static void make_model(void) {
    for (uint64_t lsn = 1; lsn <= RECORDS; lsn++) {
        model[lsn] = model[lsn - 1];
        model[lsn].versions[put_key(lsn)] = lsn;
        model[lsn].versions[other_key(lsn)] = deletes(lsn) ? 0 : lsn;
    }
}

static void publish(struct wal *wal, uint64_t lsn) {
    char key[16], value[VALUE_BYTES];
    struct wal_record *record;
    size_t value_len = value_text(lsn, value);
    assert_int_equal(wal_reserve(wal, 0, wal_record_bytes(3, 64 + 2 * value_len), &record), ST_OK);
    if (lsn == 1)
        wal_record_first_run(record);
    wal_record_put(record, slice_of(key, key_text(put_key(lsn), key)), slice_of(value, value_len));
    size_t key_len = key_text(other_key(lsn), key);
    if (deletes(lsn))
        wal_record_delete(record, slice_of(key, key_len));
    else
        wal_record_put(record, slice_of(key, key_len), slice_of(value, value_len));
    assert_int_equal(wal_publish(wal, record), lsn);
    log_settle(wal);
}

/* Even keys are of a shard that was frozen at s, odd ones of another that was frozen at N. */
static void write_snapshot(uint64_t s, uint64_t n) {
    struct snapshot_writer *writer;
    struct buf error;
    buf_init(&error, 4096);
    assert_int_equal(snapshot_writer_open(dir.path, 42, s, true, &writer, &error), ST_OK);
    for (unsigned i = 0; i < KEYS; i++) {
        char key[16], value[VALUE_BYTES];
        uint64_t version = model[i % 2 ? n : s].versions[i];
        size_t key_len = key_text(i, key);
        if (version > 0)
            assert_int_equal(snapshot_writer_add(writer, slice_of(key, key_len), version,
                                 slice_of(value, value_text(version, value))),
                ST_OK);
    }
    assert_int_equal(snapshot_writer_finish(writer, n), ST_OK);
    assert_int_equal(snapshot_writer_publish(writer), ST_OK);
    buf_free(&error);
}

static struct wal_options options_of_case(void) {
    struct wal_options options = log_options(&dir);
    options.segment_bytes = WAL_SEGMENT_BYTES_MIN;
    return options;
}

static enum status apply_nothing(
    void *ctx, uint64_t lsn, enum wal_op op, struct slice key, struct slice value) {
    (void)ctx, (void)lsn, (void)op, (void)key, (void)value;
    return ST_OK;
}

static void write_log(uint64_t last_lsn) {
    struct wal_options options = options_of_case();
    struct wal_replay replay = {.apply = apply_nothing};
    struct wal *wal;
    struct buf error;
    buf_init(&error, 4096);
    assert_int_equal(wal_open(&options, &replay, &wal, &error), ST_OK);
    assert_int_equal(wal_begin(wal, &error), ST_OK);
    for (uint64_t lsn = 1; lsn <= last_lsn; lsn++)
        publish(wal, lsn);
    wal_close(wal);
    buf_free(&error);
}

static int make_base(void **state) {
    (void)state;
    log_dir_make(&dir);
    log_dir_make(&base);
    make_model();
    write_log(RECORDS);
    write_snapshot(OLDER, OLDER + N_BEHIND);
    write_snapshot(NEWER, NEWER + N_BEHIND);
    log_dir_copy(&dir, &base);
    return 0;
}

static int remove_base(void **state) {
    (void)state;
    log_dir_remove(&dir);
    log_dir_remove(&base);
    return 0;
}

static int setup(void **state) {
    (void)state;
    log_dir_copy(&base, &dir);
    return 0;
}

/* ---- restoring into a state ---- */

struct target {
    struct state state;
    char values[KEYS][VALUE_BYTES];
    bool ready, first_run;
    uint64_t salt, keys; /* as announced */
    unsigned begun, operations;
    uint64_t first_lsn; /* of the first operation of the log */
};

static unsigned key_number(struct slice key) {
    assert_int_equal(key.len, 6);
    return (unsigned)((key.data[4] - '0') * 10 + (key.data[5] - '0'));
}

static enum status begin(void *ctx, uint64_t salt, uint64_t keys) {
    struct target *target = ctx;
    unsigned begun = target->begun + 1;
    *target = (struct target){.begun = begun, .salt = salt, .keys = keys};
    return ST_OK;
}

static void set(struct target *target, struct slice key, uint64_t version, struct slice value) {
    unsigned number = key_number(key);
    assert_true(number < KEYS && value.len < VALUE_BYTES);
    target->state.versions[number] = version;
    memcpy(target->values[number], value.data, value.len);
}

static enum status load(void *ctx, const struct snapshot_item *item) {
    struct target *target = ctx;
    assert_false(target->ready);
    set(target, item->key, item->version, item->value);
    return ST_OK;
}

static enum status loaded(void *ctx) {
    struct target *target = ctx;
    target->ready = true;
    return ST_OK;
}

static enum status apply(
    void *ctx, uint64_t lsn, enum wal_op op, struct slice key, struct slice value) {
    struct target *target = ctx;
    assert_true(target->ready);
    if (target->operations++ == 0)
        target->first_lsn = lsn;
    if (op == WAL_FIRST_RUN)
        target->first_run = true;
    else if (target->state.versions[key_number(key)] >= lsn)
        return ST_OK;
    else if (op == WAL_DELETE)
        target->state.versions[key_number(key)] = 0;
    else
        set(target, key, lsn, value);
    return ST_OK;
}

struct outcome {
    enum status status;
    struct target target;
    struct restored restored;
    char error[16384];
};

static struct outcome outcome;

static void restore_dir(struct wal **wal) {
    struct wal_options options = options_of_case();
    struct restore restore = {
        .ctx = &outcome.target, .begin = begin, .load = load, .loaded = loaded, .apply = apply};
    struct buf error;
    buf_init(&error, sizeof(outcome.error) - 1);
    outcome = (struct outcome){0};
    outcome.status = restore_run(&options, &restore, wal, &outcome.restored, &error);
    if (error.len)
        memcpy(outcome.error, error.data, error.len);
    buf_free(&error);
}

static void assert_state(uint64_t lsn) {
    for (unsigned i = 0; i < KEYS; i++) {
        char value[VALUE_BYTES];
        uint64_t version = model[lsn].versions[i];
        assert_int_equal(outcome.target.state.versions[i], version);
        if (version > 0)
            assert_memory_equal(outcome.target.values[i], value, value_text(version, value));
    }
}

/* All of the history is there, from this snapshot (0: none), and again at a second start. */
static void assert_restores_from(uint64_t snapshot_lsn, unsigned passed_over) {
    for (unsigned start = 0; start < 2; start++) {
        struct wal *wal;
        restore_dir(&wal);
        if (outcome.status != ST_OK)
            print_error("%s\n", outcome.error);
        assert_int_equal(outcome.status, ST_OK);
        assert_int_equal(outcome.restored.has_snapshot, snapshot_lsn > 0);
        assert_int_equal(outcome.restored.snapshot.lsn, snapshot_lsn);
        assert_int_equal(outcome.restored.passed_over, passed_over);
        assert_int_equal(outcome.target.salt, 42);
        assert_int_equal(outcome.target.keys, outcome.restored.snapshot.keys);
        assert_int_equal(outcome.target.first_lsn, snapshot_lsn + 1);
        assert_true(outcome.target.first_run || outcome.restored.snapshot.first_run);
        assert_int_equal(wal_last_lsn(wal), RECORDS);
        assert_state(RECORDS);
        wal_close(wal);
    }
}

static void assert_refused(const char *text) {
    struct wal *wal;
    restore_dir(&wal);
    assert_null(wal);
    assert_true(outcome.status == ST_CORRUPT || outcome.status == ST_INVALID);
    if (!strstr(outcome.error, text))
        print_error("%s\n", outcome.error);
    assert_non_null(strstr(outcome.error, text));
}

/* ---- doing things to the directory ---- */

static void file_path(const char *name, char *path) {
    snprintf(path, 256, "%s/%s", dir.path, name);
}

static void remove_snapshot(uint64_t lsn) {
    char name[SNAPSHOT_NAME_BYTES], path[256];
    snapshot_name(lsn, name);
    file_path(name, path);
    assert_int_equal(disk_unlink(path), ST_OK);
}

static void flip(const char *name, uint64_t offset) {
    char path[256];
    struct disk_file *file;
    unsigned char byte;
    size_t got;
    file_path(name, path);
    assert_int_equal(disk_open(path, DISK_UPDATE, &file), ST_OK);
    assert_int_equal(disk_read(file, offset, &byte, 1, &got), ST_OK);
    byte ^= 0x10;
    assert_int_equal(disk_write(file, offset, &byte, 1), ST_OK);
    disk_close(file);
}

/* In the header, or among the items, so that some have been loaded already. */
static void damage_snapshot(uint64_t lsn, uint64_t offset) {
    char name[SNAPSHOT_NAME_BYTES];
    snapshot_name(lsn, name);
    flip(name, offset);
}

/* Segments: those before the one that has LSN `lsn`. */
static size_t remove_segments_before(uint64_t lsn) {
    uint64_t *first_lsns;
    size_t count;
    struct buf error;
    buf_init(&error, 4096);
    assert_int_equal(wal_list_segments(dir.path, false, &first_lsns, &count, &error), ST_OK);
    assert_true(count >= 4);
    size_t needed = wal_first_needed(first_lsns, count, lsn - 1);
    for (size_t i = 0; i < needed; i++) {
        char name[WAL_NAME_BYTES], path[256];
        wal_segment_name(first_lsns[i], name);
        file_path(name, path);
        assert_int_equal(disk_unlink(path), ST_OK);
    }
    free(first_lsns);
    buf_free(&error);
    return needed;
}

static uint64_t first_segment_behind(uint64_t lsn) {
    uint64_t *first_lsns, found = 0;
    size_t count;
    struct buf error;
    buf_init(&error, 4096);
    assert_int_equal(wal_list_segments(dir.path, false, &first_lsns, &count, &error), ST_OK);
    for (size_t i = count; i > 0; i--)
        if (first_lsns[i - 1] > lsn)
            found = first_lsns[i - 1];
    assert_true(found > 0);
    free(first_lsns);
    buf_free(&error);
    return found;
}

/* All segments. */
static void remove_log(void) {
    char name[WAL_NAME_BYTES], path[256];
    (void)remove_segments_before(RECORDS + 1);
    wal_segment_name(first_segment_behind(0), name);
    file_path(name, path);
    assert_int_equal(disk_unlink(path), ST_OK);
}

/* ---- tests ---- */

static void without_snapshots_the_log_is_all(void **state) {
    (void)state;
    remove_snapshot(OLDER);
    remove_snapshot(NEWER);
    assert_restores_from(0, 0);
}

static void one_snapshot(void **state) {
    (void)state;
    remove_snapshot(NEWER);
    assert_true(remove_segments_before(OLDER + 1) > 0);
    assert_restores_from(OLDER, 0);
}

static void the_newest_of_two(void **state) {
    (void)state;
    assert_true(remove_segments_before(OLDER + 1) > 0);
    assert_restores_from(NEWER, 0);
}

/* Segments before the one that is needed may have holes: a crash while they were removed. */
static void holes_before_the_snapshot_do_not_matter(void **state) {
    (void)state;
    char name[WAL_NAME_BYTES], path[256];
    wal_segment_name(first_segment_behind(1), name);
    file_path(name, path);
    assert_int_equal(disk_unlink(path), ST_OK);
    assert_restores_from(NEWER, 0);
}

static const uint64_t places[] = {0, 12, 40, 66, 80, 3000};
#define PLACES (sizeof(places) / sizeof(places[0]))

static void a_damaged_one_is_passed_over(void **state) {
    for (size_t i = 0; i < PLACES; i++) {
        setup(state);
        assert_true(remove_segments_before(OLDER + 1) > 0);
        damage_snapshot(NEWER, places[i]);
        assert_restores_from(OLDER, 1);
        assert_true(outcome.target.begun <= 2);
    }
}

static void all_damaged_but_the_whole_log_is_there(void **state) {
    for (size_t i = 0; i < PLACES; i++) {
        setup(state);
        damage_snapshot(NEWER, places[i]);
        damage_snapshot(OLDER, places[PLACES - 1 - i]);
        assert_restores_from(0, 2);
    }
}

static void all_damaged_is_refused_without_the_whole_log(void **state) {
    for (size_t i = 0; i < PLACES; i++) {
        setup(state);
        assert_true(remove_segments_before(OLDER + 1) > 0);
        damage_snapshot(NEWER, places[i]);
        damage_snapshot(OLDER, places[i]);
        assert_refused("snapshot-00000000000000000040.snap: offset ");
        assert_refused("snapshot-00000000000000000020.snap: offset ");
        assert_refused("does not make up for it");
    }
}

static void the_older_ones_segments_must_be_there(void **state) {
    (void)state;
    assert_true(remove_segments_before(NEWER + 1) > 0);
    assert_restores_from(NEWER, 0);
    damage_snapshot(NEWER, 80);
    assert_refused("does not make up for it");
    assert_non_null(strstr(outcome.error, "goes on after LSN"));
}

static void a_gap_behind_the_snapshot_is_refused(void **state) {
    (void)state;
    (void)remove_segments_before(first_segment_behind(NEWER + 1) + 1);
    assert_refused("goes on after LSN");
}

static void no_log_is_refused(void **state) {
    (void)state;
    remove_log();
    assert_refused("no log segment is there");
}

/* An unreadable record that no other record vouches for is a torn end, unless a snapshot says that
 * it was durable: up to N, or, of a damaged one, up to the LSN in its name. */
static void a_log_that_ends_before_n_is_refused(void **state) {
    for (uint64_t end = NEWER - 3; end < NEWER + N_BEHIND + 3; end++) {
        for (unsigned damaged = 0; damaged < 2; damaged++) {
            struct wal *wal;
            setup(state);
            remove_log();
            write_log(end);
            if (damaged)
                damage_snapshot(NEWER, 70);
            if (end < (damaged ? NEWER : NEWER + N_BEHIND)) {
                assert_refused("shows that it was on disk");
                continue;
            }
            restore_dir(&wal);
            assert_int_equal(outcome.status, ST_OK);
            assert_state(end);
            wal_close(wal);
        }
    }
}

static void an_unknown_version_is_refused_and_not_passed_over(void **state) {
    (void)state;
    damage_snapshot(NEWER, 9);
    assert_refused("format version");
}

static void a_foreign_snapshot_is_passed_over(void **state) {
    (void)state;
    struct snapshot_writer *writer;
    struct buf error;
    buf_init(&error, 4096);
    assert_int_equal(snapshot_writer_open(dir.path, 43, NEWER + 1, true, &writer, &error), ST_OK);
    assert_int_equal(snapshot_writer_finish(writer, NEWER + 1), ST_OK);
    assert_int_equal(snapshot_writer_publish(writer), ST_OK);
    buf_free(&error);
    assert_restores_from(NEWER, 1);
}

static void what_an_unfinished_snapshot_left_is_removed(void **state) {
    (void)state;
    struct disk_file *file;
    char path[256];
    file_path(SNAPSHOT_NEXT_NAME, path);
    assert_int_equal(disk_open(path, DISK_CREATE, &file), ST_OK);
    disk_close(file);
    assert_restores_from(NEWER, 0);
    assert_int_equal(log_dir_count(&dir, SNAPSHOT_NEXT_NAME), 0);
}

/* Trimming leaves what the snapshot needs, its numbers follow, and the log goes on. */
static void trimming_leaves_what_is_needed(void **state) {
    (void)state;
    struct wal *wal;
    struct buf error;
    buf_init(&error, 4096);
    restore_dir(&wal);
    assert_int_equal(outcome.status, ST_OK);
    assert_int_equal(wal_begin(wal, &error), ST_OK);
    for (uint64_t lsn = 0; lsn <= RECORDS; lsn++) {
        struct wal_numbers numbers;
        assert_int_equal(wal_trim(wal, lsn, &error), ST_OK);
        wal_read_numbers(wal, &numbers);
        assert_int_equal(numbers.segments, log_dir_count(&dir, ".log"));
        assert_true(numbers.first_lsn <= lsn + 1);
        if (lsn == OLDER || lsn == NEWER) { /* what is there now suffices */
            struct wal *again;
            restore_dir(&again);
            assert_int_equal(outcome.status, ST_OK);
            assert_state(RECORDS);
            wal_close(again);
        }
    }
    assert_true(log_dir_count(&dir, ".log") <= 2);
    wal_finish(wal);
    wal_close(wal);
    buf_free(&error);
}

/* A directory made of a snapshot alone goes on with the next LSN. */
static void a_log_made_behind_a_snapshot(void **state) {
    (void)state;
    struct wal *wal;
    struct buf error;
    buf_init(&error, 4096);
    remove_log();
    remove_snapshot(NEWER);
    remove_snapshot(OLDER);
    write_snapshot(RECORDS - 1, RECORDS - 1);
    assert_int_equal(wal_create_behind(dir.path, 42, RECORDS - 1, &error), ST_OK);
    restore_dir(&wal);
    assert_int_equal(outcome.status, ST_OK);
    assert_state(RECORDS - 1);
    assert_int_equal(wal_begin(wal, &error), ST_OK);
    publish(wal, RECORDS);
    wal_finish(wal);
    wal_close(wal);
    assert_restores_from(RECORDS - 1, 0);
    buf_free(&error);
}

/* A callback's failure ends all of it. */
static enum status fail_to_load(void *ctx, const struct snapshot_item *item) {
    (void)ctx;
    (void)item;
    return ST_CLOSED;
}

static void a_callbacks_status_comes_back(void **state) {
    (void)state;
    struct wal_options options = options_of_case();
    struct restore restore = {.ctx = &outcome.target,
        .begin = begin,
        .load = fail_to_load,
        .loaded = loaded,
        .apply = apply};
    struct wal *wal;
    struct buf error;
    buf_init(&error, 4096);
    assert_int_equal(restore_run(&options, &restore, &wal, &outcome.restored, &error), ST_CLOSED);
    assert_null(wal);
    buf_free(&error);
}

int main(void) {
    log_dir_in_memory();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(without_snapshots_the_log_is_all, setup),
        cmocka_unit_test_setup(one_snapshot, setup),
        cmocka_unit_test_setup(the_newest_of_two, setup),
        cmocka_unit_test_setup(holes_before_the_snapshot_do_not_matter, setup),
        cmocka_unit_test_setup(a_damaged_one_is_passed_over, setup),
        cmocka_unit_test_setup(all_damaged_but_the_whole_log_is_there, setup),
        cmocka_unit_test_setup(all_damaged_is_refused_without_the_whole_log, setup),
        cmocka_unit_test_setup(the_older_ones_segments_must_be_there, setup),
        cmocka_unit_test_setup(a_gap_behind_the_snapshot_is_refused, setup),
        cmocka_unit_test_setup(no_log_is_refused, setup),
        cmocka_unit_test_setup(a_log_that_ends_before_n_is_refused, setup),
        cmocka_unit_test_setup(an_unknown_version_is_refused_and_not_passed_over, setup),
        cmocka_unit_test_setup(a_foreign_snapshot_is_passed_over, setup),
        cmocka_unit_test_setup(what_an_unfinished_snapshot_left_is_removed, setup),
        cmocka_unit_test_setup(trimming_leaves_what_is_needed, setup),
        cmocka_unit_test_setup(a_log_made_behind_a_snapshot, setup),
        cmocka_unit_test_setup(a_callbacks_status_comes_back, setup),
    };
    return cmocka_run_group_tests(tests, make_base, remove_base);
}
