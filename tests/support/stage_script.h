/* The stage's procedures: they run the steps of a stage_call, found on the way or declared before.
 */
#ifndef CONCAVE_TESTS_STAGE_SCRIPT_H
#define CONCAVE_TESTS_STAGE_SCRIPT_H

#include "tests/support/stage.h"

extern const struct procedure stage_finding, stage_declaring;

/* By which a value says that this step wrote it. */
uint64_t stage_tag(const struct stage_call *call, unsigned step);

#endif
