/* The simulated world: one data directory on a simulated disk, the shards and the log that run on
 * it, and the clients that call them, all on one thread under a seed.
 *
 *   world.c       a seed's lives, one after the other: open, serve, end or crash, recover
 *   plan.c        what a seed is about: faults, workloads, settings
 *   move.c        the scheduler: messages, turns, the log's steps, time
 *   checkpoint.c  snapshots, step by step
 *   client.c      clients, their calls, and the verdict on each reply
 *   check.c       what must hold at every step, and of a recovered state
 *   witness.c     the history checker's opinion on all replies
 *   work_*.c      what clients ask for
 *
 * Ownership: the world owns all of it. A crash drops a life's memory as a process's end would: what
 * is not worth collecting is left, and the child process that runs some dozens of seeds ends soon.
 * Threads: one. Errors: story_fail. */
#ifndef CONCAVE_TESTS_SIM_WORLD_H
#define CONCAVE_TESTS_SIM_WORLD_H

#include "core/restore.h"
#include "core/wal_private.h"
#include "net/kv.h"
#include "shard/state.h"
#include "tests/sim/past.h"
#include "tests/sim/story.h"
#include "tests/sim/trace.h"
#include "tests/support/sim_disk.h"

#define SIM_SHARDS_MAX 4u
#define SIM_CLIENTS_MAX 16u
#define SIM_DIR "/data"
#define SIM_BUDGET_NS (UINT64_C(600) * 1000 * 1000 * 1000)

struct world;
struct client;
struct client_call;
struct history; /* tests/history/history.h */

/* A kind of work. Each client does one. */
struct work {
    const char *name;
    /* Fills in the next call of the client: procedure and input. */
    void (*next)(struct world *world, struct client *client, struct client_call *call);
    /* Looks at the reply of a call that is released; NULL: the trace says all. */
    void (*look)(struct world *world, struct client_call *call);
    bool lua;
    bool once; /* writes each value once, so that a read tells whose it saw */
};

#define STEPS_MAX 40u

enum step_kind {
    STEP_GET,
    STEP_VERSION,
    STEP_SET,
    STEP_DELETE,
    STEP_RANGE,
    STEP_YIELD,
    STEP_APPEND
};

struct step {
    enum step_kind kind;
    unsigned key, to; /* RANGE: from, and exclusive end */
    unsigned limit, expect;
    bool reverse, closes;
};

/* A call of a client. */
struct client_call {
    struct call call; /* first */
    struct world *world;
    struct client *client;
    const struct procedure *inner;
    struct procedure procedure; /* inner's, with the trace around it */
    struct trace trace;
    unsigned number;
    bool running; /* an attempt is under way */
    bool committed, released, finished, impatient;
    enum verdict verdict;
    uint64_t version;
    uint64_t lsn_before; /* the newest LSN when it was submitted */
    uint64_t since_move;
    unsigned attempts;
    struct buf text; /* the request's bytes, for /v1 and Lua */
    struct buf scratch;
    /* scripted */
    struct step steps[STEPS_MAX];
    unsigned step_count, at, taken;
    struct txn_range *range;
    bool rolls_back, fails, never_waits, replaced;
    struct client_call *next; /* all of a life */
};

struct client {
    unsigned number, home, turn;
    const struct work *work;
    bool busy, pipelines;
};

/* What a seed is about. */
struct plan {
    unsigned lives, clients, calls_a_life;
    unsigned keys;
    uint64_t tick_ns;                                 /* time between moves, at most */
    unsigned log_weight, deliver_weight, turn_weight; /* of moves */
    unsigned slow_shard;                              /* its messages wait; UINT_MAX: none */
    unsigned memory_percent; /* of moves in which shards have next to no memory */
    bool checkpoints, crashes, short_calls, small_disk, lua;
    bool impatience; /* some calls have little time */
    bool always;     /* the durability, in all lives */
    size_t txn_bytes_max;
};

struct channel {
    struct msg *first, **end;
    uint64_t sent, delivered;
};

struct counts {
    uint64_t committed, lost, crashes, cuts, restarts, faults, messages, moves, snapshots, released,
        unknown, recovery_crashes, preempted, refused, tickets, witnessed;
};

enum round_state {
    ROUND_NONE,
    ROUND_PASSING,
    ROUND_FREEZING,
    ROUND_WRITING,
    ROUND_SYNCING,
    ROUND_THAWING
};

