#include "tests/support/wal_log.h"

#include <assert.h>
#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/clock.h"

/* ---- directories ---- */

void log_dir_make(struct log_dir *dir) {
    const char *parent = getenv("TMPDIR");
    if (!parent || strlen(parent) > 32)
        parent = "/tmp";
    snprintf(dir->path, sizeof(dir->path), "%s/concave-wal-XXXXXX", parent);
    char *made = mkdtemp(dir->path);
    assert(made);
}

void log_dir_in_memory(void) {
    if (access("/dev/shm", W_OK) == 0)
        setenv("TMPDIR", "/dev/shm", 0);
}

static void file_path(const struct log_dir *dir, const char *name, char *path, size_t size) {
    int len = snprintf(path, size, "%s/%s", dir->path, name);
    assert(len > 0 && (size_t)len < size);
}

static enum status unlink_one(void *ctx, const char *name) {
    char path[512];
    file_path(ctx, name, path, sizeof(path));
    return disk_unlink(path);
}

void log_dir_remove(struct log_dir *dir) {
    enum status status = disk_list(dir->path, unlink_one, dir);
    int failed = rmdir(dir->path);
    assert(status == ST_OK && !failed);
}

struct copying {
    const struct log_dir *from, *to;
};

static enum status copy_one(void *ctx, const char *name) {
    const struct copying *copying = ctx;
    char path[512];
    struct disk_file *in, *out;
    uint64_t size;
    file_path(copying->from, name, path, sizeof(path));
    if (disk_open(path, DISK_READ, &in) != ST_OK || disk_size(in, &size) != ST_OK)
        return ST_IO;
    char *bytes = malloc(size + 1);
    size_t got = 0;
    file_path(copying->to, name, path, sizeof(path));
    enum status status = bytes ? disk_read(in, 0, bytes, size, &got) : ST_NOMEM;
    if (status == ST_OK)
        status = disk_open(path, DISK_CREATE, &out);
    if (status == ST_OK) {
        status = disk_write(out, 0, bytes, got);
        disk_close(out);
    }
    disk_close(in);
    free(bytes);
    return status;
}

void log_dir_copy(const struct log_dir *from, const struct log_dir *to) {
    struct copying copying = {.from = from, .to = to};
    enum status status = disk_list(to->path, unlink_one, (void *)to);
    if (status == ST_OK)
        status = disk_list(from->path, copy_one, &copying);
    assert(status == ST_OK);
}

struct counting {
    const char *suffix;
    unsigned count;
};

static enum status count_one(void *ctx, const char *name) {
    struct counting *counting = ctx;
    size_t len = strlen(name), suffix = strlen(counting->suffix);
    if (len >= suffix && strcmp(name + len - suffix, counting->suffix) == 0)
        counting->count++;
    return ST_OK;
}

unsigned log_dir_count(const struct log_dir *dir, const char *suffix) {
    struct counting counting = {.suffix = suffix};
    enum status status = disk_list(dir->path, count_one, &counting);
    assert(status == ST_OK);
    return counting.count;
}

/* ---- records ---- */

size_t log_value_bytes(uint64_t number, size_t longest) {
    return (size_t)(number * 2654435761u % (longest + 1));
}

static char value_byte(uint64_t number, size_t at) {
    return (char)(number * 31 + at * 7 + 1);
}

static size_t make_key(uint64_t number, char *key, size_t size) {
    return (size_t)snprintf(key, size, "key-%llu", (unsigned long long)number);
}

