/* The stage's insides, for the files that make it up:
 *
 *   stage.c          its life, its moves
 *   stage_log.c      the stand-in for the log
 *   stage_script.c   the procedures
 *   stage_verdict.c  what is held against the model */
#ifndef CONCAVE_TESTS_STAGE_INSIDE_H
#define CONCAVE_TESTS_STAGE_INSIDE_H

#include "shard/state.h"
#include "tests/support/stage_log.h"

#define STAGE_HASH_SEED 7

struct channel {
    struct msg *first, **end;
};

struct stage {
    unsigned shards;
    uint64_t random;
    uint64_t now_ns;
    struct slots slots;
    struct wal wal;
    struct stats *stats;
    struct shard_peers *peers;
    struct shard *shard[SHARDS_MAX];
    struct channel *channels; /* [from * shards + to] */
    unsigned queued;
    unsigned sender; /* the shard whose step runs */
    struct stage_call **calls;
    unsigned call_count, call_cap, released;
    unsigned made;
    unsigned log_percent, memory_percent;
    char keys[STAGE_KEYS][4];
};

struct slice stage_key(struct stage *stage, unsigned key);

#endif
