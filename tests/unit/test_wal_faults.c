/* The log on a failing disk: every call made to fail once, short and interrupted calls, and no
 * room.
 *
 * The disk seam is compiled in here with its system calls replaced, so the test's functions are the
 * ones that the log is linked to. What must not go wrong is looked at from outside: a child process
 * runs the log and notes in shared memory what it took for durable; afterwards the log is opened
 * without faults and must hold all of that. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- the faults ---- */

enum call { CALL_WRITE, CALL_SYNC, CALL_SYNC_DIR, CALL_RENAME, CALL_ALLOCATE, CALL_OPEN, CALLS };

static struct {
    enum call call;
    unsigned countdown; /* the how-manieth of these calls fails; 0 = none */
    int error;
    bool fired;
    bool shorten;           /* every write is short, every other call interrupted */
    unsigned segments_left; /* how many segments the disk still has room for */
} fault;

static bool fails(enum call call) {
    if (fault.countdown == 0 || fault.call != call || --fault.countdown > 0)
        return false;
    fault.fired = true;
    errno = fault.error;
    return true;
}

static bool interrupted(void) {
    static unsigned calls;
    if (!fault.shorten || calls++ % 2)
        return false;
    errno = EINTR;
    return true;
}

static ssize_t faulty_pwrite(int fd, const void *data, size_t len, off_t offset) {
    if (fails(CALL_WRITE) || interrupted())
        return -1;
    if (fault.shorten && len > 1000)
        len = 1000;
    return pwrite(fd, data, len, offset);
}

static ssize_t faulty_pread(int fd, void *data, size_t len, off_t offset) {
    if (interrupted())
        return -1;
    if (fault.shorten && len > 5000)
        len = 5000;
    return pread(fd, data, len, offset);
}

static int faulty_fdatasync(int fd) {
    return fails(CALL_SYNC) || interrupted() ? -1 : fdatasync(fd);
}

static int faulty_fsync(int fd) {
    return fails(CALL_SYNC_DIR) || interrupted() ? -1 : fsync(fd);
}

static int faulty_rename(const char *from, const char *to) {
    return fails(CALL_RENAME) ? -1 : rename(from, to);
}

static int faulty_open(const char *path, int flags, mode_t mode) {
    return fails(CALL_OPEN) || interrupted() ? -1 : open(path, flags, mode);
}

static int faulty_fallocate(int fd, int mode, off_t offset, off_t len) {
    if (fails(CALL_ALLOCATE) || interrupted())
        return -1;
    if (fault.segments_left == 0) {
        errno = ENOSPC;
        return -1;
    }
    fault.segments_left--;
    return fallocate(fd, mode, offset, len);
}

#define pwrite(fd, data, len, offset) faulty_pwrite(fd, data, len, offset)
#define pread(fd, data, len, offset) faulty_pread(fd, data, len, offset)
#define fdatasync(fd) faulty_fdatasync(fd)
#define fsync(fd) faulty_fsync(fd)
#define rename(from, to) faulty_rename(from, to)
#define fallocate(fd, mode, offset, len) faulty_fallocate(fd, mode, offset, len)
#define open(path, flags, ...) faulty_open(path, flags, 0644)
#include "core/disk.c"
#undef pwrite
#undef pread
#undef fdatasync
#undef fsync
#undef rename
#undef fallocate
#undef open

#include "core/diag.h"
#include "tests/support/wal_log.h"

/* ---- running a log in a child ---- */

static struct log_dir dir;
static _Atomic uint64_t *acknowledged; /* shared with the child */

static int setup(void **state) {
    (void)state;
    log_dir_in_memory();
    memset(&fault, 0, sizeof(fault));
    fault.segments_left = 1000;
    log_dir_make(&dir);
    acknowledged = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return acknowledged == MAP_FAILED ? -1 : 0;
}

static int teardown(void **state) {
    (void)state;
    munmap((void *)acknowledged, 4096);
    log_dir_remove(&dir);
    return 0;
}

enum { EXIT_DONE = 0, EXIT_REFUSED = 1, EXIT_DISK = 3, EXIT_DONE_AFTER_FAULT = 40 };

