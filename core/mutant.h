/* Planted bugs: each is a wrong variant of one decision, switched on by tests alone, to show that
 * the tests would notice (shared design, "How it is proved").
 *
 * Where the right code takes a decision that a mutant spoils, it asks MUTANT(NAME). In the server
 * that is the constant false and leaves no trace; in the test libraries (built with
 * CONCAVE_MUTANTS) it is true while mutant_planted is MUTANT_NAME. At most one is planted at a
 * time.
 *
 * Threads: mutant_planted is set while nothing else runs. */
#ifndef CONCAVE_CORE_MUTANT_H
#define CONCAVE_CORE_MUTANT_H

#include <stdbool.h>

/* Name, and the bug in words. */
#define MUTANT_LIST(X)                                                                             \
    X(NO_READ_MARKS, "no read marks")                                                              \
    X(NO_RANGE_MARKS, "no range marks")                                                            \
    X(FINGERPRINT_BY_VERSION, "fingerprint by version only")                                       \
    X(FINGERPRINT_WITHOUT_COUNT, "count left out of the fingerprint of a limited walk")            \
    X(BATCHES_MERGED, "batches of a walk merged")                                                  \
    X(WALK_COVERS_OWN_SHARD, "a limited walk covers only what its own shard gave")                 \
    X(LSN_BEFORE_MARKS, "LSN drawn before the marks")                                              \
    X(QUEUE_APART, "records handed over by a queue apart from the numbers")                        \
    X(REPLY_BEFORE_DURABLE, "reply before durable")                                                \
    X(READ_REPLY_UNGATED, "read-only reply without waiting")                                       \
    X(ABSENT_WITHOUT_DELETE_LSN, "absent-key read without the delete LSN")                         \
    X(DELETE_LSN_AT_READ, "delete LSN taken at the read instead of at validation")                 \
    X(ROUND_IGNORES_MARKS, "read-only round ignoring marks")                                       \
    X(VERSIONS_BEFORE_MARKS, "versions checked before marks")                                      \
    X(COUNTER_RESTARTS, "per-key counter restarting")                                              \
    X(ABORT_KEEPS_MARKS, "abort not unmarking")                                                    \
    X(WAITERS_NOT_SERVED, "waiters not served")                                                    \
    X(REPLAY_WITHOUT_LSN, "replay without the LSN test")                                           \
    X(SNAPSHOT_GATED_ON_VERSIONS, "snapshot gated on the versions present instead of N")           \
    X(TORN_END_KEPT, "torn end kept")                                                              \
    X(DAMAGED_MIDDLE_CUT, "damaged middle cut")                                                    \
    X(RECYCLED_BYTES_ACCEPTED, "recycled bytes accepted")                                          \
    X(VERSIONS_REUSED, "versions reused after an unclean stop")

enum mutant {
    MUTANT_NONE,
#define MUTANT_NAME(name, text) MUTANT_##name,
    MUTANT_LIST(MUTANT_NAME)
#undef MUTANT_NAME
        MUTANT_COUNT
};

#ifdef CONCAVE_MUTANTS
extern enum mutant mutant_planted;
#define MUTANT(name) (mutant_planted == MUTANT_##name)
#else
#define MUTANT(name) false
#endif

#endif
