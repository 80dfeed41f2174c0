/* The reader of snapshots, on a simulated disk: what the writer wrote comes back; a file with
 * anything changed is refused, and what came before that is what was written; and a changed file
 * with checksums made good again is read within its bounds or refused.
 *
 * Input: a byte (bit 0: make the checksums good again; bit 1: also the length in the header), a
 * byte with the number of changes, for each change its place (two bytes), its kind and a byte, the
 * snapshot's LSN (a byte), and then items: bytes of the key that the next shares with the one
 * before, bytes of its own, bytes of the value (times 300 if bit 7 is set), all of them a byte
 * followed by what it counts. */
#include <stdio.h>
#include <stdlib.h>

#include "core/snapshot_private.h"
#include "tests/fuzz/fuzz.h"
#include "tests/support/diag_catch.h"
#include "tests/support/sim_disk.h"

#define DIR "/data"
#define SALT 42u
#define APPLIED 1000u
#define CHANGES_MAX 8u
#define KEY_BYTES_MAX 300u
#define FILE_BYTES_MAX 262144u

enum change { PUT_BYTE, XOR_BYTE, INSERT, REMOVE, CUT };

static struct {
    uint64_t lsn;
    char path[64];
    unsigned char bytes[FILE_BYTES_MAX + CHANGES_MAX];
    size_t len;
    struct buf written; /* the items, as text */
} file;

static void tell(struct buf *out, struct slice key, uint64_t version, struct slice value) {
    buf_printf(out, "(%zu ", key.len);
    buf_append_slice(out, key);
    buf_printf(out, " %llu %zu ", (unsigned long long)version, value.len);
    buf_append_slice(out, value);
    buf_append_byte(out, ')');
}

/* ---- writing ---- */

static bool add_item(
    struct snapshot_writer *writer, struct slice *input, char *key, size_t *key_len) {
    static char long_value[127 * 300];
    size_t shared = fuzz_take_byte(input) % (KEY_BYTES_MAX / 2);
    struct slice own = fuzz_take(input, fuzz_take_byte(input) % (KEY_BYTES_MAX / 2));
    unsigned value_bytes = fuzz_take_byte(input);
    struct slice value = value_bytes & 128 ? slice_of(long_value, (size_t)(value_bytes & 127) * 300)
                                           : fuzz_take(input, value_bytes);
    uint64_t version = 1 + fuzz_take_byte(input);
    char next[KEY_BYTES_MAX];
    size_t len = shared < *key_len ? shared : *key_len;
    memcpy(next, key, len);
    if (own.len)
        memcpy(next + len, own.data, own.len);
    len += own.len;
    if (slice_compare(slice_of(key, *key_len), slice_of(next, len)) >= 0)
        return true; /* not ascending: left out */
    if (snapshot_writer_bytes(writer) + value.len > FILE_BYTES_MAX / 2)
        return false;
    memcpy(key, next, len);
    *key_len = len;
    FUZZ_CHECK(snapshot_writer_add(writer, slice_of(key, len), version, value) == ST_OK);
    tell(&file.written, slice_of(key, len), version, value);
    return true;
}

static void write_snapshot(struct slice *input) {
    struct snapshot_writer *writer;
    struct buf error;
    char key[KEY_BYTES_MAX];
    size_t key_len = 0;
    buf_init(&error, 16384);
    FUZZ_CHECK(snapshot_writer_open(DIR, SALT, file.lsn, true, &writer, &error) == ST_OK);
    while (input->len && add_item(writer, input, key, &key_len))
        ;
    FUZZ_CHECK(snapshot_writer_finish(writer, APPLIED) == ST_OK);
    FUZZ_CHECK(snapshot_writer_publish(writer) == ST_OK);
    buf_free(&error);
}

static void load_file(void) {
    struct disk_file *from;
    FUZZ_CHECK(disk_open(file.path, DISK_READ, &from) == ST_OK);
    FUZZ_CHECK(disk_read(from, 0, file.bytes, FILE_BYTES_MAX, &file.len) == ST_OK);
    disk_close(from);
}

static void store_file(void) {
    struct disk_file *to;
    FUZZ_CHECK(disk_unlink(file.path) == ST_OK);
    FUZZ_CHECK(disk_open(file.path, DISK_CREATE, &to) == ST_OK);
    FUZZ_CHECK(disk_write(to, 0, file.bytes, file.len) == ST_OK);
    disk_close(to);
}

/* ---- changing ---- */

