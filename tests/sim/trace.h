/* What a transaction saw and wrote, noted at the seam between procedures and shards (shard/txn.h),
 * whatever procedure it was: scripted, of /v1, or Lua; and the verdict on it by the past.
 *
 * The program is linked so that calls of txn_* and wal_record_* from outside their own files go
 * through here (ld --wrap). A trace belongs to the running attempt: what is lost leaves none.
 *
 * Ownership: a trace is part of its call. Threads: one. Errors: a verdict is a text, NULL: none. */
#ifndef CONCAVE_TESTS_SIM_TRACE_H
#define CONCAVE_TESTS_SIM_TRACE_H

#include "shard/procedure.h"
#include "shard/state.h"
#include "tests/sim/past.h"

enum trace_kind { TRACE_GET, TRACE_VERSION, TRACE_SET, TRACE_DELETE, TRACE_RANGE };

struct trace_item {
    uint32_t name; /* offset into names */
    uint32_t len;
    uint64_t version, value;
};

struct trace_op {
    enum trace_kind kind;
    struct trace_item item; /* its key (RANGE: from) and what was found or put */
    bool there;             /* GET, VERSION */
    struct trace_item to;   /* RANGE */
    bool bounded, reverse, ran_out;
    unsigned first, count;        /* RANGE: of items */
    const struct txn_range *walk; /* RANGE, while it may still be walked */
};

struct trace {
    struct trace_op *ops;
    size_t op_count, op_cap;
    struct trace_item *items; /* of ranges; of one range behind each other */
    size_t item_count, item_cap;
    char *names;
    size_t name_bytes, name_cap;
    bool writes;
};

void trace_reset(struct trace *trace);
void trace_free(struct trace *trace);

/* Whether all reads of the trace are what the past holds at this LSN, own writes on top. */
bool trace_holds(const struct trace *trace, const struct past *past, uint64_t lsn);
/* NULL, or in what way the record of this LSN is not what the trace wrote last to each key. */
const char *trace_check_record(const struct trace *trace, const struct past *past, uint64_t lsn);

/* Tells the story what the transaction read and wrote, a line each. */
void trace_tell(const struct trace *trace);

/* Where the calls that go through here are noted: the trace of a call, NULL for none; and a record
 * that has got its LSN. Set before a run; without a
 * past nothing is noted. */
struct trace_sink {
    struct trace *(*trace_of)(struct call *call);
    void (*published)(void *ctx, uint64_t lsn);
    struct past *past;
    void *ctx;
};
extern struct trace_sink trace_sink;
/* Forgets the records that were being filled. */
void trace_crash(void);

#endif
