/* Reads a segment: its header, its records in order, and what is behind the last of them.
 *
 * It reads through a window of bounded size, so that a log of any length streams; the window grows
 * to the longest record, at most half a segment.
 *
 * Ownership: the reader owns its window and the open file; records point into the window until the
 * next call.
 * Threads: none of its own.
 * Errors: ST_IO (errno says why), ST_NOMEM; unreadable bytes are no error here but an end. */
#ifndef CONCAVE_CORE_WAL_READER_H
#define CONCAVE_CORE_WAL_READER_H

#include "core/disk.h"
#include "core/wal_format.h"

/* The first LSNs of a directory's segments, ascending; to be freed with free. report: files of
 * which concave knows nothing are told to the operator. ST_OK; ST_NOMEM, ST_IO with a sentence in
 * error.
 */
MUST_USE enum status wal_list_segments(
    const char *dir, bool report, uint64_t **first_lsns, size_t *count, struct buf *error);
/* Which of them is the first that may have records behind this LSN: the index of the last one that
 * begins at lsn + 1 or before; 0 if there is none. */
size_t wal_first_needed(const uint64_t *first_lsns, size_t count, uint64_t lsn);

struct wal_reader {
    struct disk_file *file;
    uint64_t size; /* of the file */
    struct wal_segment_header header;
    uint64_t seed;
    /* the place behind the newest record that was read in order */
    uint64_t offset;
    uint64_t next_lsn; /* of the record expected there */
    bool clean_end;    /* the newest record is a mark of a clean end */
    /* the window */
    unsigned char *window;
    size_t window_cap;
    size_t window_len;
    uint64_t window_at;
};

/* Opens a segment and reads its header. ST_OK; ST_INVALID (unknown version: header.version),
 * ST_CORRUPT; ST_NOT_FOUND, ST_IO, ST_NOMEM. To be closed only after ST_OK. */
MUST_USE enum status wal_reader_open(struct wal_reader *reader, const char *path);
void wal_reader_close(struct wal_reader *reader);

/* The next record in LSN order. ST_OK; ST_END if none is readable here (offset and next_lsn say
 * where); ST_IO, ST_NOMEM. Marks of clean ends are passed over. */
MUST_USE enum status wal_reader_next(
    struct wal_reader *reader, struct wal_record_head *head, const unsigned char **record);

/* Forgets what was read ahead and asks for the file's size again, where another process may be
 * writing. ST_OK; ST_IO. */
MUST_USE enum status wal_reader_refresh(struct wal_reader *reader);

/* After ST_END: looks behind the end for a readable record which says that `lsn` was durable.
 * ST_OK and that record's head and place; ST_NOT_FOUND; ST_IO, ST_NOMEM. */
MUST_USE enum status wal_reader_find_durable(
    struct wal_reader *reader, uint64_t lsn, struct wal_record_head *head, uint64_t *offset);

/* The first byte at or behind offset that is not zero; the file's size if there is none. */
MUST_USE enum status wal_reader_find_nonzero(
    struct wal_reader *reader, uint64_t offset, uint64_t *found);

#endif
