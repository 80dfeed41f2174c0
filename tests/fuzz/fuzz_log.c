/* The log's reader and its opening, on a simulated disk: whatever is in the segments, the log opens
 * with records that were sealed, in order, or is refused with a sentence; undamaged it opens with
 * all of them; and once open it opens again with the same, and goes on from there.
 *
 * Checksums keep random bytes out. So an input is a list of instructions that build segments with
 * good checksums, good and bad contents, and damage done afterwards:
 *   a byte: bits 0-3 the snapshot's LSN, bits 4-7 how much more it holds; then, until the end,
 *   a byte: bits 0-2 what comes next (enum instruction), bits 3-7 its variant; and its arguments.
 */
#include "core/clock.h"
#include "core/wal_private.h"
#include "tests/fuzz/fuzz.h"
#include "tests/support/diag_catch.h"
#include "tests/support/sim_disk.h"
#include <stdio.h>

#define DIR "/data"
#define SALT 42u
#define IMAGE_BYTES WAL_SEGMENT_BYTES_MIN /* so that the log goes on in the last one */
#define SEGMENTS_MAX 6u
#define OPS_BYTES_MAX 2048u

enum instruction { SEGMENT, RECORD, ODD_RECORD, RAW, ALIGN, MARK, FLIP, CUT };

/* Operations as text: what was sealed, one text for each record, and what was replayed. */
struct story {
    struct buf text;
    uint64_t lsn; /* of the newest operation */
};

static struct {
    struct slice input;
    bool stored;   /* the segment in the image is on the disk, as its last */
    bool pristine; /* nothing was damaged or out of order so far */
    unsigned segments;
    struct wal_segment_header header;
    uint64_t seed;
    uint64_t last_lsn, next_lsn; /* of the newest record; to be given to the next */
    unsigned char image[IMAGE_BYTES];
    size_t at, size;
    struct buf sealed, expected; /* all records; the same without their frames */
    struct wal_options options;
} build;

static void tell(struct buf *out, uint64_t lsn, int op, struct slice key, struct slice value) {
    buf_printf(out, "(%llu %d %zu ", (unsigned long long)lsn, op, key.len);
    buf_append_slice(out, key);
    buf_append_byte(out, ' ');
    buf_append_slice(out, value);
    buf_append_byte(out, ')');
}

/* ---- building ---- */

static void end_segment(void) {
    char name[WAL_NAME_BYTES], path[64];
    struct disk_file *file;
    if (build.segments == 0)
        return;
    wal_segment_name(build.header.first_lsn, name);
    (void)snprintf(path, sizeof path, DIR "/%s", name);
    build.stored = disk_open(path, DISK_CREATE, &file) == ST_OK;
    if (!build.stored) {
        build.pristine = false; /* two of the same LSN: the first stays */
        return;
    }
    FUZZ_CHECK(disk_write(file, 0, build.image, build.size) == ST_OK);
    FUZZ_CHECK(disk_sync(file) == ST_OK && disk_sync_dir(DIR) == ST_OK);
    disk_close(file);
}

static void begin_segment(unsigned variant) {
    end_segment();
    unsigned gap = variant & 1 ? fuzz_take_byte(&build.input) : 0;
    uint64_t before = build.last_lsn;
    if (variant & 2 && fuzz_take_byte(&build.input) % 4 == 0) {
        before += fuzz_take_byte(&build.input);
        build.pristine = false;
    }
    build.header = (struct wal_segment_header){.flags = variant >> 2 & 1,
        .salt = variant & 8 ? SALT + fuzz_take_byte(&build.input) : SALT,
        .first_lsn = (before < build.next_lsn ? build.next_lsn : before + 1) + gap,
        .before_lsn = before};
    build.pristine = build.pristine && build.header.salt == SALT && build.segments < SEGMENTS_MAX;
    memset(build.image, 0, sizeof build.image);
    wal_header_encode(&build.header, build.image);
    build.seed = wal_segment_seed(build.header.salt, build.header.first_lsn);
    build.next_lsn = build.header.first_lsn;
    build.at = WAL_BLOCK_BYTES;
    build.size = IMAGE_BYTES;
    build.segments++;
}

