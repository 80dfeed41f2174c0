/* The names of snapshots, and a directory's snapshots as a list. */
#include "core/snapshot_private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define DIGITS 20

static const char prefix[] = "snapshot-", suffix[] = ".snap";

_Static_assert(sizeof(prefix) - 1 + DIGITS + sizeof(suffix) == SNAPSHOT_NAME_BYTES, "a name fits");

void snapshot_name(uint64_t lsn, char *name) {
    snprintf(name, SNAPSHOT_NAME_BYTES, "%s%020llu%s", prefix, (unsigned long long)lsn, suffix);
}

bool snapshot_name_parse(const char *name, uint64_t *lsn) {
    const char *digits = name + sizeof(prefix) - 1;
    if (strlen(name) != SNAPSHOT_NAME_BYTES - 1 || strncmp(name, prefix, sizeof(prefix) - 1) != 0)
        return false;
    uint64_t number = 0;
    for (unsigned i = 0; i < DIGITS; i++) {
        if (digits[i] < '0' || digits[i] > '9')
            return false;
        uint64_t digit = (uint64_t)(digits[i] - '0');
        if (number > (UINT64_MAX - digit) / 10)
            return false;
        number = number * 10 + digit;
    }
    if (strcmp(digits + DIGITS, suffix) != 0)
        return false;
    *lsn = number;
    return true;
}

enum status snapshot_path(const char *dir, const char *name, char *path, struct buf *error) {
    int len = snprintf(path, DISK_PATH_BYTES_MAX, "%s/%s", dir, name);
    if (len < 0 || (size_t)len >= DISK_PATH_BYTES_MAX) {
        buf_printf(error, "%s: the path is too long", dir);
        return ST_INVALID;
    }
    return ST_OK;
}

struct list {
    uint64_t *lsns;
    size_t count, cap;
};

static enum status note_name(void *ctx, const char *name) {
    struct list *list = ctx;
    uint64_t lsn;
    if (!snapshot_name_parse(name, &lsn))
        return ST_OK;
    if (list->count == list->cap) {
        size_t cap = list->cap ? 2 * list->cap : 16;
        uint64_t *grown = realloc(list->lsns, cap * sizeof(*grown));
        if (!grown)
            return ST_NOMEM;
        list->lsns = grown;
        list->cap = cap;
    }
    list->lsns[list->count++] = lsn;
    return ST_OK;
}

static int newest_first(const void *left, const void *right) {
    uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;
    return (a < b) - (a > b);
}

enum status snapshot_list(const char *dir, uint64_t **lsns, size_t *count, struct buf *error) {
    struct list list = {0};
    enum status status = disk_list(dir, note_name, &list);
    if (status != ST_OK) {
        buf_printf(error, "%s: cannot be read: %s", dir,
            status == ST_NOMEM ? status_text(status) : strerror(errno));
        free(list.lsns);
        *lsns = NULL;
        *count = 0;
        return status == ST_NOMEM ? ST_NOMEM : ST_IO;
    }
    if (list.count)
        qsort(list.lsns, list.count, sizeof(*list.lsns), newest_first);
    *lsns = list.lsns;
    *count = list.count;
    return ST_OK;
}

static enum status remove_file(const char *dir, const char *name, struct buf *error) {
    char path[DISK_PATH_BYTES_MAX];
    enum status status = snapshot_path(dir, name, path, error);
    if (status != ST_OK)
        return status;
    status = disk_unlink(path);
    if (status == ST_OK || status == ST_NOT_FOUND)
        return ST_OK;
    buf_printf(error, "%s: cannot be removed: %s", path, strerror(errno));
    return ST_IO;
}

enum status snapshot_remove_older(const char *dir, uint64_t lsn, struct buf *error) {
    uint64_t *lsns;
    size_t count, removed = 0;
    enum status status = snapshot_list(dir, &lsns, &count, error);
    for (size_t i = 0; status == ST_OK && i < count; i++) {
        char name[SNAPSHOT_NAME_BYTES];
        if (lsns[i] >= lsn)
            continue;
        snapshot_name(lsns[i], name);
        status = remove_file(dir, name, error);
        removed++;
    }
    free(lsns);
    if (status != ST_OK || removed == 0)
        return status;
    status = disk_sync_dir(dir);
    if (status == ST_OK)
        return ST_OK;
    buf_printf(error, "%s: cannot be synced: %s", dir, strerror(errno));
    return ST_IO;
}

enum status snapshot_remove_unfinished(const char *dir, struct buf *error) {
    return remove_file(dir, SNAPSHOT_NEXT_NAME, error);
}
