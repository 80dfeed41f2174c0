/* The participant: what a shard does for a transaction, its own or another shard's.
 *
 * Ownership: a branch handed in is the shard's until it is answered.
 * Threads: the shard's own.
 * Neighbours: shard/coordinator.c sends branches and takes the answers; shard/marks.c and
 * shard/treap.c hold what is touched. */
#ifndef CONCAVE_SHARD_PARTICIPANT_H
#define CONCAVE_SHARD_PARTICIPANT_H

#include "shard/state.h"

/* Does the branch's op. True: it is answered (branch->answer and what was asked for). False: it is
 * parked on another's mark and will be answered by participant_answer when that is taken off. */
bool participant_step(struct shard *shard, struct branch *branch);

/* Sends an answered branch home: by message, or to this shard's own next turn. */
void participant_answer(struct shard *shard, struct branch *branch);

/* What a point read of this shard's own data depends on for its durability: the version found, or
 * the last delete if the key was absent. */
uint64_t participant_depends(const struct shard *shard, uint64_t version);

#endif
