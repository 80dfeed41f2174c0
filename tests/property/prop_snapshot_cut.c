/* Damage to a snapshot, of every kind at every place: every bit flipped, every length, bytes added
 * behind it, blocks left out, repeated and exchanged, and ranges of another snapshot put in. Never
 * is a file taken for whole that is not what was written, and nothing is handed out before the
 * damage but what was written.
 *
 * The snapshot is small, but of several blocks, one of them longer than usual. CONCAVE_SEED picks
 * the random damage; all else is tried as a whole. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "core/snapshot_private.h"
#include "tests/support/wal_log.h"

#define LSN 77u
#define KEYS 24u
#define LONG_KEY 9u
#define BLOCKS_MAX 16u

static struct log_dir dir;
static char path[128];
static uint64_t seed = 1;
static unsigned char *image, *other;
static size_t image_len, other_len;
static size_t blocks[BLOCKS_MAX + 1]; /* offsets; the last one is the file's end */
static unsigned block_count;
static unsigned long tried;

static uint64_t next_random(void) {
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

/* ---- the undamaged file ---- */

static size_t make_item(unsigned number, char *key, char *value, uint64_t *version) {
    size_t len = number == LONG_KEY ? 400 : number % 7 * 5;
    snprintf(key, 16, "key-%03u", number);
    for (size_t i = 0; i < len; i++)
        value[i] = (char)(number * 31 + i * 7);
    *version = number * 3 % LSN + 1;
    return len;
}

/* The format knows no lower bound of a block's length, so small blocks are made by hand. */
static size_t append_block(unsigned char *at, uint64_t *chain, unsigned from, unsigned to) {
    size_t len = BLOCK_HEADER_BYTES;
    for (unsigned i = from; i < to; i++) {
        char key[16], value[512];
        uint64_t version;
        size_t value_len = make_item(i, key, value, &version);
        put_u16(at + len + ITEM_KEY_BYTES, (uint16_t)strlen(key));
        put_u32(at + len + ITEM_VALUE_BYTES, (uint32_t)value_len);
        put_u64(at + len + ITEM_VERSION, version);
        memcpy(at + len + ITEM_HEADER_BYTES, key, strlen(key));
        memcpy(at + len + ITEM_HEADER_BYTES + strlen(key), value, value_len);
        len += ITEM_HEADER_BYTES + strlen(key) + value_len;
    }
    put_u32(at + BLOCK_LENGTH, (uint32_t)len);
    put_u32(at + BLOCK_ITEMS, to - from);
    put_u32(at + BLOCK_CHECK, snapshot_block_check(at, *chain));
    *chain = snapshot_block_checksum(at, len, *chain);
    put_u64(at + BLOCK_CHECKSUM, *chain);
    return len;
}

static size_t make_image(unsigned char *bytes, uint64_t salt, unsigned items_per_block) {
    uint64_t chain = snapshot_seed(salt, LSN);
    size_t len = SNAPSHOT_HEADER_BYTES;
    block_count = 0;
    for (unsigned i = 0; i < KEYS; i += items_per_block) {
        unsigned to = i + items_per_block < KEYS ? i + items_per_block : KEYS;
        blocks[block_count++] = len;
        len += append_block(bytes + len, &chain, i, to);
    }
    blocks[block_count] = len;
    memcpy(bytes, SNAPSHOT_MAGIC, SNAPSHOT_VERSION);
    put_u32(bytes + SNAPSHOT_VERSION, SNAPSHOT_FORMAT_VERSION);
    put_u32(bytes + SNAPSHOT_FLAGS, SNAPSHOT_FIRST_RUN);
    put_u64(bytes + SNAPSHOT_SALT, salt);
    put_u64(bytes + SNAPSHOT_LSN, LSN);
    put_u64(bytes + SNAPSHOT_APPLIED, LSN + 4);
    put_u64(bytes + SNAPSHOT_KEYS, KEYS);
    put_u64(bytes + SNAPSHOT_BYTES, len);
    put_u64(bytes + SNAPSHOT_LAST, chain);
    put_u64(bytes + SNAPSHOT_CHECKSUM, XXH3_64bits(bytes, SNAPSHOT_CHECKSUM));
    return len;
}

/* ---- one try ---- */

/* Overwrites the file in place: a file system call less than making it anew. */
static void put_file(const unsigned char *bytes, size_t len) {
    struct disk_file *file;
    enum status status = disk_open(path, DISK_UPDATE, &file);
    if (status == ST_NOT_FOUND)
        status = disk_open(path, DISK_CREATE, &file);
    assert_int_equal(status, ST_OK);
    assert_int_equal(disk_truncate(file, len), ST_OK);
    if (len > 0)
        assert_int_equal(disk_write(file, 0, bytes, len), ST_OK);
    disk_close(file);
}

static void check_item(const struct snapshot_item *item, unsigned number) {
    char key[16], value[512];
    uint64_t version;
    size_t len = make_item(number, key, value, &version);
    assert_true(slice_equal(item->key, slice_of(key, strlen(key))));
    assert_true(slice_equal(item->value, slice_of(value, len)));
    assert_int_equal(item->version, version);
}

/* Reads the file; whatever comes out of it is what was written. */
static enum status read_file(void) {
    struct snapshot_reader *reader;
    struct snapshot_item item;
    struct buf error;
    unsigned count = 0;
    buf_init(&error, 4096);
    enum status status = snapshot_reader_open(dir.path, LSN, &reader, &error);
    if (status == ST_OK) {
        while ((status = snapshot_reader_next(reader, &item, &error)) == ST_OK) {
            assert_true(count < KEYS);
            check_item(&item, count++);
        }
        snapshot_reader_close(reader);
    }
    if (status == ST_END) {
        assert_int_equal(count, KEYS);
        status = ST_OK;
    } else {
        buf_append_byte(&error, '\0');
        assert_non_null(strstr(error.data, path));
        assert_true(status == ST_INVALID || strstr(error.data, "offset "));
    }
    buf_free(&error);
    tried++;
    return status;
}

static void assert_refused(const unsigned char *bytes, size_t len) {
    put_file(bytes, len);
    enum status status = read_file();
    assert_true(status == ST_CORRUPT || status == ST_INVALID);
}

static void report(const char *what) {
    printf("%s tried: %lu\n", what, tried);
    tried = 0;
}

/* ---- tests ---- */

static void the_undamaged_file_is_good(void **state) {
    (void)state;
    put_file(image, image_len);
    assert_int_equal(read_file(), ST_OK);
    assert_true(block_count >= 4);
    tried = 0;
}

static void every_bit_flipped(void **state) {
    (void)state;
    for (size_t at = 0; at < image_len; at++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            image[at] ^= (unsigned char)(1u << bit);
            assert_refused(image, image_len);
            image[at] ^= (unsigned char)(1u << bit);
        }
    }
    report("flipped bits");
}

