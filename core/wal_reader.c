#include "core/wal_reader.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#define WINDOW_BYTES ((size_t)1 << 20)

/* The len bytes at offset, which lie inside the file. */
static enum status look(
    struct wal_reader *reader, uint64_t offset, size_t len, const unsigned char **bytes) {
    assert(offset <= reader->size && len <= reader->size - offset);
    bool inside = offset >= reader->window_at && offset - reader->window_at <= reader->window_len &&
                  len <= reader->window_len - (size_t)(offset - reader->window_at);
    if (!inside) {
        size_t want = len > WINDOW_BYTES ? len : WINDOW_BYTES;
        if (want > reader->window_cap) {
            unsigned char *window = realloc(reader->window, want);
            if (!window)
                return ST_NOMEM;
            reader->window = window;
            reader->window_cap = want;
        }
        reader->window_len = 0;
        enum status status =
            disk_read(reader->file, offset, reader->window, want, &reader->window_len);
        if (status != ST_OK)
            return status;
        reader->window_at = offset;
        if (reader->window_len < len) {
            errno = ENODATA; /* the file became shorter under our hands */
            return ST_IO;
        }
    }
    *bytes = reader->window + (offset - reader->window_at);
    return ST_OK;
}

static enum status read_header(struct wal_reader *reader) {
    enum status status = disk_size(reader->file, &reader->size);
    if (status != ST_OK)
        return status;
    if (reader->size < WAL_BLOCK_BYTES)
        return ST_CORRUPT;
    const unsigned char *block;
    status = look(reader, 0, WAL_BLOCK_BYTES, &block);
    if (status != ST_OK)
        return status;
    status = wal_header_decode(block, &reader->header);
    if (status != ST_OK)
        return status;
    reader->seed = wal_segment_seed(reader->header.salt, reader->header.first_lsn);
    reader->offset = WAL_BLOCK_BYTES;
    reader->next_lsn = reader->header.first_lsn;
    return ST_OK;
}

enum status wal_reader_open(struct wal_reader *reader, const char *path) {
    *reader = (struct wal_reader){0};
    enum status status = disk_open(path, DISK_READ, &reader->file);
    if (status != ST_OK)
        return status;
    status = read_header(reader);
    if (status != ST_OK)
        wal_reader_close(reader);
    return status;
}

void wal_reader_close(struct wal_reader *reader) {
    disk_close(reader->file);
    free(reader->window);
    reader->file = NULL;
    reader->window = NULL;
}

/* The record at offset. ST_OK; ST_NOT_FOUND if there is no readable one. */
static enum status read_record(struct wal_reader *reader, uint64_t offset,
    struct wal_record_head *head, const unsigned char **record) {
    if (offset > reader->size || reader->size - offset < WAL_RECORD_HEADER_BYTES)
        return ST_NOT_FOUND;
    enum status status = look(reader, offset, WAL_RECORD_HEADER_BYTES, record);
    if (status != ST_OK)
        return status;
    if (!wal_record_head_decode(*record, reader->seed, head) || head->bytes > reader->size - offset)
        return ST_NOT_FOUND;
    status = look(reader, offset, head->bytes, record);
    if (status != ST_OK)
        return status;
    return wal_record_intact(*record, head->bytes, reader->seed) ? ST_OK : ST_NOT_FOUND;
}

/* The record at offset, if it is the one that comes next in order. */
static enum status read_expected(struct wal_reader *reader, uint64_t offset,
    struct wal_record_head *head, const unsigned char **record) {
    enum status status = read_record(reader, offset, head, record);
    if (status != ST_OK)
        return status;
    bool mark = wal_record_is_clean_end(*record, head->bytes);
    if (head->lsn != (mark ? reader->next_lsn - 1 : reader->next_lsn))
        return ST_NOT_FOUND;
    reader->offset = offset + head->bytes;
    reader->clean_end = mark;
    if (!mark)
        reader->next_lsn++;
    return ST_OK;
}

enum status wal_reader_next(
    struct wal_reader *reader, struct wal_record_head *head, const unsigned char **record) {
    enum status status;
    do {
        status = read_expected(reader, reader->offset, head, record);
        /* Not here: where the next sync would have begun. */
        uint64_t block = wal_align_up(reader->offset, WAL_BLOCK_BYTES);
        if (status == ST_NOT_FOUND && block != reader->offset)
            status = read_expected(reader, block, head, record);
    } while (status == ST_OK && reader->clean_end);
    return status == ST_NOT_FOUND ? ST_END : status;
}

enum status wal_reader_refresh(struct wal_reader *reader) {
    reader->window_len = 0;
    return disk_size(reader->file, &reader->size);
}

enum status wal_reader_find_durable(
    struct wal_reader *reader, uint64_t lsn, struct wal_record_head *head, uint64_t *offset) {
    const unsigned char *record;
    for (uint64_t at = reader->offset;
         at <= reader->size && reader->size - at >= WAL_RECORD_HEADER_BYTES;
         at += WAL_ALIGN_BYTES) {
        enum status status = read_record(reader, at, head, &record);
        if (status == ST_OK && head->durable_lsn >= lsn) {
            *offset = at;
            return ST_OK;
        }
        if (status != ST_OK && status != ST_NOT_FOUND)
            return status;
    }
    return ST_NOT_FOUND;
}

/* How many bytes are zero before the first that is not. Segments end in megabytes of them, so whole
 * stretches are compared with themselves one byte further, at the speed of memcmp. */
static size_t count_zeros(const unsigned char *bytes, size_t len) {
    if (len > 0 && bytes[0] == 0 && memcmp(bytes, bytes + 1, len - 1) == 0)
        return len;
    size_t zeros = 0;
    while (zeros < len && bytes[zeros] == 0)
        zeros++;
    return zeros;
}

enum status wal_reader_find_nonzero(struct wal_reader *reader, uint64_t offset, uint64_t *found) {
    while (offset < reader->size) {
        uint64_t rest = reader->size - offset;
        size_t len = rest < WINDOW_BYTES ? (size_t)rest : WINDOW_BYTES;
        const unsigned char *bytes;
        enum status status = look(reader, offset, len, &bytes);
        if (status != ST_OK)
            return status;
        size_t zeros = count_zeros(bytes, len);
        offset += zeros;
        if (zeros < len)
            break;
    }
    *found = offset;
    return ST_OK;
}
