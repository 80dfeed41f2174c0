/* What came of an execution on the stage, held against a model of the data: the log, record by
 * record.
 *
 * Strict serializability by LSN: a writer's reads must be current at its LSN, the others' at one
 * LSN between request and reply; and nothing may leave before what it rests on is durable. */
#ifndef CONCAVE_TESTS_STAGE_VERDICT_H
#define CONCAVE_TESTS_STAGE_VERDICT_H

#include "tests/support/stage.h"

/* Every call's reads and ranges must match the model: of writers at their LSN, of the others at one
 * LSN between their submission and their release; nothing was released before it was durable; each
 * commit is in the log as a whole, and nothing else is; and the shards hold what the log says. */
void stage_check_history(struct stage *stage);
/* The same as an answer: NULL, or what is wrong, and with which call (NULL: with none). */
const char *stage_verdict(struct stage *stage, const struct stage_call **culprit);
/* The same for one call that was just released; needs no other to have ended. */
const char *stage_call_verdict(struct stage *stage, const struct stage_call *call);
/* Whether a verdict says that what a call saw does not fit the order of LSNs. */
bool stage_about_order(const char *verdict);
/* Whether this order of the calls, one after the other, explains all that they saw and what is
 * there in the end, be it the order of their LSNs or not. */
bool stage_serial(struct stage *stage, struct stage_call *const order[], unsigned count);

#endif
