#include "tests/sim/log_damage.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/wal_reader.h"

#define LLU(number) ((unsigned long long)(number))
#define RELIC_BYTES 256u
#define RELIC_SALT 4711u

/* ---- a copy of the disk, opened ---- */

/* What a recovery of a copy finds. */
struct finding {
    enum status status;
    size_t count; /* transactions */
    uint64_t snapshot_lsn;
    char error[512];
};

/* Where a record is. */
struct place {
    char path[DISK_PATH_BYTES_MAX];
    uint64_t lsn, offset, bytes;
    bool in_last; /* segment */
};

static struct finding look(const struct log_life *like, struct log_ledger *ledger) {
    struct log_life life;
    uint64_t random = 0;
    log_life_init(&life, ledger, &random, like->clock_set, like->in_blocks);
    life.options = like->options;
    struct finding finding = {.status = log_life_restore(&life)};
    if (finding.status == ST_OK) {
        finding.count = log_life_restored(&life);
        finding.snapshot_lsn = life.restored.snapshot.lsn;
    }
    (void)snprintf(finding.error, sizeof(finding.error), "%.*s", (int)life.error.len,
        life.error.len ? life.error.data : "");
    log_life_end(&life);
    return finding;
}

/* ---- a flipped bit in a record ---- */

/* One of the records behind the LSN, each as likely as the others. */
static bool pick_record(uint64_t behind_lsn, uint64_t *random, struct place *picked) {
    uint64_t *first_lsns, seen = 0;
    size_t count;
    struct buf error;
    buf_init(&error, 4096);
    enum status status = wal_list_segments(LOG_DIR, false, &first_lsns, &count, &error);
    buf_free(&error);
    assert(status == ST_OK);
    for (size_t i = wal_first_needed(first_lsns, count, behind_lsn); i < count; i++) {
        struct place place = {.in_last = i + 1 == count};
        struct wal_reader reader;
        struct wal_record_head head;
        const unsigned char *record;
        char name[WAL_NAME_BYTES];
        wal_segment_name(first_lsns[i], name);
        (void)snprintf(place.path, sizeof(place.path), "%s/%s", LOG_DIR, name);
        if (wal_reader_open(&reader, place.path) != ST_OK)
            continue;
        while (wal_reader_next(&reader, &head, &record) == ST_OK) {
            if (head.lsn <= behind_lsn || log_draw(random, ++seen) != 0)
                continue;
            *picked = place;
            picked->lsn = head.lsn;
            picked->bytes = head.bytes;
            picked->offset = reader.offset - head.bytes;
        }
        wal_reader_close(&reader);
    }
    free(first_lsns);
    return seen > 0;
}

/* Whether something that is still there tells that the record was acknowledged. */
static bool is_evident(const struct log_ledger *ledger, size_t count, const struct place *place) {
    for (size_t i = 0; i < count; i++)
        if (ledger->txns[i].durable >= place->lsn)
            return true;
    return !place->in_last;
}

static void flip_record(struct sim_disk *disk, const struct log_life *life,
    const struct finding *whole, const struct place *place) {
    struct log_ledger *ledger = life->ledger, copy;
    uint64_t at = place->offset + log_draw(life->random, place->bytes);
    bool flipped =
        sim_disk_flip(disk, place->path, at, (unsigned char)(1u << log_draw(life->random, 8)));
    assert(flipped);
    bool evident = is_evident(ledger, whole->count, place);
    log_ledger_copy(ledger, &copy);
    struct finding finding = look(life, &copy);
    if (copy.failed)
        log_ledger_fail(ledger, "after LSN %llu was damaged: %s", LLU(place->lsn), copy.why);
    else if (finding.status == ST_OK && evident)
        log_ledger_fail(ledger,
            "damage to LSN %llu, which was acknowledged, is not refused but cut: the log ends with "
            "%zu transactions instead of %zu",
            LLU(place->lsn), finding.count, whole->count);
    else if (finding.status == ST_OK && finding.count > log_ledger_upto(ledger, place->lsn - 1))
        log_ledger_fail(ledger, "damage to LSN %llu goes unnoticed", LLU(place->lsn));
    else if (finding.status != ST_OK && finding.status != ST_CORRUPT)
        log_ledger_fail(ledger, "damage to LSN %llu is taken for something else: %s",
            LLU(place->lsn), finding.error);
    log_ledger_free(&copy);
}

