/* Procedures: what a transaction runs. Lua handlers implement this interface in lua/, the key-value
 * calls of /v1 in net/; the shards know nothing else of either.
 *
 * The life of a call: net/ makes it on the shard of the connection (its home) and submits it. The
 * coordinator begins an attempt with `start`, goes on with `resume` after a wait or a preemption,
 * and ends it with `drop` when the attempt lost a conflict, moved to another shard or ended badly.
 * When the attempt has committed (or its read-only verdict stood) `finish` completes the reply, and
 * the call goes home, where the reply is held until the durable LSN covers `depends_lsn`.
 *
 * Ownership: the home shard makes and frees a call. While it is submitted it belongs to the shard
 * that runs it; the request bytes are immutable, so every attempt starts from the same input.
 * Threads: start, resume, drop and finish on the shard that runs the call; release at home.
 *
 * A call of a script brings the machines of its application's generation along (call->vms), so that
 * every attempt, on whatever shard, runs the same version of the application while a newer one
 * takes the next requests. */
#ifndef CONCAVE_SHARD_PROCEDURE_H
#define CONCAVE_SHARD_PROCEDURE_H

#include <stdatomic.h>

#include "core/mailbox.h"
#include "shard/fault.h"
#include "shard/txn.h"

struct call;
struct script_vm;    /* a shard's script machine; lua/ knows what is in it */
struct script_route; /* a route of the application; lua/ knows what is in it */

/* How a step of a procedure ended. */
enum verdict {
    PROC_WAIT,  /* a txn_ call said ST_PENDING: resume when it is answered */
    PROC_AGAIN, /* preempted: resume in a later turn of the loop */
    PROC_RERUN, /* ST_PENDING where the procedure cannot wait: drop, then start again with the value
                   at hand; not counted as a loss */
    PROC_COMMIT,   /* commit, then send call->reply */
    PROC_ROLLBACK, /* write nothing; once the reads are known to have been current, send call->reply
                    */
    PROC_FAIL,     /* write nothing; as PROC_ROLLBACK, with call->outcome (ST_HANDLER, ...) set */
    PROC_UNWOUND,  /* a txn_ call said ST_DOOMED: the coordinator knows why and what is next */
    PROC_REPLACED, /* the VM was replaced under the attempt: start again in the new one */
};

struct procedure {
    const char *name;
    /* Declares keys and ranges (shard/txn.h) before the first attempt; NULL if they are found on
     * the way. A status other than ST_OK ends the call with it as outcome. */
    enum status (*declare)(struct call *call, struct txn *txn);
    /* Begins an attempt, in vm for scripts: the call's on this shard; NULL if it brings none. */
    enum verdict (*start)(struct call *call, struct txn *txn, struct script_vm *vm);
    /* Goes on after PROC_WAIT or PROC_AGAIN. NULL if `start` never returns those. */
    enum verdict (*resume)(struct call *call, struct txn *txn);
    /* Forgets the attempt and what it has put into the reply. Called after every start that did not
     * end in `finish`, also while the attempt is waiting. NULL if there is nothing to forget but
     * the reply (which the coordinator empties). */
    void (*drop)(struct call *call);
    /* After the commit, or after the reads behind PROC_ROLLBACK or PROC_FAIL were validated:
     * completes the reply, whose version is given (the LSN; of a read-only transaction, the newest
     * commit it depends on), and forgets the attempt. NULL if the reply stands and nothing is to
     * forget. */
    void (*finish)(struct call *call, uint64_t version);
    /* Gives call->input back. net/ calls it, at home, before the call is freed or used again. NULL
     * if there is none. */
    void (*release)(struct call *call);
};

struct request_header {
    struct slice name; /* lower case */
    struct slice value;
};

#define REQUEST_PARAMS_MAX 16

/* A parsed request; all slices point into memory that lives as long as the call. */
struct request {
    struct slice method; /* "GET" */
    struct slice path;   /* as sent, before the '?', still percent-encoded */
    struct slice query;  /* as sent, behind the '?'; empty if there was none */
    struct slice body;
    struct slice remote; /* "127.0.0.1:5000" */
    struct slice id;     /* X-Request-Id */
    const struct request_header *headers;
    unsigned header_count;
    const struct script_route *route; /* scripts only */
    struct slice
        params[REQUEST_PARAMS_MAX]; /* scripts only: values of the route's :params, decoded */
};

/* What goes back to the client. The procedure fills it in. */
struct reply {
    int status;               /* 200 to 599 */
    const char *content_type; /* a constant; NULL = none */
    struct buf headers;       /* further fields, "Name: value\r\n" each, already checked */
    struct buf body;
};

struct call {
    struct msg msg; /* first: a call travels as a message when it follows its first key */

    /* ---- set by net/ before shard_submit ---- */
    const struct procedure *procedure;
    struct request request;
    void *owner;                  /* net/'s own */
    unsigned home;                /* shard of the connection */
    uint64_t started_ns;          /* monotonic; what `budget` counts from */
    uint64_t deadline_ns;         /* monotonic; the budget of all attempts together */
    uint64_t wall_ns;             /* the time that now() shows, the same in every attempt */
    uint64_t seed;                /* of random() and uuid(), the same in every attempt */
    unsigned label;               /* the route's index in the metrics (core/stats.h) */
    struct script_vm *const *vms; /* scripts only: of its generation, by shard; outlives the call */
    const atomic_bool *abandoned; /* once true, its time is up; NULL: only when it is */
    void *input; /* the procedure's own, for the whole life of the call (the parsed request,
                    say); given back by procedure->release */

    /* ---- the running attempt's ---- */
    void *attempt; /* the procedure's own */
    struct reply reply;
    enum status outcome; /* ST_OK: reply is the procedure's; else net/ writes the error */
    struct fault fault;  /* with ST_HANDLER: why; if net/ gave it room (fault_init), else unused */
    uint64_t handler_ns; /* spent in the procedure, over all attempts; scripts measure it */
    unsigned replaced;   /* VM replacements survived */

    /* ---- set by the coordinator when it is over ---- */
    uint64_t depends_lsn; /* the reply may leave when the durable LSN has reached this */
    unsigned losses;
};

/* Whether nobody waits for the call any more: it is to end as if its time were up. */
static inline bool call_abandoned(const struct call *call) {
    return call->abandoned && atomic_load_explicit(call->abandoned, memory_order_relaxed);
}

#endif