static void change(size_t place, enum change kind, unsigned char byte) {
    unsigned char *at = file.bytes + (file.len ? place % file.len : 0);
    size_t behind = file.len - (size_t)(at - file.bytes);
    switch (kind) {
    case PUT_BYTE:
        *at = byte;
        return;
    case XOR_BYTE:
        *at ^= byte;
        return;
    case INSERT:
        memmove(at + 1, at, behind);
        *at = byte;
        file.len++;
        return;
    case REMOVE:
        if (behind) {
            memmove(at, at + 1, behind - 1);
            file.len--;
        }
        return;
    case CUT:
        file.len -= behind;
    }
}

/* Seals the header and as many blocks as can be made out. */
static void make_good(bool length_too) {
    if (file.len < SNAPSHOT_HEADER_BYTES)
        return;
    if (length_too)
        put_u64(file.bytes + SNAPSHOT_BYTES, file.len);
    uint64_t chain =
        snapshot_seed(get_u64(file.bytes + SNAPSHOT_SALT), get_u64(file.bytes + SNAPSHOT_LSN));
    for (size_t at = SNAPSHOT_HEADER_BYTES; file.len - at >= BLOCK_HEADER_BYTES;) {
        unsigned char *block = file.bytes + at;
        put_u32(block + BLOCK_CHECK, snapshot_block_check(block, chain));
        size_t len = get_u32(block + BLOCK_LENGTH);
        if (len < BLOCK_HEADER_BYTES || len > file.len - at)
            break;
        chain = snapshot_block_checksum(block, len, chain);
        put_u64(block + BLOCK_CHECKSUM, chain);
        at += len;
    }
    put_u64(file.bytes + SNAPSHOT_LAST, chain);
    put_u64(file.bytes + SNAPSHOT_CHECKSUM, XXH3_64bits(file.bytes, SNAPSHOT_CHECKSUM));
}

/* ---- reading ---- */

/* What is read, as text; ST_END if it is whole. */
static enum status read_snapshot(struct buf *out) {
    struct snapshot_reader *reader;
    struct snapshot_item item;
    struct buf error;
    buf_init(&error, 16384);
    uint64_t keys = 0;
    enum status status = snapshot_reader_open(DIR, file.lsn, &reader, &error);
    if (status == ST_OK) {
        while ((status = snapshot_reader_next(reader, &item, &error)) == ST_OK) {
            tell(out, item.key, item.version, item.value);
            keys++;
        }
        const struct snapshot_info *info = snapshot_reader_info(reader);
        FUZZ_CHECK(status != ST_END || (info->keys == keys && info->bytes == file.len));
        snapshot_reader_close(reader);
    }
    FUZZ_CHECK(status == ST_END || ((status == ST_CORRUPT || status == ST_INVALID) && error.len));
    FUZZ_CHECK(snapshot_verify(DIR, file.lsn, NULL, &error) == (status == ST_END ? ST_OK : status));
    buf_free(&error);
    return status;
}

static void check_changed(
    struct slice changes, unsigned how, const unsigned char *before, size_t before_len) {
    struct buf read;
    buf_init(&read, SIZE_MAX);
    while (changes.len) {
        size_t place = fuzz_take_byte(&changes) << 8;
        place |= fuzz_take_byte(&changes);
        enum change kind = fuzz_take_byte(&changes) % (CUT + 1);
        change(place, kind, (unsigned char)fuzz_take_byte(&changes));
    }
    if (how & 1)
        make_good(how & 2);
    bool same = slice_equal(
        slice_of((const char *)file.bytes, file.len), slice_of((const char *)before, before_len));
    store_file();
    enum status status = read_snapshot(&read);
    if (same || !(how & 1)) {
        FUZZ_CHECK((status == ST_END) == same);
        FUZZ_CHECK(read.len <= file.written.len &&
                   (!read.len || memcmp(read.data, file.written.data, read.len) == 0));
    }
    buf_free(&read);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct slice input = slice_of((const char *)data, size);
    unsigned how = fuzz_take_byte(&input), count = fuzz_take_byte(&input) % (CHANGES_MAX + 1);
    struct slice changes = fuzz_take(&input, (size_t)count * 4);
    struct sim_disk *disk = sim_disk_new(1);
    (void)sim_disk_use(disk);
    FUZZ_CHECK(disk_make_dir(DIR) == ST_OK);
    file.lsn = fuzz_take_byte(&input);
    char name[SNAPSHOT_NAME_BYTES];
    snapshot_name(file.lsn, name);
    (void)snprintf(file.path, sizeof file.path, DIR "/%s", name);
    buf_init(&file.written, SIZE_MAX);
    write_snapshot(&input);
    load_file();
    struct slice before = fuzz_copy(file.bytes, file.len);
    check_changed(changes, how, (const unsigned char *)before.data, before.len);
    fuzz_drop(before);
    (void)sim_disk_use(NULL);
    sim_disk_free(disk);
    buf_free(&file.written);
    return 0;
}