/* A checkpoint on its way. */
struct round {
    enum round_state state;
    uint64_t s, applied;
    bool passed[SIM_SHARDS_MAX];
    uint64_t behind[SIM_SHARDS_MAX * SIM_SHARDS_MAX]; /* messages to be delivered before */
    struct treap_frozen *frozen[SIM_SHARDS_MAX];
    bool to_thaw[SIM_SHARDS_MAX];
    struct treap_cursor cursor[SIM_SHARDS_MAX];
    const struct treap_node *node[SIM_SHARDS_MAX];
    struct snapshot_writer *writer;
};

struct world {
    uint64_t seed, random;
    struct plan plan;
    struct counts counts;
    struct sim_disk *disk;
    struct past past;
    struct client clients[SIM_CLIENTS_MAX];
    struct history *witness; /* NULL: it takes no part */

    /* ---- what the outside knows ---- */
    uint64_t required;     /* LSN: what was acknowledged up to here must survive */
    uint64_t shown;        /* the highest LSN that anybody can have seen */
    uint64_t snapshot_lsn; /* of the newest snapshot that this life knows of, 0: none */

    /* ---- of the life ---- */
    unsigned shards;
    enum wal_durability mode;
    bool open;      /* shards and log are there */
    bool no_room;   /* the disk may be full */
    bool first_lsn; /* nothing was published yet */
    struct slots slots;
    struct stats *stats;
    struct shard_peers *peers;
    struct shard *shard[SIM_SHARDS_MAX];
    bool due[SIM_SHARDS_MAX];
    struct channel channels[SIM_SHARDS_MAX * SIM_SHARDS_MAX];
    unsigned queued, sender;
    struct wal *wal;
    char dir[16];
    struct kv *kv[SIM_SHARDS_MAX];
    struct script_vm *vms[SIM_SHARDS_MAX];
    struct round round;
    struct client_call *calls;
    unsigned in_flight, left; /* calls out; calls that this life still makes */
    unsigned numbered;        /* calls ever made */
    bool draining;
    unsigned idle_rounds;    /* in which nothing could happen */
    bool cut_after_snapshot; /* power is about to fail when one has been published */
    uint64_t crash_move, fill_move, empty_move; /* moves at which something happens */
    struct buf error;
};

/* ---- chance ---- */

uint64_t sim_random(struct world *world, uint64_t below);
static inline bool sim_one_in(struct world *world, uint64_t n) {
    return sim_random(world, n) == 0;
}

/* ---- world.c ---- */

/* Runs one seed to its end. counts are added to. Returns the hash of its story. */
uint64_t world_run(uint64_t seed, struct counts *counts);

/* ---- plan.c ---- */

/* What a seed is about. */
void plan_draw(struct world *world);
/* Set: all clients of all seeds do this, with crashes and checkpoints. For bugs that need much of
 * it. */
extern const struct work *plan_focus;

/* ---- life.c ---- */

/* Opens the directory as a start of the server does. False: the disk has died or refused; what came
 * of it is dropped. */
bool life_open(struct world *world);
/* Drops all memory of the life. */
void life_drop(struct world *world);
/* All is quiet: ends the log cleanly. */
void life_stop(struct world *world);

/* ---- move.c ---- */

void move(struct world *world);
/* The env of the shards. */
struct shard_env move_env(struct world *world);

/* ---- checkpoint.c ---- */

void checkpoint_step(struct world *world);

/* ---- client.c ---- */

/* Lets a client that is free begin its next call. False: nobody can. */
bool client_step(struct world *world);
void client_committed(void *ctx, struct call *call);
void client_released(void *ctx, struct call *call);
/* The process is gone: nobody will ever be told. */
void client_crash(struct world *world);

/* ---- witness.c ---- */

void witness_open(struct world *world);
/* A call that was answered, or never will be. */
void witness_note(struct world *world, const struct client_call *call, bool answered);
/* Fails if the checker finds an anomaly. */
void witness_close(struct world *world);

/* ---- check.c ---- */

void check_marks(struct world *world);
/* Keys hold what the log says, but those whose COMMIT is on its way. */
void check_state(struct world *world);
/* Nothing is in flight: everything is at rest. */
void check_quiet(struct world *world);
/* After a recovery up to this LSN. */
void check_recovered(struct world *world, uint64_t lsn);

/* ---- work_*.c ---- */

extern const struct work work_points, work_ranges, work_declared, work_flicker, work_blink,
    work_wipe, work_shift, work_skew, work_long, work_append, work_kv_cas, work_kv_execute,
    work_kv_range, work_kv_hot, work_kv_bank, work_lua_bank, work_lua_append, work_lua_mixed;
/* The name of a key of the common ones. */
struct slice work_key(unsigned key, char bytes[8]);
/* The Lua machines of a life, if its plan has work for them. After a crash they are left. */
void work_lua_open(struct world *world);
void work_lua_close(struct world *world, bool crashed);

#endif
