/* Snapshot files: what is written is read back, in order and whole; names, lists, removal; and
 * failing disks, which end a snapshot and nothing else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- the faults: the n-th write, sync or rename fails ---- */

enum call { CALL_WRITE, CALL_SYNC, CALL_SYNC_DIR, CALL_RENAME, CALL_OPEN, CALLS };

static struct {
    enum call call;
    unsigned countdown; /* the how-manieth of these calls fails; 0 = none */
    int error;
} fault;

static int fails(enum call call) {
    if (fault.countdown == 0 || fault.call != call || --fault.countdown > 0)
        return 0;
    errno = fault.error;
    return 1;
}

static ssize_t faulty_pwrite(int fd, const void *data, size_t len, off_t offset) {
    return fails(CALL_WRITE) ? -1 : pwrite(fd, data, len, offset);
}

static int faulty_fdatasync(int fd) {
    return fails(CALL_SYNC) ? -1 : fdatasync(fd);
}

static int faulty_fsync(int fd) {
    return fails(CALL_SYNC_DIR) ? -1 : fsync(fd);
}

static int faulty_rename(const char *from, const char *to) {
    return fails(CALL_RENAME) ? -1 : rename(from, to);
}

static int faulty_open(const char *path, int flags, mode_t mode) {
    return (flags & O_CREAT) && fails(CALL_OPEN) ? -1 : open(path, flags, mode);
}

#define pwrite(fd, data, len, offset) faulty_pwrite(fd, data, len, offset)
#define fdatasync(fd) faulty_fdatasync(fd)
#define fsync(fd) faulty_fsync(fd)
#define rename(from, to) faulty_rename(from, to)
#define open(path, flags, ...) faulty_open(path, flags, 0644)
#include "core/disk.c"
#undef pwrite
#undef fdatasync
#undef fsync
#undef rename
#undef open

#include "core/snapshot.h"
#include "tests/support/wal_log.h"

#define SALT 42u

static struct log_dir dir;

/* ---- items that their number determines ---- */

struct made {
    char key[32];
    char *value;
    size_t value_len;
};

static struct snapshot_item item_of(struct made *made, uint64_t number, size_t value_len) {
    snprintf(made->key, sizeof(made->key), "key-%012llu", (unsigned long long)number);
    made->value = malloc(value_len + 1);
    made->value_len = value_len;
    for (size_t i = 0; i < value_len; i++)
        made->value[i] = (char)(number * 31 + i * 7);
    return (struct snapshot_item){
        .key = slice_of(made->key, strlen(made->key)),
        .value = slice_of(made->value, value_len),
        .version = number + 1,
    };
}

static size_t value_bytes(uint64_t number) {
    return number % 97 == 13 ? 200000 : number % 50 == 7 ? 30000 : (size_t)(number * 37 % 300);
}

static enum status add_item(struct snapshot_writer *writer, uint64_t number) {
    struct made made;
    struct snapshot_item item = item_of(&made, number, value_bytes(number));
    enum status status = snapshot_writer_add(writer, item.key, item.version, item.value);
    free(made.value);
    return status;
}

/* As far as it goes; whatever fails, nothing is left of it. */
static enum status write_snapshot(uint64_t lsn, uint64_t count, struct buf *error) {
    struct snapshot_writer *writer;
    enum status status = snapshot_writer_open(dir.path, SALT, lsn, true, &writer, error);
    if (status != ST_OK)
        return status;
    for (uint64_t i = 0; i < count && status == ST_OK; i++)
        status = add_item(writer, i);
    if (status == ST_OK) {
        assert_int_equal(snapshot_writer_keys(writer), count);
        status = snapshot_writer_finish(writer, lsn > count ? lsn : count);
    }
    if (status == ST_OK)
        return snapshot_writer_publish(writer);
    snapshot_writer_abort(writer);
    return status;
}

static void write_good(uint64_t lsn, uint64_t count) {
    struct buf error;
    buf_init(&error, 4096);
    assert_int_equal(write_snapshot(lsn, count, &error), ST_OK);
    assert_int_equal(error.len, 0);
    buf_free(&error);
}

/* ---- tests ---- */

