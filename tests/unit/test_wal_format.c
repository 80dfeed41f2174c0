/* The log's bytes are what the head of core/wal_format.c says, to the byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/wal_format.h"

#include <xxhash.h>

/* A segment's header is laid out as described; this pins format version 1. */
static void header_bytes(void **state) {
    (void)state;
    static const unsigned char expected[40] = "concwal\n"
                                              "\x01\x00\x00\x00"
                                              "\x01\x00\x00\x00"
                                              "\x08\x07\x06\x05\x04\x03\x02\x01"
                                              "\x00\x01\x00\x00\x00\x00\x00\x00"
                                              "\xff\x00\x00\x00\x00\x00\x00";
    struct wal_segment_header header = {.flags = WAL_SEGMENT_RELAXED,
        .salt = 0x0102030405060708,
        .first_lsn = 256,
        .before_lsn = 255};
    unsigned char block[WAL_BLOCK_BYTES];
    uint64_t checksum;
    wal_header_encode(&header, block);
    assert_memory_equal(block, expected, sizeof(expected));
    memcpy(&checksum, block + 40, sizeof(checksum));
    assert_true(checksum == XXH3_64bits(expected, sizeof(expected)));
    for (size_t i = 48; i < sizeof(block); i++)
        assert_int_equal(block[i], 0);
}

/* A header is read back as it was written. */
static void header_round_trip(void **state) {
    (void)state;
    struct wal_segment_header in = {.salt = 7, .first_lsn = 9, .before_lsn = 3}, out;
    unsigned char block[WAL_BLOCK_BYTES];
    wal_header_encode(&in, block);
    assert_int_equal(wal_header_decode(block, &out), ST_OK);
    assert_int_equal(out.version, WAL_FORMAT_VERSION);
    assert_int_equal(out.flags, 0);
    assert_int_equal(out.salt, 7);
    assert_int_equal(out.first_lsn, 9);
    assert_int_equal(out.before_lsn, 3);
}

/* Any changed byte of a header is noticed; another version is told apart from damage. */
static void damaged_header_is_refused(void **state) {
    (void)state;
    struct wal_segment_header header = {.salt = 7, .first_lsn = 9, .before_lsn = 8}, out;
    unsigned char block[WAL_BLOCK_BYTES];
    wal_header_encode(&header, block);
    for (size_t i = 0; i < 48; i++) {
        block[i] ^= 0x10;
        enum status expected = i >= 8 && i < 12 ? ST_INVALID : ST_CORRUPT;
        assert_int_equal(wal_header_decode(block, &out), expected);
        block[i] ^= 0x10;
    }
    block[8] = 2;
    assert_int_equal(wal_header_decode(block, &out), ST_INVALID);
    assert_int_equal(out.version, 2);
}

/* A header whose first LSN is not above the one before it makes no sense. */
static void header_order_is_checked(void **state) {
    (void)state;
    struct wal_segment_header header = {.salt = 7, .first_lsn = 9, .before_lsn = 9}, out;
    unsigned char block[WAL_BLOCK_BYTES];
    wal_header_encode(&header, block);
    assert_int_equal(wal_header_decode(block, &out), ST_CORRUPT);
}

static size_t make_record(unsigned char *record) {
    size_t len = WAL_RECORD_HEADER_BYTES;
    memset(record, 0, 128);
    len += wal_op_encode(record + len, WAL_PUT, SLICE("ab"), SLICE("xyz"));
    len += wal_op_encode(record + len, WAL_DELETE, SLICE("c"), SLICE(""));
    size_t bytes = wal_align_up(len, WAL_ALIGN_BYTES);
    wal_record_seal(record, bytes, 300, 299, 77);
    return bytes;
}

/* A record is laid out as described. */
static void record_bytes(void **state) {
    (void)state;
    static const unsigned char expected[] = "\x38\x00\x00\x00"
                                            "\x2c\x01\x00\x00\x00\x00\x00\x00"
                                            "\x2b\x01\x00\x00\x00\x00\x00\x00"
                                            "\x01\x00\x02\x00\x03\x00\x00\x00"
                                            "abxyz"
                                            "\x02\x00\x01\x00\x00\x00\x00\x00"
                                            "c"
                                            "\x00\x00";
    unsigned char record[128];
    size_t bytes = make_record(record);
    assert_int_equal(bytes, 56);
    assert_int_equal(bytes, wal_record_bytes(2, 6));
    assert_memory_equal(record + 12, expected, 44);
    uint64_t checksum;
    uint32_t check;
    memcpy(&checksum, record, sizeof(checksum));
    memcpy(&check, record + 8, sizeof(check));
    assert_true(check == (uint32_t)XXH3_64bits_withSeed(record + 12, 20, 77));
    assert_true(checksum == XXH3_64bits_withSeed(record + 8, bytes - 8, 77));
}

