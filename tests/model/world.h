/* One execution of a scenario: what can happen next, making it happen, and what came of it.
 *
 * The moves are the step functions of the shards, called by hand on the stage:
 *
 *   start     a call arrives at its home and runs there until it waits (it may arrive at any time;
 *             to have arrived earlier and waited for its turn would only make it older)
 *   deliver   the oldest message of a channel is taken in, one channel for each pair of shards
 *   turn      a shard takes a turn, if it has an attempt or an answer to itself to go on with
 *   wake      the back-off of a lost call is over: at any time, however the jitter falls
 *   sync      the log is durable one LSN further, and the gates look (later would only delay)
 *
 * A move belongs to the call that it brings forward (a sync to none). Time stands still, so no
 * budget runs out; nothing is random. Threads: one. */
#ifndef CONCAVE_TESTS_MODEL_WORLD_H
#define CONCAVE_TESTS_MODEL_WORLD_H

#include "shard/state.h"
#include "tests/model/scenario.h"

enum move_kind { MOVE_DELIVER, MOVE_TURN, MOVE_WAKE, MOVE_START, MOVE_SYNC };

struct move {
    unsigned char kind;
    unsigned char call;     /* index; MODEL_CALLS_MAX: of none */
    unsigned char from, to; /* DELIVER: channel; TURN: shard (to) */
};

#define MODEL_MOVES_MAX 16u
#define MODEL_TXNS_MAX (MODEL_CALLS_MAX * MODEL_SHARDS)

/* Whose transaction an object is; an object in a shard's pool is nobody's. */
struct known_txn {
    struct txn *txn;
    unsigned call;
};

/* What is remembered of the time before a move that is to be told. */
struct tale {
    uint64_t last_lsn;
    const struct msg *msg;
    unsigned type;
    bool released[MODEL_CALLS_MAX];
    unsigned losses[MODEL_CALLS_MAX];
};

struct world {
    const struct scenario *scenario;
    struct stage *stage;
    unsigned keys[KEY_COUNT];
    struct stage_call *calls[MODEL_CALLS_MAX];
    bool started[MODEL_CALLS_MAX];
    struct known_txn known[MODEL_TXNS_MAX];
    unsigned known_count;
    uint64_t initial_lsn;
    bool judged[MODEL_CALLS_MAX];
    uint64_t outcomes[MODEL_CALLS_MAX]; /* of those judged: call_fingerprint */
    const char *wrong;                  /* NULL, or what was found when a call was released */
    bool wrong_order;                   /* ... and whether it is about the order of LSNs */
    unsigned moves;                     /* so far */
    unsigned started_at[MODEL_CALLS_MAX], released_at[MODEL_CALLS_MAX];
    struct buf *story; /* NULL, or where moves are told */
    struct tale tale;
    bool told_any;
    unsigned told; /* whose move was told last */
};

void world_open(struct world *world, const struct scenario *scenario);
/* All that can happen next: first what belongs to the call `last`, then the others in their order,
 * the sync at the end. Returns how many. */
unsigned world_moves(const struct world *world, unsigned last, struct move moves[MODEL_MOVES_MAX]);
void world_do(struct world *world, const struct move *move);
/* NULL, or what went wrong. Only when no move is left, or something went wrong before. */
const char *world_verdict(struct world *world);
/* Whether some order of the calls, in which none comes before one whose reply had left when it was
 * submitted, explains all that they saw. Only when all are released. */
bool world_explained(const struct world *world);
/* Tells what the calls did and saw, in words. */
void world_outcome(struct world *world, struct buf *text);
/* Only when no move is left and nothing was left over. */
void world_close(struct world *world);

/* The call of a transaction that is at work; MODEL_CALLS_MAX if the object is at rest. */
unsigned world_call_of(const struct world *world, const struct txn *txn);

#endif