static void seal(const unsigned char *ops, size_t len, uint64_t lsn, uint64_t durable_lsn) {
    size_t bytes = (size_t)wal_align_up(WAL_RECORD_HEADER_BYTES + len, WAL_ALIGN_BYTES);
    if (build.segments == 0 || build.at + bytes > IMAGE_BYTES)
        return;
    unsigned char *record = build.image + build.at;
    memset(record, 0, bytes);
    memcpy(record + WAL_RECORD_HEADER_BYTES, ops, len);
    wal_record_seal(record, bytes, lsn, durable_lsn, build.seed);
    build.at += bytes;
    if (wal_record_is_clean_end(record, bytes))
        return;
    build.last_lsn = lsn;
    build.next_lsn = lsn + 1;
    struct slice rest =
        slice_of((const char *)record + WAL_RECORD_HEADER_BYTES, bytes - WAL_RECORD_HEADER_BYTES);
    struct slice key, value;
    int op;
    while (wal_op_decode(&rest, &op, &key, &value) == ST_OK && op != WAL_OP_CLEAN_END) {
        tell(&build.expected, lsn, op, key, value);
        tell(&build.sealed, lsn, op, key, value);
    }
}

static void add_record(unsigned variant, bool odd) {
    unsigned char ops[OPS_BYTES_MAX];
    size_t len = 0;
    uint64_t lsn = build.next_lsn, durable_lsn = lsn - 1;
    for (unsigned i = 0; i <= (variant & 3); i++) {
        struct slice key = fuzz_take(&build.input, fuzz_take_byte(&build.input) % 16);
        struct slice value = fuzz_take(&build.input, fuzz_take_byte(&build.input));
        int op = WAL_PUT + (int)(fuzz_take_byte(&build.input) % 3);
        len += wal_op_encode(ops + len, op, key, value);
    }
    if (odd) { /* another LSN, a D that vouches for more, or operations of no sense */
        lsn += fuzz_take_byte(&build.input);
        durable_lsn += fuzz_take_byte(&build.input);
        if (variant & 4) {
            struct slice raw = fuzz_take(&build.input, fuzz_take_byte(&build.input));
            len = raw.len;
            if (len)
                memcpy(ops, raw.data, len);
        }
        build.pristine = false;
    } else if (variant & 8) {
        durable_lsn -= durable_lsn < 4 ? durable_lsn : fuzz_take_byte(&build.input) % 4;
    }
    seal(ops, len, lsn, durable_lsn);
}

static void damage(enum instruction instruction, unsigned variant) {
    size_t place = fuzz_take_byte(&build.input) << 8 | fuzz_take_byte(&build.input);
    if (build.segments == 0)
        return;
    build.pristine = false;
    if (instruction == FLIP)
        build.image[place % IMAGE_BYTES] ^= (unsigned char)fuzz_take_byte(&build.input);
    else if (instruction == CUT)
        build.size = place % (IMAGE_BYTES + 1);
    else
        for (unsigned i = 0; i < variant && build.at < IMAGE_BYTES; i++, build.at++)
            build.image[build.at] = (unsigned char)fuzz_take_byte(&build.input);
    if (instruction == RAW)
        build.at = (size_t)wal_align_up(build.at, WAL_ALIGN_BYTES);
}

static void build_step(void) {
    unsigned byte = fuzz_take_byte(&build.input);
    enum instruction instruction = byte & 7;
    unsigned char mark[WAL_OP_HEADER_BYTES];
    switch (instruction) {
    case SEGMENT:
        if (build.segments < SEGMENTS_MAX)
            begin_segment(byte >> 3);
        return;
    case RECORD:
    case ODD_RECORD:
        add_record(byte >> 3, instruction == ODD_RECORD);
        return;
    case ALIGN:
        build.at = (size_t)wal_align_up(build.at, WAL_BLOCK_BYTES);
        return;
    case MARK:
        seal(mark, wal_op_encode(mark, WAL_OP_CLEAN_END, SLICE(""), SLICE("")), build.next_lsn - 1,
            build.next_lsn - 1);
        return;
    case RAW:
    case FLIP:
    case CUT:
        damage(instruction, byte >> 3);
    }
}

/* ---- opening ---- */

static enum status note(
    void *ctx, uint64_t lsn, enum wal_op op, struct slice key, struct slice value) {
    struct story *story = ctx;
    FUZZ_CHECK(lsn >= story->lsn && lsn > build.options.snapshot_lsn);
    story->lsn = lsn;
    size_t before = story->text.len;
    tell(&story->text, lsn, (int)op, key, value);
    /* sealed by somebody with this LSN: the segment's seed is in the checksum */
    FUZZ_CHECK(memmem(
        build.sealed.data, build.sealed.len, story->text.data + before, story->text.len - before));
    return ST_OK;
}

