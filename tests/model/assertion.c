#include "tests/model/assertion.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

bool assertion_caught;
jmp_buf assertion_catch;
char assertion_text[256];

/* Takes the place of the C library's, which assert() calls. */
_Noreturn void __assert_fail( // NOLINT(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp)
    const char *expression, const char *file, unsigned line, const char *function) {
    (void)snprintf(
        assertion_text, sizeof assertion_text, "assertion failed in %s: %s", function, expression);
    if (assertion_caught)
        longjmp(assertion_catch, 1);
    fprintf(stderr, "%s (%s:%u)\n", assertion_text, file, line);
    abort();
}
