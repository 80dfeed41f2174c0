/* Diagnostics caught: a test that includes this header is linked to it in place of core/diag.c.
 * Lines are kept, not written; diag_fatal, instead of ending the process, jumps to who catches.
 *
 *     struct diag_catch catch;
 *     if (setjmp(*diag_catch_begin(&catch)) == 0) {
 *         ... what may be fatal
 *         diag_catch_end(&catch);
 *     } else {
 *         ... it was: catch.exit_code, catch.message
 *     }
 *
 * Ownership: a catch is the caller's, on its stack; catches nest, the innermost gets the jump and
 * is ended by it. Threads: one. Errors: diag_fatal without a catch prints its line and aborts. */
#ifndef CONCAVE_TESTS_SUPPORT_DIAG_CATCH_H
#define CONCAVE_TESTS_SUPPORT_DIAG_CATCH_H

#include <setjmp.h>

#include "core/diag.h"

struct diag_catch {
    jmp_buf target;
    struct diag_catch *outer;
    int exit_code;
    char message[1024];
};

jmp_buf *diag_catch_begin(struct diag_catch *catch);
void diag_catch_end(struct diag_catch *catch);
/* Lines of this level since the start. */
unsigned long diag_catch_lines(enum diag_level level);
/* The newest line of any level. */
const char *diag_catch_last(void);

#endif
