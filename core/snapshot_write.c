/* Writing a snapshot. All numbers are little endian, all checksums are XXH3 with 64 bits.
 *
 * A snapshot is a file snapshot-<s, 20 digits>.snap: a header, then blocks up to its end.
 *
 *   header (72 bytes)
 *    0  8  "concsnap"
 *    8  4  format version: 1
 *   12  4  flags: bit 0 = the first run is over
 *   16  8  salt of the data directory
 *   24  8  s: the LSN up to which all is in it
 *   32  8  N: the highest LSN of which anything may be in it
 *   40  8  number of keys
 *   48  8  length of the file in bytes
 *   56  8  checksum of the last block; without blocks, what the first would be seeded with
 *   64  8  checksum of bytes 0 to 63, seeded with 0
 *
 *   block (up to 64 KiB, or one item that is longer)
 *    0  8  checksum of bytes 8 to the block's end
 *    8  4  block check: the low half of the checksum of bytes 12 to 19
 *   12  4  length in bytes, this header included
 *   16  4  number of items, at least 1
 *   20     items
 *
 *   item
 *    0  2  length of the key, at least 1
 *    2  4  length of the value
 *    6  8  version
 *   14     key, value
 *
 * Keys ascend strictly in byte order through the whole file. Both checksums of a block are seeded
 * with the checksum of the block before it, those of the first with the hash of s under the salt:
 * a chain, whose end stands in the header. So no block can be missing, repeated, exchanged or of
 * another snapshot, and a file that was cut or has grown does not have the length its header says.
 * The block check is there so that a damaged length makes nobody read or allocate by it.
 *
 * The header is written last: a file that was never completed begins with zeros. */
#include "core/snapshot_private.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/mutant.h"

/* A sync at the end alone would have the disk write a gigabyte at once, and every sync of the log
 * wait behind it. */
#define SYNC_EVERY_BYTES ((uint64_t)8 << 20)
/* Room for a block and the item that no longer fits into it, if that is a common one. */
#define BLOCK_CAP_BYTES ((size_t)2 * SNAPSHOT_BLOCK_BYTES)

_Static_assert(sizeof(SNAPSHOT_MAGIC) - 1 == SNAPSHOT_VERSION, "the version follows the magic");

struct snapshot_writer {
    struct disk_file *file; /* NULL once closed */
    struct buf *error;
    uint64_t salt, lsn;
    bool first_run, finished, failed;
    uint64_t chain; /* the checksum of the newest block */
    uint64_t offset, synced;
    uint64_t keys;
    uint64_t version_max;
    uint64_t applied_lsn; /* N, once finished */
    unsigned char *block;
    size_t block_len, block_cap;
    uint32_t block_items;
    unsigned char last_key[UINT16_MAX];
    size_t last_key_len;
    char dir[DISK_PATH_BYTES_MAX];
    char path[DISK_PATH_BYTES_MAX]; /* of the temporary file */
};

/* Reports what has just failed, by errno. */
static enum status failed(struct snapshot_writer *writer, const char *doing, enum status status) {
    writer->failed = true;
    /* A sync says ST_IO for whatever happened; what is not published loses nothing for lack of
     * room. */
    if (status == ST_IO && (errno == ENOSPC || errno == EDQUOT))
        status = ST_DISK_FULL;
    buf_printf(writer->error, "%s: offset %llu: %s failed: %s", writer->path,
        (unsigned long long)writer->offset, doing,
        status == ST_NOMEM ? status_text(ST_NOMEM) : strerror(errno));
    return status == ST_NOMEM || status == ST_DISK_FULL ? status : ST_IO;
}

/* ---- beginning ---- */

static enum status create_file(struct snapshot_writer *writer) {
    static const unsigned char zeros[SNAPSHOT_HEADER_BYTES];
    enum status status =
        snapshot_path(writer->dir, SNAPSHOT_NEXT_NAME, writer->path, writer->error);
    if (status == ST_OK)
        status = snapshot_remove_unfinished(writer->dir, writer->error);
    if (status != ST_OK)
        return status;
    status = disk_open(writer->path, DISK_CREATE, &writer->file);
    if (status != ST_OK)
        return failed(writer, "creation", status);
    status = disk_write(writer->file, 0, zeros, sizeof(zeros));
    if (status != ST_OK)
        return failed(writer, "writing", status);
    writer->offset = sizeof(zeros);
    return ST_OK;
}