/* ---- a flipped bit in a snapshot ---- */

static void flip_snapshot(
    struct sim_disk *disk, const struct log_life *life, const struct finding *whole) {
    struct log_ledger *ledger = life->ledger, copy;
    char name[SNAPSHOT_NAME_BYTES], path[DISK_PATH_BYTES_MAX];
    struct disk_file *file;
    uint64_t bytes = 0;
    snapshot_name(whole->snapshot_lsn, name);
    (void)snprintf(path, sizeof(path), "%s/%s", LOG_DIR, name);
    enum status status = disk_open(path, DISK_READ, &file);
    assert(status == ST_OK);
    status = disk_size(file, &bytes);
    assert(status == ST_OK && bytes > 0);
    disk_close(file);
    bool flipped = sim_disk_flip(disk, path, log_draw(life->random, bytes),
        (unsigned char)(1u << log_draw(life->random, 8)));
    assert(flipped);
    log_ledger_copy(ledger, &copy);
    struct finding finding = look(life, &copy);
    if (copy.failed)
        log_ledger_fail(ledger, "after the snapshot of LSN %llu was damaged: %s",
            LLU(whole->snapshot_lsn), copy.why);
    else if (finding.status == ST_OK &&
             (finding.count != whole->count || finding.snapshot_lsn == whole->snapshot_lsn))
        log_ledger_fail(
            ledger, "damage to the snapshot of LSN %llu goes unnoticed", LLU(whole->snapshot_lsn));
    log_ledger_free(&copy);
}

bool log_damage_try(struct sim_disk *disk, const struct log_life *life) {
    struct log_ledger copy;
    struct place place;
    struct sim_disk *clone = sim_disk_clone(disk, 1);
    sim_disk_use(clone);
    log_ledger_copy(life->ledger, &copy);
    struct finding whole = look(life, &copy);
    bool in_snapshot = whole.snapshot_lsn > 0 && log_draw(life->random, 4) == 0;
    bool found = whole.status == ST_OK && !copy.failed &&
                 (in_snapshot || pick_record(whole.snapshot_lsn, life->random, &place));
    log_ledger_free(&copy);
    sim_disk_free(clone);
    if (found) {
        clone = sim_disk_clone(disk, 1);
        sim_disk_use(clone);
        if (in_snapshot)
            flip_snapshot(clone, life, &whole);
        else
            flip_record(clone, life, &whole, &place);
        sim_disk_free(clone);
    }
    sim_disk_use(disk);
    return found;
}

/* ---- relics ---- */

bool log_damage_note_end(const struct log_life *life, struct log_end *end) {
    const struct wal *wal = life->wal;
    if (!wal || !wal->current || wal->buffered > 0)
        return false;
    memcpy(end->path, wal->current->path, sizeof(end->path));
    end->offset = wal_align_up(wal->offset, WAL_BLOCK_BYTES);
    end->size = atomic_load(&wal->current->zeroed);
    struct slice name = slice_of(end->path + sizeof(LOG_DIR), strlen(end->path) - sizeof(LOG_DIR));
    end->next_lsn = wal->write_lsn;
    return wal_segment_name_parse(name.data, &end->first_lsn);
}

void log_damage_leave_relics(struct sim_disk *disk, const struct log_end *end, uint64_t *random) {
    unsigned char record[RELIC_BYTES] = {0};
    uint64_t seed = wal_segment_seed(RELIC_SALT, end->first_lsn);
    uint64_t lsn = end->next_lsn + log_draw(random, 2);
    struct slice value = SLICE("left by another log");
    for (uint64_t at = end->offset; at + RELIC_BYTES <= end->size && log_draw(random, 4) > 0;
         at += RELIC_BYTES, lsn++) {
        (void)wal_op_encode(record + WAL_RECORD_HEADER_BYTES, WAL_PUT,
            log_key((unsigned)log_draw(random, STORE_KEYS)), value);
        size_t bytes = wal_align_up(
            WAL_RECORD_HEADER_BYTES + WAL_OP_HEADER_BYTES + STORE_KEY_BYTES + value.len,
            WAL_ALIGN_BYTES);
        wal_record_seal(record, bytes, lsn, lsn - log_draw(random, 2), seed);
        for (size_t i = 0; i < bytes; i++)
            (void)sim_disk_flip(disk, end->path, at + i, record[i]);
        at += bytes - RELIC_BYTES;
    }
}
