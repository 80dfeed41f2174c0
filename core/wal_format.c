/* The log's bytes. All numbers are little endian, all checksums are XXH3 with 64 bits.
 *
 * A segment is a file wal-<first LSN, 20 digits>.log: one header block, then records; what is
 * behind the last record is zero.
 *
 *   header block (4096 bytes)
 *    0  8  "concwal\n"
 *    8  4  format version: 1
 *   12  4  flags: bit 0 = replies may have left before the sync (interval, manual)
 *   16  8  salt of the data directory
 *   24  8  first LSN
 *   32  8  last LSN before this segment; the only place where a gap is declared
 *   40  8  checksum of bytes 0 to 39, seeded with 0
 *   48     zeros
 *
 *   record (a multiple of 8 bytes, at a multiple of 8; never over a segment's end)
 *    0  8  checksum of bytes 8 to the record's end
 *    8  4  header check: the low half of the checksum of bytes 12 to 31
 *   12  4  length in bytes, header and padding included
 *   16  8  LSN
 *   24  8  D: the durable LSN when the record was written
 *   32     operations, then 0 to 7 zeros
 *
 *   operation
 *    0  1  1 = put, 2 = delete, 3 = the first run is over, 4 = clean end
 *    1  1  zero
 *    2  2  length of the key
 *    4  4  length of the value
 *    8     key, value
 *
 * Both checksums of a record are seeded with the hash of the segment's first LSN under the salt:
 * bytes that an earlier segment left at the same place, or that a client put into a value, do not
 * validate. The header check is there for the search behind a torn end: it makes a look at each of
 * millions of places cost one short hash, whatever the bytes there claim as their length.
 *
 * Each sync begins on a fresh block (4096 bytes). A record is thus behind the one before it or at
 * the next block after that. Records of a segment have LSNs without gaps; a mark of a clean end
 * repeats the LSN before it and, being written alone, says that all before it is on disk. */
#include "core/wal_format.h"

#include <assert.h>
#include <stdio.h>
#include <xxhash.h>

#include "core/bytes.h"
#include "core/mutant.h"

enum {
    HEADER_VERSION = 8,
    HEADER_FLAGS = 12,
    HEADER_SALT = 16,
    HEADER_FIRST = 24,
    HEADER_BEFORE = 32,
    HEADER_CHECKSUM = 40,

    RECORD_CHECKSUM = 0,
    RECORD_CHECK = 8,
    RECORD_BYTES = 12,
    RECORD_LSN = 16,
    RECORD_DURABLE = 24,

    OP_KEY_BYTES = 2,
    OP_VALUE_BYTES = 4,
};

static const char magic[8] = "concwal\n";

_Static_assert(sizeof(magic) == HEADER_VERSION, "the version follows the magic");
_Static_assert(RECORD_DURABLE + 8 == WAL_RECORD_HEADER_BYTES, "operations follow D");
_Static_assert(WAL_BLOCK_BYTES % WAL_ALIGN_BYTES == 0, "a block is a place for a record");
_Static_assert(WAL_RECORD_HEADER_BYTES % WAL_ALIGN_BYTES == 0, "an empty record is aligned");

/* ---- segments ---- */

void wal_segment_name(uint64_t first_lsn, char *name) {
    snprintf(name, WAL_NAME_BYTES, "wal-%020llu.log", (unsigned long long)first_lsn);
}

bool wal_segment_name_parse(const char *name, uint64_t *first_lsn) {
    if (strlen(name) != WAL_NAME_BYTES - 1 || strncmp(name, "wal-", 4) != 0)
        return false;
    uint64_t number = 0;
    for (const char *digit = name + 4; digit < name + 24; digit++) {
        if (*digit < '0' || *digit > '9')
            return false;
        uint64_t value = (uint64_t)(*digit - '0');
        if (number > (UINT64_MAX - value) / 10)
            return false;
        number = number * 10 + value;
    }
    if (number == 0 || strcmp(name + 24, ".log") != 0)
        return false;
    *first_lsn = number;
    return true;
}

void wal_header_encode(const struct wal_segment_header *header, unsigned char *block) {
    memset(block, 0, WAL_BLOCK_BYTES);
    memcpy(block, magic, sizeof(magic));
    put_u32(block + HEADER_VERSION, WAL_FORMAT_VERSION);
    put_u32(block + HEADER_FLAGS, header->flags);
    put_u64(block + HEADER_SALT, header->salt);
    put_u64(block + HEADER_FIRST, header->first_lsn);
    put_u64(block + HEADER_BEFORE, header->before_lsn);
    put_u64(block + HEADER_CHECKSUM, XXH3_64bits(block, HEADER_CHECKSUM));
}

enum status wal_header_decode(const unsigned char *block, struct wal_segment_header *header) {
    if (memcmp(block, magic, sizeof(magic)) != 0)
        return ST_CORRUPT;
    header->version = get_u32(block + HEADER_VERSION);
    if (header->version != WAL_FORMAT_VERSION)
        return ST_INVALID; /* nothing more can be said: its layout is another one */
    if (get_u64(block + HEADER_CHECKSUM) != XXH3_64bits(block, HEADER_CHECKSUM))
        return ST_CORRUPT;
    header->flags = get_u32(block + HEADER_FLAGS);
    header->salt = get_u64(block + HEADER_SALT);
    header->first_lsn = get_u64(block + HEADER_FIRST);
    header->before_lsn = get_u64(block + HEADER_BEFORE);
    return header->first_lsn > header->before_lsn ? ST_OK : ST_CORRUPT;
}

