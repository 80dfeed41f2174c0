/* The key-value calls of /v1: get, put, execute and range, as procedures in C (shard/procedure.h).
 *
 * A call is prepared once, at home: the query or body is parsed, every rule that needs no data is
 * checked, and values become MessagePack (core/value.h). What comes out is immutable, so that every
 * attempt of the transaction, on whichever shard, starts from the same input.
 *
 *     kv_prepare_put(kv, call, &error) == ST_OK -> shard_submit ... released -> procedure->release
 *
 * Ownership: each worker owns one struct kv, a pool of the calls' parsed forms. A prepared call
 * holds one of them in call->input until its procedure's release, which must come before
 * kv_destroy. Threads: kv_* and release on the worker's own thread; the procedures where the call
 * runs. Errors: a status; for ST_INVALID struct kv_error says what the reply is to be. */
#ifndef CONCAVE_NET_KV_H
#define CONCAVE_NET_KV_H

#include "shard/procedure.h"

/* Rules of api.md section 2. */
#define KV_COMMANDS_MAX 10000u
#define KV_RANGE_LIMIT_MAX 10000u
#define KV_RANGE_LIMIT_DEFAULT 1000u
#define KV_PAGE_BYTES_MAX (8u << 20)   /* a page of items ends early past this */
#define KV_REPLY_BYTES_MAX (64u << 20) /* a batch whose results are larger is refused */

struct kv_limits {
    size_t key_bytes_max;
    size_t value_bytes_max;
};

/* An error reply that needed no data: {"error": text, "code": code} with this status. */
struct kv_error {
    int status;       /* 400 or 413 */
    const char *code; /* a constant */
    char text[160];   /* UTF-8, for people */
};

struct kv;

/* NULL if memory ran out. */
struct kv *kv_create(const struct kv_limits *limits);
/* Every prepared call has been released. */
void kv_destroy(struct kv *kv);

/* Each reads call->request and call->seed, and on ST_OK has set call->procedure and call->input:
 * the call can be submitted. Else both are untouched: ST_INVALID with *error, or ST_NOMEM. The
 * caller has checked the method: GET (or HEAD) for get and range, POST for put and execute. It
 * hands in call->reply with both buffers initialised and empty; the procedures bound what they put
 * there (KV_PAGE_BYTES_MAX, KV_REPLY_BYTES_MAX), so the body's own max should be SIZE_MAX. */
MUST_USE enum status kv_prepare_get(struct kv *kv, struct call *call, struct kv_error *error);
MUST_USE enum status kv_prepare_put(struct kv *kv, struct call *call, struct kv_error *error);
MUST_USE enum status kv_prepare_execute(struct kv *kv, struct call *call, struct kv_error *error);
MUST_USE enum status kv_prepare_range(struct kv *kv, struct call *call, struct kv_error *error);

#endif