enum status snapshot_writer_open(const char *dir, uint64_t salt, uint64_t s, bool first_run,
    struct snapshot_writer **out, struct buf *error) {
    *out = NULL;
    if (strlen(dir) >= DISK_PATH_BYTES_MAX) {
        buf_printf(error, "%s: the path is too long", dir);
        return ST_INVALID;
    }
    struct snapshot_writer *writer = calloc(1, sizeof(*writer));
    unsigned char *block = malloc(BLOCK_CAP_BYTES);
    if (!writer || !block) {
        free(writer);
        free(block);
        buf_printf(error, "%s: a snapshot: out of memory", dir);
        return ST_NOMEM;
    }
    *writer = (struct snapshot_writer){
        .error = error,
        .salt = salt,
        .lsn = s,
        .first_run = first_run,
        .chain = snapshot_seed(salt, s),
        .block = block,
        .block_len = BLOCK_HEADER_BYTES,
        .block_cap = BLOCK_CAP_BYTES,
    };
    memcpy(writer->dir, dir, strlen(dir) + 1);
    enum status status = create_file(writer);
    if (status != ST_OK) {
        snapshot_writer_abort(writer);
        return status;
    }
    *out = writer;
    return ST_OK;
}

/* ---- items ---- */

static enum status sync_some(struct snapshot_writer *writer) {
    if (writer->offset - writer->synced < SYNC_EVERY_BYTES)
        return ST_OK;
    enum status status = disk_sync(writer->file);
    if (status != ST_OK)
        return failed(writer, "syncing", status);
    writer->synced = writer->offset;
    return ST_OK;
}

static enum status write_block(struct snapshot_writer *writer) {
    if (writer->block_items == 0)
        return ST_OK;
    unsigned char *block = writer->block;
    put_u32(block + BLOCK_LENGTH, (uint32_t)writer->block_len);
    put_u32(block + BLOCK_ITEMS, writer->block_items);
    put_u32(block + BLOCK_CHECK, snapshot_block_check(block, writer->chain));
    writer->chain = snapshot_block_checksum(block, writer->block_len, writer->chain);
    put_u64(block + BLOCK_CHECKSUM, writer->chain);
    enum status status = disk_write(writer->file, writer->offset, block, writer->block_len);
    if (status != ST_OK)
        return failed(writer, "writing", status);
    writer->offset += writer->block_len;
    writer->block_len = BLOCK_HEADER_BYTES;
    writer->block_items = 0;
    return sync_some(writer);
}

static enum status make_room(struct snapshot_writer *writer, size_t bytes) {
    if (bytes <= writer->block_cap - writer->block_len)
        return ST_OK;
    size_t cap = writer->block_len + bytes;
    unsigned char *grown = realloc(writer->block, cap);
    if (!grown)
        return failed(writer, "writing", ST_NOMEM);
    writer->block = grown;
    writer->block_cap = cap;
    return ST_OK;
}

static void append_item(
    struct snapshot_writer *writer, struct slice key, uint64_t version, struct slice value) {
    unsigned char *at = writer->block + writer->block_len;
    put_u16(at + ITEM_KEY_BYTES, (uint16_t)key.len);
    put_u32(at + ITEM_VALUE_BYTES, (uint32_t)value.len);
    put_u64(at + ITEM_VERSION, version);
    memcpy(at + ITEM_HEADER_BYTES, key.data, key.len);
    if (value.len)
        memcpy(at + ITEM_HEADER_BYTES + key.len, value.data, value.len);
    writer->block_len += ITEM_HEADER_BYTES + key.len + value.len;
    writer->block_items++;
    writer->keys++;
    if (version > writer->version_max)
        writer->version_max = version;
    memcpy(writer->last_key, key.data, key.len);
    writer->last_key_len = key.len;
}

