/* The stage's stand-in for the log: it gives out LSNs, remembers every record in order and is
 * durable as far as it is told. It replaces core/wal.c at link time.
 *
 * With QUEUE_APART planted it takes records from one queue a shard, in any order of the queues, and
 * what it took last counts as durable.
 *
 * Keys are "k" and two digits, values are made from the tag of the step that writes them, so that
 * the log can be read as numbers. */
#ifndef CONCAVE_TESTS_STAGE_LOG_H
#define CONCAVE_TESTS_STAGE_LOG_H

#include "tests/support/stage.h"

#define WAL_APART_MAX 64u

struct wal {
    uint64_t last, durable;
    uint64_t initial; /* LSNs of what was there from the start */
    uint64_t reserved;
    bool refuses;
    bool (*refuses_now)(void *ctx); /* NULL: never */
    void *ctx;
    struct stage_write *history;
    struct wal_apart { /* by LSN, with QUEUE_APART only */
        unsigned producer;
        bool on_disk;
    } apart[WAL_APART_MAX];
    size_t count, cap;
};

/* With QUEUE_APART: the oldest record of a shard's queue, 0 if there is none. */
uint64_t wal_oldest_of(const struct wal *wal, unsigned producer);
/* Writes all up to this LSN (with QUEUE_APART: that record alone). */
void wal_write(struct wal *wal, uint64_t lsn);
bool wal_on_disk(const struct wal *wal, uint64_t lsn);

void wal_history_add(struct wal *wal, uint64_t lsn, const struct stage_write *operation);

/* A value is the tag of the step that wrote it, and some bytes more, so that lengths differ. */
#define VALUE_BYTES_MAX 24
struct slice stage_value(uint64_t tag, char bytes[VALUE_BYTES_MAX]);
uint64_t stage_value_tag(struct slice value);
unsigned stage_key_number(struct slice key);

#endif
