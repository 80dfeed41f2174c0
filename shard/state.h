/* The structures of a shard and of the transactions on it, for the files of this folder only.
 *
 * Two threads meet in a transaction: its coordinator's and, through a branch, each participant's.
 * Who may touch what is said by rulers in the structures below and follows from the messages: while
 * a branch is out, everything that it reaches is the participant's; while it is home, the
 * coordinator's, except for the marks and staged writes, which stay the participant's until COMMIT
 * or ABORT. */
#ifndef CONCAVE_SHARD_STATE_H
#define CONCAVE_SHARD_STATE_H

#include "core/arena.h"
#include "core/mutant.h"
#include "shard/marks.h"
#include "shard/shard.h"
#include "shard/treap.h"

/* Messages between shards. */
enum message {
    MSG_FOLLOW = 1,      /* struct call: run it here */
    MSG_DONE,            /* struct call: it is over, back at home */
    MSG_BRANCH,          /* struct branch: do its op */
    MSG_BRANCH_ANSWER,   /* struct branch: back at the coordinator */
    MSG_TICKET_WANT,     /* struct ticket, to TICKET_SHARD */
    MSG_TICKET_ANSWER,   /* struct ticket, back: granted or not */
    MSG_TICKET_RETURN,   /* struct ticket, to TICKET_SHARD: given back */
    MSG_TICKET_RETURNED, /* struct ticket, back: at rest */
};

/* What a transaction does with one key. */
struct access {
    /* ---- the coordinator's; read by the participant while the branch is out ---- */
    struct slice key;
    uint64_t hash;
    unsigned shard;
    struct access *next;     /* of the same branch */
    struct access *in_index; /* of the same bucket */
    bool wanted;             /* to be read by the next READ or PREPARE */
    bool value_wanted;       /* ... with its value */
    bool read;               /* in the read set: version, and value if value_known */
    bool value_known;
    bool written; /* in the write set: write, or a deletion */
    bool deletes;
    bool declared_write; /* will be written: to be marked as such at PREPARE */
    struct slice write;
    size_t write_cap;
    struct slice hint; /* the value it will probably be: staged at PREPARE */

    /* ---- written by whoever answers the read ---- */
    uint64_t version;    /* 0 = absent */
    uint64_t delete_lsn; /* the shard's last delete when it was found absent */
    struct slice value;  /* a copy; NULL for keys of the coordinator's own shard */

    /* ---- the participant's, from READ or PREPARE to COMMIT or ABORT ---- */
    struct mark mark;
    struct treap_staged staged;
    bool is_staged;
};

/* Items read from one shard for one walk, at one instant. Items lie behind each other in data. */
struct batch_item {
    uint64_t version;
    uint32_t key_len;
    uint32_t value_len;
};

struct batch {
    /* ---- the coordinator's; read by the participant while the branch is out ---- */
    struct batch *next;    /* of the same branch, newest first */
    struct batch *later;   /* the next one of the same walk on this shard */
    struct interval asked; /* what was to be read, from its start (reverse: its end) */
    bool reverse;
    size_t items_max;
    bool wanted;             /* to be read by the next WALK or PREPARE */
    bool read;               /* in the range set: covered, taken, taken_version */
    struct interval covered; /* set before validation */
    uint64_t taken;          /* items the walk has consumed of this batch */
    uint64_t taken_version;  /* the highest version of those */
    size_t at;               /* offset of the next item in data */

    /* ---- written by whoever answers ---- */
    struct buf data;
    uint64_t count;
    bool exhausted;      /* nothing of `asked` lies behind the last item */
    uint64_t delete_lsn; /* the shard's last delete at that instant */

    /* ---- the participant's, until COMMIT or ABORT ---- */
    struct range_mark mark;
};

enum branch_op {
    BRANCH_READ,         /* answer branch->read */
    BRANCH_WALK,         /* answer branch->walk */
    BRANCH_VALIDATE,     /* are reads and ranges current? marks nothing */
    BRANCH_PREPARE,      /* validate, mark all, stage writes, answer what is wanted */
    BRANCH_COMMIT,       /* install at branch->lsn, unmark */
    BRANCH_COMMIT_ALONE, /* validate, publish branch->record, install: all is on this shard */
    BRANCH_ABORT,        /* forget staged writes, unmark */
};

enum branch_answer { /* of several answers the highest counts */
    ANSWER_YES,
    ANSWER_REPEAT,    /* VALIDATE: true now, but something was deleted since: only marks can tell */
    ANSWER_TOO_LARGE, /* PREPARE: what it was to read passes the bound of a transaction */
    ANSWER_NO,        /* lost: a changed version or range, or another's mark */
    ANSWER_MEMORY_FULL, /* past --memory-max */
    ANSWER_NOMEM,
};