uint64_t wal_segment_seed(uint64_t salt, uint64_t first_lsn) {
    unsigned char bytes[8];
    if (MUTANT(RECYCLED_BYTES_ACCEPTED))
        return 0;
    put_u64(bytes, first_lsn);
    return XXH3_64bits_withSeed(bytes, sizeof(bytes), salt);
}

/* ---- records ---- */

static uint32_t header_check(const unsigned char *record, uint64_t seed) {
    return (uint32_t)XXH3_64bits_withSeed(
        record + RECORD_BYTES, WAL_RECORD_HEADER_BYTES - RECORD_BYTES, seed);
}

static uint64_t record_checksum(const unsigned char *record, size_t bytes, uint64_t seed) {
    return XXH3_64bits_withSeed(record + RECORD_CHECK, bytes - RECORD_CHECK, seed);
}

void wal_record_seal(
    unsigned char *record, size_t bytes, uint64_t lsn, uint64_t durable_lsn, uint64_t seed) {
    assert(bytes >= WAL_RECORD_HEADER_BYTES && bytes <= UINT32_MAX);
    assert(bytes % WAL_ALIGN_BYTES == 0);
    put_u32(record + RECORD_BYTES, (uint32_t)bytes);
    put_u64(record + RECORD_LSN, lsn);
    put_u64(record + RECORD_DURABLE, durable_lsn);
    put_u32(record + RECORD_CHECK, header_check(record, seed));
    put_u64(record + RECORD_CHECKSUM, record_checksum(record, bytes, seed));
}

bool wal_record_head_decode(
    const unsigned char *record, uint64_t seed, struct wal_record_head *head) {
    uint32_t bytes = get_u32(record + RECORD_BYTES);
    if (bytes < WAL_RECORD_HEADER_BYTES || bytes % WAL_ALIGN_BYTES != 0)
        return false;
    if (get_u32(record + RECORD_CHECK) != header_check(record, seed))
        return false;
    head->bytes = bytes;
    head->lsn = get_u64(record + RECORD_LSN);
    head->durable_lsn = get_u64(record + RECORD_DURABLE);
    return true;
}

bool wal_record_intact(const unsigned char *record, size_t bytes, uint64_t seed) {
    return get_u64(record + RECORD_CHECKSUM) == record_checksum(record, bytes, seed);
}

/* ---- operations ---- */

size_t wal_op_encode(unsigned char *out, int op, struct slice key, struct slice value) {
    assert(op >= WAL_PUT && op <= WAL_OP_CLEAN_END);
    assert(key.len <= UINT16_MAX && value.len <= UINT32_MAX);
    out[0] = (unsigned char)op;
    out[1] = 0;
    put_u16(out + OP_KEY_BYTES, (uint16_t)key.len);
    put_u32(out + OP_VALUE_BYTES, (uint32_t)value.len);
    if (key.len)
        memcpy(out + WAL_OP_HEADER_BYTES, key.data, key.len);
    if (value.len)
        memcpy(out + WAL_OP_HEADER_BYTES + key.len, value.data, value.len);
    return WAL_OP_HEADER_BYTES + key.len + value.len;
}

/* The padding: fewer bytes than an aligned record can lack, all zero. */
static bool is_padding(struct slice rest) {
    for (size_t i = 0; i < rest.len; i++)
        if (rest.data[i] != 0)
            return false;
    return rest.len < WAL_ALIGN_BYTES;
}

enum status wal_op_decode(struct slice *rest, int *op, struct slice *key, struct slice *value) {
    if (rest->len < WAL_OP_HEADER_BYTES)
        return is_padding(*rest) ? ST_END : ST_CORRUPT;
    const unsigned char *header = (const unsigned char *)rest->data;
    size_t key_bytes = get_u16(header + OP_KEY_BYTES);
    size_t value_bytes = get_u32(header + OP_VALUE_BYTES);
    size_t room = rest->len - WAL_OP_HEADER_BYTES;
    if (header[0] < WAL_PUT || header[0] > WAL_OP_CLEAN_END || header[1] != 0)
        return ST_CORRUPT;
    if (key_bytes > room || value_bytes > room - key_bytes)
        return ST_CORRUPT;
    *op = header[0];
    *key = slice_of(rest->data + WAL_OP_HEADER_BYTES, key_bytes);
    *value = slice_of(key->data + key_bytes, value_bytes);
    size_t taken = WAL_OP_HEADER_BYTES + key_bytes + value_bytes;
    *rest = slice_of(rest->data + taken, rest->len - taken);
    return ST_OK;
}

bool wal_record_is_clean_end(const unsigned char *record, size_t bytes) {
    return bytes == WAL_RECORD_HEADER_BYTES + WAL_OP_HEADER_BYTES &&
           record[WAL_RECORD_HEADER_BYTES] == WAL_OP_CLEAN_END;
}