static void every_length_cut(void **state) {
    (void)state;
    for (size_t len = 0; len < image_len; len++)
        assert_refused(image, len);
    report("lengths");
}

static void bytes_behind_the_end(void **state) {
    (void)state;
    unsigned char *bytes = calloc(1, 2 * image_len);
    memcpy(bytes, image, image_len);
    for (size_t more = 1; more <= 64; more++)
        assert_refused(bytes, image_len + more);
    /* a block that would be good there, but for the header */
    memcpy(bytes + image_len, image + blocks[0], blocks[1] - blocks[0]);
    assert_refused(bytes, image_len + blocks[1] - blocks[0]);
    free(bytes);
    report("longer files");
}

/* The header may say the new length, and still it shows. */
static void assert_blocks_refused(const unsigned char *bytes, size_t len) {
    unsigned char *copy = malloc(len);
    memcpy(copy, bytes, len);
    assert_refused(copy, len);
    put_u64(copy + SNAPSHOT_BYTES, len);
    put_u64(copy + SNAPSHOT_CHECKSUM, XXH3_64bits(copy, SNAPSHOT_CHECKSUM));
    assert_refused(copy, len);
    free(copy);
}

static void blocks_left_out_repeated_and_exchanged(void **state) {
    (void)state;
    unsigned char *bytes = malloc(2 * image_len);
    for (unsigned a = 0; a < block_count; a++) {
        size_t begin = blocks[a], end = blocks[a + 1];
        memcpy(bytes, image, begin);
        memcpy(bytes + begin, image + end, image_len - end);
        assert_blocks_refused(bytes, image_len - (end - begin));
        memcpy(bytes, image, end);
        memcpy(bytes + end, image + begin, image_len - begin);
        assert_blocks_refused(bytes, image_len + (end - begin));
        if (a + 1 == block_count)
            continue;
        size_t next_end = blocks[a + 2];
        memcpy(bytes, image, image_len);
        memcpy(bytes + begin, image + end, next_end - end);
        memcpy(bytes + begin + (next_end - end), image + begin, end - begin);
        assert_blocks_refused(bytes, image_len);
    }
    free(bytes);
    report("moved blocks");
}

