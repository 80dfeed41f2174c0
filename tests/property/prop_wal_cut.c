/* Damage of every kind at every place: the log cut at every byte length, bits flipped, sectors of
 * an unfinished sync lost. What opens then is exactly what the rule of core/wal_open.c promises;
 * the rest is refused with file, offset and LSN; never is anything replayed that was not written.
 *
 * A small log of several segments is written once and kept in memory with a table of its records;
 * for each case it is put on disk again, damaged, and opened. By default places are sampled, all of
 * them with CONCAVE_PROPERTY_FULL=1; CONCAVE_SEED picks the sample. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/support/scale.h"
#include "tests/support/wal_log.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/wal_reader.h"

#define SEGMENTS_MAX 8u
#define RECORDS_MAX 512u

struct placed {
    unsigned segment;
    uint64_t offset, bytes, lsn, durable_lsn;
};

struct image {
    unsigned segments;
    char names[SEGMENTS_MAX][WAL_NAME_BYTES];
    unsigned char *bytes[SEGMENTS_MAX];
    uint64_t sizes[SEGMENTS_MAX];
    uint64_t ends[SEGMENTS_MAX]; /* behind the last record, a mark included */
    struct placed records[RECORDS_MAX];
    unsigned count;
    bool marked;
    uint64_t mark_offset;
};

static struct log_dir dir;
static struct image crashed, clean;
static uint64_t seed = 1;
static bool full;

static uint64_t next_random(void) {
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

/* The distance to the next place to try: 1 if all are, else about `mean`. */
static uint64_t stride(uint64_t mean) {
    if (full)
        return 1;
    if (mean > 1)
        mean = (uint64_t)((double)mean / test_scale());
    return 1 + next_random() % (2 * mean);
}

/* ---- the undamaged log ---- */

static void path_of(const char *name, char *path, size_t size) {
    snprintf(path, size, "%s/%s", dir.path, name);
}

static void load_segment(struct image *image, uint64_t first_lsn) {
    unsigned at = image->segments++;
    char path[512];
    struct wal_reader reader;
    struct wal_record_head head;
    const unsigned char *record;
    size_t got;
    assert_true(at < SEGMENTS_MAX);
    wal_segment_name(first_lsn, image->names[at]);
    path_of(image->names[at], path, sizeof(path));
    assert_int_equal(wal_reader_open(&reader, path), ST_OK);
    while (wal_reader_next(&reader, &head, &record) == ST_OK) {
        assert_true(image->count < RECORDS_MAX);
        image->records[image->count++] = (struct placed){.segment = at,
            .offset = reader.offset - head.bytes,
            .bytes = head.bytes,
            .lsn = head.lsn,
            .durable_lsn = head.durable_lsn};
    }
    image->marked = reader.clean_end;
    image->mark_offset = reader.offset - WAL_RECORD_HEADER_BYTES - WAL_OP_HEADER_BYTES;
    image->ends[at] = reader.offset;
    image->sizes[at] = reader.size;
    image->bytes[at] = malloc(reader.size);
    assert_int_equal(disk_read(reader.file, 0, image->bytes[at], reader.size, &got), ST_OK);
    assert_int_equal(got, reader.size);
    uint64_t next_lsn = reader.next_lsn;
    wal_reader_close(&reader);
    wal_segment_name(next_lsn, path + strlen(dir.path) + 1);
    if (access(path, F_OK) == 0)
        load_segment(image, next_lsn);
}

/* Batches of one to five records over three segments or more. */
static void write_log(struct image *image, bool end_clean) {
    struct log_replayed replayed = {0};
    struct wal_options options = log_options(&dir);
    options.segment_bytes = WAL_SEGMENT_BYTES_MIN;
    struct wal *wal = log_begin(&options, &replayed);
    uint64_t number = 0;
    for (unsigned batch = 0; batch < 18; batch++) {
        bool last = batch == 17; /* long, so that much can happen to it */
        unsigned records = last ? 5 : 1 + batch * 3 % 5;
        size_t longest = last ? 2000 : batch % 4 == 0 ? 5000 : 300;
        for (unsigned i = 0; i < records; i++, number++)
            log_publish(wal, 0, number, log_value_bytes(number, longest));
        log_settle(wal);
    }
    if (end_clean)
        wal_finish(wal);
    wal_close(wal);
    load_segment(image, 1);
    assert_int_equal(image->count, number);
    assert_int_equal(image->marked, end_clean);
    assert_true(image->segments >= 3);
    /* two batches at least in the last segment, so that one can vouch for the other */
    assert_int_equal(image->records[image->count - 6].segment, image->segments - 1);
    log_replayed_free(&replayed);
}

static enum status unlink_one(void *ctx, const char *name) {
    (void)ctx;
    char path[512];
    path_of(name, path, sizeof(path));
    return disk_unlink(path);
}

static void clear_dir(void) {
    assert_int_equal(disk_list(dir.path, unlink_one, NULL), ST_OK);
}

/* Puts the log on disk, segment `damaged` with these bytes instead. */
static void put_log(
    const struct image *image, unsigned damaged, const unsigned char *bytes, uint64_t size) {
    clear_dir();
    for (unsigned i = 0; i < image->segments; i++) {
        char path[512];
        struct disk_file *file;
        path_of(image->names[i], path, sizeof(path));
        assert_int_equal(disk_open(path, DISK_CREATE, &file), ST_OK);
        assert_int_equal(disk_write(file, 0, i == damaged ? bytes : image->bytes[i],
                             i == damaged ? size : image->sizes[i]),
            ST_OK);
        disk_close(file);
    }
}

/* ---- what must come of it ---- */

static void assert_prefix(const struct log_replayed *replayed, uint64_t count) {
    assert_int_equal(replayed->count, count);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(replayed->lsns[i], i + 1);
        assert_int_equal(replayed->numbers[i], i);
    }
}

