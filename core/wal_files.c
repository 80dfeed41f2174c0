/* The log's files as names in a directory: finding them, removing the old ones, beginning a log in
 * the middle.
 *
 * The directory is the list of segments; nobody keeps another. So trimming needs no lock against
 * the log thread: that only ever adds names behind the ones that are there, with their header on
 * disk already, and trimming only removes names that have a successor in the list it has read. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/diag.h"
#include "core/snapshot.h"
#include "core/wal_private.h"
#include "core/wal_reader.h"

struct found {
    const char *report_in; /* the directory whose stray files are to be reported; NULL: none */
    uint64_t *first_lsns;
    size_t count, cap;
};

static bool is_ours(const char *name) {
    size_t len = strlen(name);
    uint64_t lsn;
    bool temporary = len > 4 && strcmp(name + len - 4, ".tmp") == 0;
    return temporary || snapshot_name_parse(name, &lsn) || strcmp(name, "LOCK") == 0;
}

static enum status note_name(void *ctx, const char *name) {
    struct found *found = ctx;
    uint64_t first_lsn;
    if (!wal_segment_name_parse(name, &first_lsn)) {
        if (found->report_in && !is_ours(name))
            diag(DIAG_WARN, "%s: stray file %s is left alone", found->report_in, name);
        return ST_OK;
    }
    if (found->count == found->cap) {
        size_t cap = found->cap ? 2 * found->cap : 64;
        uint64_t *grown = realloc(found->first_lsns, cap * sizeof(*grown));
        if (!grown)
            return ST_NOMEM;
        found->first_lsns = grown;
        found->cap = cap;
    }
    found->first_lsns[found->count++] = first_lsn;
    return ST_OK;
}

static int compare_lsn(const void *left, const void *right) {
    uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;
    return (a > b) - (a < b);
}

enum status wal_list_segments(
    const char *dir, bool report, uint64_t **first_lsns, size_t *count, struct buf *error) {
    struct found found = {.report_in = report ? dir : NULL};
    *first_lsns = NULL;
    *count = 0;
    enum status status = disk_list(dir, note_name, &found);
    if (status != ST_OK) {
        buf_printf(error, "%s: cannot be read: %s", dir,
            status == ST_NOMEM ? status_text(status) : strerror(errno));
        free(found.first_lsns);
        return status == ST_NOMEM ? ST_NOMEM : ST_IO;
    }
    if (found.count)
        qsort(found.first_lsns, found.count, sizeof(*found.first_lsns), compare_lsn);
    *first_lsns = found.first_lsns;
    *count = found.count;
    return ST_OK;
}

size_t wal_first_needed(const uint64_t *first_lsns, size_t count, uint64_t lsn) {
    size_t first = 0;
    while (first + 1 < count && first_lsns[first + 1] - 1 <= lsn)
        first++;
    return first;
}

/* ---- trimming ---- */

enum status wal_trim(struct wal *wal, uint64_t lsn, struct buf *error) {
    uint64_t *first_lsns;
    size_t count;
    enum status status = wal_list_segments(wal->dir, false, &first_lsns, &count, error);
    if (status != ST_OK)
        return status;
    size_t needed = wal_first_needed(first_lsns, count, lsn);
    for (size_t i = 0; status == ST_OK && i < needed; i++) {
        char name[WAL_NAME_BYTES], path[DISK_PATH_BYTES_MAX];
        wal_segment_name(first_lsns[i], name);
        wal_path(wal, name, path);
        status = disk_unlink(path);
        if (status != ST_OK && status != ST_NOT_FOUND) {
            buf_printf(error, "%s: cannot be removed: %s", path, strerror(errno));
            status = ST_IO;
            break;
        }
        status = ST_OK;
        atomic_fetch_sub_explicit(&wal->segments, 1, memory_order_relaxed);
        atomic_store_explicit(&wal->first_lsn, first_lsns[i + 1], memory_order_relaxed);
    }
    free(first_lsns);
    if (status == ST_OK && needed > 0 && disk_sync_dir(wal->dir) != ST_OK) {
        buf_printf(error, "%s: cannot be synced: %s", wal->dir, strerror(errno));
        status = ST_IO;
    }
    return status;
}

/* ---- beginning in the middle ---- */

static enum status write_header(const char *path, const struct wal_segment_header *header) {
    unsigned char block[WAL_BLOCK_BYTES];
    struct disk_file *file;
    enum status status = disk_unlink(path); /* what an interrupted attempt has left */
    if (status == ST_OK || status == ST_NOT_FOUND)
        status = disk_open(path, DISK_CREATE, &file);
    if (status != ST_OK)
        return status;
    wal_header_encode(header, block);
    status = disk_write(file, 0, block, sizeof(block));
    if (status == ST_OK)
        status = disk_sync(file);
    disk_close(file);
    return status;
}

enum status wal_create_behind(
    const char *dir, uint64_t salt, uint64_t last_lsn, struct buf *error) {
    assert(salt != 0 && last_lsn < UINT64_MAX);
    char name[WAL_NAME_BYTES], next[DISK_PATH_BYTES_MAX], path[DISK_PATH_BYTES_MAX];
    wal_segment_name(last_lsn + 1, name);
    int len = snprintf(path, sizeof(path), "%s/%s", dir, name);
    if (len < 0 || (size_t)len >= sizeof(path)) {
        buf_printf(error, "%s: the path is too long", dir);
        return ST_INVALID;
    }
    (void)snprintf(next, sizeof(next), "%s/%s", dir, WAL_NEXT_NAME); /* the shorter name */
    struct wal_segment_header header = {
        .salt = salt, .first_lsn = last_lsn + 1, .before_lsn = last_lsn};
    enum status status = write_header(next, &header);
    if (status == ST_OK)
        status = disk_rename(next, path);
    if (status == ST_OK)
        status = disk_sync_dir(dir);
    if (status != ST_OK)
        buf_printf(error, "%s: cannot be made: %s", path,
            status == ST_NOMEM ? status_text(status) : strerror(errno));
    return status == ST_OK || status == ST_NOMEM || status == ST_DISK_FULL ? status : ST_IO;
}