/* Sectors of an older file, of another salt, that were never overwritten. */
static void ranges_of_another_snapshot(void **state) {
    (void)state;
    unsigned char *bytes = malloc(image_len);
    size_t common = image_len < other_len ? image_len : other_len;
    for (unsigned round = 0; round < 2000; round++) {
        size_t from = next_random() % common, len = 1 + next_random() % (common - from);
        memcpy(bytes, image, image_len);
        memcpy(bytes + from, other + from, len);
        put_file(bytes, image_len);
        bool whole = memcmp(bytes, image, image_len) == 0 || memcmp(bytes, other, other_len) == 0;
        assert_int_equal(read_file() == ST_OK, whole);
    }
    /* all of it: a good snapshot, of another directory */
    put_file(other, other_len);
    assert_int_equal(read_file(), ST_OK);
    free(bytes);
    report("ranges of another snapshot");
}

/* Zeros, noise, and both of any length. */
static void random_damage(void **state) {
    (void)state;
    unsigned char *bytes = malloc(image_len);
    for (unsigned round = 0; round < 4000; round++) {
        size_t from = next_random() % image_len, len = 1 + next_random() % (image_len - from);
        bool zeros = next_random() % 2;
        memcpy(bytes, image, image_len);
        for (size_t i = from; i < from + len; i++)
            bytes[i] = zeros ? 0 : (unsigned char)next_random();
        if (memcmp(bytes, image, image_len) != 0)
            assert_refused(bytes, image_len);
    }
    free(bytes);
    report("random damages");
}

static int setup_all(void **state) {
    (void)state;
    log_dir_in_memory();
    if (getenv("CONCAVE_SEED"))
        seed = strtoull(getenv("CONCAVE_SEED"), NULL, 10) | 1;
    printf("CONCAVE_SEED=%llu\n", (unsigned long long)seed);
    seed *= 0x9E3779B97F4A7C15u;
    log_dir_make(&dir);
    char name[SNAPSHOT_NAME_BYTES];
    snapshot_name(LSN, name);
    snprintf(path, sizeof(path), "%s/%s", dir.path, name);
    image = malloc(65536);
    other = malloc(65536);
    other_len = make_image(other, 43, 5);
    image_len = make_image(image, 42, 5);
    return 0;
}

static int teardown_all(void **state) {
    (void)state;
    free(image);
    free(other);
    log_dir_remove(&dir);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_undamaged_file_is_good),
        cmocka_unit_test(every_bit_flipped),
        cmocka_unit_test(every_length_cut),
        cmocka_unit_test(bytes_behind_the_end),
        cmocka_unit_test(blocks_left_out_repeated_and_exchanged),
        cmocka_unit_test(ranges_of_another_snapshot),
        cmocka_unit_test(random_damage),
    };
    return cmocka_run_group_tests(tests, setup_all, teardown_all);
}