static struct wal_options options_of_case(void) {
    struct wal_options options = log_options(&dir);
    options.segment_bytes = WAL_SEGMENT_BYTES_MIN;
    return options;
}

/* The log must open with its first `count` records, twice, and go on after that. */
static unsigned long opened, refused; /* damaged logs, by what became of them */

static void assert_opens_with(uint64_t count, bool go_on) {
    opened++;
    struct wal_options options = options_of_case();
    struct log_replayed replayed = {0};
    struct wal *wal;
    assert_int_equal(log_open(&options, &wal, &replayed, NULL, 0), ST_OK);
    assert_prefix(&replayed, count);
    wal_close(wal);
    log_replayed_free(&replayed);
    if (!go_on)
        return;
    wal = log_begin(&options, &replayed);
    assert_prefix(&replayed, count);
    for (uint64_t i = 0; i < 3; i++) {
        assert_int_equal(log_publish(wal, 0, count + i, 2000), count + i + 1);
        log_settle(wal);
    }
    wal_close(wal);
    log_replayed_free(&replayed);
    assert_int_equal(log_open(&options, &wal, &replayed, NULL, 0), ST_OK);
    assert_prefix(&replayed, count + 3);
    wal_close(wal);
    log_replayed_free(&replayed);
}

static void assert_refused(void) {
    refused++;
    struct wal_options options = options_of_case();
    struct log_replayed replayed = {0};
    struct wal *wal;
    char error[1024];
    enum status status = log_open(&options, &wal, &replayed, error, sizeof(error));
    assert_true(status == ST_CORRUPT || status == ST_INVALID);
    assert_null(wal);
    assert_non_null(strstr(error, "/wal-0"));
    if (status == ST_CORRUPT) {
        assert_non_null(strstr(error, "offset "));
        assert_non_null(strstr(error, "LSN "));
    }
    /* what came before the damage is what was written */
    for (size_t i = 0; i < replayed.count; i++) {
        assert_int_equal(replayed.lsns[i], i + 1);
        assert_int_equal(replayed.numbers[i], i);
    }
    log_replayed_free(&replayed);
}

/* ---- cutting ---- */

static unsigned records_before(const struct image *image, unsigned segment, uint64_t length) {
    unsigned count = 0;
    while (count < image->count &&
           (image->records[count].segment < segment ||
               (image->records[count].segment == segment &&
                   image->records[count].offset + image->records[count].bytes <= length)))
        count++;
    return count;
}

static unsigned records_through(const struct image *image, unsigned segment) {
    return records_before(image, segment + 1, 0);
}

static void cut_everywhere(const struct image *image) {
    for (unsigned s = 0; s < image->segments; s++) {
        bool last = s + 1 == image->segments;
        uint64_t end = image->ends[s];
        for (uint64_t length = 0; length <= image->sizes[s];
             length += length > end + 64 ? stride(2000) : stride(last ? 20 : 60)) {
            put_log(image, s, image->bytes[s], length);
            unsigned kept = records_before(image, s, length);
            if (length < WAL_BLOCK_BYTES || (!last && kept < records_through(image, s)))
                assert_refused();
            else
                assert_opens_with(last ? kept : image->count, length % 5 == 0);
        }
    }
}

