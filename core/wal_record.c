#include "core/wal_record.h"

#include <assert.h>
#include <stdlib.h>

#include "core/wal_format.h"

/* Smaller records share one size, so that nearly every record taken from the pool fits. */
#define RECORD_BYTES_MIN 1024u

_Static_assert(offsetof(struct wal_record, link) == 0, "a message is a record");

void wal_pool_init(struct wal_pool *pool, unsigned producer) {
    *pool = (struct wal_pool){.producer = producer};
    mailbox_init(&pool->returned);
}

static void free_list(struct msg *msg) {
    while (msg) {
        struct msg *next = msg->next;
        free(msg);
        msg = next;
    }
}

void wal_pool_free(struct wal_pool *pool) {
    free_list(mailbox_drain(&pool->returned));
    free_list((struct msg *)pool->free);
    pool->free = NULL;
    pool->free_bytes = 0;
}

void wal_pool_put(struct wal_pool *pool, struct wal_record *record) {
    if (record->cap > WAL_POOLED_RECORD_BYTES_MAX ||
        record->cap > WAL_POOL_BYTES_MAX - pool->free_bytes) {
        free(record);
        return;
    }
    pool->free_bytes += record->cap;
    record->link.next = (struct msg *)pool->free;
    pool->free = record;
}

void wal_pool_return(struct wal_pool *pool, struct wal_record *record) {
    if (record->cap > WAL_POOLED_RECORD_BYTES_MAX) {
        free(record); /* now, not when the producer next looks */
        return;
    }
    (void)mailbox_push(&pool->returned, &record->link); /* nobody sleeps waiting for records */
}

static struct wal_record *allocate(size_t bytes) {
    size_t cap = bytes > RECORD_BYTES_MIN ? bytes : RECORD_BYTES_MIN;
    struct wal_record *record = malloc(sizeof(*record) + cap);
    if (record)
        record->cap = cap;
    return record;
}

struct wal_record *wal_pool_take(struct wal_pool *pool, size_t bytes) {
    if (!pool->free) {
        struct msg *msg = mailbox_drain(&pool->returned);
        while (msg) {
            struct msg *next = msg->next;
            wal_pool_put(pool, (struct wal_record *)msg);
            msg = next;
        }
    }
    struct wal_record *record = NULL;
    if (pool->free && pool->free->cap >= bytes) {
        record = pool->free;
        pool->free = (struct wal_record *)record->link.next;
        pool->free_bytes -= record->cap;
    } else {
        record = allocate(bytes);
    }
    if (!record)
        return NULL;
    record->link = (struct msg){.from = pool->producer};
    record->reserved = 0;
    record->len = WAL_RECORD_HEADER_BYTES;
    return record;
}

static void add_op(struct wal_record *record, int op, struct slice key, struct slice value) {
    assert(WAL_OP_HEADER_BYTES + key.len + value.len <= record->reserved - record->len);
    record->len += wal_op_encode(record->bytes + record->len, op, key, value);
}

void wal_record_put(struct wal_record *record, struct slice key, struct slice value) {
    add_op(record, WAL_PUT, key, value);
}

void wal_record_delete(struct wal_record *record, struct slice key) {
    add_op(record, WAL_DELETE, key, slice_of(NULL, 0));
}

void wal_record_first_run(struct wal_record *record) {
    add_op(record, WAL_FIRST_RUN, slice_of(NULL, 0), slice_of(NULL, 0));
}

void wal_record_finish(struct wal_record *record) {
    size_t bytes = wal_align_up(record->len, WAL_ALIGN_BYTES);
    memset(record->bytes + record->len, 0, bytes - record->len);
    record->len = bytes;
}

size_t wal_record_bytes(size_t count, size_t bytes) {
    return wal_align_up(
        WAL_RECORD_HEADER_BYTES + count * WAL_OP_HEADER_BYTES + bytes, WAL_ALIGN_BYTES);
}