static void read_back(uint64_t count) {
    struct snapshot_reader *reader;
    struct snapshot_item item;
    struct buf error;
    buf_init(&error, 4096);
    write_good(100, count);
    assert_int_equal(snapshot_reader_open(dir.path, 100, &reader, &error), ST_OK);
    const struct snapshot_info *info = snapshot_reader_info(reader);
    assert_int_equal(info->salt, SALT);
    assert_int_equal(info->lsn, 100);
    assert_int_equal(info->applied_lsn, count > 100 ? count : 100);
    assert_int_equal(info->keys, count);
    assert_true(info->first_run);
    for (uint64_t i = 0; i < count; i++) {
        struct made made;
        struct snapshot_item expected = item_of(&made, i, value_bytes(i));
        assert_int_equal(snapshot_reader_next(reader, &item, &error), ST_OK);
        assert_true(slice_equal(item.key, expected.key));
        assert_true(slice_equal(item.value, expected.value));
        assert_int_equal(item.version, expected.version);
        free(made.value);
    }
    assert_int_equal(snapshot_reader_next(reader, &item, &error), ST_END);
    assert_int_equal(snapshot_reader_next(reader, &item, &error), ST_END);
    assert_int_equal(snapshot_reader_bytes(reader), info->bytes);
    snapshot_reader_close(reader);
    buf_free(&error);
}

/* Items of all lengths come back as they were written, over many blocks, long ones alone in theirs.
 */
static void what_is_written_is_read_back(void **state) {
    (void)state;
    read_back(1000);
}

static void a_snapshot_may_be_empty(void **state) {
    (void)state;
    read_back(0);
}

static void the_longest_key_fits(void **state) {
    (void)state;
    static char key[UINT16_MAX];
    struct snapshot_writer *writer;
    struct snapshot_info info;
    struct buf error;
    buf_init(&error, 4096);
    memset(key, 'k', sizeof(key));
    assert_int_equal(snapshot_writer_open(dir.path, SALT, 7, false, &writer, &error), ST_OK);
    assert_int_equal(snapshot_writer_add(writer, slice_of(key, 1), 3, slice_of(NULL, 0)), ST_OK);
    assert_int_equal(
        snapshot_writer_add(writer, slice_of(key, sizeof(key)), 4, SLICE("value")), ST_OK);
    assert_int_equal(snapshot_writer_finish(writer, 9), ST_OK);
    assert_int_equal(snapshot_writer_gate(writer), 9);
    assert_int_equal(snapshot_writer_publish(writer), ST_OK);
    assert_int_equal(snapshot_verify(dir.path, 7, &info, &error), ST_OK);
    assert_int_equal(info.keys, 2);
    assert_int_equal(info.applied_lsn, 9);
    assert_false(info.first_run);
    buf_free(&error);
}

static void names_are_exact(void **state) {
    (void)state;
    char name[SNAPSHOT_NAME_BYTES];
    uint64_t lsn;
    snapshot_name(UINT64_MAX, name);
    assert_string_equal(name, "snapshot-18446744073709551615.snap");
    assert_true(snapshot_name_parse(name, &lsn));
    assert_int_equal(lsn, UINT64_MAX);
    static const char *const others[] = {"snapshot-18446744073709551616.snap",
        "snapshot-1844674407370955161.snap", "snapshot-0000000000000000000x.snap",
        "snapshot-00000000000000000001.snaq", "snapshot-00000000000000000001.snap.tmp",
        "snapshot-next.tmp", "snapshot-", ""};
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        assert_false(snapshot_name_parse(others[i], &lsn));
}

static void listed_newest_first_and_removed_by_age(void **state) {
    (void)state;
    static const uint64_t lsns[] = {5, 300, 20, 0};
    uint64_t *listed;
    size_t count;
    struct buf error;
    buf_init(&error, 4096);
    for (unsigned i = 0; i < 4; i++)
        write_good(lsns[i], 1);
    assert_int_equal(snapshot_list(dir.path, &listed, &count, &error), ST_OK);
    assert_int_equal(count, 4);
    assert_memory_equal(listed, ((uint64_t[]){300, 20, 5, 0}), sizeof(lsns));
    free(listed);
    assert_int_equal(snapshot_remove_older(dir.path, 20, &error), ST_OK);
    assert_int_equal(snapshot_list(dir.path, &listed, &count, &error), ST_OK);
    assert_int_equal(count, 2);
    assert_int_equal(listed[1], 20);
    free(listed);
    buf_free(&error);
}

/* Until it is published it has no name, and an aborted one leaves nothing. */
static void nothing_is_there_before_it_is_published(void **state) {
    (void)state;
    struct snapshot_writer *writer;
    struct buf error;
    buf_init(&error, 4096);
    assert_int_equal(snapshot_writer_open(dir.path, SALT, 7, false, &writer, &error), ST_OK);
    assert_int_equal(add_item(writer, 1), ST_OK);
    assert_int_equal(snapshot_writer_finish(writer, 7), ST_OK);
    assert_int_equal(log_dir_count(&dir, ".snap"), 0);
    assert_int_equal(log_dir_count(&dir, ".tmp"), 1);
    snapshot_writer_abort(writer);
    assert_int_equal(log_dir_count(&dir, ""), 0);
    buf_free(&error);
}

