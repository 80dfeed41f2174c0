/* Reading a snapshot: block by block, each checked as a whole before anything of it is handed out.
 * The layout is described in snapshot_write.c. */
#include "core/snapshot_private.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#define WINDOW_BYTES ((size_t)1 << 20)

struct snapshot_reader {
    struct disk_file *file;
    struct snapshot_info info;
    uint64_t last_checksum; /* the header's: where the chain must end */
    uint64_t chain;
    uint64_t offset; /* of the block that comes next */
    uint64_t keys;   /* handed out */
    /* the block at hand, in the window */
    const unsigned char *at, *end;
    uint32_t items_left;
    /* bytes of the file from window_at on */
    unsigned char *window;
    size_t window_cap, window_len;
    uint64_t window_at;
    unsigned char last_key[UINT16_MAX];
    size_t last_key_len;
    char path[DISK_PATH_BYTES_MAX];
};

static enum status damaged(
    const struct snapshot_reader *reader, uint64_t offset, const char *what, struct buf *error) {
    buf_printf(
        error, "%s: offset %llu: damaged: %s", reader->path, (unsigned long long)offset, what);
    return ST_CORRUPT;
}

static enum status unreadable(
    const struct snapshot_reader *reader, uint64_t offset, enum status status, struct buf *error) {
    if (status == ST_NOMEM) {
        buf_printf(
            error, "%s: offset %llu: out of memory", reader->path, (unsigned long long)offset);
        return ST_NOMEM;
    }
    buf_printf(error, "%s: offset %llu: cannot be read: %s", reader->path,
        (unsigned long long)offset, strerror(errno));
    return status == ST_NOT_FOUND ? ST_NOT_FOUND : ST_IO;
}

/* The len bytes at offset, which the header says are in the file. */
static enum status look(struct snapshot_reader *reader, uint64_t offset, size_t len,
    const unsigned char **bytes, struct buf *error) {
    assert(offset <= reader->info.bytes && len <= reader->info.bytes - offset);
    bool inside =
        offset >= reader->window_at && offset + len <= reader->window_at + reader->window_len;
    if (!inside) {
        size_t want = len > WINDOW_BYTES ? len : WINDOW_BYTES;
        if (want > reader->window_cap) {
            unsigned char *grown = realloc(reader->window, want);
            if (!grown)
                return unreadable(reader, offset, ST_NOMEM, error);
            reader->window = grown;
            reader->window_cap = want;
        }
        reader->window_len = 0;
        reader->window_at = offset;
        enum status status =
            disk_read(reader->file, offset, reader->window, want, &reader->window_len);
        if (status != ST_OK)
            return unreadable(reader, offset, status, error);
        if (reader->window_len < len)
            return damaged(reader, offset, "the file became shorter", error);
    }
    *bytes = reader->window + (offset - reader->window_at);
    return ST_OK;
}

/* ---- the header ---- */

static enum status decode_header(
    struct snapshot_reader *reader, uint64_t lsn, const unsigned char *header, struct buf *error) {
    struct snapshot_info *info = &reader->info;
    if (memcmp(header, SNAPSHOT_MAGIC, SNAPSHOT_VERSION) != 0)
        return damaged(reader, 0, "the header is not that of a snapshot", error);
    uint32_t version = get_u32(header + SNAPSHOT_VERSION);
    if (version != SNAPSHOT_FORMAT_VERSION) {
        buf_printf(error,
            "%s: format version %u is unknown to this concave, which knows version %u",
            reader->path, (unsigned)version, SNAPSHOT_FORMAT_VERSION);
        return ST_INVALID;
    }
    if (get_u64(header + SNAPSHOT_CHECKSUM) != XXH3_64bits(header, SNAPSHOT_CHECKSUM))
        return damaged(reader, 0, "the header is unreadable", error);
    *info = (struct snapshot_info){
        .salt = get_u64(header + SNAPSHOT_SALT),
        .lsn = get_u64(header + SNAPSHOT_LSN),
        .applied_lsn = get_u64(header + SNAPSHOT_APPLIED),
        .first_run = get_u32(header + SNAPSHOT_FLAGS) & SNAPSHOT_FIRST_RUN,
        .keys = get_u64(header + SNAPSHOT_KEYS),
        .bytes = get_u64(header + SNAPSHOT_BYTES),
    };
    if (info->lsn != lsn)
        return damaged(reader, 0, "its header is of the snapshot of another LSN", error);
    if (info->applied_lsn < info->lsn || info->bytes < SNAPSHOT_HEADER_BYTES)
        return damaged(reader, 0, "the header contradicts itself", error);
    reader->last_checksum = get_u64(header + SNAPSHOT_LAST);
    reader->chain = snapshot_seed(info->salt, info->lsn);
    reader->offset = SNAPSHOT_HEADER_BYTES;
    return ST_OK;
}

static enum status read_header(struct snapshot_reader *reader, uint64_t lsn, struct buf *error) {
    unsigned char header[SNAPSHOT_HEADER_BYTES];
    size_t got;
    uint64_t size;
    enum status status = disk_read(reader->file, 0, header, sizeof(header), &got);
    if (status == ST_OK)
        status = disk_size(reader->file, &size);
    if (status != ST_OK)
        return unreadable(reader, 0, status, error);
    if (got < sizeof(header))
        return damaged(reader, got, "the file ends in its header", error);
    status = decode_header(reader, lsn, header, error);
    if (status == ST_OK && size != reader->info.bytes)
        return damaged(reader, size < reader->info.bytes ? size : reader->info.bytes,
            "the file is not as long as its header says", error);
    return status;
}