/* A transaction's presence on one shard, and the message that goes there and back. */
struct branch {
    struct msg msg; /* first */

    /* ---- the coordinator's; read by the participant while out ---- */
    struct txn *txn;
    unsigned shard;
    bool out;
    bool holder; /* the transaction holds the ticket: mark at once, wait for marks there already */
    bool alone;  /* VALIDATE: no other shard is concerned, so one look proves it */
    bool fresh;  /* nothing ran on this shard since its reads: they need no second look */
    enum branch_op op;
    struct access *accesses;
    struct batch *batches;
    struct access *read;
    struct batch *walk;
    struct wal_record *record;
    uint64_t lsn; /* COMMIT: of the record; COMMIT_ALONE: the answer */

    /* ---- the answer ---- */
    enum branch_answer answer;
    uint64_t depends; /* LSN on which the truth of what was validated depends */
    size_t copied;    /* bytes of values and items that it brings along */

    /* ---- the participant's ---- */
    bool marked;                           /* holds marks or staged writes here */
    bool waited;                           /* parked once; a second mark in the way is a loss */
    struct branch *waiters, **waiters_end; /* parked until this branch is unmarked, oldest first */
    struct branch *next_waiter;
};

struct ticket {
    struct msg msg; /* first */
    struct txn *txn;
    struct ticket *next;
    uint64_t deadline_ns;
    bool granted;
};

/* A transaction's walk over a range: shard/walk.c. */
struct txn_range {
    struct txn *txn;
    struct txn_range *next; /* of the transaction, oldest first */
    struct interval interval;
    bool reverse;
    bool open;      /* handed to the procedure in this attempt */
    bool started;   /* something was consumed: `last` is set */
    bool ended;     /* ran out: covers up to its bound */
    bool forgetful; /* gave back items that it consumed: cannot be walked again from its start */
    size_t expect;
    size_t consumed;
    struct buf last;        /* the last key consumed, stored or own write; a zero byte behind it */
    struct batch **first;   /* by shard */
    struct batch **current; /* by shard: the batch being consumed */
};

/* What a transaction is waiting for; the diagram is at the top of shard/coordinator.c. */
enum txn_state {
    TXN_READY,      /* in line to start an attempt, or to go on after a preemption */
    TXN_RUNNING,    /* nothing: the procedure is on the stack */
    TXN_WAITING,    /* reads, to act on the procedure's verdict */
    TXN_CHECKING,   /* the answers whether an old attempt's reads still hold */
    TXN_PREPARING,  /* votes */
    TXN_VALIDATING, /* the answers of the read-only round */
    TXN_COMMITTING, /* the one shard that has it all */
    TXN_CLEARING,   /* lost: ABORTs to come home */
    TXN_BACKOFF,    /* its time */
    TXN_QUEUED,     /* the ticket */
    TXN_ENDED,      /* answered: COMMITs, ABORTs and the ticket to come home */
};

/* What all votes being yes leads to. */
enum prepared_for { FOR_RUN, FOR_COMMIT, FOR_READS };

/* Why txn_ calls answer ST_DOOMED. */
enum doom { DOOM_NONE, DOOM_LOST, DOOM_MOVED };

enum ticket_state { TICKET_NONE, TICKET_ASKED, TICKET_HELD, TICKET_RETURNING };

struct txn {
    struct shard *shard;
    struct call *call; /* NULL once it has been answered */
    struct txn *next;  /* line of those ready, or pool */
    enum txn_state state;
    enum doom doom;
    unsigned target;           /* DOOM_MOVED: where to */
    unsigned out;              /* branches that are out */
    enum branch_answer answer; /* of the round or the reads, so far */
    uint64_t depends;          /* of the round, so far */
    enum prepared_for prepared_for;
    enum verdict verdict; /* WAITING: what to act on when all are home */
    bool may_move;        /* no access yet, not moved before */
    bool moved;
    bool yielded;   /* others may have run since its first read */
    bool resumed;   /* READY to go on, not to start */
    bool reruns;    /* PROC_RERUN in this attempt: keeps what its walks have read, to get further */
    bool lost;      /* CLEARING: the attempt lost, rather than its VM being replaced */
    bool attempted; /* the procedure has an attempt to drop or finish */
    bool declared;  /* knows its keys: prepares before it runs */
    bool prepared;  /* all marks are placed */
    bool read_only_end; /* PROC_ROLLBACK or PROC_FAIL: writes are void, call->outcome is to be kept
                         */
    bool first_run;
    bool slow;            /* its line; of the call here, over all attempts */
    bool preempted;       /* ... and whether it has used up a slice */
    unsigned slices_left; /* of its turn in the slow line */
    unsigned losses;
    uint64_t attempt_ns; /* when this attempt began */
    size_t timer;        /* 1 + index in the shard's heap; 0 = not in it */
    uint64_t timer_ns;

