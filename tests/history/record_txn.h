/* The transactions that concave-history-record sends: drawn from a seed, written as requests, and
 * entered into a history with what the reply tells.
 *
 * Keys: "l:G:i" lists, "r:G:i" registers, "k:G:i" registers that come and go, where G moves on with
 * the transactions so that lists stay short; "b:i" accounts of a bank; "m:N" a marker of
 * transaction N, by which its version is known in the end. A transaction goes through the routes of
 * tests/blackbox/apps/history.lua, through /v1/execute, /v1/range or /v1/put.
 *
 * Ownership: as said at each. Threads: none of its own. Errors: a reply that is not what it must be
 * is a bug of the server, or of this: the text says what, and the program ends. */
#ifndef CONCAVE_TESTS_HISTORY_RECORD_TXN_H
#define CONCAVE_TESTS_HISTORY_RECORD_TXN_H

#include "core/buf.h"
#include "tests/history/history.h"

#define ACCOUNTS 8u
#define BALANCE 100
#define GROUP_TXNS 150u /* use the same keys */
#define DRAFT_STEPS_MAX 10u

enum via { VIA_ROUTE, VIA_REFUSED, VIA_EXECUTE, VIA_RANGE, VIA_PUT, VIA_FINAL };

struct draft_step {
    char kind; /* as in history.lua; p: a put, of `value` where `before` is */
    char key[24], to[24];
    int64_t value, before;
    uint64_t version;
    unsigned limit; /* 0: none */
    bool reverse;
};

struct draft {
    uint32_t number;
    enum via via;
    struct draft_step steps[DRAFT_STEPS_MAX];
    unsigned count;
};

/* What a client has seen last of a register: the ground for a put. */
struct last_seen {
    char key[24];
    int64_t value;
    uint64_t version; /* 0: nothing */
};

/* Transaction `number` of the seed; number 0 opens the bank. */
void draft_draw(struct draft *draft, uint64_t seed, uint32_t number, const struct last_seen *seen);
/* The one that reads all, when `count` transactions may have been. */
void draft_final(struct draft *draft, uint32_t count);
/* Its request: path and body are appended to; an empty body is none. */
const char *draft_method(const struct draft *draft);
void draft_request(const struct draft *draft, struct buf *path, struct buf *body);

struct seen_reply {
    uint32_t client;
    uint64_t invoke_ns, complete_ns; /* HISTORY_NEVER: no reply */
    unsigned status;
    struct slice body;
    unsigned *wrong_sums; /* counts what was read of the bank and does not add up */
};

/* Enters the transaction; *seen is brought up to date. */
void draft_record(const struct draft *draft, const struct seen_reply *reply,
    struct history *history, struct last_seen *seen);

#endif