/* Opens, writes 40 batches over several segments, ends cleanly. */
static int run_log(void) {
    struct wal_options options = log_options(&dir);
    struct log_replayed replayed = {0};
    struct wal *wal;
    struct buf error;
    buf_init(&error, 16384);
    options.segment_bytes = WAL_SEGMENT_BYTES_MIN;
    char text[1024];
    if (log_open(&options, &wal, &replayed, text, sizeof(text)) != ST_OK)
        return EXIT_REFUSED;
    if (wal_begin(wal, &error) != ST_OK)
        return EXIT_REFUSED;
    for (uint64_t i = 0; i < 40; i++) {
        log_settle(wal); /* a failed preparation is made good for here */
        log_publish(wal, 0, 2 * i, 1500);
        log_publish(wal, 0, 2 * i + 1, 100);
        log_settle(wal);
        atomic_store(acknowledged, wal_durable_lsn(wal));
    }
    wal_finish(wal);
    wal_close(wal);
    log_replayed_free(&replayed);
    buf_free(&error);
    return fault.fired ? EXIT_DONE_AFTER_FAULT : EXIT_DONE;
}

static int in_child(int (*run)(void)) {
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        diag_configure(DIAG_ERROR, DIAG_TEXT);
        freopen("/dev/null", "w", stderr); /* its complaints are expected */
        _exit(run());
    }
    int result;
    assert_int_equal(waitpid(child, &result, 0), child);
    assert_true(WIFEXITED(result));
    return WEXITSTATUS(result);
}

/* What the child took for durable is there, in order, and nothing else than what it wrote. */
static void assert_kept(void) {
    struct wal_options options = log_options(&dir);
    struct log_replayed replayed = {0};
    struct wal *wal;
    assert_int_equal(log_open(&options, &wal, &replayed, NULL, 0), ST_OK);
    assert_true(replayed.count >= atomic_load(acknowledged));
    for (size_t i = 0; i < replayed.count; i++) {
        assert_int_equal(replayed.lsns[i], i + 1);
        assert_int_equal(replayed.numbers[i], i);
    }
    wal_close(wal);
    log_replayed_free(&replayed);
}

static void clear_dir(void) {
    log_dir_remove(&dir);
    log_dir_make(&dir);
}

/* Makes each call of this kind fail in turn; returns how many there were. */
static unsigned fail_each(enum call call, int error) {
    for (unsigned n = 1;; n++) {
        atomic_store(acknowledged, 0);
        fault.call = call;
        fault.countdown = n;
        fault.error = error;
        int exit_code = in_child(run_log);
        fault.countdown = 0;
        if (exit_code == EXIT_DONE)
            return n - 1;
        assert_true(exit_code == EXIT_DISK || exit_code == EXIT_REFUSED);
        assert_kept();
        clear_dir();
    }
}

/* ---- failures ---- */

/* Whichever write fails: exit code 3, nothing acknowledged is missing, the next start is clean. */
static void each_failed_write(void **state) {
    (void)state;
    assert_true(fail_each(CALL_WRITE, EIO) > 40);
}

/* The same for each sync of a file; */
static void each_failed_sync(void **state) {
    (void)state;
    assert_true(fail_each(CALL_SYNC, EIO) > 40);
}

/* for each sync of the directory, each renaming, and each opening of a file. */
static void each_failed_name(void **state) {
    (void)state;
    assert_true(fail_each(CALL_SYNC_DIR, EIO) > 3);
    clear_dir();
    assert_true(fail_each(CALL_RENAME, EIO) > 3);
    clear_dir();
    assert_true(fail_each(CALL_OPEN, EIO) > 3);
    clear_dir();
    assert_true(fail_each(CALL_ALLOCATE, EIO) > 3);
}

/* Short and interrupted calls are no failures. */
static void short_and_interrupted_calls(void **state) {
    (void)state;
    fault.shorten = true;
    assert_int_equal(in_child(run_log), EXIT_DONE);
    assert_int_equal(atomic_load(acknowledged), 80);
    assert_kept();
}

/* A file system that cannot reserve room gets segments that are filled before they are used. */
static void no_reservation_of_room(void **state) {
    (void)state;
    fault.call = CALL_ALLOCATE;
    fault.error = EOPNOTSUPP;
    struct wal_options options = log_options(&dir);
    struct log_replayed replayed = {0};
    options.segment_bytes = 4 << 20;
    fault.countdown = 1;
    struct wal *wal = log_begin(&options, &replayed);
    assert_true(fault.fired);
    assert_int_equal(atomic_load(&wal->current->zeroed), options.segment_bytes);
    log_publish(wal, 0, 0, 10);
    wal_finish(wal);
    wal_close(wal);
    assert_kept();
}

/* ---- no room ---- */

static struct wal *begin_with_room(unsigned segments, struct log_replayed *replayed) {
    struct wal_options options = log_options(&dir);
    fault.segments_left = segments;
    struct wal *wal = log_begin(&options, replayed);
    log_settle(wal);
    return wal;
}

