#include "tests/support/stage_log.h"

#include <assert.h>
#include <stdlib.h>

#include "core/mutant.h"

struct slice stage_value(uint64_t tag, char bytes[VALUE_BYTES_MAX]) {
    memset(bytes, 'x', VALUE_BYTES_MAX);
    memcpy(bytes, &tag, sizeof tag);
    return slice_of(bytes, sizeof tag + tag % (VALUE_BYTES_MAX - sizeof tag));
}

uint64_t stage_value_tag(struct slice value) {
    uint64_t tag;
    assert(value.len >= sizeof tag);
    memcpy(&tag, value.data, sizeof tag);
    assert(value.len == sizeof tag + tag % (VALUE_BYTES_MAX - sizeof tag));
    return tag;
}

struct wal_record {
    unsigned producer;
    struct stage_write operations[STAGE_KEYS];
    unsigned count;
};

unsigned stage_key_number(struct slice key) {
    return (unsigned)((key.data[1] - '0') * 10 + (key.data[2] - '0'));
}

size_t wal_record_bytes(size_t count, size_t bytes) {
    return 32 + 8 * count + bytes;
}

size_t wal_record_bytes_max(const struct wal *wal) {
    (void)wal;
    return 1 << 20;
}

enum status wal_reserve(
    struct wal *wal, unsigned producer, size_t bytes, struct wal_record **record) {
    (void)bytes;
    if (wal->refuses || (wal->refuses_now && wal->refuses_now(wal->ctx)))
        return ST_BUSY;
    *record = calloc(1, sizeof **record);
    assert(*record);
    (*record)->producer = producer;
    wal->reserved++;
    return ST_OK;
}

static void record_add(struct wal_record *record, struct slice key, bool deletes, uint64_t tag) {
    assert(record->count < STAGE_KEYS);
    record->operations[record->count++] =
        (struct stage_write){.key = stage_key_number(key), .deletes = deletes, .tag = tag};
}

void wal_record_put(struct wal_record *record, struct slice key, struct slice value) {
    record_add(record, key, false, stage_value_tag(value));
}

void wal_record_delete(struct wal_record *record, struct slice key) {
    record_add(record, key, true, 0);
}

void wal_record_first_run(struct wal_record *record) {
    (void)record;
}

void wal_history_add(struct wal *wal, uint64_t lsn, const struct stage_write *operation) {
    if (wal->count == wal->cap) {
        wal->cap = wal->cap ? 2 * wal->cap : 64;
        wal->history = realloc(wal->history, wal->cap * sizeof *wal->history);
        assert(wal->history);
    }
    wal->history[wal->count] = *operation;
    wal->history[wal->count++].lsn = lsn;
}

uint64_t wal_publish(struct wal *wal, struct wal_record *record) {
    uint64_t lsn = ++wal->last;
    if (MUTANT(QUEUE_APART)) {
        assert(lsn < WAL_APART_MAX);
        wal->apart[lsn] = (struct wal_apart){.producer = record->producer};
    }
    for (unsigned i = 0; i < record->count; i++)
        wal_history_add(wal, lsn, &record->operations[i]);
    wal->reserved--;
    free(record);
    return lsn;
}

void wal_cancel(struct wal *wal, struct wal_record *record) {
    wal->reserved--;
    free(record);
}

void wal_kick(struct wal *wal) {
    (void)wal; /* it becomes durable when the seed says so */
}

uint64_t wal_reply_lsn(const struct wal *wal) {
    return wal->durable;
}

uint64_t wal_announce(struct wal *wal, unsigned producer) {
    (void)producer;
    return wal->durable;
}

bool wal_on_disk(const struct wal *wal, uint64_t lsn) {
    if (MUTANT(QUEUE_APART) && lsn > wal->initial)
        return wal->apart[lsn].on_disk;
    return lsn <= wal->durable;
}

uint64_t wal_oldest_of(const struct wal *wal, unsigned producer) {
    for (uint64_t lsn = wal->initial + 1; lsn <= wal->last; lsn++)
        if (wal->apart[lsn].producer == producer && !wal->apart[lsn].on_disk)
            return lsn;
    return 0;
}

void wal_write(struct wal *wal, uint64_t lsn) {
    if (MUTANT(QUEUE_APART))
        wal->apart[lsn].on_disk = true;
    if (lsn > wal->durable)
        wal->durable = lsn;
}