enum status snapshot_reader_open(
    const char *dir, uint64_t lsn, struct snapshot_reader **out, struct buf *error) {
    *out = NULL;
    struct snapshot_reader *reader = calloc(1, sizeof(*reader));
    if (!reader) {
        buf_printf(error, "%s: a snapshot: out of memory", dir);
        return ST_NOMEM;
    }
    char name[SNAPSHOT_NAME_BYTES];
    snapshot_name(lsn, name);
    enum status status = snapshot_path(dir, name, reader->path, error);
    if (status == ST_OK) {
        status = disk_open(reader->path, DISK_READ, &reader->file);
        if (status != ST_OK)
            status = unreadable(reader, 0, status, error);
    }
    if (status == ST_OK)
        status = read_header(reader, lsn, error);
    if (status != ST_OK) {
        snapshot_reader_close(reader);
        return status;
    }
    *out = reader;
    return ST_OK;
}

void snapshot_reader_close(struct snapshot_reader *reader) {
    if (!reader)
        return;
    if (reader->file)
        disk_close(reader->file);
    free(reader->window);
    free(reader);
}

const struct snapshot_info *snapshot_reader_info(const struct snapshot_reader *reader) {
    return &reader->info;
}

uint64_t snapshot_reader_bytes(const struct snapshot_reader *reader) {
    return reader->offset;
}

/* ---- blocks ---- */

static enum status check_end(const struct snapshot_reader *reader, struct buf *error) {
    if (reader->chain != reader->last_checksum || reader->keys != reader->info.keys)
        return damaged(reader, reader->offset, "it does not end as its header says", error);
    return ST_END;
}

/* Reads and checks the block at offset. */
static enum status next_block(struct snapshot_reader *reader, struct buf *error) {
    uint64_t left = reader->info.bytes - reader->offset;
    const unsigned char *block;
    if (left == 0)
        return check_end(reader, error);
    if (left < BLOCK_HEADER_BYTES)
        return damaged(reader, reader->offset, "the file ends in a block", error);
    enum status status = look(reader, reader->offset, BLOCK_HEADER_BYTES, &block, error);
    if (status != ST_OK)
        return status;
    size_t len = get_u32(block + BLOCK_LENGTH);
    uint32_t items = get_u32(block + BLOCK_ITEMS);
    if (get_u32(block + BLOCK_CHECK) != snapshot_block_check(block, reader->chain) ||
        len < BLOCK_HEADER_BYTES || len > left || items == 0 ||
        (len > SNAPSHOT_BLOCK_BYTES && items > 1))
        return damaged(reader, reader->offset, "the block's header is unreadable", error);
    status = look(reader, reader->offset, len, &block, error);
    if (status != ST_OK)
        return status;
    uint64_t checksum = snapshot_block_checksum(block, len, reader->chain);
    if (get_u64(block + BLOCK_CHECKSUM) != checksum)
        return damaged(reader, reader->offset, "the block's checksum is wrong", error);
    reader->chain = checksum;
    reader->offset += len;
    reader->at = block + BLOCK_HEADER_BYTES;
    reader->end = block + len;
    reader->items_left = items;
    return ST_OK;
}

/* ---- items ---- */

/* Takes the next item off the block; false if there is none of sense. */
static bool decode_item(struct snapshot_reader *reader, struct snapshot_item *item) {
    size_t left = (size_t)(reader->end - reader->at);
    if (left < ITEM_HEADER_BYTES)
        return false;
    size_t key_bytes = get_u16(reader->at + ITEM_KEY_BYTES);
    size_t value_bytes = get_u32(reader->at + ITEM_VALUE_BYTES);
    left -= ITEM_HEADER_BYTES;
    if (key_bytes == 0 || key_bytes > left || value_bytes > left - key_bytes)
        return false;
    const char *data = (const char *)reader->at + ITEM_HEADER_BYTES;
    item->version = get_u64(reader->at + ITEM_VERSION);
    item->key = slice_of(data, key_bytes);
    item->value = slice_of(data + key_bytes, value_bytes);
    reader->at += ITEM_HEADER_BYTES + key_bytes + value_bytes;
    reader->items_left--;
    struct slice last = slice_of((const char *)reader->last_key, reader->last_key_len);
    return item->version > 0 && item->version <= reader->info.applied_lsn &&
           slice_compare(last, item->key) < 0 &&
           (reader->items_left > 0 || reader->at == reader->end);
}

enum status snapshot_reader_next(
    struct snapshot_reader *reader, struct snapshot_item *item, struct buf *error) {
    if (reader->items_left == 0) {
        enum status status = next_block(reader, error);
        if (status != ST_OK)
            return status;
    }
    if (!decode_item(reader, item)) {
        reader->items_left = 0;
        return damaged(reader, reader->offset, "the block before holds no valid items", error);
    }
    memcpy(reader->last_key, item->key.data, item->key.len);
    reader->last_key_len = item->key.len;
    reader->keys++;
    return ST_OK;
}

enum status snapshot_verify(
    const char *dir, uint64_t lsn, struct snapshot_info *info, struct buf *error) {
    struct snapshot_reader *reader;
    struct snapshot_item item;
    enum status status = snapshot_reader_open(dir, lsn, &reader, error);
    if (status != ST_OK)
        return status;
    while ((status = snapshot_reader_next(reader, &item, error)) == ST_OK)
        ;
    if (info)
        *info = reader->info;
    snapshot_reader_close(reader);
    return status == ST_END ? ST_OK : status;
}