    struct arena arena;
    struct access **index; /* buckets, a power of two */
    size_t index_size;
    struct access *small_index[16];
    size_t access_count;
    struct access **order; /* written accesses in key order, kept once a walk needs them */
    size_t order_count, order_cap;
    bool ordered;
    size_t write_count, write_bytes;
    size_t declared_count, declared_bytes;
    struct txn_range *ranges, **ranges_end;
    size_t read_bytes;         /* of copied values and batches */
    struct wal_record *record; /* reserved */
    struct ticket ticket;
    enum ticket_state ticket_state;
    struct branch **branches; /* by shard; NULL = not touched */
    uint16_t *touched;        /* the shards that are */
    unsigned touched_count;
    struct branch *pool; /* of this txn object, one a shard, made when first needed */
};

/* The metrics' series, by call->label where a route is concerned. */
struct shard_metrics {
    stats_id commits_local, commits_remote, commits_cross;
    stats_id retries;
    stats_id aborts_rollback, aborts_error, aborts_timeout, aborts_overload, aborts_retries;
    stats_id *conflicts; /* by label */
    stats_id *messages;  /* by shard */
};

struct shard_peers {
    unsigned shards;
    struct shard_metrics metrics;
    _Atomic uint64_t first_run_lsn; /* of the commit with its marker; 0 = none in this process */
    struct shard_load {
        _Alignas(64) _Atomic uint64_t calls; /* transactions running there */
        _Atomic uint64_t keys, bytes;
        _Atomic unsigned running; /* 1 + label of the call whose procedure runs; 0 = none */
    } load[];
};

struct gate {
    struct call **calls;
    size_t count, cap;
    uint64_t seen; /* the durable LSN of the last look */
};

struct timers {
    struct txn **heap; /* earliest first */
    size_t count, cap;
};

/* The office of the one global ticket, on TICKET_SHARD: shard/ticket.c. */
#define TICKET_SHARD 0u
struct ticket_office {
    struct ticket *holder;
    struct ticket *first, **end; /* waiting, FIFO */
};

/* Who runs next: shard/ready.c. */
struct line {
    struct txn *first, **end;
};

#define SLOWNESS_COUNTERS 256u
struct ready {
    struct line quick, slow;             /* transactions to start or go on */
    uint8_t slowness[SLOWNESS_COUNTERS]; /* of routes' latest calls */
};

struct shard {
    struct shard_options options;
    unsigned index;
    uint64_t now_ns;
    uint64_t random; /* state of the back-off's jitter */
    struct treap *treap;
    struct treap_builder *loading; /* between shard_load_begin and shard_load_end */
    struct marks marks;
    struct ready ready;
    struct branch *answers; /* of parked branches of our own, to be taken in the next turn */
    struct branch **answers_end;
    struct timers timers;
    struct gate gate;
    struct ticket_office office;
    struct txn *pool;
    unsigned pooled;
    unsigned submitted; /* calls whose home is here and that are not yet released */
    unsigned running;   /* transactions here */
};

/* Whether a shard has as many transactions as it takes: a call then runs where it is. */
static inline bool shard_is_busy(const struct shard_options *options, unsigned shard) {
    return atomic_load_explicit(&options->peers->load[shard].calls, memory_order_relaxed) >=
           options->calls_max;
}

/* The version that a put of this LSN gives a key: the LSN itself. A key's own counter would forget,
 * with the key, how far it was. */
static inline uint64_t put_version(
    const struct shard *shard, struct slice key, uint64_t hash, uint64_t lsn) {
    if (!MUTANT(COUNTER_RESTARTS))
        return lsn;
    const struct treap_node *node = treap_find(shard->treap, key, hash);
    return node ? treap_version(node) + 1 : 1;
}

#define RETRY_LOSSES_BEFORE_TICKET 3u
#define BACKOFF_NS_MIN (50 * NS_PER_US)
#define BACKOFF_NS_MAX (10 * NS_PER_MS)
/* Bytes that one transaction may hold, unless the options say otherwise: copies of what it read,
 * and apart from those its keys and what it will write. */
#define TXN_BYTES_MAX ((size_t)256 << 20)
/* Items and bytes of one batch of a walk: small enough not to hold up a loop. */
#define BATCH_ITEMS_MAX 256u
#define BATCH_BYTES_MAX ((size_t)256 << 10)

#endif
