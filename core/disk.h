/* The disk: the few file operations that concave needs, in one place, so that a simulation can
 * replace them at link time (tests do too, to make the n-th call fail). Nothing else touches files
 * that must outlive a crash.
 *
 * Ownership: a struct disk_file belongs to who opened it, until disk_close.
 * Threads: any; a file may be read, written and synced by several threads at once.
 * Errors: an enum status; errno says why in the system's words until the next call. ST_DISK_FULL
 * for a lack of room or quota, ST_BUSY for too many open files, ST_IO for what has no status of its
 * own. Interrupted and short calls
 * are continued here, so a write is whole or failed. */
#ifndef CONCAVE_CORE_DISK_H
#define CONCAVE_CORE_DISK_H

#include <stddef.h>
#include <stdint.h>

#include "core/status.h"

/* A path built of a directory and a name must fit; longer directories are refused. */
#define DISK_PATH_BYTES_MAX 4096u

struct disk_file;

enum disk_mode {
    DISK_READ,   /* must exist */
    DISK_UPDATE, /* must exist; read and write */
    DISK_CREATE, /* must not exist; read and write */
};

/* ST_OK; ST_NOT_FOUND, ST_EXISTS, ST_DISK_FULL, ST_BUSY, ST_NOMEM, ST_IO. */
MUST_USE enum status disk_open(const char *path, enum disk_mode mode, struct disk_file **file);
void disk_close(struct disk_file *file);

/* Bytes in the file. ST_OK; ST_IO. */
MUST_USE enum status disk_size(struct disk_file *file, uint64_t *bytes);
/* Reads len bytes at offset, fewer only if the file ends before; got says how many. ST_OK; ST_IO.
 */
MUST_USE enum status disk_read(
    struct disk_file *file, uint64_t offset, void *data, size_t len, size_t *got);
/* Writes all of it. ST_OK; ST_DISK_FULL, ST_IO: nobody knows how much was written. */
MUST_USE enum status disk_write(
    struct disk_file *file, uint64_t offset, const void *data, size_t len);
/* Reserves room for the first `bytes` of the file and makes it that long; what was not written
 * reads as zeros. ST_OK; ST_DISK_FULL; ST_INVALID if the file system cannot reserve; ST_IO. */
MUST_USE enum status disk_allocate(struct disk_file *file, uint64_t bytes);
/* Makes the file this long. ST_OK; ST_IO. */
MUST_USE enum status disk_truncate(struct disk_file *file, uint64_t bytes);
/* Returns when the file's bytes are on disk (not its name: disk_sync_dir). ST_OK; ST_IO. */
MUST_USE enum status disk_sync(struct disk_file *file);
/* What is read from now on comes from the medium, where it was synced: after a failed sync the
 * system goes on to show what it could not write. Advice: file systems without a cache of their own
 * may ignore it. */
void disk_drop_cache(struct disk_file *file);

/* Returns when the names in the directory are on disk. ST_OK; ST_NOT_FOUND, ST_IO. */
MUST_USE enum status disk_sync_dir(const char *dir);
/* Makes a directory (not its parents), unless it is there; returns when its name is on disk, if its
 * parent may be read. ST_OK; ST_INVALID (path too long), ST_NOT_FOUND, ST_IO. */
MUST_USE enum status disk_make_dir(const char *dir);
/* Replaces `to` if it is there. ST_OK; ST_NOT_FOUND, ST_IO. */
MUST_USE enum status disk_rename(const char *from, const char *to);
/* ST_OK; ST_NOT_FOUND, ST_IO. */
MUST_USE enum status disk_unlink(const char *path);
/* Calls visit with each name in the directory but "." and "..", in no order; a status other than
 * ST_OK from it ends the walk. ST_OK; ST_NOT_FOUND, ST_IO, or what visit returned. */
MUST_USE enum status disk_list(
    const char *dir, enum status (*visit)(void *ctx, const char *name), void *ctx);
/* Creates the file if it is not there and locks it for this process, until disk_close or the
 * process's end, however that comes. ST_OK; ST_LOCKED if another holds it; ST_IO. */
MUST_USE enum status disk_lock(const char *path, struct disk_file **lock);

#endif