static bool disk_full(const struct wal *wal) {
    struct wal_numbers numbers;
    wal_read_numbers(wal, &numbers);
    return numbers.disk_full;
}

/* On a full disk reservations are refused, of every size; all that was admitted becomes durable,
 * and when there is room again, so do new ones. */
static void full_disk_refuses_and_recovers(void **state) {
    (void)state;
    struct log_replayed replayed = {0};
    struct wal *wal = begin_with_room(2, &replayed);
    struct wal_record *record;
    uint64_t number = 0;
    enum status status;
    while ((status = wal_reserve(wal, 0, 2000, &record)) == ST_OK) {
        wal_cancel(wal, record);
        log_publish(wal, 0, number++, 1900);
        log_settle(wal);
        assert_int_equal(wal_durable_lsn(wal), number);
    }
    assert_int_equal(status, ST_DISK_FULL);
    assert_true(number > 20);
    assert_true(disk_full(wal));
    assert_int_equal(wal_reserve(wal, 0, 40, &record), ST_DISK_FULL);
    fault.segments_left = 2;
    log_settle(wal);
    assert_false(disk_full(wal));
    log_publish(wal, 0, number++, 1900);
    log_settle(wal);
    assert_int_equal(wal_durable_lsn(wal), number);
    atomic_store(acknowledged, number);
    wal_finish(wal);
    wal_close(wal);
    assert_kept();
}

/* Everything that a full disk still admitted can be written, even if each record comes alone: the
 * log holds a batch back rather than spend on its padding what was promised to others. */
static void promises_outlast_the_room(void **state) {
    (void)state;
    static struct wal_record *records[1024];
    for (unsigned segments = 1; segments <= 2; segments++) {
        struct log_replayed replayed = {0};
        clear_dir();
        struct wal *wal = begin_with_room(segments, &replayed);
        size_t count = 0;
        /* far more records than blocks */
        while (count < 1024 && wal_reserve(wal, 0, 80, &records[count]) == ST_OK)
            count++;
        assert_true(count > 500);
        for (size_t i = 0; i < count; i++) {
            if (i % 3 == 0)
                wal_cancel(wal, records[i]);
            else
                wal_publish(wal, records[i]);
            log_settle(wal);
        }
        assert_int_equal(wal_durable_lsn(wal), wal_last_lsn(wal));
        assert_false(wal->blocked);
        wal_close(wal);
        log_replayed_free(&replayed);
    }
}

/* A server can start on a full disk; it admits nothing until there is room. */
static void start_on_a_full_disk(void **state) {
    (void)state;
    struct log_replayed replayed = {0};
    struct wal_record *record;
    struct wal *wal = begin_with_room(0, &replayed);
    assert_int_equal(wal_reserve(wal, 0, 80, &record), ST_DISK_FULL);
    assert_true(disk_full(wal));
    assert_int_equal(log_dir_count(&dir, ".tmp"), 0);
    fault.segments_left = 5;
    log_settle(wal);
    log_publish(wal, 0, 0, 10);
    log_settle(wal);
    assert_int_equal(wal_durable_lsn(wal), 1);
    wal_finish(wal);
    wal_close(wal);
}

/* Too many open files pass as well: nothing is admitted meanwhile, and nothing is lost. */
static void no_descriptor_for_a_segment(void **state) {
    (void)state;
    struct log_replayed replayed = {0};
    struct wal_record *record;
    struct wal *wal = begin_with_room(1000, &replayed);
    uint64_t number = 0;
    fault.call = CALL_OPEN;
    fault.error = EMFILE;
    while (!fault.fired) {
        if (!wal->filling && !atomic_load(&wal->next))
            fault.countdown = 1;
        log_publish(wal, 0, number++, 1900);
        (void)wal_step(wal, 0);
        (void)wal_prepare_step(wal);
    }
    assert_null(atomic_load(&wal->next));
    assert_true(atomic_load(&wal->prepare_failed));
    log_settle(wal);
    assert_false(atomic_load(&wal->prepare_failed));
    assert_int_equal(wal_reserve(wal, 0, 40, &record), ST_OK);
    wal_cancel(wal, record);
    atomic_store(acknowledged, number);
    wal_finish(wal);
    wal_close(wal);
    assert_kept();
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(each_failed_write),
        TEST(each_failed_sync),
        TEST(each_failed_name),
        TEST(short_and_interrupted_calls),
        TEST(no_reservation_of_room),
        TEST(full_disk_refuses_and_recovers),
        TEST(promises_outlast_the_room),
        TEST(start_on_a_full_disk),
        TEST(no_descriptor_for_a_segment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