/* A sealed record is accepted under its seed only, and with any byte changed not at all. */
static void records_are_checked(void **state) {
    (void)state;
    unsigned char record[128];
    struct wal_record_head head;
    size_t bytes = make_record(record);
    assert_true(wal_record_head_decode(record, 77, &head));
    assert_int_equal(head.bytes, bytes);
    assert_int_equal(head.lsn, 300);
    assert_int_equal(head.durable_lsn, 299);
    assert_true(wal_record_intact(record, bytes, 77));
    assert_false(wal_record_head_decode(record, 78, &head));
    for (size_t i = 0; i < bytes; i++) {
        record[i] ^= 1;
        bool read = wal_record_head_decode(record, 77, &head) && head.bytes == bytes &&
                    wal_record_intact(record, bytes, 77);
        assert_false(read);
        record[i] ^= 1;
    }
}

/* Zeros are no record. */
static void zeros_are_no_record(void **state) {
    (void)state;
    unsigned char zeros[WAL_RECORD_HEADER_BYTES] = {0};
    struct wal_record_head head;
    assert_false(wal_record_head_decode(zeros, 0, &head));
}

/* Operations are read back one by one, up to the padding. */
static void operations_round_trip(void **state) {
    (void)state;
    unsigned char record[128];
    size_t bytes = make_record(record);
    struct slice rest =
        slice_of((const char *)record + WAL_RECORD_HEADER_BYTES, bytes - WAL_RECORD_HEADER_BYTES);
    struct slice key, value;
    int op;
    assert_int_equal(wal_op_decode(&rest, &op, &key, &value), ST_OK);
    assert_int_equal(op, WAL_PUT);
    assert_true(slice_equal(key, SLICE("ab")) && slice_equal(value, SLICE("xyz")));
    assert_int_equal(wal_op_decode(&rest, &op, &key, &value), ST_OK);
    assert_int_equal(op, WAL_DELETE);
    assert_true(slice_equal(key, SLICE("c")) && value.len == 0);
    assert_int_equal(wal_op_decode(&rest, &op, &key, &value), ST_END);
}

/* Lengths that reach past the record, unknown operations and a dirty padding are refused, and never
 * read beyond the bytes given. */
static void bad_operations_are_refused(void **state) {
    (void)state;
    static const struct {
        unsigned char bytes[16];
        size_t len;
    } bad[] = {
        {{1, 0, 2, 0, 0, 0, 0, 0, 'k'}, 9},
        {{1, 0, 1, 0, 1, 0, 0, 0, 'k'}, 9},
        {{1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff}, 8},
        {{0, 0, 0, 0, 0, 0, 0, 0}, 8},
        {{5, 0, 0, 0, 0, 0, 0, 0}, 8},
        {{1, 1, 0, 0, 0, 0, 0, 0}, 8},
        {{0, 0, 1}, 3},
        {{1}, 1},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct slice rest = slice_of((const char *)bad[i].bytes, bad[i].len);
        struct slice key, value;
        int op;
        assert_int_equal(wal_op_decode(&rest, &op, &key, &value), ST_CORRUPT);
    }
}

/* File names sort as LSNs do, and only exact ones are read. */
static void segment_names(void **state) {
    (void)state;
    char name[WAL_NAME_BYTES];
    uint64_t lsn = 0;
    wal_segment_name(UINT64_MAX, name);
    assert_string_equal(name, "wal-18446744073709551615.log");
    assert_true(wal_segment_name_parse(name, &lsn));
    assert_true(lsn == UINT64_MAX);
    wal_segment_name(7, name);
    assert_string_equal(name, "wal-00000000000000000007.log");
    assert_true(wal_segment_name_parse(name, &lsn));
    assert_int_equal(lsn, 7);
    static const char *const bad[] = {"wal-7.log", "wal-00000000000000000000.log",
        "wal-18446744073709551616.log", "wal-0000000000000000000x.log", WAL_NEXT_NAME,
        "wal-00000000000000000007.lo", "wal-00000000000000000007.logs", ""};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(wal_segment_name_parse(bad[i], &lsn));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(header_bytes),
        cmocka_unit_test(header_round_trip),
        cmocka_unit_test(damaged_header_is_refused),
        cmocka_unit_test(header_order_is_checked),
        cmocka_unit_test(record_bytes),
        cmocka_unit_test(records_are_checked),
        cmocka_unit_test(zeros_are_no_record),
        cmocka_unit_test(operations_round_trip),
        cmocka_unit_test(bad_operations_are_refused),
        cmocka_unit_test(segment_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