static enum status note_record(
    void *ctx, uint64_t lsn, enum wal_op op, struct slice key, struct slice value) {
    struct log_replayed *replayed = ctx;
    unsigned long long number;
    char text[32], expected[32];
    if (op != WAL_PUT || key.len >= sizeof(text))
        return ST_CORRUPT;
    memcpy(text, key.data, key.len);
    text[key.len] = '\0';
    if (sscanf(text, "key-%llu", &number) != 1)
        return ST_CORRUPT;
    size_t len = make_key(number, expected, sizeof(expected));
    if (len != key.len || memcmp(text, expected, len) != 0)
        return ST_CORRUPT;
    for (size_t i = 0; i < value.len; i++)
        if (value.data[i] != value_byte(number, i))
            return ST_CORRUPT;
    if (replayed->count == replayed->cap) {
        replayed->cap = replayed->cap ? 2 * replayed->cap : 256;
        replayed->lsns = realloc(replayed->lsns, replayed->cap * sizeof(uint64_t));
        replayed->numbers = realloc(replayed->numbers, replayed->cap * sizeof(uint64_t));
        assert(replayed->lsns && replayed->numbers);
    }
    replayed->lsns[replayed->count] = lsn;
    replayed->numbers[replayed->count++] = number;
    return ST_OK;
}

void log_replayed_free(struct log_replayed *replayed) {
    free(replayed->lsns);
    free(replayed->numbers);
    *replayed = (struct log_replayed){0};
}

static uint64_t publish(
    struct wal *wal, unsigned producer, uint64_t number, size_t value_bytes, bool wait) {
    char key[32];
    struct wal_record *record;
    size_t key_bytes = make_key(number, key, sizeof(key));
    char *value = malloc(value_bytes + 1);
    assert(value);
    for (size_t i = 0; i < value_bytes; i++)
        value[i] = value_byte(number, i);
    enum status status =
        wal_reserve(wal, producer, wal_record_bytes(1, key_bytes + value_bytes), &record);
    while (wait && status == ST_BUSY) {
        sched_yield();
        status = wal_reserve(wal, producer, wal_record_bytes(1, key_bytes + value_bytes), &record);
    }
    assert(status == ST_OK);
    wal_record_put(record, slice_of(key, key_bytes), slice_of(value, value_bytes));
    free(value);
    uint64_t lsn = wal_publish(wal, record);
    wal_kick(wal);
    return lsn;
}

uint64_t log_publish(struct wal *wal, unsigned producer, uint64_t number, size_t value_bytes) {
    return publish(wal, producer, number, value_bytes, false);
}

uint64_t log_publish_patiently(
    struct wal *wal, unsigned producer, uint64_t number, size_t value_bytes) {
    return publish(wal, producer, number, value_bytes, true);
}

/* ---- logs ---- */

struct wal_options log_options(const struct log_dir *dir) {
    return (struct wal_options){
        .dir = dir->path,
        .segment_bytes = 65536,
        .durability = WAL_ALWAYS,
        .producers = 1,
        .ring_slots = 1024,
        .salt = 42,
    };
}

enum status log_open(const struct wal_options *options, struct wal **wal,
    struct log_replayed *replayed, char *error, size_t error_size) {
    struct wal_replay replay = {.ctx = replayed, .apply = note_record};
    struct buf text;
    buf_init(&text, 16384);
    enum status status = wal_open(options, &replay, wal, &text);
    if (error)
        snprintf(error, error_size, "%.*s", (int)text.len, text.len ? text.data : "");
    else if (status != ST_OK)
        fprintf(stderr, "%.*s\n", (int)text.len, text.data);
    buf_free(&text);
    return status;
}

struct wal *log_begin(const struct wal_options *options, struct log_replayed *replayed) {
    struct wal *wal;
    struct buf error;
    buf_init(&error, 16384);
    enum status status = log_open(options, &wal, replayed, NULL, 0);
    assert(status == ST_OK);
    status = wal_begin(wal, &error);
    assert(status == ST_OK);
    buf_free(&error);
    return wal;
}

void log_settle(struct wal *wal) {
    bool busy = true;
    while (busy) {
        busy = wal_step(wal, clock_monotonic_ns()) == 0;
        busy = wal_prepare_step(wal) || busy;
    }
}
