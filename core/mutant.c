/* The planted bug of the test libraries; empty in the server. */
#include "core/mutant.h"

#ifdef CONCAVE_MUTANTS
enum mutant mutant_planted = MUTANT_NONE;
#endif
