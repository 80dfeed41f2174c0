/* Snapshot files: all keys of a data directory with their values and versions, in key order; and
 * their names, snapshot-<LSN>.snap.
 *
 * A snapshot holds every transaction up to its LSN, s, and of later ones what had reached each
 * shard when that shard was frozen, none of it later than N. So it is a state that once was only
 * together with the records behind s, of which all up to N must be there (architecture.md, section
 * 6). It is written to a temporary file and gets its name when all of it is on disk.
 *
 * Ownership: whoever opens a writer ends it with snapshot_writer_publish or snapshot_writer_abort;
 * a reader is closed. What a reader hands out lies in its buffer until its next call.
 * Threads: none of their own; one writer per directory at a time, any number of readers.
 * Bounds: writer and reader hold one block, which is 64 KiB or, if that is more, one item.
 * Errors: a status; file, offset and reason go to `error`. ST_DISK_FULL ends a snapshot, not the
 * process: nothing depends on it before it is published. */
#ifndef CONCAVE_CORE_SNAPSHOT_H
#define CONCAVE_CORE_SNAPSHOT_H

#include "core/buf.h"
#include "core/disk.h"

#define SNAPSHOT_FORMAT_VERSION 1u
/* "snapshot-", 20 digits, ".snap" and the terminating zero. */
#define SNAPSHOT_NAME_BYTES 35u
/* What a snapshot is called while it is made. */
#define SNAPSHOT_NEXT_NAME "snapshot-next.tmp"

struct snapshot_info {
    uint64_t salt;        /* of the data directory */
    uint64_t lsn;         /* s: all records up to here are in it */
    uint64_t applied_lsn; /* N: no record behind here is in it; at least s */
    bool first_run;       /* the first run was over at s */
    uint64_t keys;
    uint64_t bytes; /* of the file */
};

struct snapshot_item {
    struct slice key;
    struct slice value;
    uint64_t version;
};

/* ---- names ---- */

/* The file name of a snapshot, of SNAPSHOT_NAME_BYTES bytes. */
void snapshot_name(uint64_t lsn, char *name);
/* True if it is the name of a snapshot. */
bool snapshot_name_parse(const char *name, uint64_t *lsn);

/* The LSNs of a directory's snapshots, newest first, damaged ones too. To be freed with free.
 * ST_OK; ST_NOMEM, ST_IO. */
MUST_USE enum status snapshot_list(
    const char *dir, uint64_t **lsns, size_t *count, struct buf *error);
/* Removes the snapshots older than this LSN, and syncs the directory. ST_OK; ST_NOMEM, ST_IO. */
MUST_USE enum status snapshot_remove_older(const char *dir, uint64_t lsn, struct buf *error);
/* Removes what an interrupted writer has left. ST_OK; ST_IO. */
MUST_USE enum status snapshot_remove_unfinished(const char *dir, struct buf *error);

/* ---- writing ---- */

struct snapshot_writer;

/* Begins the snapshot of LSN s. `error` must live as long as the writer: the calls below report
 * there too. ST_OK; ST_DISK_FULL, ST_NOMEM, ST_INVALID (path too long), ST_IO. */
MUST_USE enum status snapshot_writer_open(const char *dir, uint64_t salt, uint64_t s,
    bool first_run, struct snapshot_writer **writer, struct buf *error);
/* Keys ascend strictly; 1 to 65535 bytes. version is at least 1. ST_OK; after any other status the
 * writer can only be aborted: ST_DISK_FULL, ST_NOMEM, ST_IO. */
MUST_USE enum status snapshot_writer_add(
    struct snapshot_writer *writer, struct slice key, uint64_t version, struct slice value);
/* Completes the file and syncs it. applied_lsn is N, at least s and every version. ST_OK;
 * ST_DISK_FULL, ST_IO. */
MUST_USE enum status snapshot_writer_finish(struct snapshot_writer *writer, uint64_t applied_lsn);
/* After finish: what the durable LSN must have reached before the snapshot is published. It is N,
 * which a version that is there need not show: the newest of the records may be a delete. */
uint64_t snapshot_writer_gate(const struct snapshot_writer *writer);
/* After finish, and when the durable LSN has reached the gate: gives the file its name (a snapshot
 * of the same LSN is replaced) and syncs the directory. Frees the writer in any case. ST_OK;
 * ST_DISK_FULL, ST_IO: whether the name is there is not known. */
MUST_USE enum status snapshot_writer_publish(struct snapshot_writer *writer);
/* Removes the temporary file and frees the writer. NULL is fine. */
void snapshot_writer_abort(struct snapshot_writer *writer);
/* Bytes and items so far. */
uint64_t snapshot_writer_bytes(const struct snapshot_writer *writer);
uint64_t snapshot_writer_keys(const struct snapshot_writer *writer);

/* ---- reading ---- */

struct snapshot_reader;

/* Opens the snapshot of this LSN and checks its header, name and size. ST_OK; ST_CORRUPT;
 * ST_INVALID (unknown format version, path too long); ST_NOT_FOUND, ST_IO, ST_NOMEM. */
MUST_USE enum status snapshot_reader_open(
    const char *dir, uint64_t lsn, struct snapshot_reader **reader, struct buf *error);
void snapshot_reader_close(struct snapshot_reader *reader);
const struct snapshot_info *snapshot_reader_info(const struct snapshot_reader *reader);
/* The next item in key order; its whole block has been checked. ST_OK; ST_END, only if the file is
 * whole; ST_CORRUPT, ST_IO, ST_NOMEM. */
MUST_USE enum status snapshot_reader_next(
    struct snapshot_reader *reader, struct snapshot_item *item, struct buf *error);
/* Bytes read so far, for progress. */
uint64_t snapshot_reader_bytes(const struct snapshot_reader *reader);

/* Reads all of it. ST_OK and what its header says (info may be NULL); else as the reader. */
MUST_USE enum status snapshot_verify(
    const char *dir, uint64_t lsn, struct snapshot_info *info, struct buf *error);

#endif
