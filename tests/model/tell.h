/* Tells an execution in words: one clause a move, and at the end what each call saw. */
#ifndef CONCAVE_TESTS_MODEL_TELL_H
#define CONCAVE_TESTS_MODEL_TELL_H

#include "tests/model/world.h"

/* What must be remembered of the time before a move. */
struct tale {
    uint64_t last_lsn;
    const struct msg *msg;
    unsigned type;
    bool released[MODEL_CALLS_MAX];
    unsigned losses[MODEL_CALLS_MAX];
};

void tell_before(struct world *world, const struct move *move, struct tale *tale);
/* Appends to world->story. */
void tell_after(struct world *world, const struct move *move, const struct tale *tale);

#endif