/* Cut to any length, the last segment opens with exactly the records that are whole; an earlier one
 * that lacks a record, or any that lacks its header, is refused. */
static void cut_after_a_crash(void **state) {
    (void)state;
    cut_everywhere(&crashed);
}

static void cut_after_a_clean_end(void **state) {
    (void)state;
    cut_everywhere(&clean);
}

/* ---- flipping ---- */

static const struct placed *record_at(
    const struct image *image, unsigned segment, uint64_t offset) {
    for (unsigned i = 0; i < image->count; i++) {
        const struct placed *record = &image->records[i];
        if (record->segment == segment && offset >= record->offset &&
            offset < record->offset + record->bytes)
            return record;
    }
    return NULL;
}

/* Whether anything that stays readable shows that this record was on disk. */
static bool known_durable(const struct image *image, const struct placed *record) {
    if (image->marked || record->segment + 1 < image->segments)
        return true;
    for (unsigned i = 0; i < image->count; i++)
        if (image->records[i].lsn > record->lsn && image->records[i].durable_lsn >= record->lsn)
            return true;
    return false;
}

static void flip_everywhere(const struct image *image) {
    for (unsigned s = 0; s < image->segments; s++) {
        unsigned char *bytes = image->bytes[s];
        uint64_t end = image->ends[s];
        for (uint64_t at = 0; at < image->sizes[s];
             at += at < 64 || at > end + 64 ? stride(at < 64 ? 1 : 1000) : stride(40)) {
            unsigned char mask = (unsigned char)(1u << next_random() % 8);
            bytes[at] ^= mask;
            put_log(image, s, bytes, image->sizes[s]);
            bytes[at] ^= mask;
            const struct placed *record = record_at(image, s, at);
            if (at < 48 || (record && known_durable(image, record)))
                assert_refused();
            else
                assert_opens_with(record ? record->lsn - 1 : image->count, at % 5 == 0);
        }
    }
}

/* A flipped bit in a record that is known to have been durable, or in a segment's header, is
 * refused; in a record of the last batch before a crash it is a torn end; elsewhere it does no
 * harm. */
static void flip_after_a_crash(void **state) {
    (void)state;
    flip_everywhere(&crashed);
}

/* After a clean end every record is known to have been durable. */
static void flip_after_a_clean_end(void **state) {
    (void)state;
    flip_everywhere(&clean);
}

/* ---- power loss ---- */

/* If power fails during a sync, any of its sectors may be missing: the log always opens, with all
 * that earlier syncs covered, and a prefix of the batch. */
static void lost_sectors_of_the_last_sync(void **state) {
    (void)state;
    struct image *image = &crashed;
    unsigned last = image->segments - 1;
    const struct placed *newest = &image->records[image->count - 1];
    uint64_t durable = newest->durable_lsn; /* when the last batch was written */
    uint64_t from = image->records[durable].offset, to = wal_align_up(image->ends[last], 4096);
    assert_int_equal(image->records[durable].segment, last);
    unsigned char *bytes = malloc(image->sizes[last]);
    for (unsigned round = 0; round < (full ? 20000u : test_scaled(400)); round++) {
        memcpy(bytes, image->bytes[last], image->sizes[last]);
        uint64_t whole = image->count;
        for (uint64_t sector = from; sector < to; sector += 512) {
            if (next_random() % 3)
                continue;
            if (memcmp(bytes + sector, (unsigned char[512]){0}, 512) == 0)
                continue;
            memset(bytes + sector, 0, 512);
            for (uint64_t i = image->count; i > durable; i--) {
                const struct placed *record = &image->records[i - 1];
                if (record->offset < sector + 512 && record->offset + record->bytes > sector &&
                    memcmp(bytes + record->offset, image->bytes[last] + record->offset,
                        record->bytes) != 0 &&
                    i - 1 < whole)
                    whole = i - 1;
            }
        }
        assert_true(whole >= durable);
        put_log(image, last, bytes, image->sizes[last]);
        assert_opens_with(whole, round % 4 == 0);
    }
    free(bytes);
}

/* A record that was judged lost, with the one before it, does not come back when the log has grown
 * to just before its place: what is cut is overwritten. */
