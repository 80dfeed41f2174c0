/* A stage for protocol tests: any number of shards on one thread.
 *
 * Messages wait in one first-in-first-out channel for each pair of shards. What happens next -
 * which channel moves, which shard takes a turn, how time passes - is for a seed to decide
 * (stage_move), or for a caller who makes the single moves himself, as the exhaustive model does
 * (tests/model). The log is a stand-in that gives out LSNs, remembers every record in order and
 * becomes durable when it is told so; it replaces core/wal.c at link time. Procedures are scripts
 * of steps. When all is done, stage_check_history (stage_verdict.h) holds the outcome against a
 * model. */
#ifndef CONCAVE_TESTS_STAGE_H
#define CONCAVE_TESTS_STAGE_H

#include "shard/shard.h"

#define STAGE_KEYS 48
#define STAGE_STEPS_MAX 12
#define STAGE_ITEMS_MAX 64

enum step_kind { STEP_GET, STEP_VERSION, STEP_SET, STEP_DELETE, STEP_RANGE, STEP_YIELD };

struct step {
    enum step_kind kind;
    unsigned key;    /* RANGE: from */
    unsigned to;     /* RANGE: exclusive */
    unsigned limit;  /* RANGE: items taken at most */
    unsigned expect; /* RANGE: items announced, so that batches may be too small; 0 = limit */
    bool reverse;
    bool closes; /* RANGE: gives the walk back when it is done */
};

/* A key's state: absent, or a version and which step wrote it. Own writes have version 0. */
struct stage_value {
    bool there;
    uint64_t version;
    uint64_t tag; /* the value says by which step it was written */
};

/* What a step saw. */
struct seen {
    struct stage_value value; /* GET, VERSION (which does not see the tag) */
    unsigned count;           /* RANGE */
    bool ran_out;
    struct {
        unsigned key;
        struct stage_value value;
    } items[STAGE_ITEMS_MAX];
};

/* How well a declaring call guesses the values that it will write. */
enum hints { HINTS_NONE, HINTS_RIGHT, HINTS_WRONG };

struct stage_call {
    struct call call; /* first */
    struct step steps[STAGE_STEPS_MAX];
    unsigned step_count;
    bool declares;
    enum hints hints; /* ... the values too */
    bool rolls_back;
    bool fails;              /* ends with PROC_FAIL and ST_HANDLER */
    bool never_waits;        /* says PROC_RERUN where others wait */
    bool replaced;           /* is replaced once, at its last step */
    uint64_t budget_ns;      /* 0 = ample */
    struct stage_call *then; /* the next one of its connection: submitted when this has committed */
    unsigned number;
    /* the attempt */
    bool running; /* between start and drop or finish */
    unsigned at;
    struct txn_range *range;
    struct seen seen[STAGE_STEPS_MAX];
    /* the outcome */
    bool committed_seen, released, finished;
    uint64_t version;
    uint64_t lsn_before; /* newest LSN when it was submitted */
    uint64_t lsn_after;  /* newest LSN when it was released */
    uint64_t durable;    /* durable LSN when it was released */
    unsigned attempts;
};

/* One write of a record of the log. */
struct stage_write {
    uint64_t lsn;
    unsigned key;
    bool deletes;
    uint64_t tag;
};

struct stage;

struct stage *stage_open(unsigned shards, uint64_t seed);
/* The same, with a bound of the bytes that one transaction may hold. */
struct stage *stage_open_bounded(unsigned shards, uint64_t seed, size_t txn_bytes_max);
/* Asserts that no shard has anything left in flight and no mark is held. */
void stage_close(struct stage *stage);
uint64_t stage_random(struct stage *stage, uint64_t below);
struct shard *stage_shard(struct stage *stage, unsigned index);
/* A call with no steps, to be filled in and submitted; the stage frees it. */
struct stage_call *stage_call_new(struct stage *stage);
void stage_submit(struct stage *stage, struct stage_call *call, unsigned home);
/* Has the call submitted at the same home as soon as the one before it has committed. */
void stage_submit_after(struct stage *stage, struct stage_call *call, struct stage_call *before);
/* A key that is there from the start, before any call: durable, by an LSN of its own. */
void stage_preload(struct stage *stage, unsigned key);

/* ---- Single moves; time stands still in them ---- */

/* The oldest message from one shard to another, NULL if there is none; others follow by `next`. */
struct msg *stage_mail(struct stage *stage, unsigned from, unsigned to);
/* Delivers that message; there must be one. */
void stage_deliver(struct stage *stage, unsigned from, unsigned to);
void stage_turn(struct stage *stage, unsigned shard);
/* Lets the timer of a transaction fire that has one, however much time is left of it. */
void stage_wake(struct stage *stage, struct txn *txn);
/* Has the gate of a shard look at the log, as at the end of a turn. */
void stage_gate(struct stage *stage, unsigned shard);
/* The log is durable up to here: above what it was, at most the last LSN. */
void stage_sync(struct stage *stage, uint64_t lsn);
bool stage_on_disk(const struct stage *stage, uint64_t lsn);
/* The record that a sync takes next: of the one queue, which is shard 0's for this question, or
 * (QUEUE_APART) of the shard's own. 0: none. */
uint64_t stage_next_sync(const struct stage *stage, unsigned shard);
uint64_t stage_last_lsn(const struct stage *stage);
uint64_t stage_durable_lsn(const struct stage *stage);

/* ---- Moves that the seed picks ---- */

void stage_move(struct stage *stage);
/* Moves until every submitted call is released; fails the test after moves_max moves. */
void stage_settle(struct stage *stage, unsigned moves_max);
/* The shard that owns a key. */
unsigned stage_owner(struct stage *stage, unsigned key);
/* NULL, or what is still under way or held. */
const char *stage_leftover(const struct stage *stage);
/* What the log holds, in order of LSN. */
const struct stage_write *stage_log(const struct stage *stage, size_t *count);
uint64_t stage_now_ns(struct stage *stage);
uint64_t stage_losses(struct stage *stage);
/* Lets the log accept no more reservations (as a full ring would). */
void stage_refuse_log(struct stage *stage, bool refuse);
/* From now on, in so many cases of 100, the log refuses a reservation, and a move is made while the
 * shard's treap has next to no memory left. (Declared writes must then have hints: a commit that
 * cannot be installed ends the process.) */
void stage_fail_at_random(struct stage *stage, unsigned log_percent, unsigned memory_percent);

#endif
