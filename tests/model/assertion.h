/* Failed assertions, as verdicts of the execution in which they fail.
 *
 * While assertion_caught is set, a failing assert() fills assertion_text and jumps to
 * assertion_catch; otherwise it ends the process as ever. Threads: one. */
#ifndef CONCAVE_TESTS_MODEL_ASSERTION_H
#define CONCAVE_TESTS_MODEL_ASSERTION_H

#include <setjmp.h>
#include <stdbool.h>

extern bool assertion_caught;
extern jmp_buf assertion_catch;
extern char assertion_text[256];

#endif