static void lost_records_stay_lost(void **state) {
    (void)state;
    struct wal_options options = options_of_case();
    struct log_replayed replayed = {0};
    size_t value_bytes = WAL_BLOCK_BYTES - wal_record_bytes(1, 0) - strlen("key-0");
    clear_dir();
    struct wal *wal = log_begin(&options, &replayed);
    for (uint64_t i = 0; i < 3; i++)
        log_publish(wal, 0, i, value_bytes); /* one batch, a block each */
    log_settle(wal);
    wal_close(wal);
    char path[512];
    struct disk_file *file;
    path_of("wal-00000000000000000001.log", path, sizeof(path));
    assert_int_equal(disk_open(path, DISK_UPDATE, &file), ST_OK);
    assert_int_equal(
        disk_write(file, WAL_BLOCK_BYTES, (unsigned char[512]){0}, 512), ST_OK); /* LSN 1 is torn */
    disk_close(file);
    for (uint64_t count = 0; count < 3; count++) {
        wal = log_begin(&options, &replayed);
        assert_prefix(&replayed, count);
        log_replayed_free(&replayed);
        log_publish(wal, 0, count, 10);
        log_settle(wal);
        wal_close(wal);
    }
}

/* ---- missing and foreign files ---- */

/* A segment that is missing, or belongs to another directory, is refused. */
static void missing_segments_are_refused(void **state) {
    (void)state;
    for (unsigned missing = 0; missing + 1 < crashed.segments; missing++) {
        char path[512];
        put_log(&crashed, crashed.segments, NULL, 0);
        path_of(crashed.names[missing], path, sizeof(path));
        assert_int_equal(disk_unlink(path), ST_OK);
        assert_refused();
    }
}

static void foreign_segments_are_refused(void **state) {
    (void)state;
    unsigned last = crashed.segments - 1;
    unsigned char *bytes = malloc(crashed.sizes[last]);
    struct wal_segment_header header;
    memcpy(bytes, crashed.bytes[last], crashed.sizes[last]);
    assert_int_equal(wal_header_decode(bytes, &header), ST_OK);
    header.salt++;
    wal_header_encode(&header, bytes);
    put_log(&crashed, last, bytes, crashed.sizes[last]);
    assert_refused();
    free(bytes);
}

/* Records that an earlier use of the same place left, under another salt or another first LSN, are
 * never taken for records of this segment. */
static void recycled_bytes_do_not_validate(void **state) {
    (void)state;
    unsigned last = crashed.segments - 1;
    uint64_t end = wal_align_up(crashed.ends[last], WAL_BLOCK_BYTES);
    unsigned char *bytes = malloc(crashed.sizes[last]);
    memcpy(bytes, crashed.bytes[last], crashed.sizes[last]);
    uint64_t lsn = crashed.count + 1;
    uint64_t seeds[] = {
        wal_segment_seed(43, crashed.records[crashed.count - 1].lsn), wal_segment_seed(42, 1)};
    for (size_t i = 0; i < 2; i++) {
        memset(bytes + end, 0, WAL_BLOCK_BYTES);
        wal_record_seal(bytes + end, WAL_RECORD_HEADER_BYTES, lsn, lsn, seeds[i]);
        put_log(&crashed, last, bytes, crashed.sizes[last]);
        assert_opens_with(crashed.count, true);
    }
    free(bytes);
}

static int setup_all(void **state) {
    (void)state;
    log_dir_in_memory();
    full = getenv("CONCAVE_PROPERTY_FULL") != NULL;
    if (getenv("CONCAVE_SEED"))
        seed = strtoull(getenv("CONCAVE_SEED"), NULL, 10) | 1;
    printf("CONCAVE_SEED=%llu\n", (unsigned long long)seed);
    seed *= 0x9E3779B97F4A7C15u;
    log_dir_make(&dir);
    write_log(&crashed, false);
    clear_dir();
    write_log(&clean, true);
    return 0;
}

static int teardown_all(void **state) {
    (void)state;
    printf(
        "cut, flipped and damaged logs tried: %lu, of which %lu opened with a whole prefix and %lu "
        "were refused\n",
        opened + refused, opened, refused);
    for (unsigned i = 0; i < SEGMENTS_MAX; i++) {
        free(crashed.bytes[i]);
        free(clean.bytes[i]);
    }
    log_dir_remove(&dir);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cut_after_a_crash),
        cmocka_unit_test(cut_after_a_clean_end),
        cmocka_unit_test(flip_after_a_crash),
        cmocka_unit_test(flip_after_a_clean_end),
        cmocka_unit_test(lost_sectors_of_the_last_sync),
        cmocka_unit_test(lost_records_stay_lost),
        cmocka_unit_test(missing_segments_are_refused),
        cmocka_unit_test(foreign_segments_are_refused),
        cmocka_unit_test(recycled_bytes_do_not_validate),
    };
    return cmocka_run_group_tests(tests, setup_all, teardown_all);
}
