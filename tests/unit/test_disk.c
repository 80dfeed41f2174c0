/* The disk seam does what its header says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/disk.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static char dir[64];

static const char *in_dir(const char *name) {
    static char paths[4][128];
    static unsigned at;
    char *path = paths[at++ % 4];
    snprintf(path, sizeof(paths[0]), "%s/%s", dir, name);
    return path;
}

static int setup(void **state) {
    (void)state;
    snprintf(dir, sizeof(dir), "/tmp/concave-disk-XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static enum status unlink_one(void *ctx, const char *name) {
    (void)ctx;
    return disk_unlink(in_dir(name));
}

static int teardown(void **state) {
    (void)state;
    return disk_list(dir, unlink_one, NULL) == ST_OK ? rmdir(dir) : -1;
}

static struct disk_file *create(const char *name) {
    struct disk_file *file;
    assert_int_equal(disk_open(in_dir(name), DISK_CREATE, &file), ST_OK);
    return file;
}

/* What is written at an offset is read there; reading stops at the end of the file. */
static void writes_are_read_back(void **state) {
    (void)state;
    struct disk_file *file = create("a");
    char bytes[16];
    size_t got;
    uint64_t size;
    assert_int_equal(disk_write(file, 4, "hello", 5), ST_OK);
    assert_int_equal(disk_sync(file), ST_OK);
    assert_int_equal(disk_read(file, 0, bytes, sizeof(bytes), &got), ST_OK);
    assert_int_equal(got, 9);
    assert_memory_equal(bytes, "\0\0\0\0hello", 9);
    assert_int_equal(disk_read(file, 9, bytes, sizeof(bytes), &got), ST_OK);
    assert_int_equal(got, 0);
    assert_int_equal(disk_size(file, &size), ST_OK);
    assert_int_equal(size, 9);
    assert_int_equal(disk_truncate(file, 5), ST_OK);
    assert_int_equal(disk_size(file, &size), ST_OK);
    assert_int_equal(size, 5);
    disk_close(file);
}

/* Reserved room reads as zeros. */
static void allocated_room_is_zero(void **state) {
    (void)state;
    struct disk_file *file = create("a");
    char byte = 1;
    size_t got;
    uint64_t size;
    enum status status = disk_allocate(file, 100000);
    assert_true(status == ST_OK || status == ST_INVALID);
    if (status == ST_OK) {
        assert_int_equal(disk_size(file, &size), ST_OK);
        assert_int_equal(size, 100000);
        assert_int_equal(disk_read(file, 99999, &byte, 1, &got), ST_OK);
        assert_int_equal(got, 1);
        assert_int_equal(byte, 0);
    }
    disk_close(file);
}

/* Each mode opens what it says, and only that. */
static void modes_are_kept(void **state) {
    (void)state;
    struct disk_file *file;
    assert_int_equal(disk_open(in_dir("a"), DISK_READ, &file), ST_NOT_FOUND);
    assert_int_equal(disk_open(in_dir("a"), DISK_UPDATE, &file), ST_NOT_FOUND);
    disk_close(create("a"));
    assert_int_equal(disk_open(in_dir("a"), DISK_CREATE, &file), ST_EXISTS);
    assert_int_equal(disk_open(in_dir("a"), DISK_READ, &file), ST_OK);
    assert_int_equal(disk_write(file, 0, "x", 1), ST_IO);
    assert_int_equal(errno, EBADF);
    disk_close(file);
}

static enum status count_names(void *ctx, const char *name) {
    unsigned *seen = ctx;
    *seen += strcmp(name, "a") == 0 ? 1 : strcmp(name, "b") == 0 ? 10 : 100;
    return ST_OK;
}

static enum status stop_at_once(void *ctx, const char *name) {
    (void)name;
    ++*(unsigned *)ctx;
    return ST_END;
}

/* A listing shows each name once and ends early if it is told to. */
static void listing_shows_all_names(void **state) {
    (void)state;
    unsigned seen = 0;
    disk_close(create("a"));
    disk_close(create("b"));
    assert_int_equal(disk_list(dir, count_names, &seen), ST_OK);
    assert_int_equal(seen, 11);
    seen = 0;
    assert_int_equal(disk_list(dir, stop_at_once, &seen), ST_END);
    assert_int_equal(seen, 1);
    assert_int_equal(disk_list(in_dir("none"), count_names, &seen), ST_NOT_FOUND);
}

/* Renaming replaces, unlinking removes, and both say if there is nothing. */
static void names_change(void **state) {
    (void)state;
    unsigned seen = 0;
    disk_close(create("a"));
    disk_close(create("b"));
    assert_int_equal(disk_rename(in_dir("a"), in_dir("b")), ST_OK);
    assert_int_equal(disk_sync_dir(dir), ST_OK);
    assert_int_equal(disk_list(dir, count_names, &seen), ST_OK);
    assert_int_equal(seen, 10);
    assert_int_equal(disk_rename(in_dir("a"), in_dir("b")), ST_NOT_FOUND);
    assert_int_equal(disk_unlink(in_dir("b")), ST_OK);
    assert_int_equal(disk_unlink(in_dir("b")), ST_NOT_FOUND);
    assert_int_equal(disk_sync_dir(in_dir("none")), ST_NOT_FOUND);
}

/* Making a directory that is there is fine; a file in its place is not. */
static void directories_are_made_once(void **state) {
    (void)state;
    assert_int_equal(disk_make_dir(dir), ST_OK);
    assert_int_equal(disk_make_dir(in_dir("none/deeper")), ST_NOT_FOUND);
    disk_close(create("a"));
    assert_int_not_equal(disk_make_dir(in_dir("a")), ST_OK);
    assert_int_equal(errno, ENOTDIR);
}

/* A lock keeps out another process until it is closed. */
static void lock_is_exclusive(void **state) {
    (void)state;
    struct disk_file *lock;
    assert_int_equal(disk_lock(in_dir("LOCK"), &lock), ST_OK);
    pid_t child = fork();
    if (child == 0) {
        struct disk_file *second;
        _exit(disk_lock(in_dir("LOCK"), &second) == ST_LOCKED ? 7 : 1);
    }
    int result;
    assert_int_equal(waitpid(child, &result, 0), child);
    assert_true(WIFEXITED(result) && WEXITSTATUS(result) == 7);
    disk_close(lock);
    assert_int_equal(disk_lock(in_dir("LOCK"), &lock), ST_OK);
    disk_close(lock);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(writes_are_read_back),
        TEST(allocated_room_is_zero),
        TEST(modes_are_kept),
        TEST(listing_shows_all_names),
        TEST(names_change),
        TEST(directories_are_made_once),
        TEST(lock_is_exclusive),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