static struct wal *open_log(struct story *story) {
    struct wal_replay replay = {.ctx = story, .apply = note};
    struct wal *wal;
    struct buf error;
    buf_init(&error, 16384);
    buf_init(&story->text, SIZE_MAX);
    story->lsn = 0;
    enum status status = wal_open(&build.options, &replay, &wal, &error);
    FUZZ_CHECK((status == ST_OK) == (wal != NULL));
    FUZZ_CHECK(status == ST_OK || ((status == ST_CORRUPT || status == ST_INVALID) && error.len));
    buf_free(&error);
    return wal;
}

static void settle(struct wal *wal) {
    for (bool busy = true; busy;) {
        busy = wal_step(wal, clock_monotonic_ns()) == 0;
        busy = wal_prepare_step(wal) || busy;
    }
}

/* One record more, and a crash; what comes back is the story so far with it. */
static void check_goes_on(struct story *so_far, struct wal *wal) {
    struct wal_record *record;
    struct buf error;
    struct story again;
    buf_init(&error, 16384);
    FUZZ_CHECK(wal_begin(wal, &error) == ST_OK);
    settle(wal);
    FUZZ_CHECK(wal_reserve(wal, 0, wal_record_bytes(1, 8), &record) == ST_OK);
    wal_record_put(record, SLICE("more"), SLICE("here"));
    uint64_t lsn = wal_publish(wal, record);
    FUZZ_CHECK(lsn > so_far->lsn && lsn > build.options.snapshot_lsn);
    settle(wal);
    FUZZ_CHECK(wal_durable_lsn(wal) == lsn);
    wal_close(wal);
    tell(&so_far->text, lsn, WAL_PUT, SLICE("more"), SLICE("here"));
    buf_append_slice(&build.sealed, buf_slice(&so_far->text));
    wal = open_log(&again);
    FUZZ_CHECK(wal != NULL);
    fuzz_check_equal(buf_slice(&so_far->text), buf_slice(&again.text), "the log after a crash");
    wal_close(wal);
    buf_free(&again.text);
    buf_free(&error);
}

/* The log has opened and goes on with next_lsn: then nothing in its last segment, which is still in
 * the image, says of that LSN that it was on disk. */
static void check_nothing_lost(uint64_t next_lsn) {
    if (next_lsn > WAL_LSN_SKIP)
        next_lsn -= WAL_LSN_SKIP;
    for (size_t at = WAL_BLOCK_BYTES; at + WAL_RECORD_HEADER_BYTES <= build.size;
         at += WAL_ALIGN_BYTES) {
        struct wal_record_head head;
        const unsigned char *record = build.image + at;
        if (wal_record_head_decode(record, build.seed, &head) && head.bytes <= build.size - at &&
            wal_record_intact(record, head.bytes, build.seed))
            FUZZ_CHECK(head.lsn < next_lsn || head.durable_lsn < next_lsn);
    }
}

static void check_log(void) {
    struct story first, second;
    struct wal *wal = open_log(&first);
    if (build.pristine && build.options.snapshot_applied == 0) {
        FUZZ_CHECK(wal != NULL);
        fuzz_check_equal(buf_slice(&build.expected), buf_slice(&first.text), "an undamaged log");
    }
    if (wal) {
        if (build.stored)
            check_nothing_lost(wal->write_lsn);
        wal_close(wal);
        wal = open_log(&second);
        FUZZ_CHECK(wal != NULL);
        fuzz_check_equal(buf_slice(&first.text), buf_slice(&second.text), "the log opened again");
        check_goes_on(&second, wal);
        buf_free(&second.text);
    }
    buf_free(&first.text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    build.input = slice_of((const char *)data, size);
    build.pristine = true;
    build.stored = false;
    build.segments = 0;
    build.last_lsn = 0;
    build.next_lsn = 1;
    buf_init(&build.sealed, SIZE_MAX);
    buf_init(&build.expected, SIZE_MAX);
    struct sim_disk *disk = sim_disk_new(1);
    (void)sim_disk_use(disk);
    FUZZ_CHECK(disk_make_dir(DIR) == ST_OK);
    unsigned snapshot = fuzz_take_byte(&build.input);
    build.options = (struct wal_options){.dir = DIR,
        .segment_bytes = WAL_SEGMENT_BYTES_MIN,
        .producers = 1,
        .ring_slots = 16,
        .ring_bytes = WAL_SEGMENT_BYTES_MIN,
        .salt = SALT,
        .snapshot_lsn = snapshot & 15,
        .snapshot_applied = (snapshot & 15) + (snapshot >> 4)};
    while (build.input.len)
        build_step();
    end_segment();
    check_log();
    (void)sim_disk_use(NULL);
    sim_disk_free(disk);
    buf_free(&build.sealed);
    buf_free(&build.expected);
    return 0;
}
