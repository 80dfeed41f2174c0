/* The log's bytes: how segments, records and operations are encoded; the layout is in wal_format.c.
 *
 * Ownership: callers own all bytes; what is decoded points into them.
 * Threads: none of its own; all functions are pure.
 * Errors: a status, or false where the only error is "these bytes are not one". */
#ifndef CONCAVE_CORE_WAL_FORMAT_H
#define CONCAVE_CORE_WAL_FORMAT_H

#include "core/buf.h"
#include "core/wal.h"

#define WAL_FORMAT_VERSION 1u
/* What a sync starts on, so that no sector with acknowledged bytes is ever written again. */
#define WAL_BLOCK_BYTES 4096u
/* Records begin and end on multiples of this; a search for them goes in these steps. */
#define WAL_ALIGN_BYTES 8u
#define WAL_RECORD_HEADER_BYTES 32u
#define WAL_OP_HEADER_BYTES 8u
/* "wal-", 20 digits, ".log" and the terminating zero. */
#define WAL_NAME_BYTES 29u
#define WAL_NEXT_NAME "wal-next.tmp"

static inline uint64_t wal_align_up(uint64_t bytes, uint64_t step) {
    return (bytes + step - 1) / step * step;
}

/* ---- segments ---- */

/* Replies may have left before the sync while this segment was written (interval, manual). */
#define WAL_SEGMENT_RELAXED 1u

struct wal_segment_header {
    uint32_t version; /* of the format; set by decoding */
    uint32_t flags;
    uint64_t salt;
    uint64_t first_lsn;
    /* The last LSN before this segment: first_lsn - 1, unless a gap is declared. It was on disk
     * before this header was. */
    uint64_t before_lsn;
};

/* The file name of a segment, of WAL_NAME_BYTES bytes. */
void wal_segment_name(uint64_t first_lsn, char *name);
/* True if it is the name of a segment. */
bool wal_segment_name_parse(const char *name, uint64_t *first_lsn);

/* Fills a whole block. */
void wal_header_encode(const struct wal_segment_header *header, unsigned char *block);
/* block: WAL_BLOCK_BYTES bytes. ST_OK; ST_INVALID for a format version unknown here
 * (header->version says which); ST_CORRUPT. */
MUST_USE enum status wal_header_decode(
    const unsigned char *block, struct wal_segment_header *header);
/* What the checksums of a segment's records are seeded with. */
uint64_t wal_segment_seed(uint64_t salt, uint64_t first_lsn);

/* ---- records ---- */

struct wal_record_head {
    uint32_t bytes; /* of the record, this header and the padding included */
    uint64_t lsn;
    uint64_t durable_lsn; /* when it was written: D */
};

/* Completes a record whose operations are in place: bytes in all, a multiple of WAL_ALIGN_BYTES. */
void wal_record_seal(
    unsigned char *record, size_t bytes, uint64_t lsn, uint64_t durable_lsn, uint64_t seed);
/* Reads a record's header; true if it is one (its own check holds). The record's checksum is
 * another matter. */
bool wal_record_head_decode(
    const unsigned char *record, uint64_t seed, struct wal_record_head *head);
/* True if the whole record, of head.bytes bytes, is what was sealed. */
bool wal_record_intact(const unsigned char *record, size_t bytes, uint64_t seed);

/* ---- operations ---- */

/* Ends the log in peace: a record with only this in it, and the LSN of the record before it. */
#define WAL_OP_CLEAN_END 4

/* Writes an operation and returns its bytes; room for WAL_OP_HEADER_BYTES + key + value must be
 * there. op: enum wal_op or WAL_OP_CLEAN_END. */
size_t wal_op_encode(unsigned char *out, int op, struct slice key, struct slice value);
/* Takes the next operation off *rest (a record behind its header). ST_OK; ST_END; ST_CORRUPT. */
MUST_USE enum status wal_op_decode(
    struct slice *rest, int *op, struct slice *key, struct slice *value);
/* True if the record is a mark of a clean end. */
bool wal_record_is_clean_end(const unsigned char *record, size_t bytes);

#endif
