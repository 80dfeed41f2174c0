/* The parsed form of a /v1 call and what the files behind net/kv.h share.
 *
 * Keys and values lie in one growing buffer while they are parsed, so they are kept as spans
 * (offset and length) and become slices only when nothing moves any more.
 *
 * Ownership: an input belongs to its pool, lent to one call from kv_prepare_* to release. Its
 * parsed part is then read-only; its attempt belongs to whoever runs the call. Threads: as
 * net/kv.h. Errors: kv_refuse and kv_reply_error say what goes to the client. */
#ifndef CONCAVE_NET_KV_INPUT_H
#define CONCAVE_NET_KV_INPUT_H

#include "core/value.h"
#include "net/kv.h"

/* A piece of input->bytes. */
struct kv_span {
    uint32_t at;
    uint32_t len;
};

enum kv_kind { KV_GET, KV_SET, KV_DELETE, KV_INCR, KV_CAS, KV_RANGE, KV_UNKNOWN };

/* One entry of a put, or one command of a batch. */
struct kv_item {
    enum kv_kind kind;
    struct kv_span key;
    struct kv_span value; /* MessagePack; KV_SET, KV_CAS */
    union {
        uint64_t version; /* KV_CAS: what the key must have, 0 = be absent */
        struct number by; /* KV_INCR */
        size_t range;     /* KV_RANGE: index into input->ranges */
    } of;
};

/* An interval of keys and how much of it is asked for. */
struct kv_range {
    struct kv_span from;
    struct kv_span to; /* used if bounded */
    bool bounded;
    bool reverse;
    bool empty; /* no key can be in it */
    size_t limit;
};

/* Where the running attempt stands; everything it needs to go on after a wait. */
struct kv_attempt {
    size_t index;            /* the item that is next */
    struct txn_range *range; /* the open walk of that item, else NULL */
    size_t taken;            /* items that the walk gave */
    struct buf scratch;      /* a sum; the last key of a page */
    struct buf holes;        /* size_t each: where the reply lacks the version of this commit */
};

struct kv_input {
    struct kv *pool;
    struct kv_input *next; /* in the pool's list of free ones */
    struct buf bytes;      /* keys, values and bounds */
    struct buf items;      /* struct kv_item */
    struct buf ranges;     /* struct kv_range */
    size_t write_bytes;    /* most bytes of keys and values that items can write */
    size_t write_count;
    struct kv_attempt attempt;
};

/* ---- the pool (net/kv.c), at home ---- */

/* An empty input; NULL if memory ran out. */
struct kv_input *kv_input_take(struct kv *kv);
void kv_input_give(struct kv_input *input);
/* Ends a kv_prepare_*: with ST_OK the call owns the input, else it goes back. Returns status. */
enum status kv_input_hand(struct kv_input *input, enum status status, struct call *call,
    const struct procedure *procedure);
/* struct procedure's release. */
void kv_release(struct call *call);
const struct kv_limits *kv_limits_of(const struct kv *kv);
/* What a buffer that parsing writes to is good for while others grow: a scratch for the JSON
 * reader. */
struct buf *kv_reader_scratch(struct kv *kv);

/* ---- parsing ---- */

/* Fills *error (text printf-like) and returns ST_INVALID. */
MUST_USE enum status kv_refuse(struct kv_error *error, int status, const char *code,
    const char *format, ...) __attribute__((format(printf, 4, 5)));
/* The one parameter of a query, decoded behind input->bytes: ST_OK, ST_NOT_FOUND, ST_NOMEM, or
 * ST_INVALID with *error (code) if it is there twice or its encoding is bad. */
MUST_USE enum status kv_query(struct kv_input *input, struct slice query, struct slice name,
    const char *code, struct kv_span *span, struct kv_error *error);
/* Checks a key: not empty, within the limit, UTF-8. `where` ("commands[3]: ") begins the text. */
MUST_USE enum status kv_check_key(
    const struct kv_limits *limits, struct slice key, const char *where, struct kv_error *error);
/* Reads the body of a put or of a batch into input->items and input->ranges (net/kv_parse.c). */
MUST_USE enum status kv_parse_put(
    struct kv_input *input, struct slice body, struct kv_error *error);
MUST_USE enum status kv_parse_commands(
    struct kv_input *input, struct slice body, struct kv_error *error);
/* Refuses a key that is written twice where that is not allowed (net/kv_twice.c): in a put, and
 * before a cas. seed keeps a client from choosing keys that collide. */
MUST_USE enum status kv_refuse_twice(
    struct kv_input *input, bool put, uint64_t seed, struct kv_error *error);

/* What a range may say (net/kv_range.c); a missing string has a NULL span. */
struct kv_range_words {
    const struct kv_span *from, *to, *prefix;
    size_t limit; /* already 1 to KV_RANGE_LIMIT_MAX */
    bool reverse;
};
/* Checks the bounds and intersects them into *range. */
MUST_USE enum status kv_range_make(struct kv_input *input, const struct kv_range_words *words,
    const char *where, struct kv_range *range, struct kv_error *error);

static inline struct slice kv_slice(const struct kv_input *input, struct kv_span span) {
    return slice_of(input->bytes.data + span.at, span.len);
}
static inline size_t kv_item_count(const struct kv_input *input) {
    return input->items.len / sizeof(struct kv_item);
}
static inline struct kv_item *kv_item_at(const struct kv_input *input, size_t index) {
    return (struct kv_item *)(void *)input->items.data + index;
}
static inline struct kv_range *kv_range_at(const struct kv_input *input, size_t index) {
    return (struct kv_range *)(void *)input->ranges.data + index;
}
/* What input->bytes has gained since it was `before` bytes long. */
static inline struct kv_span kv_span_since(const struct kv_input *input, size_t before) {
    return (struct kv_span){(uint32_t)before, (uint32_t)(input->bytes.len - before)};
}

/* ---- running ---- */

/* Puts the attempt and the reply at their beginning. */
void kv_begin(struct call *call);
/* The verdict for a status that a txn_ call or an encoder gave instead of ST_OK. */
enum verdict kv_unwind(struct call *call, enum status status);
/* Replaces what is in the reply by a JSON error; nothing will be written. */
enum verdict kv_reply_error(struct call *call, int status, const char *code, const char *text);
/* The 409 of put and cas: `version` is what the key has, 0 if it is absent. */
enum verdict kv_reply_conflict(struct call *call, struct slice key, uint64_t version);
/* A reply that is complete: PROC_COMMIT, or PROC_FAIL if its buffers ran out of memory. */
enum verdict kv_reply_done(struct call *call);
/* The txn_ form of a range; its slices live as long as the input. */
struct range_spec kv_range_spec(const struct kv_input *input, const struct kv_range *range);
/* Appends {"key":K,"value":V,"version":N}; the version is left out for version 0 (an own write),
 * with its place noted in the attempt's holes. */
MUST_USE enum status kv_write_item(struct call *call, const struct range_item *item);
/* Writes the version into the holes of the reply. Cannot fail if kv_reserve_holes could not. */
void kv_fill_holes(struct call *call, uint64_t version);
/* Makes room for kv_fill_holes and extra bytes more; a failure shows in the body. */
void kv_reserve_holes(struct call *call, size_t extra);

#endif