/* A snapshot that was never completed begins with zeros, whatever name it got. */
static void an_unfinished_file_is_no_snapshot(void **state) {
    (void)state;
    struct snapshot_writer *writer;
    char from[128], to[128];
    struct buf error;
    buf_init(&error, 4096);
    assert_int_equal(snapshot_writer_open(dir.path, SALT, 7, false, &writer, &error), ST_OK);
    for (uint64_t i = 0; i < 200; i++)
        assert_int_equal(add_item(writer, i), ST_OK);
    snprintf(from, sizeof(from), "%s/%s", dir.path, SNAPSHOT_NEXT_NAME);
    snprintf(to, sizeof(to), "%s/snapshot-00000000000000000007.snap", dir.path);
    assert_int_equal(disk_rename(from, to), ST_OK);
    snapshot_writer_abort(writer);
    assert_int_equal(snapshot_verify(dir.path, 7, NULL, &error), ST_CORRUPT);
    buf_free(&error);
}

/* Every call that can fail, failing once: the status is told with file and reason, what is left
 * over does not stop the next snapshot, and that one is good. */
static void every_failing_call_ends_the_snapshot_only(void **state) {
    (void)state;
    static const int errors[] = {ENOSPC, EIO};
    unsigned tried = 0;
    for (unsigned e = 0; e < 2; e++) {
        for (enum call call = 0; call < CALLS; call++) {
            enum status status = ST_IO;
            for (unsigned nth = 1; status != ST_OK; nth++, tried++) {
                struct buf error;
                buf_init(&error, 4096);
                fault.call = call;
                fault.countdown = nth;
                fault.error = errors[e];
                status = write_snapshot(nth, 300, &error);
                bool fired = fault.countdown == 0;
                fault.countdown = 0;
                assert_int_equal(status == ST_OK, !fired);
                if (fired) {
                    buf_append_byte(&error, '\0');
                    assert_int_equal(status, errors[e] == ENOSPC ? ST_DISK_FULL : ST_IO);
                    assert_non_null(strstr(error.data, dir.path));
                    assert_non_null(strstr(error.data, strerror(errors[e])));
                    assert_int_equal(log_dir_count(&dir, ".tmp"), 0);
                }
                buf_reset(&error, 0);
                write_good(nth, 10);
                assert_int_equal(snapshot_verify(dir.path, nth, NULL, &error), ST_OK);
                buf_free(&error);
            }
        }
    }
    printf("failing calls tried: %u\n", tried);
}

/* The version is looked at before anything else, and named. */
static void an_unknown_version_is_refused_by_name(void **state) {
    (void)state;
    char path[128];
    struct disk_file *file;
    struct buf error;
    buf_init(&error, 4096);
    write_good(7, 3);
    snprintf(path, sizeof(path), "%s/snapshot-00000000000000000007.snap", dir.path);
    assert_int_equal(disk_open(path, DISK_UPDATE, &file), ST_OK);
    assert_int_equal(disk_write(file, 8, "\x63", 1), ST_OK);
    disk_close(file);
    assert_int_equal(snapshot_verify(dir.path, 7, NULL, &error), ST_INVALID);
    buf_append_byte(&error, '\0');
    assert_non_null(strstr(error.data, path));
    assert_non_null(strstr(error.data, "format version 99 is unknown"));
    buf_free(&error);
}

static int setup(void **state) {
    (void)state;
    log_dir_make(&dir);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    fault.countdown = 0;
    log_dir_remove(&dir);
    return 0;
}

int main(void) {
    log_dir_in_memory();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_written_is_read_back, setup, teardown),
        cmocka_unit_test_setup_teardown(a_snapshot_may_be_empty, setup, teardown),
        cmocka_unit_test_setup_teardown(the_longest_key_fits, setup, teardown),
        cmocka_unit_test_setup_teardown(names_are_exact, setup, teardown),
        cmocka_unit_test_setup_teardown(listed_newest_first_and_removed_by_age, setup, teardown),
        cmocka_unit_test_setup_teardown(nothing_is_there_before_it_is_published, setup, teardown),
        cmocka_unit_test_setup_teardown(an_unfinished_file_is_no_snapshot, setup, teardown),
        cmocka_unit_test_setup_teardown(every_failing_call_ends_the_snapshot_only, setup, teardown),
        cmocka_unit_test_setup_teardown(an_unknown_version_is_refused_by_name, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
