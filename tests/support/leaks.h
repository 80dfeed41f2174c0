/* Allocations that LeakSanitizer is to forget. Where diag_fatal, which ends the process, jumps to a
 * test instead (tests/support/diag_catch.h), it leaves behind what the functions in between held.
 *
 * Threads: each counts for itself. Errors: none; without the sanitizer these do nothing. */
#ifndef CONCAVE_TESTS_SUPPORT_LEAKS_H
#define CONCAVE_TESTS_SUPPORT_LEAKS_H

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/lsan_interface.h>
#endif

/* What is allocated from here to leaks_look is no leak; in pairs, which may nest. */
static inline void leaks_overlook(void) {
#ifdef __SANITIZE_ADDRESS__
    __lsan_disable();
#endif
}

static inline void leaks_look(void) {
#ifdef __SANITIZE_ADDRESS__
    __lsan_enable();
#endif
}

#endif