enum status snapshot_writer_add(
    struct snapshot_writer *writer, struct slice key, uint64_t version, struct slice value) {
    assert(!writer->finished && !writer->failed);
    assert(key.len > 0 && key.len <= UINT16_MAX && version > 0);
    assert(value.len <= UINT32_MAX - UINT16_MAX - ITEM_HEADER_BYTES - BLOCK_HEADER_BYTES);
    assert(slice_compare(slice_of((char *)writer->last_key, writer->last_key_len), key) < 0);
    size_t bytes = ITEM_HEADER_BYTES + key.len + value.len;
    enum status status = ST_OK;
    if (writer->block_len + bytes > SNAPSHOT_BLOCK_BYTES)
        status = write_block(writer);
    if (status == ST_OK)
        status = make_room(writer, bytes);
    if (status == ST_OK)
        append_item(writer, key, version, value);
    return status;
}

uint64_t snapshot_writer_bytes(const struct snapshot_writer *writer) {
    return writer->offset + writer->block_len;
}

uint64_t snapshot_writer_keys(const struct snapshot_writer *writer) {
    return writer->keys;
}

/* ---- end ---- */

static void encode_header(
    const struct snapshot_writer *writer, uint64_t applied_lsn, unsigned char *header) {
    memcpy(header, SNAPSHOT_MAGIC, SNAPSHOT_VERSION);
    put_u32(header + SNAPSHOT_VERSION, SNAPSHOT_FORMAT_VERSION);
    put_u32(header + SNAPSHOT_FLAGS, writer->first_run ? SNAPSHOT_FIRST_RUN : 0);
    put_u64(header + SNAPSHOT_SALT, writer->salt);
    put_u64(header + SNAPSHOT_LSN, writer->lsn);
    put_u64(header + SNAPSHOT_APPLIED, applied_lsn);
    put_u64(header + SNAPSHOT_KEYS, writer->keys);
    put_u64(header + SNAPSHOT_BYTES, writer->offset);
    put_u64(header + SNAPSHOT_LAST, writer->chain);
    put_u64(header + SNAPSHOT_CHECKSUM, XXH3_64bits(header, SNAPSHOT_CHECKSUM));
}

enum status snapshot_writer_finish(struct snapshot_writer *writer, uint64_t applied_lsn) {
    assert(!writer->finished && !writer->failed);
    assert(applied_lsn >= writer->lsn && applied_lsn >= writer->version_max);
    if (MUTANT(SNAPSHOT_GATED_ON_VERSIONS))
        applied_lsn = writer->version_max > writer->lsn ? writer->version_max : writer->lsn;
    unsigned char header[SNAPSHOT_HEADER_BYTES];
    enum status status = write_block(writer);
    if (status != ST_OK)
        return status;
    encode_header(writer, applied_lsn, header);
    status = disk_write(writer->file, 0, header, sizeof(header));
    if (status != ST_OK)
        return failed(writer, "writing the header", status);
    status = disk_sync(writer->file);
    if (status != ST_OK)
        return failed(writer, "syncing", status);
    writer->applied_lsn = applied_lsn;
    writer->finished = true;
    return ST_OK;
}

uint64_t snapshot_writer_gate(const struct snapshot_writer *writer) {
    assert(writer->finished);
    return writer->applied_lsn;
}

static void free_writer(struct snapshot_writer *writer) {
    if (writer->file)
        disk_close(writer->file);
    free(writer->block);
    free(writer);
}

enum status snapshot_writer_publish(struct snapshot_writer *writer) {
    assert(writer->finished);
    char name[SNAPSHOT_NAME_BYTES], path[DISK_PATH_BYTES_MAX];
    snapshot_name(writer->lsn, name);
    enum status status = snapshot_path(writer->dir, name, path, writer->error);
    if (status == ST_OK) {
        status = disk_rename(writer->path, path);
        if (status != ST_OK)
            status = failed(writer, "renaming", status);
    }
    if (status != ST_OK) {
        snapshot_writer_abort(writer);
        return status;
    }
    status = disk_sync_dir(writer->dir);
    if (status != ST_OK)
        status = failed(writer, "syncing the directory", status);
    free_writer(writer);
    return status;
}

void snapshot_writer_abort(struct snapshot_writer *writer) {
    if (!writer)
        return;
    /* If it cannot be removed, the next writer or start does. */
    if (writer->file)
        (void)!disk_unlink(writer->path);
    free_writer(writer);
}
