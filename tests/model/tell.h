/* Tells an execution in words: one clause a move, and at the end what each call saw. */
#ifndef CONCAVE_TESTS_MODEL_TELL_H
#define CONCAVE_TESTS_MODEL_TELL_H

#include "tests/model/world.h"

void tell_before(struct world *world, const struct move *move);
/* Appends to world->story. Also after a move in which an assertion failed. */
void tell_after(struct world *world, const struct move *move);

#endif
